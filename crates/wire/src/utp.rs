//! Packets of uTP, the transport protocol over UDP (BEP 29).
//!
//! A packet is a header of 20 bytes, a chain of extensions, and payload. Of the extensions only the selective
//! acknowledgement means something here; others are passed over, as the specification has it. That makes room for
//! [`encode_padded`], which fills a packet up without touching the stream it carries.

#[cfg(test)]
mod tests;

use core::cmp::Ordering;

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 20;

/// Longest selective acknowledgement, in bytes: the greatest multiple of 4 that its length byte can tell.
pub const MAX_SACK_LEN: usize = 252;

/// Extensions of one packet that are looked at. A chain as long as a datagram could hold is nobody's need.
const MAX_EXTENSIONS: usize = 16;

const VERSION: u8 = 1;
const EXTENSION_NONE: u8 = 0;
const EXTENSION_SACK: u8 = 1;
/// What else the sender can do, in [`BITS_LEN`] bytes: libutp's.
const EXTENSION_BITS: u8 = 2;
/// Nobody's: read by all as an extension to be passed over, unless it is the first. A packet whose first one it does not know
/// is of another version to libutp, and thrown away.
const EXTENSION_PADDING: u8 = 0x70;

/// Length of [`EXTENSION_BITS`], in bytes: of another length libutp throws the packet away.
const BITS_LEN: usize = 8;

/// Padding from here on begins with an extension that libutp knows.
pub const MIN_PADDING: usize = 2 + BITS_LEN + 2;

/// What a packet is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketType {
    /// Carries payload.
    Data,
    /// Nothing follows this sequence number.
    Fin,
    /// Acknowledges, and takes no sequence number.
    State,
    /// The sender knows nothing of the connection, or wants none of it.
    Reset,
    /// Asks for a connection.
    Syn,
}

/// Number of a packet in its direction, or what was received last. Wraps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SeqNr(pub u16);

impl SeqNr {
    /// The number `n` packets later.
    #[must_use]
    pub const fn plus(self, n: u16) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// The number `n` packets earlier.
    #[must_use]
    pub const fn minus(self, n: u16) -> Self {
        Self(self.0.wrapping_sub(n))
    }

    /// How many packets `self` is later than `other`; negative if it is earlier. Of two numbers half a turn apart or more,
    /// it is taken to be the way that is shorter.
    #[must_use]
    pub const fn since(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

/// By the shorter way round, and so only of use among numbers less than half a turn apart.
impl PartialOrd for SeqNr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.since(*other).cmp(&0))
    }
}

/// Names a connection, together with the addresses of both ends. Each direction has its own; they differ by one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u16);

/// The fixed part of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the packet is for.
    pub kind: PacketType,
    /// The connection: the receiver's id, but the initiator's own in a [`PacketType::Syn`].
    pub connection: ConnectionId,
    /// The sender's clock, in microseconds. Wraps.
    pub timestamp: u32,
    /// The sender's clock less the timestamp of the last packet it received, in microseconds; 0: none yet.
    pub timestamp_difference: u32,
    /// Bytes that the sender has room for.
    pub window: u32,
    /// Of this packet, or for [`PacketType::State`] of the next that takes a number.
    pub seq: SeqNr,
    /// The last packet received in order.
    pub ack: SeqNr,
}

/// A packet as received. Nothing in it has been compared with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The fixed part.
    pub header: Header,
    /// What arrived beyond a gap, if the sender told.
    pub sack: Option<Sack<'a>>,
    /// What follows header and extensions.
    pub payload: &'a [u8],
}

/// Why a datagram is no packet of this protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// Shorter than it says it is.
    #[error("the packet is too short")]
    Short,
    /// Another version of the protocol, or another protocol.
    #[error("not uTP version 1")]
    Version,
    /// No type that is known.
    #[error("unknown packet type {0}")]
    Type(u8),
    /// More extensions than anybody needs.
    #[error("too many extensions")]
    Extensions,
}

/// Whether a datagram with this first byte may be a packet of uTP. It tells uTP from the DHT, whose datagrams begin with
/// `d`, and from answers of trackers, which begin with 0.
#[must_use]
pub const fn is_first_byte(byte: u8) -> bool {
    byte & 0x0f == VERSION && byte >> 4 <= 4
}

