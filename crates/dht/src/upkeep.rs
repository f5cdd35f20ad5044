//! Items of ours that are put again (BEP 44) and items of others that are asked for again (BEP 46).
//!
//! Nodes forget an item after two hours, so what was put is put again within each hour until it is withdrawn. A mutable item that
//! somebody follows is asked for every quarter of an hour, and put again each hour (BEP 46 wants followers to). Both numbers are bounded.

use crate::lookup::LookupId;
use crate::rng::Rng;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use samara_wire::krpc::{Item, NodeId};
use samara_wire::time::{Duration, Instant};

/// Longest time until an item is put again. The shortest is a fifth less.
pub const PUT_AGAIN: Duration = Duration::from_secs(3600);

/// Longest time until a watched item is asked for again. The shortest is a fifth less.
pub const WATCH_AGAIN: Duration = Duration::from_secs(15 * 60);

/// After so long that is tried again which had no success.
pub const RETRY: Duration = Duration::from_secs(5 * 60);

/// Items that are put again.
pub const MAX_KEPT: usize = 200;

/// Items that are watched.
pub const MAX_WATCHED: usize = 200;

#[derive(Debug)]
struct Kept {
    item: Box<Item>,
    salt: Vec<u8>,
    /// Nothing as long as it is not known whether enough took it, who were to take it only on a condition.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Watched {
    target: NodeId,
    salt: Vec<u8>,
    /// Only what has a higher number is news.
    known: Option<i64>,
    /// The newest that was found.
    item: Option<Box<Item>>,
    next: Instant,
    /// When those who have it are to be given it again, lest they forget it.
    renew: Instant,
}

/// Something to be done now.
#[derive(Debug, PartialEq)]
pub enum Due {
    /// An item is to be put again.
    Put {
        /// Where it belongs.
        target: NodeId,
        /// The item.
        item: Box<Item>,
        /// Its salt.
        salt: Vec<u8>,
    },
    /// A watched item is to be asked for.
    Watch {
        /// Which watch.
        id: LookupId,
        /// Where the item is.
        target: NodeId,
        /// Its salt.
        salt: Vec<u8>,
        /// Only what has a higher number is news.
        known: Option<i64>,
        /// The newest that was found.
        item: Option<Box<Item>>,
        /// Whether those who have it are to be given it again, lest they forget it.
        renew: bool,
    },
}

/// What is kept and watched.
#[derive(Debug, Default)]
pub struct Upkeep {
    kept: BTreeMap<NodeId, Kept>,
    watched: BTreeMap<LookupId, Watched>,
    next: Option<Instant>,
}

impl Upkeep {
    /// Keeps an item that is being put now. With `conditional` only once [`Upkeep::put_ended`] says that enough took it.
    /// `false` if there is no room.
    pub fn keep(
        &mut self,
        now: Instant,
        target: NodeId,
        item: Box<Item>,
        salt: Vec<u8>,
        conditional: bool,
    ) -> bool {
        if self.kept.len() >= MAX_KEPT && !self.kept.contains_key(&target) {
            return false;
        }
        let next = (!conditional).then(|| now + PUT_AGAIN);
        self.kept.insert(target, Kept { item, salt, next });
        self.look_ahead();
        true
    }

    /// Puts the item at `target` no more.
    pub fn withdraw(&mut self, target: &NodeId) {
        self.kept.remove(target);
        self.look_ahead();
    }

    /// Watches an item from now on. `false` if there is no room.
    pub fn watch(
        &mut self,
        now: Instant,
        id: LookupId,
        target: NodeId,
        salt: Vec<u8>,
        known: Option<i64>,
    ) -> bool {
        let room = self.watched.len() < MAX_WATCHED;
        if room {
            let renew = now + PUT_AGAIN;
            self.watched.insert(id, Watched { target, salt, known, item: None, next: now, renew });
            self.look_ahead();
        }
        room
    }

