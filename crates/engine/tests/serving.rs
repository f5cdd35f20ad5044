//! What is asked of a seed: taken back while it is being read, hung up by a disk, or gone from it.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::disk::{Fault, FaultyStorage, Gate, MemoryStorage, Operation, Storage};
use samara_engine::wire::id::{BlockRef, FileIndex, PeerId, PieceIndex};
use samara_engine::wire::peer::handshake::{HANDSHAKE_LEN, Handshake, Reserved};
use samara_engine::wire::peer::message::Message;
use samara_engine::{CustomStorage, Existing, Session, State, Torrent};
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use support::{Sample, addr, run, session, until};

const PIECE_LEN: u32 = 16 * 1024;

/// A leech that the test plays.
struct Leech {
    stream: TcpStream,
    /// Pieces that it may ask for though choked.
    granted: Vec<u32>,
}

/// What a seed says; the payload of a block is taken off the stream with it.
#[derive(PartialEq, Eq, Debug)]
enum Heard {
    Block(u32, Vec<u8>),
    Said(Vec<u8>),
}

impl Leech {
    /// Shakes hands, with the fast extension, and becomes unchoked.
    fn meet(session: &Session, sample: &Sample, name: u8) -> Self {
        let mut stream = TcpStream::connect(addr(session)).unwrap();
        let mut peer_id = *b"-XX0000-leech-number";
        peer_id[19] = name;
        let ours = Handshake {
            reserved: Reserved([0, 0, 0, 0, 0, 0, 0, 4]),
            info_hash: sample.metainfo.info.hashes().wire(),
            peer_id: PeerId(peer_id),
        };
        stream.write_all(&ours.encode()).unwrap();
        stream.read_exact(&mut [0; HANDSHAKE_LEN]).unwrap();
        let mut leech = Self { stream, granted: Vec::new() };
        leech.say(&Message::Interested);
        leech.until_unchoked();
        leech
    }

    fn until_unchoked(&mut self) {
        loop {
            match self.hear() {
                Heard::Said(body) if body == [1] => return,
                Heard::Said(body) if body.first() == Some(&17) => {
                    self.granted.push(u32::from_be_bytes(body[1..5].try_into().unwrap()));
                }
                _ => {}
            }
        }
    }

    /// Pieces that a choke takes back.
    fn not_granted(&self) -> [u32; 5] {
        let mut free = (0..).filter(|piece| !self.granted.contains(piece));
        [(); 5].map(|()| free.next().unwrap())
    }

    fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    fn ask(&mut self, pieces: &[u32]) {
        pieces.iter().for_each(|&piece| self.say(&Message::Request(block(piece))));
    }

    /// What comes next. Suggestions (BEP 6), which a seed makes when it likes, are passed over.
    fn hear(&mut self) -> Heard {
        self.hear_unless_closed().unwrap()
    }

    /// The same; `None` if the other end has closed the connection, which it does between messages.
    fn hear_unless_closed(&mut self) -> Option<Heard> {
        let mut body = vec![13];
        while body.first() == Some(&13) {
            let mut len = [0; 4];
            if self.stream.read(&mut len[..1]).ok()? == 0 {
                return None;
            }
            self.stream.read_exact(&mut len[1..]).unwrap();
            body = vec![0; u32::from_be_bytes(len) as usize];
            self.stream.read_exact(&mut body).unwrap();
        }
        if body.first() == Some(&7) {
            let piece = u32::from_be_bytes(body[1..5].try_into().unwrap());
            return Some(Heard::Block(piece, body.split_off(9)));
        }
        Some(Heard::Said(body))
    }
}

fn block(piece: u32) -> BlockRef {
    BlockRef { piece: PieceIndex(piece), begin: 0, len: PIECE_LEN }
}

fn is(sample: &Sample, piece: u32) -> Heard {
    let bytes = sample.bytes().chunks(PIECE_LEN as usize).nth(piece as usize).unwrap();
    Heard::Block(piece, bytes.to_vec())
}

fn said(message: &Message) -> Heard {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    Heard::Said(bytes.split_off(4))
}

/// Seeds from a storage whose reads go wrong as the test wishes.
async fn seed_from_faulty(sample: &Sample, session: &Session) -> (Arc<FaultyStorage>, Torrent) {
    let memory = MemoryStorage::new();
    memory.write_at(FileIndex(0), 0, &[IoSlice::new(sample.bytes())]).unwrap();
    let storage = Arc::new(FaultyStorage::new(Arc::new(memory)));
    let mut add = sample.add(sample.dir.path(), &[]);
    add.existing = Existing::Check;
    add.storage = Some(CustomStorage(Arc::clone(&storage) as Arc<_>));
    let torrent = session.add(add).await.unwrap();
    until(&torrent, |s| s.state == State::Seeding).await;
    (storage, torrent)
}

