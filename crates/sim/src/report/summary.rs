//! What many seeds of one swarm come to.

use super::text::seconds;
use crate::swarm::Figures;
use std::fmt::{self, Write};

/// Figures of many runs, in the order of their seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    last: Vec<(u64, u64)>,
    eta: Vec<f64>,
    uplink_use: Vec<f64>,
    economy: Vec<f64>,
    waste: Vec<f64>,
    jain: Vec<f64>,
    riders: Vec<f64>,
    beside_clean: Vec<f64>,
    bans: usize,
    digests: String,
}

impl Summary {
    /// Adds the run of a seed. `clean`: the time of the last without adversaries, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    pub fn add(&mut self, seed: u64, figures: &Figures, clean: Option<u64>) {
        self.last.push((figures.last, seed));
        self.eta.extend(figures.eta());
        self.uplink_use.extend(figures.uplink_use);
        self.economy.extend(figures.seed_economy);
        self.waste.push(figures.waste * 100.0);
        self.jain.push(figures.jain);
        self.riders.extend(figures.riders.map(|riders| riders.slowdown()));
        let clean = clean.filter(|clean| *clean > 0);
        self.beside_clean.extend(clean.map(|clean| figures.last as f64 / clean as f64));
        self.bans += figures.bans;
        let _ = writeln!(self.digests, "{seed} {}", figures.digest);
    }

    /// One fingerprint of all runs.
    #[must_use]
    pub fn digest(&self) -> String {
        use sha1::{Digest, Sha1};
        Sha1::digest(&self.digests).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// `least  median  most`.
fn spread(f: &mut fmt::Formatter<'_>, name: &str, values: &[f64], digits: usize) -> fmt::Result {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return Ok(()) };
    let median = sorted[sorted.len() / 2];
    writeln!(f, "{name:<22}{least:>10.digits$}{median:>10.digits$}{most:>10.digits$}")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22}{:>10}{:>10}{:>10}",
            format!("{} seeds", self.last.len()),
            "least",
            "median",
            "most"
        )?;
        let mut last = self.last.clone();
        last.sort_unstable();
        if let (Some(least), Some(most)) = (last.first(), last.last()) {
            let median = seconds(last[last.len() / 2].0);
            let (name, least_time) = ("last has everything", seconds(least.0));
            writeln!(
                f,
                "{name:<22}{least_time:>10}{median:>10}{:>10}  seed {}",
                seconds(most.0),
                most.1
            )?;
        }
        spread(f, "eta", &self.eta, 3)?;
        spread(f, "uplink use", &self.uplink_use, 3)?;
        spread(f, "seed economy", &self.economy, 3)?;
        spread(f, "waste, %", &self.waste, 2)?;
        spread(f, "Jain's index", &self.jain, 3)?;
        spread(f, "free-riders, x", &self.riders, 1)?;
        spread(f, "beside clean, x", &self.beside_clean, 2)?;
        writeln!(f, "{:<22}{:>10}", "bans", self.bans)?;
        writeln!(f, "{:<22}{}", "digest of all", self.digest())
    }
}
