//! The trackers of a torrent, seen and changed by its owner.

use crate::command::TorrentCommand;
use crate::torrent::Torrent;
use crate::tracker;
pub use samara_swarm::announcer::TrackerState;
use samara_swarm::announcer::{MAX_TRACKERS, TrackerStatus};
use samara_wire::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest URL of a tracker that is taken, in bytes.
const MAX_URL: usize = 2048;

/// A tracker of a torrent, at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerInfo {
    /// Its announce URL, which may hold a passkey.
    pub url: String,
    /// Its tier, from 0 (BEP 12).
    pub tier: usize,
    /// What it is doing.
    pub state: TrackerState,
    /// Why it failed last, if it did, in words for a user.
    pub last_error: Option<String>,
    /// The warning of its last answer.
    pub warning: Option<String>,
    /// Time until it may be asked next; whether it is depends on the others of its tier. `None`: never again, or it
    /// is being asked, or waits for its turn to be.
    pub next_announce: Option<Duration>,
    /// Seeds it knows.
    pub seeds: Option<u32>,
    /// Leeches it knows.
    pub leeches: Option<u32>,
    /// Peers named in its last answer.
    pub peers: usize,
}

/// Why trackers were not changed. Then none of them was, but with [`TrackerEditError::NotKept`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackerEditError {
    /// A URL that is none of a tracker. The text names what can be shown of it.
    #[error("{0}")]
    Url(String),
    /// More than a torrent may have.
    #[error("a torrent has at most {MAX_TRACKERS} trackers")]
    TooMany,
    /// The torrent has no such tracker.
    #[error("the torrent has no such tracker")]
    Unknown,
    /// The torrent was added with the wish not to announce it.
    #[error("the torrent is not announced to trackers")]
    NotAnnounced,
    /// The torrent was removed, or the session shut down.
    #[error("the torrent has stopped")]
    Stopped,
    /// They were changed, but that could not be written down: after a restart it is as before.
    #[error("the trackers are changed for now, but the state directory cannot keep it: {0}")]
    NotKept(String),
}

/// A change of a torrent's trackers.
#[derive(Clone, Debug)]
pub(crate) enum TrackerEdit {
    Set(Vec<Vec<String>>),
    Add(Vec<Vec<String>>),
    Remove(String),
}

impl Torrent {
    /// The trackers in the order in which they are tried. Empty if the torrent has none, is not announced, or has
    /// stopped.
    pub async fn trackers(&self) -> Vec<TrackerInfo> {
        let (answer, answered) = oneshot::channel();
        self.0.send(TorrentCommand::Trackers(answer));
        answered.await.unwrap_or_default()
    }

    /// Adds trackers, in tiers after those there are. One that is there already stays where it is.
    ///
    /// # Errors
    /// If a URL cannot be used, or there would be too many.
    pub async fn add_trackers(&self, tiers: Vec<Vec<String>>) -> Result<(), TrackerEditError> {
        self.edit_trackers(TrackerEdit::Add(tiers)).await
    }

    /// Removes a tracker. It is told `stopped` if it was told `started`.
    ///
    /// # Errors
    /// If there is no such tracker.
    pub async fn remove_tracker(&self, url: &str) -> Result<(), TrackerEditError> {
        self.edit_trackers(TrackerEdit::Remove(url.to_owned())).await
    }

    /// From now on these are the trackers. Those that stay notice nothing, those that go are told `stopped`.
    ///
    /// Changed trackers are kept with the resume data, durably when this is ready, and at the next start take the place of those
    /// of the metainfo; not without a state directory, nor with [`crate::Existing::Trust`], of which nothing is kept.
    ///
    /// # Errors
    /// If a URL cannot be used, or there are too many.
    pub async fn set_trackers(&self, tiers: Vec<Vec<String>>) -> Result<(), TrackerEditError> {
        self.edit_trackers(TrackerEdit::Set(tiers)).await
    }

    /// Asks the trackers for peers now, or as soon after their last answer as they allow.
    pub fn announce_now(&self) {
        self.0.send(TorrentCommand::AnnounceNow);
    }

    async fn edit_trackers(&self, edit: TrackerEdit) -> Result<(), TrackerEditError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(TorrentCommand::EditTrackers(edit, answer));
        answered.await.unwrap_or(Err(TrackerEditError::Stopped))
    }
}

