//! A node's disk: how long writing takes, what fails, and what a crash leaves.

use samara_wire::bitfield::Bitfield;
use samara_wire::id::PieceIndex;
use samara_wire::time::Duration;

/// What a disk is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskConfig {
    /// Time to begin with a piece.
    pub latency: Duration,
    /// Bytes a second that are hashed and written.
    pub rate: u64,
    /// One write in so many fails; 0: none.
    pub fails_one_in: usize,
    /// What is written is safe from a power loss after this long at most.
    pub sync_every: Duration,
    /// Bytes of blocks that wait in memory for the rest of their piece and for the disk.
    pub buffers: u64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(2),
            rate: 200_000_000,
            fails_one_in: 0,
            sync_every: Duration::from_secs(5),
            buffers: 64 << 20,
        }
    }
}

/// How a node ends without wanting to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process is killed: what it wrote is with the system, and its connections are reset.
    Killed,
    /// The power is gone: what was not synced is lost, and nobody is told.
    PowerLoss,
}

/// What is on a disk.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) config: DiskConfig,
    /// Busy until then, in microseconds.
    free_at: u64,
    /// Pieces written, each found good before.
    pub(super) written: Bitfield,
    /// Those written since the last sync, with the number of the interval between syncs.
    unsynced: Vec<(u64, PieceIndex)>,
}

impl Disk {
    pub(super) const fn new(config: DiskConfig, have: Bitfield) -> Self {
        Self { config, free_at: 0, written: have, unsynced: Vec::new() }
    }

    /// When `bytes` that are handed over now, in microseconds, are hashed and written.
    pub(super) fn write(&mut self, now: u64, bytes: u64) -> u64 {
        let latency = u64::try_from(self.config.latency.as_micros()).unwrap_or(u64::MAX);
        let busy = super::link::nanos_for(bytes, self.config.rate).div_ceil(1_000);
        self.free_at = self.free_at.max(now).saturating_add(latency).saturating_add(busy);
        self.free_at
    }

    /// The piece is written.
    pub(super) fn on_written(&mut self, now: u64, piece: PieceIndex) {
        let interval = self.interval(now);
        self.unsynced.retain(|(since, _)| *since == interval);
        self.unsynced.push((interval, piece));
        self.written.insert(piece);
    }

    /// What is found after a crash at `now`.
    pub(super) fn crash(&mut self, now: u64, how: Crash) -> Bitfield {
        let interval = self.interval(now);
        for (since, piece) in self.unsynced.drain(..) {
            if how == Crash::PowerLoss && since == interval {
                self.written.remove(piece);
            }
        }
        self.free_at = 0;
        self.written.clone()
    }

    /// Syncs come at fixed times: a piece is safe once the interval in which it was written is over.
    fn interval(&self, now: u64) -> u64 {
        let every = u64::try_from(self.config.sync_every.as_micros()).unwrap_or(u64::MAX);
        now / every.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_wait_for_each_other() {
        let config =
            DiskConfig { latency: Duration::from_millis(1), rate: 1_000_000, ..Default::default() };
        let mut disk = Disk::new(config, Bitfield::empty(4));
        assert_eq!(disk.write(0, 1_000), 2_000);
        assert_eq!(disk.write(500, 1_000), 4_000);
        assert_eq!(disk.write(9_000, 0), 10_000);
    }

    #[test]
    fn a_kill_loses_nothing_and_a_power_loss_what_was_not_synced() {
        let mut disk = Disk::new(DiskConfig::default(), Bitfield::empty(4));
        disk.on_written(6_000_000, PieceIndex(0));
        disk.on_written(7_000_000, PieceIndex(1));
        assert_eq!(disk.crash(8_000_000, Crash::Killed).count(), 2);
        disk.on_written(9_000_000, PieceIndex(2));
        disk.on_written(10_500_000, PieceIndex(3));
        let left = disk.crash(11_000_000, Crash::PowerLoss);
        assert!(left.has(PieceIndex(2)), "synced at ten seconds");
        assert!(!left.has(PieceIndex(3)));
        disk.on_written(11_500_000, PieceIndex(3));
        assert_eq!(disk.crash(60_000_000, Crash::PowerLoss).count(), 4, "synced long ago");
    }
}
