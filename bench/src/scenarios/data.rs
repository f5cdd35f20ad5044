//! Checks of data and new torrents: no network takes part.

use super::{LIMIT, Turn};
use crate::clients::{Client, Job};
use crate::payload::{self, Payload, Spec};
use crate::process::{Cpu, Spent};
use crate::report::json::Sample;
use anyhow::{Context, Result};
use serde::Deserialize;

/// Hashes all of the payload, which is in the page cache.
pub(super) fn check(turn: &Turn<'_>, payload: &Payload) -> Result<Sample> {
    let job = Job::Check { torrent: &payload.torrent, data: &payload.data };
    Ok(Sample::new(work(turn, job)?, payload.info.total_len()))
}

/// Makes a torrent of the payload's file and compares its hashes with those we know.
pub(super) fn create(turn: &Turn<'_>, payload: &Payload, spec: Spec) -> Result<Sample> {
    let output = turn.home.path().join("made.torrent");
    let job = Job::Create {
        version: spec.version,
        piece_len: spec.piece_len,
        path: &payload.data.join(payload::NAME),
        output: &output,
    };
    let spent = work(turn, job)?;
    payload::same_pieces(&payload.info, &output)?;
    Ok(Sample::new(spent, payload.info.total_len()))
}

/// The whole program from its start to its end; of libtorrent what its script says of the work, without the start of Python.
fn work(turn: &Turn<'_>, job: Job<'_>) -> Result<Spent> {
    let log = turn.home.path().join("output.log");
    let whole = turn.start(job)?.finish(LIMIT, |program| Some(program.started()))?;
    if turn.client != Client::Libtorrent {
        return Ok(whole);
    }
    let said = std::fs::read_to_string(log)?;
    let line = said.lines().last().context("the script says nothing")?;
    let own: Own = serde_json::from_str(line).with_context(|| line.to_owned())?;
    let cpu = Cpu { user_s: own.user_s, system_s: own.system_s };
    Ok(Spent { cpu, seconds: own.seconds, ..whole })
}

/// What `libtorrent_client.py` prints.
#[derive(Deserialize)]
struct Own {
    seconds: f64,
    user_s: f64,
    system_s: f64,
}
