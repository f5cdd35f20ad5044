//! The UDP tracker protocol (BEP 15, 41): datagrams of clients and of trackers.
//!
//! A client first asks for a [`ConnectionId`], which proves that it receives at the address it sends from, and
//! then announces or scrapes with it. The family of the datagram's address decides how peers are written in an
//! answer. Datagrams may be longer than what is described here; what follows is ignored.

#[cfg(test)]
mod tests;

use super::{AnnounceEvent, AnnounceRequest, AnnounceResponse, PeerCollector, ScrapeStats};
use super::{bounded_interval, push_compact};
use crate::id::{PeerId, WireHash};
use crate::peer::client::printable;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest datagram that either side needs to receive, in bytes.
pub const MAX_DATAGRAM: usize = 16 * 1024;

/// Torrents in one scrape (BEP 15): as many as fit in an Ethernet frame.
pub const MAX_SCRAPE: usize = 74;

/// Bytes of path and query that are sent with an announce (BEP 41).
const MAX_URL_DATA: usize = 2_000;

/// Characters of an error message that are kept.
const MAX_TEXT: usize = 300;

const PROTOCOL_ID: u64 = 0x417_2710_1980;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL_DATA: u8 = 2;

/// Names a request; the answer repeats it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransactionId(pub u32);

/// Given out by a tracker to an address; valid for two minutes, used by clients for one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// The family of the address a datagram came from, which decides how peers are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// 6 bytes a peer.
    V4,
    /// 18 bytes a peer.
    V6,
}

/// What a client sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Asks for a connection id.
    Connect {
        /// Names the request.
        transaction: TransactionId,
    },
    /// Announces a torrent.
    Announce {
        /// Proof of address.
        connection: ConnectionId,
        /// Names the request.
        transaction: TransactionId,
        /// What is announced. UDP has no room for `tracker_id`.
        announce: AnnounceRequest,
        /// Path and query of the tracker's URL (BEP 41); may be empty. At most 2,000 bytes are sent.
        url_data: String,
    },
    /// Asks for the state of torrents.
    Scrape {
        /// Proof of address.
        connection: ConnectionId,
        /// Names the request.
        transaction: TransactionId,
        /// The torrents, of which [`MAX_SCRAPE`] are sent and read at most.
        hashes: Vec<WireHash>,
    },
}

/// What a tracker sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// Gives out a connection id.
    Connect(ConnectionId),
    /// Answers an announce.
    Announce(AnnounceResponse),
    /// Answers a scrape, in the order of the request.
    Scrape(Vec<ScrapeStats>),
    /// Refuses; the text is safe to print.
    Error(String),
}

/// Why a datagram is not one of this protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DatagramError {
    /// Too short for what it says it is.
    #[error("the datagram is too short")]
    Short,
    /// No action that is known.
    #[error("unknown action {0}")]
    Action(u32),
    /// A request to connect without the number that marks the protocol.
    #[error("not the UDP tracker protocol")]
    Protocol,
    /// An option that does not fit in the datagram (BEP 41).
    #[error("malformed option")]
    Option,
}

impl Request {
    /// Appends the datagram to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Connect { transaction } => {
                request_head(PROTOCOL_ID, CONNECT, *transaction, out);
            }
            Self::Announce { connection, transaction, announce, url_data } => {
                request_head(connection.0, ANNOUNCE, *transaction, out);
                encode_announce(announce, out);
                encode_url_data(url_data, out);
            }
            Self::Scrape { connection, transaction, hashes } => {
                request_head(connection.0, SCRAPE, *transaction, out);
                for hash in hashes.iter().take(MAX_SCRAPE) {
                    out.extend_from_slice(&hash.0);
                }
            }
        }
    }

    /// Reads a datagram as a tracker does. Neither ids nor contents have been checked against anything. The
    /// address a client may name instead of its own is ignored.
    ///
    /// # Errors
    /// If it is too short or says to be something else.
    pub fn parse(datagram: &[u8]) -> Result<Self, DatagramError> {
        let mut reader = Reader(datagram);
        let connection = ConnectionId(reader.u64()?);
        let action = reader.u32()?;
        let transaction = TransactionId(reader.u32()?);
        match action {
            CONNECT if connection.0 == PROTOCOL_ID => Ok(Self::Connect { transaction }),
            CONNECT => Err(DatagramError::Protocol),
            ANNOUNCE => {
                let announce = parse_announce(&mut reader)?;
                let url_data = parse_url_data(reader)?;
                Ok(Self::Announce { connection, transaction, announce, url_data })
            }
            SCRAPE => {
                let (hashes, _) = reader.0.as_chunks::<20>();
                let hashes = hashes.iter().take(MAX_SCRAPE).copied().map(WireHash).collect();
                Ok(Self::Scrape { connection, transaction, hashes })
            }
            action => Err(DatagramError::Action(action)),
        }
    }
}

fn request_head(first: u64, action: u32, transaction: TransactionId, out: &mut Vec<u8>) {
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.0.to_be_bytes());
}

fn encode_announce(announce: &AnnounceRequest, out: &mut Vec<u8>) {
    out.extend_from_slice(&announce.info_hash.0);
    out.extend_from_slice(&announce.peer_id.0);
    for n in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend_from_slice(&n.to_be_bytes());
    }
    let event: u32 = match announce.event {
        AnnounceEvent::Periodic => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
    };
    // The address 0 means the one the datagram comes from.
    for n in [event, 0, announce.key, announce.num_want] {
        out.extend_from_slice(&n.to_be_bytes());
    }
    out.extend_from_slice(&announce.port.to_be_bytes());
}

