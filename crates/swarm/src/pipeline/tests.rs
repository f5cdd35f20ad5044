//! The pipeline against a simulated link, and its states one by one.

use super::*;
use crate::rng::Rng;
use std::collections::VecDeque;
use std::vec::Vec;

const BLOCK: u64 = BLOCK_LEN as u64;

/// A peer behind a link of fixed rate and delay that serves requests in order, and we who keep the target.
struct Link {
    now: Instant,
    delay: Duration,
    bytes_per_second: u64,
    free_at: Instant,
    /// Up to this much is added to each block's way, by lot; blocks stay in order.
    jitter: Duration,
    /// The peer spends its bytes in bursts: each of these times the rate, at once.
    burst: Option<Duration>,
    /// We top up only after so many blocks, as one read of the socket brings them.
    batch: u64,
    /// We can afford this many requests at most.
    thrift: usize,
    rng: Rng,
    /// When each outstanding block was requested, and when it comes.
    coming: VecDeque<(Instant, Instant)>,
    pipeline: Pipeline,
}

impl Link {
    fn new(delay: Duration, bytes_per_second: u64, reqq: u32) -> Self {
        let mut pipeline = Pipeline::new();
        pipeline.set_reqq(reqq);
        let now = Instant::from_secs(1_000);
        Self {
            now,
            delay,
            bytes_per_second,
            free_at: now,
            jitter: Duration::ZERO,
            burst: None,
            batch: 1,
            thrift: usize::MAX,
            rng: Rng::new(1),
            coming: VecDeque::new(),
            pipeline,
        }
    }

    fn top_up(&mut self) {
        let target = self.pipeline.target(self.now).min(self.thrift);
        let n = target.saturating_sub(self.coming.len());
        self.pipeline.on_requested(self.now, n);
        for _ in 0..n {
            let nanos = BLOCK * 1_000_000_000 / self.bytes_per_second;
            let start = self.free_at.max(self.now + self.delay / 2);
            self.free_at = start + Duration::from_nanos(nanos);
            let mut at = self.free_at + self.delay / 2;
            if let Some(burst) = self.burst {
                // Nothing leaves before the end of the period in which it would have been sent evenly.
                let period = micros(burst);
                at = Instant::from_micros(self.free_at.as_micros().div_ceil(period) * period)
                    + self.delay / 2;
            }
            let most = usize::try_from(micros(self.jitter)).unwrap();
            at += Duration::from_micros(self.rng.below(most + 1) as u64);
            let last = self.coming.back().map_or(self.now, |(_, last)| *last);
            self.coming.push_back((self.now, at.max(last)));
        }
    }

    /// Runs for `time` and returns the bytes that came.
    fn run(&mut self, time: Duration) -> u64 {
        let end = self.now + time;
        let mut bytes = 0;
        self.top_up();
        while let Some(&(asked, at)) = self.coming.front().filter(|(_, at)| *at <= end) {
            self.coming.pop_front();
            self.now = self.now.max(at);
            self.pipeline.on_block(self.now, BLOCK_LEN, asked);
            assert_eq!(self.pipeline.outstanding(), self.coming.len());
            bytes += BLOCK;
            if (bytes / BLOCK).is_multiple_of(self.batch) || self.coming.is_empty() {
                self.top_up();
            }
        }
        self.now = end;
        bytes
    }
}

#[test]
fn fills_links_of_every_delay_and_rate() {
    const MB: u64 = 1_000_000;
    for delay_ms in [1, 10, 40, 100, 200] {
        for rate in [MB, 5 * MB, 20 * MB, 100 * MB, 1_000 * MB] {
            for reqq in [DEFAULT_REQQ, 2_000] {
                let delay = Duration::from_millis(delay_ms);
                let mut link = Link::new(delay, rate, reqq);
                link.run(Duration::from_secs(4));
                let seconds = 4;
                let got = link.run(Duration::from_secs(seconds)) / seconds;
                // What the peer's bound on requests allows on this path, if that is less.
                let possible = rate.min(u64::from(reqq) * BLOCK * 1_000 / delay_ms);
                assert!(
                    got >= possible / 10 * 9,
                    "{got} of {possible} B/s at {delay_ms} ms, {reqq}"
                );
            }
        }
    }
}

#[test]
fn ten_gigabytes_a_second_on_a_short_path() {
    let mut link = Link::new(Duration::from_micros(200), 10_000_000_000, 2_000);
    link.run(Duration::from_millis(200));
    let got = link.run(Duration::from_millis(500)) * 2;
    assert!(got >= 9_000_000_000, "{got}");
}

