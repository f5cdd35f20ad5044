//! Whom the resolver knows and is connected to: addresses, connections both ways, and how it went with each.
//!
//! A peer without the metadata is of use all the same if it tells of others (BEP 11), so it may *linger*: for a
//! while, and only as long as nobody else waits for its place.

use super::connection::{Connection, Said, Way};
use crate::greet::Incoming;
use crate::shard::ShardEnv;
use crate::tracker::unguessable;
use samara_swarm::metadata::{FetchFault, FetchKey};
use samara_swarm::peer_list::{PeerList, PeerListConfig};
use samara_swarm::pex::PexIntake;
use samara_swarm::torrent::PeerSource;
use samara_wire::id::{InfoHashes, PeerId, WireHash};
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_pex;
use samara_wire::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Connections to peers, those being set up counted.
pub(super) const MAX_CONNECTIONS: usize = 30;

/// Peers that dialled us are taken beyond that, up to here.
const MAX_WITH_INCOMING: usize = 50;

/// Addresses of which is remembered how it went.
const MAX_FATES: usize = 4096;

/// Peers handed on to the torrent.
const MAX_PEERS_KEPT: usize = 50;

/// How long a peer may linger: until it has told of others a second time.
const LINGER: Duration = Duration::from_secs(80);

/// A lingering peer keeps its place for this long in any case. Others tell at once, or within some seconds.
const LINGER_AT_LEAST: Duration = Duration::from_secs(5);

pub(super) struct Links {
    env: Rc<ShardEnv>,
    hashes: InfoHashes,
    /// By which the torrent is called in handshakes.
    hash: WireHash,
    peer_list: PeerList,
    /// Addresses that the user, the link or a tracker named, as many as are remembered.
    named: BTreeSet<SocketAddr>,
    by_key: BTreeMap<FetchKey, Link>,
    next_key: u32,
    /// How it went with each address last, so that one that is tried again counts once.
    fates: BTreeMap<SocketAddr, Fate>,
    /// Peers with which a handshake came about, by where they can be dialled.
    good: Vec<SocketAddr>,
    /// Closed by us, of which the core has yet to hear.
    closed: Vec<FetchKey>,
    tasks: JoinSet<()>,
    tell: mpsc::Sender<(FetchKey, Said)>,
    /// Changes of the IP filter that were heeded.
    filter_changes: u64,
}

/// How it went with an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    NotReached,
    Asked,
    Dropped(FetchFault),
}

/// A connection, or one being set up.
struct Link {
    addr: SocketAddr,
    /// They dialled us.
    incoming: bool,
    /// By what the peer calls the torrent.
    hash: WireHash,
    /// Once the handshake is done.
    peer_id: Option<PeerId>,
    /// Whether it tells of others.
    exchanges: bool,
    pex: PexIntake,
    /// Since when it is of no use but for what it tells.
    lingers: Option<Instant>,
    send: mpsc::UnboundedSender<Message>,
    task: AbortHandle,
}

fn new_peer_list() -> PeerList {
    PeerList::new(PeerListConfig::default(), unguessable())
}

impl Links {
    pub(super) fn new(
        env: Rc<ShardEnv>,
        hashes: InfoHashes,
        tell: mpsc::Sender<(FetchKey, Said)>,
    ) -> Self {
        let filter_changes = env.shared.ip_filter.changes();
        Self {
            filter_changes,
            env,
            hashes,
            hash: hashes.wire(),
            peer_list: new_peer_list(),
            named: BTreeSet::new(),
            by_key: BTreeMap::new(),
            next_key: 0,
            fates: BTreeMap::new(),
            good: Vec::new(),
            closed: Vec::new(),
            tasks: JoinSet::new(),
            tell,
        }
    }

