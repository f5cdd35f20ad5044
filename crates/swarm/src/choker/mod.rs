//! Whom to upload to.
//!
//! Only peers that want something take a slot. There are two ways to rank them:
//!
//! - **While we download** (BEP 3): those that send us most, most first. A peer that snubs us has no claim.
//!   The slots that nobody has earned, at least one in five, are *optimistic*: drawn by lot every 30 s, peers
//!   that connected in the last minute three times as likely, so that better partners are found and newcomers
//!   get a first piece.
//! - **When we seed** nobody can earn anything, and what counts is that pieces spread. A peer keeps its slot for
//!   a turn: a minute, or 16 MiB and one round if it is fast. Then whoever waits longest comes first, and among
//!   those whose turn is over the fastest stay. Once we have come to seed what others have too ([`Role::Finished`]), every
//!   second turn goes to who has fewest pieces: slow uplinks, which tit-for-tat serves last, are what a swarm waits for in the end.
//!   (Not every turn: who says that it has nothing would else shut out all others.)
//!
//! Ranks are drawn up every ten seconds: choking more often would throttle TCP over and over. In between a free
//! slot is given at once ([`Choker::free_slots`], [`Choker::run`]) but none is taken away. While we download and others wait,
//! such a slot is only for peers that have given us something for what they got: a peer that wants nothing for a
//! moment leaves one over and over, and who never gives always waits for it; it has the lottery. How many slots there
//! are follows the measured upload, see [`slots`]: with room on the link everybody is soon served.
//!
//! Same seed, same inputs: same decisions. Cost: sorting the interested peers once a round, and the waiting ones when a slot is free.

mod slots;

use crate::rng::Rng;
use crate::torrent::PeerKey;
use alloc::vec::Vec;
use core::cmp::Reverse;
use samara_wire::time::{Duration, Instant};
use slots::Slots;

/// Time between two rankings.
pub const ROUND: Duration = Duration::from_secs(10);

const OPTIMISTIC_ROUND: Duration = Duration::from_secs(30);
/// How long a peer counts as new in the optimistic lottery, and how many lots it has then.
const NEW_FOR: Duration = Duration::from_secs(60);
const NEW_LOTS: usize = 3;
const TURN: Duration = Duration::from_secs(60);
const TURN_BYTES: u64 = 16 * 1024 * 1024;
/// Who sent us one byte for so many that it got is no free-rider. The slowest uplinks of a swarm give a thirtieth of the fastest,
/// but are given more than they give by few.
const GIVES: u64 = 16;
/// Between rounds free slots and room for more slots are looked for this often while peers wait.
const LOOK: Duration = Duration::from_secs(1);

/// How many slots there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChokerConfig {
    /// Slots at least, however slow the upload; at least 2 are used.
    pub min_slots: usize,
    /// Slots at most, however fast the upload.
    pub max_slots: usize,
}

impl Default for ChokerConfig {
    fn default() -> Self {
        Self { min_slots: 4, max_slots: 200 }
    }
}

/// What we are to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We want something.
    Leech,
    /// We want nothing, and had all from the start: maybe nobody else has it.
    Seed,
    /// We want nothing, and fetched it from others.
    Finished,
}

/// What the choker must know of a connected peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The peer.
    pub key: PeerKey,
    /// Whether it wants something of ours.
    pub interested: bool,
    /// Whether we choke it.
    pub choked: bool,
    /// Whether it owes us blocks and sends none.
    pub snubbed: bool,
    /// Whether it said that it downloads nothing (BEP 21), or has everything.
    pub upload_only: bool,
    /// Bytes per second that it sends us.
    pub down_rate: u64,
    /// Bytes per second that we send it.
    pub up_rate: u64,
    /// Payload bytes that it sent us and that we sent it, since it connected.
    pub received: u64,
    /// See [`Candidate::received`].
    pub sent: u64,
    /// Pieces that it has.
    pub pieces: u32,
    /// Payload bytes sent to it since it was last unchoked.
    pub uploaded_this_unchoke: u64,
    /// When it was last unchoked; `None` if never.
    pub unchoked_at: Option<Instant>,
    /// When it connected.
    pub connected_at: Instant,
}

impl Candidate {
    const fn takes_slot(&self) -> bool {
        self.interested && !self.upload_only
    }

    /// Whether it gives for what it gets, if by far not as much: links differ.
    const fn gives(&self) -> bool {
        !self.snubbed && self.received.saturating_mul(GIVES) > self.sent
    }
}

/// How many want something of ours: counted as it changes, so that nobody need be looked at where nothing can be given away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Crowd {
    /// Those with a slot.
    pub unchoked: usize,
    /// Those without.
    pub waiting: usize,
}

