//! The lookups under way, from the first question to the last store.

mod findings;
mod upkeep;

use super::{Dht, Purpose};
use crate::announces::Announcement;
use crate::lookup::{Lookup, LookupId, PATHS, Storer};
use crate::outbox::{Event, LookupOutcome, Outbox};
use crate::table::BUCKET;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::id::WireHash;
use samara_wire::krpc::{Item, Method, NodeId, NodeInfo, Put, Response, Scrape};
use samara_wire::time::{Duration, Instant};

/// Lookups under way at once.
const MAX_JOBS: usize = 16;

/// Announces under way at once, so that they leave room for what the user waits for.
const MAX_ANNOUNCING: usize = 6;

/// Peers that one lookup finds; more end it early.
const MAX_PEERS: usize = 2000;

/// A lookup takes no longer than this, whatever comes.
const MAX_TIME: Duration = Duration::from_secs(60);

/// An announce that fewer than [`ENOUGH_STORED`] nodes took is made again after this.
const ANNOUNCE_RETRY: Duration = Duration::from_secs(60);

/// Nodes that should have taken an announce. In a network smaller than this, half of those there are.
const ENOUGH_STORED: u32 = 6;

/// If fewer nodes than this named any peer, a lookup for peers looks at [`WIDER`] of the nearest nodes: some
/// of those that should know may have been unreachable for the one who announced.
const FEW_NAMERS: usize = 3;

/// See [`FEW_NAMERS`].
const WIDER: usize = 14;

/// If the nearest nodes found share more than so many bits fewer with the target than our neighbours do with us, the walk
/// ended astray.
const ASTRAY: u32 = 2;

/// Then so many of the nearest must have answered.
const MUCH_WIDER: usize = 28;

/// What a lookup is for.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// Fills the table.
    Nodes {
        joining: bool,
    },
    Peers {
        info_hash: WireHash,
        scrape: bool,
    },
    Announce {
        info_hash: WireHash,
        announcement: Announcement,
    },
    Get {
        salt: Vec<u8>,
    },
    Put {
        item: Box<Item>,
        salt: Vec<u8>,
        cas: Option<i64>,
    },
    /// Looks whether there is something newer than `known`, and gives the newest `item` to those who lack it.
    Watch {
        salt: Vec<u8>,
        known: Option<i64>,
        item: Option<Box<Item>>,
        /// Also to those who have it.
        renew: bool,
    },
    Samples,
}

/// A lookup under way.
#[derive(Debug)]
pub(super) struct Job {
    goal: Goal,
    lookup: Lookup,
    started: Instant,
    peers: BTreeSet<SocketAddr>,
    scrape: Scrape,
    /// Highest number of a mutable item found, or -1 for an immutable one. When something is put: one that is newer.
    found_seq: Option<i64>,
    hops: u8,
    /// Who has neither stored it nor refused, and how often each was asked; `None` while still walking.
    storing: Option<BTreeMap<SocketAddr, u8>>,
    stored: u32,
    /// Nodes that were asked to store it.
    to_store: u32,
}

impl Job {
    fn method(&self) -> Method {
        let target = self.lookup.target();
        match &self.goal {
            Goal::Nodes { .. } => Method::FindNode { target },
            Goal::Peers { info_hash, scrape } => {
                Method::GetPeers { info_hash: *info_hash, no_seeds: false, scrape: *scrape }
            }
            Goal::Announce { info_hash, announcement } => Method::GetPeers {
                info_hash: *info_hash,
                no_seeds: announcement.seed,
                scrape: false,
            },
            Goal::Get { .. } | Goal::Put { .. } => Method::Get { target, seq: None },
            // Whoever has nothing newer shall not send all of it.
            Goal::Watch { known, .. } => Method::Get { target, seq: *known },
            Goal::Samples => Method::SampleInfohashes { target },
        }
    }

