//! Progress on stderr: bars in a terminal, a plain line every few seconds elsewhere, JSON lines on stdout if asked.
//!
//! What is shown never goes backwards inside a phase and never exceeds the total, whatever the engine's counters
//! do (a piece withdrawn, a file changed underneath): [`Track`] sees to it.

mod bars;
mod lines;

use crate::exit::Failure;
use crate::output::{Output, clean};
use crate::units;
use bars::Bars;
use indicatif::MultiProgress;
use lines::Lines;
use serde_json::json;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The bars on the screen, if any, so that other output can be put above them.
static ON_SCREEN: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// More pieces of work than this are shown as one.
pub(crate) const MANY: usize = 40;

/// For each piece of work there is at least this between two looks at all, so that thousands at rest cost next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How often JSON progress is written.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// Writes to stderr with the bars out of the way.
pub(crate) fn above_bars(write: impl FnOnce()) {
    let bars = ON_SCREEN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bars {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// What one piece of work is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Hashing data that is already there.
    Checking,
    /// Hashing data for a new torrent.
    Hashing,
    /// Writing the demo's payload.
    Writing,
    /// Fetching from peers.
    Downloading,
    /// Complete, serving peers.
    Seeding,
    /// Stopped by trouble with the disk; tried again.
    Failed,
    /// Being stopped.
    Stopping,
}

impl Phase {
    /// In the interface: JSON and plain lines.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Hashing => "hashing",
            Self::Writing => "writing",
            Self::Downloading => "downloading",
            Self::Seeding => "seeding",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        }
    }

    /// Local work, whose speed we measure ourselves.
    const fn is_local(self) -> bool {
        matches!(self, Self::Checking | Self::Hashing | Self::Writing)
    }
}

/// A snapshot of one piece of work.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// What it is called.
    pub(crate) name: String,
    /// Info-hash, for JSON.
    pub(crate) hash: Option<String>,
    /// What it is doing.
    pub(crate) phase: Phase,
    /// Bytes done in this phase.
    pub(crate) done: u64,
    /// Bytes to do in this phase.
    pub(crate) total: u64,
    /// Bytes per second.
    pub(crate) down_rate: u64,
    /// Bytes per second.
    pub(crate) up_rate: u64,
    /// Payload sent so far.
    pub(crate) uploaded: u64,
    /// Connected peers.
    pub(crate) peers: u32,
    /// Those of them that have everything.
    pub(crate) seeds: u32,
    /// Something the user should know, such as why there are no peers.
    pub(crate) note: Option<String>,
    /// The files wanted: name, bytes done, bytes in all.
    pub(crate) files: Vec<(String, u64, u64)>,
}

impl Snapshot {
    /// Local work on `total` bytes.
    pub(crate) fn local(name: &str, phase: Phase, done: u64, total: u64) -> Self {
        Self {
            name: name.to_owned(),
            hash: None,
            phase,
            done,
            total,
            down_rate: 0,
            up_rate: 0,
            uploaded: 0,
            peers: 0,
            seeds: 0,
            note: None,
            files: Vec::new(),
        }
    }
}

/// What is shown of one piece of work: monotonic inside a phase.
#[derive(Debug)]
struct Track {
    phase: Phase,
    since: Instant,
    first: u64,
    done: u64,
}

impl Track {
    const fn new(phase: Phase, now: Instant, done: u64) -> Self {
        Self { phase, since: now, first: done, done }
    }

    /// Takes a new snapshot in; answers with it, its `done` and rate made fit to be shown.
    fn settle(&mut self, now: Instant, snapshot: &Snapshot) -> Snapshot {
        if self.phase != snapshot.phase {
            *self = Self::new(snapshot.phase, now, snapshot.done);
        }
        self.done = self.done.max(snapshot.done);
        let mut shown = snapshot.clone();
        shown.done = self.done.min(snapshot.total);
        if snapshot.phase.is_local() {
            let millis = u64::try_from((now - self.since).as_millis()).unwrap_or(u64::MAX).max(1);
            shown.down_rate = (self.done - self.first).saturating_mul(1000) / millis;
        }
        shown
    }
}

/// Shows the progress of any number of pieces of work.
pub(crate) struct Display {
    out: Output,
    tracks: Vec<Track>,
    kind: Kind,
}

enum Kind {
    Bars(Box<Bars>),
    Lines(Lines),
    Json { last: Option<Instant> },
    Silent,
}

