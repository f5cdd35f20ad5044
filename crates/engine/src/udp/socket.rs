//! One UDP socket, with what the system offers for many datagrams at a time.
//!
//! A socket may be *relayed*: connected to the relay of a proxy. Then it takes datagrams for either family and gives each
//! the header that says where it goes, and what comes has one that says where it came from. Each header is part of a datagram, so
//! they go one by one.

use crate::network::Source;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use samara_wire::proxy::{Target, udp as proxied};
use socket2::{Domain, Protocol, SockRef, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::Interest;

/// Pieces of memory read at a time, where one can hold many datagrams and where it cannot.
const PIECES: (usize, usize) = (8, 32);

/// Length of a piece, in bytes, in either case. No datagram spoken here is longer than Ethernet carries; what is
/// longer is cut, and found wrong by who reads it.
const PIECE_LEN: (usize, usize) = (1 << 16, 2048);

/// Asked of the system for datagrams that wait to be read or sent, in bytes. It gives what it allows.
const BUFFER: usize = 2 << 20;

/// Opens a socket at exactly this address and device.
pub(crate) fn bind(source: &Source, port: u16) -> io::Result<UdpSocket> {
    let domain = if source.ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if source.ip.is_ipv6() {
        // So that IPv4 never appears as mapped addresses, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    source.bind(&socket, port)?;
    Ok(socket.into())
}

/// Bytes of the header for a relay, by the family of who is meant: ten, or twelve more.
const RELAY_HEADERS: (u16, u16) = (10, 22);

/// A bound socket. May be sent from on any thread.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    is_ipv4: bool,
    /// The relay of a proxy that it is connected to.
    relay: Option<SocketAddr>,
    /// Nothing is sent any more.
    shut: AtomicBool,
}

impl Socket {
    pub(super) fn new(io: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&io).into())?;
        for set in [UdpSocketState::set_recv_buffer_size, UdpSocketState::set_send_buffer_size] {
            if let Err(error) = set(&state, (&io).into(), BUFFER) {
                tracing::debug!(%error, "the system's buffers for UDP stay as they are");
            }
        }
        let is_ipv4 = io.local_addr()?.is_ipv4();
        Ok(Self { io, state, is_ipv4, relay: None, shut: AtomicBool::new(false) })
    }

    /// One that is connected to the relay of a proxy.
    ///
    /// # Errors
    /// If it is not connected, or the system has no more resources.
    pub(crate) fn relayed(io: UdpSocket) -> io::Result<Self> {
        let relay = Some(io.peer_addr()?);
        Ok(Self { relay, ..Self::new(io)? })
    }

    /// Whether it takes datagrams for the family of `v4`. What becomes of them behind a relay is not known here.
    pub(crate) const fn carries(&self, v4: bool) -> bool {
        self.relay.is_some() || self.is_ipv4 == v4
    }

    /// From now on nothing is sent.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Release);
    }

    /// How long datagrams may be, in bytes, for peers of IPv4 and of IPv6, where these are the lengths (at least, at most) without a
    /// relay. With one they have to fit into a datagram to it together with their header.
    pub(crate) fn lengths(&self, v4: (u16, u16), v6: (u16, u16)) -> [(u16, u16); 2] {
        let Some(relay) = self.relay else { return [v4, v6] };
        let way = if relay.is_ipv4() { v4 } else { v6 };
        let fit =
            |own: (u16, u16), header: u16| (own.0.min(way.0 - header), own.1.min(way.1 - header));
        [fit(v4, RELAY_HEADERS.0), fit(v6, RELAY_HEADERS.1)]
    }

    /// From which of our addresses datagrams go to `to` as things stand; `None` if that cannot be told.
    pub(crate) fn local_ip(&self, to: SocketAddr) -> Option<IpAddr> {
        let own = self.io.local_addr().ok()?.ip();
        if !own.is_unspecified() {
            return Some(own);
        }
        // Connecting a socket sends nothing; it has the system look where the way begins.
        let probe = UdpSocket::bind((own, 0)).ok()?;
        probe.connect(to).ok()?;
        Some(probe.local_addr().ok()?.ip())
    }

    /// Tells when there is something to read, or room to write.
    ///
    /// # Errors
    /// If the event loop does not take the socket.
    pub(crate) fn events(&self) -> io::Result<tokio::net::UdpSocket> {
        tokio::net::UdpSocket::from_std(self.io.try_clone()?)
    }

    /// Sends a datagram. Straight to the system and not by way of the event loop, which would first have to learn that there
    /// is room.
    pub(crate) fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        if self.relay.is_some() {
            return self.send_by_relay(&to.into(), datagram);
        }
        self.io.send_to(datagram, to).map(|_| ())
    }

    /// Sends a datagram by way of the relay, to a host by address or by name.
    ///
    /// # Errors
    /// If the system does not take it, there is no relay, or nothing is to be sent any more.
    pub(crate) fn send_by_relay(&self, to: &Target, datagram: &[u8]) -> io::Result<()> {
        if self.relay.is_none() || self.shut.load(Ordering::Acquire) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut header = Vec::with_capacity(32);
        proxied::encode_header(to, &mut header);
        let parts = [IoSlice::new(&header), IoSlice::new(datagram)];
        SockRef::from(&self.io).send_vectored(&parts).map(|_| ())
    }

    /// Datagrams that [`Socket::send_many`] takes at most.
    pub(crate) fn max_segments(&self) -> usize {
        if self.relay.is_some() { 1 } else { self.state.max_gso_segments() }
    }

    /// Sends datagrams of `segment` bytes each, but for the last that may be shorter.
    pub(crate) fn send_many(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        if self.relay.is_some() {
            let to = to.into();
            return bytes.chunks(segment).try_for_each(|one| self.send_by_relay(&to, one));
        }
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: (bytes.len() > segment).then_some(segment),
            src_ip: None,
        };
        self.state.try_send((&self.io).into(), &transmit)
    }
}

