//! What must hold at every event, whatever anybody does.
//!
//! - **Only verified data is served**: an honest node serves blocks of pieces that its disk has, each found good before.
//! - **Only verified data is counted**: what its torrent says it has is what its disk has; what trackers are told is true.
//! - **No honest peer is banned**: only who sends wrong blocks is.
//! - **Bytes balance**: those a torrent counts are those the world saw, and each byte received was wasted, is held, or belongs to
//!   a piece that was good, bad or not writable. Each byte sent arrived, is under way, or went with its connection.
//! - **Memory has bounds**: block buffers, connections, known addresses, requests that wait.
//! - **Every request ends**: between honest nodes each is served or rejected while the connection stands.
//! - **Everybody finishes**: honest nodes that stay have everything before time is up.
//!
//! The cheap ones are looked at where the thing happens. A node as a whole is looked at every few hundred events, each in its
//! turn, and all of them at the end.

use super::config::NodeId;
use super::world::World;
use samara_swarm::Announce;
use samara_wire::id::{BLOCK_LEN, BlockRef};
use samara_wire::time::Instant;
use std::fmt;
use std::net::SocketAddr;

/// Requests that may wait at a peer, as it says in its handshake.
const MAX_WAITING: usize = 512;

/// Addresses that a torrent may know.
const MAX_KNOWN: u32 = 2_000;

/// A request between honest nodes is answered within this time, in microseconds, however slow the link.
const ANSWERED_WITHIN: u64 = 600_000_000;

/// Something that must hold does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Seed of the world.
    pub seed: u64,
    /// When.
    pub at: Instant,
    /// Number of the event.
    pub event: u64,
    /// Whose fault it is, or who suffers it.
    pub node: NodeId,
    /// In words.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, at, event, node, what } = self;
        write!(f, "seed {seed}, {at:?}, event {event}, node {}: {what}", node.0)
    }
}

impl World {
    /// Ends the run: something does not hold. The first thing counts.
    pub(super) fn breaks(&mut self, node: NodeId, what: impl Into<String>) {
        if self.broken.is_none() {
            self.broken = Some(Broken {
                seed: self.config.seed,
                at: self.now(),
                event: self.events,
                node,
                what: what.into(),
            });
        }
    }

    pub(super) fn check_served(&mut self, id: NodeId, block: BlockRef) {
        let node = &self.nodes[id.at()];
        if node.is_honest() && !node.disk.written.has(block.piece) {
            self.breaks(id, format!("serves a block of piece {}, not verified", block.piece));
        }
    }

    pub(super) fn check_ban(&mut self, id: NodeId, addr: SocketAddr) {
        let culprit = self.by_ip.get(&addr.ip()).map(|id| (*id, &self.nodes[id.at()]));
        let guilty = culprit.is_some_and(|(_, node)| node.config.behaviour.corrupts());
        if self.nodes[id.at()].is_honest() && !guilty {
            let whom = culprit.map_or("nobody".to_owned(), |(id, node)| {
                format!("node {} ({})", id.0, node.config.behaviour.name())
            });
            self.breaks(id, format!("bans {whom}, who sent nothing wrong"));
        }
    }

    /// Bytes of the pieces on a node's disk.
    fn bytes_on_disk(&self, id: NodeId) -> u64 {
        let written = &self.nodes[id.at()].disk.written;
        let nominal = u64::from(written.count()) * u64::from(self.layout.piece_len());
        let short = self.layout.short_pieces().iter().filter(|(piece, _)| written.has(*piece));
        nominal - short.map(|(_, len)| u64::from(self.layout.piece_len() - len)).sum::<u64>()
    }

    pub(super) fn check_announce(&mut self, id: NodeId, announce: &Announce) {
        let (node, told) = (&self.nodes[id.at()], &announce.request);
        if !node.is_honest() || told.event == samara_wire::tracker::AnnounceEvent::Stopped {
            return;
        }
        let left = self.layout.total_len() - self.bytes_on_disk(id);
        let truth = (node.ledger.sent, node.ledger.received, left);
        if (told.uploaded, told.downloaded, told.left) != truth {
            let told = (told.uploaded, told.downloaded, told.left);
            self.breaks(id, format!("tells the tracker {told:?} where {truth:?} is true"));
        }
    }

    /// Looks at the next node in every detail.
    pub(super) fn check_next(&mut self) {
        if !self.nodes.is_empty() {
            self.next_checked = (self.next_checked + 1) % self.nodes.len();
            self.check_node(NodeId(u32::try_from(self.next_checked).unwrap_or(0)));
        }
    }

    fn check_node(&mut self, id: NodeId) {
        let node = &self.nodes[id.at()];
        if !node.is_honest() || !node.alive {
            return;
        }
        let wrong = self
            .wrong_bytes(id)
            .or_else(|| self.wrong_memory(id))
            .or_else(|| self.unanswered(id, ANSWERED_WITHIN));
        if let Some(what) = wrong {
            self.breaks(id, what);
        }
    }

