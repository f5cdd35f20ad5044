//! A leech that looks at what it gets: says when a client is ready to seed, and whether what it sends is right.

use super::leeches::connect;
use crate::interrupt;
use crate::payload::{self, Payload};
use anyhow::{Context, Result, ensure};
use samara_wire::id::PieceIndex;
use samara_wire::metainfo::Info;
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::handshake::{HANDSHAKE_LEN, Handshake};
use samara_wire::peer::message::{Message, PIECE_HEADER_LEN};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Pieces that are compared, at most so many bytes of them.
const SAMPLE: u64 = 16 << 20;

/// How long one answer may take. Some clients unchoke every ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two attempts to reach a client that is not ready yet.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the client at `client` has all of the torrent, and `alive` is still true.
pub(crate) fn wait_ready(
    from: Ipv4Addr,
    client: SocketAddrV4,
    info: &Info,
    limit: Duration,
    mut alive: impl FnMut() -> Result<()>,
) -> Result<()> {
    let begin = Instant::now();
    loop {
        let refused = match Conversation::begin(from, client, info).and_then(|mut c| c.whole(info))
        {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        alive()?;
        interrupt::check()?;
        ensure!(begin.elapsed() < limit, "the client does not seed after {limit:?}: {refused}");
        std::thread::sleep(PAUSE);
    }
}

/// Fetches some pieces, the last one among them, and compares them with the payload.
pub(crate) fn audit(from: Ipv4Addr, client: SocketAddrV4, payload: &Payload) -> Result<()> {
    let layout = payload.info.layout();
    let last = PieceIndex(layout.count() - 1);
    let some = SAMPLE / u64::from(layout.piece_len());
    let mut pieces = payload::mixed_order(layout.count());
    pieces.truncate(usize::try_from(some.clamp(1, 200))?);
    if !pieces.contains(&last) {
        pieces.push(last);
    }
    let image = File::open(&payload.image)?;
    let mut conversation = Conversation::begin(from, client, &payload.info)?;
    conversation.send(&Message::Interested)?;
    conversation.unchoked().context("the client does not unchoke the auditor")?;
    for piece in pieces {
        interrupt::check()?;
        let mut bytes = vec![0; layout.len_of(piece) as usize];
        image.read_exact_at(&mut bytes, layout.offset_of(piece))?;
        let got = conversation.piece(&payload.info, piece)?;
        ensure!(got == bytes, "the client sent wrong data of piece {}", piece.0);
    }
    Ok(())
}

/// A connection that blocks.
struct Conversation {
    stream: TcpStream,
    decoder: FrameDecoder,
    inbox: Vec<u8>,
    has: Vec<bool>,
    unchoked: bool,
}

impl Conversation {
    fn begin(from: Ipv4Addr, client: SocketAddrV4, info: &Info) -> io::Result<Self> {
        let mut stream = connect(from, client)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&super::handshake(info.hashes().wire(), from))?;
        let mut hello = [0; HANDSHAKE_LEN];
        stream.read_exact(&mut hello)?;
        let hello = Handshake::parse(&hello).map_err(io::Error::other)?;
        if !info.hashes().matches(&hello.info_hash) {
            return Err(io::Error::other("a handshake for another torrent"));
        }
        let pieces = info.layout().count();
        Ok(Self {
            stream,
            decoder: FrameDecoder::new(Some(pieces)),
            inbox: Vec::new(),
            has: vec![false; pieces as usize],
            unchoked: false,
        })
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes)
    }

    /// The next message, with what it says of pieces and choking taken note of.
    fn next(&mut self) -> io::Result<Frame> {
        loop {
            let needed = match self.decoder.decode(&self.inbox).map_err(io::Error::other)? {
                Decoded::NeedMore(needed) => needed,
                Decoded::Frame { frame, consumed } => {
                    self.inbox.drain(..consumed);
                    self.note(&frame);
                    return Ok(frame);
                }
            };
            let have = self.inbox.len();
            self.inbox.resize(needed, 0);
            self.stream.read_exact(&mut self.inbox[have..])?;
        }
    }

    fn note(&mut self, frame: &Frame) {
        match frame {
            Frame::Message(Message::Choke) => self.unchoked = false,
            Frame::Message(Message::Unchoke) => self.unchoked = true,
            Frame::Message(Message::HaveAll) => self.has.fill(true),
            Frame::Message(Message::Have(piece)) => {
                if let Some(has) = self.has.get_mut(piece.as_usize()) {
                    *has = true;
                }
            }
            Frame::Message(Message::Bitfield(bits)) => {
                for (i, has) in self.has.iter_mut().enumerate() {
                    *has |= bits[i / 8] & (0x80 >> (i % 8)) != 0;
                }
            }
            _ => {}
        }
    }

    /// Until the client has said that it has all pieces; an error if it says something else first and then nothing.
    fn whole(&mut self, info: &Info) -> io::Result<()> {
        self.stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        while !self.has.iter().all(|has| *has) {
            self.next()?;
        }
        debug_assert_eq!(self.has.len(), info.layout().count() as usize);
        Ok(())
    }

    fn unchoked(&mut self) -> io::Result<()> {
        while !self.unchoked {
            self.next()?;
        }
        Ok(())
    }

    /// All blocks of a piece; asked for anew after a choke.
    fn piece(&mut self, info: &Info, piece: PieceIndex) -> io::Result<Vec<u8>> {
        let layout = info.layout();
        let mut bytes = vec![0; layout.len_of(piece) as usize];
        let blocks: Vec<_> =
            (0..layout.blocks_in(piece)).filter_map(|i| layout.block(piece, i)).collect();
        let mut missing = blocks;
        while !missing.is_empty() {
            self.unchoked()?;
            let some = &missing[..missing.len().min(64)];
            for block in some {
                let mut request = Vec::with_capacity(PIECE_HEADER_LEN + 4);
                Message::Request(*block).encode(&mut request);
                self.stream.write_all(&request)?;
            }
            let mut waiting = some.len();
            while waiting > 0 && self.unchoked {
                let Frame::PieceHeader(block) = self.next()? else { continue };
                let Some(place) = missing.iter().position(|m| *m == block) else {
                    return Err(io::Error::other("the client sent a block nobody asked for"));
                };
                let begin = block.begin as usize;
                self.stream.read_exact(&mut bytes[begin..begin + block.len as usize])?;
                missing.remove(place);
                waiting -= 1;
            }
        }
        Ok(bytes)
    }
}