impl Header {
    /// The bytes of a header that no extension follows.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let kind: u8 = match self.kind {
            PacketType::Data => 0,
            PacketType::Fin => 1,
            PacketType::State => 2,
            PacketType::Reset => 3,
            PacketType::Syn => 4,
        };
        let mut out = [0; HEADER_LEN];
        out[0] = kind << 4 | VERSION;
        out[2..4].copy_from_slice(&self.connection.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.timestamp_difference.to_be_bytes());
        out[12..16].copy_from_slice(&self.window.to_be_bytes());
        out[16..18].copy_from_slice(&self.seq.0.to_be_bytes());
        out[18..20].copy_from_slice(&self.ack.0.to_be_bytes());
        out
    }
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// If it is cut short or no packet of uTP.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let (head, mut rest) =
            datagram.split_first_chunk::<HEADER_LEN>().ok_or(PacketError::Short)?;
        if head[0] & 0x0f != VERSION {
            return Err(PacketError::Version);
        }
        let kind = match head[0] >> 4 {
            0 => PacketType::Data,
            1 => PacketType::Fin,
            2 => PacketType::State,
            3 => PacketType::Reset,
            4 => PacketType::Syn,
            other => return Err(PacketError::Type(other)),
        };
        let two = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let four =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let header = Header {
            kind,
            connection: ConnectionId(two(2)),
            timestamp: four(4),
            timestamp_difference: four(8),
            window: four(12),
            seq: SeqNr(two(16)),
            ack: SeqNr(two(18)),
        };
        let (mut extension, mut sack) = (head[1], None);
        let mut count = 0;
        while extension != EXTENSION_NONE {
            count += 1;
            if count > MAX_EXTENSIONS {
                return Err(PacketError::Extensions);
            }
            let (&[next, len], body) = rest.split_first_chunk().ok_or(PacketError::Short)?;
            let (body, after) = body.split_at_checked(len.into()).ok_or(PacketError::Short)?;
            if extension == EXTENSION_SACK {
                sack = Some(Sack(body));
            }
            (extension, rest) = (next, after);
        }
        Ok(Self { header, sack, payload: rest })
    }
}

/// A selective acknowledgement: which packets arrived beyond the first that is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sack<'a>(&'a [u8]);

impl Sack<'_> {
    /// How far behind the acknowledged number each packet is that arrived, in rising order. The first that can be told is
    /// 2 behind: the one before it is missing, or there would be nothing to tell.
    pub fn received(&self) -> impl Iterator<Item = u16> + '_ {
        let bytes = self.0.iter().take(MAX_SACK_LEN).zip(0_u16..);
        bytes.flat_map(|(&byte, at)| {
            (0..8_u16).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit + 2)
        })
    }
}

/// Writes a selective acknowledgement behind `header`, which must be that of a packet without payload. `received` tells
/// of each of the `span` packets from 2 behind the acknowledged number on whether it has arrived. Returns the bytes written.
pub fn encode_with_sack(
    header: &Header,
    received: impl Iterator<Item = bool>,
    out: &mut [u8; HEADER_LEN + 2 + MAX_SACK_LEN],
) -> usize {
    out[..HEADER_LEN].copy_from_slice(&header.encode());
    let bits = &mut out[HEADER_LEN + 2..];
    bits.fill(0);
    let mut used = 0;
    for (i, _) in received.take(bits.len() * 8).enumerate().filter(|(_, received)| *received) {
        bits[i / 8] |= 1 << (i % 8);
        used = i / 8 + 1;
    }
    let len = used.next_multiple_of(4).max(4);
    out[1] = EXTENSION_SACK;
    out[HEADER_LEN] = EXTENSION_NONE;
    out[HEADER_LEN + 1] = u8::try_from(len).unwrap_or(u8::MAX);
    HEADER_LEN + 2 + len
}

/// Writes `header`, extensions that mean nothing and `payload`, to be `len` bytes in all, or as near to it as the form
/// allows: a packet that finds out whether packets of that length get through. Whoever receives it finds the payload alone.
/// Below [`MIN_PADDING`] there is no form that everybody takes. Returns the bytes written; `out` is as long as `len` at least, and
/// `len` as long as header and payload.
pub fn encode_padded(header: &Header, payload: &[u8], len: usize, out: &mut [u8]) -> usize {
    out[..HEADER_LEN].copy_from_slice(&header.encode());
    let mut left = len.saturating_sub(HEADER_LEN + payload.len());
    let mut link = 1;
    let mut at = HEADER_LEN;
    while left >= 2 {
        // What is left for a last one must not be a single byte.
        let (extension, body) = match left - 2 {
            // That we can do nothing else.
            _ if at == HEADER_LEN && left >= MIN_PADDING => (EXTENSION_BITS, BITS_LEN),
            body @ 0..=255 => (EXTENSION_PADDING, body),
            256 => (EXTENSION_PADDING, 254),
            _ => (EXTENSION_PADDING, 255),
        };
        out[link] = extension;
        out[at] = EXTENSION_NONE;
        out[at + 1] = u8::try_from(body).unwrap_or(u8::MAX);
        out[at + 2..at + 2 + body].fill(0);
        link = at;
        at += 2 + body;
        left -= 2 + body;
    }
    out[at..at + payload.len()].copy_from_slice(payload);
    at + payload.len()
}
