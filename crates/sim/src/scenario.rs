//! The swarms that the laboratory knows by name.
//!
//! Links are those of a house unless a scenario says otherwise: 8 Mbit/s up and 64 Mbit/s down (1 and 8 MiB/s of payload), 10 to
//! 50 ms one way. All leeches start at once, beside one seed with the same link, and stay as seeds when they are done.

use crate::adversary::Behaviour;
use crate::swarm::{
    Crash, DhtCrowd, DiskConfig, NodeConfig, NodeId, PacketsConfig, World, WorldConfig,
};
use samara_swarm::rng::Rng;
use samara_wire::time::Duration;

/// Payload a second of an ordinary link, up and down.
pub const UP: u64 = 1 << 20;
/// See [`UP`].
pub const DOWN: u64 = 8 << 20;

/// A swarm by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// All links are equal.
    Equal,
    /// Uplinks from 128 KiB/s to 4 MiB/s.
    Heterogeneous,
    /// The seed reveals one piece at a time (BEP 16).
    SuperSeed,
    /// Leeches come within a minute, ever more at first.
    Flash,
    /// Leeches come one by one and leave when they are done.
    Poisson,
    /// One leech in six gives nothing.
    FreeRiders,
    /// Three in ten nodes are adversaries, of all kinds.
    Adversaries,
    /// Dials fail, connections break, leeches leave amid, the first seed too.
    Churn,
    /// A third is cut off for a minute.
    Partition,
    /// One disk in four is slower than the link.
    SlowDisk,
    /// One write in twenty fails.
    FailingDisk,
    /// One leech in three is killed or loses power, and comes back.
    Crash,
    /// One thing in fifty is lost on its way.
    Lossy,
    /// Two leeches in three cannot be dialled.
    Nat,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Equal,
        Self::Heterogeneous,
        Self::SuperSeed,
        Self::Flash,
        Self::Poisson,
        Self::FreeRiders,
        Self::Adversaries,
        Self::Churn,
        Self::Partition,
        Self::SlowDisk,
        Self::FailingDisk,
        Self::Crash,
        Self::Lossy,
        Self::Nat,
    ];

    /// By which it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Heterogeneous => "heterogeneous",
            Self::SuperSeed => "super-seed",
            Self::Flash => "flash",
            Self::Poisson => "poisson",
            Self::FreeRiders => "free-riders",
            Self::Adversaries => "adversaries",
            Self::Churn => "churn",
            Self::Partition => "partition",
            Self::SlowDisk => "slow-disk",
            Self::FailingDisk => "failing-disk",
            Self::Crash => "crash",
            Self::Lossy => "lossy",
            Self::Nat => "nat",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Equal => "all links are equal",
            Self::Heterogeneous => "uplinks from 128 KiB/s to 4 MiB/s",
            Self::SuperSeed => "the seed reveals one piece at a time (BEP 16)",
            Self::Flash => "leeches come within a minute, most of them at first",
            Self::Poisson => "leeches come one by one and leave when they are done",
            Self::FreeRiders => "one leech in six gives nothing",
            Self::Adversaries => "three nodes in ten are adversaries, of all kinds",
            Self::Churn => "dials fail, connections break, leeches leave amid, the first seed too",
            Self::Partition => "a third is cut off for a minute",
            Self::SlowDisk => "one disk in four is slower than the link",
            Self::FailingDisk => "one write in twenty fails",
            Self::Crash => "one leech in three is killed or loses power, and comes back",
            Self::Lossy => "one thing in fifty is lost on its way",
            Self::Nat => "two leeches in three cannot be dialled",
        }
    }

    /// The scenario of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }
}

/// What connections are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// Flows: an event for a block, made for many peers.
    #[default]
    Flows,
    /// Pairs of uTP connections, whose datagrams cross.
    Utp,
}

/// How peers find each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Discovery {
    /// By a tracker.
    #[default]
    Tracker,
    /// By a DHT of real nodes, liars among them, and by nothing else.
    Dht,
}

/// A run as it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Which swarm.
    pub scenario: Scenario,
    /// Honest leeches.
    pub peers: u32,
    /// Seeds everything random.
    pub seed: u64,
    /// Bytes of the torrent.
    pub total_len: u64,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// Adversaries of this kind alone, where there are any.
    pub adversary: Option<Behaviour>,
    /// What connections are.
    pub transport: Transport,
    /// How peers find each other.
    pub discovery: Discovery,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            scenario: Scenario::Equal,
            peers: 100,
            seed: 1,
            total_len: 64 << 20,
            piece_len: 256 << 10,
            adversary: None,
            transport: Transport::Flows,
            discovery: Discovery::Tracker,
        }
    }
}

