//! One torrent in its shard: the shell around [`samara_swarm::Torrent`].
//!
//! Everything that happens to the torrent passes through [`TorrentShell::with_live`], which tells the core and
//! then carries out what the core put in its outbox. Nothing is borrowed across an await.
//!
//! | file | does |
//! | --- | --- |
//! | `effects` | carries out what the core decided |
//! | `pieces` | keeps the blocks of unfinished pieces |
//! | `company` | lets finished pieces wait for each other |
//! | `storage` | disk jobs and their outcomes, credit, failure and recovery |
//! | `start` | finds out what is there, and begins |
//! | `plan` | what of the data that is there may be trusted |
//! | `recheck` | files that somebody else changed |
//! | `keeper` | the torrent's deadlines |
//! | `save` | resume data |
//! | `spares` | second connections with peers of which the other end may keep either |
//! | `stop` | pausing, stopping, removing |
//! | `trackers` | the owner's say in the trackers |

mod company;
mod effects;
mod keeper;
mod life;
mod pieces;
pub(crate) mod plan;
mod recheck;
mod save;
mod spares;
mod start;
mod stop;
mod storage;
mod trackers;

use crate::command::TorrentCommand;
use crate::config::Existing;
use crate::connections::Place;
use crate::dial::our_handshake;
use crate::discovery::{Found, Seeking};
use crate::greet::Incoming;
use crate::peer::{self, Peer};
use crate::shard::ShardEnv;
use crate::shared::Taker;
use crate::stream::PeerStream;
use crate::timers::Armed;
use crate::torrent::TorrentShared;
use life::Life;
use pieces::PieceBuffers;
use samara_disk::{FinishedPiece, Store};
use samara_swarm::torrent::{Direction, NewPeer, PeerSource};
use samara_swarm::{DisconnectReason, Outbox, PeerKey, Torrent};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::layout::PieceLayout;
use samara_wire::peer::handshake::{Handshake, Reserved};
use samara_wire::time::Instant;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};

/// One torrent in its shard.
pub(crate) struct TorrentShell {
    pub(crate) env: Rc<ShardEnv>,
    pub(crate) shared: Arc<TorrentShared>,
    pub(crate) store: Store,
    options: Options,
    /// `None` until what is on disk is known.
    live: RefCell<Option<Live>>,
    life: RefCell<Life>,
    /// Its entry among the shard's timers.
    armed: Armed,
    /// Tells whoever waits for the end that something came nearer to it.
    changed: Notify,
    /// Held by whoever changes the record, so that no two do at once.
    record_turn: OnceCell<Box<tokio::sync::Mutex<()>>>,
}

/// What its owner chose when the torrent was added, as far as it is needed later.
struct Options {
    /// Indices of files wanted; `None`: all.
    files: Option<Vec<usize>>,
    sequential: bool,
    super_seeding: bool,
    upload_only: bool,
    existing: Existing,
    announce: bool,
    seek: bool,
}

/// The core and what belongs to it.
pub(crate) struct Live {
    pub(crate) core: Torrent,
    pub(crate) out: Outbox,
    pub(crate) pieces: PieceBuffers,
    /// By the slot of the key.
    peers: Vec<Option<Rc<Peer>>>,
    /// The verified pieces that were on disk for sure when it was last synced.
    synced: Bitfield,
    /// The pieces that a record on disk may claim. Nothing unverified is written in their place: after a crash, the record might
    /// be believed of it.
    claimed: Bitfield,
    /// Finished pieces that wait for company.
    finished: Vec<FinishedPiece>,
    /// Peers with something to be flushed.
    dirty: Vec<Rc<Peer>>,
    /// Dials under way.
    dials: BTreeMap<SocketAddr, AbortHandle>,
    /// Kept while the torrent downloads and so shares the block buffers.
    taker: Option<Taker>,
    /// Kept while peers are sought without trackers.
    seeking: Option<Seeking>,
}

/// A connection whose handshake is done, on its way to the core.
pub(crate) struct Newcomer {
    pub(crate) stream: PeerStream,
    pub(crate) addr: SocketAddr,
    pub(crate) direction: Direction,
    pub(crate) peer_id: PeerId,
    pub(crate) reserved: Reserved,
    pub(crate) place: Place,
    /// To be sent before anything else.
    pub(crate) greeting: Vec<u8>,
}

impl Live {
    fn new(core: Torrent, claimed: Bitfield) -> Self {
        Self {
            synced: core.have().clone(),
            claimed,
            core,
            out: Outbox::new(),
            pieces: PieceBuffers::default(),
            peers: Vec::new(),
            finished: Vec::new(),
            dirty: Vec::new(),
            dials: BTreeMap::new(),
            taker: None,
            seeking: None,
        }
    }

