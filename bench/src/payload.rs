//! Data of transfers, torrents of it, and the comparison of what came out with what went in.
//!
//! The same bytes come out of the same size each time. An *image* holds them in the order of the torrent, as the synthetic seeds send
//! them; clients that seed get them as the torrent's own files. All hashes are taken with RustCrypto, one message at a time, and not with the code
//! that is under test.

use crate::interrupt;
use crate::units::{self, MIB};
use anyhow::{Context, Result, bail, ensure};
use samara_wire::id::{BLOCK_LEN, PieceIndex};
use samara_wire::metainfo::create::{Details, NewFile, Plan, PlanHashes, Version};
use samara_wire::metainfo::merkle::FileHashes;
use samara_wire::metainfo::{FileEntry, Info, Metainfo};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a torrent's files are called, and so what a client makes of it.
pub(crate) const NAME: &str = "payload";

/// How the bytes are cut into files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// One file.
    One,
    /// This many files, from small to large, in directories.
    Many(u16),
}

/// What kind of payload a scenario wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spec {
    /// Bytes.
    pub(crate) len: u64,
    /// Bytes in a piece.
    pub(crate) piece_len: u32,
    /// Files.
    pub(crate) shape: Shape,
    /// Format of the torrent.
    pub(crate) version: Version,
}

impl Spec {
    /// For the report.
    pub(crate) fn describe(&self) -> String {
        let pieces = units::size(u64::from(self.piece_len));
        match self.shape {
            Shape::One => format!("{}, pieces of {pieces}", units::size(self.len)),
            Shape::Many(files) => {
                format!("{} in {files} files, pieces of {pieces}", units::size(self.len))
            }
        }
    }
}

/// A torrent whose data lies in a directory and, once more, in an image.
#[derive(Debug)]
pub(crate) struct Payload {
    /// The torrent file.
    pub(crate) torrent: PathBuf,
    /// What it says.
    pub(crate) info: Info,
    /// All its bytes in order.
    pub(crate) image: PathBuf,
    /// The directory that holds its file or top directory.
    pub(crate) data: PathBuf,
}

impl Payload {
    /// Makes it below `directory`, or takes what is there of an earlier scenario. The torrent names `tracker`.
    pub(crate) fn make(directory: &Path, spec: Spec, tracker: &str) -> Result<Self> {
        let image = image(directory, spec.len)?;
        let (data, files) = match spec.shape {
            Shape::One => {
                (directory.join(format!("one-{}", spec.len)), vec![new_file("", spec.len)])
            }
            Shape::Many(count) => {
                (directory.join(format!("many-{}-{count}", spec.len)), cut(spec.len, count))
            }
        };
        let plan = Plan::new(NAME, files, spec.piece_len, spec.version)?;
        if !data.exists() {
            lay_out(&plan, &image, &data)?;
        }
        let name =
            format!("{}-{}-{:?}-{:?}.torrent", spec.len, spec.piece_len, spec.shape, spec.version);
        let torrent = directory.join(name);
        if !torrent.exists() {
            let details =
                Details { trackers: vec![vec![tracker.to_owned()]], ..Details::default() };
            fs::write(&torrent, plan.encode(&hash(&plan, &image)?, &details)?)?;
        }
        let info = Metainfo::parse(&fs::read(&torrent)?)?.info;
        Ok(Self { torrent, info, image, data })
    }

    /// Fails unless `directory` holds the torrent's files, byte for byte.
    pub(crate) fn compare(&self, directory: &Path) -> Result<()> {
        let image = File::open(&self.image)?;
        let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        for entry in self.info.files().iter().filter(|f| !f.attributes.padding) {
            let path = directory.join(entry.path.as_str());
            let name = path.display();
            let mut file = File::open(&path).with_context(|| format!("{name} is missing"))?;
            let len = file.metadata()?.len();
            ensure!(len == entry.len, "{name} has {len} bytes and not {}", entry.len);
            let mut at = 0;
            while at < len {
                interrupt::check()?;
                let part = usize::try_from((len - at).min(MIB))?;
                file.read_exact(&mut theirs[..part])?;
                image.read_exact_at(&mut ours[..part], entry.offset + at)?;
                ensure!(ours[..part] == theirs[..part], "{name} is wrong within 1 MiB from {at}");
                at += part as u64;
            }
        }
        Ok(())
    }

