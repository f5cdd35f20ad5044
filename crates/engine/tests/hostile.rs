//! Peers written by hand that lie, babble or fall silent, beside an honest seed.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::wire::id::{BlockRef, PeerId};
use samara_engine::wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_engine::wire::peer::handshake::{HANDSHAKE_LEN, Handshake, Reserved};
use samara_engine::wire::peer::message::{Message, encode_piece_header};
use samara_engine::{Session, State, Torrent};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use support::{Sample, addr, run, session, until};
use tempfile::TempDir;

/// A connection of a peer that we play ourselves.
struct Puppet {
    stream: TcpStream,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl Puppet {
    /// Shakes hands over a stream that either side opened.
    fn shake(mut stream: TcpStream, sample: &Sample) -> Self {
        let info = &sample.metainfo.info;
        let ours = Handshake {
            reserved: Reserved::default(),
            info_hash: info.hashes().wire(),
            peer_id: PeerId(*b"-XX0000-puppetpuppet"),
        };
        stream.write_all(&ours.encode()).unwrap();
        stream.read_exact(&mut [0; HANDSHAKE_LEN]).unwrap();
        let decoder = FrameDecoder::new(Some(info.layout().count()));
        Self { stream, decoder, buffer: Vec::new() }
    }

    fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.send_raw(&bytes);
    }

    /// What is sent to a peer that has hung up is lost, which is its right.
    fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn has_all(&mut self, sample: &Sample) {
        let full =
            samara_engine::wire::bitfield::Bitfield::full(sample.metainfo.info.layout().count());
        self.send(&Message::Bitfield(full.as_bytes().into()));
        self.send(&Message::Unchoke);
    }

    /// The next message; `None` when the other end has hung up.
    fn next(&mut self) -> Option<Message> {
        loop {
            match self.decoder.decode(&self.buffer).unwrap() {
                Decoded::Frame { frame, consumed } => {
                    self.buffer.drain(..consumed);
                    match frame {
                        Frame::Message(message) => return Some(message),
                        frame => panic!("unexpected {frame:?}"),
                    }
                }
                Decoded::NeedMore(_) => {
                    let mut bytes = [0; 4096];
                    match self.stream.read(&mut bytes) {
                        Ok(0) | Err(_) => return None,
                        Ok(n) => self.buffer.extend_from_slice(&bytes[..n]),
                    }
                }
            }
        }
    }

    fn next_request(&mut self) -> Option<BlockRef> {
        loop {
            if let Message::Request(block) = self.next()? {
                return Some(block);
            }
        }
    }

    fn send_block(&mut self, block: BlockRef, payload: &[u8]) {
        self.send_raw(&encode_piece_header(block));
        self.send_raw(payload);
    }

    /// Waits until the other end hangs up.
    fn wait_closed(mut self) {
        while self.next().is_some() {}
    }
}

fn right_bytes<'a>(sample: &'a Sample, block: &BlockRef) -> &'a [u8] {
    let piece_len = sample.metainfo.info.layout().piece_len();
    let begin = (block.piece.0 * piece_len + block.begin) as usize;
    &sample.bytes()[begin..begin + block.len as usize]
}

/// Plays one peer on a thread of its own: `act` is given each connection.
fn puppet(sample: &Sample, act: impl Fn(Puppet, &Sample) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let sample = sample.without_files();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            act(Puppet::shake(stream.unwrap(), &sample), &sample);
        }
    });
    at
}

async fn leech(sample: &Sample, peers: &[SocketAddr]) -> (Session, Torrent, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let session = session(None);
    let torrent = session.add(sample.add(dir.path(), peers)).await.unwrap();
    (session, torrent, dir)
}

