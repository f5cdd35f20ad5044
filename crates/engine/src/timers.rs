//! The timers of a shard's torrents: one queue, and one task that sleeps until the first of them is due.
//!
//! A torrent has one entry at most, at its earliest deadline; one at rest has none, and costs nothing.

use crate::command::TorrentId;
use crate::shard::ShardEnv;
use samara_wire::time::Instant;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep_until;

/// Torrents that have their turn before connections do.
const TURN: usize = 32;

/// See the module's head.
#[derive(Default)]
pub(crate) struct Timers {
    queue: RefCell<BTreeSet<(Instant, TorrentId)>>,
    /// There is a new first.
    sooner: Notify,
}

/// When a torrent's entry is due; `None`: it has none.
pub(crate) type Armed = Cell<Option<Instant>>;

impl Timers {
    /// Has the torrent called at `at`, if it would be called later than that or not at all.
    pub(crate) fn arm(&self, id: TorrentId, armed: &Armed, at: Instant) {
        let was = armed.get();
        if was.is_some_and(|was| was <= at) {
            return;
        }
        armed.set(Some(at));
        let mut queue = self.queue.borrow_mut();
        if let Some(was) = was {
            queue.remove(&(was, id));
        }
        let is_first = queue.first().is_none_or(|first| (at, id) < *first);
        queue.insert((at, id));
        if is_first {
            self.sooner.notify_one();
        }
    }

    fn first(&self) -> Option<Instant> {
        self.queue.borrow().first().map(|(at, _)| *at)
    }

    fn take_due(&self, now: Instant) -> Option<TorrentId> {
        let mut queue = self.queue.borrow_mut();
        let due = queue.first().is_some_and(|(at, _)| *at <= now);
        if due { queue.pop_first().map(|(_, id)| id) } else { None }
    }
}

/// Calls the torrents when they are due, for as long as the shard lives.
pub(crate) async fn run(env: Rc<ShardEnv>) {
    let timers = &env.timers;
    loop {
        match timers.first() {
            None => timers.sooner.notified().await,
            Some(at) if at > env.now() => tokio::select! {
                () = sleep_until(env.shared.clock.to_tokio(at)) => {}
                () = timers.sooner.notified() => {}
            },
            Some(_) => {
                let now = env.now();
                for id in (0..TURN).map_while(|_| timers.take_due(now)) {
                    if let Some(shell) = env.torrent(id) {
                        shell.handle_timer();
                    }
                }
                yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_has_one_entry_at_its_earliest_deadline() {
        let timers = Timers::default();
        let (one, two) = ((TorrentId(1), Armed::default()), (TorrentId(2), Armed::default()));
        let arm =
            |(id, armed): &(TorrentId, Armed), at| timers.arm(*id, armed, Instant::from_secs(at));
        for at in [9, 5, 7] {
            arm(&one, at);
        }
        arm(&two, 6);
        assert_eq!((one.1.get(), timers.queue.borrow().len()), (Some(Instant::from_secs(5)), 2));
        assert_eq!(timers.take_due(Instant::from_secs(4)), None);
        let due = std::iter::from_fn(|| timers.take_due(Instant::from_secs(6)));
        assert_eq!(due.collect::<Vec<_>>(), [TorrentId(1), TorrentId(2)]);
        assert_eq!(timers.first(), None);
    }
}