    /// The peer called `key`, if it is still connected.
    fn peer(&self, key: PeerKey) -> Option<&Rc<Peer>> {
        self.peers.get(key.slot as usize)?.as_ref().filter(|peer| peer.key == key)
    }

    fn insert_peer(&mut self, peer: &Rc<Peer>) {
        let slot = peer.key.slot as usize;
        if self.peers.len() <= slot {
            self.peers.resize(slot + 1, None);
        }
        self.peers[slot] = Some(Rc::clone(peer));
    }

    fn take_peer(&mut self, key: PeerKey) -> Option<Rc<Peer>> {
        self.peers.get_mut(key.slot as usize)?.take_if(|peer| peer.key == key)
    }
}

impl TorrentShell {
    /// See [`TorrentShell::record_turn`]; made when it is first needed, as most torrents rest.
    fn record_turn(&self) -> &tokio::sync::Mutex<()> {
        self.record_turn.get_or_init(Box::default)
    }

    pub(crate) fn layout(&self) -> &PieceLayout {
        self.shared.metainfo.info.layout()
    }

    pub(crate) fn handshake(&self, hash: WireHash) -> Handshake {
        let mut ours = our_handshake(hash, self.env.shared.peer_id());
        let private = self.shared.metainfo.info.is_private();
        if !private && self.env.shared.dht_port().is_some() {
            ours.reserved = ours.reserved.with_dht();
        }
        ours
    }

    /// Has `f` tell the core what happened, then does what the core wants done. `None` while the torrent is
    /// being checked or has stopped.
    pub(crate) fn with_live<R>(
        self: &Rc<Self>,
        f: impl FnOnce(&mut Live, Instant) -> R,
    ) -> Option<R> {
        let mut guard = self.live.borrow_mut();
        let live = guard.as_mut()?;
        let now = self.env.now();
        let result = f(live, now);
        self.settle(live, now);
        Some(result)
    }

    /// Looks at the core without changing anything.
    fn peek<R>(&self, f: impl FnOnce(&Live, Instant) -> R) -> Option<R> {
        self.live.borrow().as_ref().map(|live| f(live, self.env.now()))
    }

    pub(crate) fn handle_command(self: &Rc<Self>, command: TorrentCommand) {
        // Answers that nobody waits for any more are no trouble.
        match command {
            TorrentCommand::Peers(answer) => {
                let _ = answer.send(self.peek(|l, now| l.core.peer_stats(now)).unwrap_or_default());
            }
            TorrentCommand::FileProgress(answer) => {
                let _ = answer.send(self.file_progress());
            }
            TorrentCommand::AddPeers(peers) => self.add_peers(&peers),
            TorrentCommand::Found(Found { source, peers }) => {
                self.with_live(|live, now| {
                    live.core.handle_peers(now, source, &peers, &mut live.out);
                });
            }
            TorrentCommand::Trackers(answer) => {
                let _ = answer.send(self.trackers());
            }
            TorrentCommand::EditTrackers(edit, answer) => {
                self.edit_trackers(edit, answer);
            }
            TorrentCommand::AnnounceNow => self.announce_now(),
            TorrentCommand::Pause => self.pause(),
            TorrentCommand::Resume => self.resume(),
            TorrentCommand::Remove { delete_files, done } => {
                let shell = Rc::clone(self);
                spawn_local(async move {
                    shell.remove(delete_files).await;
                    let _ = done.send(());
                });
            }
        }
    }

    /// Whether its owner is waiting for its first peers.
    fn is_new(&self) -> bool {
        self.env.now() < self.life.borrow().new_until
    }

    fn add_peers(self: &Rc<Self>, peers: &[SocketAddr]) {
        let told = self.with_live(|live, now| {
            live.core.handle_peers(now, PeerSource::User, peers, &mut live.out);
        });
        if told.is_none() {
            self.life.borrow_mut().keep_peers(peers);
        }
    }