impl Crowd {
    /// Of these peers.
    #[must_use]
    pub fn of(candidates: &[Candidate]) -> Self {
        let takers = candidates.iter().filter(|c| c.takes_slot());
        takers.fold(Self::default(), |crowd, c| Self {
            unchoked: crowd.unchoked + usize::from(!c.choked),
            waiting: crowd.waiting + usize::from(c.choked),
        })
    }
}

/// Whom to choke and whom to unchoke: only peers for which that is a change, without duplicates.
/// Carry out the chokes first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// To be choked.
    pub choke: Vec<PeerKey>,
    /// To be unchoked.
    pub unchoke: Vec<PeerKey>,
}

/// Decides whom to upload to.
#[derive(Clone, Debug)]
pub struct Choker {
    slots: Slots,
    rng: Rng,
    next_ranking: Instant,
    next_lottery: Instant,
    next_look: Option<Instant>,
    /// [`Role::Finished`]: the next turn goes to who has fewest pieces.
    by_lack: bool,
}

impl Choker {
    /// A choker whose first ranking is one [`ROUND`] from `now`; free slots are given from the start.
    #[must_use]
    pub fn new(now: Instant, config: ChokerConfig, seed: u64) -> Self {
        Self {
            slots: Slots::new(config),
            rng: Rng::new(seed),
            next_ranking: now + ROUND,
            next_lottery: now + OPTIMISTIC_ROUND,
            next_look: None,
            by_lack: true,
        }
    }

    /// When to call [`Choker::run`] next.
    #[must_use]
    pub fn next_round(&self) -> Instant {
        self.next_look.map_or(self.next_ranking, |look| look.min(self.next_ranking))
    }

    /// Slots left when `unchoked` interested peers have one: a peer that becomes interested while this is not
    /// zero is to be unchoked at once.
    #[must_use]
    pub const fn free_slots(&self, unchoked: usize) -> usize {
        self.slots.count().saturating_sub(unchoked)
    }

    /// Slots that nobody can earn.
    #[must_use]
    pub fn optimistic_slots(&self) -> usize {
        (self.slots.count() / 5).max(1)
    }

    /// Ranks the peers if a round is over; otherwise only gives away free slots. To be called at
    /// [`Choker::next_round`], and when a slot may have become free (a peer left or lost interest).
    ///
    /// `up_rate`: bytes per second sent to all peers. `candidates` is called only if
    /// there is something to decide, and names at least those who are interested or not choked.
    pub fn run(
        &mut self,
        now: Instant,
        role: Role,
        up_rate: u64,
        Crowd { unchoked, waiting }: Crowd,
        candidates: impl FnOnce() -> Vec<Candidate>,
    ) -> Decision {
        let ranking = now >= self.next_ranking;
        self.slots.update(now, ranking, up_rate, unchoked, waiting);
        let free = self.free_slots(unchoked);
        let mut decision = Decision::default();
        if ranking {
            self.next_ranking = now + ROUND;
            let candidates = candidates();
            let takers = candidates.iter().filter(|c| c.takes_slot()).collect();
            let chosen = match role {
                Role::Leech => self.rank_leeching(now, takers),
                Role::Seed | Role::Finished => self.rank_seeding(now, role, takers),
            };
            decision = changes(&candidates, &chosen);
        } else if free > 0 && waiting > 0 {
            let contended = unchoked + waiting > self.slots.count();
            decision.unchoke = self.fill(role, contended, &candidates(), free);
        }
        let waits = waiting > decision.unchoke.len() || !decision.choke.is_empty();
        self.next_look = waits.then(|| now + LOOK);
        decision
    }

    /// The choked peers to whom up to `free` slots go between rounds. `contended`: more want one than there are.
    fn fill(
        &mut self,
        role: Role,
        contended: bool,
        candidates: &[Candidate],
        free: usize,
    ) -> Vec<PeerKey> {
        let mut takers: Vec<&Candidate> =
            candidates.iter().filter(|c| c.takes_slot() && c.choked).collect();
        if role == Role::Leech {
            takers.retain(|c| !contended || c.gives());
            takers.sort_by_key(|c| {
                let earned = if c.snubbed { 0 } else { c.down_rate };
                (Reverse(earned), waiting_order(c))
            });
        } else {
            takers = self.queue(role, takers, free);
        }
        takers.iter().take(free).map(|c| c.key).collect()
    }

