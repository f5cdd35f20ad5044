//! Which files of a torrent are wanted: `--files GLOB|INDEX,...`.
//!
//! A pattern is matched against the whole path and against what follows the torrent's own name, so `*.flac`,
//! `cd1/**` and `album/cd1/*` all mean what they seem to. A number is the file's index as `samara info` shows it.

use crate::exit::{Exit, Failure};
use crate::output::clean;
use crate::units;
use globset::{GlobBuilder, GlobMatcher};
use samara_engine::wire::metainfo::{FileEntry, Info};
use std::ops::RangeInclusive;

/// Files named in the message when nothing matches.
const LISTED: usize = 12;

enum Want {
    Index(usize),
    Pattern(GlobMatcher),
}

/// The indices of the files that `wanted` names, ascending; `None` if it is empty: all files.
///
/// # Errors
/// If an item is malformed, or names no file of any of the torrents.
pub(crate) fn select(
    infos: &[&Info],
    wanted: &[String],
) -> Result<Vec<Option<Vec<usize>>>, Failure> {
    if wanted.is_empty() {
        return Ok(vec![None; infos.len()]);
    }
    let mut chosen = vec![Vec::new(); infos.len()];
    for item in wanted.iter().map(|w| w.trim()).filter(|w| !w.is_empty()) {
        let want = parse(item)?;
        let mut found = false;
        for (info, chosen) in infos.iter().zip(&mut chosen) {
            for (index, _) in stored(info).filter(|(i, file)| want.matches(*i, file, info)) {
                chosen.push(index);
                found = true;
            }
        }
        if !found {
            return Err(nothing(item, infos));
        }
    }
    Ok(chosen
        .into_iter()
        .map(|mut indices| {
            indices.sort_unstable();
            indices.dedup();
            Some(indices)
        })
        .collect())
}

/// The files that a link selects (BEP 53), as indices, ascending.
///
/// # Errors
/// If the torrent has none of them.
pub(crate) fn of_link(info: &Info, ranges: &[RangeInclusive<u32>]) -> Result<Vec<usize>, Failure> {
    let chosen = |index: usize| {
        u32::try_from(index).is_ok_and(|index| ranges.iter().any(|range| range.contains(&index)))
    };
    let files: Vec<usize> = stored(info).map(|(i, _)| i).filter(|&i| chosen(i)).collect();
    if files.is_empty() {
        let what = "the files that the link selects (`so=`) are not in the torrent";
        return Err(Failure::new(Exit::BadTorrent, what).hint("choose others with --files"));
    }
    Ok(files)
}

fn parse(item: &str) -> Result<Want, Failure> {
    if let Ok(index) = item.parse() {
        return Ok(Want::Index(index));
    }
    let glob = GlobBuilder::new(item).case_insensitive(true).build();
    glob.map(|glob| Want::Pattern(glob.compile_matcher())).map_err(|e| {
        Failure::new(Exit::Usage, format!("`{item}` is no pattern: {}", e.kind()))
            .hint("a pattern may contain *, **, ? and [abc]; a number is a file's index")
    })
}

impl Want {
    fn matches(&self, index: usize, file: &FileEntry, info: &Info) -> bool {
        match self {
            Self::Index(want) => *want == index,
            Self::Pattern(glob) => {
                let path = file.path.as_str();
                let below = path.split_once('/').filter(|_| !info.is_single_file());
                glob.is_match(path) || below.is_some_and(|(_, rest)| glob.is_match(rest))
            }
        }
    }
}

/// The files a user can choose: padding is none.
fn stored(info: &Info) -> impl Iterator<Item = (usize, &FileEntry)> {
    info.files().iter().enumerate().filter(|(_, f)| !f.attributes.padding)
}

fn nothing(item: &str, infos: &[&Info]) -> Failure {
    let mut lines = Vec::new();
    let mut count = 0;
    for info in infos {
        for (index, file) in stored(info) {
            count += 1;
            if lines.len() < LISTED {
                lines.push(format!("{index:>4}  {}", clean(file.path.as_str())));
            }
        }
    }
    if count > LISTED {
        let more = units::count((count - LISTED) as u64, "file", "files");
        lines.push(format!("and {more} more: samara info --all"));
    }
    Failure::new(Exit::Usage, format!("`{item}` matches no file"))
        .hint(format!("these are there:\n{}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_engine::create::{CreateConfig, CreateProgress, create};

    fn info() -> Info {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("album");
        std::fs::create_dir_all(top.join("cd1")).unwrap();
        for name in ["cover.JPG", "cd1/one.flac", "cd1/two.flac"] {
            std::fs::write(top.join(name), b"x").unwrap();
        }
        let config = CreateConfig::default();
        create(&top, &config, &CreateProgress::default()).unwrap().metainfo.info
    }

    fn chosen(wanted: &[&str]) -> Result<Option<Vec<usize>>, Failure> {
        let wanted: Vec<String> = wanted.iter().map(|&w| w.to_owned()).collect();
        select(&[&info()], &wanted).map(|mut all| all.remove(0))
    }

    #[test]
    fn patterns_and_numbers_name_files() {
        assert_eq!(chosen(&[]).unwrap(), None);
        assert_eq!(chosen(&["*.flac"]).unwrap(), Some(vec![0, 1]));
        assert_eq!(chosen(&["cd1/two*", "2"]).unwrap(), Some(vec![1, 2]));
        assert_eq!(chosen(&["album/*.jpg", "2"]).unwrap(), Some(vec![2]));
    }

    #[test]
    fn a_link_selects_by_index() {
        let info = info();
        assert_eq!(of_link(&info, &[0..=0, 2..=9]).unwrap(), [0, 2]);
        assert_eq!(of_link(&info, &[7..=u32::MAX]).unwrap_err().exit, Exit::BadTorrent);
    }

    #[test]
    fn what_names_nothing_is_refused_with_the_files_that_are_there() {
        for wrong in ["*.mp3", "3", "99999"] {
            let failure = chosen(&[wrong]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.hint.unwrap().contains("album/cd1/one.flac"));
        }
        assert_eq!(chosen(&["[a"]).unwrap_err().exit, Exit::Usage);
    }
}