impl Plan {
    /// The world, not yet run.
    #[must_use]
    pub fn world(&self) -> World {
        let mut world = World::new(self.config());
        // Apart from the world's own, so that what is drawn here does not depend on what happens there.
        let mut rng = Rng::new(self.seed ^ 0x5ce0_a210);
        match self.scenario {
            Scenario::Equal | Scenario::Lossy => self.crowd(&mut world, |_, leech| leech),
            Scenario::Heterogeneous => self.heterogeneous(&mut world),
            Scenario::SuperSeed => {
                world.add(NodeConfig { super_seeding: true, ..seed() });
                (0..self.peers).for_each(|_| _ = world.add(leech()));
            }
            Scenario::Flash => self.flash(&mut world, &mut rng),
            Scenario::Poisson => self.poisson(&mut world, &mut rng),
            Scenario::FreeRiders => self.free_riders(&mut world),
            Scenario::Adversaries => self.adversaries(&mut world, &mut rng),
            Scenario::Churn => self.churn(&mut world, &mut rng),
            Scenario::Partition => {
                self.crowd(&mut world, |_, leech| leech);
                let far: Vec<NodeId> = (1..=self.peers).step_by(3).map(NodeId).collect();
                let after = self.transfer() / 4;
                world.partition_later(&far, after, Duration::from_secs(60));
            }
            Scenario::SlowDisk => self.crowd(&mut world, |i, leech| {
                let disk = DiskConfig {
                    latency: Duration::from_millis(100),
                    rate: UP / 2,
                    buffers: 4 << 20,
                    ..leech.disk
                };
                if i % 4 == 0 { NodeConfig { disk, ..leech } } else { leech }
            }),
            Scenario::FailingDisk => self.crowd(&mut world, |_, leech| NodeConfig {
                disk: DiskConfig { fails_one_in: 20, ..leech.disk },
                ..leech
            }),
            Scenario::Crash => self.crash(&mut world, &mut rng),
            Scenario::Nat => {
                self.crowd(&mut world, |i, leech| NodeConfig { unreachable: i % 3 != 0, ..leech });
            }
        }
        world
    }

    /// The same without adversaries.
    #[must_use]
    pub const fn clean(&self) -> Self {
        Self { scenario: Scenario::Equal, adversary: None, ..*self }
    }

    /// The command that runs it again.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { scenario, peers, seed, total_len, piece_len, adversary, .. } = self;
        let kind = adversary.map_or(String::new(), |kind| {
            format!(" --adversary {}", kind.name().to_lowercase().replace(' ', "-"))
        });
        let utp = if self.transport == Transport::Utp { " --transport utp" } else { "" };
        let dht = if self.discovery == Discovery::Dht { " --discovery dht" } else { "" };
        format!(
            "samara-sim swarm --scenario {} --peers {peers} --seed {seed} --size {} --piece {}{kind}{utp}{dht}",
            scenario.name(),
            total_len >> 20,
            piece_len >> 10,
        )
    }

    fn config(&self) -> WorldConfig {
        let many = self.peers > 300;
        let base = WorldConfig {
            seed: self.seed,
            total_len: self.total_len,
            piece_len: self.piece_len,
            limit: Duration::from_secs(1_800) + self.transfer() * 20,
            check_every: if many { 5_000 } else { 500 },
            packets: (self.transport == Transport::Utp).then(PacketsConfig::default),
            tracker: self.discovery == Discovery::Tracker,
            dht_nodes: (self.discovery == Discovery::Dht).then(DhtCrowd::default),
            ..WorldConfig::default()
        };
        match self.scenario {
            Scenario::Lossy => {
                let jitter = Duration::from_millis(5);
                let packets = base.packets.map(|packets| PacketsConfig { jitter, ..packets });
                WorldConfig { lost_one_in: 50, packets, ..base }
            }
            Scenario::Churn => WorldConfig { dials_fail_one_in: 10, breaks_one_in: 20_000, ..base },
            // Where there is no table, poisoners lie as nodes.
            Scenario::Adversaries => {
                WorldConfig { dht: self.discovery == Discovery::Tracker, ..base }
            }
            _ => base,
        }
    }

    /// How long one ordinary uplink takes for the whole.
    fn transfer(&self) -> Duration {
        Duration::from_millis(self.total_len * 1_000 / UP)
    }

    /// A seed and the leeches, each as `make` has it.
    fn crowd(&self, world: &mut World, make: impl Fn(u32, NodeConfig) -> NodeConfig) {
        world.add(seed());
        for i in 0..self.peers {
            world.add(make(i, leech()));
        }
    }

    fn heterogeneous(&self, world: &mut World) {
        // In KiB/s, as often as it stands here.
        const UPS: [u64; 10] = [128, 256, 256, 512, 512, 512, 1024, 1024, 2048, 4096];
        world.add(NodeConfig { up: 2 * UP, ..seed() });
        for up in (0..self.peers as usize).map(|i| UPS[i % UPS.len()] << 10) {
            world.add(NodeConfig { up, down: (8 * up).max(DOWN / 4), ..leech() });
        }
    }

    fn flash(&self, world: &mut World, rng: &mut Rng) {
        world.add(seed());
        for _ in 0..self.peers {
            // The square of an even lot: half of them within the first quarter.
            let lot = rng.below(1_000);
            world.add_later(leech(), Duration::from_millis((lot * lot * 60 / 1_000) as u64));
        }
    }

    fn poisson(&self, world: &mut World, rng: &mut Rng) {
        world.add(seed());
        // As many as a minute's transfers ago: about sixteen are there at a time.
        let mean = u64::try_from(self.transfer().as_micros()).unwrap_or(u64::MAX) / 16;
        let mut at = 0;
        for _ in 0..self.peers {
            world.add_later(
                NodeConfig { leaves: Some(Duration::from_secs(5)), ..leech() },
                Duration::from_micros(at),
            );
            at += exponential(mean, rng);
        }
    }

    fn free_riders(&self, world: &mut World) {
        let kind = self.adversary.unwrap_or(Behaviour::FreeRider);
        self.crowd(world, |_, leech| leech);
        for _ in 0..self.peers.div_ceil(5) {
            world.add(on_house_link(NodeConfig::adversary(kind)));
        }
    }

    fn adversaries(&self, world: &mut World, rng: &mut Rng) {
        self.crowd(world, |_, leech| leech);
        // So many that they are three in ten of all.
        let count = ((self.peers + 1) * 3).div_ceil(7);
        let mut kinds = Behaviour::ADVERSARIES;
        rng.shuffle(&mut kinds);
        for i in 0..count as usize {
            let kind = self.adversary.unwrap_or(kinds[i % kinds.len()]);
            let subnet = (kind == Behaviour::Sybil).then_some(7);
            world.add(NodeConfig { subnet, ..on_house_link(NodeConfig::adversary(kind)) });
        }
    }

    fn churn(&self, world: &mut World, rng: &mut Rng) {
        world.add(seed());
        let early = world.add(seed());
        world.leave_later(early, self.transfer() / 3);
        let span = usize::try_from(self.transfer().as_millis()).unwrap_or(1);
        for i in 0..self.peers {
            let after = Duration::from_millis(rng.below(span) as u64);
            let node = world.add_later(NodeConfig { unreachable: i % 7 == 6, ..leech() }, after);
            if i % 5 == 4 {
                let stay = Duration::from_millis(rng.below(span) as u64);
                world.leave_later(node, after + stay);
            }
        }
    }

    fn crash(&self, world: &mut World, rng: &mut Rng) {
        self.crowd(world, |_, leech| leech);
        let span = usize::try_from(self.transfer().as_millis()).unwrap_or(1);
        for i in (1..=self.peers).step_by(3) {
            let how = if rng.below(2) == 0 { Crash::Killed } else { Crash::PowerLoss };
            let after = Duration::from_millis(rng.below(span) as u64);
            let down = Duration::from_millis(1_000 + rng.below(60_000) as u64);
            world.crash_later(NodeId(i), after, how, down);
        }
    }
}

