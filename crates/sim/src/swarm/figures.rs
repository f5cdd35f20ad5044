//! What a run comes to: how near to the least time possible, who gave how much, how pieces spread.
//!
//! **Bounds.** `F` is the length of the torrent, `U` what the honest seeds can send a second, `u` and `d` what a leech can send
//! and receive, `L` the number of leeches. Nobody can have everything before
//! `max(F / U, F / least d, L F / (U + sum of u))` ([`fluid_bound`]), which takes data for a liquid. It comes in pieces, and who
//! has half of one can pass on nothing: where all uplinks are equal, the last of `L` is not served before
//! `(1 + floor(log2 L) / pieces) F / u` ([`parts_bound`]; Mundinger, Weber and Weiss, 2008). `eta` is the greater bound over the
//! time at which the last honest leech has everything. Rates count payload alone, but those of links count
//! whole datagrams where these cross: then no swarm can come to 1.
//!
//! **Uplink use** is what the honest nodes sent over what they could have, in the time in which all leeches trade: from when the
//! last of them has a piece until the first of them has all; and over the whole run.
//!
//! **Seed economy**: bytes that the seeds sent until each piece had a copy among the leeches, over `F`. **Waste**: bytes that
//! honest leeches received and had already, over all they received. **Share ratio**: bytes sent over bytes received, of each
//! leech; Jain's index of them is 1 if all are equal and `1 / L` if one gives everything. **Free-riders**: what they had when half
//! of the honest leeches were done; at that rate they would have needed `slowdown` times as long.

use super::lookup::DhtFigures;
use super::packets::PacketFigures;
use super::record::Sample;
use super::world::World;
use crate::adversary::Behaviour;

/// The least time in which all can have everything, in microseconds: three reasons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The seeds must send each byte once.
    pub seed: u64,
    /// The slowest downlink must receive every byte.
    pub downlink: u64,
    /// All uplinks together must send everything to everybody.
    pub uplinks: u64,
    /// Pieces are passed on whole; where all uplinks are equal.
    pub parts: Option<u64>,
}

impl Bound {
    /// The one that holds.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.seed.max(self.downlink).max(self.uplinks).max(self.parts.unwrap_or(0))
    }

    /// What it comes from.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.micros() {
            most if self.parts == Some(most) => "pieces go whole",
            most if most == self.seed => "the seed's uplink",
            most if most == self.uplinks => "all uplinks",
            _ => "the slowest downlink",
        }
    }
}

/// The bound that takes data for a liquid. `leeches`: how many bytes a second each can send and receive.
#[must_use]
pub fn fluid_bound(total: u64, seeds_up: u64, leeches: &[(u64, u64)]) -> Bound {
    let slowest = leeches.iter().map(|leech| leech.1).min().unwrap_or(u64::MAX);
    let all_up = leeches.iter().fold(seeds_up, |sum, leech| sum.saturating_add(leech.0));
    let time = |bytes: u128, rate: u64| {
        u64::try_from(bytes * 1_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX)
    };
    let total = u128::from(total);
    Bound {
        seed: time(total, seeds_up),
        downlink: time(total, slowest),
        uplinks: time(total * leeches.len() as u128, all_up),
        parts: None,
    }
}

/// The least time until the last of `leeches` has all of `parts`, where they and the seed send `up` bytes a second each and
/// receive no slower.
#[must_use]
pub fn parts_bound(total: u64, parts: u32, leeches: usize, up: u64) -> u64 {
    let (parts, rounds) = (u128::from(parts.max(1)), u128::from(leeches.max(1).ilog2()));
    let micros = u128::from(total) * 1_000_000 * (parts + rounds) / parts / u128::from(up.max(1));
    u64::try_from(micros).unwrap_or(u64::MAX)
}

/// Jain's index: 1 if all are equal, one over their number if one has everything.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a figure for display")]
pub fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (values.len() as f64 * squares) }
}

/// Times of the leeches that finished, in microseconds from the start of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Percentiles {
    /// Half are not slower.
    pub median: u64,
    /// 95 in 100 are not slower.
    pub p95: u64,
    /// The slowest.
    pub most: u64,
}

impl Percentiles {
    /// Of these times, whatever their order.
    #[must_use]
    pub fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let rank = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).max(1) - 1;
            times.get(place).copied().unwrap_or(0)
        };
        Self { median: rank(50), p95: rank(95), most: rank(100) }
    }
}

/// What free-riders got.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Riders {
    /// How many.
    pub count: usize,
    /// The share of the torrent they had when half of the honest leeches were done, on average.
    pub share: f64,
    /// Median of the times they took in the end, in microseconds; of those that have everything.
    pub median: Option<u64>,
}

impl Riders {
    /// How many times as long they would have needed at that rate.
    #[must_use]
    pub fn slowdown(&self) -> f64 {
        1.0 / self.share.max(1e-6)
    }
}

