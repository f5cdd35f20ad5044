//! The report as data: every sample, none left out.

use crate::clients::Client;
use crate::process::Cpu;
use crate::scenarios::Scenario;
use crate::units::{self, GIB, MIB};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The version of this format.
const VERSION: u32 = 1;

/// What one or more runs measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`VERSION`].
    pub(crate) v: u32,
    /// Always `samara-bench`.
    #[serde(rename = "type")]
    kind: String,
    /// Begin of the (first) run, UTC, as in `2026-11-21T12:00:00Z`.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    /// Where the peers lived.
    pub(crate) network: String,
    /// The version of each client.
    pub(crate) programs: BTreeMap<Client, String>,
    /// Clients that were wanted and could not take part, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) scenarios: Vec<Measured>,
}

/// What it ran on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor, as it calls itself.
    pub(crate) cpu: String,
    /// Those of its abilities that hashing uses.
    pub(crate) features: Vec<String>,
    /// Processors that the system has.
    pub(crate) cpus: usize,
    /// In whole GiB, rounded up.
    pub(crate) memory_gib: u64,
    /// The system and its version.
    pub(crate) system: String,
}

/// Which table a scenario belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    /// What everybody asks for.
    Main,
    /// The same on other shapes of data.
    Variants,
    /// Many torrents.
    Many,
    /// Two clients with each other.
    Pairs,
}

/// All samples of a scenario.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) id: String,
    pub(crate) title: String,
    /// What moved.
    pub(crate) payload: String,
    pub(crate) group: Group,
    pub(crate) samples: BTreeMap<Client, Vec<Sample>>,
    /// Of [`Group::Pairs`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pairs: Vec<Paired>,
}

/// Who downloads from whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) seed: Client,
    pub(crate) leech: Client,
}

/// All samples of a pair.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Paired {
    #[serde(flatten)]
    pub(crate) pair: Pair,
    pub(crate) samples: Vec<PairSample>,
}

/// One transfer between two clients.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PairSample {
    /// Payload.
    pub(crate) bytes: u64,
    /// On the clock, while something passed.
    pub(crate) seconds: f64,
    /// What each end spent in that time; the one that downloads until it has ended.
    pub(crate) seed: Side,
    pub(crate) leech: Side,
}

/// One end of a transfer.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) cpu_user_s: f64,
    pub(crate) cpu_system_s: f64,
    /// `RssAnon` at its peak.
    pub(crate) peak_anon_bytes: u64,
}

/// What came of one turn.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// One client with synthetic peers, or by itself.
    Alone(Client, Sample),
    /// Two clients with each other.
    Together(Pair, PairSample),
    /// Two clients did not get on with each other; why.
    Failed(Pair, String),
}

/// One turn of one client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Payload that was moved, hashed or loaded.
    pub(crate) bytes: u64,
    /// On the clock, while payload moved.
    pub(crate) seconds: f64,
    /// Of a download: from the first request to the end of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_end_s: Option<f64>,
    pub(crate) cpu_user_s: f64,
    pub(crate) cpu_system_s: f64,
    /// `RssAnon` at its peak; of many torrents, while idle.
    pub(crate) peak_anon_bytes: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) many: Option<Many>,
}

/// What is measured of many torrents only.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Many {
    pub(crate) torrents: u32,
    /// CPU seconds a second while nothing happens.
    pub(crate) idle_cpu: f64,
}

impl Pair {
    /// `rqbit → samara`.
    pub(crate) fn name(self) -> String {
        format!("{} → {}", self.seed.name(), self.leech.name())
    }
}

impl Side {
    pub(crate) const fn new(cpu: Cpu, peak_anon_bytes: u64) -> Self {
        Self { cpu_user_s: cpu.user_s, cpu_system_s: cpu.system_s, peak_anon_bytes }
    }
}

impl PairSample {
    /// CPU seconds, user and system, of one end for each GiB.
    pub(crate) fn cpu_per_gib(&self, side: fn(&Self) -> Side) -> f64 {
        let side = side(self);
        (side.cpu_user_s + side.cpu_system_s) / units::in_units_of(GIB, self.bytes)
    }

    /// MiB a second.
    pub(crate) fn mib_per_s(&self) -> f64 {
        units::in_units_of(MIB, self.bytes) / self.seconds
    }
}

impl Paired {
    /// The median of a figure.
    pub(crate) fn median(&self, figure: impl Fn(&PairSample) -> f64) -> f64 {
        median(self.samples.iter().map(figure).collect()).unwrap_or(f64::NAN)
    }
}

