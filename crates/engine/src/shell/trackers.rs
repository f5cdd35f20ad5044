//! The owner's say in the torrent's trackers: before the core is there, while it runs, and across restarts.
//!
//! Trackers that were changed are kept in [`Life`](super::life::Life) and in the resume data, and take the place of
//! those of the metainfo. Until then, and if the torrent is not to be announced, there is nothing to be kept.

use super::TorrentShell;
use crate::config::Existing;
use crate::resume::ResumeData;
use crate::trackers::{TrackerEdit, TrackerEditError, TrackerInfo, TrackerState, info};
use std::rc::Rc;

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

    pub(super) fn edit_trackers(
        self: &Rc<Self>,
        edit: TrackerEdit,
    ) -> Result<(), TrackerEditError> {
        if !self.options.announce {
            return Err(TrackerEditError::NotAnnounced);
        }
        if self.life.borrow().stopping {
            return Err(TrackerEditError::Stopped);
        }
        let tiers = edit.apply(&self.tracker_tiers())?;
        self.with_live(|live, now| live.core.handle_set_trackers(now, &tiers, &mut live.out));
        {
            let mut life = self.life.borrow_mut();
            life.trackers = Some(tiers);
            if self.options.existing != Existing::Trust {
                life.save_at = Some(self.env.now());
            }
        }
        self.wake();
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
