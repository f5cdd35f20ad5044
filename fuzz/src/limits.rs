//! Rate limits and rate meters: exact whatever turns are asked for and settled, beside a plain list of all bytes.

use crate::Script;
use samara_swarm::limits::{BURST, Limit, on_wire};
use samara_swarm::rate::{RATE_WINDOW, RateMeter};
use samara_wire::time::{Duration, Instant};

/// Reads `input` as turns: nobody moves more than the rate allows, and a turn comes.
pub fn limit(input: &[u8]) {
    let mut script = Script::new(input);
    let rate = u64::from(script.word()) % 10_000_000 + 1000;
    let mut limit = Limit::new(Some(rate));
    let start = Instant::from_secs(1000);
    let mut now = start;
    let (mut moved, mut turns) = (0u64, 0u64);
    while !script.is_done() && turns < 1000 {
        now += Duration::from_micros(script.short().into());
        let bytes = limit.portion() * u64::from(script.byte()) / 128 + 1;
        let at = limit.reserve(now, bytes);
        assert!(at >= now);
        // Less, as many, or more than were asked for.
        let done = bytes * u64::from(script.byte()) / 192;
        limit.settle(bytes, done);
        now = at;
        (moved, turns) = (moved + done, turns + 1);
        let micros = now.since(start).as_micros() + BURST.as_micros();
        let allowed = u64::try_from(u128::from(rate) * micros / 1_000_000).unwrap_or(u64::MAX);
        // The last turn is paid for behind it, and each is counted in whole microseconds.
        let slack = done + bytes + turns * (rate / 1_000_000 + 2);
        assert!(moved <= allowed + slack, "{moved} of {allowed}");
    }
    assert_eq!(Limit::new(None).reserve(now, u64::MAX), now);
    let bytes = script.long();
    assert!(on_wire(bytes, true) >= on_wire(bytes, false) && on_wire(bytes, false) >= bytes);
}

/// Reads `input` as bytes and time: a rate is never more than what came within its window, and nothing is remembered longer.
pub fn meter(input: &[u8]) {
    let mut script = Script::new(input);
    let mut meter = RateMeter::new();
    let mut now = Instant::from_secs(1000);
    let mut all: Vec<(Instant, u64)> = Vec::new();
    while !script.is_done() {
        now += Duration::from_millis(script.short().into()) / 8;
        let bytes = match script.byte() {
            255 => script.long(),
            byte => u64::from(byte) << 6,
        };
        meter.add(now, bytes);
        all.push((now, bytes));
        // Buckets of half a second end a little before the window does.
        let since = |window: Duration| {
            let recent = all.iter().rev().take_while(|(at, _)| now.since(*at) <= window);
            recent.fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes))
        };
        let rate = meter.rate(now);
        assert!(rate <= since(RATE_WINDOW).saturating_mul(2), "{rate} B/s of nothing");
        let least = since(RATE_WINDOW.saturating_sub(Duration::from_millis(501)));
        assert!(rate >= least / 6, "{rate} B/s of {least} bytes");
        let later = now + RATE_WINDOW + Duration::from_millis(500);
        assert_eq!(meter.rate(later), 0);
    }
}
