//! The routing table: which nodes are remembered (BEP 5).
//!
//! [`BUCKETS`] buckets of eight, the `n`th for ids that share exactly `n` leading bits with ours and the last for all that
//! share more, each with eight more nodes in reserve. Only nodes that have answered us enter: a question can be forged, an answer cannot.
//!
//! Against one who wants to surround us: one node for each IP address in the whole table and one for each
//! network (/24, /48) in a bucket, except in local networks; nodes whose id fits their address (BEP 42) take the place of those
//! whose does not; a node that answers is never pushed out by another of its kind.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use samara_wire::krpc::{Distance, NodeId, NodeInfo, is_local};
use samara_wire::time::{Duration, Instant};

/// Nodes in a bucket, and nodes a lookup ends with: the K of Kademlia.
pub const BUCKET: usize = 8;

/// Buckets: enough for thirty thousand million nodes. More would only let one who invents ids near ours make us refresh
/// them all.
pub const BUCKETS: usize = 32;

/// A node not heard for so long is questionable, and a bucket not touched for so long is refreshed (BEP 5).
pub const FRESH: Duration = Duration::from_secs(15 * 60);

/// A new node is asked once more after this. Of one behind a NAT we may have heard only because it had just written to us; by
/// then the NAT has forgotten that, nobody can reach it, and it makes room.
const PROBATION: Duration = Duration::from_secs(3 * 60);

/// A new bucket is refreshed after this and a part of [`FIRST_REFRESH_SPREAD`].
const FIRST_REFRESH: Duration = Duration::from_secs(20);

/// See [`FIRST_REFRESH`].
const FIRST_REFRESH_SPREAD: Duration = Duration::from_secs(160);

/// After so many questions without an answer a node is bad: it is told to nobody, and any other takes its place.
const BAD: u8 = 2;

/// After so many a node is forgotten even if no other is there. More than [`BAD`], so that an outage of our own
/// connection does not empty the table at once.
const GONE: u8 = 6;

/// A node in the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Who and where.
    pub info: NodeInfo,
    /// When it last answered.
    pub heard: Instant,
    /// Questions it did not answer since.
    fails: u8,
    /// It has answered again some time after it came, so it can be reached at any time and not only while a NAT remembers
    /// that it has written to us.
    steady: bool,
    /// Whether its id fits its address (BEP 42).
    secure: bool,
}

/// What a node is worth (BEP 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worth {
    /// It answered within 15 minutes.
    Good,
    /// It has been quiet, or left one question open.
    Questionable,
    /// It left several questions open.
    Bad,
}

impl Entry {
    /// When it is to be asked again whether it is there.
    fn doubtful_at(&self) -> Instant {
        self.heard + if self.steady { FRESH } else { PROBATION }
    }

    /// What it is worth.
    #[must_use]
    pub fn worth(&self, now: Instant) -> Worth {
        match self.fails {
            0 if now < self.doubtful_at() => Worth::Good,
            fails if fails >= BAD => Worth::Bad,
            _ => Worth::Questionable,
        }
    }
}

#[derive(Debug, Default)]
struct Bucket {
    live: Vec<Entry>,
    /// Nodes that answered when there was no place, the latest last.
    spare: Vec<Entry>,
    /// When it is to be refreshed.
    refresh_at: Instant,
}

/// The table. See the module's head.
#[derive(Debug)]
pub struct Table {
    own: NodeId,
    buckets: Vec<Bucket>,
    restrict: bool,
    /// Before this no node is questionable.
    quiet_until: Instant,
}

impl Table {
    /// An empty table around `own`. `restrict` says whether the limits for each address and network apply.
    #[must_use]
    pub const fn new(own: NodeId, restrict: bool) -> Self {
        Self { own, buckets: Vec::new(), restrict, quiet_until: Instant::ZERO }
    }

    /// Our id.
    #[must_use]
    pub const fn own(&self) -> NodeId {
        self.own
    }

    /// Takes another id and sorts all nodes anew.
    pub fn rebase(&mut self, now: Instant, own: NodeId) {
        let entries: Vec<Entry> = self.live().copied().collect();
        *self = Self::new(own, self.restrict);
        for entry in entries.into_iter().filter(|entry| entry.fails == 0) {
            self.heard(entry.heard.min(now), entry.info);
        }
    }

