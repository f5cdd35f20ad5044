//! A torrent, a seed of it, and sessions that download it to a [`CrashDisk`].

use super::disk::{CrashDisk, Event, Flaw, Handle};
use super::view::View;
use crate::config::{AddTorrent, CustomStorage, Existing, SessionConfig};
use crate::create::{CreateConfig, CreateProgress, create};
use crate::limits::RateLimits;
use crate::resume::{Keeping, Record};
use crate::session::Session;
use crate::state_files::StateFiles;
use crate::status::{State, TorrentStatus};
use crate::torrent::Torrent;
use samara_disk::{Allocation, MemoryStorage, Storage};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{FileIndex, PieceIndex};
use samara_wire::metainfo::Metainfo;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes a second that the seed sends: slow enough for some dozens of records to be written meanwhile.
const RATE: u64 = 2_000_000;

/// Bytes of block buffers of the session under test: few, so that little is under way when it is killed.
pub(super) const BUFFERS: usize = 1 << 20;

/// See the module's head.
pub(super) struct World {
    pub(super) disk: Arc<CrashDisk>,
    pub(super) metainfo: Metainfo,
    /// The files of the torrent on the modelled disk, and their lengths.
    pub(super) files: Vec<(PathBuf, usize)>,
    content: Vec<Vec<u8>>,
    pub(super) record_path: PathBuf,
    /// Its directory of records is real, and stays empty.
    dir: Arc<tempfile::TempDir>,
    pub(super) story: Story,
}

/// What a session goes through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Story {
    pub(super) allocation: Allocation,
    /// Which sync of payload fails.
    pub(super) failing_sync: Option<u32>,
    /// Whether it is killed as soon as that has failed, before what is in doubt is fetched again.
    pub(super) killed_then: bool,
    /// Time and bytes that a record may lag behind.
    pub(super) interval: Duration,
    pub(super) bytes: u64,
    pub(super) flaw: Option<Flaw>,
}

impl Default for Story {
    fn default() -> Self {
        let interval = Duration::from_millis(10);
        let allocation = Allocation::Sparse;
        Self {
            allocation,
            failing_sync: None,
            killed_then: false,
            interval,
            bytes: u64::MAX,
            flaw: None,
        }
    }
}

