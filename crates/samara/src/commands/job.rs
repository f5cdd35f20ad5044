//! One torrent on its way: how far it is, whether it is finished, and what is said of it at the end.

use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::progress::{Phase, Snapshot};
use crate::units;
use samara_engine::{ErrorKind, State, Torrent, TorrentError, TorrentStatus};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a torrent may be without peers before its owner is told why.
const QUIET: Duration = Duration::from_secs(3);

/// When a complete torrent is finished with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Goal {
    /// As soon as it is complete.
    Complete,
    /// When this much was given back, or after this time, whichever comes first.
    Seed {
        /// Bytes sent for each byte wanted.
        ratio: Option<f64>,
        /// Since it was complete.
        time: Option<Duration>,
    },
    /// Never.
    Forever,
}

impl Goal {
    /// Whether a torrent that is complete since `since`, of `wanted` bytes, has reached the goal.
    #[expect(clippy::cast_precision_loss, reason = "ratios are rough")]
    fn is_reached(self, since: Duration, uploaded: u64, wanted: u64) -> bool {
        match self {
            Self::Complete => true,
            Self::Forever => false,
            Self::Seed { ratio, time } => {
                ratio.is_some_and(|r| uploaded as f64 >= r * wanted as f64)
                    || time.is_some_and(|t| since >= t)
            }
        }
    }
}

/// A torrent and what was seen of it.
pub(crate) struct Job {
    pub(crate) torrent: Torrent,
    goal: Goal,
    begun: Instant,
    /// Since when it transfers rather than checks.
    transfer_begun: Option<Instant>,
    complete: Option<Instant>,
    /// Whether it was complete before anything was transferred.
    was_complete: bool,
    finished: bool,
    /// Why it cannot go on at present; the engine tries again by itself.
    failure: Option<TorrentError>,
    most_peers: u32,
    last_peer: Instant,
    /// Names and lengths of the files wanted, and their indices; none if the torrent is one file.
    files: Vec<(usize, String, u64)>,
    file_bytes: Vec<u64>,
    status: TorrentStatus,
    /// The last warning of a tracker that was told.
    warned: Option<String>,
}

impl Job {
    /// A job for a torrent just added, of which `wanted` files are wanted (`None`: all).
    pub(crate) fn new(torrent: Torrent, wanted: Option<&[usize]>, goal: Goal) -> Self {
        let now = Instant::now();
        let info = &torrent.metainfo().info;
        let listed = if info.is_single_file() { &[] } else { info.files() };
        let files = listed
            .iter()
            .enumerate()
            .filter(|(i, f)| !f.attributes.padding && wanted.is_none_or(|w| w.contains(i)))
            .map(|(i, f)| {
                let path = f.path.as_str();
                let below = path.split_once('/').map_or(path, |(_, rest)| rest);
                (i, below.to_owned(), f.len)
            })
            .collect();
        let status = torrent.status();
        Self {
            torrent,
            goal,
            begun: now,
            transfer_begun: None,
            complete: None,
            was_complete: false,
            finished: false,
            failure: None,
            most_peers: 0,
            last_peer: now,
            files,
            file_bytes: Vec::new(),
            status,
            warned: None,
        }
    }

    /// What a tracker warns of, once.
    pub(crate) fn take_warning(&mut self) -> Option<String> {
        let warning = self.status.tracker_warning.as_ref()?;
        if self.warned.as_ref() == Some(warning) {
            return None;
        }
        self.warned = Some(warning.clone());
        Some(format!("{}: tracker {warning}", self.torrent.metainfo().info.name()))
    }

    /// Whether nothing more is to be waited for.
    pub(crate) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether everything wanted is here.
    pub(crate) const fn is_complete(&self) -> bool {
        self.complete.is_some()
    }

    /// Whether its storage is in trouble. It goes on by itself once that is over, for as long as the session lasts.
    pub(crate) const fn is_stuck(&self) -> bool {
        self.failure.is_some()
    }

