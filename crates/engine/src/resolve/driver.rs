//! The loop of one magnet link.

use super::connection::{Connection, Said};
use super::work::{Fetched, Wish, Work};
use super::{Job, ResolveConfig, ResolveError, ResolveStatus, Resolved, cache};
use crate::discovery::{Found, Seeker, Seeking};
use crate::shard::ShardEnv;
use crate::tracker::{TrackerError, unguessable};
use samara_swarm::Announce;
use samara_swarm::AnnounceId;
use samara_swarm::announcer::{Announcer, AnnouncerConfig, Counters};
use samara_swarm::metadata::{FetchFault, FetchKey, FetchStatus, LayerFetch, MetadataFetch};
use samara_swarm::peer_list::{PeerList, PeerListConfig};
use samara_swarm::torrent::PeerSource;
use samara_wire::id::WireHash;
use samara_wire::magnet::{Magnet, PeerHint};
use samara_wire::metainfo::{Info, Metainfo, MetainfoError};
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;
use samara_wire::tracker::AnnounceResponse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet, spawn_blocking, spawn_local};

/// Connections to peers, those being set up counted.
const MAX_CONNECTIONS: usize = 30;

/// Addresses of which is remembered how it went.
const MAX_FATES: usize = 4096;

/// Peers handed on to the torrent.
const MAX_PEERS_KEPT: usize = 50;

/// Addresses heeded of the caller's.
const MAX_GIVEN_PEERS: usize = 1000;

/// Addresses taken of one name in the link, and time to look it up in.
const MAX_ADDRS_OF_NAME: usize = 8;
const LOOK_UP: Duration = Duration::from_secs(10);

/// Told to trackers as what is left to download: not zero, or we would pass for a seed.
const LEFT: u64 = 1;

/// Messages from finders that may wait.
const MAX_FINDS: usize = 64;

/// Time to tell the trackers that we stop.
const GOODBYE: Duration = Duration::from_secs(2);

/// Between two snapshots of the status.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// Resolves a link and tells what came of it. Ends early when nobody waits any more.
pub(crate) async fn run(env: Rc<ShardEnv>, job: Job) {
    let Job { magnet, config, status, mut outcome } = job;
    let kept = match load(&env, &magnet, config.layers).await.transpose() {
        Ok(kept) => kept,
        Err(error) => {
            // Fails only if nobody waits.
            let _ = outcome.send(Err(error.into()));
            return;
        }
    };
    if let Some(info) = kept.as_ref().filter(|info| !lacks_layers(info, config.layers)) {
        // Nobody was met, so that those whom the link names are still to be tried.
        let looked_up = tokio::time::timeout(LOOK_UP, look_up(&magnet.peers)).await;
        let peers = looked_up.unwrap_or_default();
        let _ = outcome.send(Ok(resolved(&magnet, info.clone(), peers, true)));
        return;
    }
    let named = !(magnet.trackers.is_empty() && magnet.peers.is_empty() && config.peers.is_empty());
    if !named && !env.shared.discovery.has_finders() {
        let _ = outcome.send(Err(ResolveError::NobodyToAsk));
        return;
    }
    let timeout = config.timeout;
    let mut driver = Driver::new(Rc::clone(&env), &magnet, &config);
    let found = tokio::select! {
        info = driver.fetch(&magnet, kept, config.layers, &status) => Some(info),
        () = tokio::time::sleep(timeout) => None,
        () = outcome.closed() => {
            spawn_local(driver.goodbye());
            return;
        }
    };
    let last = driver.status();
    status.send_replace(last.clone());
    let peers = std::mem::take(&mut driver.good);
    if !(config.stay && matches!(found, Some(Ok(_)))) {
        driver.goodbye().await;
    }
    let _ = outcome.send(match found {
        Some(info) => info.map(|info| resolved(&magnet, info, peers, false)),
        None => Err(ResolveError::Timeout { timeout, status: Box::new(last) }),
    });
}

