//! Leeches that ask for every piece in turn and let the kernel throw away what they get, all of them on one thread.
//!
//! Each takes the next piece of an order that all share and asks for its blocks one after the other, so many at a time that the client
//! under test always has something to do. What comes must have been asked for; whether its bytes are right is the [`super::auditor`]'s
//! question, since these never see them.

use super::link::Link;
use super::seeds::NAP;
use crate::interrupt;
use crate::network::Network;
use crate::payload::{self, Payload};
use anyhow::{Context, Result, anyhow, bail};
use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketType};
use samara_wire::id::{BlockRef, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::metainfo::Info;
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::handshake::{HANDSHAKE_LEN, Handshake, HandshakeError};
use samara_wire::peer::message::{Message, PIECE_HEADER_LEN};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

/// Requests that each leech keeps with the client: 2 MiB of blocks, and below what any client takes.
const PIPELINE: usize = 128;

/// Discarding stops after so many bytes a call.
const NOWHERE: usize = 256 << 10;

/// Nothing for so long means that nothing will come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What they got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leeched {
    /// Payload, in bytes.
    pub(crate) bytes: u64,
    /// From the first block to the last.
    pub(crate) time: Duration,
}

/// Takes payload from a client that seeds, with `count` leeches, until `goal` bytes have come.
/// `look` is called about every 10 ms; what it sees decides nothing.
pub(crate) fn run(
    network: Network,
    payload: &Payload,
    client: SocketAddrV4,
    count: u8,
    goal: u64,
    mut look: impl FnMut(),
) -> Result<Leeched> {
    let info = &payload.info;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut supply = Supply::new(info.layout());
    let mut peers = Vec::new();
    for i in 0..count {
        let stream =
            connect(network.leech(i), client).context("a synthetic leech cannot connect")?;
        let mut link = Link::new(stream, &poll, i.into())?;
        let hello = super::handshake(info.hashes().wire(), network.leech(i));
        link.outbox().extend_from_slice(&hello);
        link.flush(false)?;
        peers.push(Some(Peer::new(link, info.layout().count())));
    }
    let mut nowhere = vec![0; NOWHERE];
    let mut events = Vec::with_capacity(256);
    let (mut first, mut looked) = (None, Instant::now());
    let mut last = looked;
    while supply.received < goal {
        interrupt::check()?;
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&NAP))?;
        let now = Instant::now();
        if now - looked >= Duration::from_millis(10) {
            look();
            looked = now;
        }
        if events.is_empty() && now - last > PATIENCE {
            bail!("the client sent nothing for {PATIENCE:?}: {} of {goal} bytes", supply.received);
        }
        let before = supply.received;
        for event in events.drain(..) {
            let key = event.data.u64();
            let place = &mut peers[usize::try_from(key)?];
            let Some(peer) = place else { continue };
            match peer.handle(info, &mut supply, &mut nowhere) {
                Ok(blocked) => peer.link.wants_to_write(blocked, &poll, key)?,
                Err(error) => {
                    // Its share goes to the others; a client that drops all of its peers fails below.
                    supply.complain(&error);
                    *place = None;
                }
            }
        }
        if supply.received > before {
            last = now;
            first.get_or_insert(now);
        }
        if peers.iter().all(Option::is_none) {
            let why = supply.complaint.take();
            return Err(why.map_or_else(|| anyhow!("no leech is left"), |w| anyhow!("{w}")));
        }
    }
    if let Some(why) = supply.complaint {
        bail!("the client dropped a leech, or made it go: {why}");
    }
    let time = first.map(|first| last - first).unwrap_or_default();
    Ok(Leeched { bytes: supply.received, time })
}

/// Connects from an address of our own.
pub(super) fn connect(from: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// What all leeches share: which piece comes next, and how much has come.
struct Supply<'a> {
    layout: &'a PieceLayout,
    order: Vec<PieceIndex>,
    next: usize,
    received: u64,
    complaint: Option<String>,
}

impl<'a> Supply<'a> {
    fn new(layout: &'a PieceLayout) -> Self {
        let order = payload::mixed_order(layout.count());
        Self { layout, order, next: 0, received: 0, complaint: None }
    }