impl Display {
    /// A display of the kind that the options and stderr ask for.
    pub(crate) fn new(out: Output) -> Self {
        let kind = if out.json {
            Kind::Json { last: None }
        } else if out.quiet {
            Kind::Silent
        } else if std::io::stderr().is_terminal() {
            let bars = Bars::new(out.err_style);
            *ON_SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bars.multi().clone());
            Kind::Bars(Box::new(bars))
        } else {
            Kind::Lines(Lines::default())
        };
        Self { out, tracks: Vec::new(), kind }
    }

    /// Whether it matters how far each file is.
    pub(crate) const fn shows_files(&self) -> bool {
        matches!(self.kind, Kind::Bars(_) | Kind::Lines(_))
    }

    /// How often `update` is worth calling for so many pieces of work.
    pub(crate) fn interval(&self, count: usize) -> Duration {
        let least = match self.kind {
            Kind::Bars(_) => Duration::from_millis(100),
            _ => Duration::from_millis(500),
        };
        least.max(LOOK_EVERY * u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Shows the present state. The order of `snapshots` must stay the same from call to call. More than [`MANY`] are
    /// shown as one, but in JSON.
    pub(crate) fn update<S>(&mut self, snapshots: S) -> Result<(), Failure>
    where
        S: IntoIterator<Item = Snapshot, IntoIter: ExactSizeIterator>,
    {
        if matches!(self.kind, Kind::Silent) {
            return Ok(());
        }
        let now = Instant::now();
        let mut snapshots: Vec<Snapshot> = snapshots.into_iter().collect();
        if snapshots.len() > MANY && !matches!(self.kind, Kind::Json { .. }) {
            snapshots = vec![together(&snapshots)];
        }
        for s in &snapshots[self.tracks.len().min(snapshots.len())..] {
            self.tracks.push(Track::new(s.phase, now, s.done));
        }
        let shown: Vec<Snapshot> =
            self.tracks.iter_mut().zip(&snapshots).map(|(track, s)| track.settle(now, s)).collect();
        match &mut self.kind {
            Kind::Bars(bars) => bars.update(now, &shown),
            Kind::Lines(lines) => lines.update(now, &shown),
            Kind::Json { last } => {
                if last.is_none_or(|t| now - t >= JSON_EVERY) {
                    *last = Some(now);
                    for s in &shown {
                        self.out.object("progress", as_json(s))?;
                    }
                }
            }
            Kind::Silent => {}
        }
        Ok(())
    }

    /// Takes the bars away. Dropping does the same.
    pub(crate) fn finish(self) {}
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Kind::Bars(bars) = &self.kind {
            bars.clear();
            *ON_SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Many pieces of work as one, in the phase of the one that has the longest way to go.
fn together(all: &[Snapshot]) -> Snapshot {
    let way_to_go = |phase: Phase| match phase {
        Phase::Checking | Phase::Hashing | Phase::Writing => 3,
        Phase::Downloading => 2,
        Phase::Failed => 1,
        Phase::Seeding | Phase::Stopping => 0,
    };
    let phase = all.iter().map(|s| s.phase).max_by_key(|&phase| way_to_go(phase));
    let sum = |of: fn(&Snapshot) -> u64| all.iter().map(of).sum();
    let number = |of: fn(&Snapshot) -> u32| all.iter().map(of).sum();
    let count = |phase: Phase| all.iter().filter(|s| s.phase == phase).count() as u64;
    let apart = [Phase::Seeding, Phase::Failed].map(|p| (units::grouped(count(p)), p.word()));
    let counts = apart.iter().filter(|(n, _)| n != "0").map(|(n, word)| format!("{n} {word}"));
    Snapshot {
        name: units::count(all.len() as u64, "torrent", "torrents"),
        hash: None,
        phase: phase.unwrap_or(Phase::Seeding),
        done: sum(|s| s.done),
        total: sum(|s| s.total),
        down_rate: sum(|s| s.down_rate),
        up_rate: sum(|s| s.up_rate),
        uploaded: sum(|s| s.uploaded),
        peers: number(|s| s.peers),
        seeds: number(|s| s.seeds),
        note: Some(counts.collect::<Vec<_>>().join(", ")).filter(|note| !note.is_empty()),
        files: Vec::new(),
    }
}

fn as_json(s: &Snapshot) -> serde_json::Value {
    json!({
        "info_hash": s.hash,
        "name": s.name,
        "state": s.phase.word(),
        "done": s.done,
        "total": s.total,
        "down_rate": s.down_rate,
        "up_rate": s.up_rate,
        "uploaded": s.uploaded,
        "eta_s": eta(s).map(|d| d.as_secs()),
        "peers": s.peers,
        "seeds": s.seeds,
        "note": s.note,
    })
}

/// Time to go at the present rate, if it can be told.
fn eta(s: &Snapshot) -> Option<Duration> {
    let left = s.total.saturating_sub(s.done);
    (left > 0 && s.down_rate > 0 && s.phase != Phase::Failed)
        .then(|| Duration::from_secs(left.div_ceil(s.down_rate)))
}

/// The parts of a line about a snapshot, behind percent and bytes.
fn details(s: &Snapshot) -> Vec<String> {
    let mut parts = Vec::new();
    match s.phase {
        Phase::Seeding => {
            parts.push(format!("up {}", units::rate(s.up_rate)));
            parts.push(format!("{} sent", units::size(s.uploaded)));
        }
        Phase::Failed | Phase::Stopping => {}
        _ if s.down_rate > 0 => parts.push(units::rate(s.down_rate)),
        _ => {}
    }
    if let Some(eta) = eta(s).filter(|_| s.phase != Phase::Seeding) {
        parts.push(format!("{} left", units::countdown(eta)));
    }
    if !s.phase.is_local() && s.phase != Phase::Failed {
        parts.push(match (s.peers, s.seeds) {
            (0, _) => "no peers".to_owned(),
            (peers, 0) => units::count(u64::from(peers), "peer", "peers"),
            (peers, seeds) => format!(
                "{} ({})",
                units::count(u64::from(peers), "peer", "peers"),
                units::count(u64::from(seeds), "seed", "seeds")
            ),
        });
    }
    if s.phase == Phase::Downloading && s.up_rate > 0 {
        parts.push(format!("up {}", units::rate(s.up_rate)));
    }
    if s.files.len() > 1 && s.phase == Phase::Downloading {
        let done = s.files.iter().filter(|(_, done, len)| done >= len).count();
        parts.push(format!("{done} of {} files", units::grouped(s.files.len() as u64)));
    }
    if let Some(note) = &s.note {
        parts.push(clean(note).into_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(phase: Phase, done: u64) -> Snapshot {
        Snapshot::local("x", phase, done, 100)
    }

    #[test]
    fn what_is_shown_never_goes_backwards_and_never_beyond_the_end() {
        let start = Instant::now();
        let mut track = Track::new(Phase::Checking, start, 0);
        let mut shown = |phase, done| track.settle(start, &snapshot(phase, done)).done;
        assert_eq!(shown(Phase::Checking, 70), 70);
        assert_eq!(shown(Phase::Checking, 60), 70);
        assert_eq!(shown(Phase::Checking, 170), 100);
        assert_eq!(shown(Phase::Downloading, 30), 30, "another phase begins anew");
        assert_eq!(shown(Phase::Downloading, 20), 30);
    }

    #[test]
    fn many_are_shown_as_one() {
        let mut all = vec![snapshot(Phase::Seeding, 100); 1500];
        all[0].peers = 2;
        all[7].peers = 1;
        let shown = together(&all);
        assert_eq!((shown.name.as_str(), shown.phase), ("1,500 torrents", Phase::Seeding));
        assert_eq!((shown.done, shown.total, shown.peers), (150_000, 150_000, 3));
        all[1] = snapshot(Phase::Checking, 40);
        all[2] = snapshot(Phase::Failed, 0);
        let shown = together(&all);
        assert_eq!((shown.phase, shown.done), (Phase::Checking, 149_840));
        assert_eq!(shown.note.as_deref(), Some("1,498 seeding, 1 failed"));
    }

    #[test]
    fn the_speed_of_local_work_is_measured() {
        let start = Instant::now();
        let mut track = Track::new(Phase::Hashing, start, 0);
        let shown = track.settle(start + Duration::from_secs(2), &snapshot(Phase::Hashing, 50));
        assert_eq!((shown.down_rate, eta(&shown)), (25, Some(Duration::from_secs(2))));
    }

    #[test]
    fn details_say_what_matters_in_each_phase() {
        let mut s =
            Snapshot { peers: 3, seeds: 1, down_rate: 10, ..snapshot(Phase::Downloading, 40) };
        s.files = vec![("a".into(), 5, 5), ("b".into(), 0, 5)];
        assert_eq!(details(&s), ["10 B/s", "6 s left", "3 peers (1 seed)", "1 of 2 files"]);
        s = Snapshot { note: Some("tracker\x1b".into()), ..snapshot(Phase::Downloading, 0) };
        assert_eq!(details(&s), ["no peers", "tracker\\u{1b}"]);
        s = Snapshot { uploaded: 2048, ..snapshot(Phase::Seeding, 100) };
        assert_eq!(details(&s), ["up 0 B/s", "2 KiB sent", "no peers"]);
    }
}
