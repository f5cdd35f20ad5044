//! LEDBAT: as fast as the path allows while nobody else wants it, and out of the way when somebody does
//! (BEP 29, RFC 6817, with what draft-irtf-iccrg-ledbat-plus-plus learnt).
//!
//! - **Slow start** doubles the window each round trip until queues begin to fill. What is sent in a lump makes a queue that
//!   is gone when the next lump comes; so it is the first packets of a round trip that tell (HyStart, RFC 9406). The answer to
//!   a queue comes a round trip late, in which the window doubles once more; so slow start ends at a small queue, and the
//!   window is then set to what the path was seen to deliver plus the queue that is allowed.
//! - **Steady**, the window moves with the distance of the delay from the target: up by [`GAIN`] bytes a round trip when
//!   there is no queue, and not at all at the target. Beyond the target it is cut in proportion, as a linear law takes
//!   many round trips to drain what a large window has put there.
//! - **Loss** halves it, as it does for TCP, but no more often than each 100 ms: with short round trips the delay
//!   tells of congestion well before loss does (libtorrent does the same).
//! - A loss that was none (packets had overtaken each other) is taken back.
//! - A window that was not used is not raised.

use super::{Acked, Congestion, INITIAL_PACKETS, MIN_PACKETS};
use samara_wire::time::{Duration, Instant};

/// Delay in queues that is aimed at.
pub const TARGET: Duration = Duration::from_millis(100);

/// Bytes that the window grows by in a round trip without any queue. libtorrent has 3000.
const GAIN: u64 = 3200;

/// Slow start ends where packets wait this long, or an eighth of the round trip if that is less and not below
/// [`SLOW_START_LEAST`].
const SLOW_START_MOST: Duration = Duration::from_millis(25);

/// Shorter waits are noise.
const SLOW_START_LEAST: Duration = Duration::from_millis(8);

/// Acknowledgements at the beginning of a round trip that tell of a queue in slow start.
const FIRST: u32 = 8;

/// Losses within this of one that was answered are not.
const CUT_PAUSE: Duration = TARGET;

/// Fraction bits of the window.
const FRACTION: u32 = 16;

/// The state of the control law.
#[derive(Clone, Debug)]
pub struct Ledbat {
    /// In bytes, with [`FRACTION`] bits of fraction.
    window: u64,
    /// No more than this, in bytes.
    max: u32,
    /// In bytes; slow start goes on below it.
    threshold: u32,
    slow_start: bool,
    round: Round,
    /// Until when losses are not answered.
    cut_again: Instant,
    /// Window, threshold and slow start as they were before the last loss, if that was answered.
    before_loss: Option<(u64, u32, bool)>,
}

/// Bytes delivered in a round trip.
#[derive(Clone, Debug, Default)]
struct Round {
    began: Option<Instant>,
    bytes: u64,
    /// Bytes per second of the last full round.
    rate: u64,
    /// Acknowledgements so far, and the least time in queues that the first of them told.
    acks: u32,
    least: Duration,
}

