//! Files that somebody else changed while we use them (N2): nothing of them is served, claimed or overwritten until it is hashed again.
//!
//! The disk notices when it reads, writes or syncs, and does none of what it was to do. Then the torrent is as if paused: connections
//! close, jobs under way come to their end. The changed files are taken for what they are now, their pieces are withdrawn, hashed, and
//! those that are right are had again. If that turns up another change, it is done again after a while.

use super::start::job;
use super::{Live, TorrentShell};
use samara_disk::StorageError;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{FileIndex, PieceIndex};
use samara_wire::time::Duration;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::spawn_local;

/// Between two such checks of one torrent: a file that is being written to all the time is not read all the time.
const PAUSE: Duration = Duration::from_secs(5);

impl TorrentShell {
    /// Somebody else changed files: has them looked at, unless that is being done.
    pub(super) fn recheck(self: &Rc<Self>) {
        let mut life = self.life.borrow_mut();
        if life.checking || life.stopping || life.stopped {
            return;
        }
        life.checking = true;
        life.durable = false;
        life.progress = Arc::default();
        life.spares.clear();
        drop(life);
        let shell = Rc::clone(self);
        spawn_local(async move { shell.look_again().await });
    }

    async fn look_again(self: Rc<Self>) {
        self.with_live(|live, now| live.core.handle_stop(now, &mut live.out));
        self.publish_now();
        self.wait_until_idle().await;
        let not_before = self.life.borrow().rechecked_at.map(|at| at + PAUSE);
        if let Some(at) = not_before.filter(|&at| at > self.env.now()) {
            tokio::time::sleep_until(self.env.shared.clock.to_tokio(at)).await;
        }
        let mut suspects = Bitfield::empty(self.layout().count());
        while !self.life.borrow().stopping {
            match self.check_changed(&mut suspects).await {
                Ok(()) => break,
                Err(error) => self.pause_for(&error).await,
            }
        }
        if !self.life.borrow().stopping {
            self.go_on();
        }
    }

    /// Waits until nothing of this torrent is being written or saved.
    async fn wait_until_idle(&self) {
        let is_busy = || {
            let life = self.life.borrow();
            let busy = self.peek(|live, _| live.pieces.is_busy()).unwrap_or(false);
            !life.stopping && (busy || life.saving)
        };
        while is_busy() {
            self.changed.notified().await;
        }
    }

    /// Withdraws the pieces of changed files and has again those that are right. `suspects` are those that were withdrawn and not
    /// hashed yet.
    async fn check_changed(self: &Rc<Self>, suspects: &mut Bitfield) -> Result<(), StorageError> {
        let changed = job(|reply| self.store.take_changed(reply)).await?;
        self.tell_changed(&changed);
        let info = &self.shared.metainfo.info;
        for piece in changed.into_iter().flat_map(|file| info.pieces_of_file(file)) {
            suspects.insert(PieceIndex(piece));
        }
        let before = self.with_live(|live, now| {
            let before = live.core.have().count();
            let withdrawn: Vec<_> = suspects.iter().filter(|&p| live.core.have().has(p)).collect();
            // What somebody else wrote, nobody has synced.
            suspects.iter().for_each(|piece| _ = live.synced.remove(piece));
            self.lose(live, now, withdrawn);
            before
        });
        let outcome = self.check(suspects.clone()).await?;
        if !outcome.finished {
            // The torrent stops.
            return Ok(());
        }
        let lost = self.with_live(|live, now| {
            for piece in suspects.iter() {
                let (on_disk, good) = (live.pieces.forget(piece), outcome.good.has(piece));
                if good {
                    live.core.handle_piece_verified(now, piece, None, &mut live.out);
                } else if on_disk {
                    live.core.handle_write_failed(now, piece, &mut live.out);
                }
            }
            before.unwrap_or(0).saturating_sub(live.core.have().count())
        });
        *suspects = Bitfield::empty(self.layout().count());
        if let Some(lost @ 1..) = lost {
            let name = self.shared.metainfo.info.name();
            if self.options.upload_only {
                tracing::error!(
                    "{name}: {lost} pieces are not right any more, and no longer offered"
                );
            } else {
                tracing::warn!("{name}: {lost} pieces are not right any more, and fetched again");
            }
        }
        Ok(())
    }

    fn tell_changed(&self, changed: &[FileIndex]) {
        let files = self.shared.metainfo.info.files();
        for file in changed.iter().filter_map(|file| files.get(file.as_usize())) {
            let path = self.shared.dir.join(file.path.as_str());
            tracing::warn!(path = %path.display(), "another program changed it: it is checked again");
        }
    }

    /// The torrent has these pieces no more. Where nothing is to be downloaded, they are not wanted either.
    pub(super) fn lose(
        &self,
        live: &mut Live,
        now: samara_wire::time::Instant,
        pieces: impl IntoIterator<Item = PieceIndex>,
    ) {
        let mut pieces = pieces.into_iter().peekable();
        if self.options.upload_only && pieces.peek().is_some() {
            let nothing = vec![0; self.layout().count() as usize];
            live.core.set_priorities(now, &nothing, &mut live.out);
        }
        for piece in pieces {
            live.synced.remove(piece);
            live.core.handle_piece_lost(now, piece, &mut live.out);
        }
    }

    /// As after the check at the start.
    fn go_on(self: &Rc<Self>) {
        let now = self.env.now();
        let starts = {
            let mut life = self.life.borrow_mut();
            life.checking = false;
            life.rechecked_at = Some(now);
            life.recover();
            life.save_at = Some(now);
            !life.paused && life.offline.is_none()
        };
        if starts {
            self.with_live(|live, now| live.core.handle_start(now, &mut live.out));
        }
        self.take_in_early();
        self.publish_now();
        self.wake();
    }

    /// Those who came during a check.
    pub(super) fn take_in_early(self: &Rc<Self>) {
        let (peers, newcomers) = self.life.borrow_mut().take_early();
        if !peers.is_empty() {
            self.add_peers(&peers);
        }
        for newcomer in newcomers {
            self.handle_newcomer(newcomer);
        }
    }
}