    /// What is asked of a node that would store what is to be stored.
    fn store_method(&self, storer: &Storer) -> Option<Method> {
        match &self.goal {
            Goal::Announce { info_hash, announcement } => Some(Method::AnnouncePeer {
                info_hash: *info_hash,
                port: announcement.port,
                token: storer.token.clone(),
                seed: announcement.seed,
            }),
            Goal::Put { item, salt, cas } => {
                // Where something newer is known, ours would only be refused.
                self.found_seq.is_none().then(|| put(storer, item, salt, *cas))
            }
            Goal::Watch { item: Some(item), salt, renew, .. } => {
                let ours = item.signed.map(|signed| signed.seq);
                let lacks = storer.seq < ours || (*renew && storer.seq == ours);
                lacks.then(|| put(storer, item, salt, None))
            }
            _ => None,
        }
    }

    /// Whether nobody is left who may still store something.
    fn has_ended(&self) -> bool {
        self.storing.as_ref().is_some_and(BTreeMap::is_empty)
    }

    const fn fills_table(&self) -> bool {
        matches!(self.goal, Goal::Nodes { .. })
    }

    const fn wants_peers(&self) -> bool {
        matches!(self.goal, Goal::Peers { .. })
    }

    /// Whether enough was found to stop early. What is to be stored wants the nearest nodes, so it never does.
    fn has_enough(&self) -> bool {
        match &self.goal {
            Goal::Peers { scrape: false, .. } => self.peers.len() >= MAX_PEERS,
            // A mutable item may have a higher number elsewhere.
            Goal::Get { .. } => self.found_seq == Some(-1),
            _ => false,
        }
    }

    /// About how many seeds and other peers there are. Peers that were named and are not known to be seeds count as
    /// peers: not everybody knows BEP 33 or has room for its filters in an answer.
    fn swarm(&self) -> (f64, f64) {
        let Scrape { seeds, peers } = &self.scrape;
        let mut peers = peers.clone();
        let named = self.peers.iter().map(SocketAddr::ip);
        named.filter(|ip| !seeds.contains(*ip)).for_each(|ip| peers.insert(ip));
        (seeds.estimate(), peers.estimate())
    }

    fn outcome(&self, now: Instant) -> LookupOutcome {
        let (asked, answered) = self.lookup.counts();
        let scraped = matches!(self.goal, Goal::Peers { scrape: true, .. });
        LookupOutcome {
            target: self.lookup.target(),
            asked,
            answered,
            peers: self.peers.len(),
            hops: self.hops,
            depth: self.lookup.depth(),
            stored: self.stored,
            took: now - self.started,
            swarm: scraped.then(|| self.swarm()),
        }
    }
}

fn put(storer: &Storer, item: &Item, salt: &[u8], cas: Option<i64>) -> Method {
    Method::Put(Box::new(Put {
        token: storer.token.clone(),
        item: item.clone(),
        // To be left out where nothing was found (BEP 44).
        cas: cas.filter(|_| storer.seq.is_some()),
        salt: salt.into(),
    }))
}

impl Dht {
    pub(super) fn new_lookup(&mut self) -> LookupId {
        self.last_lookup += 1;
        LookupId(self.last_lookup)
    }

    /// Begins a lookup now, whatever waits.
    pub(super) fn start_job(
        &mut self,
        now: Instant,
        id: LookupId,
        target: NodeId,
        goal: Goal,
        out: &mut Outbox,
    ) {
        self.table.touch(now, &target);
        let mut from = self.table.closest(&target, 2 * BUCKET);
        let mut entries = Vec::new();
        // Who is known to be there is a better beginning than who was there once, or the routers.
        let joining = matches!(goal, Goal::Nodes { joining: true });
        if from.len() < if joining { BUCKET } else { PATHS } {
            // What was saved may be gone, so it does not count as known until it answers.
            let saved = self.config.saved.iter().flat_map(|saved| &saved.nodes);
            let ours = saved.filter(|node| self.config.family.is_of(node.addr.ip()));
            entries.extend(ours.take(32).map(|node| node.addr));
            entries.extend(&self.config.routers);
        }
        from.retain(|node| node.id != self.id());
        let mut job = Job {
            goal,
            lookup: Lookup::new(target, self.config.restrict_ips, &from, &entries),
            started: now,
            peers: BTreeSet::new(),
            scrape: Scrape::default(),
            found_seq: None,
            hops: 0,
            storing: None,
            stored: 0,
            to_store: 1,
        };
        // We may be one of those who keep it, and in a small network the only one.
        job.take_findings(id, self.own_answer(&job), out);
        self.jobs.insert(id, job);
        self.drive_job(now, id, out);
    }