/// What a run comes to. See the module's head for what the words mean.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// Honest leeches; of those that stayed, how many have everything.
    pub leeches: usize,
    /// See [`Figures::leeches`].
    pub finished: usize,
    /// Honest seeds.
    pub seeds: usize,
    /// Others.
    pub adversaries: usize,
    /// Only where all leeches start together and stay until they are done.
    pub bound: Option<Bound>,
    /// From the begin until the last honest leech had everything, in microseconds.
    pub last: u64,
    /// Of the honest leeches.
    pub times: Percentiles,
    /// While all trade.
    pub uplink_use: Option<f64>,
    /// Over the whole run.
    pub uplink_use_whole: f64,
    /// See the module's head.
    pub seed_economy: Option<f64>,
    /// See the module's head.
    pub waste: f64,
    /// Bytes of honest leeches that did not match, over all received.
    pub corrupt: f64,
    /// Least, median and greatest share ratio.
    pub ratios: (f64, f64, f64),
    /// Jain's index of them.
    pub jain: f64,
    /// What free-riders got, if there are any.
    pub riders: Option<Riders>,
    /// Peers banned, by honest nodes.
    pub bans: usize,
    /// What became of packets, where connections are uTP.
    pub packets: Option<PacketFigures>,
    /// What became of the DHT, where there is one of real nodes.
    pub dht: Option<DhtFigures>,
    /// How pieces spread.
    pub samples: Vec<Sample>,
    /// Events.
    pub events: u64,
    /// The fingerprint of the run.
    pub digest: String,
}

impl Figures {
    /// The bound over the time of the last.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for display")]
    pub fn eta(&self) -> Option<f64> {
        let bound = self.bound?.micros() as f64;
        (self.finished > 0 && self.last > 0).then(|| bound / self.last as f64)
    }

    /// Of a world that has run.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let record = &world.record;
        let honest = || world.nodes.iter().filter(|node| node.is_honest());
        let leeches: Vec<_> = honest().filter(|node| !node.config.seed).collect();
        let times: Vec<u64> =
            leeches.iter().filter_map(|node| Some(node.completed_at? - node.started_at?)).collect();
        let last = leeches.iter().filter_map(|node| node.completed_at).max();
        let (ended, sent) = record.ended.unwrap_or((world.now, record.honest_sent));
        let mut ratios: Vec<f64> = leeches
            .iter()
            .map(|node| node.ledger())
            .map(|ledger| quotient(ledger.sent, ledger.received))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let sum = |of: fn(&super::node::Ledger) -> u64| -> u64 {
            leeches.iter().map(|node| of(&node.ledger())).sum()
        };
        let received = sum(|ledger| ledger.received);
        Self {
            leeches: leeches.len(),
            finished: times.len(),
            seeds: honest().count() - leeches.len(),
            adversaries: world.nodes.len() - honest().count(),
            bound: bound(world),
            last: last.map_or(0, |at| at - record.begin),
            times: Percentiles::of(times),
            uplink_use: trading_use(world),
            uplink_use_whole: quotient(sent, capacity(world, ended - record.begin)),
            seed_economy: record
                .replicated_at
                .map(|_| quotient(record.seed_sent, world.config.total_len)),
            waste: quotient(sum(|ledger| ledger.wasted), received),
            corrupt: quotient(sum(|ledger| ledger.corrupt), received),
            ratios: (
                ratios.first().copied().unwrap_or(0.0),
                ratios.get(ratios.len() / 2).copied().unwrap_or(0.0),
                ratios.last().copied().unwrap_or(0.0),
            ),
            jain: jain(&ratios),
            riders: riders(world),
            bans: honest().map(|node| node.banned.len()).sum(),
            packets: world.packets.as_ref().map(|p| PacketFigures::of(p, record.delivered)),
            dht: world.dht_nodes.as_ref().map(|nodes| nodes.figures),
            samples: record.samples.clone(),
            events: world.events,
            digest: world.digest(),
        }
    }
}

fn bound(world: &World) -> Option<Bound> {
    let honest: Vec<_> = world.nodes.iter().filter(|node| node.is_honest()).collect();
    let together = honest.iter().all(|n| n.started_at == Some(world.record.begin) && n.epoch == 0);
    let stay = honest.iter().all(|n| n.config.leaves.is_none() && !n.left);
    if !together || !stay {
        return None;
    }
    let of = |seed: bool| honest.iter().filter(move |node| node.config.seed == seed);
    let leeches: Vec<_> = of(false).map(|node| (node.config.up, node.config.down)).collect();
    let seeds_up = of(true).map(|node| node.config.up).sum();
    let mut bound = fluid_bound(world.config.total_len, seeds_up, &leeches);
    let up = honest.first()?.config.up;
    let equal = honest.iter().all(|n| n.config.up == up && n.config.down >= up);
    if equal && of(true).count() == 1 {
        let pieces = world.layout.count();
        bound.parts = Some(parts_bound(world.config.total_len, pieces, leeches.len(), up));
    }
    Some(bound)
}

/// Bytes that the honest nodes can send in so many microseconds.
fn capacity(world: &World, micros: u64) -> u64 {
    let up: u64 = world.nodes.iter().filter(|n| n.is_honest()).map(|n| n.config.up).sum();
    u64::try_from(u128::from(up) * u128::from(micros) / 1_000_000).unwrap_or(u64::MAX)
}

