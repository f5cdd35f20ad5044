//! `samara verify`: is the data there, and is it right?
//!
//! Uses the storage alone: no sockets, no resume data, nothing written.

use super::{Context, watch};
use crate::args::VerifyArgs;
use crate::exit::{Exit, Failure, said};
use crate::output::{Output, clean};
use crate::progress::{Display, Phase, Snapshot};
use crate::source;
use crate::units;
use samara_engine::disk::{
    CheckOutcome, CheckProgress, Disk, DiskConfig, StorageError, StorageErrorKind,
};
use samara_engine::wire::bitfield::Bitfield;
use samara_engine::wire::id::{FileIndex, PieceIndex};
use samara_engine::wire::metainfo::{FileEntry, Metainfo};
use serde_json::json;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// What is wrong with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It is not there.
    Missing,
    /// It has this many bytes, which is not what it should have.
    Size(u64),
    /// So many of its pieces do not match.
    Damaged(u32),
    /// Nothing is known to be wrong, but it shares so many pieces with a file that is missing or damaged.
    Unknown(u32),
    /// Only so many of its bytes were found right.
    Partial(u64),
}

impl Fault {
    const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size(_) => "size",
            Self::Damaged(_) | Self::Partial(_) => "damaged",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// A file with a fault.
#[derive(Debug)]
pub(crate) struct BadFile {
    pub(crate) index: usize,
    pub(crate) fault: Fault,
}

/// Checks the data and reports.
pub(crate) fn run(args: &VerifyArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    let metainfo = source::load(&args.source, &context.loaded.settings.egress(&[]))?;
    match fs::metadata(&args.data) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            return Err(Failure::new(
                Exit::Usage,
                format!("{} is no directory", args.data.display()),
            )
            .hint("--data is the directory that holds the torrent's file or top directory"));
        }
        Err(e) => return Err(Failure { hint: None, ..Failure::io("read", &args.data, &e) }),
    }
    let begun = Instant::now();
    let good = check(&metainfo, &args.data, out)?;
    let faults = faults(&metainfo, &args.data, &good)?;
    if out.json {
        report_json(&metainfo, &good, &faults, out)?;
    } else {
        report(&metainfo, &good, &faults, out)?;
    }
    if !good.is_full() || !faults.is_empty() {
        return Ok(Exit::Failed);
    }
    let total = metainfo.info.total_len();
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    out.note(format_args!(
        "{} {}\n  every piece is right: {} in {} ({})",
        out.err_style.green("✓"),
        out.err_style.bold(clean(metainfo.info.name())),
        units::size(total),
        units::duration(begun.elapsed()),
        units::rate(total.saturating_mul(1000) / millis),
    ));
    Ok(Exit::Done)
}

/// The pieces in `dir` that match, with progress shown.
fn check(metainfo: &Metainfo, dir: &Path, out: Output) -> Result<Bitfield, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let disk = Disk::start(DiskConfig { threads, ..DiskConfig::default() })
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot start the disk threads: {e}")))?;
    let store = disk.open(metainfo.info.clone(), dir.to_owned());
    let progress = Arc::new(CheckProgress::default());
    let (sender, receiver) = mpsc::channel();
    let reply = Box::new(move |result: Result<CheckOutcome, StorageError>| {
        // The receiver waits until it has this.
        let _ = sender.send(result);
    });
    store.check(None, Arc::clone(&progress), reply);
    let mut display = Display::new(out);
    let name = metainfo.info.name();
    let snapshot =
        || Snapshot::local(name, Phase::Checking, progress.hashed_bytes(), progress.total_bytes());
    let outcome = watch(&mut display, move || receiver.recv(), snapshot)?;
    display.finish();
    let outcome = outcome.map_err(|_| Failure::new(Exit::Failed, "the check ended early"))?;
    Ok(outcome.map_err(|e| storage_failure(&e))?.good)
}

/// The user's words for trouble with storage.
pub(crate) fn storage_failure(error: &StorageError) -> Failure {
    let exit = match error.kind {
        StorageErrorKind::NoSpace => Exit::NoSpace,
        _ => Exit::Io,
    };
    Failure::new(exit, error.to_string())
}

/// What is wrong with the files in `dir`, of which the pieces in `good` match.
pub(crate) fn faults(
    metainfo: &Metainfo,
    dir: &Path,
    good: &Bitfield,
) -> Result<Vec<BadFile>, Failure> {
    let info = &metainfo.info;
    let mut found = Vec::new();
    // Pieces that a missing or wrongly sized file spoils for its neighbours.
    let mut spoilt = Bitfield::empty(info.layout().count());
    for (index, file) in (0u32..).zip(info.files()).filter(|(_, f)| is_stored(f)) {
        let fault = fault_of_size(file, dir)?;
        if fault.is_some() {
            info.pieces_of_file(FileIndex(index)).map(PieceIndex).for_each(|p| {
                spoilt.insert(p);
            });
        }
        found.push((index, fault));
    }
    let bad_of = |index: u32, clear_of_spoilt: bool| {
        let pieces = info.pieces_of_file(FileIndex(index)).map(PieceIndex);
        let bad = pieces.filter(|&p| !good.has(p) && (!clear_of_spoilt || !spoilt.has(p))).count();
        u32::try_from(bad).unwrap_or(u32::MAX)
    };
    let bad = found.into_iter().filter_map(|(index, fault)| {
        let fault = fault.or_else(|| match (bad_of(index, true), bad_of(index, false)) {
            (0, 0) => None,
            (0, shared) => Some(Fault::Unknown(shared)),
            (own, _) => Some(Fault::Damaged(own)),
        })?;
        Some(BadFile { index: index as usize, fault })
    });
    Ok(bad.collect())
}

