//! Many connections over one socket.
//!
//! The contract with the shell:
//!
//! - Datagrams whose first byte may be uTP's go to [`Endpoint::handle_datagrams`], in the order they came. What is to be told to
//!   the owners of connections is in the [`Outbox`] when the call returns, once for all that came together.
//! - After anything that was done, [`Endpoint::poll_transmit`] is called until it gives nothing, and what it gives is sent. A
//!   datagram that cannot be sent is lost, which is made up for. Called once for a batch of datagrams
//!   received, it acknowledges all of them at once.
//! - At [`Endpoint::next_timeout`], [`Endpoint::handle_timeout`] is called.
//! - A [`ConnectionKey`] is valid from [`Endpoint::connect`] or [`Event::Accepted`] until [`Endpoint::close`] or
//!   [`Endpoint::abort`]; also when the connection has ended meanwhile.
//!
//! Bounded are connections, connections that are not open yet, the memory of each, and the memory of all receive windows
//! together. Nothing scans all connections: those with something to send stand in a queue, time-outs in a tree.

mod table;

#[cfg(test)]
mod tests;

use crate::congestion::{Congestion, Ledbat};
use crate::connection::{CloseReason, Connection, Output, State, StreamError};
use crate::send::Batch;
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::rng::Rng;
use samara_wire::time::{Duration, Instant};
use samara_wire::utp::{ConnectionId, HEADER_LEN, Header, MAX_SACK_LEN, Packet, PacketType, SeqNr};
use table::Table;

/// Answers to datagrams of no connection that may wait to be sent.
const MAX_RESETS: usize = 32;

/// Tries to find a connection id that is free.
const ID_ATTEMPTS: usize = 64;

/// What an endpoint may take, and how it is to behave.
#[derive(Clone, Debug)]
pub struct UtpConfig {
    /// Makes the endpoint's numbers; to be kept from the network.
    pub seed: [u8; 32],
    /// Connections at most, of whatever kind and state.
    pub max_connections: usize,
    /// Connections at most that peers asked for and have not proven to be there. The oldest goes for a new one.
    pub max_half_open: usize,
    /// Bytes that a connection may receive without their being read: at first, and at most.
    pub receive_buffer: (usize, usize),
    /// Bytes of receive buffers beyond the first ones, over all connections.
    pub receive_budget: usize,
    /// Bytes in flight at most, of each connection.
    pub max_window: u32,
    /// Content of a UDP datagram over IPv4, in bytes: what gets through everywhere, and what is tried at most. Longer than Ethernet
    /// carries is not safe: other clients read into buffers of that size, and take what was cut for whole.
    pub datagram_v4: (u16, u16),
    /// The same over IPv6.
    pub datagram_v6: (u16, u16),
    /// The control law of a connection, from the payload of its packets and `max_window`.
    pub congestion: fn(u32, u32) -> Box<dyn Congestion + Send>,
}

impl UtpConfig {
    /// What suits a client.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            max_connections: 1000,
            max_half_open: 256,
            receive_buffer: (256 << 10, 8 << 20),
            receive_budget: 64 << 20,
            max_window: 8 << 20,
            datagram_v4: (576 - 28, 1500 - 28),
            datagram_v6: (1280 - 48, 1500 - 48),
            congestion: |packet, max| Box::new(Ledbat::new(packet, max)),
        }
    }

    pub(crate) const fn datagram(&self, peer: SocketAddr) -> (u16, u16) {
        if peer.is_ipv4() { self.datagram_v4 } else { self.datagram_v6 }
    }
}

/// Names a connection of an endpoint. None is used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionKey {
    index: usize,
    generation: u64,
}

/// What owners of connections are to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A connection that we asked for is open.
    Connected(ConnectionKey),
    /// A peer has opened a connection, and is where it says to be.
    Accepted(ConnectionKey, SocketAddr),
    /// There is something to read: bytes, or the end.
    Readable(ConnectionKey),
    /// There is room to write again.
    Writable(ConnectionKey),
    /// The connection is no more. What has arrived can still be read.
    Closed(ConnectionKey, CloseReason),
}

