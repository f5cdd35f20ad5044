//! The torrent's deadlines: the core's time-outs, the status, resume data, another try of storage.
//!
//! One entry among the shard's timers stands for all; a torrent at rest has no deadline, and so none.

use super::TorrentShell;
use samara_wire::time::Instant;
use std::rc::Rc;
use tokio::task::spawn_local;

impl TorrentShell {
    /// Has the timer go off at `at`, or at our own next deadline, if it would later.
    pub(super) fn arm(&self, at: Option<Instant>) {
        let next = [at, self.life.borrow().next_deadline()].into_iter().flatten().min();
        if let Some(next) = next {
            self.env.timers.arm(self.shared.id, &self.armed, next);
        }
    }

    /// Has the deadlines looked at again, as soon as nothing is borrowed.
    pub(super) fn wake(&self) {
        self.env.timers.arm(self.shared.id, &self.armed, self.env.now());
    }

    /// The timer went off.
    pub(crate) fn handle_timer(self: &Rc<Self>) {
        self.armed.set(None);
        if self.life.borrow().stopped {
            return;
        }
        self.drive_deadlines();
        self.arm(self.peek(|live, _| live.core.next_timeout()).flatten());
    }

    /// Does all that is due.
    fn drive_deadlines(self: &Rc<Self>) {
        let now = self.env.now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let (publish, flush, save, retry, verify) = {
            let life = self.life.borrow();
            let save = due(life.save_at) && !life.saving && !life.checking;
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
        self.life.borrow_mut().close_old_spares(now);
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
