//! How many bytes may be on their way: the seam, and its one implementation, [`Ledbat`].

mod ledbat;

pub use ledbat::{Ledbat, TARGET};
use samara_wire::time::{Duration, Instant};

/// Packets that may be sent before anything is known of the path.
pub const INITIAL_PACKETS: u32 = 10;

/// Packets that may always be on their way.
pub const MIN_PACKETS: u32 = 2;

/// What an acknowledgement tells.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// When it came.
    pub now: Instant,
    /// Bytes of payload that are acknowledged for the first time.
    pub bytes: u32,
    /// Bytes that were on their way before it came.
    pub in_flight: u32,
    /// Whether more had been sent if more had been allowed: a window that was not used says nothing.
    pub limited: bool,
    /// Time in queues on the way there, if known.
    pub queueing: Option<Duration>,
    /// The shortest round trip seen, if any.
    pub min_rtt: Option<Duration>,
    /// The usual round trip, if known.
    pub rtt: Option<Duration>,
    /// Payload of a full packet.
    pub packet: u32,
}

/// A control law: what it is told, and the window it sets.
pub trait Congestion {
    /// Packets were acknowledged.
    fn on_ack(&mut self, acked: &Acked);
    /// Packets were lost: told once for all that were on their way at the time. `packet` is the payload of a full packet.
    fn on_loss(&mut self, now: Instant, packet: u32);
    /// All that [`Congestion::on_loss`] was last told of has arrived: it was late.
    fn on_false_loss(&mut self) {}
    /// Nothing was heard for so long that all is taken for lost.
    fn on_timeout(&mut self, now: Instant, packet: u32);
    /// Nothing was on its way for a round trip or more: what was known of the path is old.
    fn on_idle(&mut self, packet: u32);
    /// Bytes of payload that may be on their way.
    fn window(&self) -> u32;
}