    /// What another node would hear from us.
    fn own_answer(&mut self, job: &Job) -> Response {
        let mut answer = Response::default();
        match &job.goal {
            Goal::Peers { info_hash, scrape } => {
                answer.values = Some(self.peers.some(info_hash, false, MAX_PEERS, &mut self.rng));
                answer.scrape = self.peers.scrape(info_hash).filter(|_| *scrape);
            }
            Goal::Announce { info_hash, .. } => {
                answer.values = Some(self.peers.some(info_hash, false, MAX_PEERS, &mut self.rng));
            }
            Goal::Get { .. } | Goal::Watch { .. } => {
                let item = self.items.get(&job.lookup.target());
                answer.item = item.map(|item| Box::new(item.clone()));
            }
            Goal::Put { .. } | Goal::Samples | Goal::Nodes { .. } => {}
        }
        answer
    }

    pub(super) fn may_announce(&self) -> bool {
        let announcing = |job: &&Job| {
            matches!(job.goal, Goal::Announce { .. } | Goal::Put { .. } | Goal::Watch { .. })
        };
        !self.table.is_empty()
            && !self.is_joining()
            && self.jobs.len() < MAX_JOBS
            && self.jobs.values().filter(announcing).count() < MAX_ANNOUNCING
    }

    pub(super) fn is_joining(&self) -> bool {
        self.jobs.values().any(|job| matches!(job.goal, Goal::Nodes { joining: true }))
    }

    /// Whether what is looked for is to wait: a lookup that begins before we know anybody finds nothing. One node for each path
    /// is enough; joining goes on beside it. What is to be stored always waits: it wants the nearest nodes, and who has
    /// joined finds those.
    fn is_too_early(&self) -> bool {
        self.table.len() < PATHS && self.is_joining()
    }

    /// Begins what waits, as far as there is room.
    pub(super) fn drive_waiting(&mut self, now: Instant, out: &mut Outbox) {
        if !self.running {
            return;
        }
        while self.jobs.len() < MAX_JOBS
            && !self.is_too_early()
            && let Some((id, target, goal)) = self.waiting.pop_front()
        {
            self.start_job(now, id, target, goal, out);
        }
        while self.may_announce()
            && let Some(info_hash) = self.announces.poll(now, &mut self.rng)
            && let Some(announcement) = self.announces.get(&info_hash)
        {
            let (id, target) = (self.new_lookup(), NodeId(info_hash.0));
            self.start_job(now, id, target, Goal::Announce { info_hash, announcement }, out);
        }
        while self.may_announce()
            && let Some(due) = self.upkeep.poll(now, &mut self.rng)
        {
            self.start_upkeep(now, due, out);
        }
    }

    /// Asks whom the lookup wants to ask, and goes on to the next stage when it is done.
    pub(super) fn drive_job(&mut self, now: Instant, id: LookupId, out: &mut Outbox) {
        let near = self.table.neighbour_bits();
        loop {
            let Some(job) = self.jobs.get_mut(&id) else { return };
            if job.storing.is_some() {
                break;
            }
            if job.lookup.is_done()
                && !job.fills_table()
                && job.lookup.shared_bits() + ASTRAY < near
            {
                job.lookup.widen(MUCH_WIDER);
            }
            let over = now - job.started >= MAX_TIME;
            if job.lookup.is_done() && job.lookup.finders() < FEW_NAMERS && job.wants_peers() {
                job.lookup.widen(WIDER);
            }
            if over || job.has_enough() || job.lookup.is_done() {
                return self.finish_walk(now, id, out);
            }
            if !self.requests.has_room() || !self.queries.take(now, 0) {
                break;
            }
            let may_ask = self.queries.ready_at() <= now;
            if !may_ask {
                self.stalled = true;
                break;
            }
            let method = job.method();
            let Some((addr, node)) = job.lookup.next_to_ask() else { break };
            self.ask(now, addr, node, method, Purpose::Walk(id), out);
        }
    }

