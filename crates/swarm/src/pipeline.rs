//! How many requests to keep outstanding at one peer, and how long to wait for a block.
//!
//! The aim is that the link never runs dry and that little more is asked than that takes: what waits at a slow
//! peer cannot be had from a faster one. The target is the bandwidth-delay product with head-room,
//!
//! ```text
//! bytes outstanding = delivery rate x (2 x least delay + 250 ms), the time being at most 2 s
//! ```
//!
//! - The *delivery rate* is the best of the last few samples, each taken over at least a tenth of a second, many
//!   blocks and one mean delay. A sample taken while we asked for less than the target may only raise the estimate.
//! - The *least delay* from request to block over the last 10 to 20 s stands for the path without the queue that
//!   we build ourselves. As the factor is two, a rate that only our own target holds down doubles each sample.
//!   The bound of 2 s breaks the circle at peers so slow that their every delay is queueing.
//! - At first the target grows by one for each block that comes (*slow start*: it doubles each round trip), until
//!   a block takes longer than the time above: from then on the link is full and the product holds.
//!
//! Bounds: the peer's `reqq` (BEP 10), [`MAX_OUTSTANDING`], and at least two, since with one the link idles a
//! whole round trip after every block. A snubbed peer is asked one block at a time until it delivers again.
//!
//! The block time-out is the smoothed delay plus four deviations (RFC 6298), doubled with each time-out in a row.

use samara_wire::id::BLOCK_LEN;
use samara_wire::time::{Duration, Instant};

/// Requests we keep outstanding at one peer at most, whatever it allows: 32 MiB, enough for 800 MB/s at 40 ms.
pub const MAX_OUTSTANDING: usize = 2_000;

/// What a peer that does not tell its `reqq` is taken to queue (BEP 10).
pub const DEFAULT_REQQ: u32 = 250;

/// A peer that owes us blocks and sends none for this long is snubbed.
pub const SNUB_AFTER: Duration = Duration::from_secs(60);

const MIN_OUTSTANDING: usize = 2;
const MIN_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// Before the first block nothing is known: a seed may have to wake a disk, or serve others first.
const FIRST_TIMEOUT: Duration = Duration::from_secs(20);
const HEAD_ROOM_MICROS: u64 = 250_000;
const MAX_AHEAD_MICROS: u64 = 2_000_000;
const DELAY_WINDOW: Duration = Duration::from_secs(10);
const RATE_SAMPLES: usize = 4;
/// A sample ends after this long with many blocks, or after the longer time below with any.
const SAMPLE_MICROS: u64 = 100_000;
const SAMPLE_BLOCKS: u32 = 16;
const SPARSE_SAMPLE_MICROS: u64 = 1_000_000;
const MAX_ROUND_MICROS: u64 = 4_000_000;

/// The request window, block time-out and snub state of one peer.
///
/// Requests that end otherwise than by a block or a choke are told with [`Pipeline::on_released`].
#[derive(Clone, Debug)]
pub struct Pipeline {
    limit: usize,
    outstanding: usize,
    /// The target while the peer is not snubbed and `limit` is left aside.
    window: usize,
    slow_start: bool,
    rates: [u64; RATE_SAMPLES],
    next_rate: usize,
    sample: Sample,
    delay: Delay,
    backoffs: u32,
    snubbed: bool,
    /// When the last block came, or when we began to wait for one.
    progress: Instant,
}

/// A measurement of the delivery rate under way.
#[derive(Clone, Copy, Debug)]
struct Sample {
    start: Instant,
    bytes: u64,
    blocks: u32,
    /// Whether we asked for less than the target for a while, so that the link need not have been full.
    starved: bool,
}

