//! Where announces wait for their turn: one gate for a whole session, whatever the shard they come from.
//!
//! [`queue`] decides whose turn it is; here are the waiting and the clock. Each shard has its own HTTP clients, because
//! connections belong to the event loop that opened them, but the limits are on what leaves this machine and what a
//! tracker sees, so they are counted in one place. A lock is held for a decision at a time, never while anything waits.

mod queue;

pub(crate) use queue::{Outcome, Urgency};

use queue::{Queue, QueueLimits, Ticket};
use samara_wire::time::Instant;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Gate {
    origin: tokio::time::Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    /// A task sees to the time.
    ticking: bool,
}

/// An announce's right to be under way, or its place among those that wait. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    gate: Arc<Gate>,
    ticket: Ticket,
    outcome: Outcome,
}

impl Turn {
    /// The announce came to an end.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.waiting.remove(&self.ticket);
        state.queue.leave(self.ticket, self.outcome);
        state.let_in(self.gate.now());
    }
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        let queue = Queue::new(QueueLimits::default());
        let state = State { queue, waiting: HashMap::new(), ticking: false };
        Arc::new(Self { origin: tokio::time::Instant::now(), state: Mutex::new(state) })
    }

    /// Waits until an announce to `host` may begin. Needs a tokio runtime.
    pub(crate) async fn enter(self: &Arc<Self>, host: &str, urgency: Urgency) -> Turn {
        let (let_in, entered) = oneshot::channel();
        let turn = {
            let mut state = self.state();
            let ticket = state.queue.enter(host, urgency);
            state.waiting.insert(ticket, let_in);
            state.let_in(self.now());
            if state.queue.next_timeout().is_some() && !std::mem::replace(&mut state.ticking, true)
            {
                tokio::spawn(tick(Ticking(Some(Arc::clone(self)))));
            }
            Turn { gate: Arc::clone(self), ticket, outcome: Outcome::Unknown }
        };
        // The sender goes only when it has sent, or with the turn.
        let _ = entered.await;
        turn
    }

    /// Since the gate was made, plus an hour, so that no look back saturates.
    fn now(&self) -> Instant {
        Instant::from_secs(3600) + self.origin.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets in whoever may.
    fn let_in(&mut self, now: Instant) {
        while let Some(ticket) = self.queue.poll(now) {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Fails only if nobody waits any more: then the turn is about to be dropped.
                let _ = waiting.send(());
            }
        }
    }
}

/// Says that somebody sees to the time, until dropped: the event loop it runs on may end before its time.
struct Ticking(Option<Arc<Gate>>);

impl Drop for Ticking {
    fn drop(&mut self) {
        if let Some(gate) = &self.0 {
            gate.state().ticking = false;
        }
    }
}

/// Lets in whom time alone lets in, as long as there is anybody.
async fn tick(mut ticking: Ticking) {
    while let Some(gate) = ticking.0.clone() {
        let wait = {
            let mut state = gate.state();
            match state.queue.next_timeout() {
                Some(at) => at.since(gate.now()),
                None => {
                    // Under the lock, so that who comes next finds that nobody is there.
                    state.ticking = false;
                    ticking.0 = None;
                    return;
                }
            }
        };
        tokio::time::sleep(wait).await;
        gate.state().let_in(gate.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_new_torrent_is_not_held_up_by_ten_thousand() {
        let gate = Gate::new();
        let begun = Arc::new(AtomicUsize::new(0));
        for _ in 0..10_000 {
            let (gate, begun) = (gate.clone(), begun.clone());
            tokio::spawn(async move {
                let turn = gate.enter("slow", Urgency::Fresh).await;
                begun.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(30)).await;
                turn.end(Outcome::Silent);
            });
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(begun.load(Ordering::Relaxed) < 60, "the others wait");
        for _ in 0..20 {
            let before = tokio::time::Instant::now();
            let turn = gate.enter("slow", Urgency::Fresh).await;
            assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(30)).await;
                turn.end(Outcome::Silent);
            });
            tokio::time::sleep(Duration::from_millis(1700)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_gives_back_the_place() {
        let gate = Gate::new();
        let turns: Vec<_> = {
            let mut turns = Vec::new();
            for _ in 0..8 {
                turns.push(gate.enter("a", Urgency::Regular).await);
            }
            turns
        };
        let gone = gate.enter("a", Urgency::Regular);
        assert!(tokio::time::timeout(Duration::from_secs(9), gone).await.is_err());
        assert_eq!(gate.state().waiting.len(), 0);
        let waits = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter("a", Urgency::Regular).await }
        });
        tokio::task::yield_now().await;
        drop(turns);
        drop(waits.await.unwrap());
    }
}