/// What is wrong with the files in `dir`, of which so many bytes each are known to be right.
pub(crate) fn faults_of_sizes(
    metainfo: &Metainfo,
    dir: &Path,
    right: &[u64],
) -> Result<Vec<BadFile>, Failure> {
    let mut bad = Vec::new();
    for (index, file) in metainfo.info.files().iter().enumerate().filter(|(_, f)| is_stored(f)) {
        let right = right.get(index).copied().unwrap_or(0);
        let partial = (right < file.len).then_some(Fault::Partial(right));
        if let Some(fault) = fault_of_size(file, dir)?.or(partial) {
            bad.push(BadFile { index, fault });
        }
    }
    Ok(bad)
}

/// What is wrong with a file that can be seen without reading it.
fn fault_of_size(file: &FileEntry, dir: &Path) -> Result<Option<Fault>, Failure> {
    let path = dir.join(file.path.as_str());
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() && meta.len() == file.len => Ok(None),
        Ok(meta) if meta.is_file() => Ok(Some(Fault::Size(meta.len()))),
        Ok(_) => Ok(Some(Fault::Missing)),
        Err(e) if is_absent(&e) => Ok(Some(Fault::Missing)),
        Err(e) => {
            let what = format!("cannot look at {}: {}", path.display(), said(&e));
            Err(Failure::new(Exit::Io, what))
        }
    }
}

/// Whether the file has bytes of its own on disk.
const fn is_stored(file: &FileEntry) -> bool {
    !file.attributes.padding && file.symlink.is_none()
}

fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// One line for each bad file, then the bad pieces as ranges.
fn report(
    metainfo: &Metainfo,
    good: &Bitfield,
    faults: &[BadFile],
    out: Output,
) -> Result<(), Failure> {
    for bad in faults {
        out.line(describe(metainfo, bad, out))?;
    }
    if !good.is_full() {
        let ranges = ranges(good)
            .iter()
            .map(|&(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") })
            .collect::<Vec<_>>()
            .join(",");
        let total = units::count(u64::from(good.len()), "piece", "pieces");
        let missing = units::grouped(u64::from(good.len() - good.count()));
        out.line(format_args!("{:<9} {ranges}", out.style.red("pieces")))?;
        out.note(format_args!("{} {missing} of {total} do not match", out.err_style.red("✗")));
    }
    Ok(())
}

/// One bad file in a line.
pub(crate) fn describe(metainfo: &Metainfo, bad: &BadFile, out: Output) -> String {
    let file = &metainfo.info.files()[bad.index];
    let index = u32::try_from(bad.index).unwrap_or(u32::MAX);
    let pieces = metainfo.info.pieces_of_file(FileIndex(index)).len() as u64;
    let of = |n: u32| {
        format!("{} of {}", units::grouped(n.into()), units::count(pieces, "piece", "pieces"))
    };
    let detail = match bad.fault {
        Fault::Missing => String::new(),
        Fault::Size(len) => {
            format!("  {} instead of {} bytes", units::grouped(len), units::grouped(file.len))
        }
        Fault::Damaged(n) => format!("  {}", of(n)),
        Fault::Unknown(n) => format!("  shares {} with a bad file", of(n)),
        Fault::Partial(right) => {
            format!("  {} of {} are right", units::size(right), units::size(file.len))
        }
    };
    format!(
        "{:<9} {}{}",
        out.style.red(bad.fault.word()),
        clean(file.path.as_str()),
        out.style.dim(detail)
    )
}

/// The bad pieces as inclusive ranges.
fn ranges(good: &Bitfield) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for PieceIndex(piece) in good.iter_missing() {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == piece => *end = piece,
            _ => ranges.push((piece, piece)),
        }
    }
    ranges
}

fn report_json(
    metainfo: &Metainfo,
    good: &Bitfield,
    faults: &[BadFile],
    out: Output,
) -> Result<(), Failure> {
    let files: Vec<_> = faults
        .iter()
        .map(|bad| {
            let file = &metainfo.info.files()[bad.index];
            let (has, pieces) = match bad.fault {
                Fault::Missing => (None, None),
                Fault::Size(len) => (Some(len), None),
                Fault::Damaged(n) | Fault::Unknown(n) => (Some(file.len), Some(n)),
                Fault::Partial(_) => (Some(file.len), None),
            };
            json!({
                "index": bad.index,
                "path": file.path.as_str(),
                "fault": bad.fault.word(),
                "length": file.len,
                "has": has,
                "bad_pieces": pieces,
            })
        })
        .collect();
    out.object(
        "verify",
        json!({
            "ok": good.is_full() && faults.is_empty(),
            "name": metainfo.info.name(),
            "pieces": good.len(),
            "good_pieces": good.count(),
            "bad_pieces": ranges(good),
            "bad_files": files,
        }),
    )
}
