//! Two peers that dial each other at the same time: the connection that is too many is kept in reserve, and takes over.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::State;
use samara_engine::wire::bitfield::Bitfield;
use samara_engine::wire::id::{BlockRef, PeerId};
use samara_engine::wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_engine::wire::peer::handshake::{HANDSHAKE_LEN, Handshake, Reserved};
use samara_engine::wire::peer::message::{Message, encode_piece_header};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use support::{Sample, addr, run, session, until};

/// One end of a connection with the session, played by the test. Both have the id of one peer, of another client.
struct End {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl End {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    fn greet(&mut self, sample: &Sample) {
        let ours = Handshake {
            reserved: Reserved::default(),
            info_hash: sample.metainfo.info.hashes().wire(),
            peer_id: PeerId(*b"-XX0000-bothconnects"),
        };
        self.stream.write_all(&ours.encode()).unwrap();
    }

    fn be_greeted(&mut self) {
        self.stream.read_exact(&mut [0; HANDSHAKE_LEN]).unwrap();
    }

    fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    fn hear(&mut self) -> Message {
        loop {
            match FrameDecoder::new(None).decode(&self.buffer).unwrap() {
                Decoded::Frame { frame, consumed } => {
                    self.buffer.drain(..consumed);
                    match frame {
                        Frame::Message(message) => return message,
                        frame => panic!("unexpected {frame:?}"),
                    }
                }
                Decoded::NeedMore(_) => {
                    let mut bytes = [0; 4096];
                    let n = self.stream.read(&mut bytes).unwrap();
                    assert_ne!(n, 0, "hung up");
                    self.buffer.extend_from_slice(&bytes[..n]);
                }
            }
        }
    }

    fn be_asked(&mut self) -> BlockRef {
        loop {
            if let Message::Request(block) = self.hear() {
                return block;
            }
        }
    }

    fn give(&mut self, sample: &Sample, block: BlockRef) {
        let start = (block.piece.0 * sample.metainfo.info.layout().piece_len()) as usize;
        let start = start + block.begin as usize;
        let mut bytes = encode_piece_header(block).to_vec();
        bytes.extend_from_slice(&sample.bytes()[start..start + block.len as usize]);
        self.stream.write_all(&bytes).unwrap();
    }

    fn have_all(&mut self, sample: &Sample) {
        let full = Bitfield::full(sample.metainfo.info.layout().count());
        self.say(&Message::Bitfield(full.as_bytes().into()));
        self.say(&Message::Unchoke);
    }
}

/// A peer that both dials `session` and is dialled by it, hangs up the connection that was first, and serves by the other.
fn cross(listener: &TcpListener, session: SocketAddr, sample: &Sample) {
    let mut dialled = End::new(listener.accept().unwrap().0);
    dialled.be_greeted();
    let mut first = End::new(TcpStream::connect(session).unwrap());
    first.greet(sample);
    first.be_greeted();
    // The other one is a second connection now, of a client that may close either.
    dialled.greet(sample);
    first.have_all(sample);
    // Whatever came before these was seen to.
    for _ in 0..3 {
        let block = first.be_asked();
        first.give(sample, block);
    }
    drop(first);
    dialled.have_all(sample);
    let blocks = sample.bytes().len().div_ceil(16 * 1024);
    for _ in 3..blocks {
        let block = dialled.be_asked();
        dialled.give(sample, block);
    }
}

#[test]
fn the_second_connection_takes_over_when_the_other_end_closes_the_first() {
    run(async {
        let sample = Sample::single(40 * 16 * 1024, 16 * 1024);
        let (dir, leech) = (tempfile::tempdir().unwrap(), session(None));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let (own, ours) = (sample.without_files(), addr(&leech));
        let peer = std::thread::spawn(move || cross(&listener, ours, &own));
        let torrent = leech.add(sample.add(dir.path(), &[there])).await.unwrap();
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        assert_eq!(status.stats.corrupt, 0);
        peer.join().unwrap();
        sample.assert_same(dir.path());
        leech.shutdown().await;
    });
}
