//! Disk jobs and their outcomes: verification, spilling, credit, failure and recovery.

use super::{Live, TorrentShell};
use crate::command::{DiskDone, ShardCommand};
use crate::error::{ErrorKind, TorrentError};
use samara_disk::{BlockBuf, PieceOutcome, ReadBlock, StorageError, StorageErrorKind};
use samara_swarm::PeerKey;
use samara_wire::id::{BlockRef, PieceIndex};
use samara_wire::time::Instant;
use std::rc::Rc;

impl TorrentShell {
    fn spill(&self, blocks: Vec<(BlockRef, BlockBuf)>) {
        let Some(piece) = blocks.first().map(|(block, _)| block.piece) else { return };
        let refs = blocks.iter().map(|(block, _)| *block).collect();
        let reply = self.reply(move |result| DiskDone::Spilled(piece, refs, result));
        self.store.spill(blocks, reply);
    }

    /// Puts blocks of unfinished pieces on disk when buffers are nearly exhausted: those that waited longest.
    pub(super) fn spill_if_short(&self, live: &mut Live) {
        let pool = self.env.shared.disk.pool();
        let low = self.env.shared.config.buffer_bytes as u64 / 8;
        if pool.free_bytes() >= low || live.pieces.is_busy() {
            // While something is being written, buffers will come back by themselves.
            return;
        }
        if let Some(blocks) = live.pieces.take_coldest(&live.claimed) {
            tracing::debug!(blocks = blocks.len(), "spilling");
            self.spill(blocks);
        }
    }

    /// Puts all blocks of unfinished pieces on disk, and has the finished ones written.
    pub(super) fn spill_all(&self, live: &mut Live) {
        self.verify_finished(live);
        while let Some(blocks) = live.pieces.take_coldest(&live.claimed) {
            self.spill(blocks);
        }
    }