fn seed() -> NodeConfig {
    on_house_link(NodeConfig::seed())
}

fn leech() -> NodeConfig {
    on_house_link(NodeConfig::leech())
}

fn on_house_link(config: NodeConfig) -> NodeConfig {
    NodeConfig { up: UP, down: DOWN, ..config }
}

/// A time drawn by lot whose mean is `mean`, with the chances of arrivals that know nothing of each other. Without fractions: the
/// logarithm of 2^32 over the lot, by its bits.
fn exponential(mean: u64, rng: &mut Rng) -> u64 {
    let lot = (rng.next_u64() >> 32).max(1);
    // log2(2^32 / lot) with 16 bits behind the point, by squaring.
    let whole = u64::from(lot.ilog2());
    let mut x = (u128::from(lot) << 32) >> whole;
    let mut fraction = 0u64;
    for bit in (0..16).rev() {
        x = (x * x) >> 32;
        if x >= 2 << 32 {
            x >>= 1;
            fraction |= 1 << bit;
        }
    }
    let halvings = (32 << 16) - ((whole << 16) | fraction);
    // Times the logarithm of 2 to the base e.
    let scaled = u128::from(mean) * u128::from(halvings) * 45_426 / (1 << 16) / (1 << 16);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_mean_they_are_asked_for() {
        let mut rng = Rng::new(3);
        let times: Vec<u64> = (0..20_000).map(|_| exponential(1_000_000, &mut rng)).collect();
        let mean = times.iter().sum::<u64>() / 20_000;
        assert!((970_000..1_030_000).contains(&mean), "{mean}");
        let short = times.iter().filter(|t| **t < 693_147).count();
        assert!((9_800..10_200).contains(&short), "{short} below the median");
    }

    #[test]
    fn names_lead_back() {
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::by_name(scenario.name()), Some(scenario));
        }
        let plan = Plan { seed: 7, scenario: Scenario::Churn, ..Plan::default() };
        let command =
            "samara-sim swarm --scenario churn --peers 100 --seed 7 --size 64 --piece 256";
        assert_eq!(plan.command(), command);
    }
}