#[test]
fn forty_milliseconds_are_full_within_a_second() {
    let mut link = Link::new(Duration::from_millis(40), 20_000_000, DEFAULT_REQQ);
    link.run(Duration::from_millis(500));
    let got = link.run(Duration::from_millis(500)) * 2;
    assert!(got >= 18_000_000, "{got}");
}

#[test]
fn jitter_and_batches_cost_little() {
    for (delay_ms, jitter_ms, batch) in [(40, 0, 32), (40, 40, 1), (10, 100, 8), (1, 0, 128)] {
        for rate in [1_000_000, 20_000_000, 200_000_000] {
            let mut link = Link::new(Duration::from_millis(delay_ms), rate, 2_000);
            (link.jitter, link.batch) = (Duration::from_millis(jitter_ms), batch);
            link.run(Duration::from_secs(4));
            let got = link.run(Duration::from_secs(4)) / 4;
            assert!(
                got >= rate / 10 * 9,
                "{got} of {rate} at {delay_ms}+{jitter_ms} ms by {batch}"
            );
        }
    }
}

#[test]
fn a_peer_that_sends_in_bursts_is_kept_busy() {
    for (rate, every_ms) in
        [(100_000, 1_000), (1_000_000, 1_000), (1_000_000, 500), (10_000_000, 100)]
    {
        let mut link = Link::new(Duration::from_millis(40), rate, 2_000);
        link.burst = Some(Duration::from_millis(every_ms));
        link.run(Duration::from_secs(10));
        let got = link.run(Duration::from_secs(20)) / 20;
        assert!(got >= rate / 10 * 9, "{got} of {rate} every {every_ms} ms");
    }
}

#[test]
fn a_choke_and_an_unchoke_cost_a_short_ramp() {
    let mut link = Link::new(Duration::from_millis(40), 20_000_000, DEFAULT_REQQ);
    link.run(Duration::from_secs(3));
    link.pipeline.on_choked();
    link.coming.clear();
    link.now += Duration::from_secs(30);
    link.free_at = link.now;
    link.run(Duration::from_millis(500));
    let got = link.run(Duration::from_millis(500)) * 2;
    assert!(got >= 18_000_000, "{got}");
}

#[test]
fn peers_that_share_our_link_fill_it_without_a_long_queue() {
    for (rate, peers) in [(500_000, 4), (5_000_000, 10), (20_000_000, 30)] {
        let delay = Duration::from_millis(40);
        let mut pipelines: Vec<Pipeline> = (0..peers).map(|_| Pipeline::new()).collect();
        let start = Instant::from_secs(1_000);
        let (mut now, mut free_at, mut bytes) = (start, start, 0);
        let mut coming: VecDeque<(usize, Instant, Instant)> = VecDeque::new();
        let top_up = |who: usize, now, free_at: &mut Instant, p: &mut Pipeline| {
            let n = p.target(now).saturating_sub(p.outstanding());
            p.on_requested(now, n);
            let times = (0..n).map(|_| {
                *free_at = (*free_at).max(now + delay)
                    + Duration::from_nanos(BLOCK * 1_000_000_000 / rate);
                (who, now, *free_at)
            });
            times.collect::<Vec<_>>()
        };
        for (who, p) in pipelines.iter_mut().enumerate() {
            coming.extend(top_up(who, now, &mut free_at, p));
        }
        while now < start + Duration::from_secs(40) {
            let (who, asked, at) = coming.pop_front().expect("somebody always asks");
            now = at;
            pipelines[who].on_block(now, BLOCK_LEN, asked);
            coming.extend(top_up(who, now, &mut free_at, &mut pipelines[who]));
            bytes += if now > start + Duration::from_secs(10) { BLOCK } else { 0 };
            let most = 2 * peers + usize::try_from(rate * 25 / 10 / BLOCK).unwrap();
            assert!(coming.len() <= most, "{} > {most} of {peers} at {rate} B/s", coming.len());
        }
        assert!(bytes / 30 >= rate / 10 * 9, "{} of {rate} B/s", bytes / 30);
    }
}

#[test]
fn little_waits_at_slow_peers() {
    for (rate, delay_ms) in
        [(1_000, 40), (10_000, 40), (10_000, 200), (50_000, 1), (100_000, 100), (1_000_000, 200)]
    {
        let mut link = Link::new(Duration::from_millis(delay_ms), rate, 2_000);
        for second in 0..120 {
            link.run(Duration::from_secs(1));
            // Two blocks always wait; beyond them two seconds of data, in flight included.
            let most = 2 + usize::try_from(rate * 22 / 10 / BLOCK).unwrap();
            assert!(
                link.coming.len() <= most,
                "{} > {most} at {rate} B/s, {second} s",
                link.coming.len()
            );
        }
        let got = link.run(Duration::from_secs(100)) / 100;
        assert!(got >= rate / 10 * 9 - BLOCK / 100, "{got} of {rate}");
    }
}

