//! Seeds that send with `sendfile` from the image of a payload, all of them on one thread.

use super::link::Link;
use crate::network::Network;
use crate::payload::Payload;
use anyhow::{Context, Result};
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::BlockRef;
use samara_wire::metainfo::Info;
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::handshake::{HANDSHAKE_LEN, Handshake};
use samara_wire::peer::message::{Message, encode_piece_header};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most requests of one client that wait. More is a flood, and the connection ends.
const MAX_REQUESTS: usize = 4096;

/// How long the thread sleeps at most before it looks whether it shall end.
pub(super) const NAP: rustix::time::Timespec =
    rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Seeds at work; dropping them ends them.
pub(crate) struct Seeds {
    /// Where they listen.
    pub(crate) addresses: Vec<SocketAddrV4>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<Seeded>>>,
}

/// What the seeds of a transfer sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeded {
    /// Payload, in bytes.
    pub(crate) bytes: u64,
    /// From the first request to the last byte sent.
    pub(crate) time: Duration,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    first_request: OnceLock<Instant>,
}

impl Seeds {
    /// Starts `count` seeds, each at an address of its own.
    pub(crate) fn start(network: Network, payload: &Payload, count: u8) -> Result<Self> {
        let listeners: Vec<TcpListener> = (0..count)
            .map(|i| TcpListener::bind((network.seed(i), 0)))
            .collect::<io::Result<_>>()
            .context("a synthetic seed cannot listen")?;
        let mut addresses = Vec::new();
        for listener in &listeners {
            listener.set_nonblocking(true)?;
            if let SocketAddr::V4(address) = listener.local_addr()? {
                addresses.push(address);
            }
        }
        let image = File::open(&payload.image)?;
        let shared = Arc::<Shared>::default();
        let mut seeding = Seeding {
            info: payload.info.clone(),
            image,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listeners,
            peers: Vec::new(),
            shared: Arc::clone(&shared),
            sent: 0,
            last: Instant::now(),
        };
        let thread =
            std::thread::Builder::new().name("seeds".into()).spawn(move || seeding.run())?;
        Ok(Self { addresses, shared, thread: Some(thread) })
    }

    /// When the client first asked for a block; `None` as long as it has not.
    pub(crate) fn first_request(&self) -> Option<Instant> {
        self.shared.first_request.get().copied()
    }

    /// Ends them, and says what they did.
    pub(crate) fn stop(mut self) -> Result<Seeded> {
        self.end().context("the synthetic seeds failed")
    }

    fn end(&mut self) -> io::Result<Seeded> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| io::Error::other("they have ended"))?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a panic")))
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        // What went wrong is told by `stop`; here another error is on its way already.
        let _ = self.end();
    }
}

struct Seeding {
    info: Info,
    image: File,
    poll: OwnedFd,
    listeners: Vec<TcpListener>,
    /// Connections; a place is empty once its connection has ended.
    peers: Vec<Option<Peer>>,
    shared: Arc<Shared>,
    /// Payload sent so far, in bytes, and when the last of it was.
    sent: u64,
    last: Instant,
}

struct Peer {
    link: Link,
    address: Ipv4Addr,
    greeted: bool,
    requests: VecDeque<BlockRef>,
    /// What is left of the block under way: where it lies in the image, and how many bytes.
    block: (u64, usize),
}

