//! One UDP socket, with what the system offers for many datagrams at a time.

use crate::network::Source;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
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

/// A bound socket. May be sent from on any thread.
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    is_ipv4: bool,
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
        Ok(Self { io, state, is_ipv4 })
    }

    pub(crate) const fn is_ipv4(&self) -> bool {
        self.is_ipv4
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
        self.io.send_to(datagram, to).map(|_| ())
    }

    /// Datagrams that [`Socket::send_many`] takes at most.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends datagrams of `segment` bytes each, but for the last that may be shorter.
    pub(crate) fn send_many(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
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

    /// Reads what has come, at most as much as there is memory for, and gives it to `take`: the address, the datagrams one
    /// after another, and the length of each but the last.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        events: &tokio::net::UdpSocket,
        mut take: impl FnMut(SocketAddr, &[u8], usize),
    ) -> io::Result<()> {
        let mut rest = self.memory.chunks_exact_mut(self.piece);
        let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        let slices = &mut slices[..self.metas.len()];
        let count = events.try_io(Interest::READABLE, || {
            socket.state.recv((&socket.io).into(), slices, &mut self.metas)
        })?;
        for (meta, slice) in self.metas.iter().zip(slices).take(count) {
            let len = meta.len.min(slice.len());
            if len > 0 {
                take(meta.addr, &slice[..len], meta.stride.max(1));
            }
        }
        Ok(())
    }
}
