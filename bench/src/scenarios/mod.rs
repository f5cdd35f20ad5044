//! What is measured, and how.
//!
//! | module | does |
//! | --- | --- |
//! | [`transfer`] | downloads and seeds, with a warm and a cold cache |
//! | [`data`] | checks data and makes torrents of it, without a network |
//! | [`many`] | loads many small torrents and leaves them alone |
//! | [`pair`] | from one real client to another, by uTP or encrypted |

mod data;
mod many;
mod pair;
mod transfer;

use crate::args::TransfersArgs;
use crate::clients::{Client, Job, Programs, Way, can_create};
use crate::interrupt;
use crate::memory::Warm;
use crate::network::Network;
use crate::payload::{Library, Payload, Shape, Spec};
use crate::peers::tracker::Tracker;
use crate::process::{Program, Spent};
use crate::report::json::{Group, Outcome, Pair, Sample};
use crate::units::{self, GIB, KIB, MIB};
use anyhow::{Context, Result};
use samara_wire::metainfo::create::Version;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

/// Seeding moves this many times the payload: it is quick.
const SEED_TIMES: u64 = 4;

/// Memory that a client may take beside what it writes, in bytes.
const MEMORY_BESIDE: u64 = GIB / 2;

/// No transfer may take longer.
const LIMIT: Duration = Duration::from_secs(180);

/// What a client has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Download from so many synthetic seeds.
    Download(u8),
    /// Download from so many synthetic seeds while so many leeches take what it has.
    Mixed(u8, u8),
    /// Seed to so many synthetic leeches.
    Seed(u8),
    /// Seed to one leech, once over, what is on the disk only.
    SeedCold,
    /// Hash what is there.
    Check,
    /// Make a torrent.
    Create,
    /// Load so many small torrents.
    Many(u32),
    /// Download from another real client.
    Pair(Way),
}

/// One line of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Its name on the command line and in JSON.
    pub(crate) id: String,
    /// Its name in tables.
    pub(crate) title: String,
    /// Which table it belongs to.
    pub(crate) group: Group,
    kind: Kind,
    spec: Spec,
}

impl Scenario {
    /// All of a run, in order.
    pub(crate) fn all(args: &TransfersArgs) -> Vec<Self> {
        let base =
            Spec { len: args.size(), piece_len: 1 << 20, shape: Shape::One, version: Version::V1 };
        let mut all = Vec::new();
        for &n in &args.peers {
            let title = format!("download, {}", count(n.into(), "seed"));
            all.push(Self::new(
                &format!("download-{n}"),
                &title,
                Group::Main,
                Kind::Download(n),
                base,
            ));
        }
        for &n in &args.peers {
            let kind = Kind::Seed(n);
            let title =
                format!("seed, {}", count(n.into(), if n == 1 { "leech" } else { "leeche" }));
            all.push(Self::new(&format!("seed-{n}"), &title, Group::Main, kind, base));
        }
        all.push(Self::new("seed-cold", "seed, cold cache", Group::Main, Kind::SeedCold, base));
        all.push(Self::new("check", "check", Group::Main, Kind::Check, base));
        for (name, version) in
            [("v1", Version::V1), ("v2", Version::V2), ("hybrid", Version::Hybrid)]
        {
            let spec = Spec { version, ..base };
            let title = format!("create {name}");
            all.push(Self::new(&format!("create-{name}"), &title, Group::Main, Kind::Create, spec));
        }
        all.extend(Self::variants(base, if args.quick { 100 } else { 1000 }));
        let n = args.torrents();
        let title = format!("{n} torrents of 64 KiB");
        all.push(Self::new("many", &title, Group::Many, Kind::Many(n), base));
        // One pair in four of these is slow.
        let spec = Spec { len: (base.len / 4).max(32 * MIB).min(base.len), ..base };
        for (id, title, way) in
            [("utp-pair", "uTP alone", Way::Utp), ("rc4-pair", "RC4 over TCP", Way::Rc4)]
        {
            all.push(Self::new(id, title, Group::Pairs, Kind::Pair(way), spec));
        }
        all.retain(|s| args.only.is_empty() || args.only.iter().any(|o| s.id.starts_with(o)));
        all
    }

