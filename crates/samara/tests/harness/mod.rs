//! Runs the built program in a home of its own.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A directory in which the program runs, with nothing of the user's environment.
pub(crate) struct Home(tempfile::TempDir);

/// What the program said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samara"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("SAMARA_") || name.starts_with("XDG_") {
                command.env_remove(name);
            }
        }
        // Tests keep to themselves; SAMARA_* of the environment are gone.
        command.env("SAMARA_LSD", "false").env("SAMARA_PORT_MAPPING", "false");
        command.args(args).current_dir(self.0.path()).env("HOME", self.0.path().join("home"));
        // No test asks anybody outside of this machine; those of the DHT name their nodes.
        command.env("TMPDIR", self.0.path()).env("SAMARA_DHT", "0").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args))
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        done(child.wait_with_output().unwrap())
    }

    /// A program that runs on, with `--json`, until dropped.
    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        let mut child =
            command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }
}

pub(crate) fn finish(command: &mut Command) -> Ran {
    done(command.output().unwrap())
}

fn done(output: std::process::Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    /// The JSON lines of stdout.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The first JSON line of a type.
    pub(crate) fn object(&self, kind: &str) -> Value {
        let found = self.objects().into_iter().find(|o| o["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {self:?}"))
    }
}

/// A program that runs.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Reads until a JSON line of a type comes.
    pub(crate) fn wait_for(&mut self, kind: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "ended before {kind}");
            let object: Value = serde_json::from_str(&line).unwrap();
            if object["type"] == kind {
                return object;
            }
        }
    }

    /// What Ctrl-C does; gives the exit code.
    #[cfg(unix)]
    pub(crate) fn interrupt(mut self) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes that differ from place to place.
pub(crate) fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        })
        .collect()
}

/// Whether two directories hold the same files with the same content.
pub(crate) fn same(a: &Path, b: &Path) -> bool {
    let list = |dir: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    if a.is_dir() {
        let names = list(a);
        return names == list(b) && names.iter().all(|n| same(&a.join(n), &b.join(n)));
    }
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}