    /// What is called on a disk thread when a job is done: posts to the shard.
    pub(crate) fn reply<T: 'static>(
        &self,
        wrap: impl FnOnce(T) -> DiskDone + Send + 'static,
    ) -> samara_disk::Reply<T> {
        let (shard, id) = (self.env.tx.clone(), self.shared.id);
        Box::new(move |outcome| {
            // Fails only if the shard has ended.
            let _ = shard.send(ShardCommand::Disk(id, wrap(outcome)));
        })
    }

    /// A disk job is done.
    pub(crate) fn handle_disk(self: &Rc<Self>, done: DiskDone) {
        match done {
            DiskDone::Piece(piece, outcome) => self.on_piece(piece, outcome),
            DiskDone::Spilled(piece, blocks, result) => self.on_spilled(piece, &blocks, result),
            DiskDone::Read(key, read) => self.on_read(key, read),
        }
        self.changed.notify_one();
        self.env.relief.notify_waiters();
    }

    fn on_piece(self: &Rc<Self>, piece: PieceIndex, outcome: PieceOutcome) {
        self.with_live(|live, now| {
            let counts = live.pieces.written(piece);
            let (core, out) = (&mut live.core, &mut live.out);
            match outcome {
                // A sync has failed meanwhile: what was written, or read back, may be gone.
                PieceOutcome::Verified { .. } | PieceOutcome::Corrupt { .. } if !counts => {
                    core.handle_write_failed(now, piece, out);
                }
                PieceOutcome::Verified { digests } => {
                    self.life.borrow_mut().recover();
                    core.handle_piece_verified(now, piece, digests, out);
                }
                PieceOutcome::Corrupt { digests } => {
                    tracing::debug!(%piece, "corrupt");
                    core.handle_piece_failed(now, piece, &digests, out);
                }
                PieceOutcome::Failed(error) if error.kind == StorageErrorKind::Changed => {
                    self.recheck();
                    core.handle_write_failed(now, piece, out);
                }
                PieceOutcome::Failed(error) => {
                    // First, so that the core is out of credit when it has the blocks to ask for again.
                    self.fail(&error);
                    self.tell_credit(live, now);
                    live.core.handle_write_failed(now, piece, &mut live.out);
                }
            }
        });
    }

    fn on_spilled(
        self: &Rc<Self>,
        piece: PieceIndex,
        blocks: &[BlockRef],
        result: Result<(), StorageError>,
    ) {
        self.with_live(|live, now| {
            let ready = live.pieces.spilled(piece, blocks, result.is_ok());
            if let Err(error) = &result {
                if error.kind == StorageErrorKind::Changed {
                    self.recheck();
                } else {
                    self.fail(error);
                    self.tell_credit(live, now);
                }
                live.core.handle_write_failed(now, piece, &mut live.out);
            } else {
                self.on_unsaved(&mut self.life.borrow_mut(), now, 0);
            }
            if let Some(want_digests) = ready {
                self.verify_piece(live, now, piece, want_digests);
            }
        });
    }

    fn on_read(self: &Rc<Self>, key: PeerKey, read: Vec<ReadBlock>) {
        self.with_live(|live, now| {
            let Some(peer) = live.peer(key).cloned() else { return };
            for (block, result) in read {
                match result {
                    Ok(bytes) => peer.block_read(block, Some(bytes)),
                    Err(error) => {
                        peer.block_read(block, None);
                        if error.kind == StorageErrorKind::Changed {
                            self.recheck();
                            continue;
                        }
                        if matches!(error.kind, StorageErrorKind::Closed | StorageErrorKind::TooManyOpen) {
                            // Nobody looked whether it is there: the peer may ask again when it comes back.
                            tracing::debug!(addr = %peer.addr, %error, "disconnecting");
                            peer.close();
                            continue;
                        }
                        tracing::warn!(torrent = %self.shared.hashes.wire(), piece = %block.piece, %error,
                            "a piece cannot be read any more");
                        // Nothing is spilled in its place before the record has ceased to claim it.
                        self.lose(live, now, [block.piece]);
                        self.life.borrow_mut().save_at = Some(now);
                    }
                }
            }
            if peer.mark_dirty() {
                live.dirty.push(peer);
            }
        });
    }

    /// Tells the core how many bytes of block buffers are left.
    pub(super) fn tell_credit(&self, live: &mut Live, now: Instant) {
        let takes = !live.core.is_complete() && live.core.peer_count() > 0;
        if takes != live.taker.is_some() {
            live.taker = takes.then(|| self.env.shared.enter_taker());
        }
        let sharers = self.env.shared.takers() as u64;
        let free = match self.life.borrow().failure {
            // What cannot be written is not asked for; a little, now and then, finds out whether it can.
            Some(_) if self.life.borrow().retry_at.is_some() => 0,
            Some(_) => u64::from(self.layout().piece_len()),
            None => self.env.shared.disk.pool().free_bytes() / sharers,
        };
        live.core.handle_write_credit(now, free, &mut live.out);
    }

    /// Storage is in trouble: says so, and tries again later.
    pub(super) fn fail(&self, error: &StorageError) {
        tracing::warn!(torrent = %self.shared.hashes.wire(), %error, "storage");
        let now = self.env.now();
        let mut life = self.life.borrow_mut();
        life.fail(now, torrent_error(error));
        life.publish_at = Some(now);
        drop(life);
        self.wake();
    }
}

/// The trouble in the terms of the public API.
fn torrent_error(error: &StorageError) -> TorrentError {
    let kind = match error.kind {
        StorageErrorKind::NoSpace => ErrorKind::NoSpace,
        StorageErrorKind::Permission => ErrorKind::Permission,
        StorageErrorKind::ReadOnly => ErrorKind::ReadOnly,
        StorageErrorKind::NotFound
        | StorageErrorKind::Closed
        | StorageErrorKind::TooManyOpen
        | StorageErrorKind::Changed
        | StorageErrorKind::Io => ErrorKind::Io,
    };
    TorrentError { kind, message: error.to_string() }
}
