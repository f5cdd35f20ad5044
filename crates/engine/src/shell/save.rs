//! Resume data: when it is written, and what it may claim.
//!
//! Only what is on disk is claimed: data is synced first, then the record is written and made durable. A piece
//! that was written after the record's snapshot was taken may or may not show in the identity of its files;
//! it is recorded as *unsettled*, and checked by hash at the next start.

use super::life::Life;
use super::start::job;
use super::{Live, TorrentShell};
use crate::resume::{Record, ResumeData};
use samara_disk::Synced;
use samara_wire::time::{Duration, Instant};
use std::rc::Rc;
use tokio::task::spawn_blocking;

/// Resume data is at most this old while a torrent downloads, or lacks at most these bytes.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);
const SAVE_BYTES: u64 = 64 << 20;

/// File systems mark time in steps; a write within the step in which an identity was read does not change it.
const CLOCK_STEP: Duration = Duration::from_millis(20);

impl TorrentShell {
    /// Where this torrent's resume data is kept; `None`: nowhere.
    pub(super) fn record(&self) -> Option<Record> {
        let info = &self.shared.metainfo.info;
        Some(Record {
            state_dir: self.env.shared.config.state_dir.clone()?,
            hashes: self.shared.hashes,
            dir: self.shared.dir.clone(),
            layout: info.layout().clone(),
            files: info.files().len(),
        })
    }

    /// Notes that there is something new to be recorded.
    pub(super) fn on_unsaved(&self, life: &mut Life, now: Instant, bytes: u64) {
        life.unsaved_bytes += bytes;
        let due = if life.unsaved_bytes >= SAVE_BYTES { now } else { now + SAVE_INTERVAL };
        life.save_at = Some(life.save_at.map_or(due, |at| at.min(due)));
    }

    /// Makes durable what is verified, and then says so. One at a time.
    pub(super) async fn save(self: Rc<Self>) {
        let complete = self.write_resume().await;
        let mut life = self.life.borrow_mut();
        life.saving = false;
        match complete {
            Some(complete) => {
                life.durable = complete;
                if complete {
                    life.recover();
                }
            }
            None => life.save_at = Some(self.env.now() + SAVE_INTERVAL),
        }
        drop(life);
        self.publish_now();
        self.wake();
        self.changed.notify_one();
    }

    /// Gives whether the torrent is complete with all that is durable now; `None` if that did not succeed.
    pub(super) async fn write_resume(self: &Rc<Self>) -> Option<bool> {
        self.life.borrow_mut().unsaved_bytes = 0;
        let (have, partial, mut unsettled, complete, stats) = {
            let mut guard = self.live.borrow_mut();
            let live = guard.as_mut()?;
            live.pieces.since_snapshot = Some(Vec::new());
            let partial = live.pieces.on_disk(|piece| self.layout().blocks_in(piece));
            let stats = live.core.stats(self.env.now());
            let unsettled = live.pieces.writing.clone();
            (live.core.have().clone(), partial, unsettled, live.core.is_complete(), stats)
        };
        let synced = job(|reply| self.store.sync(reply)).await;
        if self.env.shared.config.state_dir.is_some() && !self.life.borrow().stopping {
            tokio::time::sleep(CLOCK_STEP).await;
        }
        if let Some(live) = self.live.borrow_mut().as_mut() {
            unsettled.extend(live.pieces.since_snapshot.take().unwrap_or_default());
        }
        let files = match synced {
            Ok(Synced { changed, .. }) if !changed.is_empty() => {
                self.recheck();
                return None;
            }
            Ok(Synced { files, .. }) => files,
            Err(error) => {
                self.fail(&error);
                self.withdraw_unsynced();
                return None;
            }
        };
        if let Some(live) = self.live.borrow_mut().as_mut() {
            live.synced.clone_from(&have);
        }
        let Some(record) = self.record() else { return Some(complete) };
        unsettled.retain(|piece| !have.has(*piece));
        let trackers = self.life.borrow().trackers.clone();
        let data = ResumeData {
            trackers,
            have,
            partial,
            unsettled,
            files,
            downloaded: stats.downloaded,
            uploaded: stats.uploaded,
        };
        match spawn_blocking(move || record.save(&data)).await {
            Ok(Ok(())) => Some(complete),
            Ok(Err(error)) => {
                tracing::warn!(torrent = %self.shared.hashes.wire(), %error, "cannot write resume data");
                // The data itself is durable; only the next start will take longer.
                Some(complete)
            }
            Err(_) => None,
        }
    }

    /// After a failed sync the system may have forgotten what it did not write, and may well report success the
    /// next time: what was written since the last success counts as lost.
    fn withdraw_unsynced(self: &Rc<Self>) {
        self.with_live(|live, now| {
            let lost: Vec<_> = live.core.have().iter_difference(&live.synced).collect();
            self.lose(live, now, lost);
        });
    }

    /// Whether anything is not yet recorded.
    pub(super) fn is_unsaved(live: &Live, life: &Life) -> bool {
        life.save_at.is_some() || life.unsaved_bytes > 0 || live.pieces.is_busy()
    }
}
