//! `samara demo`: a complete transfer on this machine.
//!
//! Nothing is pretended: the payload is random, the tracker, the seeds and the leech are what every other command
//! uses, and they talk over loopback sockets. Everything lies in a temporary directory that is removed at the end.

mod payload;

use super::create::CREATED_BY;
use super::job::{Goal, Job};
use super::{Context, runtime, session};
use crate::args::DemoArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::{Display, Phase, Snapshot};
use crate::signals::Signals;
use crate::units;
use payload::Payload;
use samara_engine::create::{self, CreateConfig, CreateProgress, Created};
use samara_engine::tracker_server::{TrackerServer, TrackerServerConfig};
use samara_engine::{AddTorrent, Existing, Session, SessionConfig, Torrent};
use serde_json::json;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Longest time without an end; a transfer over loopback that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs the demonstration.
pub(crate) fn run(args: &DemoArgs, context: &Context) -> Result<Exit, Failure> {
    let place = Place::new(args.keep.as_deref())?;
    let demo = Demo { args, out: context.out, dir: place.path.clone() };
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            ended = demo.run() => ended,
            () = signals.next() => {
                demo.out.note("Interrupted.");
                Ok(Exit::Interrupted)
            }
        }
    });
    // What still runs on other threads ends before the directory goes.
    runtime.shutdown_timeout(Duration::from_secs(5));
    ended
}

/// The directory of the demo, removed when dropped unless it is to be kept.
struct Place {
    path: PathBuf,
    keep: bool,
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let path = match keep {
            Some(dir) => dir.to_owned(),
            None => std::env::temp_dir().join(format!("samara-demo-{}", std::process::id())),
        };
        let made = match keep {
            Some(_) => std::fs::create_dir_all(&path),
            // Must not exist: what is in it would be removed.
            None => std::fs::create_dir(&path),
        };
        made.map_err(|e| Failure::io("create", &path, &e))?;
        Ok(Self { path, keep: keep.is_some() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            // The system clears its temporary directory sooner or later.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

struct Demo<'a> {
    args: &'a DemoArgs,
    out: Output,
    dir: PathBuf,
}

impl Demo<'_> {
    async fn run(&self) -> Result<Exit, Failure> {
        let out = self.out;
        out.note(format_args!(
            "{}\n",
            out.err_style.bold("A complete transfer on this machine, over real sockets.")
        ));
        let payload = Payload::new(self.args.size);
        self.write(&payload).await?;
        let tracker = self.track()?;
        let created = self.create(&payload, tracker.port()).await?;
        let seeds = self.seed(&created).await?;
        let (leech, torrent) = self.download(&created).await?;
        let verified = self.verify(&payload).await?;
        let stats = torrent.status().stats;
        leech.shutdown().await;
        for seed in &seeds {
            seed.shutdown().await;
        }
        tracker.shutdown();
        if out.json {
            out.object(
                "demo",
                json!({ "ok": verified, "downloaded": stats.downloaded, "wasted": stats.wasted, "dir": self.args.keep }),
            )?;
        }
        if !verified {
            return Err(Failure::new(Exit::Failed, "what arrived is not what was sent")
                .hint("this is a bug in samara or a fault of this machine: please report it"));
        }
        self.farewell();
        Ok(Exit::Done)
    }

    async fn write(&self, payload: &Payload) -> Result<(), Failure> {
        let begun = Instant::now();
        let (payload_, root) = (payload.clone(), self.dir.join("sent"));
        let done = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&done);
        let work = tokio::task::spawn_blocking(move || payload_.write(&root, &count));
        let total = payload.len();
        self.show(work, || {
            Snapshot::local("demo", Phase::Writing, done.load(Ordering::Relaxed), total)
        })
        .await??;
        let files = units::count(payload.files().len() as u64, "file", "files");
        self.step(
            "write",
            format_args!("{} of random bytes in {files}", units::size(total)),
            Some(begun),
        );
        Ok(())
    }

    fn track(&self) -> Result<TrackerServer, Failure> {
        let tracker = TrackerServer::start(TrackerServerConfig {
            bind: vec![SocketAddr::new(HOST, 0)],
            interval: Duration::from_secs(60),
            ..TrackerServerConfig::default()
        });
        tracker.map_err(|e| {
            Failure::new(Exit::Network, format!("cannot start a tracker on {HOST}: {e}"))
        })
    }

    async fn create(&self, payload: &Payload, port: u16) -> Result<Created, Failure> {
        let begun = Instant::now();
        let config = CreateConfig {
            trackers: vec![format!("http://{HOST}:{port}/announce")],
            created_by: Some(CREATED_BY.to_owned()),
            ..CreateConfig::default()
        };
        let path = self.dir.join("sent").join(payload.name());
        let progress = Arc::new(CreateProgress::default());
        let shared = Arc::clone(&progress);
        let work = tokio::task::spawn_blocking(move || create::create(&path, &config, &shared));
        let snapshot = || {
            Snapshot::local("demo", Phase::Hashing, progress.hashed_bytes(), progress.total_bytes())
        };
        let created = self.show(work, snapshot).await?;
        let created = created.map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        let layout = created.metainfo.info.layout();
        let pieces = units::count(layout.count().into(), "piece", "pieces");
        let len = units::size(layout.piece_len().into());
        self.step("create", format_args!("a torrent of {pieces} of {len}"), Some(begun));
        self.step("track", format_args!("http://{HOST}:{port}/announce"), None);
        Ok(created)
    }

