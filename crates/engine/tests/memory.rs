//! What a session keeps for each torrent at rest and for each connected peer that is silent, in bytes allocated.
//!
//! Bytes asked of the allocator are counted, not pages: the same whatever the machine. The bounds are a little above what is
//! needed today, so that whoever makes a torrent or a peer heavier hears of it here.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::wire::metainfo::Metainfo;
use samara_engine::wire::peer::handshake::{HANDSHAKE_LEN, Handshake, Reserved};
use samara_engine::{AddTorrent, Existing, Session, SessionConfig, State, Torrent};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{addr, config, run, until};

/// The most that a torrent at rest may cost beside its metainfo: the goal.
const MAX_PER_TORRENT: usize = 4096;

/// The most that a silent peer may cost, both ends' sockets left out: those are the kernel's.
const MAX_PER_PEER: usize = 3200;

/// Bytes allocated at present.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Held by the test that counts: what another one allocates would be counted too.
static ALONE: Mutex<()> = Mutex::new(());

/// The system's allocator, counting.
struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: our caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: our caller keeps the same contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocated() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

/// A torrent of one file with four pieces, as small ones are.
fn small_torrent(number: usize) -> Metainfo {
    let name = format!("file-{number}");
    let hashes = "twenty bytes of hash".repeat(4);
    let info = format!(
        "d6:lengthi65536e4:name{}:{name}12:piece lengthi16384e6:pieces80:{hashes}e",
        name.len()
    );
    Metainfo::parse(format!("d4:info{info}e").as_bytes()).unwrap()
}

/// Adds the torrents and waits until all seed. Their data is taken for granted: nobody asks for it.
async fn seed_all(session: &Session, metainfos: &[Metainfo]) -> Vec<Torrent> {
    let mut torrents = Vec::with_capacity(metainfos.len());
    for metainfo in metainfos {
        let add = AddTorrent::new(metainfo.clone(), "/nowhere");
        let add = AddTorrent { existing: Existing::Trust, ..add };
        torrents.push(session.add(add).await.unwrap());
    }
    for torrent in &torrents {
        until(torrent, |s| s.state == State::Seeding).await;
    }
    torrents
}

#[test]
fn a_torrent_at_rest_is_small() {
    let _alone = ALONE.lock();
    run(async {
        let session = Session::start(config(None)).unwrap();
        let empty = allocated();
        let metainfos: Vec<_> = (0..1048).map(small_torrent).collect();
        let metainfo = (allocated() - empty) / metainfos.len();
        // What grows by doubling, and what is made once, is there before it is counted.
        let _first = seed_all(&session, &metainfos[..24]).await;
        let before = allocated();
        let torrents = seed_all(&session, &metainfos[24..]).await;
        let each = (allocated() - before) / torrents.len();
        println!("{each} bytes a torrent beside {metainfo} of metainfo");
        assert!(each <= MAX_PER_TORRENT, "{each} bytes a torrent");
        session.shutdown().await;
    });
}

/// Connects, shakes hands as one that has everything, and says no more.
fn silent_peer(session: &Session, torrent: &Torrent, number: u32) -> TcpStream {
    let mut stream = TcpStream::connect(addr(session)).unwrap();
    let mut peer_id = *b"-XX0000-000000000000";
    peer_id[8..12].copy_from_slice(&number.to_be_bytes());
    let ours = Handshake {
        info_hash: torrent.hashes().wire(),
        peer_id: samara_engine::wire::id::PeerId(peer_id),
        reserved: Reserved::default(),
    };
    stream.write_all(&ours.encode()).unwrap();
    let pieces = torrent.metainfo().info.layout().count();
    let bytes = pieces.div_ceil(8);
    stream.write_all(&(1 + bytes).to_be_bytes()).unwrap();
    stream.write_all(&[5]).unwrap();
    stream.write_all(&vec![0; bytes as usize]).unwrap();
    let mut theirs = [0; HANDSHAKE_LEN];
    stream.read_exact(&mut theirs).unwrap();
    stream
}

#[test]
fn a_silent_peer_is_small() {
    let _alone = ALONE.lock();
    run(async {
        let more = SessionConfig { max_peers_per_torrent: 1000, ..config(None) };
        let session = Session::start(more).unwrap();
        let torrents = seed_all(&session, &[small_torrent(0)]).await;
        let torrent = &torrents[0];
        let connect = async |numbers: std::ops::Range<u32>| {
            let peers: Vec<_> =
                numbers.clone().map(|n| silent_peer(&session, torrent, n)).collect();
            until(torrent, |s| s.stats.peers == numbers.end).await;
            peers
        };
        let _first = connect(0..8).await;
        let before = allocated();
        let peers = connect(8..136).await;
        let each = (allocated() - before) / peers.len();
        println!("{each} bytes a peer");
        assert!(each <= MAX_PER_PEER, "{each} bytes a peer");
        session.shutdown().await;
    });
}
