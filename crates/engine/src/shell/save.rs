//! Resume data: when it is written, and what it may claim.
//!
//! Only what is on disk is claimed: data is synced first, then the record is written and made durable. A piece
//! that was written after the record's snapshot was taken may or may not show in the identity of its files;
//! it is recorded as *unsettled*, and checked by hash at the next start.
//!
//! Only the record of an orderly end says that it is the last word (`ended`). After any other one, what it does not claim is
//! looked at before it is overwritten, also in files that seem unchanged (`plan`).

use super::life::Life;
use super::start::job;
use super::{Live, TorrentShell};
use crate::resume::{Record, ResumeData};
use samara_disk::Synced;
use samara_wire::time::{Duration, Instant};
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// File systems mark time in steps; a write within the step in which an identity was read does not change it.
const CLOCK_STEP: Duration = Duration::from_millis(20);

impl TorrentShell {
    /// Where this torrent's resume data is kept; `None`: nowhere.
    pub(super) fn record(&self) -> Option<Record> {
        let info = &self.shared.metainfo.info;
        Some(Record {
            keep: Arc::clone(&self.env.shared.keeping.files),
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
        let keeping = &self.env.shared.keeping;
        let due = if life.unsaved_bytes >= keeping.bytes { now } else { now + keeping.interval };
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
            None => life.save_at = Some(self.env.now() + self.env.shared.keeping.interval),
        }
        drop(life);
        self.publish_now();
        self.wake();
        self.changed.notify_one();
    }

    /// Gives whether the torrent is complete with all that is durable now; `None` if that did not succeed. One at a time.
    pub(super) async fn write_resume(self: &Rc<Self>) -> Option<bool> {
        self.life.borrow_mut().unsaved_bytes = 0;
        let (have, partial, mut unsettled, complete, stats, quiet) = {
            let mut guard = self.live.borrow_mut();
            let live = guard.as_mut()?;
            live.pieces.begin_snapshot();
            let partial = live.pieces.on_disk(|piece| self.layout().blocks_in(piece));
            let stats = live.core.stats(self.env.now());
            let unsettled = live.pieces.writing.clone();
            let quiet = self.life.borrow().stopping && !live.pieces.is_busy();
            (live.core.have().clone(), partial, unsettled, live.core.is_complete(), stats, quiet)
        };
        let synced = job(|reply| self.store.sync(reply)).await;
        if self.env.shared.config.state_dir.is_some() && !self.life.borrow().stopping {
            tokio::time::sleep(CLOCK_STEP).await;
        }
        if let Some(live) = self.live.borrow_mut().as_mut() {
            unsettled.extend(live.pieces.end_snapshot());
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
        let ended = quiet && self.peek(|live, _| !live.pieces.is_busy()).unwrap_or(false);
        let ended = ended && unsettled.is_empty();
        unsettled.retain(|piece| !have.has(*piece));
        let data = ResumeData {
            trackers: None,
            have,
            partial,
            unsettled,
            files,
            ended,
            downloaded: stats.downloaded,
            uploaded: stats.uploaded,
        };
        let saved = self.write_record(record, data).await?;
        self.life.borrow_mut().record_open = saved && !ended && !complete;
        // If only the record could not be written: the data itself is durable, and the next start will take longer.
        Some(complete)
    }

    /// Replaces the record, with the trackers as they are now. Gives whether that succeeded; `None` after a panic.
    async fn write_record(&self, record: Record, mut data: ResumeData) -> Option<bool> {
        let _turn = self.record_turn().lock().await;
        data.trackers = self.life.borrow().trackers.clone();
        let have = data.have.clone();
        if let Some(live) = self.live.borrow_mut().as_mut() {
            // Until it is known which of the two is on disk.
            have.iter().for_each(|piece| _ = live.claimed.insert(piece));
        }
        match spawn_blocking(move || record.save(&data)).await {
            Ok(Ok(())) => {
                if let Some(live) = self.live.borrow_mut().as_mut() {
                    live.claimed = have;
                }
                Some(true)
            }
            Ok(Err(error)) => {
                tracing::warn!(torrent = %self.shared.hashes.wire(), %error, "cannot write resume data");
                Some(false)
            }
            Err(_) => None,
        }
    }

    /// After a failed sync the system may have forgotten what it did not write, and may well report success the
    /// next time: what was written since the last success counts as lost, spilled blocks and pieces still being written among it.
    fn withdraw_unsynced(self: &Rc<Self>) {
        self.with_live(|live, now| {
            let lost: Vec<_> = live.core.have().iter_difference(&live.synced).collect();
            self.lose(live, now, lost);
            for piece in live.pieces.doubt_disk() {
                live.core.handle_write_failed(now, piece, &mut live.out);
            }
        });
    }

    /// Whether the record does not yet say how it ends.
    pub(super) fn is_unsaved(live: &Live, life: &Life) -> bool {
        life.save_at.is_some()
            || life.unsaved_bytes > 0
            || life.record_open
            || live.pieces.is_busy()
    }
}
