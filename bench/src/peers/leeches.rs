//! Leeches that ask for every piece in turn and let the kernel throw away what they get, all of them on one thread.
//!
//! Of a client that seeds each takes the next piece of an order that all share and asks for its blocks one after the other, so many at a time that the client
//! under test always has something to do. What comes must have been asked for; whether its bytes are right is the [`super::auditor`]'s
//! question, since these never see them.

use super::link::Link;
use super::seeds::NAP;
use crate::interrupt;
use crate::network::Network;
use crate::payload::{self, Payload};
use anyhow::{Context, Result, bail};
use rustix::event::epoll;
use rustix::fd::OwnedFd;
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
use std::sync::atomic::{AtomicBool, Ordering};
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
    let order = payload::mixed_order(payload.info.layout().count());
    let mut leeches =
        Leeches::connect(network, payload, client, count, Wish::All { order, next: 0 })
            .context("a synthetic leech cannot connect")?;
    let (mut first, mut looked) = (None, Instant::now());
    let mut last = looked;
    while leeches.supply.received < goal {
        interrupt::check()?;
        let before = leeches.supply.received;
        leeches.step()?;
        let now = Instant::now();
        if now - looked >= Duration::from_millis(10) {
            look();
            looked = now;
        }
        let received = leeches.supply.received;
        if received > before {
            last = now;
            first.get_or_insert(now);
        }
        if now - last > PATIENCE {
            bail!("the client sent nothing for {PATIENCE:?}: {received} of {goal} bytes");
        }
        if leeches.all_gone() {
            break;
        }
    }
    if let Some(why) = leeches.supply.complaint {
        bail!("the client dropped a leech, or made it go: {why}");
    }
    let time = first.map(|first| last - first).unwrap_or_default();
    Ok(Leeched { bytes: leeches.supply.received, time })
}

/// Takes from a client that downloads what it says it has, with `count` leeches, until `stop` or until it ends. Returns the bytes that
/// came.
pub(crate) fn follow(
    network: Network,
    payload: &Payload,
    client: SocketAddrV4,
    count: u8,
    stop: &AtomicBool,
) -> Result<u64> {
    let mut received = 0;
    while count > 0 && !stop.load(Ordering::Relaxed) {
        // It does not listen yet, or turns everybody away while it starts.
        let Ok(mut leeches) = Leeches::connect(network, payload, client, count, Wish::Announced)
        else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !stop.load(Ordering::Relaxed) && !leeches.all_gone() {
            leeches.step()?;
        }
        received += leeches.supply.received;
        match leeches.supply.complaint {
            Some(why) if why.kind() == io::ErrorKind::Other => return Err(why.into()),
            _ => {}
        }
    }
    Ok(received)
}

/// Leeches of one client, on one thread.
struct Leeches<'a> {
    info: &'a Info,
    poll: OwnedFd,
    /// Those that the client has not dropped.
    peers: Vec<Option<Peer>>,
    supply: Supply<'a>,
    nowhere: Vec<u8>,
    events: Vec<epoll::Event>,
}

impl<'a> Leeches<'a> {
    fn connect(
        network: Network,
        payload: &'a Payload,
        client: SocketAddrV4,
        count: u8,
        wish: Wish,
    ) -> io::Result<Self> {
        let info = &payload.info;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut peers = Vec::new();
        for i in 0..count {
            let stream = connect(network.leech(i), client)?;
            let mut link = Link::new(stream, &poll, i.into())?;
            let hello = super::handshake(info.hashes().wire(), network.leech(i));
            link.outbox().extend_from_slice(&hello);
            link.flush(false)?;
            peers.push(Some(Peer::new(link, info.layout().count())));
        }
        let supply = Supply { layout: info.layout(), wish, received: 0, complaint: None };
        let (nowhere, events) = (vec![0; NOWHERE], Vec::with_capacity(256));
        Ok(Self { info, poll, peers, supply, nowhere, events })
    }

    fn all_gone(&self) -> bool {
        self.peers.iter().all(Option::is_none)
    }

    /// Waits for something to happen, not for long, and deals with it. The share of a leech that is dropped goes to the others.
    fn step(&mut self) -> io::Result<()> {
        let Self { info, poll, peers, supply, nowhere, events } = self;
        epoll::wait(&*poll, rustix::buffer::spare_capacity(events), Some(&NAP))?;
        for event in events.drain(..) {
            let key = event.data.u64();
            let place = &mut peers[usize::try_from(key).map_err(io::Error::other)?];
            let Some(peer) = place else { continue };
            match peer.handle(info, supply, nowhere) {
                Ok(blocked) => peer.link.wants_to_write(blocked, poll, key)?,
                Err(error) => {
                    supply.complaint.get_or_insert(error);
                    *place = None;
                }
            }
        }
        Ok(())
    }
}

/// Connects from an address of our own.
pub(super) fn connect(from: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// Which pieces leeches ask for.
enum Wish {
    /// All in this order, and then again; each goes to one of them.
    All { order: Vec<PieceIndex>, next: usize },
    /// Each asks for every piece that the client announces to it.
    Announced,
}

/// What all leeches share.
struct Supply<'a> {
    layout: &'a PieceLayout,
    wish: Wish,
    /// Payload, in bytes.
    received: u64,
    /// Why the first of those that are gone is gone.
    complaint: Option<io::Error>,
}

struct Peer {
    link: Link,
    decoder: FrameDecoder,
    greeted: bool,
    unchoked: bool,
    /// The piece being asked for, and its next block.
    piece: Option<(PieceIndex, u32)>,
    asked: VecDeque<BlockRef>,
    /// Pieces that the client has announced and that were not asked for.
    announced: VecDeque<PieceIndex>,
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
            announced: VecDeque::new(),
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
            Frame::Message(Message::Have(piece)) => self.announced.push_back(piece),
            Frame::Message(_) | Frame::Unknown(_) => {}
        }
        Ok(true)
    }

    fn next_piece(&mut self, supply: &mut Supply<'_>) -> Option<PieceIndex> {
        match &mut supply.wish {
            Wish::Announced => self.announced.pop_front(),
            Wish::All { order, next } => {
                let piece = order[*next];
                *next = (*next + 1) % order.len();
                Some(piece)
            }
        }
    }

    fn ask(&mut self, supply: &mut Supply<'_>) -> io::Result<bool> {
        // A quarter of the pipeline at a time, so that one call carries many requests.
        if self.unchoked && self.asked.len() <= PIPELINE * 3 / 4 {
            while self.asked.len() < PIPELINE {
                let next = self.piece.or_else(|| Some((self.next_piece(supply)?, 0)));
                let Some((piece, index)) = next else { break };
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