/// Whether piece layers are to be fetched: a v2 torrent cannot be checked without, a hybrid one cannot be written to a
/// file.
fn lacks_layers(info: &Info, wanted: bool) -> bool {
    !info.has_piece_layers() && (wanted || !info.has_all_hashes())
}

/// What is kept of the torrent: its info dictionary, and its piece layers if they are needed and there.
async fn load(
    env: &ShardEnv,
    magnet: &Magnet,
    layers: bool,
) -> Option<Result<Info, MetainfoError>> {
    let (dir, hashes) = (env.shared.config.state_dir.clone()?, magnet.hashes);
    let load = move || {
        let raw = cache::load(&dir, &hashes)?;
        let info = Info::parse(&raw);
        let whole = info.as_ref().ok().filter(|info| lacks_layers(info, layers));
        let whole = whole.and_then(|info| cache::load_layers(&dir, info));
        Some(whole.map_or(info, Ok))
    };
    // An error is a panic in there, reported when it happened.
    spawn_blocking(load).await.ok().flatten()
}

/// Has `work` done with the state directory, if there is one.
async fn keep(env: &ShardEnv, work: impl FnOnce(&Path) + Send + 'static) {
    if let Some(dir) = env.shared.config.state_dir.clone() {
        // As above.
        let _ = spawn_blocking(move || work(&dir)).await;
    }
}

/// The torrent, from its info dictionary and the hints of the link.
fn resolved(magnet: &Magnet, info: Info, peers: Vec<SocketAddr>, from_cache: bool) -> Resolved {
    let metainfo = Metainfo {
        info,
        trackers: tiers(magnet),
        web_seeds: magnet.web_seeds.clone(),
        http_seeds: Vec::new(),
        nodes: Vec::new(),
        creation_date: None,
        created_by: None,
        comment: None,
    };
    Resolved { metainfo, peers, from_cache }
}

/// The trackers of a link are unrelated to one another: each is asked.
fn tiers(magnet: &Magnet) -> Vec<Vec<String>> {
    magnet.trackers.iter().map(|url| vec![url.clone()]).collect()
}

/// What arrives from the tasks of the driver.
enum Arrival {
    /// Addresses of those whom the link names.
    Peers(Vec<SocketAddr>),
    Announced(AnnounceId, Result<AnnounceResponse, TrackerError>),
}

/// Where the status is published.
type Status = tokio::sync::watch::Sender<ResolveStatus>;

struct Driver {
    env: Rc<ShardEnv>,
    /// By which the torrent is called in handshakes.
    hash: WireHash,
    work: Work,
    announcer: Announcer,
    trackers: u32,
    trackers_answered: u32,
    tracker_error: Option<String>,
    peer_list: PeerList,
    links: BTreeMap<FetchKey, Link>,
    next_key: u32,
    /// How it went with each address last, so that one that is tried again counts once.
    fates: BTreeMap<SocketAddr, Fate>,
    /// Peers with which a handshake came about.
    good: Vec<SocketAddr>,
    /// Announces and look-ups under way. Dropped with the driver, they end.
    errands: JoinSet<Arrival>,
    connections: JoinSet<()>,
    tell: mpsc::Sender<(FetchKey, Said)>,
    told: mpsc::Receiver<(FetchKey, Said)>,
    result: Option<Fetched>,
    /// Peers found without trackers.
    found: mpsc::Receiver<Found>,
    seeking: Option<Seeking>,
}

/// How it went with an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    NotReached,
    Asked,
    Dropped(FetchFault),
}

/// A connection, or one being set up.
struct Link {
    addr: SocketAddr,
    connected: bool,
    send: mpsc::UnboundedSender<Message>,
    task: AbortHandle,
}

