//! Transfers from one real client to another: what both ends spend.
//!
//! Nothing of ours stands between them, so what moves is counted where it passes: by the loopback device of the network of our own, over
//! which nothing else goes meanwhile. A transfer begins when more has passed than two clients say to get to know each other, and ends with
//! the last glance at which something passed; either is known to within a glance, and is taken so that the time is the longer one.

use super::{Bench, Turn, transfer};
use crate::clients::{Client, Job, Way};
use crate::payload::Payload;
use crate::process::{Cpu, Program};
use crate::report::json::{Pair, PairSample, Side};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};

/// No transfer may take longer: 256 MiB at 3 MiB/s.
const LIMIT: Duration = Duration::from_secs(90);

/// More than handshakes and announces come to, in bytes.
const GREETING: u64 = 256 << 10;

/// Less than this at a glance, in bytes, is what two clients say who have nothing to say.
const TALK: u64 = 4 << 10;

/// The longest packet that passes over the loopback device, in bytes.
const PACKET: u64 = 64 << 10;

/// The pairs among `clients` for this way: each from and to each, itself included.
pub(super) fn pairs(way: Way, clients: &[Client]) -> Vec<Pair> {
    let able = || clients.iter().copied().filter(|client| way.suits(*client));
    able().flat_map(|seed| able().map(move |leech| Pair { seed, leech })).collect()
}

/// One client downloads the payload from another.
pub(super) fn transfer(
    bench: &Bench<'_>,
    payload: &Payload,
    way: Way,
    pair: Pair,
) -> Result<PairSample> {
    let seeding = Turn { way, ..Turn::new(bench, pair.seed)? };
    let leeching = Turn { way, ..Turn::second(bench, pair.leech)? };
    let mut seed = transfer::ready(&seeding, payload).context("the seed")?;
    seed.take_peak();
    let into = leeching.home.path().join("downloads");
    fs::create_dir(&into)?;
    bench.tracker.name(&[seeding.at]);
    let mut wire = Wire::new(seed.cpu()?)?;
    let leech = leeching.start(Job::Download { torrent: &payload.torrent, into: &into })?;
    let spent = leech.finish(LIMIT, |_| wire.look(&mut seed));
    bench.tracker.name(&[]);
    let spent = spent.with_context(|| format!("the seed's output:{}", seed.tail()))?;
    seed.alive()?;
    let cpu = seed.cpu()? - wire.cpu;
    let bytes = payload.info.total_len();
    wire.ensure_way(way, bytes)?;
    payload.compare(&into)?;
    let seconds = (wire.last - wire.quiet).as_secs_f64();
    Ok(PairSample {
        bytes,
        seconds,
        seed: Side::new(cpu, seed.take_peak()),
        leech: Side::new(spent.cpu, spent.peak_anon),
    })
}

/// What has passed.
struct Wire {
    at_first: Counters,
    bytes: u64,
    /// The last glance before the transfer, and what the seed had spent by then.
    quiet: Instant,
    cpu: Cpu,
    /// The last glance at which something passed.
    last: Instant,
    began: bool,
}

/// Of the network since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    /// Bytes over the loopback device.
    bytes: u64,
    tcp_segments: u64,
    udp_datagrams: u64,
}

impl Wire {
    fn new(cpu: Cpu) -> Result<Self> {
        let (at_first, now) = (Counters::read()?, Instant::now());
        Ok(Self { at_first, bytes: at_first.bytes, quiet: now, cpu, last: now, began: false })
    }

    /// Looks at what has passed and at the seed; tells when the transfer began.
    fn look(&mut self, seed: &mut Program) -> Option<Instant> {
        let (now, cpu) = (Instant::now(), seed.cpu().ok()?);
        let bytes = Counters::read().ok()?.bytes;
        seed.look();
        self.began |= bytes - self.at_first.bytes > GREETING;
        if !self.began {
            (self.quiet, self.cpu) = (now, cpu);
        }
        if bytes - self.bytes > TALK {
            self.last = now;
        }
        self.bytes = bytes;
        self.began.then_some(self.quiet)
    }

    /// Fails if so much has passed by the other protocol that it may have been the payload.
    fn ensure_way(&self, way: Way, payload: u64) -> Result<()> {
        let now = Counters::read()?;
        let (name, packets) = match way {
            Way::Utp => ("TCP", now.tcp_segments - self.at_first.tcp_segments),
            Way::Plain | Way::Rc4 => ("UDP", now.udp_datagrams - self.at_first.udp_datagrams),
        };
        let may = packets * PACKET;
        ensure!(may < payload / 2, "{packets} packets of {name}: the payload went the wrong way");
        Ok(())
    }
}

impl Counters {
    fn read() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/net/dev")?, &fs::read_to_string("/proc/net/snmp")?)
            .context("/proc/net/dev or /proc/net/snmp")
    }

    fn parse(dev: &str, snmp: &str) -> Option<Self> {
        let lo = dev.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
        let bytes = lo.split_ascii_whitespace().next()?.parse().ok()?;
        // A line of names, then one of values.
        let field = |protocol: &str, name: &str| -> Option<u64> {
            let mut lines = snmp.lines().filter(|line| line.starts_with(protocol));
            let at = lines.next()?.split(' ').position(|field| field == name)?;
            lines.next()?.split(' ').nth(at)?.parse().ok()
        };
        Some(Self {
            bytes,
            tcp_segments: field("Tcp:", "InSegs")?,
            udp_datagrams: field("Udp:", "InDatagrams")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let dev = "Inter-|   Receive\n face |bytes packets\n    lo: 1234 5 0 0 0 0 0 0 1234 5\n";
        let snmp =
            "Ip: A B\nIp: 1 2\nTcp: InSegs OutSegs\nTcp: 7 8\nUdp: NoPorts InDatagrams\nUdp: 3 9\n";
        let wanted = Counters { bytes: 1234, tcp_segments: 7, udp_datagrams: 9 };
        assert_eq!(Counters::parse(dev, snmp), Some(wanted));
        assert_eq!(Counters::parse(dev, "Tcp: InSegs\n"), None);
        assert_eq!(Counters::parse("eth0: 1 2\n", snmp), None);
        Counters::read().unwrap();
    }

    #[test]
    fn pairs_are_of_those_who_can() {
        let all = [Client::Samara, Client::Libtorrent, Client::Rqbit, Client::Aria2];
        assert_eq!(pairs(Way::Utp, &all).len(), 9);
        assert_eq!(pairs(Way::Rc4, &all).len(), 4);
        let pair = Pair { seed: Client::Samara, leech: Client::Samara };
        assert_eq!(pairs(Way::Utp, &all[..1]), [pair]);
    }
}
