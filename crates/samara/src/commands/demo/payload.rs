//! What the demo transfers: a small tree of files, most of it random bytes.

use crate::exit::{Exit, Failure};
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes written or compared at once.
const STEP: usize = 1 << 20;

/// A tree of files of a total size.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    files: Vec<(&'static str, u64)>,
}

impl Payload {
    /// A tree of `size` bytes: large, middling and tiny files, and an empty one.
    pub(super) fn new(size: u64) -> Self {
        let tiny = size.min(1);
        let rest = size - tiny;
        let share = |hundredths: u64| {
            u64::try_from(u128::from(rest) * u128::from(hundredths) / 100).unwrap_or(0)
        };
        let (film, song) = (share(70), share(7));
        let photo = rest - film - 3 * song;
        Self {
            files: vec![
                ("film.mkv", film),
                ("music/01 first.flac", song),
                ("music/02 second.flac", song),
                ("music/03 third.flac", song),
                ("notes/empty.txt", 0),
                ("notes/one byte.txt", tiny),
                ("photo.raw", photo),
            ],
        }
    }

    /// Name of the directory.
    #[expect(clippy::unused_self, reason = "asked of a payload like the rest")]
    pub(super) const fn name(&self) -> &'static str {
        "demo"
    }

    /// Paths below the directory, and lengths.
    pub(super) fn files(&self) -> &[(&'static str, u64)] {
        &self.files
    }

    /// Bytes in all.
    pub(super) fn len(&self) -> u64 {
        self.files.iter().map(|(_, len)| len).sum()
    }

    /// Writes the tree below `root`, counting bytes in `done`.
    pub(super) fn write(&self, root: &Path, done: &AtomicU64) -> Result<(), Failure> {
        let mut random = Random::new();
        let mut buf = vec![0; STEP];
        for (path, len) in &self.files {
            let path = root.join(self.name()).join(path);
            let mut write = || -> io::Result<()> {
                fs::create_dir_all(path.parent().unwrap_or(root))?;
                let mut file = File::create(&path)?;
                let mut left = *len;
                while left > 0 {
                    let step = usize::try_from(left).unwrap_or(STEP).min(STEP);
                    random.fill(&mut buf[..step]);
                    file.write_all(&buf[..step])?;
                    left -= step as u64;
                    done.fetch_add(step as u64, Ordering::Relaxed);
                }
                Ok(())
            };
            write().map_err(|e| too_big(Failure::io("write", &path, &e)))?;
        }
        Ok(())
    }

    /// Whether the trees below `a` and `b` are the same byte for byte.
    pub(super) fn same(&self, a: &Path, b: &Path, done: &AtomicU64) -> Result<bool, Failure> {
        let (mut left, mut right) = (vec![0; STEP], vec![0; STEP]);
        for (path, len) in &self.files {
            let open = |root: &Path| {
                let path = root.join(self.name()).join(path);
                File::open(&path).map_err(|e| Failure::io("read", &path, &e))
            };
            let (mut one, mut two) = (open(a)?, open(b)?);
            let mut at = 0;
            loop {
                let read = |file: &mut File, buf: &mut [u8]| {
                    read_full(file, buf).map_err(|e| Failure::io("read", Path::new(path), &e))
                };
                let n = read(&mut one, &mut left)?;
                if n != read(&mut two, &mut right)? || left[..n] != right[..n] {
                    return Ok(false);
                }
                at += n as u64;
                done.fetch_add(n as u64, Ordering::Relaxed);
                if n < STEP {
                    break;
                }
            }
            if at != *len {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn too_big(failure: Failure) -> Failure {
    match failure.exit {
        Exit::NoSpace => failure.hint("the demo needs twice its size: try --size 64MiB"),
        _ => failure,
    }
}

/// Fills `buf` unless the file ends first; gives the number of bytes.
fn read_full(file: &mut File, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Bytes that nothing can compress or guess from one run to the next; no secret depends on them (xorshift64*).
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    fn fill(&mut self, buf: &mut [u8]) {
        for word in buf.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let bytes = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_add_up_and_a_flipped_bit_is_seen() {
        for size in [0, 1, 2, 100, 3_000_001] {
            assert_eq!(Payload::new(size).len(), size);
        }
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let payload = Payload::new(3_000_001);
        let done = AtomicU64::new(0);
        payload.write(&a, &done).unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 3_000_001);
        for (path, _) in payload.files() {
            let to = b.join("demo").join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(a.join("demo").join(path), to).unwrap();
        }
        assert!(payload.same(&a, &b, &done).unwrap());
        let film = b.join("demo/film.mkv");
        let mut bytes = fs::read(&film).unwrap();
        bytes[2_000_000] ^= 1;
        fs::write(&film, bytes).unwrap();
        assert!(!payload.same(&a, &b, &done).unwrap());
    }
}