    /// Watches it no more.
    pub fn unwatch(&mut self, id: LookupId) {
        self.watched.remove(&id);
        self.look_ahead();
    }

    /// Something that is to be done now; its next time is set.
    pub fn poll(&mut self, now: Instant, rng: &mut Rng) -> Option<Due> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let kept = self.kept.iter_mut().find(|(_, kept)| kept.next.is_some_and(|at| at <= now));
        let due = if let Some((target, kept)) = kept {
            kept.next = Some(now + within(PUT_AGAIN, rng));
            Due::Put { target: *target, item: kept.item.clone(), salt: kept.salt.clone() }
        } else {
            let (id, watched) = self.watched.iter_mut().find(|(_, watched)| watched.next <= now)?;
            watched.next = now + within(WATCH_AGAIN, rng);
            let renew = watched.renew <= now;
            if renew {
                watched.renew = now + within(PUT_AGAIN, rng);
            }
            let Watched { target, salt, known, item, .. } = watched;
            Due::Watch {
                id: *id,
                target: *target,
                salt: salt.clone(),
                known: *known,
                item: item.clone(),
                renew,
            }
        };
        self.look_ahead();
        Some(due)
    }

    /// An item was put: whether enough nodes took it.
    pub fn put_ended(&mut self, now: Instant, target: &NodeId, item: &Item, enough: bool) {
        let Some(kept) = self.kept.get_mut(target).filter(|kept| *kept.item == *item) else {
            return;
        };
        match kept.next {
            None if !enough => _ = self.kept.remove(target),
            None => kept.next = Some(now + PUT_AGAIN),
            Some(_) if !enough => kept.next = Some(now + RETRY),
            Some(_) => {}
        }
        self.look_ahead();
    }

    /// A newer item than ours was found: whoever put that keeps it.
    pub fn superseded(&mut self, target: &NodeId, by: i64) {
        let older = |kept: &Kept| kept.item.signed.is_some_and(|signed| signed.seq < by);
        if self.kept.get(target).is_some_and(older) {
            self.withdraw(target);
        }
    }

    /// A watched item was asked for. `item` is the newest that is known; `answered` says whether there was anybody.
    pub fn watch_ended(
        &mut self,
        now: Instant,
        id: LookupId,
        item: Option<Box<Item>>,
        answered: bool,
    ) {
        let Some(watched) = self.watched.get_mut(&id) else { return };
        if let Some(item) = item {
            watched.known = watched.known.max(item.signed.map(|signed| signed.seq));
            watched.item = Some(item);
        }
        if !answered {
            watched.next = now + RETRY;
        }
        self.look_ahead();
    }

    /// When [`Upkeep::poll`] has something.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn look_ahead(&mut self) {
        let kept = self.kept.values().filter_map(|kept| kept.next);
        let watched = self.watched.values().map(|watched| watched.next);
        self.next = kept.chain(watched).min();
    }
}