    /// The same work on other shapes of data, against tuning for one.
    fn variants(base: Spec, count: u16) -> Vec<Self> {
        // At most 2^14 pieces of the smallest size, or making the torrent takes longer than the transfer.
        let small = Spec { piece_len: 16 << 10, len: base.len.min(GIB / 4), ..base };
        let large = Spec { piece_len: 16 << 20, ..base };
        let files = Spec { piece_len: 256 << 10, shape: Shape::Many(count), ..base };
        let v2 = Spec { version: Version::V2, ..base };
        let variant =
            |id: &str, title: &str, kind, spec| Self::new(id, title, Group::Variants, kind, spec);
        vec![
            variant(
                "download-pieces-16k",
                "download, pieces of 16 KiB, 5 seeds",
                Kind::Download(5),
                small,
            ),
            variant(
                "download-pieces-16m",
                "download, pieces of 16 MiB, 5 seeds",
                Kind::Download(5),
                large,
            ),
            variant(
                "download-files",
                &format!("download, {count} files, 5 seeds"),
                Kind::Download(5),
                files,
            ),
            variant("mixed", "download from 5 seeds, seed to 5 leeches", Kind::Mixed(5, 5), base),
            variant("seed-pieces-16k", "seed, pieces of 16 KiB, 5 leeches", Kind::Seed(5), small),
            variant("seed-pieces-16m", "seed, pieces of 16 MiB, 5 leeches", Kind::Seed(5), large),
            variant("seed-files", &format!("seed, {count} files, 5 leeches"), Kind::Seed(5), files),
            variant("check-files", &format!("check, {count} files"), Kind::Check, files),
            variant("check-v2", "check, v2", Kind::Check, v2),
        ]
    }

    fn new(id: &str, title: &str, group: Group, kind: Kind, spec: Spec) -> Self {
        Self { id: id.to_owned(), title: title.to_owned(), group, kind, spec }
    }

    /// What moves, for the report.
    pub(crate) fn describe(&self) -> String {
        match self.kind {
            Kind::Many(n) => format!("{n} single files of 64 KiB, pieces of 16 KiB, no tracker"),
            Kind::Seed(_) => format!("{}, {SEED_TIMES} times", self.spec.describe()),
            _ => self.spec.describe(),
        }
    }

    /// Whether `client` takes part: variants are for the engines that can do all of them, the rest for who can.
    pub(crate) fn takes(&self, client: Client) -> bool {
        let v2 = self.spec.version != Version::V1;
        match (self.kind, client) {
            (Kind::Create, _) => can_create(client, self.spec.version),
            (_, Client::Mktorrent) => false,
            (Kind::Many(_), Client::Aria2) => false,
            (Kind::Pair(way), client) => way.suits(client),
            (_, Client::Rqbit | Client::Aria2) => !v2 && self.group != Group::Variants,
            _ => true,
        }
    }

    /// How often it is measured when `rounds` are wanted: fewer times where one takes long, or is but a variant.
    pub(crate) fn rounds(&self, rounds: u32) -> u32 {
        if self.group == Group::Main { rounds } else { rounds.min(3) }
    }

    /// Whether it needs a network of our own.
    pub(crate) const fn needs_namespace(&self) -> bool {
        matches!(self.kind, Kind::Pair(_))
    }

    /// Lets every client, or pair of them, do it in every round, in turns; `done` gets what came of each.
    pub(crate) fn run(
        &self,
        bench: &Bench<'_>,
        rounds: u32,
        mut done: impl FnMut(u32, Outcome),
    ) -> Result<()> {
        let ground = Ground::make(self, bench)?;
        let clients: Vec<Client> =
            bench.programs.clients().map(|(client, _)| client).filter(|c| self.takes(*c)).collect();
        if let (Kind::Pair(way), Ground::Payload(payload)) = (self.kind, &ground) {
            return self.run_pairs(bench, rounds, payload, (way, &clients), done);
        }
        for round in 0..rounds {
            for &client in in_turns(&clients, round) {
                let sample = self.sample(bench, &ground, client);
                let sample = sample.with_context(|| format!("{}, {}", self.id, client.name()))?;
                done(round, Outcome::Alone(client, sample));
            }
        }
        Ok(())
    }

    /// What fails between two other clients is for them to know: that pair is left out of the rest, and said so.
    fn run_pairs(
        &self,
        bench: &Bench<'_>,
        rounds: u32,
        payload: &Payload,
        (way, clients): (Way, &[Client]),
        mut done: impl FnMut(u32, Outcome),
    ) -> Result<()> {
        let pairs = pair::pairs(way, clients);
        let mut failed: Vec<Pair> = Vec::new();
        for round in 0..rounds {
            for &pair in in_turns(&pairs, round) {
                if failed.contains(&pair) {
                    continue;
                }
                let sample = pair::transfer(bench, payload, way, pair);
                let sample = sample.with_context(|| format!("{}, {}", self.id, pair.name()));
                let ours = [pair.seed, pair.leech].contains(&Client::Samara);
                match sample {
                    Ok(sample) => done(round, Outcome::Together(pair, sample)),
                    Err(error) if ours || interrupt::requested() => return Err(error),
                    Err(error) => {
                        failed.push(pair);
                        done(round, Outcome::Failed(pair, format!("{error:#}")));
                    }
                }
            }
        }
        Ok(())
    }