impl Driver {
    fn new(env: Rc<ShardEnv>, magnet: &Magnet, config: &ResolveConfig) -> Self {
        let shared = &env.shared;
        let now = env.now();
        let announcing = AnnouncerConfig {
            info_hash: magnet.hashes.wire(),
            peer_id: shared.peer_id,
            port: shared.port,
            key: shared.key,
            private: false,
        };
        let mut announcer = Announcer::new(announcing, &tiers(magnet), unguessable());
        announcer.set_hungry(true);
        announcer.start(now);
        let mut peer_list = PeerList::new(PeerListConfig::default(), unguessable());
        for addr in config.peers.iter().take(MAX_GIVEN_PEERS) {
            peer_list.add(now, *addr, PeerSource::User);
        }
        let mut errands = JoinSet::new();
        let hints = magnet.peers.clone();
        errands.spawn_local(async move { Arrival::Peers(look_up(&hints).await) });
        let (tell, told) = mpsc::channel(MAX_CONNECTIONS);
        let (find, found) = mpsc::channel(MAX_FINDS);
        let seeking = shared.discovery.seek(magnet.hashes, false, &Seeker::Resolver(find));
        Self {
            hash: magnet.hashes.wire(),
            work: MetadataFetch::new(magnet.hashes).into(),
            announcer,
            trackers: u32::try_from(magnet.trackers.len()).unwrap_or(u32::MAX),
            trackers_answered: 0,
            tracker_error: None,
            peer_list,
            links: BTreeMap::new(),
            next_key: 0,
            fates: BTreeMap::new(),
            good: Vec::new(),
            errands,
            connections: JoinSet::new(),
            tell,
            told,
            result: None,
            found,
            seeking: Some(seeking),
            env,
        }
    }

    /// Works until everything is here that is needed, beyond what was `kept`, and keeps it.
    async fn fetch(
        &mut self,
        magnet: &Magnet,
        kept: Option<Info>,
        layers: bool,
        status: &Status,
    ) -> Result<Info, ResolveError> {
        let mut known = kept;
        loop {
            if let Some(info) = &known {
                let fetch = lacks_layers(info, layers).then(|| LayerFetch::new(info)).flatten();
                let Some(fetch) = fetch else { return Ok(info.clone()) };
                self.turn_to_layers(info, fetch);
            }
            match (self.work(status).await, &known) {
                (Fetched::Metadata(raw), _) => {
                    let hashes = magnet.hashes;
                    known = Some(Info::parse(&raw)?);
                    keep(&self.env, move |dir| cache::save(dir, &hashes, &raw)).await;
                }
                (Fetched::Layers(layers), Some(info)) => {
                    let whole = info.with_piece_layers(&layers)?;
                    let kept = whole.clone();
                    keep(&self.env, move |dir| cache::save_layers(dir, &kept)).await;
                    return Ok(whole);
                }
                (Fetched::Layers(_), None) => {
                    unreachable!("layers are fetched of a known torrent alone")
                }
            }
        }
    }

    /// The info dictionary is here: those connected go on to the piece layers. Of a hybrid torrent they may know only
    /// the half that has none, so they are dialled again by the v2 hash.
    fn turn_to_layers(&mut self, info: &Info, fetch: LayerFetch) {
        let now = self.env.now();
        let name = info.hashes().v2().map_or(self.hash, |v2| v2.truncated());
        self.work = fetch.into();
        self.fates.clear();
        if name == self.hash {
            for (key, _) in self.links.iter().filter(|(_, link)| link.connected) {
                self.work.handle_said(now, *key, &Said::Connected);
            }
            return;
        }
        self.hash = name;
        for key in self.links.keys().copied().collect::<Vec<_>>() {
            self.close(now, key);
        }
        for addr in self.good.clone() {
            // As if the user had named them: at once, and first.
            self.peer_list.add(now, addr, PeerSource::User);
        }
    }