impl Round {
    fn add(&mut self, acked: &Acked) {
        let began = *self.began.get_or_insert(acked.now);
        self.bytes += u64::from(acked.bytes);
        if self.acks < FIRST {
            let queueing = acked.queueing.unwrap_or_default();
            self.least = if self.acks == 0 { queueing } else { self.least.min(queueing) };
        }
        self.acks += 1;
        let took = acked.now - began;
        if took >= acked.rtt.unwrap_or(TARGET) && !took.is_zero() {
            self.rate = per_second(self.bytes, took);
            (self.began, self.bytes, self.acks) = (Some(acked.now), 0, 0);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    bytes.saturating_mul(1_000_000) / micros(time).max(1)
}

impl Ledbat {
    /// A window of a few packets of `packet` bytes, never to exceed `max` bytes.
    #[must_use]
    pub fn new(packet: u32, max: u32) -> Self {
        let window = u64::from(INITIAL_PACKETS * packet) << FRACTION;
        Self {
            window,
            max,
            threshold: u32::MAX,
            slow_start: true,
            round: Round::default(),
            cut_again: Instant::ZERO,
            before_loss: None,
        }
    }

    fn set(&mut self, bytes: u64, packet: u32) {
        let least = u64::from(MIN_PACKETS * packet);
        self.window = bytes.clamp(least, u64::from(self.max).max(least)) << FRACTION;
    }

    /// The queue has begun to fill: what was delivered in the last round trip is what the path can do.
    fn end_slow_start(&mut self, acked: &Acked) {
        self.slow_start = false;
        let window = u64::from(self.window());
        if let Some(rtt) = acked.min_rtt
            && self.round.rate > 0
        {
            let room = rtt + TARGET / 2;
            let fits = self.round.rate.saturating_mul(micros(room)) / 1_000_000;
            self.set(fits.clamp(window / 2, window), acked.packet);
        }
        self.threshold = self.window();
    }

    /// The change of the window in fractions of bytes, by how far the delay is from the target.
    fn steady(&self, acked: &Acked, queueing: Duration) -> i64 {
        let target = micros(TARGET).cast_signed();
        let off = (target - micros(queueing).cast_signed()).max(-target);
        // The share of a round trip that this acknowledgement stands for.
        let share = |bytes: u64| {
            let bytes = bytes << FRACTION;
            (bytes / u64::from(acked.in_flight.max(1)) * u64::from(acked.bytes)).cast_signed()
        };
        if off >= 0 {
            if acked.limited { share(GAIN) * off / target } else { 0 }
        } else {
            let half = u64::from(self.window()) / 2;
            share(half) * off / target
        }
    }
}

impl Congestion for Ledbat {
    fn on_ack(&mut self, acked: &Acked) {
        self.round.add(acked);
        let queueing = acked.queueing.unwrap_or_default();
        if self.slow_start {
            let eighth = acked.min_rtt.unwrap_or_default() / 8;
            let stands = self.round.acks >= FIRST
                && self.round.least >= eighth.clamp(SLOW_START_LEAST, SLOW_START_MOST);
            if stands || queueing >= TARGET {
                return self.end_slow_start(acked);
            }
            if acked.limited {
                let grown = u64::from(self.window()) + u64::from(acked.bytes);
                self.slow_start = grown < u64::from(self.threshold);
                self.set(grown.min(self.threshold.into()), acked.packet);
            }
            return;
        }
        let change = self.steady(acked, queueing);
        let least = u64::from(MIN_PACKETS * acked.packet) << FRACTION;
        let most = u64::from(self.max) << FRACTION;
        self.window = self.window.saturating_add_signed(change).clamp(least, most.max(least));
    }

    fn on_loss(&mut self, now: Instant, packet: u32) {
        self.before_loss = None;
        if now < self.cut_again {
            return;
        }
        self.before_loss = Some((self.window, self.threshold, self.slow_start));
        self.cut_again = now + CUT_PAUSE;
        self.set(u64::from(self.window()) / 2, packet);
        self.threshold = self.window();
        self.slow_start = false;
    }

    fn on_false_loss(&mut self) {
        if let Some((window, threshold, slow_start)) = self.before_loss.take() {
            self.window = self.window.max(window);
            (self.threshold, self.slow_start) = (threshold, slow_start);
        }
    }

    fn on_timeout(&mut self, _now: Instant, packet: u32) {
        self.before_loss = None;
        self.threshold = (self.window() / 2).max(MIN_PACKETS * packet);
        self.set(0, packet);
        self.slow_start = true;
    }

    fn on_idle(&mut self, packet: u32) {
        let fresh = INITIAL_PACKETS * packet;
        if self.window() > fresh {
            self.threshold = self.window() / 4 * 3;
            self.set(fresh.into(), packet);
            self.slow_start = true;
        }
    }

    fn window(&self) -> u32 {
        u32::try_from(self.window >> FRACTION).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u32 = 1400;
    const RTT: Duration = Duration::from_millis(50);

    fn ack(now: Instant, bytes: u32, in_flight: u32, queueing_ms: u64) -> Acked {
        Acked {
            now,
            bytes,
            in_flight,
            limited: true,
            queueing: Some(Duration::from_millis(queueing_ms)),
            min_rtt: Some(RTT),
            rtt: Some(RTT),
            packet: PACKET,
        }
    }

    /// One round trip in which all of the window is acknowledged, packet by packet.
    fn round(law: &mut Ledbat, now: &mut Instant, queueing_ms: u64) {
        let window = law.window();
        for _ in 0..window / PACKET {
            *now += RTT / (window / PACKET);
            law.on_ack(&ack(*now, PACKET, window, queueing_ms));
        }
    }

    fn steady(window: u32) -> Ledbat {
        let mut law = Ledbat::new(PACKET, 1 << 30);
        law.slow_start = false;
        law.set(window.into(), PACKET);
        law
    }

    #[test]
    fn slow_start_doubles_and_ends_at_what_the_path_delivers() {
        let (mut law, mut now) = (Ledbat::new(PACKET, 1 << 30), Instant::from_secs(1));
        (0..4).for_each(|_| round(&mut law, &mut now, 0));
        assert_eq!(law.window(), 16 * INITIAL_PACKETS * PACKET);
        round(&mut law, &mut now, 20);
        // Half of the window was delivered in the last full round trip; the allowed queue is another as much.
        assert!(!law.slow_start);
        assert!((8..=17).contains(&(law.window() / PACKET / INITIAL_PACKETS)), "{}", law.window());
    }

    #[test]
    fn steady_growth_is_the_gain_and_none_at_the_target() {
        let mut now = Instant::from_secs(1);
        for (queueing, growth) in [(0, 3200), (50, 1600), (100, 0)] {
            let mut law = steady(140_000);
            round(&mut law, &mut now, queueing);
            let grown = law.window() - 140_000;
            assert!(grown.abs_diff(growth) < 60, "{queueing} ms: {grown}");
        }
    }

    #[test]
    fn beyond_the_target_it_gives_way_fast() {
        let (mut law, mut now) = (steady(1_400_000), Instant::from_secs(1));
        round(&mut law, &mut now, 120);
        assert!((1_200_000..1_300_000).contains(&law.window()), "{}", law.window());
        (0..20).for_each(|_| round(&mut law, &mut now, 1000));
        assert_eq!(law.window(), MIN_PACKETS * PACKET);
    }

    #[test]
    fn loss_halves_and_silence_begins_anew() {
        let (mut law, mut now) = (steady(1_400_000), Instant::from_secs(1));
        law.on_loss(now, PACKET);
        law.on_loss(now + Duration::from_millis(99), PACKET);
        assert_eq!(law.window(), 700_000);
        law.on_timeout(now, PACKET);
        assert_eq!(law.window(), MIN_PACKETS * PACKET);
        // Slow start goes to half of what was, and not beyond.
        (0..9).for_each(|_| round(&mut law, &mut now, 0));
        assert!((350_000..360_000).contains(&law.window()), "{}", law.window());
    }

    #[test]
    fn a_loss_that_was_none_is_taken_back() {
        let now = Instant::from_secs(1);
        let mut law = steady(1_400_000);
        law.slow_start = true;
        law.on_loss(now, PACKET);
        law.on_false_loss();
        assert_eq!((law.window(), law.slow_start), (1_400_000, true));
        // One that was not answered takes nothing back.
        law.on_loss(now + CUT_PAUSE, PACKET);
        law.on_loss(now + CUT_PAUSE * 3 / 2, PACKET);
        law.on_false_loss();
        assert_eq!((law.window(), law.slow_start), (700_000, false));
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow_and_grows_old() {
        let now = Instant::from_secs(1);
        let mut law = steady(140_000);
        for _ in 0..1000 {
            law.on_ack(&Acked { limited: false, ..ack(now, PACKET, PACKET, 0) });
        }
        assert_eq!(law.window(), 140_000);
        law.on_idle(PACKET);
        assert_eq!((law.window(), law.threshold), (INITIAL_PACKETS * PACKET, 105_000));
    }

    #[test]
    fn the_window_stays_within_its_bounds() {
        let (mut law, mut now) = (Ledbat::new(PACKET, 50_000), Instant::from_secs(1));
        (0..50).for_each(|_| round(&mut law, &mut now, 0));
        assert_eq!(law.window(), 50_000);
        for _ in 0..50 {
            now += CUT_PAUSE;
            law.on_loss(now, PACKET);
        }
        assert_eq!(law.window(), MIN_PACKETS * PACKET);
    }
}
