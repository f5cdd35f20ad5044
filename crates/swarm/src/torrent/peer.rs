//! What a torrent knows of one connected peer.

use super::crowd::Counted;
use super::holepunch::PeerHolepunch;
use super::pex::PexState;
use super::suggest::Suggested;
use super::{Direction, NewPeer, PeerKey};
use crate::outbox::{Effect, Outbox};
use crate::pipeline::Pipeline;
use crate::rate::RateMeter;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BlockRef, PeerId, PieceIndex};
use samara_wire::peer::handshake::Reserved;
use samara_wire::peer::hashes::HashRequest;
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

/// Requests of one peer that may wait to be served. We say so in `reqq` (BEP 10).
pub(super) const MAX_SERVE_QUEUE: usize = 512;

/// Blocks no longer asked of a peer that may still be under way. A peer that sends anything else, unasked,
/// breaks the protocol; one that sends these was merely overtaken by a choke, a cancel or a time-out.
const MAX_RELEASED: usize = 2048;

/// Allowed-fast and suggested pieces remembered per peer (BEP 6 speaks of about ten).
pub(super) const MAX_FAST_PIECES: usize = 64;

/// A block asked for and not yet received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outstanding {
    pub(super) block: BlockRef,
    pub(super) since: Instant,
}

/// One connected peer.
///
/// What nearly every message looks at comes first and together, with layout as written: a swarm's many peers are not in any cache.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Peer {
    pub(super) key: PeerKey,
    /// The pieces it has, as far as it told.
    pub(super) has: Bitfield,
    pub(super) last_received: Instant,
    pub(super) last_sent: Instant,
    /// How many pieces it has that we want and lack. Interest follows from it without a scan.
    pub(super) useful: u32,
    /// A message of it has come: it is done with our handshake.
    pub(super) has_spoken: bool,
    /// A first `bitfield`, `have all` or `have none` is no longer awaited.
    pub(super) past_bitfield: bool,
    pub(super) choking_us: bool,
    pub(super) choked_by_us: bool,
    pub(super) interested_in_us: bool,
    pub(super) interested_by_us: bool,
    /// It wants no payload (BEP 21).
    pub(super) upload_only: bool,
    /// As what it is counted in [`super::crowd::Crowd`].
    pub(super) counted: Counted,

    /// Asked of it and not yet received, oldest first.
    pub(super) outstanding: VecDeque<Outstanding>,
    /// When a payload byte last came.
    pub(super) last_payload: Instant,
    /// Pieces it lets us request while choked (BEP 6).
    pub(super) allowed_fast: Vec<PieceIndex>,

    pub(super) pipeline: Pipeline,
    pub(super) down: RateMeter,
    pub(super) up: RateMeter,
    /// Asked of us and not yet served.
    pub(super) serve_queue: VecDeque<BlockRef>,
    /// Pieces of the info dictionary it asked for and was not yet sent.
    pub(super) metadata_queue: VecDeque<u32>,
    /// Parts of hash trees it asked for and was not yet sent.
    pub(super) hash_queue: VecDeque<HashRequest>,
    /// Pieces we let it request while choked (BEP 6).
    pub(super) granted_fast: Vec<PieceIndex>,
    pub(super) uploaded_this_unchoke: u64,
    pub(super) unchoked_at: Option<Instant>,
    pub(super) connected_at: Instant,
    released: VecDeque<BlockRef>,
    /// Pieces it suggested (BEP 6).
    pub(super) suggested: Suggested,
    /// The piece last suggested to it.
    pub(super) was_suggested: Option<PieceIndex>,
    /// Payload bytes it sent or was sent; a connection that moved none was of no use.
    pub(super) payload_moved: u64,
    /// Those of them that it sent.
    pub(super) received: u64,
    /// Super-seeding: the piece last revealed to it, until another peer has it too.
    pub(super) revealed: Option<PieceIndex>,

    pub(super) addr: SocketAddr,
    pub(super) direction: Direction,
    pub(super) utp: bool,
    pub(super) peer_id: PeerId,
    pub(super) reserved: Reserved,
    /// `v` of its extension handshake.
    pub(super) client: Option<String>,
    /// The id it gave for `upload_only` messages (BEP 10, 21); 0: none.
    pub(super) upload_only_id: u8,
    /// The id it gave for `ut_metadata` messages (BEP 9); 0: none.
    pub(super) metadata_id: u8,
    /// Pieces of the info dictionary it was granted.
    pub(super) metadata_given: u32,
    /// Hash requests of it that were granted.
    pub(super) hashes_given: u32,
    /// It has told the port of its DHT node.
    pub(super) told_dht_port: bool,
    /// Peer exchange with it.
    pub(super) pex: PexState,
    pub(super) holepunch: PeerHolepunch,
}