#[test]
fn what_is_cancelled_or_choked_while_it_is_read_is_rejected_and_never_sent() {
    run(async {
        let sample = Sample::single(PIECE_LEN as usize * 200, PIECE_LEN);
        let seed = session(None);
        let (storage, _torrent) = seed_from_faulty(&sample, &seed).await;
        let mut leech = Leech::meet(&seed, &sample, 1);
        let [a, b, c, d, e] = leech.not_granted();

        let gate = Gate::new();
        storage.inject(Operation::Read, 0..u64::MAX, Fault::Wait(gate.clone()));
        leech.ask(&[a, b, c]);
        gate.wait_for_arrivals(1);
        leech.say(&Message::Cancel(block(b)));
        assert_eq!(leech.hear(), said(&Message::Reject(block(b))));
        gate.open();
        assert_eq!(leech.hear(), is(&sample, a));
        assert_eq!(leech.hear(), is(&sample, c));

        storage.heal();
        let gate = Gate::new();
        storage.inject(Operation::Read, 0..u64::MAX, Fault::Wait(gate.clone()));
        leech.ask(&[d, e]);
        gate.wait_for_arrivals(1);
        leech.say(&Message::NotInterested);
        assert_eq!(leech.hear(), said(&Message::Choke));
        assert_eq!(leech.hear(), said(&Message::Reject(block(d))));
        assert_eq!(leech.hear(), said(&Message::Reject(block(e))));
        gate.open();
        leech.say(&Message::Interested);
        leech.until_unchoked();
        leech.ask(&[a]);
        assert_eq!(leech.hear(), is(&sample, a), "nothing that was dropped comes");
        seed.shutdown().await;
    });
}

#[test]
fn a_disk_that_hangs_holds_up_nobody_who_does_not_need_it() {
    run(async {
        let hung = Sample::single(PIECE_LEN as usize * 40, PIECE_LEN);
        let well = Sample::multi(&[("a", 3_000_000)], PIECE_LEN);
        let seed = session(None);
        let (storage, _torrent) = seed_from_faulty(&hung, &seed).await;
        let add = well.add(well.dir.path(), &[]);
        let add = samara_engine::AddTorrent { existing: Existing::Check, ..add };
        let other = seed.add(add).await.unwrap();
        until(&other, |s| s.state == State::Seeding).await;

        // One read hangs for good; the next ones do not.
        let gate = Gate::new();
        let next = storage.calls(Operation::Read);
        storage.inject(Operation::Read, next..next + 1, Fault::Wait(gate.clone()));
        let mut unlucky = Leech::meet(&seed, &hung, 1);
        unlucky.ask(&[7, 8, 9]);
        gate.wait_for_arrivals(1);
        // A peer of the same torrent, and another torrent from first to last.
        let mut lucky = Leech::meet(&seed, &hung, 2);
        lucky.ask(&[7, 30]);
        assert_eq!(lucky.hear(), is(&hung, 7));
        assert_eq!(lucky.hear(), is(&hung, 30));
        well.download(&[addr(&seed)]).await;
        gate.open();
        for piece in [7, 8, 9] {
            assert_eq!(unlucky.hear(), is(&hung, piece));
        }
        seed.shutdown().await;
    });
}

#[test]
fn a_file_cut_short_costs_its_pieces_and_no_frame_is_torn() {
    run(async {
        let sample = Sample::single(PIECE_LEN as usize * 40, PIECE_LEN);
        let (seed, torrent) = sample.seed().await;
        let mut leech = Leech::meet(&seed, &sample, 1);
        leech.ask(&[0]);
        assert_eq!(leech.hear(), is(&sample, 0));
        let path = sample.dir.path().join("data.bin");
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(u64::from(PIECE_LEN) * 20 + 5).unwrap();
        leech.ask(&[19, 20, 3]);
        // Nothing of the file is given away before it is looked at, for which connections close.
        while let Some(heard) = leech.hear_unless_closed() {
            assert!(matches!(heard, Heard::Said(_)), "{heard:?}");
        }
        until(&torrent, |s| s.state == State::Downloading).await;
        let mut again = Leech::meet(&seed, &sample, 2);
        again.ask(&[19, 20, 3]);
        let heard = [(); 3].map(|()| again.hear());
        assert!(heard.contains(&is(&sample, 19)) && heard.contains(&is(&sample, 3)));
        assert!(heard.contains(&said(&Message::Reject(block(20)))), "half a block is none");
        seed.shutdown().await;
    });
}