    /// The next piece; after the last the first again.
    fn next_piece(&mut self) -> PieceIndex {
        let piece = self.order[self.next];
        self.next = (self.next + 1) % self.order.len();
        piece
    }

    fn complain(&mut self, error: &io::Error) {
        self.complaint.get_or_insert_with(|| error.to_string());
    }
}

struct Peer {
    link: Link,
    decoder: FrameDecoder,
    greeted: bool,
    unchoked: bool,
    /// The piece being asked for, and its next block.
    piece: Option<(PieceIndex, u32)>,
    asked: VecDeque<BlockRef>,
    /// What is left of the block that is coming.
    payload: usize,
    /// How many bytes the inbox may hold: those of the next message, or of a header.
    limit: usize,
}

impl Peer {
    fn new(link: Link, pieces: u32) -> Self {
        Self {
            link,
            decoder: FrameDecoder::new(Some(pieces)),
            greeted: false,
            unchoked: false,
            piece: None,
            asked: VecDeque::with_capacity(PIPELINE),
            payload: 0,
            limit: HANDSHAKE_LEN,
        }
    }

    /// Reads what is there and asks for more. True if the stream is full of requests.
    fn handle(
        &mut self,
        info: &Info,
        supply: &mut Supply<'_>,
        nowhere: &mut [u8],
    ) -> io::Result<bool> {
        loop {
            while self.payload > 0 {
                let n = self.link.discard(self.payload, nowhere)?;
                if n == 0 {
                    return self.ask(supply);
                }
                self.payload -= n;
                supply.received += n as u64;
            }
            // Never more than one header, so that payload stays in the kernel.
            if !self.link.fill(self.limit)? {
                return self.ask(supply);
            }
            if !self.greeted {
                self.greeting(info)?;
            }
            while self.greeted && self.payload == 0 && self.message()? {}
        }
    }

    fn greeting(&mut self, info: &Info) -> io::Result<()> {
        match Handshake::parse(self.link.inbox()) {
            Ok(hello) if info.hashes().matches(&hello.info_hash) => {
                self.greeted = true;
                self.link.consume(HANDSHAKE_LEN);
                self.limit = PIECE_HEADER_LEN;
                Message::Interested.encode(self.link.outbox());
                Ok(())
            }
            Err(HandshakeError::Short(_)) => Ok(()),
            Ok(_) => Err(io::Error::other("a handshake for another torrent")),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Understands one message; false if there is none.
    fn message(&mut self) -> io::Result<bool> {
        let decoded = self.decoder.decode(self.link.inbox()).map_err(io::Error::other)?;
        let (frame, consumed) = match decoded {
            Decoded::Frame { frame, consumed } => (frame, consumed),
            Decoded::NeedMore(needed) => {
                self.limit = needed.max(PIECE_HEADER_LEN);
                return Ok(false);
            }
        };
        self.link.consume(consumed);
        self.limit = PIECE_HEADER_LEN;
        match frame {
            Frame::PieceHeader(block) => {
                let place = self.asked.iter().position(|asked| *asked == block);
                let place = place.ok_or_else(|| io::Error::other("a block nobody asked for"))?;
                self.asked.remove(place);
                self.payload = block.len as usize;
            }
            Frame::Message(Message::Unchoke) => self.unchoked = true,
            // BEP 3: what was asked for is forgotten with a choke.
            Frame::Message(Message::Choke) => {
                self.unchoked = false;
                self.asked.clear();
            }
            Frame::Message(_) | Frame::Unknown(_) => {}
        }
        Ok(true)
    }

    fn ask(&mut self, supply: &mut Supply<'_>) -> io::Result<bool> {
        // A quarter of the pipeline at a time, so that one call carries many requests.
        if self.unchoked && self.asked.len() <= PIPELINE * 3 / 4 {
            while self.asked.len() < PIPELINE {
                let (piece, index) = self.piece.unwrap_or_else(|| (supply.next_piece(), 0));
                let Some(block) = supply.layout.block(piece, index) else {
                    self.piece = None;
                    continue;
                };
                self.piece = Some((piece, index + 1));
                self.asked.push_back(block);
                Message::Request(block).encode(self.link.outbox());
            }
        }
        Ok(!self.link.flush(false)?)
    }
}