    pub(super) fn drive_all(&mut self, now: Instant, out: &mut Outbox) {
        self.stalled = false;
        let ids: Vec<LookupId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.drive_job(now, id, out);
        }
        self.drive_waiting(now, out);
    }

    /// The nearest nodes are known: store there what is to be stored.
    fn finish_walk(&mut self, now: Instant, id: LookupId, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let storers = job.lookup.storers();
        let stores: Vec<_> = storers
            .into_iter()
            .filter_map(|storer| Some((storer.info, job.store_method(&storer)?)))
            .collect();
        let mut storing = BTreeMap::new();
        for (node, method) in stores {
            if self.ask(now, node.addr, Some(node.id), method, Purpose::Store(id), out) {
                storing.insert(node.addr, 1);
            }
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.to_store = u32::try_from(storing.len()).unwrap_or(u32::MAX).max(1);
            job.storing = Some(storing);
        }
        self.end_if_stored(now, id, out);
    }

    /// A store is slow: once more, should it have been lost. The first to be answered counts.
    pub(super) fn on_store_slow(
        &mut self,
        now: Instant,
        id: LookupId,
        to: NodeInfo,
        out: &mut Outbox,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let asked = job.storing.as_ref().and_then(|storing| storing.get(&to.addr));
        if asked != Some(&1) {
            return;
        }
        let storers = job.lookup.storers();
        let storer = storers.iter().find(|storer| storer.info == to);
        let Some(method) = storer.and_then(|storer| job.store_method(storer)) else { return };
        if self.ask(now, to.addr, Some(to.id), method, Purpose::Store(id), out)
            && let Some(storing) = self.jobs.get_mut(&id).and_then(|job| job.storing.as_mut())
        {
            storing.insert(to.addr, 2);
        }
    }

    /// A store was answered, or will not be.
    pub(super) fn on_store_ended(
        &mut self,
        now: Instant,
        id: LookupId,
        by: SocketAddr,
        stored: bool,
        out: &mut Outbox,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(storing) = &mut job.storing else { return };
        let Some(asked) = storing.get_mut(&by) else { return };
        *asked -= 1;
        if stored || *asked == 0 {
            storing.remove(&by);
        }
        job.stored += u32::from(stored);
        self.end_if_stored(now, id, out);
    }

    fn end_if_stored(&mut self, now: Instant, id: LookupId, out: &mut Outbox) {
        if !self.jobs.get(&id).is_some_and(Job::has_ended) {
            return;
        }
        let Some(job) = self.jobs.remove(&id) else { return };
        // Tried again only where there were nodes that could have taken it.
        let enough = job.stored >= ENOUGH_STORED.min(job.to_store);
        let target = job.lookup.target();
        let outcome = job.outcome(now);
        let mut awaited = true;
        match job.goal {
            Goal::Nodes { joining } => {
                awaited = false;
                if joining {
                    self.on_joined(out);
                }
            }
            Goal::Announce { info_hash, .. } if !enough => {
                self.announces.retry(now, &info_hash, ANNOUNCE_RETRY);
            }
            Goal::Put { item, .. } => {
                self.upkeep.put_ended(now, &target, &item, enough);
                if let Some(newer) = job.found_seq {
                    self.upkeep.superseded(&target, newer);
                }
            }
            Goal::Watch { item, .. } => {
                awaited = false;
                self.upkeep.watch_ended(now, id, item, outcome.answered > 0);
            }
            _ => {}
        }
        if awaited {
            out.event(Event::LookupDone { lookup: id, outcome });
        }
        self.drive_waiting(now, out);
    }

    /// A node on the way has answered.
    pub(super) fn on_walk_answered(
        &mut self,
        now: Instant,
        id: LookupId,
        from: NodeInfo,
        response: Response,
        nodes: &[NodeInfo],
        out: &mut Outbox,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let hops =
            job.lookup.answered(from.addr, from.id, response.token.clone(), response.seq, nodes);
        if job.take_findings(id, response, out) {
            job.lookup.found_at(from.addr);
            if job.hops == 0 {
                job.hops = hops.max(1);
            }
        }
        self.drive_job(now, id, out);
    }

    /// A node on the way is slow (`ended` is false) or will not answer.
    pub(super) fn on_walk_silent(
        &mut self,
        now: Instant,
        id: LookupId,
        addr: SocketAddr,
        ended: bool,
        out: &mut Outbox,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if ended {
            job.lookup.failed(addr);
        } else {
            job.lookup.slow(addr);
        }
        self.drive_job(now, id, out);
    }
}
