//! One program under test: started in a home of its own, watched through /proc, ended with whoever holds it.

use crate::interrupt;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions};
use std::fs::{self, File};
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often memory and CPU time are looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// Lines of its output that an error quotes.
const TAIL: usize = 15;

/// CPU time of a program and of those of its children that have ended. The kernel tells it in hundredths of a second.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Cpu {
    /// In its own code, in seconds.
    pub(crate) user_s: f64,
    /// In the kernel on its behalf, in seconds.
    pub(crate) system_s: f64,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }
}

/// What a program did from the beginning of its work to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// CPU time.
    pub(crate) cpu: Cpu,
    /// Seconds on the clock, to the end of the program.
    pub(crate) seconds: f64,
    /// The most memory of its own (`RssAnon`) that was seen, in bytes.
    pub(crate) peak_anon: u64,
}

/// A running program; dropping it kills it.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
    started: Instant,
    peak_anon: u64,
}

impl Program {
    /// Starts it with nothing of ours in its environment, and `directory` as its home and current directory.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        directory: &Path,
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let log = directory.join("output.log");
        let file = File::create(&log)?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .envs([("PATH", path.as_os_str()), ("HOME", directory.as_os_str())])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log, started: Instant::now(), peak_anon: 0 })
    }

    /// CPU time so far; still known once it has ended.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        parse_stat(&stat, rustix::param::clock_ticks_per_second()).context("/proc/PID/stat")
    }

    /// Looks at its memory; returns what it holds of its own, in bytes.
    pub(crate) fn look(&mut self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let anon = status.map_or(0, |status| parse_anon(&status));
        self.peak_anon = self.peak_anon.max(anon);
        anon
    }

    /// The most memory of its own that was seen since the last call, in bytes.
    pub(crate) fn take_peak(&mut self) -> u64 {
        std::mem::take(&mut self.peak_anon)
    }

    /// An error if it has ended.
    pub(crate) fn alive(&self) -> Result<()> {
        ensure!(!self.ended()?, "{} has ended by itself{}", self.name, self.tail());
        Ok(())
    }

    /// Whether it has ended. It stays a zombie, so that its times can still be read.
    fn ended(&self) -> Result<bool> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("a process has an id")?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(rustix::process::waitid(WaitId::Pid(pid), options)?.is_some())
    }

    /// Waits for its end, which must be a success. What counts begins when `begun` first says that the work began; `None` is "not yet". It is
    /// called at every glance.
    pub(crate) fn finish(
        mut self,
        limit: Duration,
        mut begun: impl FnMut(&Self) -> Option<Instant>,
    ) -> Result<Spent> {
        let (mut before, mut since) = (Cpu::default(), None);
        while !self.ended()? {
            interrupt::check()?;
            let cpu = self.cpu()?;
            let said = begun(&self);
            since = since.or(said);
            if since.is_none() {
                before = cpu;
            }
            self.look();
            if self.started.elapsed() > limit {
                bail!("{} is not done after {limit:?}{}", self.name, self.tail());
            }
            std::thread::sleep(GLANCE);
        }
        let end = Instant::now();
        let cpu = self.cpu()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}{}", self.name, self.tail());
        let since = since.or_else(|| begun(&self));
        let since = since.with_context(|| format!("{} did nothing{}", self.name, self.tail()))?;
        Ok(Spent {
            cpu: cpu - before,
            seconds: (end - since).as_secs_f64(),
            peak_anon: self.peak_anon,
        })
    }

    /// When it was started.
    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.log).map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into())
    }

    /// The end of what it has printed, for an error.
    pub(crate) fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..]
            .iter()
            .map(|line| format!("\n    {line}"))
            .collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time, those of ended children included: fields 14 to 17 of /proc/PID/stat.
#[expect(clippy::cast_precision_loss, reason = "ticks of a few minutes")]
fn parse_stat(stat: &str, ticks_per_second: u64) -> Option<Cpu> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let ticks: Vec<u64> = behind_name
        .split_ascii_whitespace()
        .skip(11)
        .take(4)
        .map_while(|f| f.parse().ok())
        .collect();
    let [user, system, user_children, system_children] = ticks[..] else { return None };
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
    Some(Cpu { user_s: seconds(user + user_children), system_s: seconds(system + system_children) })
}

/// `RssAnon` of /proc/PID/status in bytes; 0 of a zombie, which has no memory.
fn parse_anon(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|l| l.split_ascii_whitespace().next()).and_then(|n| n.parse().ok());
    kib.unwrap_or(0u64) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 500 0 0 0 120 30 7 3 20 0 4 0 99 1 1";
        assert_eq!(parse_stat(stat, 100), Some(Cpu { user_s: 1.27, system_s: 0.33 }));
        assert_eq!(parse_stat("7 (a) S", 100), None);
        assert_eq!(parse_anon("Name:\tx\nRssAnon:\t    2048 kB\nRssFile:\t 1 kB\n"), 2 << 20);
        assert_eq!(parse_anon("Name:\tx\nState:\tZ (zombie)\n"), 0);
    }

    #[test]
    fn a_program_is_watched_to_its_end_and_failure_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Program::start("sh", command, temp.path()).unwrap()
        };
        let limit = Duration::from_secs(60);
        let began = |p: &Program| Some(p.started());
        let spent = sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").finish(limit, began);
        assert!(spent.unwrap().cpu.user_s > 0.0);
        let error = sh("echo no luck; exit 3").finish(limit, began).unwrap_err().to_string();
        assert!(error.contains("no luck") && error.contains('3'), "{error}");
        assert!(sh("exec sleep 1000").finish(Duration::ZERO, began).is_err());
        assert!(sh("true").finish(limit, |_| None).is_err(), "it never began");
    }
}
