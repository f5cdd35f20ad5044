//! Access links: how transfers share the way up and the way down of a node.
//!
//! This is the tier of flows. A node's uplink sends one block after another, of each peer that waits in turn, so that over
//! some blocks each gets the same share, as flows of TCP with the same round trip do. The receiver's downlink takes blocks in
//! the order in which they come, and passes on each while it still arrives (*cut-through*): a block whose sender is the
//! bottleneck is there a delay after its last byte was sent, one that meets a busy downlink waits until that is free.
//!
//! A rate is payload a second: headers and other messages take no room. Time is in whole nanoseconds and rounded up, so no link
//! ever carries more than its rate.

/// Nanoseconds that `bytes` take at `rate` bytes a second.
pub(super) fn nanos_for(bytes: u64, rate: u64) -> u64 {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// One direction of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Bytes a second.
    rate: u64,
    /// Busy until then, in nanoseconds.
    free_at: u64,
}

impl Way {
    pub(super) const fn new(rate: u64) -> Self {
        Self { rate, free_at: 0 }
    }

    /// When the link is free, in nanoseconds.
    pub(super) const fn free_at(&self) -> u64 {
        self.free_at
    }

    /// Sends `bytes` as soon as the link is free, but not before `now`: when the first byte goes and when the last has gone.
    pub(super) fn send(&mut self, now: u64, bytes: u64) -> (u64, u64) {
        let begin = self.free_at.max(now);
        self.free_at = begin.saturating_add(nanos_for(bytes, self.rate));
        (begin, self.free_at)
    }

    /// Takes in `bytes` of which the first was there at `begin` and the last at `end`: when all of them are through.
    pub(super) fn take_in(&mut self, begin: u64, end: u64, bytes: u64) -> u64 {
        let through = self.free_at.max(begin).saturating_add(nanos_for(bytes, self.rate));
        self.free_at = through;
        through.max(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn blocks_queue_on_a_link_and_never_go_faster_than_it() {
        let mut up = Way::new(1_000);
        assert_eq!(up.send(0, 500), (0, SECOND / 2));
        assert_eq!(up.send(0, 1_000), (SECOND / 2, SECOND * 3 / 2));
        assert_eq!(up.send(2 * SECOND, 1), (2 * SECOND, 2 * SECOND + SECOND / 1_000));
        assert_eq!(nanos_for(1, 3), 333_333_334, "rounded up");
    }

    #[test]
    fn a_downlink_passes_on_what_still_arrives() {
        let mut down = Way::new(2_000);
        // The sender is the slower: through when the last byte is there.
        assert_eq!(down.take_in(0, SECOND, 1_000), SECOND);
        // Two at once from fast senders: one after the other.
        assert_eq!(down.take_in(SECOND, SECOND + 1, 1_000), SECOND * 3 / 2);
        assert_eq!(down.take_in(SECOND, SECOND + 1, 1_000), 2 * SECOND);
    }
}
