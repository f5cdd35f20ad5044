//! The torrent's one timer: the core's time-outs, the status, resume data, another try of storage.
//!
//! An idle torrent has no deadline, and so no timer.

use super::TorrentShell;
use samara_wire::time::Instant;
use std::rc::Rc;
use tokio::task::spawn_local;
use tokio::time::sleep_until;

/// Runs for as long as the torrent does.
pub(super) async fn run(shell: Rc<TorrentShell>) {
    while !shell.life.borrow().stopped {
        let deadline = shell.next_deadline();
        shell.life.borrow_mut().armed = deadline;
        match deadline {
            None => shell.wake.notified().await,
            Some(at) => {
                let at = shell.env.shared.clock.to_tokio(at);
                tokio::select! {
                    () = sleep_until(at) => {}
                    () = shell.wake.notified() => {}
                }
            }
        }
        shell.drive_deadlines();
    }
}

impl TorrentShell {
    /// Has the keeper wake at `at`, or at our own next deadline, if it would sleep longer.
    pub(super) fn arm(&self, at: Option<Instant>) {
        let life = self.life.borrow();
        let next = [at, life.next_deadline()].into_iter().flatten().min();
        if let Some(next) = next
            && life.armed.is_none_or(|armed| next < armed)
        {
            self.wake.notify_one();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let of_core = self.peek(|live, _| live.core.next_timeout()).flatten();
        [of_core, self.life.borrow().next_deadline()].into_iter().flatten().min()
    }

    /// Does all that is due.
    fn drive_deadlines(self: &Rc<Self>) {
        let now = self.env.now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let (publish, flush, save, retry, verify) = {
            let life = self.life.borrow();
            let save = due(life.save_at) && !life.saving;
            let verify = due(life.verify_at);
            (due(life.publish_at), due(life.flush_at), save, due(life.retry_at), verify)
        };
        if retry {
            // The credit that follows from this lets the core ask for a piece.
            self.life.borrow_mut().retry_at = None;
            self.with_live(|live, now| self.tell_credit(live, now));
        }
        if due(self.peek(|live, _| live.core.next_timeout()).flatten()) {
            self.with_live(|live, now| live.core.handle_timeout(now, &mut live.out));
        }
        if verify {
            self.with_live(|live, _| self.verify_finished(live));
        }
        if flush {
            self.life.borrow_mut().flush_at = None;
            self.flush_all();
        }
        if save {
            let mut life = self.life.borrow_mut();
            life.save_at = None;
            life.saving = true;
            drop(life);
            let shell = Rc::clone(self);
            spawn_local(async move { shell.save().await });
        }
        if publish {
            self.publish_now();
        }
    }
}
