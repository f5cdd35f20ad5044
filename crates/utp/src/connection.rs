//! One connection: its state, and what its owner does with it.
//!
//! What comes from the peer is dealt with in [`input`], what goes to it in [`output`], and what happens by itself in
//! [`timers`]. The invariant of all: after each call the endpoint asks for events, for the time of the next time-out, and
//! whether there is something to be sent.

mod input;
mod output;
mod timers;

use crate::congestion::Congestion;
use crate::delay::DelayHistory;
use crate::endpoint::UtpConfig;
use crate::mtu::PathMtu;
use crate::receive::ReceiveQueue;
use crate::rtt::RttEstimator;
use crate::send::SendQueue;
use alloc::boxed::Box;
use core::net::SocketAddr;
pub(crate) use output::Output;
use samara_wire::time::{Duration, Instant};
use samara_wire::utp::{ConnectionId, PacketType, SeqNr};

/// Bytes that may wait to be sent: as many as the window, but within these.
const SEND_BUFFER: (usize, usize) = (32 << 10, 1 << 20);

/// Payload of a full packet at least.
const MIN_PACKET: usize = 150;

/// A round trip for the receiver of a stream who never measured one.
const UNKNOWN_RTT: Duration = Duration::from_millis(100);

/// Why a connection is no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloseReason {
    /// The peer does not want it, or does not know of it any more.
    #[error("the uTP connection was reset by the peer")]
    Reset,
    /// Nothing was heard of the peer for too long.
    #[error("the uTP peer does not answer")]
    TimedOut,
}

/// Why nothing was read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamError {
    /// Nothing to read, or no room to write, at present.
    #[error("not ready")]
    WouldBlock,
    /// The connection is no more.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// There is no such connection: its owner has closed it.
    #[error("the uTP connection was closed here")]
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// We asked for it.
    SynSent,
    /// They asked for it, and have not shown yet that they receive what we send.
    SynReceived,
    /// Open.
    Open,
    /// Gone; kept until its owner lets go of it.
    Closed(CloseReason),
}

/// What the owner is to be told.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Flags {
    pub(crate) connected: bool,
    pub(crate) accepted: bool,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) closed: bool,
}

pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    /// In packets that come.
    pub(crate) receive_id: ConnectionId,
    /// In packets that go.
    pub(crate) send_id: ConnectionId,
    pub(crate) state: State,
    /// Number of the SYN, ours or theirs.
    syn: SeqNr,
    pub(crate) flags: Flags,
    /// Its owner has let go of it, and will be told nothing more.
    pub(crate) released: bool,

    pub(crate) send: SendQueue,
    pub(crate) receive: ReceiveQueue,
    congestion: Box<dyn Congestion + Send>,
    pub(crate) rtt: RttEstimator,
    pub(crate) mtu: PathMtu,
    /// Delay of what we send, as the peer tells.
    there: DelayHistory,
    /// Delay of what the peer sends.
    back: DelayHistory,
    /// For the next packet: our clock less theirs in the last one received.
    timestamp_difference: u32,
    /// Time in queues on the way there, as last measured.
    pub(crate) queueing: Option<Duration>,

    /// Bytes that the peer has room for, and the most it ever had.
    peer_window: usize,
    peer_window_max: usize,
    /// What we told last.
    advertised: usize,

    /// A packet without payload to be sent at once.
    control: Option<PacketType>,
    /// An acknowledgement is due now, or at a time.
    ack_now: bool,
    ack_at: Option<Instant>,
    /// Packets received since the last acknowledgement.
    unacknowledged: u32,

    duplicate_acks: u32,
    /// Transmissions from this one on have not been punished for the last loss.
    recovered_from: u64,
    /// Packets taken for lost since the window was last cut for a loss, and not found to be late.
    taken_for_lost: u32,
    /// One packet may go beyond the window: what is found lost, or what finds out whether a closed window is still closed.
    forced: bool,
    /// Time-outs in a row without progress, and without any sign of life.
    failures: u32,
    silent: u32,
    /// All time-outs with something in flight.
    pub(crate) timeouts: u32,
    /// The retransmission timer counts from here.
    waits_since: Instant,
    last_sent: Instant,
    /// It ends in silence at the latest.
    ends_at: Option<Instant>,

    /// Bytes read since `read_since`, by which the receive window is sized.
    read: usize,
    read_since: Instant,
    /// The receive window holds the peer up.
    pub(crate) wants_room: bool,
    /// The last write found no room.
    write_blocked: bool,
}

impl Connection {
    /// A connection that we ask for.
    pub(crate) fn connect(
        now: Instant,
        peer: SocketAddr,
        id: ConnectionId,
        syn: SeqNr,
        config: &UtpConfig,
    ) -> Self {
        let send = SendQueue::new(syn.plus(1));
        let receive = ReceiveQueue::new(SeqNr(0), config.receive_buffer.0);
        let send_id = ConnectionId(id.0.wrapping_add(1));
        let mut it = Self::new(now, peer, (id, send_id), syn, (send, receive), config);
        it.state = State::SynSent;
        it.control = Some(PacketType::Syn);
        it
    }

    /// A connection that a SYN with the number `syn` asked for. Ours begin at `first`.
    pub(crate) fn accept(
        now: Instant,
        peer: SocketAddr,
        id: ConnectionId,
        (syn, first): (SeqNr, SeqNr),
        config: &UtpConfig,
    ) -> Self {
        let send = SendQueue::new(first);
        let receive = ReceiveQueue::new(syn.plus(1), config.receive_buffer.0);
        let receive_id = ConnectionId(id.0.wrapping_add(1));
        let mut it = Self::new(now, peer, (receive_id, id), syn, (send, receive), config);
        it.ack_now = true;
        it.ends_at = Some(now + timers::HALF_OPEN);
        it
    }

