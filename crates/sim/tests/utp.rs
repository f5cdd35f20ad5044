//! uTP over a bottleneck: how fast it is, how long a queue it makes, and to whom it yields.

use samara_sim::{UtpReport, UtpWorldConfig, run_utp};
use samara_utp::UtpConfig;
use samara_utp::congestion::{Acked, Congestion};
use samara_wire::time::{Duration, Instant};
use std::fmt::Write;

const MIB: u64 = 1 << 20;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn mib(report: &UtpReport) -> f64 {
    report.rate() / MIB as f64
}

/// What libtorrent does with its window (2.1, `utp_stream.cpp`), for comparison: 3000 bytes a round trip in proportion to the
/// distance from 100 ms, half of the window for a loss, but no more often than each 100 ms.
struct LibtorrentLaw {
    window: f64,
    threshold: f64,
    slow_start: bool,
    cut_again: Instant,
}

impl LibtorrentLaw {
    const TARGET: f64 = 0.1;

    fn boxed(packet: u32, _max: u32) -> Box<dyn Congestion + Send> {
        Box::new(Self {
            window: f64::from(packet),
            threshold: f64::MAX,
            slow_start: true,
            cut_again: Instant::ZERO,
        })
    }
}

impl Congestion for LibtorrentLaw {
    fn on_ack(&mut self, acked: &Acked) {
        let delay = acked.queueing.unwrap_or_default().as_secs_f64();
        let bytes = f64::from(acked.bytes);
        if delay >= Self::TARGET && self.slow_start {
            self.threshold = self.window / 2.0;
            self.slow_start = false;
        }
        if acked.limited {
            if self.slow_start && self.window + bytes > self.threshold {
                self.slow_start = false;
            }
            let share = bytes / f64::from(acked.in_flight.max(1));
            let linear = 3000.0 * share * (Self::TARGET - delay) / Self::TARGET;
            self.window += if self.slow_start { bytes.max(linear) } else { linear };
        }
        self.window = self.window.max(acked.packet.into());
    }

    fn on_loss(&mut self, now: Instant, packet: u32) {
        if now > self.cut_again {
            self.cut_again = now + ms(100);
            self.window = (self.window / 2.0).max(packet.into());
            if self.slow_start {
                self.threshold = self.window;
                self.slow_start = false;
            }
        }
    }

    fn on_timeout(&mut self, _now: Instant, packet: u32) {
        self.window = packet.into();
        self.slow_start = true;
    }

    fn on_idle(&mut self, _packet: u32) {}

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a window")]
    fn window(&self) -> u32 {
        self.window as u32
    }
}

/// A buffer of a quarter of a second, as home routers have.
fn line(rate: u64, rtt: Duration, loss_ppm: usize) -> UtpWorldConfig {
    UtpWorldConfig { rate, rtt, loss_ppm, buffer: rate / 4, ..UtpWorldConfig::default() }
}

#[test]
fn throughput_by_rate_delay_and_loss() {
    let mut table = String::from("  MiB/s  RTT ms  loss %   of the rate  queue ms: mean, most\n");
    for rate in [MIB / 8, MIB, 10 * MIB] {
        for rtt in [10, 50, 200] {
            for loss_ppm in [0, 1_000, 10_000] {
                let report = run_utp(line(rate, ms(rtt), loss_ppm));
                let (mean, most) = report.queueing;
                writeln!(
                    table,
                    "{:7.3} {rtt:7} {:7.1} {:11.0} %  {:14} {:6}",
                    rate as f64 / MIB as f64,
                    loss_ppm as f64 / 10_000.0,
                    100.0 * report.rate() / rate as f64,
                    mean.as_millis(),
                    most.as_millis(),
                )
                .unwrap();
            }
        }
    }
    println!("{table}");
    assert_eq!(table.trim_end(), include_str!("utp_table.txt").trim_end(), "\n{table}");
}

#[test]
fn a_long_fat_line_is_filled() {
    let config = UtpWorldConfig {
        buffer: 64 * MIB,
        duration: (secs(8), secs(4)),
        ..line(64 * MIB, ms(100), 0)
    };
    let report = run_utp(config);
    assert!(mib(&report) >= 40.0, "{:.1} MiB/s", mib(&report));
}

#[test]
fn with_loss_it_is_as_fast_as_libtorrents_law_at_least() {
    for rtt in [20, 100] {
        let config = UtpWorldConfig {
            buffer: 64 * MIB,
            duration: (secs(5), secs(60)),
            ..line(64 * MIB, ms(rtt), 10_000)
        };
        let theirs = UtpConfig { congestion: LibtorrentLaw::boxed, ..config.endpoint.clone() };
        let ours = mib(&run_utp(config.clone()));
        let theirs = mib(&run_utp(UtpWorldConfig { endpoint: theirs, ..config }));
        println!("{rtt} ms, 1 %: {ours:.3} MiB/s, libtorrent's law {theirs:.3} MiB/s");
        assert!(ours >= theirs, "{rtt} ms: {ours:.3} MiB/s, libtorrent's law {theirs:.3}");
    }
}

#[test]
fn queues_stay_short_however_long_the_buffer_is() {
    for (rate, streams) in [(MIB / 8, 1), (MIB, 1), (MIB, 4), (10 * MIB, 1)] {
        let config = UtpWorldConfig { streams, buffer: 4 * rate, ..line(rate, ms(40), 0) };
        let report = run_utp(config);
        let (mean, most) = report.queueing;
        println!("{rate} B/s, {streams} streams: {mean:?}, {most:?} at most");
        assert!(mean < ms(120), "{rate} B/s, {streams} streams: {mean:?}, {most:?} at most");
        assert!(report.rate() > 0.85 * rate as f64, "{:.0} of {rate} B/s", report.rate());
    }
}

#[test]
fn it_yields_to_a_flow_like_tcps() {
    let config = UtpWorldConfig {
        tcp_from: Some(secs(5)),
        duration: (secs(20), secs(60)),
        buffer: MIB / 2,
        ..line(MIB, ms(50), 0)
    };
    let report = run_utp(config.clone());
    let (ours, tcp) = (report.rate(), report.tcp as f64 / 60.0);
    println!("uTP {:.3}, TCP {:.3} MiB/s", ours / MIB as f64, tcp / MIB as f64);
    assert!(tcp > 0.75 * config.rate as f64, "TCP {tcp:.0} B/s");
    assert!(ours < 0.2 * config.rate as f64, "uTP {ours:.0} B/s");
}

/// Datagrams that overtake each other are not taken for lost for long.
#[test]
fn reordering_costs_little() {
    let mut table = String::new();
    for (rate, jitter_ms) in [(MIB, 5), (MIB, 20), (10 * MIB, 2), (10 * MIB, 10), (10 * MIB, 20)] {
        let config = UtpWorldConfig { jitter: ms(jitter_ms), ..line(rate, ms(50), 0) };
        let report = run_utp(config);
        let share = 100.0 * report.rate() / rate as f64;
        writeln!(table, "{:4.0} MiB/s, {jitter_ms:2} ms: {share:3.0} %", rate as f64 / MIB as f64)
            .unwrap();
        assert!(share > 90.0, "\n{table}");
    }
    println!("{table}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let config = UtpWorldConfig { streams: 3, tcp_from: Some(secs(2)), ..line(MIB, ms(30), 5_000) };
    let first = run_utp(config.clone());
    assert_eq!(first, run_utp(config.clone()));
    assert_ne!(first, run_utp(UtpWorldConfig { seed: 2, ..config }));
}
