//! The state machine of one torrent.
//!
//! [`Torrent`] is told what happened — a peer connected, a message or a block arrived, a piece was verified,
//! a tracker answered, time passed — and leaves what is to be done in an [`Outbox`]. It never sees a payload
//! byte, a socket, a file or a clock.
//!
//! | file | decides |
//! | --- | --- |
//! | `connect` | who is a peer: dialling, duplicates, leaving |
//! | `messages` | what each message of the peer protocol means (BEP 3, 6, 10, 21) |
//! | `download` | what to request from whom, and what becomes of what arrives |
//! | `verify` | what a good or a bad piece leads to |
//! | `upload` | choking, and what is served |
//! | `crowd` | how many want something of us |
//! | `suggest` | which pieces are suggested to whom (BEP 6) |
//! | `super_seed` | what a super-seed reveals (BEP 16) |
//! | `metadata` | who is given the info dictionary (BEP 9) |
//! | `hashes` | who is given parts of the hash trees (BEP 52) |
//! | `pex` | which peers are told of which, and what becomes of what they tell (BEP 11) |
//! | `holepunch` | who is reached through NATs with the help of whom (BEP 55) |
//! | `announcing` | trackers and the addresses they name |
//! | `external` | what our own address is, as others see it (BEP 10, 24) |
//! | `seeking` | finding peers without trackers (BEP 5, 14), and that a private torrent does not (BEP 27) |
//! | `timers` | what time alone brings about |
//!
//! Invariants, checked in debug builds and by the simulator:
//! - a block is outstanding at a peer exactly when the picker has it requested by that peer;
//! - `Peer::useful` is the number of pieces that the peer has and [`Picker::wants`];
//! - we are interested in a peer exactly when `useful > 0`;
//! - nothing is sent to a peer after its `Disconnect`.

mod allowed_fast;
mod announcing;
mod connect;
mod crowd;
mod download;
mod extension;
mod external;
mod hashes;
mod holepunch;
#[cfg(any(test, feature = "fuzzing"))]
mod invariants;
mod messages;
mod metadata;
mod peer;
mod pex;
mod seeking;
mod stats;
mod suggest;
mod super_seed;
mod table;
mod timers;
mod types;
mod upload;
mod verify;

#[cfg(test)]
mod tests;

pub use types::{
    BlockDigests, BlockVerdict, Direction, NewPeer, PeerKey, PeerSource, PeerStats, TorrentConfig,
    TorrentStats,
};

use crate::announcer::Announcer;
use crate::blame::Blame;
use crate::choker::Choker;
use crate::outbox::{DisconnectReason, Effect, Event, Outbox};
use crate::peer_list::{PeerList, PeerListConfig};
use crate::picker::Picker;
use crate::rate::RateMeter;
use crate::rng::Rng;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use external::External;
use holepunch::Holepunch;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{InfoHashes, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::metainfo::Info;
use samara_wire::time::Instant;
use table::PeerTable;

/// One torrent. See the module's head for the contract.
#[derive(Debug)]
pub struct Torrent {
    config: TorrentConfig,
    hashes: InfoHashes,
    layout: PieceLayout,
    /// The info dictionary, if it is to be given to others.
    metadata: Option<Info>,
    /// Made with the first hash request.
    layered: Option<hashes::Layered>,
    have: Bitfield,
    picker: Picker,
    peers: PeerTable,
    peer_list: PeerList,
    dialling: Vec<SocketAddr>,
    /// Peers that left lately, oldest first, so that blame can still name them.
    departed: VecDeque<(PeerKey, SocketAddr)>,
    choker: Choker,
    announcer: Announcer,
    blame: Blame<SocketAddr>,
    rng: Rng,
    holepunch: Holepunch,
    crowd: crowd::Crowd,
    /// Grows with every change of who is connected.
    pex_version: u64,
    /// When the next peer is to be told of others, while that is known.
    pex_due: Option<Option<Instant>>,
    running: bool,
    /// What was last said by [`Effect::Seek`], while it holds.
    sought: Option<bool>,
    external: External,
    /// Whether `Event::Complete` was told since the torrent last became incomplete.
    complete: bool,
    /// Bytes of block buffers the shell can still fill, less what is asked for already.
    credit: u64,
    /// Peers that let us ask and have something we want, as last counted.
    sources: usize,
    /// Made with the first suggestion.
    walk: Option<suggest::Walk>,
    /// Blocks asked of peers that bring none, as last counted.
    stuck: u64,
    /// Whether the last few blocks are all asked of such peers, as last seen.
    held_up: bool,
    /// Bytes asked for beyond the credit since it was last exhausted.
    overdraft: u64,
    /// Bytes asked for and not yet received, over all peers.
    outstanding_bytes: u64,
    counters: Counters,
    down: RateMeter,
    up: RateMeter,
    next_tick: Option<Instant>,
    /// Reused by `pick`.
    picked: Vec<samara_wire::id::BlockRef>,
}

/// Payload bytes since the torrent was made.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    downloaded: u64,
    uploaded: u64,
    wasted: u64,
    corrupt: u64,
}