    fn new(
        now: Instant,
        peer: SocketAddr,
        (receive_id, send_id): (ConnectionId, ConnectionId),
        syn: SeqNr,
        (send, receive): (SendQueue, ReceiveQueue),
        config: &UtpConfig,
    ) -> Self {
        let (least, most) = config.datagram(peer);
        let mtu = PathMtu::new(least, most);
        let packet = u32::try_from(mtu.payload()).unwrap_or(u32::MAX);
        Self {
            peer,
            receive_id,
            send_id,
            state: State::SynReceived,
            syn,
            flags: Flags::default(),
            released: false,
            send,
            receive,
            congestion: (config.congestion)(packet, config.max_window),
            rtt: RttEstimator::default(),
            mtu,
            there: DelayHistory::default(),
            back: DelayHistory::default(),
            timestamp_difference: 0,
            queueing: None,
            peer_window: 0,
            peer_window_max: 0,
            advertised: 0,
            control: None,
            ack_now: false,
            ack_at: None,
            unacknowledged: 0,
            duplicate_acks: 0,
            recovered_from: 0,
            taken_for_lost: 0,
            forced: false,
            failures: 0,
            silent: 0,
            timeouts: 0,
            waits_since: now,
            last_sent: now,
            ends_at: None,
            read: 0,
            read_since: now,
            wants_room: false,
            write_blocked: false,
        }
    }

    /// Bytes of payload that may be in flight, as far as the path is concerned.
    pub(crate) fn window(&self) -> usize {
        self.congestion.window() as usize
    }

    /// Payload of a full packet: what the path carries, but no more than the peer ever had room for, as a packet is taken
    /// as a whole or not at all.
    pub(crate) fn packet(&self) -> usize {
        self.mtu.payload().min(self.peer_window_max.max(MIN_PACKET))
    }

    fn packet_len(&self) -> u32 {
        u32::try_from(self.packet()).unwrap_or(u32::MAX)
    }

    /// Whether a read would give something: bytes, the end, or an error.
    pub(crate) fn is_readable(&self) -> bool {
        self.receive.readable() > 0
            || self.receive.is_ended()
            || matches!(self.state, State::Closed(_))
    }

    /// Whether a write would take something, or give an error.
    pub(crate) fn is_writable(&self) -> bool {
        match self.state {
            State::Open => self.send_room() > 0,
            State::SynSent | State::SynReceived => false,
            State::Closed(_) => true,
        }
    }

    fn send_buffer(&self) -> usize {
        self.window().clamp(SEND_BUFFER.0, SEND_BUFFER.1)
    }

    fn send_room(&self) -> usize {
        self.send_buffer().saturating_sub(self.send.waiting())
    }

    /// Moves bytes of the stream into `into`. 0: the peer has ended it.
    pub(crate) fn read(&mut self, now: Instant, into: &mut [u8]) -> Result<usize, StreamError> {
        let read = self.receive.read(into);
        if read == 0 && !into.is_empty() {
            return match self.state {
                _ if self.receive.is_ended() => Ok(0),
                State::Closed(reason) => Err(reason.into()),
                _ => Err(StreamError::WouldBlock),
            };
        }
        self.on_read(now, read);
        Ok(read)
    }

    /// Tells the peer of room that has come free, and finds out whether there should be more of it: the window must
    /// hold what comes in two round trips, or it is the window that sets the rate.
    fn on_read(&mut self, now: Instant, read: usize) {
        let window = self.receive.window();
        if self.state == State::Open
            && window.saturating_sub(self.advertised) >= self.receive.capacity() / 2
        {
            self.ack_now = true;
        }
        self.read += read;
        if now - self.read_since >= self.rtt.min().unwrap_or(UNKNOWN_RTT) {
            (self.read, self.read_since) = (0, now);
        } else if self.read >= self.receive.capacity() / 2 {
            self.wants_room = true;
        }
    }

    /// The receive window is now `capacity` bytes.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.receive.set_capacity(capacity);
        self.read = 0;
    }

    /// Appends bytes to the stream; returns how many there was room for.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
        match self.state {
            State::Closed(reason) => return Err(reason.into()),
            State::SynSent | State::SynReceived => return Err(StreamError::WouldBlock),
            State::Open => {}
        }
        let taken = self.send_room().min(bytes.len());
        if taken < bytes.len() {
            self.write_blocked = true;
        }
        if taken == 0 && !bytes.is_empty() {
            return Err(StreamError::WouldBlock);
        }
        self.send.write(&bytes[..taken], self.packet());
        Ok(taken)
    }

    /// Its owner lets go: what was written still goes out, then the end; what comes is thrown away.
    pub(crate) fn release(&mut self, now: Instant) {
        self.released = true;
        self.receive.discard();
        self.ends_at = Some(now + timers::LINGER);
        match self.state {
            State::Open => self.send.finish(),
            State::SynSent | State::SynReceived => self.abort(),
            State::Closed(_) => {}
        }
    }

    /// Ends it at once; the peer is told.
    pub(crate) fn abort(&mut self) {
        self.released = true;
        if !matches!(self.state, State::Closed(_)) {
            self.control = Some(PacketType::Reset);
            self.state = State::Closed(CloseReason::Reset);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.state = State::Closed(reason);
        self.flags.closed = true;
        self.control = None;
    }

    /// Whether nothing is left to be done for it.
    pub(crate) fn is_done(&self) -> bool {
        self.released
            && match self.state {
                State::Closed(_) => self.control.is_none(),
                _ => {
                    self.send.is_finished()
                        && self.send.is_empty()
                        && self.receive.is_ended()
                        && !self.ack_now
                }
            }
    }
}