    /// Works until what is fetched at present is here.
    async fn work(&mut self, status: &Status) -> Fetched {
        let mut published = tokio::time::Instant::now();
        loop {
            self.settle();
            if let Some(found) = self.result.take() {
                return found;
            }
            if published.elapsed() >= PUBLISH_INTERVAL {
                published = tokio::time::Instant::now();
                status.send_replace(self.status());
            }
            let deadline = self.next_deadline().map(|at| self.env.shared.clock.to_tokio(at));
            tokio::select! {
                said = self.told.recv() => {
                    if let Some((key, said)) = said {
                        self.on_said(key, said);
                    }
                }
                Some(Found { source, peers }) = self.found.recv() => {
                    let now = self.env.now();
                    for addr in peers {
                        self.peer_list.add(now, addr, source);
                    }
                }
                Some(arrival) = self.errands.join_next() => {
                    // An error is a panic, reported when it happened.
                    if let Ok(arrival) = arrival {
                        self.on_arrival(arrival);
                    }
                }
                Some(_) = self.connections.join_next() => {}
                () = tokio::time::sleep(PUBLISH_INTERVAL) => {}
                () = tokio::time::sleep_until(deadline.unwrap_or(published)), if deadline.is_some() => {
                    let now = self.env.now();
                    self.work.handle_timeout(now);
                }
            }
        }
    }

