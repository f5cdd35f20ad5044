//! Finished pieces on their way to a disk thread: they wait a moment for company, because several are hashed together in
//! little more than the time of one.
//!
//! None waits where none is to be expected in time, or where block buffers are short. A v2 piece of several blocks needs no
//! company, for each of its blocks is hashed by itself.

use super::{Live, TorrentShell};
use crate::command::DiskDone;
use samara_disk::FinishedPiece;
use samara_wire::id::PieceIndex;
use samara_wire::time::{Duration, Instant};

/// How long the first of them waits. Who waits for the piece hears of it that much later.
const PATIENCE: Duration = Duration::from_millis(20);

impl TorrentShell {
    /// Has a disk thread hash the piece and write it if it is good.
    pub(super) fn verify_piece(
        &self,
        live: &mut Live,
        now: Instant,
        piece: PieceIndex,
        want_digests: bool,
    ) {
        // Else blocks of it are on their way to the disk, and the outcome of that comes back here.
        let Some(blocks) = live.pieces.take_to_verify(piece, want_digests) else { return };
        let reply = self.reply(move |outcome| DiskDone::Piece(piece, outcome));
        live.finished.push(FinishedPiece { piece, blocks, want_digests, reply });
        if self.expects_company(live, now) {
            self.life.borrow_mut().verify_at.get_or_insert(now + PATIENCE);
        } else {
            self.verify_finished(live);
        }
    }

    /// Gives the disk what waits.
    pub(super) fn verify_finished(&self, live: &mut Live) {
        self.life.borrow_mut().verify_at = None;
        if !live.finished.is_empty() {
            self.store.write_pieces(std::mem::take(&mut live.finished));
        }
    }

    /// Whether another piece is likely to be finished soon, and there is room for the wait.
    fn expects_company(&self, live: &Live, now: Instant) -> bool {
        let shared = &self.env.shared;
        let ample = shared.config.buffer_bytes as u64 / 2;
        let soon = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        let in_time = live.core.down_rate(now).saturating_mul(soon) / 1000;
        self.messages(live) < samara_disk::lanes()
            && self.life.borrow().is_running()
            && in_time >= u64::from(self.layout().piece_len())
            && shared.disk.pool().free_bytes() > ample
    }

    /// What can be hashed at once of the pieces that wait: v1 pieces, or blocks of v2 pieces.
    fn messages(&self, live: &Live) -> usize {
        let has_v1 = self.shared.metainfo.info.hashes().v1().is_some();
        let count = |finished: &FinishedPiece| if has_v1 { 1 } else { finished.blocks.len() };
        live.finished.iter().map(count).sum()
    }
}
