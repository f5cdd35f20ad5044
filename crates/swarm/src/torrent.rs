//! The state machine of one torrent. SKELETON: the seam with the shell is fixed, the bodies come.

use crate::outbox::{AnnounceId, Outbox};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BlockRef, InfoHashes, PeerId, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::peer::handshake::Reserved;
use samara_wire::peer::message::Message;
use samara_wire::time::{Duration, Instant};
use samara_wire::tracker::AnnounceResponse;

/// Names a connected peer. Never used again for another while the torrent lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerKey {
    /// Place in the table of peers; small, so that a shell can use it as an index.
    pub slot: u32,
    /// Tells successive users of the slot apart.
    pub generation: u32,
}

/// Plain data that shapes a torrent's behaviour. `Default` is what a user wants.
#[derive(Clone, Debug)]
pub struct TorrentConfig {
    /// Seeds the torrent's randomness.
    pub seed: u64,
    /// Our peer id.
    pub peer_id: PeerId,
    /// Announce key (BEP 7): stable for a session.
    pub key: u32,
    /// The port we listen on, as announced.
    pub listen_port: u16,
    /// Connections at most.
    pub max_peers: usize,
    /// Unchoke slots at least; more are opened as the measured upload allows.
    pub upload_slots: usize,
    /// Private torrent (BEP 27): peers from trackers only.
    pub private: bool,
    /// Super-seeding (BEP 16).
    pub super_seeding: bool,
    /// Pieces in order rather than rarest first.
    pub sequential: bool,
    /// Tracker tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Trackers answer for peers on this machine or network too, so local addresses are dialled.
    pub client_version: String,
}

/// How a connection came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// They dialled us.
    Incoming,
    /// We dialled them, as [`crate::Effect::Dial`] asked.
    Outgoing,
}

/// A connection whose handshake is done.
#[derive(Clone, Copy, Debug)]
pub struct NewPeer {
    /// The other end's address as the socket tells it.
    pub addr: SocketAddr,
    /// Who dialled.
    pub direction: Direction,
    /// The other end's peer id.
    pub peer_id: PeerId,
    /// What the other end can do.
    pub reserved: Reserved,
}

/// Where an address of a peer was learned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerSource {
    /// The user named it.
    User,
    /// A tracker named it.
    Tracker,
    /// It connected to us.
    Incoming,
}

/// What to do with the payload of a `piece` message whose header was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockVerdict {
    /// Read it into a block buffer, then call `handle_block`.
    Wanted,
    /// Read and throw it away; it counts as waste. The connection stays.
    Unwanted,
    /// The peer broke the protocol; the core has put `Disconnect` in the outbox.
    Fault,
}

/// SHA-1 of each 16 KiB block of a piece, in order.
pub type BlockDigests = Box<[[u8; 20]]>;

/// Counters and rates of a torrent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct TorrentStats {
    /// Verified pieces.
    pub pieces_have: u32,
    /// All pieces.
    pub pieces_total: u32,
    /// Bytes of wanted pieces.
    pub wanted_bytes: u64,
    /// Bytes of wanted pieces that are verified.
    pub wanted_have_bytes: u64,
    /// Bytes of verified pieces, wanted or not.
    pub have_bytes: u64,
    /// Payload received in this run, waste included.
    pub downloaded: u64,
    /// Payload sent in this run.
    pub uploaded: u64,
    /// Payload received and thrown away: duplicates, unwanted.
    pub wasted: u64,
    /// Payload thrown away because its piece did not match.
    pub corrupt: u64,
    /// Payload bytes per second received, smoothed.
    pub down_rate: u64,
    /// Payload bytes per second sent, smoothed.
    pub up_rate: u64,
    /// Connected peers.
    pub peers: u32,
    /// Connected peers that have everything.
    pub seeds: u32,
    /// Known addresses.
    pub known_peers: u32,
    /// Copies of the rarest piece among connected peers.
    pub min_availability: u32,
}

/// A connected peer, for display.
#[derive(Clone, Debug)]
pub struct PeerStats {
    /// Its key.
    pub key: PeerKey,
    /// Its address.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
    /// `v` of its extension handshake (BEP 10).
    pub client: Option<String>,
    /// Pieces it has.
    pub pieces: u32,
    /// Bytes per second from it.
    pub down_rate: u64,
    /// Bytes per second to it.
    pub up_rate: u64,
    /// It chokes us.
    pub choking_us: bool,
    /// We choke it.
    pub choked_by_us: bool,
    /// We want something it has.
    pub interested_by_us: bool,
    /// It wants something we have.
    pub interested_in_us: bool,
}

/// One torrent. See the crate's head for the contract.
#[derive(Debug)]
pub struct Torrent {}

