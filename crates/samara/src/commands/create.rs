//! `samara create`: a torrent of a file or directory.

use super::watch;
use crate::args::CreateArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::progress::{Display, Phase, Snapshot};
use crate::units;
use samara_engine::create::{self, CreateConfig, CreateError, CreateProgress, Created, Kind};
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Names us in the torrents we make.
pub(crate) const CREATED_BY: &str = concat!("samara ", env!("CARGO_PKG_VERSION"));

/// Creates the torrent and writes it.
pub(crate) fn run(args: &CreateArgs, out: Output) -> Result<Exit, Failure> {
    let to_stdout = args.output == Path::new("-");
    if !to_stdout && !args.force && fs::symlink_metadata(&args.output).is_ok() {
        return Err(exists(&args.output));
    }
    let begun = Instant::now();
    let created = hash(&args.path, &config(args)?, out)?;
    if to_stdout {
        out.bytes(&created.bytes)?;
        return Ok(Exit::Done);
    }
    write(&args.output, &created.bytes, args.force)?;
    let info = &created.metainfo.info;
    let hashes = info.hashes();
    if out.json {
        out.object(
            "created",
            json!({
                "path": args.output,
                "name": info.name(),
                "info_hash_v1": hashes.v1().map(|h| h.to_string()),
                "info_hash_v2": hashes.v2().map(|h| h.to_string()),
                "length": info.total_len(),
                "piece_length": info.layout().piece_len(),
                "pieces": info.layout().count(),
                "skipped": created.skipped,
            }),
        )?;
    }
    out.note(format_args!(
        "{} {}\n  {} in {} of {}, {}",
        out.err_style.green("✓"),
        out.err_style.bold(args.output.display()),
        units::size(info.total_len()),
        units::count(u64::from(info.layout().count()), "piece", "pieces"),
        units::size(u64::from(info.layout().piece_len())),
        units::duration(begun.elapsed()),
    ));
    if created.metainfo.trackers.is_empty() {
        out.note(out.err_style.dim(
            "  no tracker: peers beyond the local network must be named with --peer, or use samara share",
        ));
    }
    Ok(Exit::Done)
}

/// Creates a torrent of `path`, showing how far it is.
pub(crate) fn hash(path: &Path, config: &CreateConfig, out: Output) -> Result<Created, Failure> {
    let progress = CreateProgress::default();
    let mut display = Display::new(out);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let created = watch(
        &mut display,
        || create::create(path, config, &progress),
        || Snapshot::local(&name, Phase::Hashing, progress.hashed_bytes(), progress.total_bytes()),
    )?
    .map_err(failed)?;
    display.finish();
    if !created.skipped.is_empty() {
        let first = created.skipped[0].display().to_string();
        out.warn(format_args!(
            "left out: {} that {} no regular file, such as {}",
            units::count(created.skipped.len() as u64, "entry", "entries"),
            if created.skipped.len() == 1 { "is" } else { "are" },
            clean(&first),
        ));
    }
    Ok(created)
}

fn config(args: &CreateArgs) -> Result<CreateConfig, Failure> {
    let usage = |what: String| Failure::new(Exit::Usage, what);
    for url in &args.trackers {
        let known = ["http://", "https://", "udp://"].iter().any(|s| url.starts_with(s));
        if !known {
            return Err(usage(format!("`{url}` is no tracker address"))
                .hint("it begins with http://, https:// or udp://"));
        }
    }
    for url in &args.web_seeds {
        if !["http://", "https://", "ftp://"].iter().any(|s| url.starts_with(s)) {
            return Err(usage(format!("`{url}` is no web address")));
        }
    }
    let kind = match (args.v2, args.hybrid) {
        (true, _) => Kind::V2,
        (_, true) => Kind::Hybrid,
        _ => Kind::V1,
    };
    let piece_len = match args.piece_size {
        None => None,
        Some(len) => Some(u32::try_from(len).map_err(|_| {
            usage(format!("a piece size of {len} bytes is too large; the most is 256M"))
        })?),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let date = now.and_then(|t| i64::try_from(t.as_secs()).ok()).filter(|_| !args.no_date);
    Ok(CreateConfig {
        kind,
        piece_len,
        name: args.name.clone(),
        trackers: args.trackers.clone(),
        web_seeds: args.web_seeds.clone(),
        private: args.private,
        source: args.source.clone(),
        comment: args.comment.clone(),
        created_by: Some(CREATED_BY.to_owned()),
        creation_date: date,
    })
}

/// The user's words for why a torrent could not be created.
fn failed(error: CreateError) -> Failure {
    match &error {
        CreateError::Read { path, source } => {
            Failure { hint: None, ..Failure::io("read", path, source) }
        }
        CreateError::Changed(_) => Failure::new(Exit::Io, error.to_string()),
        CreateError::PieceLen(_) | CreateError::TooManyPieces { .. } => {
            Failure::new(Exit::Usage, error.to_string()).hint("for example --piece-size 1M")
        }
        CreateError::NotAFile(_) | CreateError::NoFiles(_) | CreateError::LoneFile(_) => {
            Failure::new(Exit::Usage, error.to_string())
        }
        _ => Failure::new(Exit::Failed, error.to_string()),
    }
}

/// Writes a new file, or replaces one in a single step: nobody ever sees half a torrent.
pub(crate) fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<(), Failure> {
    let failed = |e: &io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::io("write", path, e),
    };
    if !replace {
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| failed(&e))?;
        return file.write_all(bytes).map_err(|e| {
            // What is half written is of no use; the error matters more than the tidying.
            let _ = fs::remove_file(path);
            failed(&e)
        });
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    fs::write(beside, bytes).and_then(|()| fs::rename(beside, path)).map_err(|e| {
        let _ = fs::remove_file(beside);
        failed(&e)
    })
}

pub(super) fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Io, format!("{} exists", path.display()))
        .hint("choose another name with -o, or replace it with --force")
}
