//! Logs on stderr, above any progress bars.

use crate::progress;
use std::io::{self, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Begins to log: errors only, and more with each `-v`.
pub(crate) fn start(verbose: u8, color: bool) {
    let level = match verbose {
        0 => "error",
        1 => "warn,samara=info,samara_engine=info,samara_disk=info",
        2 => "info,samara=debug,samara_engine=debug,samara_disk=debug,samara_swarm=debug",
        _ => "debug,samara=trace,samara_engine=trace,samara_disk=trace,samara_swarm=trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(AboveBars)
        .with_ansi(color)
        .with_target(verbose > 1)
        .init();
}

struct AboveBars;

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut result = Ok(());
        progress::above_bars(|| result = io::stderr().lock().write_all(line));
        result.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
