//! The tier of packets: the same nodes, but each connection is a real pair of uTP connections ([`samara_utp::Endpoint`]) that
//! exchange datagrams over the nodes' access links.
//!
//! | file | is |
//! | --- | --- |
//! | `wire` | datagrams on their way: queues, loss, delay, NATs |
//! | `bottleneck` | one direction of a link: a queue of bytes that drops what does not fit |
//! | `host` | a node's UDP socket: its endpoint, connections that begin and end |
//! | `stream` | the bytes of one connection that are written and read |
//! | `writing`, `reading` | from torrents into streams, and back |
//! | `payload` | the bytes of blocks, by which damage is seen |
//! | `ledger` | blocks under way: what went into a stream must come out of it |
//! | `invariants` | what must hold in the end |
//! | `figures` | what became of packets |
//!
//! The two ends of a connection know nothing of each other but what datagrams tell: each has a connection of its own in the
//! world's list ([`super::conn`]), of which the other end is never used. Handshakes, messages and blocks cross as bytes. Nodes'
//! clocks have nothing to do with each other.
//!
//! Rates of links count whole datagrams here, with the headers of IP and UDP.

mod bottleneck;
mod figures;
mod host;
mod invariants;
mod ledger;
mod payload;
mod reading;
mod stream;
#[cfg(test)]
mod tests;
mod wire;
mod writing;

pub use figures::PacketFigures;
pub(super) use wire::{Place, Wire};

use super::config::{NodeConfig, NodeId};
use bottleneck::{Bottleneck, Waits};
use figures::Counts;
use host::Host;
use ledger::BlockLedger;
use samara_utp::UtpConfig;
use samara_wire::time::Duration;

/// What links are like where connections are uTP.
#[derive(Clone, Debug)]
pub struct PacketsConfig {
    /// A full queue in front of a link needs so long to drain, as home routers have it.
    pub buffer: Duration,
    /// Datagrams may be late by up to this, each by its own lot: they overtake each other.
    pub jitter: Duration,
    /// How endpoints behave; the seed is replaced.
    pub endpoint: UtpConfig,
}

impl Default for PacketsConfig {
    fn default() -> Self {
        Self {
            buffer: Duration::from_millis(250),
            jitter: Duration::ZERO,
            endpoint: UtpConfig::new([0; 32]),
        }
    }
}

/// A queue holds this many bytes at least, however slow its link.
const LEAST_BUFFER: u64 = 16 << 10;

/// What can happen in this tier.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// A datagram comes to its receiver's link.
    Arrive(u32),
    /// It is through.
    Receive(u32),
    /// An endpoint wants to be called.
    Endpoint(NodeId),
    /// A connection that is not open by now takes long, or too long.
    Slow {
        stream: u32,
        node: NodeId,
    },
    GiveUp {
        stream: u32,
        node: NodeId,
    },
    /// Another byte of a block that drips.
    Drip {
        stream: u32,
        node: NodeId,
    },
}

/// The access link of a node. It outlives the node's crashes.
#[derive(Debug)]
struct Access {
    up: Bottleneck,
    down: Bottleneck,
}

/// All of this tier.
#[derive(Debug)]
pub(super) struct Packets {
    config: PacketsConfig,
    links: Vec<Access>,
    /// By node; none before its first life, and none while it has crashed.
    hosts: Vec<Option<Host>>,
    /// Names given to ends of streams.
    streams: u32,
    blocks: BlockLedger,
    /// Nodes that may have something to send.
    dirty: Vec<NodeId>,
    counts: Counts,
    /// How long datagrams of honest nodes waited on the way up, and on the way down, until all were done.
    up_waits: Waits,
    down_waits: Waits,
    scratch: Vec<u8>,
}

impl Packets {
    pub(super) fn new(config: PacketsConfig) -> Self {
        Self {
            config,
            links: Vec::new(),
            hosts: Vec::new(),
            streams: 0,
            blocks: BlockLedger::default(),
            dirty: Vec::new(),
            counts: Counts::default(),
            up_waits: Waits::default(),
            down_waits: Waits::default(),
            scratch: Vec::new(),
        }
    }

    /// A node is added.
    pub(super) fn add(&mut self, node: &NodeConfig) {
        let buffer = u64::try_from(self.config.buffer.as_millis()).unwrap_or(u64::MAX);
        let queue = |rate: u64| {
            Bottleneck::new(rate, (rate.saturating_mul(buffer) / 1_000).max(LEAST_BUFFER))
        };
        self.links.push(Access { up: queue(node.up), down: queue(node.down) });
        self.hosts.push(None);
    }

    fn host(&mut self, id: NodeId) -> Option<&mut Host> {
        self.hosts.get_mut(id.at())?.as_mut()
    }

    /// Has a node's datagrams sent when the present event is over.
    fn mark(&mut self, id: NodeId) {
        if let Some(host) = self.host(id)
            && !std::mem::replace(&mut host.marked, true)
        {
            self.dirty.push(id);
        }
    }
}
