//! What it costs that a download is durable: the same download with and without, in turns, by the engine in this very process.
//!
//! *With* is what everybody gets: payload is synced, and records are written, after 5 s or 64 MiB. *Without*, the storage is the same
//! but for syncs, which do nothing, and there are no records. Before each turn everything that the file system holds back is written, so
//! that nobody waits for what another one has left.
//!
//! The rate is that at which the seeds sent. To the end it takes longer *with*: what is complete is said to be so when it is on disk.

use crate::args::DurabilityArgs;
use crate::interrupt;
use crate::memory::Warm;
use crate::network::Network;
use crate::payload::{Payload, Shape, Spec};
use crate::peers::seeds::Seeds;
use crate::run::temporary;
use crate::units::{self, GIB, MIB};
use anyhow::{Context, Result, ensure};
use samara_engine::disk::{Allocation, DirStorage, FileIdentity, Look, Storage};
use samara_engine::{AddTorrent, CustomStorage, Session, SessionConfig, State};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::FileIndex;
use samara_wire::metainfo::Metainfo;
use samara_wire::metainfo::create::Version;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No download may take longer.
const LIMIT: Duration = Duration::from_secs(300);

/// How many seeds send.
const SEEDS: u8 = 4;

/// Memory that a download may take beside what it writes, in bytes.
const MEMORY_BESIDE: u64 = GIB / 2;

/// Whether what is downloaded is made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    With,
    Without,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::With => "durable",
            Self::Without => "not synced",
        }
    }
}

/// One download.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// At which the seeds sent.
    mib_per_s: f64,
    /// From the first request until the engine said that it is complete.
    until_end_s: f64,
}

/// Measures, and prints what it came to.
pub(crate) fn run(args: &DurabilityArgs) -> Result<()> {
    let network = Network::enter()?;
    interrupt::catch()?;
    let temp = temporary(args.temp.as_deref())?;
    let memory = rustix::fs::statfs(temp.path())?.f_type == TMPFS;
    ensure!(
        !memory || args.quick,
        "the temporary directory is in memory; name another with --temp"
    );
    let spec =
        Spec { len: args.size(), piece_len: 1 << 20, shape: Shape::One, version: Version::V1 };
    let payload = Payload::make(temp.path(), spec, "http://127.0.0.1:1/announce")?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..args.rounds() {
        let modes = [Mode::With, Mode::Without];
        for mode in modes.into_iter().cycle().skip(round as usize % 2).take(2) {
            let figures = download(network, temp.path(), &payload, mode)
                .with_context(|| format!("round {}, {}", round + 1, mode.name()))?;
            let Figures { mib_per_s, until_end_s } = figures;
            eprintln!(
                "{:2} {:10} {mib_per_s:6.0} MiB/s, {until_end_s:.2} s to the end",
                round + 1,
                mode.name()
            );
            if mode == Mode::With { &mut with } else { &mut without }.push(figures);
        }
    }
    report(&spec, &with, &without);
    Ok(())
}

/// What the file system type of a tmpfs is called by the system.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

fn report(spec: &Spec, with: &[Figures], without: &[Figures]) {
    let rate = |figures: &[Figures]| median(figures.iter().map(|f| f.mib_per_s));
    let end = |figures: &[Figures]| median(figures.iter().map(|f| f.until_end_s));
    // Each with the one beside it, so that a machine that becomes slower does so for both.
    let ratio = median(with.iter().zip(without).map(|(a, b)| a.mib_per_s / b.mib_per_s));
    println!("{} from {SEEDS} seeds, medians of {} rounds\n", spec.describe(), with.len());
    println!("| | MiB/s | s to the end |\n| --- | --- | --- |");
    for (mode, figures) in [(Mode::With, with), (Mode::Without, without)] {
        println!("| {} | {:.0} | {:.2} |", mode.name(), rate(figures), end(figures));
    }
    println!("\ndurable / not synced: {ratio:.3} of the rate");
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[half],
        _ => f64::midpoint(figures[half - 1], figures[half]),
    }
}

