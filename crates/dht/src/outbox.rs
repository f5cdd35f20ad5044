//! What the node wants done.

use crate::lookup::LookupId;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use samara_wire::id::WireHash;
use samara_wire::krpc::{Item, NodeId, NodeInfo};
use samara_wire::time::Duration;

/// Effects in the order they are to be carried out. Reused from call to call; the shell drains it after each.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: Vec<Effect>,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { effects: Vec::new() }
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Adds something the shell may want to know.
    pub fn event(&mut self, event: Event) {
        self.push(Effect::Event(event));
    }

    /// Takes all effects out, oldest first, keeping the memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }
}

/// One thing the shell is to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Send a datagram.
    Send(SocketAddr, Vec<u8>),
    /// Something was found or has ended.
    Event(Event),
}

/// What was found, or has ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Peers of a torrent, none of which this lookup has named before. Nothing is known of them but that a node said so.
    PeersFound {
        /// Which lookup.
        lookup: LookupId,
        /// The torrent.
        info_hash: WireHash,
        /// The peers.
        peers: Vec<SocketAddr>,
    },
    /// An item (BEP 44), whose hash or signature was checked. A mutable item may be found again with a higher number.
    ItemFound {
        /// Which lookup.
        lookup: LookupId,
        /// The item.
        item: Box<Item>,
    },
    /// Info-hashes that a node has peers for (BEP 51).
    SamplesFound {
        /// Which lookup.
        lookup: LookupId,
        /// The info-hashes.
        hashes: Vec<WireHash>,
    },
    /// A lookup has ended. Nothing more comes of it.
    LookupDone {
        /// Which lookup.
        lookup: LookupId,
        /// How it went.
        outcome: LookupOutcome,
    },
    /// Several nodes agree that this is our address. The node has taken an id that fits (BEP 42).
    ExternalAddress(IpAddr),
    /// A lookup of our own id has ended, with so many nodes in the table. It comes again after a change of id, and as long as
    /// there are few.
    Bootstrapped(usize),
    /// Nodes of the other address family, for the node that lives there (BEP 32).
    OtherFamily(Vec<NodeInfo>),
}

/// How a lookup went.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LookupOutcome {
    /// Where it went.
    pub target: NodeId,
    /// Nodes asked.
    pub asked: u32,
    /// Nodes that answered.
    pub answered: u32,
    /// Peers found, each counted once.
    pub peers: usize,
    /// Steps from our own table to the first node that had what was looked for; 0 if none had.
    pub hops: u8,
    /// Steps from our own table to the node nearest to the target of all that answered; 0 if none did.
    pub depth: u8,
    /// Nodes that confirmed to have stored what was announced or put.
    pub stored: u32,
    /// From start to end.
    pub took: Duration,
    /// Seeds and other peers, about how many (BEP 33); for a scrape.
    pub swarm: Option<(f64, f64)>,
}