/// A puppet alone cannot finish the job; the honest seed comes when the puppet has done its worst.
fn survives(act: impl Fn(Puppet, &Sample) + Send + 'static) {
    run(async {
        let sample = Sample::single(1_000_000, 64 * 1024);
        let (done, mut wait) = tokio::sync::mpsc::unbounded_channel();
        let liar = puppet(&sample, move |puppet, sample| {
            act(puppet, sample);
            let _ = done.send(());
        });
        let (session, torrent, dir) = leech(&sample, &[liar]).await;
        wait.recv().await.unwrap();
        let (seed, _torrent) = sample.seed().await;
        torrent.add_peers(vec![addr(&seed)]);
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        session.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_message_of_absurd_length() {
    survives(|mut puppet, _| {
        puppet.send_raw(&[0x7f, 0xff, 0xff, 0xff, 20, 0]);
        puppet.wait_closed();
    });
}

#[test]
fn garbage() {
    survives(|mut puppet, _| {
        puppet.send_raw(&[0xa5; 5000]);
        puppet.wait_closed();
    });
}

#[test]
fn a_block_never_asked_for() {
    survives(|mut puppet, sample| {
        puppet.has_all(sample);
        let first = puppet.next_request().unwrap();
        let piece = samara_engine::wire::id::PieceIndex((first.piece.0 + 1) % 15);
        let len = first.len - 1;
        puppet.send_block(BlockRef { piece, begin: 3, len }, &vec![0; len as usize]);
        puppet.wait_closed();
    });
}

#[test]
fn a_have_out_of_range() {
    survives(|mut puppet, _| {
        puppet.send(&Message::Have(samara_engine::wire::id::PieceIndex(99_999)));
        puppet.wait_closed();
    });
}

#[test]
fn silence_in_the_middle_of_a_block() {
    let kept = std::sync::Mutex::new(Vec::new());
    survives(move |mut puppet, sample| {
        puppet.has_all(sample);
        let block = puppet.next_request().unwrap();
        puppet.send_raw(&encode_piece_header(block));
        puppet.send_raw(&right_bytes(sample, &block)[..100]);
        kept.lock().unwrap().push(puppet);
    });
}

#[test]
fn hanging_up_in_the_middle_of_a_block() {
    survives(|mut puppet, sample| {
        puppet.has_all(sample);
        let block = puppet.next_request().unwrap();
        puppet.send_block(block, &right_bytes(sample, &block)[..5000]);
    });
}

#[test]
fn corrupt_blocks() {
    survives(|mut puppet, sample| {
        puppet.has_all(sample);
        // Until it is convicted, or nothing more is asked of it within a piece's worth of blocks.
        for _ in 0..4 {
            let Some(block) = puppet.next_request() else { return };
            let wrong: Vec<u8> = right_bytes(sample, &block).iter().map(|byte| !byte).collect();
            puppet.send_block(block, &wrong);
        }
    });
}

#[test]
fn haves_and_keep_alives_between_all_blocks() {
    run(async {
        let sample = Sample::single(1_000_001, 64 * 1024);
        let odd = puppet(&sample, |mut puppet, sample| {
            puppet.send(&Message::Unchoke);
            let mut next_have = 0..sample.metainfo.info.layout().count();
            puppet.send(&Message::Have(samara_engine::wire::id::PieceIndex(
                next_have.next().unwrap(),
            )));
            while let Some(block) = puppet.next_request() {
                puppet.send(&Message::KeepAlive);
                puppet.send_block(block, right_bytes(sample, &block));
                puppet.send(&Message::KeepAlive);
                if let Some(index) = next_have.next() {
                    puppet.send(&Message::Have(samara_engine::wire::id::PieceIndex(index)));
                }
                puppet.send_raw(&[0, 0, 0, 3, 200, 1, 2]);
            }
        });
        let (session, torrent, dir) = leech(&sample, &[odd]).await;
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        assert_eq!((status.stats.wasted, status.stats.corrupt), (0, 0));
        assert_eq!(status.stats.downloaded, 1_000_001);
        sample.assert_same(dir.path());
        session.shutdown().await;
    });
}

#[test]
fn a_stranger_that_dials_in_is_served_or_sent_away() {
    run(async {
        let sample = Sample::single(200_000, 32 * 1024);
        let (seed, torrent) = sample.seed().await;
        let at = addr(&seed);
        // For another torrent, or with another protocol: the connection ends.
        for bytes in [&[0x13; 68][..], b"GET / HTTP/1.0\r\n\r\n"] {
            let mut stream = TcpStream::connect(at).unwrap();
            stream.write_all(bytes).unwrap();
            let mut rest = Vec::new();
            // Reset or closed, but ended.
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.is_empty());
        }
        // A proper one that asks for more than a block buffer holds is served: 128 KiB are legal.
        let twin = sample.without_files();
        let served = std::thread::spawn(move || {
            let mut puppet = Puppet::shake(TcpStream::connect(at).unwrap(), &twin);
            puppet.send(&Message::Interested);
            while puppet.next() != Some(Message::Unchoke) {}
            let piece = samara_engine::wire::id::PieceIndex(1);
            let block = BlockRef { piece, begin: 1000, len: 31_000 };
            puppet.send(&Message::Request(block));
            let mut bytes = std::mem::take(&mut puppet.buffer);
            let mut more = [0; 4096];
            while bytes.len() < 13 + 31_000 {
                let n = puppet.stream.read(&mut more).unwrap();
                assert_ne!(n, 0);
                bytes.extend_from_slice(&more[..n]);
            }
            assert_eq!(bytes[..13], encode_piece_header(block));
            assert!(bytes[13..] == *right_bytes(&twin, &block));
        });
        tokio::task::spawn_blocking(move || served.join().unwrap()).await.unwrap();
        until(&torrent, |s| s.stats.uploaded == 31_000).await;
        seed.shutdown().await;
    });
}
