//! Resume data: what of a torrent is on disk, so that the next run need not find out by hashing.
//!
//! One file for each torrent and directory in the session's state directory:
//!
//! ```text
//! samara resume 1\n          the format and its version
//! 0123abcd\n                 CRC-32 of all that follows, in hexadecimal
//! d3:dir...e                 a bencoded dictionary:
//!   dir         the directory as asked for
//!   downloaded  payload bytes of the run that wrote this
//!   ended       1 if nothing was written to the files after this; else it was a snapshot, and pieces may be there that it lacks
//!   files       of each file of the torrent: [exists, inode, length, mtime in ns]
//!   have        verified pieces, as the bitfield message has them
//!   info-hash   20 bytes
//!   partial     unverified blocks on disk: [[piece, set of blocks], ...]
//!   trackers    the tracker URLs in tiers; only if the owner changed them, for else the torrent's own count
//!   unsettled   pieces that may have been written since `have` was taken: to be checked
//!   uploaded    payload bytes of the run that wrote this
//! ```
//!
//! It is replaced as a whole: written under another name, made durable, renamed, and the rename made durable.
//! A file that cannot be understood is set aside as `NAME.damaged` (then `NAME.damaged-2` and so on, nine at most), not deleted, and all
//! is checked.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;

use crate::state_files::{StateFiles, SystemFiles};
use samara_disk::FileIdentity;
use samara_wire::bencode::{Dict, Encoder, Limits, List, parse};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{InfoHashes, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8] = b"samara resume 1\n";

/// Bytes of the checksum's line.
const CRC_LINE: usize = 9;

/// Records of one torrent that are kept though they cannot be understood; then the last one is replaced.
const MAX_ASIDE: usize = 9;

/// Longest file that is read, in bytes: a million files and two million pieces fit.
const MAX_LEN: u64 = 128 << 20;

/// Where records are kept, and how old they may become.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    pub(crate) files: Arc<dyn StateFiles>,
    /// Time from the first piece that the record lacks to the writing of the next one.
    pub(crate) interval: Duration,
    /// Bytes verified that the record may lack before the next one is written.
    pub(crate) bytes: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { files: Arc::new(SystemFiles), interval: Duration::from_secs(5), bytes: 64 << 20 }
    }
}

/// See the module's head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ResumeData {
    pub(crate) have: Bitfield,
    /// Unverified blocks on disk.
    pub(crate) partial: Vec<(PieceIndex, Bitfield)>,
    /// Pieces to be checked even where the identities of their files match.
    pub(crate) unsettled: Vec<PieceIndex>,
    pub(crate) files: Vec<FileIdentity>,
    /// Nothing was written to the files after this.
    pub(crate) ended: bool,
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    /// Trackers in tiers, if they were changed.
    pub(crate) trackers: Option<Vec<Vec<String>>>,
}

/// Which torrent in which place, and where its record is kept.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) keep: Arc<dyn StateFiles>,
    pub(crate) state_dir: PathBuf,
    pub(crate) hashes: InfoHashes,
    pub(crate) dir: PathBuf,
    pub(crate) layout: PieceLayout,
    /// Number of files in the torrent.
    pub(crate) files: usize,
}

/// Why a record is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

impl Record {
    /// Where the record is kept. Asks the file system.
    pub(crate) fn path(&self) -> PathBuf {
        let dir = canonical(&self.dir);
        let name = format!(
            "{}-{:016x}.resume",
            self.hashes.wire(),
            fnv1a(dir.as_os_str().as_encoded_bytes())
        );
        self.state_dir.join(name)
    }