    fn rank_seeding(&mut self, now: Instant, role: Role, takers: Vec<&Candidate>) -> Vec<PeerKey> {
        let (waiting, holders): (Vec<&Candidate>, Vec<&Candidate>) =
            takers.into_iter().partition(|c| c.choked);
        let (mut over, mut chosen): (Vec<&Candidate>, Vec<&Candidate>) =
            holders.into_iter().partition(|c| turn_is_over(c, now));
        chosen.sort_by_key(|c| waiting_order(c));
        over.sort_by_key(|c| (Reverse(c.up_rate), waiting_order(c)));
        let slots = self.slots.count();
        let free = slots.saturating_sub(chosen.len());
        chosen.extend(self.queue(role, waiting, free));
        chosen.extend(over);
        chosen.iter().take(slots).map(|c| c.key).collect()
    }

    /// Those who wait for a seed, in the order in which their turns come; `free` of them come now.
    fn queue<'a>(
        &mut self,
        role: Role,
        mut waiting: Vec<&'a Candidate>,
        free: usize,
    ) -> Vec<&'a Candidate> {
        waiting.sort_by_key(|c| waiting_order(c));
        if role != Role::Finished {
            return waiting;
        }
        let mut queue = Vec::new();
        while queue.len() < free && !waiting.is_empty() {
            let lacking = (0..waiting.len()).min_by_key(|&at| waiting[at].pieces);
            let place = lacking.filter(|_| self.by_lack).unwrap_or(0);
            queue.push(waiting.remove(place));
            self.by_lack = !self.by_lack;
        }
        queue
    }

    fn rank_leeching(&mut self, now: Instant, mut takers: Vec<&Candidate>) -> Vec<PeerKey> {
        let slots = self.slots.count();
        // Equals: those unchoked already, to spare them the change.
        takers.sort_by_key(|c| {
            let earned = if c.snubbed { 0 } else { c.down_rate };
            (Reverse(earned), c.choked, c.key)
        });
        let optimistic = self.optimistic_slots();
        let earners = takers.iter().filter(|c| !c.snubbed && c.down_rate > 0).count();
        let rest = takers.split_off(earners.min(slots - optimistic.min(slots)));
        let mut chosen: Vec<PeerKey> = takers.iter().map(|c| c.key).collect();
        let free = slots - chosen.len();
        chosen.extend(self.draw(now, rest, free));
        chosen
    }

    /// Gives `free` optimistic slots. Their holders stay until the next lottery, and at least one round.
    fn draw(&mut self, now: Instant, pool: Vec<&Candidate>, free: usize) -> Vec<PeerKey> {
        let lottery = now >= self.next_lottery;
        if lottery {
            self.next_lottery = now + OPTIMISTIC_ROUND;
        }
        let (mut holders, mut others): (Vec<&Candidate>, Vec<&Candidate>) =
            pool.into_iter().partition(|c| !c.choked);
        // The latest first: a peer that has just fallen out of the ranks held its slot for long.
        holders.sort_by_key(|c| (Reverse(c.unchoked_at), c.key));
        let keep = if lottery {
            holders.partition_point(|c| c.unchoked_at.is_some_and(|at| now - at < ROUND))
        } else {
            holders.len()
        };
        let mut chosen: Vec<PeerKey> = holders.iter().take(keep.min(free)).map(|c| c.key).collect();
        while chosen.len() < free && !others.is_empty() {
            let lots = |c: &Candidate| if now - c.connected_at < NEW_FOR { NEW_LOTS } else { 1 };
            let mut lot = self.rng.below(others.iter().map(|c| lots(c)).sum());
            let winner = others.iter().position(|c| {
                let won = lot < lots(c);
                lot = lot.saturating_sub(lots(c));
                won
            });
            chosen.push(others.remove(winner.unwrap_or(0)).key);
        }
        // Nobody else wants the slot: its holder keeps it.
        let left = free - chosen.len();
        chosen.extend(holders.iter().skip(keep).take(left).map(|c| c.key));
        chosen
    }
}

/// Who has waited longest comes first; those who never had a slot before those who had.
fn waiting_order(c: &Candidate) -> (Option<Instant>, Instant, PeerKey) {
    (c.unchoked_at, c.connected_at, c.key)
}

fn turn_is_over(c: &Candidate, now: Instant) -> bool {
    let held = c.unchoked_at.map_or(TURN, |at| now - at);
    held >= TURN || (held >= ROUND && c.uploaded_this_unchoke >= TURN_BYTES)
}

fn changes(candidates: &[Candidate], chosen: &[PeerKey]) -> Decision {
    let mut chosen = chosen.to_vec();
    chosen.sort_unstable();
    let is_chosen = |c: &&Candidate| chosen.binary_search(&c.key).is_ok();
    Decision {
        choke: candidates.iter().filter(|c| !c.choked && !is_chosen(c)).map(|c| c.key).collect(),
        unchoke: candidates.iter().filter(|c| c.choked && is_chosen(c)).map(|c| c.key).collect(),
    }
}

#[cfg(test)]
mod tests;
