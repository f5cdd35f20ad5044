//! Whom to ask next on the way to a target.
//!
//! A lookup asks the nearest nodes it knows for nodes that are nearer still, until the [`BUCKET`] nearest that answer
//! are known. It walks on [`PATHS`] disjoint paths: a node belongs to the path that named it first and is
//! asked for that path alone, so one who lies spoils one path and not the others. All paths share the
//! knowledge of how near the others came, so they cost no more than one.
//!
//! Bounds: so many nodes remembered and asked, one for each IP address and each network (except local ones), so many taken from
//! each answer. Whoever named nodes that are not there is doubted: those that only he named are asked last. Whoever goes on so is
//! disbelieved: once enough nodes answer, those that only he named are not asked at all, and nothing is stored with him. A node
//! of his that answers makes good for two that do not, because honest nodes name some that are behind a NAT or have left.

use crate::table::{BUCKET, network_of};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::krpc::{Distance, NodeId, NodeInfo, Token, is_local};

/// Names a lookup until it is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LookupId(pub u64);

/// Disjoint paths.
pub const PATHS: usize = 3;

/// Questions under way on one path.
const PER_PATH: usize = 2;

/// Nodes a lookup remembers.
const MAX_CANDIDATES: usize = 300;

/// Nodes a lookup asks.
pub const MAX_ASKED: u32 = 160;

/// Nodes taken from one answer. Some implementations tell sixteen.
const MAX_FROM_ANSWER: usize = 16;

/// After so many nodes that are not there, the one who named them is doubted.
const DOUBTED: u8 = 2;

/// And after so many disbelieved. With two instead of four, one announce of forty in the simulator ended far from its
/// target, because two unreachable nodes had cost each honest guide there its credit.
const DISBELIEVED: u8 = 4;

/// Nodes that are not there for which one that is makes good.
const WORTH: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Asked,
    /// Asked, and others are asked in its place.
    Slow,
    Answered,
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    /// Unknown for an entry point that is only an address.
    id: Option<NodeId>,
    addr: SocketAddr,
    distance: Option<Distance>,
    path: usize,
    /// Steps from our own table.
    depth: u8,
    named_by: Option<SocketAddr>,
    /// Another has named it too.
    vouched: bool,
    state: State,
    token: Option<Token>,
    /// Number of a mutable item it holds.
    seq: Option<i64>,
    /// It had what is looked for.
    has: bool,
}

/// What became of the nodes that one node named.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    there: u8,
    absent: u8,
}

impl Word {
    /// How far it is to be mistrusted: see [`DOUBTED`] and [`DISBELIEVED`].
    const fn doubt(self) -> u8 {
        self.absent.saturating_sub(self.there.saturating_mul(WORTH))
    }
}

/// The way to one target.
#[derive(Debug)]
pub struct Lookup {
    target: NodeId,
    /// Nearest first; those without an id before all.
    candidates: Vec<Candidate>,
    networks: BTreeSet<u64>,
    /// Whose word is worth what.
    words: BTreeMap<SocketAddr, Word>,
    restrict: bool,
    /// Nearest nodes that must have answered.
    width: usize,
    asked: u32,
    answered: u32,
}

/// A node that would store something.
#[derive(Clone, Debug)]
pub struct Storer {
    /// The node.
    pub info: NodeInfo,
    /// What permits us.
    pub token: Token,
    /// Number of the mutable item it holds now.
    pub seq: Option<i64>,
}

impl Lookup {
    /// A lookup towards `target` that begins at `from`, nearest first, and `entries`, whose ids are not known.
    #[must_use]
    pub fn new(target: NodeId, restrict: bool, from: &[NodeInfo], entries: &[SocketAddr]) -> Self {
        let mut lookup = Self {
            target,
            candidates: Vec::new(),
            networks: BTreeSet::new(),
            words: BTreeMap::new(),
            restrict,
            width: BUCKET,
            asked: 0,
            answered: 0,
        };
        for (n, node) in from.iter().enumerate() {
            lookup.add(Some(node.id), node.addr, n % PATHS, 1, None);
        }
        for (n, addr) in entries.iter().enumerate() {
            lookup.add(None, *addr, n % PATHS, 0, None);
        }
        lookup
    }

