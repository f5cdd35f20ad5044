//! One node of the DHT in one address family.
//!
//! [`Dht`] is told what happened — a datagram came, time passed, somebody wants peers — and leaves what is to be
//! done in an [`Outbox`], which the shell drains after each call. After each call it asks [`Dht::next_timeout`] and calls
//! [`Dht::handle_timeout`] no later than then. The node never sees a socket, a file or a clock.
//!
//! | file | decides |
//! | --- | --- |
//! | `commands` | what the user of the node can ask for |
//! | `answer` | what others are answered |
//! | `receive` | what becomes of the answers to our questions |
//! | `jobs` | the lookups under way, from the first question to the last store |
//! | `maintain` | what time alone brings about: joining, refreshing, forgetting |
//!
//! Invariants:
//! - an answer counts only if it comes from the endpoint that was asked and carries the question's number;
//! - only nodes that answered are in the table, and only from it are nodes told to others;
//! - to an address that has proven nothing, no datagram causes more than [`AMPLIFICATION`] times its own bytes;
//! - a read-only node answers no query (BEP 43).

mod answer;
mod commands;
mod jobs;
mod maintain;
mod receive;
#[cfg(test)]
mod tests;

pub use commands::{PutError, WatchError};

use crate::announces::AnnounceSchedule;
use crate::external::External;
use crate::item_store::ItemStore;
use crate::lookup::LookupId;
use crate::other_family::OtherFamily;
use crate::outbox::{Effect, Outbox};
use crate::peer_store::PeerStore;
#[expect(unused_imports, reason = "named in the documentation")]
use crate::proven::AMPLIFICATION;
use crate::proven::Proven;
use crate::rate::{Bucket, Sources};
use crate::requests::{Request, Requests};
use crate::rng::Rng;
use crate::saved::SavedTable;
use crate::table::{Table, Worth};
use crate::token::Tokens;
use crate::upkeep::Upkeep;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use jobs::{Goal, Job};
use samara_wire::id::WireHash;
use samara_wire::krpc::{Body, Method, NodeId, NodeInfo, Packet, Query, TransactionId, Want};
use samara_wire::time::{Duration, Instant};

/// How our packets name the program (`v`): the letters of our peer id and two bytes of version.
const CLIENT: [u8; 4] = *b"SM\x00\x01";

/// Nodes that asked us something and are asked back a second, and at once.
const CURIOSITY: (u32, u32) = (5, 20);

/// The network a node lives in (BEP 32).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Whether `ip` is of this family.
    #[must_use]
    pub const fn is_of(self, ip: IpAddr) -> bool {
        matches!((self, ip), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }
}

/// How a node is made.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// The network it lives in.
    pub family: Family,
    /// 32 random bytes that nobody else knows: tokens, transaction ids and the node's id come of them.
    pub seed: [u8; 32],
    /// Our address, if it is known; the node's id is made to fit it (BEP 42).
    pub external_ip: Option<IpAddr>,
    /// What an earlier run left.
    pub saved: Option<SavedTable>,
    /// Nodes by which to join if no others are known, resolved.
    pub routers: Vec<SocketAddr>,
    /// Answers no queries and asks not to be remembered (BEP 43): for machines that cannot be reached or shall
    /// not spend anything.
    pub read_only: bool,
    /// Limits how many nodes of one address and one network are believed. Only a test would not want that.
    pub restrict_ips: bool,
    /// Asks for nodes of the other family as well, which come out as [`crate::Event::OtherFamily`].
    pub want_other_family: bool,
    /// Time between two announces of one torrent.
    pub announce_interval: Duration,
    /// Questions a second, and at once.
    pub queries: (u32, u32),
    /// Bytes of answers a second, and at once.
    pub answer_bytes: (u32, u32),
}

impl DhtConfig {
    /// A node with the usual limits that knows nobody.
    #[must_use]
    pub const fn new(family: Family, seed: [u8; 32]) -> Self {
        Self {
            family,
            seed,
            external_ip: None,
            saved: None,
            routers: Vec::new(),
            read_only: false,
            restrict_ips: true,
            want_other_family: false,
            announce_interval: Duration::from_secs(15 * 60),
            queries: (200, 400),
            answer_bytes: (8_000, 64_000),
        }
    }
}

/// Why a question was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// To see whether it is there.
    Ping,
    /// On the way to a target.
    Walk(LookupId),
    /// To store something at the target.
    Store(LookupId),
}

/// One node. See the module's head for the contract.
#[derive(Debug)]
pub struct Dht {
    config: DhtConfig,
    rng: Rng,
    table: Table,
    requests: Requests<Purpose>,
    jobs: BTreeMap<LookupId, Job>,
    /// Asked for by the user, waiting for their turn.
    waiting: VecDeque<(LookupId, NodeId, Goal)>,
    last_lookup: u64,
    announces: AnnounceSchedule,
    upkeep: Upkeep,
    tokens: Tokens,
    peers: PeerStore,
    items: ItemStore,
    proven: Proven,
    sources: Sources,
    queries: Bucket,
    /// Questions to those who asked us, so that a flood of forged ones costs us no question we need.
    curiosity: Bucket,
    answer_bytes: Bucket,
    external: External,
    other_family: OtherFamily,
    running: bool,
    /// Some job has a question to ask, and the limit does not let it.
    stalled: bool,
    next_tick: Instant,
    next_expiry: Instant,
    /// When to join (again), if that is to be.
    join_at: Option<Instant>,
    join_pause: Duration,
}