    /// Why it cannot go on.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let error = self.failure.as_ref()?;
        let exit = match error.kind {
            ErrorKind::NoSpace => Exit::NoSpace,
            ErrorKind::Permission | ErrorKind::ReadOnly | ErrorKind::Io => Exit::Io,
        };
        let name = self.torrent.metainfo().info.name();
        Some(
            Failure::new(exit, format!("{name}: {}", error.message))
                .hint("what is here is kept; run the same command again to continue"),
        )
    }

    /// Whether a peer or a tracker was ever heard.
    pub(crate) const fn was_heard(&self) -> bool {
        self.most_peers > 0 || self.status.trackers_answered > 0
    }

    /// Looks at the torrent again. True when it has just become complete.
    pub(crate) fn observe(&mut self, now: Instant) -> bool {
        self.status = self.torrent.status();
        let stats = &self.status.stats;
        self.most_peers = self.most_peers.max(stats.peers);
        if stats.peers > 0 {
            self.last_peer = now;
        }
        let mut just_complete = false;
        self.failure = None;
        match &self.status.state {
            State::Checking => {}
            State::Downloading | State::Paused => {
                self.transfer_begun.get_or_insert(now);
            }
            State::Seeding => {
                if self.complete.is_none() {
                    self.was_complete = stats.downloaded == 0;
                    self.complete = Some(now);
                    just_complete = true;
                }
            }
            State::Failed(error) => self.failure = Some(error.clone()),
            State::Stopped => self.finished = true,
        }
        if let Some(since) = self.complete {
            let goal = self.goal.is_reached(now - since, stats.uploaded, stats.wanted_bytes);
            self.finished |= goal;
        }
        just_complete
    }

    /// Asks how far each file is, for displays that show it.
    pub(crate) async fn observe_files(&mut self) {
        if self.files.len() > 1 && self.status.state == State::Downloading {
            self.file_bytes = self.torrent.file_progress().await;
        }
    }

    /// Ready when the torrent is complete, or cannot go on.
    pub(crate) async fn turning_point(&self) {
        let ends = |s: &State| matches!(s, State::Seeding | State::Failed(_) | State::Stopped);
        self.torrent.wait_until(|status| ends(&status.state)).await;
    }

    /// Takes in the last counters, once everything is closed.
    pub(crate) fn observe_end(&mut self) {
        let last = self.torrent.status();
        self.status.stats = last.stats;
        self.status.tracker_warning = last.tracker_warning;
    }

    /// For the display.
    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        let info = &self.torrent.metainfo().info;
        let stats = &self.status.stats;
        let phase = match self.status.state {
            // Nobody pauses a download here: `seed` holds a torrent back until it is checked.
            State::Checking | State::Paused => Phase::Checking,
            State::Downloading => Phase::Downloading,
            State::Seeding => Phase::Seeding,
            State::Failed(_) => Phase::Failed,
            State::Stopped => Phase::Stopping,
        };
        let (done, total) = match phase {
            Phase::Checking => (self.status.checked_bytes, self.status.check_total_bytes),
            _ => (stats.wanted_have_bytes, stats.wanted_bytes),
        };
        let bytes = |index: usize| self.file_bytes.get(index).copied().unwrap_or(0);
        Snapshot {
            name: info.name().to_owned(),
            hash: Some(self.torrent.hashes().wire().to_string()),
            phase,
            done,
            total,
            down_rate: if phase == Phase::Checking { 0 } else { stats.down_rate },
            up_rate: stats.up_rate,
            uploaded: stats.uploaded,
            peers: stats.peers,
            seeds: stats.seeds,
            note: self.note(now),
            files: match phase {
                Phase::Downloading => self
                    .files
                    .iter()
                    .map(|(i, name, len)| (name.clone(), bytes(*i), *len))
                    .collect(),
                _ => self.files.iter().map(|(_, name, len)| (name.clone(), *len, *len)).collect(),
            },
        }
    }

    /// Why nothing moves, if nothing does.
    fn note(&self, now: Instant) -> Option<String> {
        if let Some(error) = &self.failure {
            return Some(error.message.clone());
        }
        if let Some(why) = &self.status.offline {
            return Some(why.clone());
        }
        let waiting = self.status.state == State::Downloading && self.status.stats.peers == 0;
        if !waiting || now - self.last_peer < QUIET {
            return None;
        }
        let metainfo = self.torrent.metainfo();
        Some(match &self.status.tracker_error {
            Some(error) => format!("waiting; {error}"),
            None if metainfo.trackers.is_empty() => {
                "waiting; the torrent names no tracker: give a peer with --peer".to_owned()
            }
            None if self.status.trackers_answered == 0 => "waiting for the trackers".to_owned(),
            None => "waiting; the trackers answer, but nobody is there".to_owned(),
        })
    }

    /// What became of it, in two lines for people or one of JSON.
    pub(crate) fn summarise(&self, now: Instant, out: Output) -> Result<(), Failure> {
        let (info, stats) = (&self.torrent.metainfo().info, &self.status.stats);
        let end = self.complete.unwrap_or(now);
        let took = end.saturating_duration_since(self.transfer_begun.unwrap_or(self.begun));
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = stats.downloaded.saturating_mul(1000) / millis;
        #[expect(clippy::cast_precision_loss, reason = "ratios are rough")]
        let ratio = stats.uploaded as f64 / stats.wanted_bytes.max(1) as f64;
        let path = self.torrent.dir().join(info.name());
        if out.json {
            return out.object(
                "summary",
                json!({
                    "info_hash": self.torrent.hashes().wire().to_string(),
                    "name": info.name(),
                    "path": path,
                    "complete": self.is_complete(),
                    "done": stats.wanted_have_bytes,
                    "total": stats.wanted_bytes,
                    "downloaded": stats.downloaded,
                    "uploaded": stats.uploaded,
                    "wasted": stats.wasted,
                    "corrupt": stats.corrupt,
                    "seconds": took.as_secs_f64(),
                    "rate": rate,
                    "peers": self.most_peers,
                    "ratio": ratio,
                }),
            );
        }
        let style = out.err_style;
        let mut parts = Vec::new();
        if self.was_complete && stats.uploaded == 0 {
            parts.push(format!("complete already: {} checked", units::size(stats.wanted_bytes)));
        } else if self.was_complete {
            parts.push(format!("{} sent", units::size(stats.uploaded)));
        } else if self.is_complete() {
            parts.push(format!(
                "{} in {} ({})",
                units::size(stats.downloaded),
                units::duration(took),
                units::rate(rate)
            ));
        } else {
            parts.push(format!(
                "{} % here ({} of {}), kept for next time",
                units::percent(stats.wanted_have_bytes, stats.wanted_bytes),
                units::size(stats.wanted_have_bytes),
                units::size(stats.wanted_bytes)
            ));
        }
        if self.most_peers > 0 {
            parts.push(units::count(self.most_peers.into(), "peer", "peers"));
        }
        if stats.uploaded > 0 {
            parts.push(format!("ratio {ratio:.2}"));
        }
        parts.push(clean(&path.display().to_string()).into_owned());
        let mark = match self.is_complete() {
            true => style.green("✓"),
            false => style.yellow("–"),
        };
        out.note(format_args!("{mark} {}", style.bold(clean(info.name()))));
        out.note(format_args!("  {}", parts.join(" · ")));
        Ok(())
    }
}

