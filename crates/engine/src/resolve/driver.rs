//! The loop of one magnet link.

use super::connection::Said;
use super::door::{Door, MAX_WAITING};
use super::job::{keep, lacks_layers};
use super::links::{Fate, Links, MAX_CONNECTIONS};
use super::work::{Fetched, Wish, Work};
use super::{ResolveConfig, ResolveError, ResolveStatus, cache};
use crate::discovery::{Found, Seeker, Seeking};
use crate::greet::Incoming;
use crate::network::Binding;
use crate::shard::ShardEnv;
use crate::tracker::{Announced, TrackerError, unguessable};
use samara_swarm::Announce;
use samara_swarm::AnnounceId;
use samara_swarm::announcer::{Announcer, AnnouncerConfig, Counters};
use samara_swarm::metadata::{FetchFault, FetchKey, FetchStatus, LayerFetch, MetadataFetch};
use samara_swarm::torrent::PeerSource;
use samara_wire::magnet::{Magnet, PeerHint};
use samara_wire::metainfo::Info;
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;
use samara_wire::tracker::AnnounceResponse;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_local};

/// Addresses heeded of the caller's.
const MAX_GIVEN_PEERS: usize = 1000;

/// Addresses taken of one name in the link, and time to look it up in.
const MAX_ADDRS_OF_NAME: usize = 8;
pub(super) const LOOK_UP: Duration = Duration::from_secs(10);

/// Told to trackers as what is left to download: not zero, or we would pass for a seed.
const LEFT: u64 = 1;

/// Messages from finders that may wait.
const MAX_FINDS: usize = 64;

/// Time for whoever resolved a link to begin with the torrent.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Time to tell the trackers that we stop.
const GOODBYE: Duration = Duration::from_secs(2);

/// Between two snapshots of the status.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// What arrives from the tasks of the driver.
enum Arrival {
    /// Addresses of those whom the link names.
    Peers(Vec<SocketAddr>),
    Announced(AnnounceId, Result<Announced, TrackerError>),
    /// What a tracker said over its other address family, if anything.
    More(Option<AnnounceResponse>),
}

/// Where the status is published.
type Status = tokio::sync::watch::Sender<ResolveStatus>;

pub(super) struct Driver {
    env: Rc<ShardEnv>,
    work: Work,
    announcer: Announcer,
    trackers: u32,
    trackers_answered: u32,
    tracker_error: Option<String>,
    links: Links,
    /// Announces and look-ups under way. Dropped with the driver, they end.
    errands: JoinSet<Arrival>,
    told: mpsc::Receiver<(FetchKey, Said)>,
    result: Option<Fetched>,
    /// Peers found without trackers.
    found: mpsc::Receiver<Found>,
    seeking: Option<Seeking>,
    /// Peers that dialled us.
    newcomers: mpsc::Receiver<Incoming>,
    come_in: mpsc::Sender<Incoming>,
    door: Door,
    /// The torrent turned out to be private: what is not from its trackers is not heeded (BEP 27).
    private: bool,
}

impl Driver {
    pub(super) fn new(env: Rc<ShardEnv>, magnet: &Magnet, config: &ResolveConfig) -> Self {
        let shared = &env.shared;
        let now = env.now();
        let announcing = AnnouncerConfig {
            info_hash: magnet.hashes.wire(),
            peer_id: shared.peer_id(),
            port: shared.outer_port(),
            key: shared.key,
            private: false,
        };
        let mut announcer = Announcer::new(announcing, &tiers(magnet), unguessable());
        announcer.set_hungry(true);
        announcer.start(now);
        let mut errands = JoinSet::new();
        let (hints, binding) = (magnet.peers.clone(), env.shared.network.binding());
        errands.spawn_local(async move { Arrival::Peers(look_up(&hints, &binding).await) });
        let (tell, told) = mpsc::channel(MAX_CONNECTIONS);
        let mut links = Links::new(Rc::clone(&env), magnet.hashes, tell);
        let given = config.peers.iter().take(MAX_GIVEN_PEERS).copied();
        links.learn(now, PeerSource::User, given);
        let (come_in, newcomers) = mpsc::channel(MAX_WAITING);
        let door = shared.doors.open(magnet.hashes, &come_in);
        let (find, found) = mpsc::channel(MAX_FINDS);
        let seeking = shared.discovery.seek(magnet.hashes, false, &Seeker::Resolver(find));
        Self {
            work: MetadataFetch::new(magnet.hashes).into(),
            announcer,
            trackers: u32::try_from(magnet.trackers.len()).unwrap_or(u32::MAX),
            trackers_answered: 0,
            tracker_error: None,
            links,
            errands,
            told,
            result: None,
            found,
            seeking: Some(seeking),
            newcomers,
            come_in,
            door,
            private: false,
            env,
        }
    }