    /// A peer dialled us.
    pub(crate) fn handle_incoming(self: &Rc<Self>, incoming: Incoming) {
        let Incoming { stream, addr, handshake, place } = incoming;
        let stream = match stream.attach() {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%addr, %error, "newcomer lost"),
        };
        self.handle_newcomer(Newcomer {
            stream,
            addr,
            direction: Direction::Incoming,
            peer_id: handshake.peer_id,
            reserved: handshake.reserved,
            place,
            greeting: self.handshake(handshake.info_hash).encode().to_vec(),
        });
    }

    /// A handshake is done: asks the core and, if it agrees, drives the connection.
    pub(crate) fn handle_newcomer(self: &Rc<Self>, newcomer: Newcomer) {
        let Some(newcomer) = self.life.borrow_mut().keep(newcomer) else { return };
        let Newcomer { stream, addr, direction, peer_id, reserved, place, greeting } = newcomer;
        // The filter may have changed while it was on its way.
        let blocked = self.env.shared.ip_filter.blocks(addr.ip());
        if blocked || !self.life.borrow().is_running() {
            if direction == Direction::Outgoing {
                self.dial_failed(addr);
            }
            return;
        }
        let admitted = self.with_live(|live, now| {
            if direction == Direction::Outgoing {
                live.dials.remove(&addr);
            }
            let utp = stream.is_utp();
            let new = NewPeer { addr, direction, utp, peer_id, reserved };
            let admitted = live.core.handle_peer_connected(now, new, &mut live.out);
            match admitted {
                Ok(key) => {
                    tracing::debug!(%addr, id = %peer_id, ?direction, "peer connected");
                    let meters = self.shared.limits.meters(addr.ip());
                    let peer = Peer::new(key, addr, stream, place, meters, &greeting);
                    let peer = Rc::new(peer);
                    live.insert_peer(&peer);
                    // The core may have nothing to say to it, but our handshake must go out.
                    if peer.mark_dirty() {
                        live.dirty.push(Rc::clone(&peer));
                    }
                    Some(peer)
                }
                Err(reason) => {
                    tracing::debug!(%addr, ?reason, "peer refused");
                    // The other end should learn who we are: it may be ourselves, or know us already.
                    let _ = stream.try_write_vectored(&[IoSlice::new(&greeting)]);
                    if reason == DisconnectReason::Spare {
                        let greeting = Vec::new();
                        let spare = Newcomer {
                            stream,
                            addr,
                            direction,
                            peer_id,
                            reserved,
                            place,
                            greeting,
                        };
                        self.life.borrow_mut().keep_spare(now, spare);
                    }
                    None
                }
            }
        });
        if let Some(Some(peer)) = admitted {
            spawn_local(peer::run(Rc::clone(self), peer));
        }
    }

    pub(crate) fn dial_failed(self: &Rc<Self>, addr: SocketAddr) {
        self.with_live(|live, now| {
            live.dials.remove(&addr);
            live.core.handle_dial_failed(now, addr, &mut live.out);
        });
    }

    /// A dial takes long, and goes on.
    pub(crate) fn dial_slow(self: &Rc<Self>, addr: SocketAddr) {
        self.with_live(|live, now| live.core.handle_dial_slow(now, addr, &mut live.out));
    }

    /// A connection that was to be begun from both ends did not come about.
    pub(crate) fn punch_failed(self: &Rc<Self>, addr: SocketAddr) {
        self.with_live(|live, now| live.core.handle_punch_failed(now, addr, &mut live.out));
    }

    /// Ends the connections with peers that the IP filter blocks.
    pub(crate) fn leave_blocked(&self) {
        let filter = &self.env.shared.ip_filter;
        let live = self.live.borrow();
        let peers = live.iter().flat_map(|live| live.peers.iter().flatten());
        for peer in peers.filter(|peer| filter.blocks(peer.addr.ip())) {
            tracing::debug!(addr = %peer.addr, "the IP filter blocks it now");
            peer.close();
        }
    }

    /// The connection of `peer` has ended.
    pub(crate) fn peer_gone(self: &Rc<Self>, peer: &Peer) {
        let gone = self.with_live(|live, now| {
            // If it is not there, the core closed it and has forgotten it.
            let gone = live.take_peer(peer.key).is_some();
            if gone {
                live.core.handle_disconnected(now, peer.key, &mut live.out);
            }
            gone
        });
        if gone == Some(true) {
            self.offer_spares();
        }
    }

    /// Writes to `peer` what there is to write. True if its budget was spent.
    pub(crate) fn pump_peer(self: &Rc<Self>, peer: &Rc<Peer>) -> bool {
        self.with_live(|live, now| peer::pump(self, live, peer, now)).unwrap_or(false)
    }

    /// Verified bytes of each file.
    fn file_progress(&self) -> Vec<u64> {
        let info = &self.shared.metainfo.info;
        let layout = info.layout();
        let progress = |live: &Live, _| {
            let have = live.core.have();
            let of_file = |(index, file): (u32, &samara_wire::metainfo::FileEntry)| {
                let pieces = info.pieces_of_file(samara_wire::id::FileIndex(index));
                let there = pieces.map(samara_wire::id::PieceIndex).filter(|&p| have.has(p));
                there
                    .map(|piece| {
                        let begin = layout.offset_of(piece).max(file.offset);
                        let end = layout.offset_of(piece) + u64::from(layout.len_of(piece));
                        end.min(file.offset + file.len).saturating_sub(begin)
                    })
                    .sum()
            };
            (0..).zip(info.files()).map(of_file).collect()
        };
        self.peek(progress).unwrap_or_else(|| vec![0; info.files().len()])
    }
}