impl Peer {
    pub(super) fn new(now: Instant, key: PeerKey, new: NewPeer, pieces: u32) -> Self {
        Self {
            key,
            has: Bitfield::empty(pieces),
            last_received: now,
            last_sent: now,
            useful: 0,
            has_spoken: false,
            past_bitfield: false,
            choking_us: true,
            choked_by_us: true,
            interested_in_us: false,
            interested_by_us: false,
            upload_only: false,
            counted: Counted::Not,
            outstanding: VecDeque::new(),
            last_payload: now,
            allowed_fast: Vec::new(),
            pipeline: Pipeline::new(),
            down: RateMeter::new(),
            up: RateMeter::new(),
            serve_queue: VecDeque::new(),
            metadata_queue: VecDeque::new(),
            hash_queue: VecDeque::new(),
            granted_fast: Vec::new(),
            uploaded_this_unchoke: 0,
            unchoked_at: None,
            connected_at: now,
            released: VecDeque::new(),
            suggested: Suggested::new(),
            was_suggested: None,
            payload_moved: 0,
            received: 0,
            revealed: None,
            addr: new.addr,
            direction: new.direction,
            utp: new.utp,
            peer_id: new.peer_id,
            reserved: new.reserved,
            client: None,
            upload_only_id: 0,
            metadata_id: 0,
            metadata_given: 0,
            hashes_given: 0,
            told_dht_port: false,
            pex: PexState::default(),
            holepunch: PeerHolepunch::default(),
        }
    }

    /// Whether it has every piece. An all-zero bitfield of full size is no seed (and a torrent without
    /// pieces has nothing to seed).
    pub(super) fn is_seed(&self) -> bool {
        self.has.is_full() && !self.has.is_empty()
    }

    /// Whether both sides speak the fast extension (BEP 6); we always do.
    pub(super) fn fast(&self) -> bool {
        self.reserved.fast()
    }

    /// Takes `block` off the outstanding requests.
    pub(super) fn take_outstanding(&mut self, block: &BlockRef) -> Option<Outstanding> {
        let at = self.outstanding.iter().position(|o| o.block == *block)?;
        self.outstanding.remove(at)
    }

    /// Remembers that `block`, asked for before, may still arrive.
    pub(super) fn remember_released(&mut self, block: BlockRef) {
        if self.released.len() == MAX_RELEASED {
            self.released.pop_front();
        }
        self.released.push_back(block);
    }

    pub(super) fn was_released(&self, block: &BlockRef) -> bool {
        self.released.contains(block)
    }

    pub(super) fn forget_released(&mut self, block: &BlockRef) {
        if let Some(at) = self.released.iter().position(|b| b == block) {
            self.released.remove(at);
        }
    }

    /// Whether `block` may be served now: unchoked, or of a piece granted by allowed-fast.
    pub(super) fn may_be_served(&self, block: &BlockRef) -> bool {
        !self.choked_by_us || self.granted_fast.contains(&block.piece)
    }

    /// Drops the requests for which `which` holds: silently as BEP 3 has it, or with a reject each as BEP 6 has it.
    pub(super) fn drop_requests(&mut self, which: impl Fn(&BlockRef) -> bool, out: &mut Outbox) {
        let (key, fast) = (self.key, self.fast());
        self.serve_queue.retain(|block| {
            let dropped = which(block);
            if dropped && fast {
                out.push(Effect::Send(key, Message::Reject(*block)));
            }
            !dropped
        });
    }
}