    /// Works until everything is here that is needed, beyond what was `kept`, and keeps it.
    pub(super) async fn fetch(
        &mut self,
        magnet: &Magnet,
        kept: Option<Info>,
        layers: bool,
        status: &Status,
    ) -> Result<Info, ResolveError> {
        let mut known = kept;
        loop {
            if let Some(info) = &known {
                if info.is_private() {
                    self.private = true;
                    self.seeking = None;
                    self.links.keep_named(self.env.now());
                }
                let fetch = lacks_layers(info, layers).then(|| LayerFetch::new(info)).flatten();
                let Some(fetch) = fetch else { return Ok(info.clone()) };
                self.turn_to_layers(info, fetch);
            }
            match (self.work(status).await, &known) {
                (Fetched::Metadata(raw), _) => {
                    let hashes = magnet.hashes;
                    known = Some(Info::parse(&raw)?);
                    keep(&self.env, move |dir| cache::save(dir, &hashes, &raw));
                }
                (Fetched::Layers(layers), Some(info)) => {
                    let whole = info.with_piece_layers(&layers)?;
                    let kept = whole.clone();
                    keep(&self.env, move |dir| cache::save_layers(dir, &kept));
                    return Ok(whole);
                }
                (Fetched::Layers(_), None) => {
                    unreachable!("layers are fetched of a known torrent alone")
                }
            }
        }
    }

