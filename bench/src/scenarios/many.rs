//! Many small torrents in one client: until all seed, and then nothing happens.

use super::{LIMIT, Turn};
use crate::clients::Job;
use crate::interrupt;
use crate::payload::Library;
use crate::peers::auditor;
use crate::process::Spent;
use crate::report::json::{Many, Sample};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// After the last torrent is there, before idleness is measured.
const SETTLE: Duration = Duration::from_secs(2);

/// Loads the library and asks for every torrent by a handshake until the client shows that it has all of it.
/// Seconds are those from its start to the last answer; memory is what it holds while idle.
pub(super) fn load(turn: &Turn<'_>, library: &Library, idle: Duration) -> Result<Sample> {
    let list = turn.home.path().join("list");
    let paths: Vec<_> = library.torrents.iter().map(|p| format!("{}\n", p.display())).collect();
    std::fs::write(&list, paths.concat())?;
    let job = Job::Many { list: &list, torrents: &library.torrents, data: &library.data };
    let mut program = turn.start(job)?;
    for info in &library.infos {
        let from = turn.bench.network.ours();
        auditor::wait_ready(from, turn.at, info, LIMIT, || program.alive())
            .with_context(|| format!("torrent {}{}", info.name(), program.tail()))?;
    }
    let seconds = program.started().elapsed().as_secs_f64();
    let cpu = program.cpu()?;
    wait(SETTLE)?;
    let (before, begin) = (program.cpu()?, Instant::now());
    wait(idle)?;
    let used = program.cpu()? - before;
    let idle_cpu = (used.user_s + used.system_s) / begin.elapsed().as_secs_f64();
    program.alive()?;
    let spent = Spent { cpu, seconds, peak_anon: program.look() };
    let torrents = u32::try_from(library.infos.len())?;
    let bytes = library.infos.iter().map(|info| info.total_len()).sum();
    Ok(Sample { many: Some(Many { torrents, idle_cpu }), ..Sample::new(spent, bytes) })
}

/// Lets time pass, in which the client shall do nothing.
fn wait(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
