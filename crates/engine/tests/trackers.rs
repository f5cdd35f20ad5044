//! A torrent's trackers as its owner sees and changes them, with trackers that write down what they are told.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::wire::bencode::Encoder;
use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{AddTorrent, Existing, SessionConfig, State};
use samara_engine::{TrackerEditError, TrackerInfo, TrackerState};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;
use support::{Sample, config, run, until};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// Longer than any test may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An HTTP tracker that gives the same answer to everybody, and tells of each announce.
struct Scribe {
    url: String,
    heard: mpsc::UnboundedReceiver<String>,
}

impl Scribe {
    fn new(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/announce?passkey=s3cret", listener.local_addr().unwrap());
        let (tell, heard) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines();
                let path = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let event = path.split("event=").nth(1).unwrap_or("none");
                let event = event.split(['&', ' ']).next().unwrap().to_owned();
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
                // Before the answer, so that who has the answer finds that it was told.
                let gone = tell.send(event).is_err();
                let _ = write!(stream, "{head} {}\r\n\r\n{answer}", answer.len());
                if gone {
                    return;
                }
            }
        });
        Self { url, heard }
    }

    async fn hears(&mut self, event: &str) {
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        assert_eq!(heard.expect("the tracker hears nothing"), Some(event.to_owned()));
    }

    fn has_heard_nothing(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }

    fn tier(&self) -> Vec<String> {
        vec![self.url.clone()]
    }
}

fn add(sample: &Sample, trackers: Vec<Vec<String>>) -> AddTorrent {
    let mut metainfo = sample.metainfo.clone();
    metainfo.trackers = trackers;
    AddTorrent::new(metainfo, sample.dir.path())
}

async fn trackers_when(
    torrent: &samara_engine::Torrent,
    accept: impl Fn(&[TrackerInfo]) -> bool,
) -> Vec<TrackerInfo> {
    // From before the first look, so that no answer is missed.
    let mut events = torrent.events();
    loop {
        let trackers = torrent.trackers().await;
        if accept(&trackers) {
            return trackers;
        }
        let next = tokio::time::timeout(PATIENCE, events.next()).await;
        assert!(matches!(next, Ok(Some(_))), "{trackers:#?}");
    }
}

/// A torrent of nothing in particular, told apart by its number.
fn numbered(number: u32, tracker: &str) -> AddTorrent {
    let torrent = Encoder::dict_bytes(|torrent| {
        torrent.bytes(b"announce", tracker.as_bytes());
        torrent.dict(b"info", |info| {
            info.int(b"length", 5);
            info.bytes(b"name", number.to_string().as_bytes());
            info.int(b"piece length", 16384);
            info.bytes(b"pieces", &[0; 20]);
        });
    });
    let add = AddTorrent::new(Metainfo::parse(&torrent).unwrap(), "nowhere");
    AddTorrent { existing: Existing::Trust, ..add }
}

/// A tracker that answers nobody holds up hundreds of torrents, but not the one that was added last.
#[test]
fn a_new_torrent_goes_before_all_that_wait() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/announce", listener.local_addr().unwrap());
        let two_shards = SessionConfig { shards: 2, ..config(None) };
        let session = samara_engine::Session::start(two_shards).unwrap();
        for number in 0..300 {
            session.add(numbered(number, &url)).await.unwrap();
        }
        let mut held = Vec::new();
        // Eight at a host, over both shards together; then one each half second.
        while held.len() < 12 {
            let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
            held.push(accepted.expect("too few announces").unwrap().0);
        }
        let new = session.add(numbered(300, &url)).await.unwrap();
        let mut wanted = String::new();
        for byte in new.hashes().wire().0 {
            wanted.push_str(&format!("%{byte:02X}"));
        }
        // A few others may have been on their way when it was added; some 290 wait.
        let mut next = Vec::new();
        while next.len() < 6 && !next.contains(&wanted) {
            let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
            let mut stream = accepted.expect("the new one waits").unwrap().0;
            let mut head = vec![0; 4096];
            let len = stream.read(&mut head).await.unwrap();
            next.push(escaped(&head[..len]));
            held.push(stream);
        }
        assert!(next.contains(&wanted), "{wanted} is not among {next:?}");
        session.shutdown().await;
    });
}

/// The info-hash in the head of an announce, every byte escaped.
fn escaped(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head).into_owned();
    let hash = head.split("info_hash=").nth(1).unwrap().split('&').next().unwrap();
    let mut bytes = hash.bytes();
    let mut all = String::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => all.extend(['%', bytes.next().unwrap().into(), bytes.next().unwrap().into()]),
            byte => all.push_str(&format!("%{byte:02X}")),
        }
    }
    all
}

const GOOD: &str = "d8:completei7e10:incompletei3e8:intervali1800e5:peers0:e";
const WARNS: &str = "d8:intervali1800e5:peers0:15:warning message11:behave welle";