/// What became of more torrents than anybody wants to read of one by one.
pub(crate) fn summary_of_many(jobs: &[Job], out: Output) -> String {
    let complete = jobs.iter().filter(|job| job.is_complete()).count() as u64;
    let sum = |of: fn(&Job) -> u64| units::size(jobs.iter().map(of).sum());
    let mark = match complete == jobs.len() as u64 {
        true => out.err_style.green("✓"),
        false => out.err_style.yellow("–"),
    };
    format!(
        "{mark} {}, {} of them complete · {} received · {} sent",
        units::count(jobs.len() as u64, "torrent", "torrents"),
        units::grouped(complete),
        sum(|job| job.status.stats.downloaded),
        sum(|job| job.status.stats.uploaded),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_reached_by_ratio_or_time_whichever_is_first() {
        let goal = Goal::Seed { ratio: Some(1.5), time: Some(Duration::from_secs(60)) };
        assert!(!goal.is_reached(Duration::from_secs(59), 149, 100));
        assert!(goal.is_reached(Duration::from_secs(59), 150, 100));
        assert!(goal.is_reached(Duration::from_secs(60), 0, 100));
        assert!(Goal::Complete.is_reached(Duration::ZERO, 0, 1));
        assert!(!Goal::Forever.is_reached(Duration::MAX, u64::MAX, 0));
    }
}