impl TrackerEdit {
    /// The trackers that `tiers` becomes: each once, no empty tier, within bounds.
    pub(crate) fn apply(self, tiers: &[Vec<String>]) -> Result<Vec<Vec<String>>, TrackerEditError> {
        let wanted = match self {
            Self::Set(wanted) => checked(wanted)?,
            Self::Add(more) => [tiers.to_vec(), checked(more)?].concat(),
            Self::Remove(url) => {
                let mut wanted = tiers.to_vec();
                wanted.iter_mut().for_each(|tier| tier.retain(|other| *other != url));
                if wanted == tiers {
                    return Err(TrackerEditError::Unknown);
                }
                wanted
            }
        };
        let mut seen = BTreeSet::new();
        let once = |tier: Vec<String>| -> Vec<String> {
            tier.into_iter().filter(|url| seen.insert(url.clone())).collect()
        };
        let wanted: Vec<_> = wanted.into_iter().map(once).filter(|tier| !tier.is_empty()).collect();
        if wanted.iter().map(Vec::len).sum::<usize>() > MAX_TRACKERS {
            return Err(TrackerEditError::TooMany);
        }
        Ok(wanted)
    }
}

/// `tiers` without the space around their URLs, if all of them can be used.
fn checked(mut tiers: Vec<Vec<String>>) -> Result<Vec<Vec<String>>, TrackerEditError> {
    if tiers.iter().map(Vec::len).sum::<usize>() > MAX_TRACKERS {
        return Err(TrackerEditError::TooMany);
    }
    for url in tiers.iter_mut().flatten() {
        if url.len() > MAX_URL {
            let what = format!("the address of a tracker has at most {MAX_URL} bytes");
            return Err(TrackerEditError::Url(what));
        }
        *url = url.trim().to_owned();
        tracker::check_url(url).map_err(|error| TrackerEditError::Url(error.to_string()))?;
    }
    Ok(tiers)
}

/// What the core knows of a tracker, for the owner.
pub(crate) fn info(status: TrackerStatus<'_>, now: Instant) -> TrackerInfo {
    TrackerInfo {
        url: status.url.to_owned(),
        tier: status.tier,
        state: status.state,
        last_error: status.last_error.map(Into::into),
        warning: status.warning.map(Into::into),
        next_announce: status.next_announce.map(|at| at.since(now)),
        seeds: status.seeds,
        leeches: status.leeches,
        peers: status.peers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(tiers: &[&[&str]]) -> Vec<Vec<String>> {
        tiers.iter().map(|tier| tier.iter().map(|&url| url.to_owned()).collect()).collect()
    }

    #[test]
    fn edits_keep_each_tracker_once_and_no_empty_tier() {
        let before = tiers(&[&["http://a/", "http://b/"], &["udp://c:1"]]);
        let edit = |edit: TrackerEdit| edit.apply(&before);
        let added = edit(TrackerEdit::Add(tiers(&[&[" http://d/ ", "http://a/"], &["udp://c:1"]])));
        let expected = tiers(&[&["http://a/", "http://b/"], &["udp://c:1"], &["http://d/"]]);
        assert_eq!(added, Ok(expected));
        let removed = edit(TrackerEdit::Remove("udp://c:1".into()));
        assert_eq!(removed, Ok(tiers(&[&["http://a/", "http://b/"]])));
        let unknown = edit(TrackerEdit::Remove("udp://c:2".into()));
        assert_eq!(unknown, Err(TrackerEditError::Unknown));
        assert_eq!(
            edit(TrackerEdit::Set(tiers(&[&[], &["http://x/"]]))),
            Ok(tiers(&[&["http://x/"]]))
        );
        assert_eq!(edit(TrackerEdit::Set(vec![])), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_telling_a_passkey() {
        let refused = |url: &str| {
            let error = TrackerEdit::Set(tiers(&[&["http://a/", url]])).apply(&[]).unwrap_err();
            assert!(matches!(error, TrackerEditError::Url(_)), "{error:?}");
            error.to_string()
        };
        for url in [
            "",
            "a",
            "ftp://a/announce?key=s3cret",
            "udp://a/announce?key=s3cret",
            "ftp://a/s3cret/announce",
            "http//a/s3cret/announce",
            "udp://me:s3cret@a/announce",
        ] {
            assert!(!refused(url).contains("s3cret"), "{url}");
        }
        assert!(refused("ftp://tracker.example/announce").contains("ftp://tracker.example"));
        assert!(refused(&format!("{}://a", "x".repeat(1000))).len() < 200);
        refused(&format!("http://a/{}", "x".repeat(3000)));
        let many: Vec<String> = (0..=MAX_TRACKERS).map(|i| format!("http://{i}/")).collect();
        let before = vec![many[1..].to_vec()];
        let too_many = Err(TrackerEditError::TooMany);
        assert_eq!(TrackerEdit::Set(vec![many.clone()]).apply(&[]), too_many);
        assert_eq!(TrackerEdit::Add(vec![many[..1].to_vec()]).apply(&before), too_many);
        assert_eq!(TrackerEdit::Add(vec![many[1..].to_vec()]).apply(&before), Ok(before.clone()));
    }
}