/// From four fifths of `longest` to all of it, so that what began together does not stay together.
fn within(longest: Duration, rng: &mut Rng) -> Duration {
    let hundredth = longest / 500;
    longest - hundredth * u32::try_from(rng.below(100)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SecretKey;
    use alloc::vec;

    const AT: NodeId = NodeId([1; 20]);

    fn item(seq: i64) -> Box<Item> {
        Box::new(SecretKey::from_seed(&[1; 32]).sign(b"", seq, b"i1e"))
    }

    #[test]
    fn an_item_is_put_each_hour_until_it_is_withdrawn() {
        let (mut upkeep, mut rng) = (Upkeep::default(), Rng::new([1; 32]));
        let start = Instant::from_secs(1);
        assert!(upkeep.keep(start, AT, item(1), vec![7], false));
        assert_eq!(upkeep.poll(start, &mut rng), None, "it is being put");
        let mut now = start;
        for _ in 0..10 {
            let next = upkeep.next_timeout().unwrap();
            assert!(next - now <= PUT_AGAIN && next - now >= PUT_AGAIN * 4 / 5, "{:?}", next - now);
            now = next;
            let due = Due::Put { target: AT, item: item(1), salt: vec![7] };
            assert_eq!(upkeep.poll(now, &mut rng), Some(due));
            assert_eq!(upkeep.poll(now, &mut rng), None);
        }
        upkeep.put_ended(now, &AT, &item(1), false);
        assert_eq!(upkeep.next_timeout(), Some(now + RETRY), "nobody took it");
        upkeep.withdraw(&AT);
        assert_eq!(upkeep.next_timeout(), None);
        upkeep.put_ended(now, &AT, &item(1), false);
        assert_eq!(upkeep.next_timeout(), None);
    }

    #[test]
    fn what_was_put_on_a_condition_is_kept_only_if_it_was_taken() {
        let mut upkeep = Upkeep::default();
        let now = Instant::from_secs(1);
        assert!(upkeep.keep(now, AT, item(1), vec![], true));
        assert_eq!(upkeep.next_timeout(), None);
        upkeep.put_ended(now, &AT, &item(1), false);
        assert!(upkeep.kept.is_empty());
        assert!(upkeep.keep(now, AT, item(1), vec![], true));
        upkeep.put_ended(now, &AT, &item(9), true);
        assert_eq!(upkeep.next_timeout(), None, "that was another");
        upkeep.put_ended(now, &AT, &item(1), true);
        assert_eq!(upkeep.next_timeout(), Some(now + PUT_AGAIN));
        upkeep.superseded(&AT, 1);
        assert!(upkeep.next_timeout().is_some(), "the same is not newer");
        upkeep.superseded(&AT, 2);
        assert_eq!(upkeep.next_timeout(), None);
    }

    #[test]
    fn a_watched_item_is_asked_for_with_the_number_that_is_known() {
        let (mut upkeep, mut rng) = (Upkeep::default(), Rng::new([1; 32]));
        let (start, id) = (Instant::from_secs(1), LookupId(5));
        assert!(upkeep.watch(start, id, AT, vec![], Some(3)));
        let asked = |due: Option<Due>| match due {
            Some(Due::Watch { id: LookupId(5), known, item, renew: false, .. }) => (known, item),
            other => panic!("{other:?}"),
        };
        assert_eq!(asked(upkeep.poll(start, &mut rng)), (Some(3), None));
        assert_eq!(upkeep.poll(start, &mut rng), None);
        upkeep.watch_ended(start, id, Some(item(4)), true);
        let next = upkeep.next_timeout().unwrap();
        assert!(next - start <= WATCH_AGAIN && next - start >= WATCH_AGAIN * 4 / 5);
        assert_eq!(asked(upkeep.poll(next, &mut rng)), (Some(4), Some(item(4))));
        upkeep.watch_ended(next, id, None, false);
        assert_eq!(upkeep.next_timeout(), Some(next + RETRY), "nobody answered");
        let later = start + PUT_AGAIN;
        let due = upkeep.poll(later, &mut rng);
        assert!(matches!(due, Some(Due::Watch { renew: true, .. })), "{due:?}");
        upkeep.unwatch(id);
        assert_eq!(upkeep.poll(later + WATCH_AGAIN, &mut rng), None);
    }

    #[test]
    fn both_are_bounded() {
        let mut upkeep = Upkeep::default();
        let now = Instant::from_secs(1);
        let at = |n: u64| NodeId(core::array::from_fn(|i| n.to_be_bytes()[i % 8]));
        let kept = (0..1000).filter(|&n| upkeep.keep(now, at(n), item(1), vec![], false));
        assert_eq!(kept.count(), MAX_KEPT);
        assert!(upkeep.keep(now, at(1), item(2), vec![], false), "a newer one of the same");
        let watched = (0..1000).filter(|&n| upkeep.watch(now, LookupId(n), AT, vec![], None));
        assert_eq!(watched.count(), MAX_WATCHED);
    }
}