#[expect(unused_variables, missing_docs, clippy::todo, reason = "skeleton")]
impl Torrent {
    pub fn new(
        now: Instant,
        config: TorrentConfig,
        hashes: InfoHashes,
        layout: PieceLayout,
        have: Bitfield,
    ) -> Self {
        todo!()
    }
    /// Begins announcing and dialling. Until then, and after `handle_stop`, nothing goes out.
    pub fn handle_start(&mut self, now: Instant, out: &mut Outbox) {
        todo!()
    }
    /// Announces `stopped`, closes all connections. `is_stopped` tells when the announces are answered.
    pub fn handle_stop(&mut self, now: Instant, out: &mut Outbox) {
        todo!()
    }
    pub fn is_stopped(&self) -> bool {
        todo!()
    }
    /// The handshake is done. `None`: refused (Disconnect is NOT emitted; the shell closes). `reason` tells why.
    pub fn handle_peer_connected(
        &mut self,
        now: Instant,
        peer: NewPeer,
        out: &mut Outbox,
    ) -> Result<PeerKey, crate::DisconnectReason> {
        todo!()
    }
    pub fn handle_message(
        &mut self,
        now: Instant,
        peer: PeerKey,
        message: Message,
        out: &mut Outbox,
    ) {
        todo!()
    }
    /// The header of a `piece` message was read; its payload stands in the socket.
    pub fn handle_block_header(
        &mut self,
        now: Instant,
        peer: PeerKey,
        block: BlockRef,
        out: &mut Outbox,
    ) -> BlockVerdict {
        todo!()
    }
    /// The payload of a block that was `Wanted` is in a buffer. Answers whether the buffer is to be kept for
    /// its piece (`true`) or thrown away because another peer's copy came first.
    pub fn handle_block(
        &mut self,
        now: Instant,
        peer: PeerKey,
        block: BlockRef,
        out: &mut Outbox,
    ) -> bool {
        todo!()
    }
    /// Part of a payload arrived (for rates and time-outs): call at most once per read.
    pub fn handle_progress(&mut self, now: Instant, peer: PeerKey, bytes: u32) {
        todo!()
    }
    pub fn handle_piece_verified(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        digests: Option<BlockDigests>,
        out: &mut Outbox,
    ) {
        todo!()
    }
    pub fn handle_piece_failed(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        digests: BlockDigests,
        out: &mut Outbox,
    ) {
        todo!()
    }
    /// The piece could not be written: its blocks are lost and wanted again. The shell pauses the torrent.
    pub fn handle_write_failed(&mut self, now: Instant, piece: PieceIndex, out: &mut Outbox) {
        todo!()
    }
    /// Blocks of a piece found on disk at start (unverified, from an earlier run's shutdown).
    pub fn handle_partial_found(&mut self, piece: PieceIndex, blocks: &Bitfield) {
        todo!()
    }
    /// The next block to send to `peer`, if any is queued and it is not choked.
    pub fn poll_serve(&mut self, now: Instant, peer: PeerKey) -> Option<BlockRef> {
        todo!()
    }
    /// A block was written to the peer's socket.
    pub fn handle_served(&mut self, now: Instant, peer: PeerKey, block: BlockRef) {
        todo!()
    }
    /// The block could not be read from disk: rejected (fast) or dropped; the piece is no longer offered.
    pub fn handle_serve_failed(
        &mut self,
        now: Instant,
        peer: PeerKey,
        block: BlockRef,
        out: &mut Outbox,
    ) {
        todo!()
    }
    pub fn handle_disconnected(&mut self, now: Instant, peer: PeerKey, out: &mut Outbox) {
        todo!()
    }
    pub fn handle_dial_failed(&mut self, now: Instant, addr: SocketAddr, out: &mut Outbox) {
        todo!()
    }
    pub fn handle_peers(
        &mut self,
        now: Instant,
        source: PeerSource,
        addrs: &[SocketAddr],
        out: &mut Outbox,
    ) {
        todo!()
    }
    pub fn handle_announced(
        &mut self,
        now: Instant,
        id: AnnounceId,
        response: AnnounceResponse,
        out: &mut Outbox,
    ) {
        todo!()
    }
    pub fn handle_announce_failed(
        &mut self,
        now: Instant,
        id: AnnounceId,
        error: String,
        out: &mut Outbox,
    ) {
        todo!()
    }
    /// Bytes of block buffers that may still be filled: bounds what is requested.
    pub fn handle_write_credit(&mut self, now: Instant, bytes: u64, out: &mut Outbox) {
        todo!()
    }
    /// Priority of each piece, 0 (not wanted) to 7.
    pub fn set_priorities(&mut self, now: Instant, priorities: &[u8], out: &mut Outbox) {
        todo!()
    }
    pub fn set_sequential(&mut self, sequential: bool) {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        todo!()
    }
    pub fn next_timeout(&self) -> Option<Instant> {
        todo!()
    }
    pub fn have(&self) -> &Bitfield {
        todo!()
    }
    /// Whether everything wanted is verified.
    pub fn is_complete(&self) -> bool {
        todo!()
    }
    pub fn stats(&self, now: Instant) -> TorrentStats {
        todo!()
    }
    pub fn peer_stats(&self, now: Instant) -> Vec<PeerStats> {
        todo!()
    }
    /// Received blocks of unfinished pieces, for resume data.
    pub fn partial_pieces(&self) -> Vec<(PieceIndex, Bitfield)> {
        todo!()
    }
    #[expect(clippy::missing_const_for_fn)]
    pub fn min_interval() -> Duration {
        todo!()
    }
}