    /// Does what the cores want done.
    fn settle(&mut self) {
        let now = self.env.now();
        for wish in self.work.take_wishes() {
            match wish {
                Wish::Send(key, message) => {
                    if let Some(link) = self.links.get(&key) {
                        self.fates.insert(link.addr, Fate::Asked);
                        // Fails only if the connection has just ended.
                        let _ = link.send.send(message);
                    }
                }
                Wish::Drop(key, fault) => self.drop_link(now, key, fault),
                Wish::Done(found) => self.result = Some(found),
            }
        }
        let counters = Counters { left: LEFT, peers_wanted: 200, ..Counters::default() };
        while let Some(announce) = self.announcer.poll(now, &counters) {
            self.announce(announce);
        }
        let room = MAX_CONNECTIONS.saturating_sub(self.links.len());
        for addr in self.peer_list.next_to_dial(now, room) {
            self.dial(addr);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let dial = (self.links.len() < MAX_CONNECTIONS)
            .then(|| self.peer_list.next_ready(Instant::ZERO))
            .flatten();
        [self.work.next_timeout(), self.announcer.next_timeout(), dial].into_iter().flatten().min()
    }

    fn announce(&mut self, announce: Announce) {
        let env = Rc::clone(&self.env);
        self.errands.spawn_local(async move {
            let Announce { id, url, request, timeout } = announce;
            Arrival::Announced(id, env.announce(&url, &request, timeout).await)
        });
    }

    fn dial(&mut self, addr: SocketAddr) {
        if self.fates.len() >= MAX_FATES {
            self.fates.pop_first();
        }
        let key = FetchKey(self.next_key);
        self.next_key += 1;
        let (send, messages) = mpsc::unbounded_channel();
        let connection = Connection {
            env: Rc::clone(&self.env),
            key,
            addr,
            hash: self.hash,
            tell: self.tell.clone(),
            send: messages,
        };
        let task = self.connections.spawn_local(connection.run());
        self.links.insert(key, Link { addr, connected: false, send, task });
    }

    fn on_said(&mut self, key: FetchKey, said: Said) {
        let now = self.env.now();
        let Some(link) = self.links.get_mut(&key) else { return };
        match &said {
            Said::Connected => {
                link.connected = true;
                self.peer_list.on_connected(now, link.addr, true);
                if self.good.len() < MAX_PEERS_KEPT && !self.good.contains(&link.addr) {
                    self.good.push(link.addr);
                }
            }
            Said::HashRequest(request) => {
                // Fails only if the connection has just ended.
                let _ = link.send.send(Message::HashReject(request.clone()));
                return;
            }
            Said::Gone => {
                self.work.handle_disconnected(now, key);
                self.forget(now, key);
                return;
            }
            Said::Extensions(_) | Said::Metadata(_) | Said::Hashes { .. } | Said::HashReject(_) => {
            }
        }
        self.work.handle_said(now, key, &said);
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        let now = self.env.now();
        match arrival {
            Arrival::Peers(addrs) => {
                for addr in addrs {
                    self.peer_list.add(now, addr, PeerSource::User);
                }
            }
            Arrival::Announced(id, Ok(response)) => {
                if self.announcer.on_response(now, id, &response).is_some() {
                    self.trackers_answered += 1;
                    for addr in response.peers {
                        self.peer_list.add(now, addr, PeerSource::Tracker);
                    }
                }
            }
            Arrival::Announced(id, Err(error)) => {
                let (retry, words) = (error.retry(), error.to_string());
                if self.announcer.on_failure(now, id, &words, retry).is_some() {
                    self.tracker_error = Some(words);
                }
            }
        }
    }

    fn drop_link(&mut self, now: Instant, key: FetchKey, fault: FetchFault) {
        let Some(addr) = self.links.get(&key).map(|link| link.addr) else { return };
        self.fates.insert(addr, Fate::Dropped(fault));
        if fault == FetchFault::Lied {
            tracing::info!(%addr, "this peer sent wrong metadata");
            self.peer_list.ban(addr);
            self.good.retain(|good| *good != addr);
        }
        self.close(now, key);
    }

    fn close(&mut self, now: Instant, key: FetchKey) {
        if let Some(link) = self.links.get(&key) {
            link.task.abort();
        }
        self.forget(now, key);
    }

    fn forget(&mut self, now: Instant, key: FetchKey) {
        let Some(link) = self.links.remove(&key) else { return };
        if link.connected {
            self.peer_list.on_disconnected(now, link.addr, false);
        } else {
            self.fates.entry(link.addr).or_insert(Fate::NotReached);
            self.peer_list.on_failed(now, link.addr);
        }
    }

    fn status(&self) -> ResolveStatus {
        use FetchFault::{Full, Lied, NoMetadata, Refuses, Silent};
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let fates =
            |which: fn(Fate) -> bool| count(self.fates.values().filter(|f| which(**f)).count());
        ResolveStatus {
            trackers: self.trackers,
            trackers_answered: self.trackers_answered,
            tracker_error: self.tracker_error.clone(),
            known: count(self.peer_list.len()),
            connected: count(self.links.values().filter(|link| link.connected).count()),
            failed: fates(|fate| fate == Fate::NotReached),
            fetch: FetchStatus {
                asked: fates(|fate| {
                    !matches!(fate, Fate::NotReached | Fate::Dropped(NoMetadata | Full))
                }),
                without: fates(|fate| fate == Fate::Dropped(NoMetadata)),
                unwilling: fates(|fate| matches!(fate, Fate::Dropped(Refuses | Silent))),
                liars: fates(|fate| fate == Fate::Dropped(Lied)),
                ..self.work.metadata_status()
            },
            layers: self.work.layer_progress().map(|(here, all)| (count(here), count(all))),
        }
    }

    /// Closes the connections and tells the trackers that we stop, for as long as is decent.
    async fn goodbye(mut self) {
        self.seeking = None;
        self.connections.abort_all();
        self.announcer.stop();
        let farewell = async {
            while !self.announcer.is_stopped() {
                let now = self.env.now();
                let counters = Counters { left: LEFT, ..Counters::default() };
                while let Some(announce) = self.announcer.poll(now, &counters) {
                    self.announce(announce);
                }
                match self.errands.join_next().await {
                    Some(Ok(arrival)) => self.on_arrival(arrival),
                    Some(Err(_)) => {}
                    None => return,
                }
            }
        };
        // Late is as good as never: the trackers forget us by themselves.
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
    }
}

/// The addresses of the peers that a link names.
async fn look_up(hints: &[PeerHint]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for hint in hints {
        if let Ok(ip) = hint.host.parse() {
            found.push(SocketAddr::new(ip, hint.port));
            continue;
        }
        let addrs = tokio::net::lookup_host((hint.host.as_str(), hint.port));
        match tokio::time::timeout(LOOK_UP, addrs).await {
            Ok(Ok(addrs)) => found.extend(addrs.take(MAX_ADDRS_OF_NAME)),
            Ok(Err(error)) => tracing::debug!(peer = %hint, %error, "no address"),
            Err(_) => tracing::debug!(peer = %hint, "no address in time"),
        }
    }
    found
}