impl World {
    /// Files of lengths that have nothing to do with those of pieces and pages.
    pub(super) fn new(story: Story) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        let lens = [("a", 700_001), ("b", 5_000), ("c/d", 1), ("c/e", 900_123), ("f", 444_444)];
        for (seed, (name, len)) in (1..).zip(lens) {
            let path = source.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, noise(len, seed)).unwrap();
        }
        let config = CreateConfig { piece_len: Some(32 * 1024), ..CreateConfig::default() };
        let metainfo = create(&source, &config, &CreateProgress::default()).unwrap().metainfo;
        let (mut files, mut content) = (Vec::new(), Vec::new());
        for entry in metainfo.info.files() {
            let bytes = std::fs::read(dir.path().join(entry.path.as_str())).unwrap();
            // All in one directory of the model.
            let name = entry.path.as_str().replace('/', "-");
            files.push((dir.path().join("data").join(name), bytes.len()));
            content.push(bytes);
        }
        let disk = CrashDisk::new(story.flaw);
        let dir = Arc::new(dir);
        let record_path = PathBuf::new();
        let mut world = Self { disk, metainfo, files, content, record_path, dir, story };
        std::fs::create_dir(world.state_dir()).unwrap();
        world.record_path = world.record(CrashDisk::new(None).handle(&[])).path();
        world
    }

    /// The same torrent on another disk.
    pub(super) fn on(&self, disk: Arc<CrashDisk>) -> Self {
        Self {
            disk,
            metainfo: self.metainfo.clone(),
            files: self.files.clone(),
            content: self.content.clone(),
            record_path: self.record_path.clone(),
            dir: Arc::clone(&self.dir),
            story: Story { failing_sync: None, ..self.story },
        }
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(super) fn aside_path(&self) -> PathBuf {
        self.record_path.with_extension("resume.damaged")
    }

    pub(super) fn record(&self, keep: Arc<dyn StateFiles>) -> Record {
        let info = &self.metainfo.info;
        Record {
            keep,
            state_dir: self.state_dir(),
            hashes: info.hashes(),
            dir: self.dir.path().join("data"),
            layout: info.layout().clone(),
            files: info.files().len(),
        }
    }

    /// Whether every byte of the piece is what it must be.
    pub(super) fn is_right(&self, view: &View, piece: PieceIndex) -> bool {
        let info = &self.metainfo.info;
        let begin = info.layout().offset_of(piece);
        let end = begin + u64::from(info.layout().len_of(piece));
        info.files().iter().zip(&self.files).zip(&self.content).all(|((entry, file), wanted)| {
            let from = begin.clamp(entry.offset, entry.offset + entry.len) - entry.offset;
            let to = end.clamp(entry.offset, entry.offset + entry.len) - entry.offset;
            let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
            let there = view.content(&file.0).and_then(|bytes| bytes.get(range.clone()));
            range.is_empty() || there == Some(&wanted[range])
        })
    }

    /// The pieces that are there.
    pub(super) fn right_in(&self, view: &View) -> Bitfield {
        let layout = self.metainfo.info.layout();
        let mut right = Bitfield::empty(layout.count());
        for piece in layout.pieces().filter(|&piece| self.is_right(view, piece)) {
            right.insert(piece);
        }
        right
    }

    /// A session that has all of it in memory.
    async fn seed(&self) -> Session {
        let memory = Arc::new(MemoryStorage::new());
        for (index, bytes) in (0..).zip(&self.content) {
            memory.write_at(FileIndex(index), 0, &[IoSlice::new(bytes)]).unwrap();
        }
        let limits = RateLimits { down: None, up: Some(RATE) };
        let seed = Session::start(SessionConfig { limits, ..loopback() }).unwrap();
        let mut add = AddTorrent::new(self.metainfo.clone(), self.dir.path());
        add.existing = Existing::Trust;
        add.announce = false;
        add.storage = Some(CustomStorage(memory));
        seed.add(add).await.unwrap();
        seed
    }

    /// A session that downloads it to the disk.
    async fn begin(&self, seed: &Session) -> (Session, Torrent) {
        let handle: Arc<Handle> = self.disk.handle(&self.files);
        let config = SessionConfig {
            state_dir: Some(self.state_dir()),
            allocation: self.story.allocation,
            buffer_bytes: BUFFERS,
            ..loopback()
        };
        let Story { interval, bytes, .. } = self.story;
        let keeping = Keeping { files: Arc::clone(&handle) as _, interval, bytes };
        let session = Session::start_with(config, crate::dht::system_lookup(), keeping).unwrap();
        let mut add = AddTorrent::new(self.metainfo.clone(), self.dir.path().join("data"));
        add.peers = vec![address(seed)];
        add.storage = Some(CustomStorage(handle));
        let torrent = session.add(add).await.unwrap();
        (session, torrent)
    }

    /// Downloads it: with a pause, changes of trackers, a kill, an orderly end, and perhaps a sync that fails.
    pub(super) async fn live(&self) {
        let seed = self.seed().await;
        let pieces = self.metainfo.info.layout().count();
        let part =
            |fourths: u32| move |s: &TorrentStatus| s.stats.pieces_have >= fourths * pieces / 4;
        if let Some(after) = self.story.failing_sync {
            self.disk.fail_sync(after);
        }
        let (session, torrent) = self.begin(&seed).await;
        self.set_trackers(&torrent, 1).await;
        if self.story.killed_then {
            until(&torrent, |s| matches!(s.state, State::Failed(_))).await;
        } else {
            until(&torrent, part(1)).await;
            torrent.pause();
            until(&torrent, |s| s.state == State::Paused).await;
            self.set_trackers(&torrent, 2).await;
            torrent.resume();
            torrent.add_peers(vec![address(&seed)]);
            until(&torrent, part(2)).await;
        }
        self.disk.kill();
        session.shutdown().await;

        let (session, torrent) = self.begin(&seed).await;
        until(&torrent, part(3)).await;
        self.set_trackers(&torrent, 3).await;
        session.shutdown().await;

        self.finish_with(&seed).await;
        seed.shutdown().await;
    }

    /// Downloads what is left, which must come out right.
    pub(super) async fn finish(&self) {
        let seed = self.seed().await;
        self.finish_with(&seed).await;
        seed.shutdown().await;
    }

    async fn finish_with(&self, seed: &Session) {
        let (session, torrent) = self.begin(seed).await;
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        session.shutdown().await;
        if self.story.flaw.is_none() {
            assert_eq!(status.stats.corrupt, 0, "an honest seed alone");
            assert!(self.right_in(&self.disk.view()).is_full());
        }
    }

    /// Has one more tracker, that is not there; sees to it that the log tells when that is kept.
    async fn set_trackers(&self, torrent: &Torrent, number: u32) {
        let tiers = vec![vec![format!("http://127.0.0.1:1/{number}")]];
        self.disk.note(Event::Asked(tiers.clone()));
        torrent.set_trackers(tiers.clone()).await.unwrap();
        self.disk.note(Event::Kept(tiers));
    }
}

fn address(session: &Session) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, session.port()).into()
}

async fn until(torrent: &Torrent, accept: impl FnMut(&TorrentStatus) -> bool) -> TorrentStatus {
    match tokio::time::timeout(PATIENCE, torrent.wait_until(accept)).await {
        Ok(status) => status,
        Err(_) => panic!("stuck: {:#?}\n{:#?}", torrent.status(), torrent.peers().await),
    }
}

fn loopback() -> SessionConfig {
    SessionConfig {
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        utp: false,
        dht: None,
        local_discovery: false,
        port_mapping: false,
        limit_local: true,
        ..SessionConfig::default()
    }
}

/// Bytes without pattern, the same for the same seed.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = samara_swarm::rng::Rng::new(seed);
    let mut bytes: Vec<u8> =
        (0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}
