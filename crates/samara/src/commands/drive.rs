//! Watching torrents until all are finished, the time is up, or somebody says stop.

use super::job::{self, Job};
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::progress::{Display, MANY};
use crate::signals::Signals;
use samara_engine::Session;
use std::time::{Duration, Instant};

/// Files are asked about no more often than this.
const FILES_EVERY: Duration = Duration::from_millis(500);

/// Watches `jobs` to their end, then shuts the session down and says what became of them.
///
/// The first signal ends everything in order, a second one during that at once.
pub(crate) async fn run(
    session: &Session,
    jobs: &mut [Job],
    timeout: Option<Duration>,
    signals: &mut Signals,
    out: Output,
) -> Result<Exit, Failure> {
    let mut display = Display::new(out);
    let begun = Instant::now();
    let mut files_at = None;
    let end = loop {
        let now = Instant::now();
        for job in jobs.iter_mut() {
            job.observe(now);
            warn(job, out);
        }
        if display.shows_files() && files_at.is_none_or(|t| now - t >= FILES_EVERY) {
            files_at = Some(now);
            for job in jobs.iter_mut() {
                job.observe_files().await;
            }
        }
        display.update(jobs.iter().map(|job| job.snapshot(now)))?;
        // Nobody waits for a disk to be mended unless there is something else to do meanwhile.
        if jobs.iter().all(|job| job.is_finished() || job.is_stuck()) {
            break End::Finished;
        }
        if timeout.is_some_and(|t| begun.elapsed() >= t) {
            break End::TimedOut;
        }
        let mut waiting =
            jobs.iter().filter(|job| !job.is_finished() && !job.is_complete()).peekable();
        let turning_point = async {
            if waiting.peek().is_none() {
                // The rest is a matter of time.
                std::future::pending::<()>().await;
            }
            for job in waiting {
                job.turning_point().await;
            }
        };
        let left = timeout.map_or(Duration::MAX, |t| t.saturating_sub(begun.elapsed()));
        tokio::select! {
            () = tokio::time::sleep(display.interval(jobs.len()).min(left)) => {}
            () = turning_point => {}
            () = signals.next() => break End::Interrupted,
        }
    };
    display.finish();
    if end == End::Interrupted {
        // Over the ^C that a terminal shows.
        let back = if out.err_style.is_on() { "\r" } else { "" };
        out.note(format_args!(
            "{back}Stopping: telling the trackers and saving progress. Ctrl-C again stops at once."
        ));
    }
    tokio::select! {
        () = session.shutdown() => {}
        () = signals.next() => return Ok(Exit::Interrupted),
    }
    let now = Instant::now();
    for job in jobs.iter_mut() {
        job.observe_end();
        warn(job, out);
    }
    if jobs.len() > MANY && !out.json {
        out.note(job::summary_of_many(jobs, out));
    } else {
        jobs.iter().try_for_each(|job| job.summarise(now, out))?;
    }
    conclude(end, jobs, out)
}

/// Passes on what the trackers warn of.
fn warn(job: &mut Job, out: Output) {
    if let Some(warning) = job.take_warning() {
        out.warn(clean(&warning));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Finished,
    TimedOut,
    Interrupted,
}

/// The exit code: that of the first failure, if any.
fn conclude(end: End, jobs: &[Job], out: Output) -> Result<Exit, Failure> {
    let mut failures = jobs.iter().filter_map(Job::failure);
    if let Some(first) = failures.next() {
        for other in failures {
            out.failure(&other);
        }
        return Err(first);
    }
    match end {
        End::Interrupted => Ok(Exit::Interrupted),
        End::Finished if jobs.iter().all(Job::is_complete) => Ok(Exit::Done),
        End::TimedOut if jobs.iter().all(Job::is_complete) => Ok(Exit::Done),
        End::Finished => Ok(Exit::Unfinished),
        End::TimedOut if jobs.iter().any(Job::was_heard) => {
            Err(Failure::new(Exit::Unfinished, "the time is up before everything was here")
                .hint("what is here is kept; run the same command again to continue"))
        }
        End::TimedOut => {
            Err(Failure::new(Exit::Network, "no tracker answered and no peer was found in time")
                .hint("check the network, or name a peer with --peer"))
        }
    }
}