fn parse_announce(reader: &mut Reader<'_>) -> Result<AnnounceRequest, DatagramError> {
    let info_hash = WireHash(reader.array()?);
    let peer_id = PeerId(reader.array()?);
    let (downloaded, left, uploaded) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let event = match reader.u32()? {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        _ => AnnounceEvent::Periodic,
    };
    let _address = reader.u32()?;
    let (key, num_want) = (reader.u32()?, reader.u32()?);
    let port = u16::from_be_bytes(reader.array()?);
    Ok(AnnounceRequest {
        info_hash,
        peer_id,
        port,
        uploaded,
        downloaded,
        left,
        event,
        key,
        num_want,
        tracker_id: None,
    })
}

/// BEP 41: the text in pieces of at most 255 bytes.
fn encode_url_data(text: &str, out: &mut Vec<u8>) {
    let bytes = &text.as_bytes()[..text.floor_char_boundary(MAX_URL_DATA)];
    for part in bytes.chunks(255) {
        out.push(OPTION_URL_DATA);
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
}

fn parse_url_data(mut reader: Reader<'_>) -> Result<String, DatagramError> {
    let mut bytes = Vec::new();
    while let Some((&option, rest)) = reader.0.split_first() {
        reader.0 = rest;
        match option {
            OPTION_END => break,
            OPTION_NOP => {}
            _ => {
                let [len] = reader.array().map_err(|_| DatagramError::Option)?;
                let data = reader.bytes(len.into()).map_err(|_| DatagramError::Option)?;
                if option == OPTION_URL_DATA && bytes.len() + data.len() <= MAX_URL_DATA {
                    bytes.extend_from_slice(data);
                }
            }
        }
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    // What stands in for a wrong byte is longer than the byte.
    text.truncate(text.floor_char_boundary(MAX_URL_DATA));
    Ok(text)
}

impl Response {
    /// Appends the datagram to `out`. Only peers of `family` are written, because the client will read all of
    /// them in the form of the address it asked from.
    pub fn encode(&self, transaction: TransactionId, family: Family, out: &mut Vec<u8>) {
        let action = match self {
            Self::Connect(_) => CONNECT,
            Self::Announce(_) => ANNOUNCE,
            Self::Scrape(_) => SCRAPE,
            Self::Error(_) => ERROR,
        };
        out.extend_from_slice(&action.to_be_bytes());
        out.extend_from_slice(&transaction.0.to_be_bytes());
        match self {
            Self::Connect(connection) => out.extend_from_slice(&connection.0.to_be_bytes()),
            Self::Announce(answer) => {
                let interval = u32::try_from(answer.interval.as_secs()).unwrap_or(u32::MAX);
                let (leeches, seeds) =
                    (answer.incomplete.unwrap_or(0), answer.complete.unwrap_or(0));
                for n in [interval, leeches, seeds] {
                    out.extend_from_slice(&n.to_be_bytes());
                }
                for peer in answer.peers.iter().filter(|p| p.is_ipv4() == (family == Family::V4)) {
                    push_compact(peer, out);
                }
            }
            Self::Scrape(torrents) => {
                for stats in torrents {
                    for n in [stats.complete, stats.downloaded, stats.incomplete] {
                        out.extend_from_slice(&n.to_be_bytes());
                    }
                }
            }
            Self::Error(message) => out.extend_from_slice(message.as_bytes()),
        }
    }

    /// Reads a datagram that came from an address of `family`.
    ///
    /// # Errors
    /// If it is too short or no answer.
    pub fn parse(datagram: &[u8], family: Family) -> Result<(TransactionId, Self), DatagramError> {
        let mut reader = Reader(datagram);
        let action = reader.u32()?;
        let transaction = TransactionId(reader.u32()?);
        let response = match action {
            CONNECT => Self::Connect(ConnectionId(reader.u64()?)),
            ANNOUNCE => Self::Announce(parse_answer(reader, family)?),
            SCRAPE => Self::Scrape(parse_scrape(&mut reader)),
            ERROR => {
                let text = &reader.0[..reader.0.len().min(MAX_TEXT * 4)];
                Self::Error(printable(&String::from_utf8_lossy(text), MAX_TEXT))
            }
            action => return Err(DatagramError::Action(action)),
        };
        Ok((transaction, response))
    }
}

fn parse_answer(mut reader: Reader<'_>, family: Family) -> Result<AnnounceResponse, DatagramError> {
    let (interval, leeches, seeds) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let mut peers = PeerCollector::default();
    match family {
        Family::V4 => peers.add_compact_v4(reader.0),
        Family::V6 => peers.add_compact_v6(reader.0),
    }
    Ok(AnnounceResponse {
        interval: bounded_interval(u64::from(interval)),
        complete: Some(seeds),
        incomplete: Some(leeches),
        peers: peers.peers,
        ..AnnounceResponse::default()
    })
}

fn parse_scrape(reader: &mut Reader<'_>) -> Vec<ScrapeStats> {
    let mut torrents = Vec::new();
    while torrents.len() < MAX_SCRAPE
        && let (Ok(complete), Ok(downloaded), Ok(incomplete)) =
            (reader.u32(), reader.u32(), reader.u32())
    {
        torrents.push(ScrapeStats { complete, downloaded, incomplete });
    }
    torrents
}

/// Takes fields from the front of a datagram.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], DatagramError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(DatagramError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DatagramError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(DatagramError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, DatagramError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, DatagramError> {
        self.array().map(u64::from_be_bytes)
    }
}