/// Events in the order they happened. Reused from call to call; the shell drains it after each.
#[derive(Debug, Default)]
pub struct Outbox {
    events: Vec<Event>,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { events: Vec::new() }
    }

    /// Takes all events out, oldest first, keeping the memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.events.drain(..)
    }
}

/// Datagrams to be sent to one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// One datagram after another.
    pub contents: &'a [u8],
    /// The length of each, but for the last that may be shorter.
    pub segment: usize,
}

/// Why a connection cannot be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// All that may be are in use.
    #[error("all uTP connections are in use")]
    TooMany,
    /// No connection id is free for that address.
    #[error("too many uTP connections with this peer")]
    NoId,
}

/// What a connection has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionStats {
    /// The peer.
    pub peer: SocketAddr,
    /// The usual round trip, if measured.
    pub rtt: Option<Duration>,
    /// Time in queues on the way there, as last measured.
    pub queueing: Option<Duration>,
    /// Bytes of payload that may be in flight.
    pub window: usize,
    /// Bytes of payload in flight.
    pub in_flight: usize,
    /// Bytes that may be received without being read.
    pub receive_window: usize,
    /// Payload of a full packet.
    pub packet: usize,
    /// Packets of the stream that were sent, each as often as it was.
    pub transmissions: u64,
    /// Of those, how many were taken for lost.
    pub losses: u64,
    /// Times that nothing was heard for so long that all was sent again.
    pub timeouts: u32,
}

/// All uTP connections of one socket, or of several that make one.
pub struct Endpoint {
    config: UtpConfig,
    rng: Rng,
    table: Table,
    /// Connections that may have something to be sent.
    ready: VecDeque<usize>,
    /// When which connection wants to be called. Each has one entry at most, which may be early.
    timers: BTreeSet<(Instant, usize)>,
    /// Connections that peers asked for, oldest first; some of them may be more than half open by now.
    half_open: VecDeque<ConnectionKey>,
    resets: VecDeque<(SocketAddr, [u8; HEADER_LEN])>,
    /// Bytes of receive buffers beyond the first ones.
    lent: usize,
    scratch: Vec<u8>,
}

impl Endpoint {
    /// An endpoint without connections.
    #[must_use]
    pub fn new(config: UtpConfig) -> Self {
        let longest = usize::from(config.datagram_v4.1.max(config.datagram_v6.1));
        Self {
            rng: Rng::new(config.seed),
            table: Table::default(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            half_open: VecDeque::new(),
            resets: VecDeque::new(),
            lent: 0,
            scratch: vec![0; longest.max(HEADER_LEN + 2 + MAX_SACK_LEN)],
            config,
        }
    }

    /// Connections of whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no connections.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Asks `peer` for a connection. What comes of it is told as [`Event::Connected`] or [`Event::Closed`].
    ///
    /// # Errors
    /// If there are too many.
    pub fn connect(
        &mut self,
        now: Instant,
        peer: SocketAddr,
    ) -> Result<ConnectionKey, ConnectError> {
        if self.table.len() >= self.config.max_connections {
            return Err(ConnectError::TooMany);
        }
        let id = (0..ID_ATTEMPTS)
            .map(|_| ConnectionId(next_u16(&mut self.rng)))
            .find(|id| !self.table.contains(peer, *id))
            .ok_or(ConnectError::NoId)?;
        let syn = SeqNr(next_u16(&mut self.rng));
        let connection = Connection::connect(now, peer, id, syn, &self.config);
        let key = self.table.insert(connection);
        self.settle(key.index, &mut Outbox::new());
        Ok(key)
    }

    /// Datagrams came together from one address. One that was cut short in reading is for the shell to have dropped.
    pub fn handle_datagrams<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagrams: impl IntoIterator<Item = &'a [u8]>,
        out: &mut Outbox,
    ) {
        // Most that come together are of one connection: what is to be done after each is done once.
        let mut unsettled = None;
        for datagram in datagrams {
            let Ok(packet) = Packet::parse(datagram) else { continue };
            let index = match packet.header.kind {
                PacketType::Syn | PacketType::Reset => None,
                _ => self.table.find(from, packet.header.connection),
            };
            if let Some(before) = unsettled.filter(|before| Some(*before) != index) {
                self.settle(before, out);
            }
            unsettled = index;
            match packet.header.kind {
                PacketType::Syn => self.on_syn(now, from, &packet, out),
                PacketType::Reset => self.on_reset(from, &packet, out),
                PacketType::Data | PacketType::Fin | PacketType::State => {
                    match index.and_then(|index| self.table.get_mut(index)) {
                        Some(connection) => connection.handle(now, &packet),
                        None => self.push_reset(now, from, &packet.header),
                    }
                }
            }
        }
        if let Some(index) = unsettled {
            self.settle(index, out);
        }
    }