    /// Drops the data from the page cache: the next reader has to wait for the disk.
    pub(crate) fn drop_from_cache(&self) -> Result<()> {
        for entry in self.info.files().iter().filter(|f| !f.attributes.padding) {
            let file = File::open(self.data.join(entry.path.as_str()))?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        Ok(())
    }
}

/// Fails unless the torrent file `made` describes the same pieces as the payload's own.
pub(crate) fn same_pieces(payload: &Info, made: &Path) -> Result<()> {
    let made = Metainfo::parse(&fs::read(made).context("the torrent that was to be made")?)?.info;
    let (ours, theirs) = (payload.hashes(), made.hashes());
    ensure!(
        (ours.v1().is_some(), ours.v2().is_some())
            == (theirs.v1().is_some(), theirs.v2().is_some()),
        "the torrent made is of another version"
    );
    ensure!(payload.layout() == made.layout(), "the torrent made has other pieces");
    for piece in payload.layout().pieces() {
        let same = payload.piece_hash(piece) == made.piece_hash(piece)
            && payload.piece_hash_v2(piece) == made.piece_hash_v2(piece);
        ensure!(same, "the torrent made has a wrong hash for piece {}", piece.0);
    }
    Ok(())
}

/// Many single files in one directory, and a torrent of each.
#[derive(Debug)]
pub(crate) struct Library {
    /// The directory of the files.
    pub(crate) data: PathBuf,
    /// The torrent files, in the order in which clients get them.
    pub(crate) torrents: Vec<PathBuf>,
    /// What they say, in the same order.
    pub(crate) infos: Vec<Info>,
}

impl Library {
    /// Makes `count` files of four pieces of 16 KiB below `directory`, without trackers.
    pub(crate) fn make(directory: &Path, count: u32) -> Result<Self> {
        let data = directory.join("library");
        fs::create_dir_all(&data)?;
        let mut library = Self { data, torrents: Vec::new(), infos: Vec::new() };
        for i in 0..count {
            let name = format!("f{i:05}");
            let mut bytes = vec![0; 4 * BLOCK_LEN as usize];
            Noise::new(u64::from(i) + 1).fill(&mut bytes);
            fs::write(library.data.join(&name), &bytes)?;
            let plan =
                Plan::new(&name, vec![new_file("", bytes.len() as u64)], BLOCK_LEN, Version::V1)?;
            let pieces = bytes.chunks(BLOCK_LEN as usize).map(|p| Sha1::digest(p).into());
            let hashes = PlanHashes { v1: pieces.collect(), v2: Vec::new() };
            let encoded = plan.encode(&hashes, &Details::default())?;
            let torrent = directory.join(format!("{name}.torrent"));
            fs::write(&torrent, &encoded)?;
            library.torrents.push(torrent);
            library.infos.push(Metainfo::parse(&encoded)?.info);
        }
        Ok(library)
    }
}

/// The file with all bytes of a payload of `len`.
fn image(directory: &Path, len: u64) -> Result<PathBuf> {
    let path = directory.join(format!("image-{len}"));
    if path.exists() {
        return Ok(path);
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let mut noise = Noise::new(len);
    let mut part = vec![0; 1 << 20];
    let mut left = len;
    while left > 0 {
        interrupt::check()?;
        noise.fill(&mut part);
        let take = usize::try_from(left.min(MIB))?;
        file.write_all(&part[..take])?;
        left -= take as u64;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(path)
}

/// Puts the plan's files below `data`. One that is the whole image is the image, by a link.
fn lay_out(plan: &Plan, image: &Path, data: &Path) -> Result<()> {
    let bytes = File::open(image)?;
    for entry in plan.files() {
        let path = data.join(entry.path.as_str());
        fs::create_dir_all(path.parent().context("files are below the directory")?)?;
        if entry.offset == 0 && entry.len == bytes.metadata()?.len() {
            fs::hard_link(image, &path)?;
            continue;
        }
        let mut content = vec![0; usize::try_from(entry.len)?];
        bytes.read_exact_at(&mut content, entry.offset)?;
        let mut file = File::create(&path)?;
        file.write_all(&content)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Lengths that add up to `len`: most files are small, most bytes are in large ones, none is empty or a whole number of blocks.
fn cut(len: u64, count: u16) -> Vec<NewFile> {
    const WEIGHTS: [u64; 5] = [1, 4, 16, 64, 400];
    let all: u64 = (0..usize::from(count)).map(|i| WEIGHTS[i % 5]).sum();
    let mut left = len;
    (0..count)
        .map(|i| {
            let share = (len * WEIGHTS[usize::from(i % 5)] / all) | 1;
            let file_len = if i + 1 == count { left } else { share.min(left) };
            left -= file_len;
            new_file(&format!("{:02}/{i:04}", i % 16), file_len)
        })
        .collect()
}

fn new_file(path: &str, len: u64) -> NewFile {
    let path = path.split('/').filter(|e| !e.is_empty()).map(str::to_owned).collect();
    NewFile { path, len, ..NewFile::default() }
}

/// The hashes of a plan whose data is the image.
fn hash(plan: &Plan, image: &Path) -> Result<PlanHashes> {
    let file = File::open(image)?;
    let read = |at: u64, len: u64| -> Result<Vec<u8>> {
        interrupt::check()?;
        let mut bytes = vec![0; usize::try_from(len)?];
        file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    };
    let layout = plan.layout();
    let mut hashes = PlanHashes::default();
    if plan.version().has_v1() {
        for piece in layout.pieces() {
            let bytes = read(layout.offset_of(piece), u64::from(layout.len_of(piece)))?;
            hashes.v1.push(Sha1::digest(&bytes).into());
        }
    }
    if plan.version().has_v2() {
        let [FileEntry { offset: 0, len, .. }] = plan.files() else {
            bail!("only single files are made into v2 torrents here");
        };
        let mut blocks = Vec::new();
        for at in (0..*len).step_by(BLOCK_LEN as usize) {
            let bytes = read(at, (*len - at).min(u64::from(BLOCK_LEN)))?;
            blocks.push(Sha256::digest(&bytes).into());
        }
        hashes.v2.push(FileHashes::from_blocks(&blocks, layout.piece_len()));
    }
    Ok(hashes)
}

/// The pieces of a torrent in an order that is mixed and always the same, as a swarm asks for them.
pub(crate) fn mixed_order(pieces: u32) -> Vec<PieceIndex> {
    let mut order: Vec<PieceIndex> = (0..pieces).map(PieceIndex).collect();
    let mut noise = Noise::new(0x5eed);
    for i in (1..order.len()).rev() {
        let other = noise.next() % (i as u64 + 1);
        order.swap(i, usize::try_from(other).unwrap_or(0));
    }
    order
}

/// Bytes that do not compress: xorshift, fast enough that making them takes no time.
struct Noise(u64);

impl Noise {
    const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: Shape, version: Version) -> Spec {
        Spec { len: 3 * MIB, piece_len: 64 << 10, shape, version }
    }

    #[test]
    fn a_payload_is_what_its_torrent_says_and_a_changed_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        for shape in [Shape::One, Shape::Many(40)] {
            let spec = spec(shape, Version::V1);
            let payload = Payload::make(temp.path(), spec, "http://10.77.0.1:1/announce").unwrap();
            payload.compare(&payload.data).unwrap();
            let wanted = if shape == Shape::One { 1 } else { 40 };
            assert_eq!(payload.info.files().len(), wanted);
            assert_eq!(payload.info.total_len(), 3 * MIB);
            let last = payload.info.files().last().unwrap();
            let path = payload.data.join(last.path.as_str());
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes).unwrap();
            assert!(payload.compare(&payload.data).is_err());
            fs::remove_file(&path).unwrap();
            assert!(payload.compare(&payload.data).is_err());
        }
    }

    #[test]
    fn torrents_with_other_hashes_or_of_another_version_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let make = |version| {
            Payload::make(temp.path(), spec(Shape::One, version), "http://10.77.0.1:1/a").unwrap()
        };
        let (v1, hybrid) = (make(Version::V1), make(Version::Hybrid));
        same_pieces(&v1.info, &v1.torrent).unwrap();
        same_pieces(&hybrid.info, &hybrid.torrent).unwrap();
        assert!(same_pieces(&v1.info, &hybrid.torrent).is_err());
        let mut bytes = fs::read(&v1.torrent).unwrap();
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        let damaged = temp.path().join("damaged.torrent");
        fs::write(&damaged, bytes).unwrap();
        assert!(same_pieces(&v1.info, &damaged).is_err());
    }

    #[test]
    fn every_piece_has_its_place_in_the_mixed_order() {
        let mut order = mixed_order(100);
        assert_ne!(order, mixed_order(101)[..100]);
        assert_eq!(order, mixed_order(100));
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(i, piece)| piece.as_usize() == i));
    }
}