    fn wrong_bytes(&self, id: NodeId) -> Option<String> {
        let node = &self.nodes[id.at()];
        let (stats, ledger) = (node.torrent.stats(self.now()), &node.ledger);
        let told = (stats.uploaded, stats.downloaded, stats.wasted, stats.corrupt);
        let seen = (ledger.sent, ledger.received, ledger.wasted, ledger.corrupt);
        if told != seen {
            return Some(format!(
                "counts {told:?} bytes sent, received, wasted, corrupt where {seen:?} were"
            ));
        }
        let ends = ledger.wasted + ledger.verified + ledger.corrupt + ledger.lost + ledger.held;
        if ledger.received != ends {
            return Some(format!("received {} bytes of which {ends} are known", ledger.received));
        }
        if node.torrent.have() != &node.disk.written {
            return Some("says it has pieces that its disk has not, or the reverse".to_owned());
        }
        let held = (0u32..).zip(&node.held).filter_map(|(piece, held)| {
            let blocks = (0u32..).zip(&held.as_ref()?.contents).filter(|(_, c)| c.is_some());
            let piece = samara_wire::id::PieceIndex(piece);
            let len = |index| self.layout.block(piece, index).map_or(0, |b| u64::from(b.len));
            Some(blocks.map(|(index, _)| len(index)).sum::<u64>())
        });
        let held: u64 = held.sum();
        (held != ledger.held)
            .then(|| format!("holds {held} bytes of blocks where {} are counted", ledger.held))
    }

    fn wrong_memory(&self, id: NodeId) -> Option<String> {
        let node = &self.nodes[id.at()];
        let (stats, config) = (node.torrent.stats(self.now()), &node.config);
        let peers = node.torrent.peer_count();
        if peers > config.max_peers || peers != node.links.iter().flatten().count() {
            return Some(format!("has {peers} peers of {} at most", config.max_peers));
        }
        if stats.known_peers > MAX_KNOWN {
            return Some(format!("knows {} addresses", stats.known_peers));
        }
        // Every peer may always have two blocks under way, and as many again that were asked for before buffers ran out.
        let lent = config.max_peers as u64 * 4 * u64::from(BLOCK_LEN);
        let budget = config.disk.buffers.saturating_add(lent);
        if node.ledger.held > budget {
            return Some(format!("holds {} bytes of blocks of {budget}", node.ledger.held));
        }
        let waiting = node.links.iter().flatten().map(|l| node.torrent.upcoming(l.key).count());
        let most = waiting.max().unwrap_or(0);
        (most > MAX_WAITING).then(|| format!("lets {most} requests of one peer wait"))
    }

    /// A request between honest nodes that had no answer for longer than `within`.
    fn unanswered(&self, id: NodeId, within: u64) -> Option<String> {
        for link in self.nodes[id.at()].links.iter().flatten() {
            let conn = self.conns.get(link.conn)?;
            let (own, other) = (&conn.ends[link.end], &conn.ends[1 - link.end]);
            let server = &self.nodes[other.node.at()];
            let there = server.is_honest() && server.alive && server.epoch == other.epoch;
            let late = self.now.saturating_sub(own.asked_since) > within;
            if there && own.asked > 0 && late && !self.is_cut(own.node, other.node) {
                let node = other.node.0;
                return Some(format!("{} requests to node {node} have no answer", own.asked));
            }
        }
        None
    }

    /// All is done, and has had time to come to its end.
    pub(super) fn check_end(&mut self) {
        for place in 0..self.nodes.len() {
            let id = NodeId(u32::try_from(place).unwrap_or(0));
            self.check_node(id);
            if self.nodes[place].is_honest()
                && self.nodes[place].alive
                && let Some(what) = self.unanswered(id, 20_000_000)
            {
                self.breaks(id, what);
            }
        }
        let (sent, here) = (self.record.all_sent, self.record.delivered + self.record.dropped);
        let under_way = self.conns.under_way() + self.bytes_on_streams();
        if sent != here + under_way {
            let what = format!("{sent} bytes were sent, {here} ended, {under_way} are under way");
            self.breaks(NodeId(0), what);
        }
    }

    /// Time is up.
    pub(super) fn check_finished(&mut self) {
        let late =
            self.nodes().find(|(_, node)| node.is_honest() && !node.left && !node.is_complete());
        if let Some((id, pieces)) = late.map(|(id, node)| (id, node.pieces())) {
            let (waiting, of) = (self.waiting, self.layout.count());
            let what = format!(
                "has {pieces} of {of} pieces when time is up; {waiting} honest nodes have not finished"
            );
            self.breaks(id, what);
        }
    }
}

#[cfg(test)]
mod tests;
