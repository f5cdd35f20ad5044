//! The commands, one module each.

mod completions;
mod config;
mod create;
mod decode;
mod demo;
mod dht;
mod download;
mod drive;
mod follow;
mod handshake;
mod info;
mod job;
mod magnet;
mod man;
mod peers;
mod piece;
mod resolve;
mod scrape;
mod seed;
mod session;
mod share;
mod tracker;
mod verify;
pub(crate) mod welcome;

use crate::args::Command;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::{Display, Snapshot};
use crate::settings::Loaded;
use std::sync::mpsc::{self, RecvTimeoutError};

/// What every command is given beside its own arguments.
pub(crate) struct Context {
    /// Where to write.
    pub(crate) out: Output,
    /// Options from the file and the environment.
    pub(crate) loaded: Loaded,
}

/// Runs a command to its end.
pub(crate) fn run(command: Command, context: Context) -> Result<Exit, Failure> {
    match command {
        Command::Download(args) => download::run(&args, &context),
        Command::Seed(args) => seed::run(&args, &context),
        Command::Share(args) => share::run(&args, &context),
        Command::Tracker(args) => tracker::run(&args, &context),
        Command::Dht(args) => dht::run(&args, &context),
        Command::Demo(args) => demo::run(&args, &context),
        Command::Magnet(args) => magnet::run(&args, &context),
        Command::Peers(args) => peers::run(&args, &context),
        Command::Scrape(args) => scrape::run(&args, &context),
        Command::Piece(args) => piece::run(&args, &context),
        Command::Handshake(args) => handshake::run(&args, &context),
        Command::Create(args) => create::run(&args, context.out),
        Command::Info(args) => info::run(&args, &context),
        Command::Verify(args) => verify::run(&args, &context),
        Command::Decode(args) => decode::run(&args, context.out),
        Command::Config(args) => config::run(&args, &context),
        Command::Completions { shell } => completions::run(shell, context.out),
        Command::Man(args) => man::run(&args, context.out),
    }
}

/// The runtime of the calling thread, for what waits on the network. The engine has threads of its own.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot start the event loop: {e}")))
}

/// Runs `work` on another thread and shows how far it is, as `snapshot` tells.
fn watch<T: Send>(
    display: &mut Display,
    work: impl FnOnce() -> T + Send,
    snapshot: impl Fn() -> Snapshot,
) -> Result<T, Failure> {
    let (done, wait) = mpsc::channel();
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let result = work();
            // Received or not: the waiting ends when the sender is dropped.
            let _ = done.send(());
            result
        });
        while wait.recv_timeout(display.interval(1)) == Err(RecvTimeoutError::Timeout) {
            display.update([snapshot()])?;
        }
        Ok(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