#[test]
fn follows_a_link_that_becomes_slow_and_fast_again() {
    let mut link = Link::new(Duration::from_millis(40), 20_000_000, 2_000);
    link.run(Duration::from_secs(3));
    link.bytes_per_second = 100_000;
    // What was asked while it was fast comes first: some 400 blocks.
    link.run(Duration::from_secs(90));
    assert!(link.coming.len() <= 14, "{}", link.coming.len());
    link.bytes_per_second = 20_000_000;
    link.run(Duration::from_secs(5));
    assert!(link.run(Duration::from_secs(1)) >= 18_000_000);
}

#[test]
fn our_own_thrift_is_not_taken_for_a_slow_peer() {
    let mut link = Link::new(Duration::from_millis(40), 20_000_000, 2_000);
    link.run(Duration::from_secs(3));
    let before = link.pipeline.target(link.now);
    assert!(before > 200, "{before}");
    // Disk back-pressure: four blocks at a time for a while.
    link.thrift = 4;
    link.run(Duration::from_secs(30));
    assert!(link.pipeline.target(link.now) >= before / 2, "{}", link.pipeline.target(link.now));
    link.thrift = usize::MAX;
    assert!(link.run(Duration::from_secs(1)) >= 18_000_000);
}

#[test]
fn bounds_hold_whatever_the_peer_claims() {
    let now = Instant::from_secs(9);
    let mut p = Pipeline::new();
    assert_eq!(p.target(now), 2);
    p.set_reqq(0);
    assert_eq!(p.target(now), 1);
    p.set_reqq(u32::MAX);
    p.on_requested(now, 50_000);
    for _ in 0..50_000 {
        p.on_block(now, BLOCK_LEN, now);
    }
    assert_eq!(p.target(now), MAX_OUTSTANDING);
    p.on_choked();
    assert_eq!((p.target(now), p.outstanding()), (2, 0));
}

#[test]
fn timeout_follows_the_delay_and_backs_off() {
    let mut now = Instant::from_secs(9);
    let mut p = Pipeline::new();
    assert_eq!(p.timeout(), FIRST_TIMEOUT);
    for _ in 0..100 {
        p.on_requested(now, 1);
        now += Duration::from_millis(40);
        p.on_block(now, BLOCK_LEN, now + Duration::ZERO);
    }
    assert_eq!(p.timeout(), MIN_TIMEOUT);
    for _ in 0..100 {
        p.on_requested(now, 1);
        let asked = now;
        now += Duration::from_secs(3);
        p.on_block(now, BLOCK_LEN, asked);
    }
    assert!(p.timeout() >= Duration::from_secs(3) && p.timeout() < Duration::from_secs(4));
    p.on_requested(now, 1);
    p.on_timeout(false);
    assert!(p.timeout() >= Duration::from_secs(6) && p.timeout() < Duration::from_secs(8));
    for _ in 0..100 {
        p.on_timeout(false);
    }
    assert_eq!(p.timeout(), MAX_TIMEOUT);
    assert!(!p.is_snubbed(now));
    p.on_block(now, BLOCK_LEN, now);
    assert!(p.timeout() < Duration::from_secs(10), "{:?}", p.timeout());
}

#[test]
fn a_snubbed_peer_gets_one_request_until_it_delivers() {
    let t = Instant::from_secs;
    let mut p = Pipeline::new();
    // Nobody owes anything: an hour of silence is no snub.
    assert!(!p.is_snubbed(t(3_600)));
    p.on_requested(t(4_000), 2);
    assert!(!p.is_snubbed(t(4_059)));
    assert!(p.is_snubbed(t(4_060)));
    assert_eq!(p.target(t(4_060)), 1);
    p.on_block(t(4_061), BLOCK_LEN, t(4_000));
    assert!(!p.is_snubbed(t(4_061)));
    assert!(p.target(t(4_061)) >= 2);
    p.on_timeout(true);
    assert_eq!(p.target(t(4_062)), 1);
    p.on_released(1);
    assert!(p.is_snubbed(t(4_062)), "giving up on its blocks does not redeem it");
    p.on_requested(t(4_063), 1);
    p.on_block(t(4_064), BLOCK_LEN, t(4_063));
    assert!(!p.is_snubbed(t(4_064)) && p.target(t(4_064)) >= 2);
}