impl Outcome {
    /// Whose turn it was.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Alone(client, _) => client.name().to_owned(),
            Self::Together(pair, _) | Self::Failed(pair, _) => pair.name(),
        }
    }

    /// For the line on stderr.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Alone(_, sample) => sample.describe(),
            Self::Together(_, sample) => format!(
                "{:.0} MiB/s, {:.2} and {:.2} CPU s/GiB",
                sample.mib_per_s(),
                sample.cpu_per_gib(|s| s.seed),
                sample.cpu_per_gib(|s| s.leech)
            ),
            Self::Failed(_, why) => format!("left out: {why}"),
        }
    }
}

/// `None` if there are no figures.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        _ if figures.is_empty() => None,
        0 => Some(f64::midpoint(figures[middle - 1], figures[middle])),
        _ => Some(figures[middle]),
    }
}

impl Sample {
    /// CPU seconds, user and system, for each GiB.
    pub(crate) fn cpu_per_gib(&self) -> f64 {
        (self.cpu_user_s + self.cpu_system_s) / units::in_units_of(GIB, self.bytes)
    }

    /// MiB a second.
    pub(crate) fn mib_per_s(&self) -> f64 {
        units::in_units_of(MIB, self.bytes) / self.seconds
    }
}

impl Measured {
    /// No sample yet.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        Self {
            id: scenario.id.clone(),
            title: scenario.title.clone(),
            payload: scenario.describe(),
            group: scenario.group,
            samples: BTreeMap::new(),
            pairs: Vec::new(),
        }
    }

    /// The median of a figure over a client's samples; `None` if it did not take part.
    pub(crate) fn median(&self, client: Client, figure: impl Fn(&Sample) -> f64) -> Option<f64> {
        median(self.samples.get(&client)?.iter().map(figure).collect())
    }

    /// Whether anything was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.pairs.is_empty()
    }

    fn add_pair(&mut self, pair: Pair, samples: Vec<PairSample>) {
        match self.pairs.iter_mut().find(|paired| paired.pair == pair) {
            Some(paired) => paired.samples.extend(samples),
            None => self.pairs.push(Paired { pair, samples }),
        }
    }
}

impl Report {
    /// One without samples, of this machine and this moment.
    pub(crate) fn new(
        network: &str,
        programs: BTreeMap<Client, String>,
        left_out: Vec<String>,
    ) -> Result<Self> {
        Ok(Self {
            v: VERSION,
            kind: "samara-bench".to_owned(),
            date: date()?,
            machine: Machine::this()?,
            network: network.to_owned(),
            programs,
            left_out,
            scenarios: Vec::new(),
        })
    }

    /// Reads report.json.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let report: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no report of ours", path.display()))?;
        ensure!(report.v == VERSION, "{} is of version {}", path.display(), report.v);
        Ok(report)
    }

    /// Takes over what `other` measured: new scenarios at the end, more samples of those that are there.
    pub(crate) fn merge(&mut self, other: Self) -> Result<()> {
        ensure!(self.machine == other.machine, "the reports are of different machines");
        ensure!(self.network == other.network, "the reports are of different networks");
        for (client, version) in other.programs {
            let ours = self.programs.entry(client).or_insert_with(|| version.clone());
            ensure!(*ours == version, "the reports are of different versions of {}", client.name());
        }
        for why in other.left_out {
            if !self.left_out.contains(&why) {
                self.left_out.push(why);
            }
        }
        for measured in other.scenarios {
            let same = self.scenarios.iter_mut().find(|s| s.id == measured.id);
            let Some(same) = same else {
                self.scenarios.push(measured);
                continue;
            };
            ensure!(same.payload == measured.payload, "{} has two payloads", same.id);
            for (client, samples) in measured.samples {
                same.samples.entry(client).or_default().extend(samples);
            }
            for Paired { pair, samples } in measured.pairs {
                same.add_pair(pair, samples);
            }
        }
        Ok(())
    }

    /// The scenarios of one table.
    pub(crate) fn group(&self, group: Group) -> impl Iterator<Item = &Measured> {
        self.scenarios.iter().filter(move |s| s.group == group && !s.is_empty())
    }

    /// Adds what came of a turn.
    pub(crate) fn add(&mut self, scenario: usize, outcome: Outcome) {
        let measured = &mut self.scenarios[scenario];
        match outcome {
            Outcome::Alone(client, sample) => {
                measured.samples.entry(client).or_default().push(sample);
            }
            Outcome::Together(pair, sample) => measured.add_pair(pair, vec![sample]),
            Outcome::Failed(_, why) => self.left_out.push(why),
        }
    }
}