#[test]
fn trackers_are_seen_and_changed_while_the_torrent_runs() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let (mut first, mut second) = (Scribe::new(GOOD), Scribe::new(GOOD));
        let session = samara_engine::Session::start(config(None)).unwrap();
        let torrent = session.add(add(&sample, vec![first.tier()])).await.unwrap();
        first.hears("started").await;
        let works = |t: &[TrackerInfo]| t.iter().all(|t| t.state == TrackerState::Working);
        let seen = trackers_when(&torrent, works).await;
        assert_eq!((seen.len(), &seen[0].url, seen[0].tier), (1, &first.url, 0));
        assert_eq!((seen[0].seeds, seen[0].leeches, seen[0].peers), (Some(7), Some(3), 0));
        assert!(seen[0].next_announce.unwrap() > Duration::from_secs(1700));

        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = format!("http://{nobody}/announce?passkey=s3cret");
        torrent.add_trackers(vec![second.tier(), vec![nobody.clone()]]).await.unwrap();
        second.hears("started").await;
        let failed = |t: &[TrackerInfo]| t.iter().any(|t| t.last_error.is_some());
        let seen = trackers_when(&torrent, failed).await;
        assert_eq!(seen.iter().map(|t| t.tier).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((&seen[2].url, seen[2].state), (&nobody, TrackerState::Failed));
        assert!(seen[2].last_error.as_ref().unwrap().contains("refused"));
        assert!(!seen[2].last_error.as_ref().unwrap().contains("s3cret"));

        torrent.remove_tracker(&first.url).await.unwrap();
        first.hears("stopped").await;
        assert_eq!(torrent.remove_tracker(&first.url).await, Err(TrackerEditError::Unknown));
        let bad = torrent.set_trackers(vec![first.tier(), vec!["ftp://x".into()]]).await;
        assert!(matches!(bad, Err(TrackerEditError::Url(_))), "{bad:?}");
        assert_eq!(torrent.trackers().await.len(), 2, "a bad edit changes nothing");
        // What stays notices nothing.
        torrent.set_trackers(vec![first.tier(), second.tier()]).await.unwrap();
        first.hears("started").await;
        assert!(second.has_heard_nothing());
        session.shutdown().await;
        first.hears("stopped").await;
        second.hears("stopped").await;
        assert_eq!(torrent.trackers().await, []);
        let late = torrent.add_trackers(vec![first.tier()]).await;
        assert_eq!(late, Err(TrackerEditError::Stopped));
    });
}

#[test]
fn changed_trackers_are_kept_across_restarts_and_others_are_not() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let state = tempfile::tempdir().unwrap();
        let (mut old, mut new) = (Scribe::new(GOOD), Scribe::new(GOOD));
        let session = samara_engine::Session::start(config(Some(state.path()))).unwrap();
        let torrent = session.add(add(&sample, vec![old.tier()])).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        old.hears("started").await;
        torrent.set_trackers(vec![new.tier()]).await.unwrap();
        new.hears("started").await;
        session.shutdown().await;
        old.hears("stopped").await;
        new.hears("stopped").await;
        for existing in [Existing::Resume, Existing::Check] {
            let session = samara_engine::Session::start(config(Some(state.path()))).unwrap();
            let again = AddTorrent { existing, ..add(&sample, vec![old.tier()]) };
            let torrent = session.add(again).await.unwrap();
            new.hears("started").await;
            let urls: Vec<_> = torrent.trackers().await.into_iter().map(|t| t.url).collect();
            assert_eq!(urls, new.tier());
            session.shutdown().await;
            new.hears("stopped").await;
            assert!(old.has_heard_nothing());
        }
        // Removed with all that was kept of it, it begins with its own trackers.
        let session = samara_engine::Session::start(config(Some(state.path()))).unwrap();
        let torrent = session.add(add(&sample, vec![old.tier()])).await.unwrap();
        new.hears("started").await;
        torrent.remove(false).await;
        session.add(add(&sample, vec![old.tier()])).await.unwrap();
        old.hears("started").await;
        session.shutdown().await;
    });
}

#[test]
fn trackers_are_changed_before_the_torrent_runs_and_not_where_none_is_wanted() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let (mut old, mut new) = (Scribe::new(GOOD), Scribe::new(GOOD));
        let session = samara_engine::Session::start(config(None)).unwrap();
        let paused = AddTorrent { paused: true, ..add(&sample, vec![old.tier()]) };
        let torrent = session.add(paused).await.unwrap();
        // Whether it is still being checked or not.
        torrent.set_trackers(vec![new.tier()]).await.unwrap();
        until(&torrent, |s| s.state == State::Paused).await;
        torrent.resume();
        new.hears("started").await;
        session.shutdown().await;
        assert!(old.has_heard_nothing());

        let session = samara_engine::Session::start(config(None)).unwrap();
        let mute = AddTorrent { announce: false, ..add(&sample, vec![old.tier()]) };
        let torrent = session.add(mute).await.unwrap();
        assert_eq!(torrent.trackers().await, []);
        let refused = torrent.add_trackers(vec![new.tier()]).await;
        assert_eq!(refused, Err(TrackerEditError::NotAnnounced));
        session.shutdown().await;
    });
}

#[test]
fn warnings_and_failures_are_shown_without_passkeys() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let (warns, refuses) = (Scribe::new(WARNS), Scribe::new("d14:failure reason7:go awaye"));
        let session = samara_engine::Session::start(config(None)).unwrap();
        let torrent = session.add(add(&sample, vec![warns.tier()])).await.unwrap();
        let status = until(&torrent, |s| s.tracker_warning.is_some()).await;
        let host = warns.url.split('/').nth(2).unwrap();
        assert_eq!(status.tracker_warning, Some(format!("{host}: behave well")));
        assert_eq!(torrent.trackers().await[0].warning.as_deref(), Some("behave well"));
        torrent.set_trackers(vec![refuses.tier()]).await.unwrap();
        let status = until(&torrent, |s| s.tracker_error.is_some()).await;
        let host = refuses.url.split('/').nth(2).unwrap();
        assert_eq!(status.tracker_error, Some(format!("{host}: go away")));
        session.shutdown().await;
    });
}