    /// Where it goes.
    #[must_use]
    pub const fn target(&self) -> NodeId {
        self.target
    }

    /// Steps to the nearest node that answered; 0 if none did.
    #[must_use]
    pub fn depth(&self) -> u8 {
        let nearest = self.candidates.iter().find(|c| c.state == State::Answered);
        nearest.map_or(0, |c| c.depth.max(1))
    }

    /// Nodes asked, and nodes that answered.
    #[must_use]
    pub const fn counts(&self) -> (u32, u32) {
        (self.asked, self.answered)
    }

    fn add(
        &mut self,
        id: Option<NodeId>,
        addr: SocketAddr,
        path: usize,
        depth: u8,
        named_by: Option<SocketAddr>,
    ) {
        if let Some(known) = self.candidates.iter_mut().find(|known| known.addr == addr) {
            known.vouched |= known.named_by != named_by;
            return;
        }
        let fenced = self.restrict && !is_local(addr.ip());
        if fenced && self.networks.contains(&network_of(addr)) {
            return;
        }
        let distance = id.map(|id| id.distance(&self.target));
        let at = self.candidates.partition_point(|known| known.distance <= distance);
        if self.candidates.len() >= MAX_CANDIDATES {
            // The farthest that was not asked makes room.
            let last = self.candidates.iter().rposition(|c| c.state == State::New);
            let Some(last) = last.filter(|&last| last >= at) else { return };
            let last = self.candidates.remove(last);
            self.networks.remove(&network_of(last.addr));
        }
        self.networks.insert(network_of(addr));
        let candidate = Candidate {
            id,
            addr,
            distance,
            path,
            depth,
            named_by,
            vouched: false,
            state: State::New,
            token: None,
            seq: None,
            has: false,
        };
        self.candidates.insert(at, candidate);
    }

    /// The next node to ask, if one is to be asked now. It counts as asked.
    pub fn next_to_ask(&mut self) -> Option<(SocketAddr, Option<NodeId>)> {
        if self.asked >= MAX_ASKED {
            return None;
        }
        let near = self.near_enough();
        let mut under_way = [0; PATHS];
        for candidate in self.candidates.iter().filter(|c| c.state == State::Asked) {
            under_way[candidate.path] += 1;
        }
        let open = |candidate: &Candidate| {
            candidate.state == State::New && under_way[candidate.path] < PER_PATH
        };
        let near = &self.candidates[..near];
        let at = near
            .iter()
            .position(|candidate| open(candidate) && self.doubt_in(candidate) < DOUBTED)
            .or_else(|| near.iter().position(open))?;
        self.asked += 1;
        let candidate = &mut self.candidates[at];
        candidate.state = State::Asked;
        Some((candidate.addr, candidate.id))
    }

    /// How far those are doubted who named `candidate`.
    fn doubt_in(&self, candidate: &Candidate) -> u8 {
        if candidate.vouched { 0 } else { candidate.named_by.map_or(0, |by| self.doubt_of(by)) }
    }

    fn doubt_of(&self, addr: SocketAddr) -> u8 {
        self.words.get(&addr).map_or(0, |word| word.doubt())
    }

    /// Goes on until so many of the nearest have answered, rather than [`BUCKET`].
    pub fn widen(&mut self, width: usize) {
        self.width = self.width.max(width);
    }