    fn sample(&self, bench: &Bench<'_>, ground: &Ground, client: Client) -> Result<Sample> {
        let turn = Turn::new(bench, client)?;
        let _warm = Warm::up(2 * self.spec.len + MEMORY_BESIDE).context("memory")?;
        match (ground, self.kind) {
            (Ground::Payload(payload), Kind::Download(seeds)) => {
                transfer::download(&turn, payload, seeds, 0)
            }
            (Ground::Payload(payload), Kind::Mixed(seeds, leeches)) => {
                transfer::download(&turn, payload, seeds, leeches)
            }
            (Ground::Payload(payload), Kind::Seed(leeches)) => {
                transfer::seed(&turn, payload, leeches, SEED_TIMES)
            }
            (Ground::Payload(payload), Kind::SeedCold) => transfer::seed_cold(&turn, payload),
            (Ground::Payload(payload), Kind::Check) => data::check(&turn, payload),
            (Ground::Payload(payload), _) => data::create(&turn, payload, self.spec),
            (Ground::Library(library), _) => many::load(&turn, library, bench.idle),
        }
    }
}

/// Another one begins each round, so that nobody always follows the same one.
fn in_turns<T>(all: &[T], round: u32) -> impl Iterator<Item = &T> {
    all.iter().cycle().skip(round as usize % all.len().max(1)).take(all.len())
}

/// `1 seed`, `50 seeds`.
fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// What all scenarios of a run share.
pub(crate) struct Bench<'a> {
    pub(crate) network: Network,
    pub(crate) programs: &'a Programs,
    pub(crate) tracker: &'a Tracker,
    /// The temporary directory.
    pub(crate) directory: PathBuf,
    /// How long the idle CPU of many torrents is watched.
    pub(crate) idle: Duration,
}

/// The data of a scenario.
enum Ground {
    Payload(Payload),
    Library(Library),
}

impl Ground {
    fn make(scenario: &Scenario, bench: &Bench<'_>) -> Result<Self> {
        Ok(match scenario.kind {
            Kind::Many(n) => Self::Library(Library::make(&bench.directory, n)?),
            _ => Self::Payload(Payload::make(
                &bench.directory,
                scenario.spec,
                &bench.tracker.announce,
            )?),
        })
    }
}

/// One client's turn: a fresh directory that is its home, and an address.
struct Turn<'a> {
    bench: &'a Bench<'a>,
    client: Client,
    way: Way,
    at: SocketAddrV4,
    /// Removed with everything in it when the turn is over.
    home: tempfile::TempDir,
}

impl<'a> Turn<'a> {
    fn new(bench: &'a Bench<'a>, client: Client) -> Result<Self> {
        Self::at(bench, client, bench.network.client())
    }

    /// The turn of one who downloads from another.
    fn second(bench: &'a Bench<'a>, client: Client) -> Result<Self> {
        Self::at(bench, client, bench.network.second())
    }

    fn at(bench: &'a Bench<'a>, client: Client, address: Ipv4Addr) -> Result<Self> {
        let home = tempfile::Builder::new().prefix(client.name()).tempdir_in(&bench.directory)?;
        Ok(Self { bench, client, way: Way::Plain, at: Network::free_port(address)?, home })
    }

    fn start(&self, job: Job<'_>) -> Result<Program> {
        let command = self.bench.programs.command(self.client, job, self.way, self.at);
        let command = command.context("it cannot do that")?;
        Program::start(self.client.name(), command, self.home.path())
    }
}

impl Sample {
    fn new(spent: Spent, bytes: u64) -> Self {
        Self {
            bytes,
            seconds: spent.seconds,
            cpu_user_s: spent.cpu.user_s,
            cpu_system_s: spent.cpu.system_s,
            peak_anon_bytes: spent.peak_anon,
            until_end_s: None,
            many: None,
        }
    }

    /// For the line on stderr.
    pub(crate) fn describe(&self) -> String {
        let anon = units::in_units_of(MIB, self.peak_anon_bytes);
        match &self.many {
            Some(many) => format!(
                "{:.2} s, {:.1} KiB each, {:.2} % idle",
                self.seconds,
                units::in_units_of(KIB, self.peak_anon_bytes) / f64::from(many.torrents),
                many.idle_cpu * 100.0
            ),
            None => format!(
                "{:.2} CPU s/GiB, {:.0} MiB/s, {anon:.0} MiB",
                self.cpu_per_gib(),
                self.mib_per_s()
            ),
        }
    }
}