    /// The info dictionary is here: those connected go on to the piece layers, if they know the torrent by its v2 hash.
    /// From now on it is called by that.
    fn turn_to_layers(&mut self, info: &Info, fetch: LayerFetch) {
        let (now, shared) = (self.env.now(), &self.env.shared);
        let hashes = info.hashes();
        self.work = fetch.into();
        self.door = shared.doors.open(hashes, &self.come_in);
        for key in self.links.rename(now, hashes) {
            self.work.handle_connected(now, key);
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
                    if !self.private {
                        self.links.learn(now, source, peers);
                    }
                }
                Some(incoming) = self.newcomers.recv() => self.links.accept(incoming),
                Some(arrival) = self.errands.join_next() => {
                    // An error is a panic, reported when it happened.
                    if let Ok(arrival) = arrival {
                        self.on_arrival(arrival);
                    }
                }
                () = self.links.reap() => {}
                () = tokio::time::sleep(PUBLISH_INTERVAL) => {}
                () = tokio::time::sleep_until(deadline.unwrap_or(published)), if deadline.is_some() => {
                    let now = self.env.now();
                    self.work.handle_timeout(now);
                }
            }
        }
    }

    /// Does what the cores want done, until they want nothing more.
    fn settle(&mut self) {
        let now = self.env.now();
        loop {
            for key in self.links.take_closed() {
                self.work.handle_disconnected(now, key);
            }
            let wishes = self.work.take_wishes();
            if wishes.is_empty() {
                break;
            }
            for wish in wishes {
                match wish {
                    Wish::Send(key, message) => self.links.ask(key, message),
                    Wish::Drop(key, fault) => self.links.on_useless(now, key, fault),
                    Wish::Done(found) => self.result = Some(found),
                }
            }
        }
        let counters = Counters { left: LEFT, peers_wanted: 200, ..Counters::default() };
        while let Some(announce) = self.announcer.poll(now, &counters) {
            self.announce(announce);
        }
        self.links.drive_dialling(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let of_links = self.links.next_timeout();
        [self.work.next_timeout(), self.announcer.next_timeout(), of_links]
            .into_iter()
            .flatten()
            .min()
    }

    fn announce(&mut self, announce: Announce) {
        let env = Rc::clone(&self.env);
        self.errands.spawn_local(async move {
            let Announce { id, url, request, timeout } = announce;
            Arrival::Announced(id, env.announce(&url, &request, timeout).await)
        });
    }

    fn on_said(&mut self, key: FetchKey, said: Said) {
        let now = self.env.now();
        if !self.links.is_open(key) {
            // Said before it was closed: the core must not hear of it again.
            return;
        }
        match said {
            Said::Connected(peer_id, hash) => {
                if self.links.on_connected(now, key, peer_id, hash) && self.links.is_by_name(key) {
                    self.work.handle_connected(now, key);
                }
            }
            Said::Extensions(said) => {
                self.links.on_extensions(now, key, &said);
                self.work.handle_extensions(now, key, &said);
            }
            Said::Pex(payload) if !self.private => self.links.on_pex(now, key, &payload),
            Said::Pex(_) => {}
            Said::Metadata(payload) => self.work.handle_metadata(now, key, &payload),
            Said::Hashes { request, hashes } => {
                self.work.handle_hashes(now, key, &request, &hashes);
            }
            Said::HashReject(request) => self.work.handle_reject(now, key, &request),
            Said::HashRequest(request) => self.links.send(key, Message::HashReject(request)),
            Said::Gone => {
                self.work.handle_disconnected(now, key);
                self.links.on_gone(now, key);
            }
        }
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        let now = self.env.now();
        match arrival {
            Arrival::Peers(addrs) => {
                self.links.learn(now, PeerSource::User, addrs);
            }
            Arrival::Announced(id, Ok(Announced { response, other })) => {
                if let Some(other) = other {
                    self.errands.spawn_local(async { Arrival::More(other.answer().await) });
                }
                if self.announcer.on_response(now, id, &response).is_some() {
                    self.trackers_answered += 1;
                    self.links.learn(now, PeerSource::Tracker, response.peers);
                }
            }
            Arrival::More(answer) => {
                let peers = answer.map(|answer| answer.peers).unwrap_or_default();
                self.links.learn(now, PeerSource::Tracker, peers);
            }
            Arrival::Announced(id, Err(error)) => {
                let (retry, words) = (error.retry(), error.to_string());
                if self.announcer.on_failure(now, id, &words, retry).is_some() {
                    self.tracker_error = Some(words);
                }
            }
        }
    }

    /// Peers for the torrent: those that are there, then some that were not tried yet.
    pub(super) fn take_peers(&mut self) -> Vec<SocketAddr> {
        self.links.take_peers(self.env.now())
    }

    pub(super) fn status(&self) -> ResolveStatus {
        use FetchFault::{Full, Lied, NoMetadata, Refuses, Silent};
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let fates = |which: fn(Fate) -> bool| count(self.links.count(which));
        ResolveStatus {
            trackers: self.trackers,
            trackers_answered: self.trackers_answered,
            tracker_error: self.tracker_error.clone(),
            known: count(self.links.known()),
            connected: count(self.links.connected()),
            failed: fates(|fate| fate == Fate::NotReached),
            dht_nodes: self.env.shared.dht_nodes(),
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

    /// Closes the connections, so that the torrent can dial the same peers at once. What finders have begun goes on for a
    /// while, so that it need not begin anew for the torrent.
    pub(super) async fn make_way(mut self) {
        self.links.close_all().await;
        let seeking = self.seeking.take();
        spawn_local(async move {
            tokio::time::sleep(HAND_OVER).await;
            drop(seeking);
        });
    }

    /// Closes the connections and tells the trackers that we stop, for as long as is decent.
    pub(super) async fn goodbye(mut self) {
        self.seeking = None;
        self.links.close_all().await;
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

/// The trackers of a link are unrelated to one another: each is asked.
pub(super) fn tiers(magnet: &Magnet) -> Vec<Vec<String>> {
    magnet.trackers.iter().map(|url| vec![url.clone()]).collect()
}

/// The addresses of the peers that a link names. With a proxy only those that are written down: names are the proxy's to resolve.
pub(super) async fn look_up(hints: &[PeerHint], binding: &Binding) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for hint in hints {
        if let Ok(ip) = hint.host.parse() {
            found.push(SocketAddr::new(ip, hint.port));
            continue;
        }
        if binding.proxy().is_some() || binding.is_away() {
            tracing::debug!(peer = %hint, "names are not looked up here");
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
