//! Pausing, stopping, removing.

use super::life::Life;
use super::start::job;
use super::{Live, Peer, TorrentShell};
use crate::network::Move;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Time for the announces of a torrent that is removed, and for its last disk jobs.
const REMOVE_TIMEOUT: Duration = Duration::from_millis(1800);

/// Of the time to stop in, what is kept for writing resume data when trackers do not answer.
const SAVE_RESERVE: Duration = Duration::from_millis(600);

impl TorrentShell {
    pub(super) fn pause(self: &Rc<Self>) {
        self.life.borrow_mut().paused = true;
        self.life.borrow_mut().spares.clear();
        self.with_live(|live, now| {
            live.core.handle_stop(now, &mut live.out);
            self.spill_all(live);
        });
        self.publish_now();
    }

    /// There is no network any more, for this reason, or there is one. Without one the torrent is as if paused; then it begins anew.
    pub(crate) fn handle_network(self: &Rc<Self>, lost: Option<Arc<str>>) {
        let back = lost.is_none();
        let was_offline = std::mem::replace(&mut self.life.borrow_mut().offline, lost).is_some();
        let waits = self.life.borrow().checking;
        if !self.life.borrow().paused && !self.life.borrow().stopping && !waits {
            if back && was_offline {
                self.life.borrow_mut().renew(self.env.now());
                self.with_live(|live, now| live.core.handle_start(now, &mut live.out));
            } else if !back && !was_offline {
                self.life.borrow_mut().spares.clear();
                self.with_live(|live, now| {
                    live.core.handle_stop(now, &mut live.out);
                    self.spill_all(live);
                });
            }
        }
        self.publish_now();
    }

    /// We are at other addresses than before: connections that began at one that is gone lead nowhere, and who knows us by it is
    /// to know us by another.
    pub(crate) fn handle_moved(self: &Rc<Self>, moved: &Move) {
        if self.life.borrow().offline.is_some() || self.life.borrow().stopping {
            return;
        }
        self.with_live(|live, now| {
            let lost =
                |peer: &&Rc<Peer>| peer.local_ip().is_some_and(|ip| moved.gone.contains(&ip));
            let lost: Vec<_> = live.peers.iter().flatten().filter(lost).cloned().collect();
            if !lost.is_empty() {
                tracing::debug!(peers = lost.len(), "their connections went with our address");
            }
            for peer in lost {
                peer.close();
                live.take_peer(peer.key);
                live.core.handle_disconnected(now, peer.key, &mut live.out);
            }
            live.core.set_peer_id(self.env.shared.peer_id());
            if moved.announce && !self.life.borrow().paused {
                live.core.handle_moved(now, &mut live.out);
            }
        });
    }

    /// How peers outside reach us has changed; `ip` is our address there, if it is known.
    pub(crate) fn handle_outside(self: &Rc<Self>, ip: Option<IpAddr>) {
        let port = self.env.shared.outer_port();
        self.with_live(|live, now| live.core.handle_outside(now, port, ip, &mut live.out));
    }

    pub(super) fn resume(self: &Rc<Self>) {
        if self.life.borrow().stopping || !std::mem::take(&mut self.life.borrow_mut().paused) {
            return;
        }
        self.life.borrow_mut().renew(self.env.now());
        if self.life.borrow().offline.is_none() && !self.life.borrow().checking {
            self.with_live(|live, now| live.core.handle_start(now, &mut live.out));
        }
        self.publish_now();
    }

    /// Announces `stopped`, closes connections, puts everything on disk, writes resume data; by `deadline`.
    pub(crate) async fn stop(self: &Rc<Self>, deadline: Instant) {
        {
            let mut life = self.life.borrow_mut();
            if life.stopping {
                return;
            }
            life.stopping = true;
            life.spares.clear();
            life.progress.cancel();
        }
        self.with_live(|live, now| {
            live.core.handle_stop(now, &mut live.out);
            self.spill_all(live);
        });
        // Announces go on while the disk works.
        let quiet_by = deadline.checked_sub(SAVE_RESERVE).unwrap_or(deadline);
        self.wait_for(quiet_by, |live, life| !live.pieces.is_busy() && !life.saving).await;
        // Two at once would take each other's data for synced.
        self.wait_for(deadline, |_, life| !life.saving).await;
        let unsaved = self.peek(|live, _| Self::is_unsaved(live, &self.life.borrow()));
        // Amid a check it is not known what there is; what was recorded before says which files it speaks of.
        let is_free = !self.life.borrow().saving && !self.life.borrow().checking;
        if unsaved == Some(true) && is_free {
            // Too late is as good as killed: the next start checks what changed.
            let _ = timeout_at(deadline, self.write_resume()).await;
        }
        self.wait_for(deadline, |live, _| live.core.is_stopped()).await;
        self.end();
    }

    /// Stops, forgets, and deletes the files if asked.
    pub(super) async fn remove(self: &Rc<Self>, delete_files: bool) {
        self.stop(Instant::now() + REMOVE_TIMEOUT).await;
        if delete_files && let Err(error) = job(|reply| self.store.delete(reply)).await {
            tracing::warn!(torrent = %self.shared.hashes.wire(), %error, "cannot delete files");
        }
        if let Some(record) = self.record() {
            let _turn = self.record_turn().lock().await;
            // An error is a panic in there, reported when it happened.
            let _ = tokio::task::spawn_blocking(move || record.delete()).await;
        }
        self.env.shared.leave(self.shared.id);
        self.env.forget(self.shared.id);
    }

    /// Waits until the core and the disk are as `f` says, or until `deadline`.
    async fn wait_for(&self, deadline: Instant, f: impl Fn(&Live, &Life) -> bool) {
        let wait = async {
            while !self.peek(|live, _| f(live, &self.life.borrow())).unwrap_or(true) {
                self.changed.notified().await;
            }
        };
        // Late is late; what was not finished is found out at the next start.
        let _ = timeout_at(deadline, wait).await;
    }

    /// The very end: the last status, and nothing is left to be done.
    fn end(&self) {
        self.life.borrow_mut().stopped = true;
        self.publish_now();
        *self.live.borrow_mut() = None;
    }
}