fn trading_use(world: &World) -> Option<f64> {
    let (from, sent) = world.record.all_trade?;
    let (to, sent_then) = world.record.first_done?;
    (to > from).then(|| quotient(sent_then - sent, capacity(world, to - from)))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for display")]
fn riders(world: &World) -> Option<Riders> {
    let ride = |behaviour| matches!(behaviour, Behaviour::FreeRider | Behaviour::LargeView);
    let had: Vec<u64> = world
        .record
        .riders
        .iter()
        .filter(|(id, _)| ride(world.node(*id).config.behaviour))
        .map(|(_, bytes)| *bytes)
        .collect();
    let all = world.nodes.iter().filter(|node| ride(node.config.behaviour));
    let times: Vec<u64> =
        all.filter_map(|node| Some(node.completed_at? - node.started_at?)).collect();
    let share = quotient(had.iter().sum(), world.config.total_len) / had.len() as f64;
    let median = (!times.is_empty()).then(|| Percentiles::of(times).median);
    (!had.is_empty()).then_some(Riders { count: had.len(), share, median })
}

#[expect(clippy::cast_precision_loss, reason = "a figure for display")]
fn quotient(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_greatest_of_three() {
        // 1,000 bytes; the seed sends 100 a second: 10 s. All: 2 x 1,000 / (100 + 20 + 30) = 13.33 s. Slowest: 1,000 / 50 = 20 s.
        let bound = fluid_bound(1_000, 100, &[(20, 50), (30, 400)]);
        let seconds = (bound.seed, bound.uplinks, bound.downlink);
        assert_eq!(seconds, (10_000_000, 13_333_333, 20_000_000));
        assert_eq!((bound.micros(), bound.reason()), (20_000_000, "the slowest downlink"));
        let bound = fluid_bound(1_000, 10, &[(20, 50), (30, 400)]);
        assert_eq!((bound.micros(), bound.reason()), (100_000_000, "the seed's uplink"));
    }

    #[test]
    fn whole_pieces_take_the_logarithm_longer() {
        // One leech: as long as the seed sends. Two or three: one more piece, by then the first can help.
        assert_eq!(parts_bound(1_000, 10, 1, 100), 10_000_000);
        assert_eq!(parts_bound(1_000, 10, 2, 100), 11_000_000);
        assert_eq!(parts_bound(1_000, 10, 3, 100), 11_000_000);
        assert_eq!(parts_bound(1_000, 10, 4, 100), 12_000_000);
        // A single piece: it doubles with each round.
        assert_eq!(parts_bound(100, 1, 7, 100), 3_000_000);
    }

    #[test]
    fn jain_of_equals_is_one_and_of_one_giver_the_share() {
        assert!((jain(&[2.0; 5]) - 1.0).abs() < 1e-12);
        assert!((jain(&[0.0, 0.0, 0.0, 7.0]) - 0.25).abs() < 1e-12);
        // (1 + 3)^2 / (2 x (1 + 9)) = 0.8.
        assert!((jain(&[1.0, 3.0]) - 0.8).abs() < 1e-12);
        assert!((jain(&[0.0, 0.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times = (1..=20).rev().collect();
        assert_eq!(Percentiles::of(times), Percentiles { median: 10, p95: 19, most: 20 });
        assert_eq!(Percentiles::of(vec![7]), Percentiles { median: 7, p95: 7, most: 7 });
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    #[test]
    fn a_free_rider_with_a_quarter_is_four_times_slower() {
        let riders = Riders { count: 1, share: 0.25, median: None };
        assert!((riders.slowdown() - 4.0).abs() < 1e-9);
    }

    /// One seed, one leech, 64 pieces of 64 KiB at 1 MiB/s: 4 s, and every figure is known.
    #[test]
    fn the_figures_of_the_smallest_swarm() {
        use crate::{NodeConfig, WorldConfig};
        let mut world = World::new(WorldConfig::with_pieces(64));
        let rate = 1 << 20;
        world.add(NodeConfig { up: rate, ..NodeConfig::seed() });
        world.add(NodeConfig { up: rate, ..NodeConfig::leech() });
        assert!(world.run_until_complete(), "{:?}", world.broken());
        let figures = Figures::of(&world);
        assert_eq!((figures.leeches, figures.finished, figures.seeds), (1, 1, 1));
        assert_eq!(figures.bound.map(|b| b.micros()), Some(4_000_000));
        assert!(figures.eta().is_some_and(|eta| eta > 0.8 && eta < 1.0), "{:?}", figures.eta());
        assert!(figures.seed_economy.is_some_and(|e| (e - 1.0).abs() < 1e-9));
        assert!(figures.waste.abs() < 1e-9 && figures.ratios.2.abs() < 1e-9);
        let last = figures.samples.last().expect("sampled every second");
        assert!(last.rarest <= 1 && last.copies <= 64);
    }
}