    async fn seed(&self, created: &Created) -> Result<Vec<Session>, Failure> {
        let mut seeds = Vec::new();
        for _ in 0..self.args.seeds {
            let session = start()?;
            // Hashed a moment ago.
            let add = AddTorrent {
                existing: Existing::Trust,
                ..AddTorrent::new(created.metainfo.clone(), self.dir.join("sent"))
            };
            let added = session.add(add).await;
            let torrent = added.map_err(|e| session::not_added(&created.metainfo.info, &e))?;
            // The leech asks the tracker once at first: whoever is to be found must be known by then.
            let known = torrent.wait_until(|s| s.trackers_answered > 0);
            let _ = tokio::time::timeout(Duration::from_secs(5), known).await;
            seeds.push(session);
        }
        let ports: Vec<String> = seeds.iter().map(|s| s.port().to_string()).collect();
        let count = units::count(seeds.len() as u64, "seed", "seeds");
        let word = if seeds.len() == 1 { "port" } else { "ports" };
        self.step("seed", format_args!("{count}, {word} {}", ports.join(", ")), None);
        Ok(seeds)
    }

    async fn download(&self, created: &Created) -> Result<(Session, Torrent), Failure> {
        let begun = Instant::now();
        let session = start()?;
        let dir = self.dir.join("received");
        std::fs::create_dir_all(&dir).map_err(|e| Failure::io("create", &dir, &e))?;
        let added = session.add(AddTorrent::new(created.metainfo.clone(), &dir)).await;
        let torrent = added.map_err(|e| session::not_added(&created.metainfo.info, &e))?;
        let mut job = Job::new(torrent.clone(), None, Goal::Complete);
        let mut display = Display::new(self.out);
        loop {
            let now = Instant::now();
            job.observe(now);
            if display.shows_files() {
                job.observe_files().await;
            }
            display.update([job.snapshot(now)])?;
            if let Some(failure) = job.failure() {
                return Err(Failure { hint: None, ..failure });
            }
            if job.is_complete() {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new(Exit::Unfinished, "the transfer does not come to an end")
                    .hint("try samara demo -vv and report what it says"));
            }
            tokio::select! {
                () = tokio::time::sleep(display.interval(1)) => {}
                () = job.turning_point() => {}
            }
        }
        display.finish();
        let took = begun.elapsed();
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let len = created.metainfo.info.total_len();
        let rate = units::rate(len.saturating_mul(1000) / millis);
        let from = units::count(self.args.seeds.into(), "seed", "seeds");
        self.step(
            "download",
            format_args!("{} from {from} at {rate}", units::size(len)),
            Some(begun),
        );
        Ok((session, torrent))
    }

    async fn verify(&self, payload: &Payload) -> Result<bool, Failure> {
        let begun = Instant::now();
        let (payload_, dir) = (payload.clone(), self.dir.clone());
        let done = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&done);
        let work = tokio::task::spawn_blocking(move || {
            payload_.same(&dir.join("sent"), &dir.join("received"), &count)
        });
        let total = payload.len();
        let same = self
            .show(work, || {
                Snapshot::local("demo", Phase::Checking, done.load(Ordering::Relaxed), total)
            })
            .await??;
        if same {
            let files = units::count(payload.files().len() as u64, "file", "files");
            self.step("verify", format_args!("{files}, the same byte for byte"), Some(begun));
        }
        Ok(same)
    }

    fn farewell(&self) {
        let style = self.out.err_style;
        if let Some(dir) = &self.args.keep {
            self.out.note(format_args!("\nEverything is in {}.", dir.display()));
        }
        self.out.note(format_args!(
            "\n{} Now for real:\n  {}  download, or continue a download\n  {}  send files to somebody else",
            style.green("It works."),
            style.cyan(format!("{:<28}", "samara download FILE.torrent")),
            style.cyan(format!("{:<28}", "samara share PATH")),
        ));
    }

    /// Waits for work on another thread and shows how far it is.
    async fn show<T>(
        &self,
        mut work: tokio::task::JoinHandle<T>,
        snapshot: impl Fn() -> Snapshot,
    ) -> Result<T, Failure> {
        let mut display = Display::new(self.out);
        loop {
            tokio::select! {
                done = &mut work => {
                    return done.map_err(|e| Failure::new(Exit::Failed, format!("a thread ended early: {e}")));
                }
                () = tokio::time::sleep(display.interval(1)) => display.update([snapshot()])?,
            }
        }
    }

    /// Says that a step is done.
    fn step(&self, word: &str, what: fmt::Arguments<'_>, begun: Option<Instant>) {
        let style = self.out.err_style;
        let what = what.to_string();
        let took = begun.map_or_else(String::new, |b| units::duration(b.elapsed()));
        self.out.note(format_args!(
            "  {} {:<9} {what:<52} {}",
            style.green("✓"),
            style.bold(word),
            style.dim(took)
        ));
    }
}

fn start() -> Result<Session, Failure> {
    // Needs no network, so it asks nobody there.
    let config = SessionConfig {
        bind: vec![HOST.into()],
        port_mapping: false,
        port: 0,
        dht: None,
        local_discovery: false,
        ..SessionConfig::default()
    };
    Session::start(config).map_err(|e| session::not_started(&e))
}