impl Seeding {
    fn run(&mut self) -> io::Result<Seeded> {
        for (listener, key) in self.listeners.iter().zip(0..) {
            let data = epoll::EventData::new_u64(key);
            epoll::add(&self.poll, listener, data, epoll::EventFlags::IN)?;
        }
        let mut events = Vec::with_capacity(256);
        while !self.shared.stop.load(Ordering::Relaxed) {
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&NAP))?;
            for event in events.drain(..) {
                let key = event.data.u64();
                let at = usize::try_from(key).map_err(io::Error::other)?;
                match at.checked_sub(self.listeners.len()) {
                    None => self.accept(at)?,
                    Some(at) => self.serve(at, key),
                }
            }
        }
        let first = self.shared.first_request.get().copied().unwrap_or(self.last);
        Ok(Seeded { bytes: self.sent, time: self.last.saturating_duration_since(first) })
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        let (stream, _) = match self.listeners[listener].accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        let SocketAddr::V4(address) = stream.local_addr()? else { return Ok(()) };
        let key = (self.listeners.len() + self.peers.len()) as u64;
        self.peers.push(Some(Peer {
            link: Link::new(stream, &self.poll, key)?,
            address: *address.ip(),
            greeted: false,
            requests: VecDeque::new(),
            block: (0, 0),
        }));
        Ok(())
    }

    /// Does what there is to do for one connection. What is no plain BitTorrent ends it: a client that began with encryption comes back.
    fn serve(&mut self, at: usize, key: u64) {
        let Some(peer) = &mut self.peers[at] else { return };
        let before = self.sent;
        let served = peer
            .read(&self.info, &self.shared)
            .and_then(|()| peer.write(&self.info, &self.image, &mut self.sent))
            .and_then(|blocked| peer.link.wants_to_write(blocked, &self.poll, key));
        if served.is_err() {
            self.peers[at] = None;
        }
        if self.sent > before {
            self.last = Instant::now();
        }
    }
}

impl Peer {
    fn read(&mut self, info: &Info, shared: &Shared) -> io::Result<()> {
        let pieces = info.layout().count();
        let decoder = FrameDecoder::new(Some(pieces));
        while self.link.fill(usize::MAX)? {
            if !self.greeted {
                match Handshake::parse(self.link.inbox()) {
                    Ok(hello) if info.hashes().matches(&hello.info_hash) => {
                        let ours = super::handshake(hello.info_hash, self.address);
                        self.greet(&ours, pieces);
                    }
                    Err(samara_wire::peer::handshake::HandshakeError::Short(_)) => continue,
                    Ok(_) | Err(_) => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
            let mut taken = 0;
            loop {
                let inbox = &self.link.inbox()[taken..];
                let decoded = decoder.decode(inbox).map_err(io::Error::other)?;
                let Decoded::Frame { frame, consumed } = decoded else { break };
                taken += consumed;
                let Frame::Message(message) = frame else { continue };
                self.handle(&message, info, shared)?;
            }
            self.link.consume(taken);
        }
        Ok(())
    }

    fn greet(&mut self, handshake: &[u8], pieces: u32) {
        self.greeted = true;
        self.link.consume(HANDSHAKE_LEN);
        let outbox = self.link.outbox();
        outbox.extend_from_slice(handshake);
        Message::Bitfield(Bitfield::full(pieces).as_bytes().into()).encode(outbox);
        Message::Unchoke.encode(outbox);
    }

    fn handle(&mut self, message: &Message, info: &Info, shared: &Shared) -> io::Result<()> {
        match message {
            Message::Request(block) => {
                if !info.layout().contains(block) || self.requests.len() >= MAX_REQUESTS {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                shared.first_request.get_or_init(Instant::now);
                self.requests.push_back(*block);
            }
            Message::Cancel(block) => self.requests.retain(|waiting| waiting != block),
            _ => {}
        }
        Ok(())
    }

    /// Sends until the stream is full, which gives true, or nothing is left. Adds what it has sent to `sent`.
    fn write(&mut self, info: &Info, image: &File, sent: &mut u64) -> io::Result<bool> {
        loop {
            let (offset, left) = &mut self.block;
            if !self.link.flush(*left > 0)? {
                return Ok(true);
            }
            while *left > 0 {
                match rustix::fs::sendfile(&self.link.stream, image, Some(offset), *left) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(n) => {
                        *left -= n;
                        *sent += n as u64;
                    }
                    Err(rustix::io::Errno::AGAIN) => return Ok(true),
                    Err(error) => return Err(error.into()),
                }
            }
            let Some(block) = self.requests.pop_front() else { return Ok(false) };
            let place = info.layout().offset_of(block.piece) + u64::from(block.begin);
            self.block = (place, block.len as usize);
            self.link.outbox().extend_from_slice(&encode_piece_header(block));
        }
    }
}
