//! The owner's say in the torrent's trackers: before the core is there, while it runs, and across restarts.
//!
//! Trackers that were changed are kept in [`Life`](super::life::Life) and in the resume data, and take the place of
//! those of the metainfo. Until then, and if the torrent is not to be announced, there is nothing to be kept.

use super::TorrentShell;
use crate::config::Existing;
use crate::resume::{Record, ResumeData};
use crate::trackers::{TrackerEdit, TrackerEditError, TrackerInfo, TrackerState, info};
use std::rc::Rc;
use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, spawn_local};

/// What tells the owner that his wish is done.
type Answer = oneshot::Sender<Result<(), TrackerEditError>>;

impl TorrentShell {
    /// The trackers, in tiers.
    pub(super) fn tracker_tiers(&self) -> Vec<Vec<String>> {
        if !self.options.announce {
            return Vec::new();
        }
        let edited = self.life.borrow().trackers.clone();
        edited.unwrap_or_else(|| self.shared.metainfo.trackers.clone())
    }

    /// The trackers, for display.
    pub(super) fn trackers(&self) -> Vec<TrackerInfo> {
        let live = self.peek(|live, now| live.core.trackers().map(|t| info(t, now)).collect());
        live.unwrap_or_else(|| {
            let tiers = self.tracker_tiers();
            let urls =
                tiers.iter().enumerate().flat_map(|(n, tier)| tier.iter().map(move |u| (n, u)));
            urls.map(|(tier, url)| idle(tier, url)).collect()
        })
    }

    /// Changes the trackers at once, and says so when that is durable.
    pub(super) fn edit_trackers(self: &Rc<Self>, edit: TrackerEdit, answer: Answer) {
        let edited = self.apply(edit);
        let record = self.record().filter(|_| self.options.existing != Existing::Trust);
        let shell = Rc::clone(self);
        spawn_local(async move {
            let kept = match (edited, record) {
                (Ok(()), Some(record)) => shell.keep_trackers(record).await,
                (edited, _) => edited,
            };
            // Fails only if nobody waits for it any more.
            let _ = answer.send(kept);
        });
    }

    /// Writes the trackers into the record. It goes on claiming what it did.
    async fn keep_trackers(&self, record: Record) -> Result<(), TrackerEditError> {
        let _turn = self.record_turn().lock().await;
        if self.life.borrow().stopped {
            return Err(TrackerEditError::Stopped);
        }
        let trackers = self.life.borrow().trackers.clone();
        let kept = spawn_blocking(move || record.amend(|data| data.trackers = trackers)).await;
        let error = match kept {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::warn!(torrent = %self.shared.hashes.wire(), %error, "cannot keep trackers");
        Err(TrackerEditError::NotKept(error))
    }

    fn apply(self: &Rc<Self>, edit: TrackerEdit) -> Result<(), TrackerEditError> {
        if !self.options.announce {
            return Err(TrackerEditError::NotAnnounced);
        }
        if self.life.borrow().stopping {
            return Err(TrackerEditError::Stopped);
        }
        let tiers = edit.apply(&self.tracker_tiers())?;
        self.with_live(|live, now| live.core.handle_set_trackers(now, &tiers, &mut live.out));
        self.life.borrow_mut().trackers = Some(tiers);
        Ok(())
    }

    pub(super) fn announce_now(self: &Rc<Self>) {
        self.with_live(|live, now| live.core.handle_announce_now(now, &mut live.out));
    }

    /// Takes up the trackers as they were changed in an earlier run, unless they were changed again since.
    pub(super) fn adopt_trackers(&self, resume: Option<&ResumeData>) {
        let kept = resume.and_then(|data| data.trackers.clone());
        let mut life = self.life.borrow_mut();
        if life.trackers.is_none() {
            life.trackers = kept;
        }
    }
}

/// A tracker that has not been asked.
fn idle(tier: usize, url: &str) -> TrackerInfo {
    TrackerInfo {
        url: url.to_owned(),
        tier,
        state: TrackerState::Idle,
        last_error: None,
        warning: None,
        next_announce: None,
        seeds: None,
        leeches: None,
        peers: 0,
    }
}