impl Machine {
    fn this() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
                .unwrap_or_default()
        };
        let features = field("flags") + " " + &field("Features");
        let wanted = ["sha_ni", "avx2", "avx512bw", "sha1", "sha2"];
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib = memory.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        let uname = rustix::system::uname();
        Ok(Self {
            cpu: field("model name"),
            features: wanted
                .iter()
                .filter(|w| features.split(' ').any(|f| f == **w))
                .map(ToString::to_string)
                .collect(),
            cpus: std::thread::available_parallelism()?.get(),
            memory_gib: kib.unwrap_or(0).div_ceil(1 << 20),
            system: format!("Linux {}", uname.release().to_string_lossy()),
        })
    }
}

/// Now, as the system's own tool says it.
fn date() -> Result<String> {
    let said = std::process::Command::new("date").args(["-u", "+%FT%TZ"]).output();
    let said = said.context("cannot run `date`")?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(seconds: f64, cpu: f64) -> Sample {
        Sample {
            bytes: GIB,
            seconds,
            cpu_user_s: cpu / 2.0,
            cpu_system_s: cpu / 2.0,
            peak_anon_bytes: 8 * MIB,
            until_end_s: None,
            many: None,
        }
    }

    fn measured(id: &str, group: Group, samples: Vec<(Client, Vec<Sample>)>) -> Measured {
        Measured {
            id: id.into(),
            title: id.replace('-', ", "),
            payload: "1 GiB".into(),
            group,
            samples: samples.into_iter().collect(),
            pairs: Vec::new(),
        }
    }

    /// From libtorrent to samara, three times.
    fn pairs() -> Measured {
        let pair = Pair { seed: Client::Libtorrent, leech: Client::Samara };
        let side = |cpu| Side { cpu_user_s: cpu, cpu_system_s: 0.0, peak_anon_bytes: 4 * MIB };
        let sample = |seconds| PairSample {
            bytes: GIB,
            seconds,
            seed: side(2.0 * seconds),
            leech: side(seconds),
        };
        let samples = vec![sample(9.0), sample(4.0), sample(2.0)];
        let pairs = vec![Paired { pair, samples }];
        Measured { pairs, ..measured("utp-pair", Group::Pairs, Vec::new()) }
    }

    /// A report with every kind of table.
    pub(crate) fn example() -> Report {
        let machine = Machine {
            cpu: "Test & Sons <CPU>".into(),
            features: vec!["avx2".into()],
            cpus: 2,
            memory_gib: 4,
            system: "Linux 6.1".into(),
        };
        let three = |a: f64| vec![sample(a, a), sample(2.0 * a, 2.0 * a), sample(9.0, 9.0)];
        let many =
            Sample { many: Some(Many { torrents: 2048, idle_cpu: 0.001 }), ..sample(0.5, 0.25) };
        Report {
            v: VERSION,
            kind: "samara-bench".into(),
            date: "2026-01-02T03:04:05Z".into(),
            machine,
            network: "plain loopback".into(),
            programs: [(Client::Samara, "1.0".into()), (Client::Libtorrent, "2.0".into())].into(),
            left_out: vec!["rqbit: not there".into()],
            scenarios: vec![
                measured(
                    "download-1",
                    Group::Main,
                    vec![(Client::Samara, three(0.25)), (Client::Libtorrent, three(1.0))],
                ),
                measured("create-v2", Group::Main, vec![(Client::Samara, three(0.1))]),
                measured("check-files", Group::Variants, vec![(Client::Samara, three(0.5))]),
                measured("many", Group::Many, vec![(Client::Samara, vec![many])]),
                pairs(),
            ],
        }
    }

    #[test]
    fn medians_are_those_of_the_samples() {
        let report = example();
        let download = &report.scenarios[0];
        assert_eq!(download.median(Client::Samara, Sample::cpu_per_gib), Some(0.5));
        assert_eq!(download.median(Client::Samara, Sample::mib_per_s), Some(2048.0));
        assert_eq!(download.median(Client::Aria2, Sample::mib_per_s), None);
        let even = measured(
            "x",
            Group::Main,
            vec![(Client::Samara, vec![sample(1.0, 3.0), sample(1.0, 1.0)])],
        );
        assert_eq!(even.median(Client::Samara, Sample::cpu_per_gib), Some(2.0));
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let report = example();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(text.starts_with(r#"{"v":1,"type":"samara-bench","#), "{text}");
    }

    #[test]
    fn reports_are_merged_unless_they_do_not_belong_together() {
        let mut report = example();
        report.merge(example()).unwrap();
        assert_eq!(report.scenarios.len(), 5);
        assert_eq!(report.scenarios[4].pairs[0].samples.len(), 6);
        assert_eq!(report.scenarios[0].samples[&Client::Samara].len(), 6);
        assert_eq!(report.left_out.len(), 1);
        let mut other = example();
        other.programs.insert(Client::Samara, "1.1".into());
        assert!(report.merge(other).is_err());
        let mut other = example();
        other.machine.cpus = 4;
        assert!(report.merge(other).is_err());
    }
}