    /// Leading bits that the target shares with all of the [`BUCKET`] nearest that answered; 0 if fewer did.
    #[must_use]
    pub fn shared_bits(&self) -> u32 {
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered);
        let id = answered.filter_map(|c| c.id).nth(BUCKET - 1);
        id.map_or(0, |id| id.shared_bits(&self.target))
    }

    /// How many candidates are nearer than the last of the nearest that answered.
    fn near_enough(&self) -> usize {
        let answered = |(at, candidate): (usize, &Candidate)| {
            (candidate.state == State::Answered).then_some(at)
        };
        let last = self.candidates.iter().enumerate().filter_map(answered).nth(self.width - 1);
        last.unwrap_or(self.candidates.len())
    }

    /// A node answered with these nodes. Gives how many steps it is away.
    pub fn answered(
        &mut self,
        from: SocketAddr,
        id: NodeId,
        token: Option<Token>,
        seq: Option<i64>,
        nodes: &[NodeInfo],
    ) -> u8 {
        let Some(at) = self.waiting(from) else { return 0 };
        let mut candidate = self.candidates.remove(at);
        if let Some(by) = candidate.named_by {
            let word = self.words.entry(by).or_default();
            word.there = word.there.saturating_add(1);
            // It was counted among the absent too early.
            word.absent = word.absent.saturating_sub(u8::from(candidate.state == State::Slow));
        }
        candidate.state = State::Answered;
        candidate.id = Some(id);
        candidate.distance = Some(id.distance(&self.target));
        candidate.token = token;
        candidate.seq = seq;
        let (path, depth) = (candidate.path, candidate.depth);
        let to = self.candidates.partition_point(|known| known.distance <= candidate.distance);
        self.candidates.insert(to, candidate);
        self.answered += 1;
        for node in nodes.iter().take(MAX_FROM_ANSWER) {
            self.add(Some(node.id), node.addr, path, depth.saturating_add(1), Some(from));
        }
        depth
    }

    /// A node that has answered had what is looked for.
    pub fn found_at(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.candidates.iter_mut().find(|c| c.addr == addr) {
            candidate.has = true;
        }
    }

    /// Nodes that had what is looked for and are not disbelieved.
    #[must_use]
    pub fn finders(&self) -> usize {
        let believed = |c: &&Candidate| c.has && self.doubt_of(c.addr) < DISBELIEVED;
        self.candidates.iter().filter(believed).count()
    }

    /// A node is slow: another is asked in its place.
    pub fn slow(&mut self, addr: SocketAddr) {
        let Some(at) = self.waiting(addr) else { return };
        self.candidates[at].state = State::Slow;
        if let Some(by) = self.candidates[at].named_by {
            let word = self.words.entry(by).or_default();
            word.absent = word.absent.saturating_add(1);
        }
    }

    /// A node did not answer, or not as it should.
    pub fn failed(&mut self, addr: SocketAddr) {
        if let Some(at) = self.waiting(addr) {
            self.candidates[at].state = State::Failed;
        }
    }

    fn waiting(&self, addr: SocketAddr) -> Option<usize> {
        let waits = |c: &Candidate| matches!(c.state, State::Asked | State::Slow);
        self.candidates.iter().position(|c| c.addr == addr && waits(c))
    }

    /// Whether nothing nearer can be learned any more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let exhausted = self.asked >= MAX_ASKED;
        let near = self.near_enough();
        let reach = if exhausted { self.candidates.len() } else { near };
        // With fewer than eight that answer, nothing is nearer than the last of them.
        let enough = near < self.candidates.len();
        !self.candidates[..reach].iter().any(|candidate| match candidate.state {
            State::New => !exhausted && (!enough || self.doubt_in(candidate) < DISBELIEVED),
            State::Asked => true,
            State::Slow | State::Answered | State::Failed => false,
        })
    }

    /// The nearest nodes that gave a token and are not disbelieved.
    #[must_use]
    pub fn storers(&self) -> Vec<Storer> {
        let storer = |c: &Candidate| {
            let info = NodeInfo { id: c.id?, addr: c.addr };
            let believed = c.state == State::Answered && self.doubt_of(c.addr) < DISBELIEVED;
            let token = c.token.clone().filter(|_| believed)?;
            Some(Storer { info, token, seq: c.seq })
        };
        self.candidates.iter().filter_map(storer).take(BUCKET).collect()
    }
}

#[cfg(test)]
mod tests;