fn download(network: Network, temp: &Path, payload: &Payload, mode: Mode) -> Result<Figures> {
    rustix::fs::sync();
    let len = payload.info.total_len();
    let _warm = Warm::up(2 * len + MEMORY_BESIDE).context("memory")?;
    let home = tempfile::Builder::new().prefix("durability").tempdir_in(temp)?;
    let into = home.path().join("downloads");
    fs::create_dir(&into)?;
    let seeds = Seeds::start(network, payload, SEEDS)?;
    let state = home.path().join("state");
    let session = Session::start(SessionConfig {
        bind: vec![std::net::IpAddr::from(network.client()).into()],
        dht: None,
        local_discovery: false,
        port_mapping: false,
        state_dir: (mode == Mode::With).then_some(state),
        ..SessionConfig::default()
    })?;
    let metainfo = Metainfo::parse(&fs::read(&payload.torrent)?)?;
    let files = DirStorage::open(&metainfo.info, into.clone());
    let storage: Arc<dyn Storage> = match mode {
        Mode::With => Arc::new(files),
        Mode::Without => Arc::new(Unsynced(files)),
    };
    let mut add = AddTorrent::new(metainfo, into.clone());
    add.announce = false;
    add.peers = seeds.addresses.iter().map(|&address| SocketAddr::from(address)).collect();
    add.storage = Some(CustomStorage(storage));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let torrent = session.add(add).await?;
        let complete = torrent.wait_until(|status| status.state == State::Seeding);
        let status = tokio::time::timeout(LIMIT, complete).await.context("too slow")?;
        let ended = Instant::now();
        ensure!(status.state == State::Seeding, "{:?}", status.state);
        session.shutdown().await;
        Ok(ended)
    })?;
    let first = seeds.first_request().context("nothing was asked for")?;
    let seeded = seeds.stop()?;
    ensure!(seeded.bytes >= len, "only {} of {len} bytes were fetched", seeded.bytes);
    payload.compare(&into)?;
    Ok(Figures {
        mib_per_s: units::in_units_of(MIB, len) / seeded.time.as_secs_f64(),
        until_end_s: (ended - first).as_secs_f64(),
    })
}

/// Files in a directory whose syncs do nothing.
struct Unsynced(DirStorage);

impl Storage for Unsynced {
    fn sync(&self, _: FileIndex) -> io::Result<()> {
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(file, offset, buf)
    }

    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_at(file, offset, bufs)
    }

    fn identity(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        self.0.identity(file)
    }

    fn note(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        self.0.note(file)
    }

    fn look(&self, file: FileIndex) -> io::Result<Look> {
        self.0.look(file)
    }

    fn has_data(&self, file: FileIndex, offset: u64, len: u64) -> io::Result<bool> {
        self.0.has_data(file, offset, len)
    }

    fn set_wanted(&self, wanted: Option<&Bitfield>) -> io::Result<()> {
        self.0.set_wanted(wanted)
    }

    fn prepare(&self, file: FileIndex, allocation: Allocation) -> io::Result<()> {
        self.0.prepare(file, allocation)
    }

    fn delete(&self, file: FileIndex) -> io::Result<()> {
        self.0.delete(file)
    }

    fn delete_leftovers(&self) -> io::Result<()> {
        self.0.delete_leftovers()
    }

    fn try_read_at(&self, file: FileIndex, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> usize {
        self.0.try_read_at(file, offset, bufs)
    }

    fn will_read(&self, file: FileIndex, offset: u64, len: u64) {
        self.0.will_read(file, offset, len);
    }

    fn volume(&self) -> Option<u64> {
        self.0.volume()
    }

    fn describe(&self, file: FileIndex) -> String {
        self.0.describe(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_two() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < 1e-9);
        assert!(median(std::iter::empty()).is_nan());
    }
}
