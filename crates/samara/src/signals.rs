//! Being told to stop: Ctrl-C, and what service managers and closing terminals send.

use crate::exit::{Exit, Failure};
use std::io;

/// The signals that ask for an orderly end.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    streams: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    #[cfg(unix)]
    pub(crate) fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let streams = || -> io::Result<_> {
            Ok([
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ])
        };
        Ok(Self { streams: streams().map_err(|e| failed(&e))? })
    }

    /// From now on Ctrl-C no longer ends the process by itself.
    #[cfg(not(unix))]
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.streams;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// Waits for the next Ctrl-C.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // No console to press it on.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg_attr(not(unix), expect(dead_code, reason = "only streams of signals can fail to open"))]
fn failed(e: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot listen for signals: {e}"))
}