impl Torrent {
    /// A torrent of which the pieces in `have` are verified already. Nothing goes out before
    /// [`Torrent::handle_start`].
    ///
    /// # Panics
    /// If `have` is not over the pieces of `layout`.
    #[must_use]
    pub fn new(
        now: Instant,
        mut config: TorrentConfig,
        hashes: InfoHashes,
        layout: PieceLayout,
        have: Bitfield,
    ) -> Self {
        assert_eq!(have.len(), layout.count(), "bitfield of another torrent");
        let mut rng = Rng::new(config.seed);
        let mut picker = Picker::new(layout.clone(), &have, rng.next_u64());
        picker.set_sequential(config.sequential);
        if config.super_seeding {
            picker.count_always();
        }
        let complete = picker.wanted_left() == 0;
        // The announcer keeps them: once is enough, of ten thousand torrents.
        let trackers = core::mem::take(&mut config.trackers);
        Self {
            picker,
            peers: PeerTable::default(),
            peer_list: PeerList::new(PeerListConfig::default(), rng.next_u64()),
            dialling: Vec::new(),
            departed: VecDeque::new(),
            choker: Choker::new(now, config.choker_config(), rng.next_u64()),
            announcer: Announcer::new(
                config.announcer_config(hashes.wire()),
                &trackers,
                rng.next_u64(),
            ),
            blame: Blame::new(),
            rng,
            holepunch: Holepunch::default(),
            crowd: crowd::Crowd::default(),
            pex_version: 0,
            pex_due: None,
            metadata: None,
            layered: None,
            running: false,
            sought: None,
            external: External::default(),
            complete,
            credit: u64::MAX,
            sources: 0,
            walk: None,
            stuck: 0,
            held_up: false,
            overdraft: 0,
            outstanding_bytes: 0,
            counters: Counters::default(),
            down: RateMeter::new(),
            up: RateMeter::new(),
            next_tick: None,
            picked: Vec::new(),
            config,
            hashes,
            layout,
            have,
        }
    }

    /// Begins to announce and to dial.
    pub fn handle_start(&mut self, now: Instant, out: &mut Outbox) {
        if self.running {
            return;
        }
        self.running = true;
        self.peer_list.set_seeding(now, self.complete);
        self.announcer.start(now);
        self.drive_announcer(now, out);
        self.seek(out);
        self.drive_dialling(now, out);
    }

    /// Closes all connections and announces `stopped` where `started` was heard.
    /// [`Torrent::is_stopped`] tells when those announces are answered.
    pub fn handle_stop(&mut self, now: Instant, out: &mut Outbox) {
        if !self.running {
            return;
        }
        self.running = false;
        for index in 0..self.peers.slots() {
            if let Some(key) = self.peers.key_at(index) {
                self.disconnect(now, key, DisconnectReason::Stopping, out);
            }
        }
        self.withdraw(out);
        let counters = self.announce_counters();
        self.announcer.stop();
        while let Some(announce) = self.announcer.poll(now, &counters) {
            out.push(Effect::Announce(alloc::boxed::Box::new(announce)));
        }
        self.next_tick = None;
    }

    /// Whether the torrent is stopped and no announce is under way.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        !self.running && self.announcer.is_stopped()
    }

    /// The verified pieces.
    #[must_use]
    pub const fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether every wanted piece is verified.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Blocks of unfinished pieces that an earlier run left on disk, not verified. To be called before the start.
    pub fn handle_partial_found(&mut self, piece: PieceIndex, blocks: &Bitfield, out: &mut Outbox) {
        if self.picker.restore_partial(piece, blocks) {
            out.push(Effect::VerifyPiece { piece, want_digests: false });
        }
    }

    /// The received blocks of each unfinished piece, for resume data.
    #[must_use]
    pub fn partial_pieces(&self) -> Vec<(PieceIndex, Bitfield)> {
        self.picker.partial_pieces().collect()
    }

    /// How much is wanted: a priority for each piece, 0 (not wanted) to 7; 4 is normal.
    ///
    /// # Panics
    /// If there is not one priority for each piece.
    pub fn set_priorities(&mut self, now: Instant, priorities: &[u8], out: &mut Outbox) {
        assert_eq!(priorities.len(), self.layout.count() as usize, "one priority a piece");
        self.picker.set_priorities(priorities);
        for peer in self.peers.iter_mut() {
            let wanted = peer.has.iter_difference(&self.have).filter(|&p| self.picker.wants(p));
            peer.useful = u32::try_from(wanted.count()).unwrap_or(u32::MAX);
        }
        self.after_wants_changed(now, out);
    }

    /// Pieces in order rather than rarest first.
    pub fn set_sequential(&mut self, sequential: bool) {
        self.picker.set_sequential(sequential);
    }

    /// Wants `piece` before all pieces with a later deadline or none; `None` takes the deadline away.
    pub fn set_deadline(&mut self, piece: PieceIndex, order: Option<u64>) {
        self.picker.set_deadline(piece, order);
    }

    /// Recomputes interest and completeness after the set of wanted pieces changed.
    fn after_wants_changed(&mut self, now: Instant, out: &mut Outbox) {
        let was = self.complete;
        self.complete = self.picker.wanted_left() == 0;
        for index in 0..self.peers.slots() {
            if let Some(key) = self.peers.key_at(index) {
                self.update_interest(now, key, out);
            }
        }
        if self.complete && !was {
            self.on_complete(now, out);
        } else if !self.complete && self.running {
            self.peer_list.set_seeding(now, false);
            self.request_from_all(now, out);
            self.drive_dialling(now, out);
        }
    }

    /// Everything wanted is here.
    fn on_complete(&mut self, now: Instant, out: &mut Outbox) {
        self.complete = true;
        self.peer_list.set_seeding(now, true);
        out.push(Effect::Event(Event::Complete));
        if self.have.is_full() && self.counters.downloaded > 0 {
            self.announcer.completed();
            self.drive_announcer(now, out);
        }
        self.seek(out);
        self.tell_upload_only(now, out);
        for index in 0..self.peers.slots() {
            if let Some(key) = self.peers.key_at(index) {
                self.drop_if_redundant(now, key, out);
            }
        }
    }
}