    /// A node has answered us.
    pub fn heard(&mut self, now: Instant, info: NodeInfo) {
        if info.id == self.own || !self.admits(now, info) {
            return;
        }
        let secure = info.id.is_valid_for(info.addr.ip());
        let entry = Entry { info, heard: now, fails: 0, steady: false, secure };
        let restrict = self.restrict;
        self.quiet_until = self.quiet_until.min(entry.doubtful_at());
        let bucket = self.bucket_mut(now, &info.id);
        if let Some(known) = bucket.live.iter_mut().find(|known| known.info == info) {
            let steady = known.steady || now - known.heard >= PROBATION;
            *known = Entry { steady, ..entry };
            // A full bucket of which all answer has nothing to gain from a lookup (BEP 5). One with room is looked
            // after, because there may be nodes that it does not know.
            if bucket.live.len() == BUCKET && bucket.live.iter().all(|e| e.fails == 0) {
                bucket.refresh_at = now + FRESH;
            }
            return;
        }
        bucket.spare.retain(|known| known.info != info);
        let crowded = restrict
            && !is_local(info.addr.ip())
            && bucket.live.iter().any(|e| network_of(e.info.addr) == network_of(info.addr));
        if crowded {
            return;
        }
        if bucket.live.len() < BUCKET {
            bucket.live.push(entry);
            return;
        }
        let worst = bucket.live.iter_mut().max_by_key(|e| (e.fails >= BAD, !e.secure, e.fails));
        match worst {
            Some(worst) if worst.fails >= BAD || (secure && !worst.secure) => *worst = entry,
            _ => {
                if bucket.spare.len() >= BUCKET {
                    bucket.spare.remove(0);
                }
                bucket.spare.push(entry);
            }
        }
    }

    /// Whether no other entry stands against `info`. A node that changed its id is replaced.
    fn admits(&mut self, now: Instant, info: NodeInfo) -> bool {
        let by_ip = self.restrict && !is_local(info.addr.ip());
        let mut changed = None;
        for known in self.live() {
            if known.info == info {
                return true;
            }
            if known.info.addr == info.addr {
                changed = Some(known.info);
            } else if known.fails == 0
                && (known.info.id == info.id || (by_ip && known.info.addr.ip() == info.addr.ip()))
            {
                return false;
            }
        }
        if let Some(changed) = changed {
            self.bucket_mut(now, &changed.id).live.retain(|known| known.info != changed);
        }
        true
    }

    /// A node has not answered. If another is in reserve, that takes its place.
    pub fn failed(&mut self, info: &NodeInfo) {
        self.quiet_until = Instant::ZERO;
        let index = self.index(&info.id);
        let Some(bucket) = self.buckets.get_mut(index) else { return };
        bucket.spare.retain(|known| known.info != *info);
        let Some(at) = bucket.live.iter().position(|known| known.info == *info) else { return };
        bucket.live[at].fails = bucket.live[at].fails.saturating_add(1);
        if bucket.live[at].fails < BAD {
            return;
        }
        if let Some(spare) = bucket.spare.pop() {
            bucket.live.remove(at);
            self.heard(spare.heard, spare.info);
        } else if bucket.live[at].fails >= GONE {
            bucket.live.remove(at);
        }
    }

    /// Whether `info`, which has only asked us something, is worth a question of ours: it is not known and has a place.
    #[must_use]
    pub fn would_take(&self, info: &NodeInfo) -> bool {
        if info.id == self.own || self.live().any(|known| known.info.addr == info.addr) {
            return false;
        }
        let bucket = self.buckets.get(self.index(&info.id));
        bucket.is_none_or(|bucket| {
            bucket.live.len() < BUCKET || bucket.live.iter().any(|known| known.fails >= BAD)
        })
    }

    /// The `count` nodes nearest to `target` that are not bad, nearest first.
    #[must_use]
    pub fn closest(&self, target: &NodeId, count: usize) -> Vec<NodeInfo> {
        let mut nearest: Vec<(Distance, NodeInfo)> = Vec::with_capacity(count + 1);
        for entry in self.live().filter(|entry| entry.fails < BAD) {
            let distance = entry.info.id.distance(target);
            let full = nearest.len() >= count;
            if full && nearest.last().is_none_or(|(farthest, _)| *farthest <= distance) {
                continue;
            }
            if full {
                nearest.pop();
            }
            let at = nearest.partition_point(|(nearer, _)| *nearer < distance);
            nearest.insert(at, (distance, entry.info));
        }
        nearest.into_iter().map(|(_, info)| info).collect()
    }