impl Dht {
    /// A node. Nothing goes out before [`Dht::handle_start`].
    #[must_use]
    pub fn new(now: Instant, config: DhtConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let random = rng.next_20();
        let saved = config.saved.as_ref().map(|saved| saved.id);
        let id = match (saved, config.external_ip) {
            (Some(id), Some(ip)) if id.is_valid_for(ip) => id,
            (_, Some(ip)) => NodeId::for_ip(ip, random),
            (Some(id), None) => id,
            (None, None) => NodeId(random),
        };
        Self {
            table: Table::new(id, config.restrict_ips),
            requests: Requests::new(),
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            last_lookup: 0,
            announces: AnnounceSchedule::new(config.announce_interval),
            upkeep: Upkeep::default(),
            tokens: Tokens::new(now, &mut rng),
            peers: PeerStore::default(),
            items: ItemStore::default(),
            proven: Proven::default(),
            sources: Sources::new(&mut rng),
            curiosity: Bucket::new(CURIOSITY.0, CURIOSITY.1),
            queries: Bucket::new(config.queries.0, config.queries.1),
            answer_bytes: Bucket::new(config.answer_bytes.0, config.answer_bytes.1),
            external: External::new(config.external_ip),
            other_family: OtherFamily::default(),
            running: false,
            stalled: false,
            next_tick: now,
            next_expiry: now,
            join_at: None,
            join_pause: Duration::ZERO,
            rng,
            config,
        }
    }

    /// Our id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.table.own()
    }

    /// Number of nodes in the table.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.table.len()
    }

    /// Our address, as far as it is known (BEP 42).
    #[must_use]
    pub const fn external_ip(&self) -> Option<IpAddr> {
        self.external.ip()
    }

    /// Whether `peer` was announced to us for `torrent` and is told to those who ask.
    #[must_use]
    pub fn has_peer(&self, torrent: &WireHash, peer: SocketAddr) -> bool {
        self.peers.contains(torrent, peer)
    }

    /// What should survive a restart: our id and the nodes that answered lately, the good ones first.
    #[must_use]
    pub fn save(&self, now: Instant) -> SavedTable {
        let mut entries: Vec<_> = self.table.live().copied().collect();
        entries.retain(|entry| entry.worth(now) != Worth::Bad);
        entries.sort_by_key(|entry| core::cmp::Reverse(entry.heard));
        SavedTable { id: self.id(), nodes: entries.into_iter().map(|entry| entry.info).collect() }
    }

    /// The nodes that answered lately, for our node of the other family, which tells them to those who ask for both
    /// ([`Dht::handle_other_family`]).
    #[must_use]
    pub fn good_nodes(&self, now: Instant) -> Vec<NodeInfo> {
        let good = self.table.live().filter(|entry| entry.worth(now) == Worth::Good);
        good.map(|entry| entry.info).collect()
    }

    /// When [`Dht::handle_timeout`] wants to be called at the latest. `None` before the start.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if !self.running {
            return None;
        }
        let stalled = self.stalled.then(|| self.queries.ready_at());
        let turns = [self.announces.next_timeout(), self.upkeep.next_timeout()];
        let turn = turns.into_iter().flatten().min().filter(|_| self.may_announce());
        let timers = [Some(self.next_tick), self.requests.next_timeout(), stalled, turn];
        timers.into_iter().flatten().min()
    }

    /// Asks `addr`, if the limits allow it.
    fn ask(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        id: Option<NodeId>,
        method: Method,
        purpose: Purpose,
        out: &mut Outbox,
    ) -> bool {
        if !self.requests.has_room() || !self.queries.take(now, 1) {
            return false;
        }
        let number = loop {
            let number = self.rng.next_u32();
            if !self.requests.contains(number) {
                break number;
            }
        };
        let both = self.config.want_other_family;
        let packet = Packet {
            transaction: TransactionId::new(&number.to_be_bytes()).expect("four bytes"),
            client: Some(CLIENT),
            read_only: self.config.read_only,
            your_addr: None,
            body: Body::Query(Query { id: self.id(), want: Want { v4: both, v6: both }, method }),
        };
        self.requests.insert(number, Request { addr, id, purpose, sent: now });
        out.push(Effect::Send(addr, packet.encode()));
        true
    }

    fn ask_ping(&mut self, now: Instant, node: NodeInfo, out: &mut Outbox) -> bool {
        self.ask(now, node.addr, Some(node.id), Method::Ping, Purpose::Ping, out)
    }
}