    /// Addresses were learned.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        source: PeerSource,
        addrs: impl IntoIterator<Item = SocketAddr>,
    ) {
        let named = matches!(source, PeerSource::User | PeerSource::Tracker);
        for addr in addrs {
            if named && self.named.len() < MAX_FATES {
                self.named.insert(addr);
            }
            self.peer_list.add(now, addr, source);
        }
    }

    /// From now on only those count whom the user, the link or a tracker named, and those who dial us: the torrent turned
    /// out to be private (BEP 27).
    pub(super) fn keep_named(&mut self, now: Instant) {
        let known = std::mem::replace(&mut self.peer_list, new_peer_list());
        for &addr in self.named.iter().filter(|addr| !known.is_banned(**addr)) {
            self.peer_list.add(now, addr, PeerSource::User);
        }
        self.good.retain(|addr| self.named.contains(addr));
        let dialled = self.by_key.iter().filter(|(_, link)| !link.incoming);
        let dialled: Vec<_> =
            dialled.map(|(key, link)| (*key, link.addr, link.peer_id.is_some())).collect();
        for (key, addr, connected) in dialled {
            if !self.named.contains(&addr) {
                self.close(now, key);
            } else if connected {
                self.peer_list.on_connected(now, addr, true);
            }
        }
    }

    /// Number of addresses known.
    pub(super) fn known(&self) -> usize {
        self.peer_list.len()
    }

    /// Number of connections.
    pub(super) fn connected(&self) -> usize {
        self.by_key.values().filter(|link| link.peer_id.is_some()).count()
    }

    /// How it went with how many addresses.
    pub(super) fn count(&self, which: impl Fn(Fate) -> bool) -> usize {
        self.fates.values().filter(|fate| which(**fate)).count()
    }

    /// Where peers can be dialled: first those that are there, then the best of those that were not tried yet.
    pub(super) fn take_peers(&mut self, now: Instant) -> Vec<SocketAddr> {
        let mut peers = std::mem::take(&mut self.good);
        let room = MAX_PEERS_KEPT.saturating_sub(peers.len());
        peers.extend(self.peer_list.next_to_dial(now, room));
        peers
    }

    /// Leaves those whom a new IP filter blocks.
    fn keep_to_filter(&mut self, now: Instant) {
        let env = Rc::clone(&self.env);
        let filter = &env.shared.ip_filter;
        let changes = filter.changes();
        if std::mem::replace(&mut self.filter_changes, changes) == changes {
            return;
        }
        let blocked = self.by_key.iter().filter(|(_, link)| filter.blocks(link.addr.ip()));
        let blocked: Vec<FetchKey> = blocked.map(|(key, _)| *key).collect();
        blocked.into_iter().for_each(|key| self.close(now, key));
        self.good.retain(|addr| !filter.blocks(addr.ip()));
    }

    /// Dials whom there is room for. Those who lingered long enough make room.
    pub(super) fn drive_dialling(&mut self, now: Instant) {
        self.keep_to_filter(now);
        let waiting = self.peer_list.next_ready(now).is_some_and(|at| at <= now);
        let full = self.by_key.len() >= MAX_CONNECTIONS;
        let limit = if waiting && full { LINGER_AT_LEAST } else { LINGER };
        let over = |link: &Link| link.lingers.is_some_and(|since| since + limit <= now);
        let over: Vec<FetchKey> =
            self.by_key.iter().filter(|(_, link)| over(link)).map(|(key, _)| *key).collect();
        for key in over {
            self.close(now, key);
        }
        let room = MAX_CONNECTIONS.saturating_sub(self.by_key.len());
        for addr in self.peer_list.next_to_dial(now, room) {
            self.add(addr, self.hash, Way::Dial);
        }
    }

    /// When [`Links::drive_dialling`] is to be called next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let lingering = self.by_key.values().filter_map(|link| link.lingers);
        let room = self.by_key.len() < MAX_CONNECTIONS;
        let dial = room.then(|| self.peer_list.next_ready(Instant::ZERO)).flatten();
        let limit = if room { LINGER } else { LINGER_AT_LEAST };
        lingering.map(|since| since + limit).chain(dial).min()
    }

    /// A peer dialled us.
    pub(super) fn accept(&mut self, incoming: Incoming) {
        let addr = incoming.addr;
        if self.by_key.len() >= MAX_WITH_INCOMING || !self.peer_list.admits(addr) {
            return tracing::debug!(%addr, "no room while a link is resolved");
        }
        self.add(addr, incoming.handshake.info_hash, Way::Accept(Box::new(incoming)));
    }

    fn add(&mut self, addr: SocketAddr, hash: WireHash, way: Way) {
        if self.fates.len() >= MAX_FATES {
            self.fates.pop_first();
        }
        let key = FetchKey(self.next_key);
        self.next_key += 1;
        let (send, messages) = mpsc::unbounded_channel();
        let incoming = matches!(way, Way::Accept(_));
        let (env, tell, hashes) = (Rc::clone(&self.env), self.tell.clone(), self.hashes);
        let connection = Connection { env, key, addr, hash, hashes, way, tell, send: messages };
        let task = self.tasks.spawn_local(connection.run());
        let link = Link {
            addr,
            incoming,
            hash,
            peer_id: None,
            exchanges: false,
            pex: PexIntake::default(),
            lingers: None,
            send,
            task,
        };
        self.by_key.insert(key, link);
    }

    /// The handshake is done. Whether the connection is of use: of two with the same peer one is closed.
    pub(super) fn on_connected(
        &mut self,
        now: Instant,
        key: FetchKey,
        peer_id: PeerId,
        hash: WireHash,
    ) -> bool {
        let Some(link) = self.by_key.get_mut(&key) else { return false };
        (link.peer_id, link.hash) = (Some(peer_id), hash);
        let (addr, incoming) = (link.addr, link.incoming);
        self.peer_list.on_connected(now, addr, !incoming);
        // Ids are no secret: from elsewhere it may be somebody who only calls itself so.
        let same = |link: &Link| link.peer_id == Some(peer_id) && link.addr.ip() == addr.ip();
        let twin = self.by_key.iter().find(|(other, link)| **other != key && same(link));
        let twin = twin.map(|(key, link)| (*key, link.incoming));
        if let Some((twin, twin_incoming)) = twin {
            // As torrents have it, so that both ends come to the same answer.
            let we_are_smaller = self.env.shared.peer_id() < peer_id;
            let older_stays = twin_incoming == incoming || twin_incoming != we_are_smaller;
            self.close(now, if older_stays { key } else { twin });
            if older_stays {
                return false;
            }
        }
        if !incoming {
            self.is_good(addr);
        }
        true
    }

    fn is_good(&mut self, addr: SocketAddr) {
        if self.good.len() < MAX_PEERS_KEPT && !self.good.contains(&addr) {
            self.good.push(addr);
        }
    }

    /// A peer said what it can do, and maybe where it listens.
    pub(super) fn on_extensions(&mut self, now: Instant, key: FetchKey, said: &ExtensionHandshake) {
        let Some(link) = self.by_key.get_mut(&key) else { return };
        if said.metadata_len.is_some() {
            // It has got the metadata meanwhile.
            link.lingers = None;
        }
        link.exchanges |= said.id_of(ut_pex::NAME).is_some();
        let (addr, incoming) = (link.addr, link.incoming);
        if let Some(port) = said.port.filter(|_| incoming) {
            self.peer_list.on_listen_port(now, addr, port);
            self.is_good(SocketAddr::new(addr.ip(), port));
        }
    }

    /// A peer names others. One that floods is dropped.
    pub(super) fn on_pex(&mut self, now: Instant, key: FetchKey, payload: &[u8]) {
        let Some(link) = self.by_key.get_mut(&key) else { return };
        match link.pex.take(now, link.addr, payload) {
            Ok(named) => {
                self.learn(now, PeerSource::Pex, named.into_iter().map(|(addr, _)| addr));
            }
            Err(flood) => {
                tracing::info!(addr = %link.addr, error = %flood, "dropped");
                self.close(now, key);
            }
        }
    }

    /// A core asks something of a peer.
    pub(super) fn ask(&mut self, key: FetchKey, message: Message) {
        if let Some(link) = self.by_key.get(&key) {
            self.fates.insert(link.addr, Fate::Asked);
        }
        self.send(key, message);
    }

    pub(super) fn send(&mut self, key: FetchKey, message: Message) {
        if let Some(link) = self.by_key.get(&key) {
            // Fails only if the connection has just ended.
            let _ = link.send.send(message);
        }
    }

    /// A core has no use for a peer.
    pub(super) fn on_useless(&mut self, now: Instant, key: FetchKey, fault: FetchFault) {
        let Some(link) = self.by_key.get_mut(&key) else { return };
        let addr = link.addr;
        self.fates.insert(addr, Fate::Dropped(fault));
        if fault == FetchFault::NoMetadata && link.exchanges {
            link.lingers = Some(now);
            return;
        }
        if fault == FetchFault::Lied {
            tracing::info!(%addr, "this peer sent wrong metadata");
            self.peer_list.ban(addr);
            self.good.retain(|good| *good != addr);
        }
        self.close(now, key);
    }

    pub(super) fn close(&mut self, now: Instant, key: FetchKey) {
        if let Some(link) = self.by_key.get(&key) {
            link.task.abort();
            self.closed.push(key);
        }
        self.on_gone(now, key);
    }

    /// Connections that were closed, for whatever reason, since this was last called.
    pub(super) fn take_closed(&mut self) -> Vec<FetchKey> {
        std::mem::take(&mut self.closed)
    }

    /// Closes all connections; they are closed when this is over.
    pub(super) async fn close_all(&mut self) {
        self.tasks.shutdown().await;
    }

    /// The connection ended, or did not come about.
    pub(super) fn on_gone(&mut self, now: Instant, key: FetchKey) {
        let Some(link) = self.by_key.remove(&key) else { return };
        if link.peer_id.is_some() {
            self.peer_list.on_disconnected(now, link.addr, false);
        } else if !link.incoming {
            self.fates.entry(link.addr).or_insert(Fate::NotReached);
            self.peer_list.on_failed(now, link.addr);
        }
    }

    /// From now on the torrent is called by its v2 hash. Those who know it by that name stay, and are told of; the others may know
    /// only half of a hybrid torrent, and are dialled again.
    pub(super) fn rename(&mut self, now: Instant, hashes: InfoHashes) -> Vec<FetchKey> {
        let hash = hashes.v2().map_or(hashes.wire(), |v2| v2.truncated());
        (self.hashes, self.hash) = (hashes, hash);
        self.fates.clear();
        let (mut stay, mut leave) = (Vec::new(), Vec::new());
        for (key, link) in &mut self.by_key {
            link.lingers = None;
            match link.peer_id {
                Some(_) if link.hash == hash => stay.push(*key),
                None if link.hash == hash => {}
                _ => leave.push(*key),
            }
        }
        for key in leave {
            self.close(now, key);
        }
        for &addr in &self.good {
            // As if the user had named them: at once, and first.
            self.peer_list.add(now, addr, PeerSource::User);
        }
        stay
    }

    pub(super) fn is_open(&self, key: FetchKey) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Whether the peer knows the torrent by the name it has now.
    pub(super) fn is_by_name(&self, key: FetchKey) -> bool {
        self.by_key.get(&key).is_some_and(|link| link.hash == self.hash)
    }

    /// Waits for a task to end, so that what it leaves is cleared away; for ever if there is none.
    pub(super) async fn reap(&mut self) {
        // An error is a panic, reported when it happened, or the end of a connection that was closed.
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