    /// Reads the record. `None`: there is none, or it was damaged and is set aside. Blocks.
    pub(crate) fn load(&self) -> Option<ResumeData> {
        let path = self.path();
        match self.try_load(&path) {
            Ok(data) => Some(data),
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let aside = self.aside(&path);
                tracing::error!(path = %path.display(), %error, "resume data is of no use; set aside");
                // If even that fails, the next save replaces it.
                let _ = self.keep.rename(&path, &aside);
                None
            }
        }
    }

    /// A name for what cannot be understood: one that nothing has yet, as long as there are few.
    fn aside(&self, path: &Path) -> PathBuf {
        let first = path.with_extension("resume.damaged");
        let more = (2..=MAX_ASIDE).map(|n| path.with_extension(format!("resume.damaged-{n}")));
        let is_free = |path: &PathBuf| {
            let read = self.keep.read(path, 1);
            read.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let last = path.with_extension(format!("resume.damaged-{MAX_ASIDE}"));
        [first].into_iter().chain(more).find(is_free).unwrap_or(last)
    }

    fn try_load(&self, path: &Path) -> Result<ResumeData, Unusable> {
        let bytes = self.keep.read(path, MAX_LEN + 1)?;
        if bytes.len() as u64 > MAX_LEN {
            return Err(Unusable::Damaged("too long"));
        }
        self.parse(&bytes)
    }

    /// What a record says.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<ResumeData, Unusable> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Unusable::Damaged("not of this version"))?;
        let (line, body) = rest.split_at_checked(CRC_LINE).ok_or(Unusable::Damaged("cut short"))?;
        if line != crc_line(body).as_bytes() {
            return Err(Unusable::Damaged("wrong checksum"));
        }
        let limits = Limits { depth: 8, tokens: 16_000_000, ..Limits::FILE };
        let doc = parse(body, limits).map_err(|_| Unusable::Damaged("not bencode"))?;
        let dict = doc.as_dict().ok_or(Unusable::Damaged("not a dictionary"))?;
        self.decode(dict).ok_or(Unusable::Damaged("of another torrent, or incomplete"))
    }

    fn decode(&self, dict: Dict<'_, '_>) -> Option<ResumeData> {
        if dict.get_bytes(b"info-hash")? != self.hashes.wire().0
            || dict.get_bytes(b"dir")? != self.dir.as_os_str().as_encoded_bytes()
                && canonical(&self.dir).as_os_str().as_encoded_bytes() != dict.get_bytes(b"dir")?
        {
            return None;
        }
        let files: Vec<_> = dict
            .get_list(b"files")?
            .into_iter()
            .map(|v| identity(v.as_list()?))
            .collect::<Option<_>>()?;
        let partial = dict.get_list(b"partial")?.into_iter().map(|v| self.partial(v.as_list()?));
        let unsettled = dict.get_list(b"unsettled")?.into_iter().map(|v| self.piece(v.as_int()?));
        (files.len() == self.files).then_some(())?;
        Some(ResumeData {
            have: Bitfield::from_bytes(dict.get_bytes(b"have")?, self.layout.count()).ok()?,
            partial: partial.collect::<Option<_>>()?,
            unsettled: unsettled.collect::<Option<_>>()?,
            files,
            ended: dict.get_int(b"ended") == Some(1),
            downloaded: dict.get_int(b"downloaded")?.try_into().ok()?,
            uploaded: dict.get_int(b"uploaded")?.try_into().ok()?,
            trackers: match dict.get_list(b"trackers") {
                Some(tiers) => Some(tracker_tiers(tiers)?),
                None => None,
            },
        })
    }

    fn piece(&self, index: i64) -> Option<PieceIndex> {
        let index = u32::try_from(index).ok()?;
        (index < self.layout.count()).then_some(PieceIndex(index))
    }

    fn partial(&self, list: List<'_, '_>) -> Option<(PieceIndex, Bitfield)> {
        let mut items = list.into_iter();
        let piece = self.piece(items.next()?.as_int()?)?;
        let blocks = items.next()?.as_bytes()?;
        Some((piece, Bitfield::from_bytes(blocks, self.layout.blocks_in(piece)).ok()?))
    }

    /// Replaces the record. Blocks.
    pub(crate) fn save(&self, data: &ResumeData) -> io::Result<()> {
        let body = self.encode(data);
        let path = self.path();
        let fresh = path.with_extension("resume.new");
        self.keep.write(&fresh, &[MAGIC, crc_line(&body).as_bytes(), &body])?;
        self.keep.rename(&fresh, &path)?;
        self.keep.sync_dir(&self.state_dir)
    }

    /// Changes what the record says, durably. If there is none yet, one is made that claims nothing. Blocks.
    pub(crate) fn amend(&self, change: impl FnOnce(&mut ResumeData)) -> io::Result<()> {
        let mut data = self.load().unwrap_or_else(|| ResumeData {
            have: Bitfield::empty(self.layout.count()),
            partial: Vec::new(),
            unsettled: Vec::new(),
            files: vec![FileIdentity::default(); self.files],
            ended: false,
            downloaded: 0,
            uploaded: 0,
            trackers: None,
        });
        change(&mut data);
        self.save(&data)
    }

    fn encode(&self, data: &ResumeData) -> Vec<u8> {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Encoder::dict_bytes(|dict| {
            dict.bytes(b"dir", canonical(&self.dir).as_os_str().as_encoded_bytes());
            dict.int(b"downloaded", signed(data.downloaded));
            dict.int(b"ended", i64::from(data.ended));
            dict.list(b"files", |list| {
                for file in &data.files {
                    list.list(|item| {
                        item.int(i64::from(file.exists));
                        item.int(file.inode.cast_signed());
                        item.int(signed(file.len));
                        item.int(i64::try_from(file.mtime_ns).unwrap_or(i64::MAX));
                    });
                }
            });
            dict.bytes(b"have", data.have.as_bytes());
            dict.bytes(b"info-hash", &self.hashes.wire().0);
            dict.list(b"partial", |list| {
                for (piece, blocks) in &data.partial {
                    list.list(|item| {
                        item.int(i64::from(piece.0));
                        item.bytes(blocks.as_bytes());
                    });
                }
            });
            if let Some(tiers) = &data.trackers {
                dict.list(b"trackers", |list| {
                    for tier in tiers {
                        list.list(|urls| tier.iter().for_each(|url| urls.bytes(url.as_bytes())));
                    }
                });
            }
            dict.list(b"unsettled", |list| {
                data.unsettled.iter().for_each(|piece| list.int(i64::from(piece.0)));
            });
            dict.int(b"uploaded", signed(data.uploaded));
        })
    }

    /// Deletes the record, if there is one, durably. Blocks.
    pub(crate) fn delete(&self) {
        let removed = self.keep.remove(&self.path());
        if let Err(error) = removed.and_then(|()| self.keep.sync_dir(&self.state_dir))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot delete resume data");
        }
    }
}

