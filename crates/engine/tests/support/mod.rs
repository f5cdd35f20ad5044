//! What the tests of whole sessions have in common: torrents made of known bytes, sessions on loopback.
#![allow(dead_code, clippy::unwrap_used, reason = "test code; each test file uses its part")]

pub(crate) mod fake;
pub(crate) mod proxy;

use samara_engine::create::{CreateConfig, CreateProgress, Kind, create};
use samara_engine::wire::metainfo::Metainfo;
use samara_engine::wire::mse::Policy;
use samara_engine::{
    AddTorrent, Existing, RateLimits, Session, SessionConfig, State, Torrent, TorrentStatus,
};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than any test may take; a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// Files with known content and their torrent.
pub(crate) struct Sample {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) metainfo: Metainfo,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Sample {
    /// One file of `len` bytes.
    pub(crate) fn single(len: usize, piece_len: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.bin");
        let bytes = noise(len, 1);
        std::fs::write(&path, &bytes).unwrap();
        let metainfo = torrent_of(&path, piece_len);
        Self { dir, metainfo, files: vec![("data.bin".into(), bytes)] }
    }

    /// One file of `len` bytes, private.
    pub(crate) fn private(len: usize) -> Self {
        let sample = Self::single(len, 16 * 1024);
        let config = CreateConfig { private: true, ..CreateConfig::default() };
        let path = sample.dir.path().join("data.bin");
        let metainfo = create(&path, &config, &CreateProgress::default()).unwrap().metainfo;
        Self { metainfo, ..sample }
    }

    /// The same content as a v2 or hybrid torrent, with pieces of 16 KiB.
    pub(crate) fn of_kind(self, kind: Kind) -> Self {
        let config = CreateConfig { kind, piece_len: Some(16 * 1024), ..CreateConfig::default() };
        let path = self.dir.path().join("data.bin");
        let metainfo = create(&path, &config, &CreateProgress::default()).unwrap().metainfo;
        Self { metainfo, ..self }
    }

    /// A directory `many` of files with these names and lengths.
    pub(crate) fn multi(files: &[(&str, usize)], piece_len: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<_> = (1u64..)
            .zip(files)
            .map(|(seed, (name, len))| (Path::new("many").join(name), noise(*len, seed)))
            .collect();
        for (path, bytes) in &files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let metainfo = torrent_of(&dir.path().join("many"), piece_len);
        Self { dir, metainfo, files }
    }

    /// Seeds it, having checked it.
    pub(crate) async fn seed(&self) -> (Session, Torrent) {
        let session = session(None);
        let add = AddTorrent { existing: Existing::Check, ..self.add(self.dir.path(), &[]) };
        let torrent = session.add(add).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        (session, torrent)
    }

    /// How to download it to `dir` from `peers`.
    pub(crate) fn add(&self, dir: &Path, peers: &[SocketAddr]) -> AddTorrent {
        let add = AddTorrent::new(self.metainfo.clone(), dir);
        AddTorrent { peers: peers.to_vec(), announce: false, ..add }
    }

    /// Downloads it in a session of its own, and compares every byte.
    pub(crate) async fn download(&self, peers: &[SocketAddr]) -> TorrentStatus {
        let dir = tempfile::tempdir().unwrap();
        let session = session(None);
        let torrent = session.add(self.add(dir.path(), peers)).await.unwrap();
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        session.shutdown().await;
        self.assert_same(dir.path());
        status
    }

    /// Panics if what is in `dir` is not this, byte for byte.
    pub(crate) fn assert_same(&self, dir: &Path) {
        for (path, bytes) in &self.files {
            let there = std::fs::read(dir.join(path)).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            assert!(there == *bytes, "{path:?} differs");
        }
    }

    /// The same content and torrent, for a thread that plays a peer.
    pub(crate) fn without_files(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, metainfo: self.metainfo.clone(), files: self.files.clone() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.files[0].1
    }
}

fn torrent_of(path: &Path, piece_len: u32) -> Metainfo {
    let config = CreateConfig { piece_len: Some(piece_len), ..CreateConfig::default() };
    create(path, &config, &CreateProgress::default()).unwrap().metainfo
}

/// Bytes without pattern, the same for the same seed.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32).to_le_bytes()
    });
    words.flat_map(|w| [w[0], w[1], w[2], w[3]]).take(len).collect()
}

/// A session on loopback alone, on a port that the system chooses.
pub(crate) fn session(state_dir: Option<&Path>) -> Session {
    Session::start(config(state_dir)).unwrap()
}

pub(crate) fn config(state_dir: Option<&Path>) -> SessionConfig {
    SessionConfig {
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        dht: None,
        state_dir: state_dir.map(Path::to_owned),
        // What is not the test's own is left alone, and leaves it alone.
        local_discovery: false,
        // The fakes here do not encrypt, and what they count is connections.
        encryption: Policy::Allow,
        // All peers of the tests are local.
        limit_local: true,
        ..SessionConfig::default()
    }
}

pub(crate) fn addr(session: &Session) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, session.port()).into()
}

/// So many bytes per second are received.
pub(crate) fn down(rate: u64) -> RateLimits {
    RateLimits { down: Some(rate), up: None }
}

/// So many bytes per second are sent.
pub(crate) fn up(rate: u64) -> RateLimits {
    RateLimits { down: None, up: Some(rate) }
}

/// Waits for a status, but not for ever.
pub(crate) async fn until(
    torrent: &Torrent,
    accept: impl FnMut(&TorrentStatus) -> bool,
) -> TorrentStatus {
    match tokio::time::timeout(PATIENCE, torrent.wait_until(accept)).await {
        Ok(status) => status,
        Err(_) => panic!("stuck: {:#?}\n{:#?}", torrent.status(), torrent.peers().await),
    }
}

/// Runs a test on a small runtime: the engine brings its own threads.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}