impl Pipeline {
    /// The pipeline of a peer that has been asked for nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            limit: DEFAULT_REQQ as usize,
            outstanding: 0,
            window: MIN_OUTSTANDING,
            slow_start: true,
            rates: [0; RATE_SAMPLES],
            next_rate: 0,
            sample: Sample { start: Instant::ZERO, bytes: 0, blocks: 0, starved: false },
            delay: Delay::new(),
            backoffs: 0,
            snubbed: false,
            progress: Instant::ZERO,
        }
    }

    /// The peer told how many requests it queues (`reqq`, BEP 10). Zero is taken for one.
    pub fn set_reqq(&mut self, reqq: u32) {
        self.limit = usize::try_from(reqq).unwrap_or(MAX_OUTSTANDING).clamp(1, MAX_OUTSTANDING);
    }

    /// How many requests should be outstanding at `now`.
    #[must_use]
    pub fn target(&self, now: Instant) -> usize {
        if self.is_snubbed(now) { 1 } else { self.window.min(self.limit) }
    }

    /// Requests outstanding, as told by the `on_*` calls.
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// When the last block came whole, or when we began to wait for one.
    #[must_use]
    pub const fn progress(&self) -> Instant {
        self.progress
    }

    /// `n` blocks were requested.
    pub fn on_requested(&mut self, now: Instant, n: usize) {
        if self.outstanding == 0 {
            self.progress = now;
            self.sample = Sample { start: now, bytes: 0, blocks: 0, starved: false };
        }
        self.outstanding += n;
    }

    /// `n` requests ended without a block: rejected (BEP 6), cancelled or given up.
    pub fn on_released(&mut self, n: usize) {
        self.outstanding = self.outstanding.saturating_sub(n);
    }

    /// The peer choked us and, having no fast extension, has dropped all requests.
    /// What is known of the path stays; the window is found anew after the next unchoke.
    pub fn on_choked(&mut self) {
        self.outstanding = 0;
        self.slow_start = true;
        self.window = MIN_OUTSTANDING;
        self.rates = [0; RATE_SAMPLES];
    }

    /// A block that was outstanding came.
    pub fn on_block(&mut self, now: Instant, bytes: u32, requested_at: Instant) {
        let delay = micros(now - requested_at);
        // The caller tops up after a batch of blocks, so less than half means that it cannot or will not.
        self.sample.starved |= self.outstanding < self.window.min(self.limit) / 2;
        self.outstanding = self.outstanding.saturating_sub(1);
        self.progress = now;
        self.backoffs = 0;
        if core::mem::take(&mut self.snubbed) {
            self.slow_start = true;
            self.window = MIN_OUTSTANDING;
        }
        self.delay.add(now, delay);
        self.sample.bytes += u64::from(bytes);
        self.sample.blocks += 1;
        self.close_sample(now);
        if self.slow_start {
            if delay > self.ahead_micros() {
                self.slow_start = false;
                self.set_window();
            } else {
                self.window = (self.window + 1).min(MAX_OUTSTANDING);
            }
        }
    }

    /// An outstanding block is [`Pipeline::timeout`] late. `others_deliver` tells whether other peers send
    /// blocks meanwhile: if so this peer is to blame and is snubbed, otherwise our own link may be.
    pub fn on_timeout(&mut self, others_deliver: bool) {
        self.backoffs = (self.backoffs + 1).min(5);
        self.snubbed |= others_deliver;
    }

    /// How long a block may take from its request.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        let base = self.delay.timeout().map_or(FIRST_TIMEOUT, Duration::from_micros);
        (base.max(MIN_TIMEOUT) * (1 << self.backoffs)).min(MAX_TIMEOUT)
    }

    /// Whether the peer owes us blocks and does not deliver.
    #[must_use]
    pub fn is_snubbed(&self, now: Instant) -> bool {
        self.snubbed || (self.outstanding > 0 && now - self.progress >= SNUB_AFTER)
    }

    /// Ends the running measurement of the rate once it is long enough to mean something.
    fn close_sample(&mut self, now: Instant) {
        let span = micros(now - self.sample.start);
        // Blocks come in bursts, one each time round: a sample that ends inside a burst would flatter the peer.
        let round = self.delay.mean.min(MAX_ROUND_MICROS);
        let dense = span >= SAMPLE_MICROS.max(round) && self.sample.blocks >= SAMPLE_BLOCKS;
        if !dense && span < SPARSE_SAMPLE_MICROS.max(round) {
            return;
        }
        let rate = self.sample.bytes.saturating_mul(1_000_000) / span;
        if !self.sample.starved || rate >= self.best_rate() {
            self.rates[self.next_rate] = rate;
            self.next_rate = (self.next_rate + 1) % RATE_SAMPLES;
        }
        if !self.slow_start {
            self.set_window();
        }
        self.sample = Sample { start: now, bytes: 0, blocks: 0, starved: false };
    }

    fn best_rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    /// Sets the window to what the rate and the delay ask for.
    fn set_window(&mut self) {
        let mut rate = self.best_rate();
        if rate == 0 {
            // The first sample is still open: what it holds is the best there is.
            let span = micros(self.progress - self.sample.start).max(1);
            rate = self.sample.bytes.saturating_mul(1_000_000) / span;
        }
        let bytes = u128::from(rate) * u128::from(self.ahead_micros()) / 1_000_000;
        let blocks = usize::try_from(bytes / u128::from(BLOCK_LEN)).unwrap_or(MAX_OUTSTANDING);
        self.window = (blocks + 1).clamp(MIN_OUTSTANDING, MAX_OUTSTANDING);
    }

    /// How far ahead of the delivered data we ask, in microseconds of data.
    fn ahead_micros(&self) -> u64 {
        self.delay.least().saturating_mul(2).saturating_add(HEAD_ROOM_MICROS).min(MAX_AHEAD_MICROS)
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

/// Delay from request to block: smoothed, its deviation, and the least of the last 10 to 20 s. Microseconds.
#[derive(Clone, Copy, Debug)]
struct Delay {
    mean: u64,
    deviation: u64,
    least_now: u64,
    least_before: u64,
    window_start: Instant,
}

impl Delay {
    const fn new() -> Self {
        let none = u64::MAX;
        Self {
            mean: 0,
            deviation: 0,
            least_now: none,
            least_before: none,
            window_start: Instant::ZERO,
        }
    }

    fn add(&mut self, now: Instant, sample: u64) {
        if self.is_unknown() {
            (self.mean, self.deviation, self.window_start) = (sample, sample / 2, now);
        } else {
            self.deviation = (self.deviation.saturating_mul(3) + self.mean.abs_diff(sample)) / 4;
            self.mean = (self.mean.saturating_mul(7) + sample) / 8;
        }
        if now - self.window_start >= DELAY_WINDOW {
            (self.least_before, self.least_now) = (self.least_now, u64::MAX);
            self.window_start = now;
        }
        self.least_now = self.least_now.min(sample);
    }

    const fn is_unknown(&self) -> bool {
        self.least_now == u64::MAX && self.least_before == u64::MAX
    }

    fn least(&self) -> u64 {
        self.least_now.min(self.least_before)
    }

    fn timeout(&self) -> Option<u64> {
        (!self.is_unknown()).then(|| self.mean.saturating_add(self.deviation.saturating_mul(4)))
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