    /// A datagram came alone: see [`Endpoint::handle_datagrams`].
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        self.handle_datagrams(now, from, core::iter::once(datagram), out);
    }

    fn on_syn(&mut self, now: Instant, from: SocketAddr, packet: &Packet<'_>, out: &mut Outbox) {
        let Header { connection: id, seq, .. } = packet.header;
        let receive_id = ConnectionId(id.0.wrapping_add(1));
        if let Some(index) = self.table.find(from, receive_id) {
            if let Some(connection) = self.table.get_mut(index) {
                connection.handle_syn_again(seq);
            }
            return self.settle(index, out);
        }
        self.make_room();
        if self.table.len() >= self.config.max_connections {
            return;
        }
        let first = SeqNr(next_u16(&mut self.rng));
        let connection = Connection::accept(now, from, id, (seq, first), &self.config);
        let key = self.table.insert(connection);
        self.half_open.push_back(key);
        self.settle(key.index, out);
    }

    /// Has the oldest go of those who asked for a connection and were then silent, if there are too many.
    fn make_room(&mut self) {
        let is_half_open = |table: &Table, key: &ConnectionKey| {
            table.get(*key).is_some_and(|connection| connection.state == State::SynReceived)
        };
        while let Some(oldest) = self.half_open.front().copied() {
            let half_open = is_half_open(&self.table, &oldest);
            if half_open && self.half_open.len() < self.config.max_half_open {
                break;
            }
            self.half_open.pop_front();
            if half_open {
                self.remove(oldest.index);
            }
        }
        if self.half_open.len() >= self.config.max_half_open {
            let table = &self.table;
            self.half_open.retain(|key| is_half_open(table, key));
        }
    }

    /// Of a RESET nobody knows whose id it names: the sender's or the receiver's.
    fn on_reset(&mut self, from: SocketAddr, packet: &Packet<'_>, out: &mut Outbox) {
        let Header { connection: id, ack, .. } = packet.header;
        for receive_id in [id.0, id.0.wrapping_add(1), id.0.wrapping_sub(1)] {
            let Some(index) = self.table.find(from, ConnectionId(receive_id)) else { continue };
            if let Some(connection) = self.table.get_mut(index)
                && (connection.receive_id == id || connection.send_id == id)
            {
                connection.handle_reset(ack);
                self.settle(index, out);
                return;
            }
        }
    }

    /// Tells who sends to no connection that there is none. No longer than what came, and bounded in number.
    fn push_reset(&mut self, now: Instant, to: SocketAddr, header: &Header) {
        if self.resets.len() < MAX_RESETS {
            let [a, b, c, d, ..] = now.as_micros().to_le_bytes();
            let reset = Header {
                kind: PacketType::Reset,
                connection: header.connection,
                timestamp: u32::from_le_bytes([a, b, c, d]),
                timestamp_difference: 0,
                window: 0,
                seq: SeqNr(next_u16(&mut self.rng)),
                ack: header.seq,
            };
            self.resets.push_back((to, reset.encode()));
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(&(at, index)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.table.set_timer(index, None);
            if let Some(connection) = self.table.get_mut(index)
                && connection.next_timeout().is_some_and(|at| at <= now)
            {
                connection.handle_timeout(now);
            }
            self.settle(index, out);
        }
    }

    /// When [`Endpoint::handle_timeout`] is to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next datagrams to be sent, `max` at most; `None` if there are none at present.
    pub fn poll_transmit(&mut self, now: Instant, max: usize) -> Option<Transmit<'_>> {
        enum Found {
            Reset,
            Stream(usize, Batch),
            Scratch(SocketAddr, usize),
        }
        let found = if self.resets.is_empty() {
            loop {
                let index = self.ready.pop_front()?;
                let connection = self.table.get_mut(index);
                let output = connection.and_then(|c| {
                    c.poll(now, &mut self.scratch, max).map(|output| (c.peer, output))
                });
                let Some((to, output)) = output else {
                    self.table.set_ready(index, false);
                    self.rest(index);
                    continue;
                };
                // Others have their turn before its next.
                self.ready.push_back(index);
                break match output {
                    Output::Stream(batch) => Found::Stream(index, batch),
                    Output::Scratch(len) => Found::Scratch(to, len),
                };
            }
        } else {
            Found::Reset
        };
        match found {
            Found::Reset => {
                let (to, bytes) = self.resets.pop_front()?;
                self.scratch[..HEADER_LEN].copy_from_slice(&bytes);
                Some(Transmit { to, contents: &self.scratch[..HEADER_LEN], segment: HEADER_LEN })
            }
            Found::Scratch(to, len) => {
                Some(Transmit { to, contents: &self.scratch[..len], segment: len })
            }
            Found::Stream(index, batch) => {
                let connection = self.table.get_mut(index)?;
                let (contents, segment) = connection.send.contents(batch);
                Some(Transmit { to: connection.peer, contents, segment })
            }
        }
    }

    /// Moves bytes of the stream into `into`; 0: the peer has ended it.
    ///
    /// # Errors
    /// If there is nothing, or the connection is no more.
    pub fn read(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        into: &mut [u8],
    ) -> Result<usize, StreamError> {
        let read = self.owned(key)?.read(now, into);
        self.settle_quietly(key.index);
        read
    }

    /// Appends bytes to the stream; returns how many there was room for.
    ///
    /// # Errors
    /// If there is no room, or the connection is not open.
    pub fn write(&mut self, key: ConnectionKey, bytes: &[u8]) -> Result<usize, StreamError> {
        let written = self.owned(key)?.write(bytes);
        self.settle_quietly(key.index);
        written
    }

    /// Whether a read would give something: bytes, the end, or an error.
    #[must_use]
    pub fn is_readable(&self, key: ConnectionKey) -> bool {
        self.table.get(key).is_none_or(Connection::is_readable)
    }

    /// Whether a write would take something, or give an error.
    #[must_use]
    pub fn is_writable(&self, key: ConnectionKey) -> bool {
        self.table.get(key).is_none_or(Connection::is_writable)
    }

    /// Lets go of a connection: what was written still goes out. Nothing is told of it any more.
    pub fn close(&mut self, now: Instant, key: ConnectionKey) {
        if let Ok(connection) = self.owned(key) {
            connection.release(now);
            self.settle_quietly(key.index);
        }
    }

    /// Ends a connection at once. Nothing is told of it any more.
    pub fn abort(&mut self, key: ConnectionKey) {
        if let Ok(connection) = self.owned(key) {
            connection.abort();
            self.settle_quietly(key.index);
        }
    }

    /// How a connection does; `None` if there is none of that key.
    #[must_use]
    pub fn stats(&self, key: ConnectionKey) -> Option<ConnectionStats> {
        let connection = self.table.get(key)?;
        Some(ConnectionStats {
            peer: connection.peer,
            rtt: connection.rtt.smoothed(),
            queueing: connection.queueing,
            window: connection.window(),
            in_flight: connection.send.in_flight(),
            receive_window: connection.receive.capacity(),
            packet: connection.packet(),
            transmissions: connection.send.next_order(),
            losses: connection.send.losses(),
            timeouts: connection.timeouts,
        })
    }

    fn owned(&mut self, key: ConnectionKey) -> Result<&mut Connection, StreamError> {
        let connection = self.table.get_owned_mut(key).filter(|connection| !connection.released);
        connection.ok_or(StreamError::Unknown)
    }

    /// After something was done with a connection: tells its owner, and sees to it that it is asked for what is to be sent.
    fn settle(&mut self, index: usize, out: &mut Outbox) {
        self.tell(index, out);
        self.settle_quietly(index);
    }

    /// After something was done with a connection by its owner, who need not be told.
    fn settle_quietly(&mut self, index: usize) {
        self.lend(index);
        if self.rest(index) && self.table.set_ready(index, true) {
            self.ready.push_back(index);
        }
    }

    /// Forgets a connection that is done, and has any other called when it wants to be. True if it is there still.
    fn rest(&mut self, index: usize) -> bool {
        let Some(connection) = self.table.get_mut(index) else { return false };
        if connection.is_done() {
            self.remove(index);
            return false;
        }
        let due = connection.next_timeout();
        self.arm(index, due);
        true
    }

    fn tell(&mut self, index: usize, out: &mut Outbox) {
        let Some(key) = self.table.key(index) else { return };
        let Some(connection) = self.table.get_mut(index) else { return };
        let flags = core::mem::take(&mut connection.flags);
        if connection.released {
            return;
        }
        let peer = connection.peer;
        let reason = match connection.state {
            State::Closed(reason) if flags.closed => Some(reason),
            _ => None,
        };
        let events = [
            flags.connected.then_some(Event::Connected(key)),
            flags.accepted.then_some(Event::Accepted(key, peer)),
            flags.readable.then_some(Event::Readable(key)),
            flags.writable.then_some(Event::Writable(key)),
            reason.map(|reason| Event::Closed(key, reason)),
        ];
        out.events.extend(events.into_iter().flatten());
    }

    /// Gives a connection a larger receive window if it has use for it and there is memory.
    fn lend(&mut self, index: usize) {
        let Some(connection) = self.table.get_mut(index) else { return };
        if core::mem::take(&mut connection.wants_room) {
            let capacity = connection.receive.capacity();
            let grown = (capacity * 2).min(self.config.receive_buffer.1);
            let more = grown.saturating_sub(capacity);
            if more > 0 && self.lent + more <= self.config.receive_budget {
                connection.set_capacity(grown);
                self.lent += more;
            }
        }
    }

    /// Has the connection called at `due` at the latest. An entry that is early stays: it costs less to find out then that
    /// there is nothing to do than to move it each time.
    fn arm(&mut self, index: usize, due: Option<Instant>) {
        let armed = self.table.timer(index);
        if let Some(due) = due
            && armed.is_none_or(|armed| due < armed)
        {
            if let Some(armed) = armed {
                self.timers.remove(&(armed, index));
            }
            self.timers.insert((due, index));
            self.table.set_timer(index, Some(due));
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(armed) = self.table.timer(index) {
            self.timers.remove(&(armed, index));
        }
        if let Some(connection) = self.table.remove(index) {
            self.lent -= connection.receive.capacity() - self.config.receive_buffer.0;
        }
    }
}

fn next_u16(rng: &mut Rng) -> u16 {
    let [a, b, ..] = rng.next_u32().to_le_bytes();
    u16::from_le_bytes([a, b])
}
