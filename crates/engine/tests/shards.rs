//! Sessions with several network threads: torrents live on different ones and share the port, the disk and the limits.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::{Session, SessionConfig, State, Torrent};
use std::path::Path;
use std::time::Instant;
use support::fake::{link, resolve};
use support::{Sample, addr, config, down, run, until};

const SHARDS: [usize; 2] = [2, 4];

/// Bytes of one torrent of [`samples`], about.
const LEN: usize = 700_000;

fn session(shards: usize, state_dir: Option<&Path>) -> Session {
    Session::start(SessionConfig { shards, ..config(state_dir) }).unwrap()
}

/// More torrents than shards, so that each shard has some.
fn samples(shards: usize) -> Vec<Sample> {
    (0..2 * shards).map(|i| Sample::single(LEN + i * 1000, 32 * 1024)).collect()
}

/// Adds all, each where it is, and waits until it seeds.
async fn seed(session: &Session, samples: &[Sample]) -> Vec<Torrent> {
    let mut torrents = Vec::new();
    for sample in samples {
        torrents.push(session.add(sample.add(sample.dir.path(), &[])).await.unwrap());
    }
    for torrent in &torrents {
        until(torrent, |s| s.state == State::Seeding).await;
    }
    torrents
}

/// Downloads all at once from `from`, each to a directory of its own below `dir`, and compares every byte.
async fn download(leech: &Session, samples: &[Sample], from: &Session, dir: &Path) {
    let mut torrents = Vec::new();
    for (i, sample) in samples.iter().enumerate() {
        let to = dir.join(i.to_string());
        torrents.push(leech.add(sample.add(&to, &[addr(from)])).await.unwrap());
    }
    for (i, (torrent, sample)) in torrents.iter().zip(samples).enumerate() {
        until(torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(&dir.join(i.to_string()));
    }
}

#[test]
fn newcomers_find_the_shard_of_their_torrent() {
    for shards in SHARDS {
        run(async {
            let samples = samples(shards);
            let (from, leech) = (session(shards, None), session(shards, None));
            let torrents = seed(&from, &samples).await;
            let dir = tempfile::tempdir().unwrap();
            download(&leech, &samples, &from, dir.path()).await;
            for (torrent, sample) in torrents.iter().zip(&samples) {
                let sent = sample.bytes().len() as u64;
                until(torrent, |s| s.stats.uploaded >= sent).await;
            }
            leech.shutdown().await;
            from.shutdown().await;
            assert!(torrents.iter().all(|t| t.status().state == State::Stopped));
        });
    }
}

#[test]
fn every_shard_takes_up_where_it_ended() {
    for shards in SHARDS {
        run(async {
            let samples = samples(shards);
            let state = tempfile::tempdir().unwrap();
            let first = session(shards, Some(state.path()));
            for torrent in seed(&first, &samples).await {
                assert!(torrent.status().check_total_bytes > 0);
            }
            first.shutdown().await;
            // On other shards than before.
            let again = session(shards - 1, Some(state.path()));
            for torrent in seed(&again, &samples).await {
                assert_eq!(torrent.status().check_total_bytes, 0);
            }
            again.shutdown().await;
        });
    }
}

#[test]
fn links_are_resolved_by_and_for_torrents_of_any_shard() {
    for shards in SHARDS {
        run(async {
            let samples = samples(shards);
            let (from, leech) = (session(shards, None), session(shards, None));
            seed(&from, &samples).await;
            for sample in &samples {
                let found = resolve(&leech, link(sample, &[addr(&from)]), 30).await.unwrap();
                assert_eq!(found.metainfo.info.raw(), sample.metainfo.info.raw());
            }
            let dir = tempfile::tempdir().unwrap();
            download(&leech, &samples, &from, dir.path()).await;
            leech.shutdown().await;
            from.shutdown().await;
        });
    }
}

#[test]
fn a_limit_is_for_all_shards_together() {
    for shards in SHARDS {
        run(async {
            let samples = samples(shards);
            let (from, leech) = (session(shards, None), session(shards, None));
            seed(&from, &samples).await;
            let bytes = samples.len() * LEN;
            leech.set_limits(down(bytes as u64));
            let dir = tempfile::tempdir().unwrap();
            let begun = Instant::now();
            download(&leech, &samples, &from, dir.path()).await;
            // One second's worth; each shard for itself would take half of that at most.
            let took = begun.elapsed().as_secs_f64();
            assert!(took > 0.8, "{bytes} bytes at as many a second took {took} s");
            leech.shutdown().await;
            from.shutdown().await;
        });
    }
}