fn tracker_tiers(tiers: List<'_, '_>) -> Option<Vec<Vec<String>>> {
    let urls = |tier: List<'_, '_>| tier.into_iter().map(|v| Some(v.as_str()?.into())).collect();
    tiers.into_iter().map(|tier| urls(tier.as_list()?)).collect()
}

fn identity(list: List<'_, '_>) -> Option<FileIdentity> {
    let mut items = list.into_iter().map(|value| value.as_int());
    Some(FileIdentity {
        exists: items.next()?? != 0,
        inode: items.next()??.cast_unsigned(),
        len: items.next()??.try_into().ok()?,
        mtime_ns: items.next()??.into(),
    })
}

/// `dir` by its one true name, also where not all of it exists yet.
fn canonical(dir: &Path) -> PathBuf {
    let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    for ancestor in whole.ancestors() {
        if let Ok(real) = std::fs::canonicalize(ancestor) {
            let rest = whole.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    whole
}

/// The checksum of `body`, as a line.
pub(crate) fn crc_line(body: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(body);
    format!("{:08x}\n", crc.sum())
}

/// FNV-1a: the same on every machine and in every version, which is all that a file name asks for.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::id::InfoHashV1;
    use std::fs;

    fn record(state_dir: &Path) -> Record {
        Record {
            keep: Arc::new(SystemFiles),
            state_dir: state_dir.to_owned(),
            hashes: InfoHashes::v1_only(InfoHashV1([7; 20])),
            dir: "downloads/not there".into(),
            layout: PieceLayout::contiguous(10 * 65536, 65536),
            files: 2,
        }
    }

    fn data() -> ResumeData {
        let mut have = Bitfield::empty(10);
        have.insert(PieceIndex(3));
        let mut blocks = Bitfield::empty(4);
        blocks.insert(PieceIndex(1));
        let file = FileIdentity { len: 5, mtime_ns: -3, inode: u64::MAX, exists: true };
        ResumeData {
            have,
            partial: vec![(PieceIndex(9), blocks)],
            unsettled: vec![PieceIndex(4)],
            files: vec![file, FileIdentity::default()],
            ended: true,
            downloaded: 1 << 40,
            uploaded: 2,
            trackers: None,
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(dir.path());
        assert_eq!(record.load(), None);
        record.save(&data()).unwrap();
        assert_eq!(record.load(), Some(data()));
        let tiers = vec![vec!["http://a/".into(), "udp://b:1".into()], vec!["http://c/".into()]];
        for trackers in [Some(tiers), Some(vec![])] {
            let changed = ResumeData { trackers, ..data() };
            record.save(&changed).unwrap();
            assert_eq!(record.load(), Some(changed));
        }
        record.amend(|data| data.ended = false).unwrap();
        assert_eq!(record.load().map(|data| (data.ended, data.have)), Some((false, data().have)));
        let other = Record { dir: "elsewhere".into(), ..record.clone() };
        assert_eq!(other.load(), None);
        record.delete();
        assert_eq!(record.load(), None);
        record.amend(|data| data.trackers = Some(vec![])).unwrap();
        let made = record.load().unwrap();
        assert!(made.trackers == Some(vec![]) && made.have.is_empty() && !made.ended);
        assert!(made.files == [FileIdentity::default(); 2]);
    }

    #[test]
    fn every_damage_is_noticed_and_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(dir.path());
        record.save(&data()).unwrap();
        let whole = fs::read(record.path()).unwrap();
        let step = whole.len() / 37;
        let aside = |n: usize| {
            let ending = if n == 1 { String::new() } else { format!("-{n}") };
            record.path().with_extension(format!("resume.damaged{ending}"))
        };
        // Each has a place of its own, for a while.
        for n in 1..=MAX_ASIDE {
            fs::write(record.path(), n.to_string()).unwrap();
            assert_eq!(record.load(), None);
        }
        for n in 1..=MAX_ASIDE {
            assert_eq!(fs::read_to_string(aside(n)).unwrap(), n.to_string());
        }
        for at in (0..whole.len()).step_by(step) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(record.path(), &bytes).unwrap();
            assert_eq!(record.load(), None, "flipped at {at}");
            fs::write(record.path(), &whole[..at]).unwrap();
            assert_eq!(record.load(), None, "cut at {at}");
            assert_eq!(fs::read(aside(MAX_ASIDE)).unwrap(), whole[..at]);
            assert!(!record.path().exists());
        }
    }

    #[test]
    fn sets_that_do_not_fit_the_torrent_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(dir.path());
        for bad in [
            ResumeData { have: Bitfield::empty(99), ..data() },
            ResumeData { partial: vec![(PieceIndex(10), Bitfield::empty(4))], ..data() },
            ResumeData { partial: vec![(PieceIndex(1), Bitfield::empty(99))], ..data() },
            ResumeData { unsettled: vec![PieceIndex(10)], ..data() },
            ResumeData { files: Vec::new(), ..data() },
        ] {
            record.save(&bad).unwrap();
            assert_eq!(record.load(), None);
        }
    }
}