    /// The node that most needs to be asked whether it is still there, if one does.
    pub fn stalest(&mut self, now: Instant) -> Option<NodeInfo> {
        if now < self.quiet_until {
            return None;
        }
        let stale = self.live().filter(|entry| entry.worth(now) != Worth::Good);
        let stalest = stale.min_by_key(|entry| entry.heard).map(|entry| entry.info);
        if stalest.is_none() {
            // Answers only put it off, and one who comes later is looked at in his time.
            let first = self.live().map(Entry::doubtful_at).min();
            self.quiet_until = first.unwrap_or(now);
        }
        stalest
    }

    /// An index of a bucket that was not touched for too long. It counts as touched from now on. Behind the first bucket
    /// with room there are only our few neighbours, whom one lookup finds all: those buckets are refreshed together.
    pub fn poll_refresh(&mut self, now: Instant) -> Option<usize> {
        let at = self.buckets.iter().position(|bucket| bucket.refresh_at <= now)?;
        let roomy = self.buckets.iter().position(|bucket| bucket.live.len() < BUCKET);
        let together = roomy.is_some_and(|roomy| at > roomy);
        let last = if together { self.buckets.len() - 1 } else { at };
        self.buckets[at..=last].iter_mut().for_each(|bucket| bucket.refresh_at = now + FRESH);
        Some(last)
    }

    /// A lookup towards `target` touches the bucket it lies in.
    pub fn touch(&mut self, now: Instant, target: &NodeId) {
        let index = self.index(target);
        if let Some(bucket) = self.buckets.get_mut(index) {
            bucket.refresh_at = now + FRESH;
        }
    }

    /// Leading bits that the [`BUCKET`] nearest nodes we know share with us, all of them: about the logarithm of how many nodes
    /// there are, less three. Whoever has eight machines can make it more; that costs us some questions.
    #[must_use]
    pub fn neighbour_bits(&self) -> u32 {
        let mut nodes = 0;
        let deepest_first = self.buckets.iter().enumerate().rev();
        let bits = deepest_first.skip_while(|(_, bucket)| {
            nodes += bucket.live.len();
            nodes < BUCKET
        });
        bits.map(|(bits, _)| u32::try_from(bits).unwrap_or(0)).next().unwrap_or(0)
    }

    /// An id that lies in bucket `index`, from `random` bytes.
    #[must_use]
    pub fn id_in(&self, index: usize, random: [u8; 20]) -> NodeId {
        let mut id = random;
        for bit in 0..=index.min(BUCKETS - 1) {
            let mask = 0x80 >> (bit % 8);
            let flip = if bit == index { mask } else { 0 };
            id[bit / 8] = (id[bit / 8] & !mask) | ((self.own.0[bit / 8] ^ flip) & mask);
        }
        NodeId(id)
    }

    /// Number of nodes, those in reserve not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.live.len()).sum()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live().next().is_none()
    }

    /// All nodes, those in reserve not counted.
    pub fn live(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.live)
    }

    fn index(&self, id: &NodeId) -> usize {
        (self.own.shared_bits(id) as usize).min(BUCKETS - 1)
    }

    fn bucket_mut(&mut self, now: Instant, id: &NodeId) -> &mut Bucket {
        let index = self.index(id);
        while self.buckets.len() <= index {
            // Not all at once, and not by all nodes of a young network at the same time: our id tells when.
            let part = u32::from(self.own.0[19 - self.buckets.len() % 8]);
            let refresh_at = now + FIRST_REFRESH + FIRST_REFRESH_SPREAD / 256 * part;
            self.buckets.push(Bucket { refresh_at, ..Bucket::default() });
        }
        &mut self.buckets[index]
    }
}

/// The network an address belongs to: its /24, or /48 with IPv6.
#[must_use]
pub fn network_of(addr: SocketAddr) -> u64 {
    match addr.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
        IpAddr::V6(ip) => (1 << 63) | (ip.to_bits() >> 80) as u64,
    }
}

#[cfg(test)]
mod tests;