/// Memory to read into.
pub(super) struct Inbox {
    memory: Vec<u8>,
    piece: usize,
    metas: Vec<RecvMeta>,
}

impl Inbox {
    pub(super) fn new(socket: &Socket) -> Self {
        let joins = socket.state.gro_segments() > 1;
        let (pieces, piece) = if joins { (PIECES.0, PIECE_LEN.0) } else { (PIECES.1, PIECE_LEN.1) };
        let pieces = pieces.min(quinn_udp::BATCH_SIZE);
        Self { memory: vec![0; pieces * piece], piece, metas: vec![RecvMeta::default(); pieces] }
    }

    /// Reads what has come, at most as much as there is memory for, and gives it to `take`: who it is from, the datagrams one
    /// after another, and the length of each but the last. A name may be told by a relay alone.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        events: &tokio::net::UdpSocket,
        mut take: impl FnMut(&Target, &[u8], usize),
    ) -> io::Result<()> {
        let mut rest = self.memory.chunks_exact_mut(self.piece);
        let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        let slices = &mut slices[..self.metas.len()];
        let count = events.try_io(Interest::READABLE, || {
            socket.state.recv((&socket.io).into(), slices, &mut self.metas)
        })?;
        for (meta, slice) in self.metas.iter().zip(slices).take(count) {
            let bytes = &slice[..meta.len.min(slice.len())];
            let stride = meta.stride.max(1);
            match socket.relay {
                _ if bytes.is_empty() => {}
                None => take(&Target::Address(meta.addr), bytes, stride),
                Some(relay) if is_same(relay, meta.addr) => {
                    bytes.chunks(stride).for_each(|datagram| unwrap(datagram, &mut take));
                }
                // It came before the socket was connected.
                Some(_) => tracing::debug!(from = %meta.addr, "a datagram past the proxy"),
            }
        }
        Ok(())
    }
}

/// Takes the header off a datagram from a relay. Parts of datagrams are dropped, and what has no sender that could be answered.
fn unwrap(datagram: &[u8], take: &mut impl FnMut(&Target, &[u8], usize)) {
    match proxied::decode(datagram) {
        Ok((from, payload)) if from.port() != 0 && !payload.is_empty() => {
            let from = match from {
                Target::Address(addr) => addr.into(),
                name @ Target::Name(..) => name,
            };
            take(&from, payload, payload.len());
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "dropped"),
    }
}

fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}
