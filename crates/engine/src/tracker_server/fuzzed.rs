//! Fuzz targets: requests to our own tracker, and who is in which swarm by them.

use super::cookie::Cookies;
use super::store::{Store, StoreConfig};
use super::{Shared, http, udp};
use crate::fuzzing::Script;
use hyper::Method;
use hyper::body::Body;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::time::{Duration, Instant};
use samara_wire::tracker::http::{ResponseError, parse_announce, parse_scrape};
use samara_wire::tracker::udp::{ConnectionId, Family, Request, Response};
use samara_wire::tracker::{AnnounceEvent, AnnounceRequest};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Small enough for a script to meet them.
fn bounds() -> StoreConfig {
    StoreConfig {
        interval: Duration::from_secs(60),
        max_torrents: 4,
        max_peers: 12,
        max_peers_per_torrent: 6,
        max_peers_per_ip: 5,
        max_answer: 3,
        ..StoreConfig::default()
    }
}

fn shared() -> Shared {
    Shared {
        store: Mutex::new(Store::new(bounds(), 7)),
        files: vec![("a & <b>.torrent".to_owned(), b"d4:infodee".to_vec())],
        started: std::time::Instant::now(),
    }
}

/// Reads `input` as requests over HTTP, a line each: every one has an answer of one of three statuses, bencode where it is announced or
/// scraped, and the swarms stay within their bounds.
pub fn tracker_requests(input: &[u8]) {
    let shared = shared();
    let mut now = Instant::from_secs(1000);
    for line in input.split(|byte| *byte == b'\n') {
        let mut script = Script::new(line);
        let [how, who] = script.array();
        let Ok(uri) = hyper::Uri::try_from(script.rest()) else { continue };
        now += Duration::from_secs((how >> 2).into());
        let ip = IpAddr::from([10, 0, 0, who & 7]);
        let method =
            [Method::GET, Method::HEAD, Method::GET, Method::POST][usize::from(how & 3)].clone();
        let response = http::respond(&shared, now, ip, &method, &uri);
        let status = response.status().as_u16();
        assert!(matches!(status, 200 | 404 | 405), "{status} for {uri}");
        let body = whole(response.into_body());
        match (status, uri.path()) {
            (405, _) => assert_eq!(method, Method::POST),
            (200, "/announce") => announced(&body),
            (200, "/scrape") => scraped(&body),
            (200, "/") => {
                assert!(!body.windows(3).any(|three| three == b"<b>"), "a name as it is");
            }
            (200, path) => assert!(path.contains("torrent") && body == b"d4:infodee"),
            _ => {}
        }
        let (torrents, peers) = shared.store().size();
        assert!(torrents <= bounds().max_torrents && peers <= bounds().max_peers);
    }
}

fn announced(body: &[u8]) {
    match parse_announce(body) {
        Ok(answer) => assert!(answer.peers.len() <= bounds().max_answer),
        Err(error) => assert!(matches!(error, ResponseError::Failure { .. }), "{error}"),
    }
}

fn scraped(body: &[u8]) {
    match parse_scrape(body) {
        Ok(torrents) => assert!(torrents.len() <= bounds().max_torrents),
        Err(error) => assert!(matches!(error, ResponseError::Failure { .. }), "{error}"),
    }
}

/// A body that is in memory.
fn whole(body: impl Body<Data = hyper::body::Bytes>) -> Vec<u8> {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
        bytes.extend(frame.data_ref().into_iter().flatten());
    }
    bytes
}

/// Reads `input` as datagrams, their senders and time; some carry the connection id that their sender was given, or another was. An
/// address that has proven nothing is sent no more than it sent, and only one that has is in a swarm.
pub fn tracker_datagrams(input: &[u8]) {
    let (shared, cookies) = (shared(), Cookies::default());
    let mut script = Script::new(input);
    let mut now = Instant::from_secs(1000);
    let mut given: [Option<(Instant, ConnectionId)>; 4] = [None; 4];
    while !script.is_done() {
        now += Duration::from_secs((script.byte() & 0x3f).into());
        let who = script.below(4);
        let from = client(who);
        let mut datagram = script.bytes(200).to_vec();
        let as_given = script.below(6);
        if let (Some((_, id)), Some(place)) =
            (given.get(as_given).copied().flatten(), datagram.first_chunk_mut())
        {
            *place = id.0.to_be_bytes();
        }
        let mut out = Vec::new();
        let before = shared.store().size();
        udp::respond(&shared, &cookies, now, from, &datagram, &mut out);
        let family = if from.is_ipv4() { Family::V4 } else { Family::V6 };
        let proven = as_given == who
            && given[who].is_some_and(|(at, _)| now.since(at) <= Duration::from_secs(180));
        if !proven {
            assert!(out.len() <= datagram.len(), "{} for {}", out.len(), datagram.len());
            assert_eq!(shared.store().size(), before, "announced without proof");
        }
        assert!(out.len() <= 1200);
        if out.is_empty() {
            continue;
        }
        let (transaction, response) = Response::parse(&out, family).expect("our own answer");
        match Request::parse(&datagram).expect("only requests are answered") {
            Request::Connect { transaction: asked } => {
                assert_eq!(asked, transaction);
                let Response::Connect(id) = response else { panic!("{response:?}") };
                given[who] = Some((now, id));
            }
            Request::Announce { transaction: asked, .. } => assert_eq!(asked, transaction),
            Request::Scrape { transaction: asked, hashes, .. } => {
                assert_eq!(asked, transaction);
                if let Response::Scrape(stats) = response {
                    assert_eq!(stats.len(), hashes.len());
                }
            }
        }
    }
}

fn client(who: usize) -> SocketAddr {
    match who {
        3 => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 7)),
        who => SocketAddr::from(([10, 0, 0, u8::try_from(who).unwrap_or(0)], 7)),
    }
}

/// A swarm's member as the naive model has it.
struct Member {
    hash: WireHash,
    addr: SocketAddr,
    seed: bool,
    seen: Instant,
}

/// Reads `input` as announces and time, and keeps the members in a plain list beside: both count the same, nobody is told of one who is
/// not there, and the bounds hold.
pub fn tracker_store(input: &[u8]) {
    let mut script = Script::new(input);
    let mut store = Store::new(bounds(), 7);
    let mut members: Vec<Member> = Vec::new();
    let mut now = Instant::from_secs(1000);
    let life = bounds().interval * 2;
    while !script.is_done() {
        now += Duration::from_secs((script.byte() & 0x1f).into());
        let request = AnnounceRequest {
            info_hash: WireHash([script.byte() % 6; 20]),
            peer_id: PeerId([script.byte(); 20]),
            port: u16::from(script.byte() & 7),
            uploaded: 0,
            downloaded: 0,
            left: u64::from(script.flag()),
            event: script.pick(&[
                AnnounceEvent::Periodic,
                AnnounceEvent::Started,
                AnnounceEvent::Completed,
                AnnounceEvent::Stopped,
            ]),
            key: 0,
            num_want: script.byte().into(),
            tracker_id: None,
        };
        let addr = SocketAddr::from(([10, 0, 0, script.byte() & 3], request.port));
        let hash = request.info_hash;
        let answer = store.announce(now, addr.ip(), &request, None);
        // Others go when they are looked at, or with the hourly sweep.
        members.retain(|m| request.port == 0 || m.hash != hash || now.since(m.seen) <= life);
        if let Ok(answer) = &answer {
            members.retain(|m| (m.hash, m.addr) != (hash, addr));
            if request.event != AnnounceEvent::Stopped {
                members.push(Member { hash, addr, seed: request.left == 0, seen: now });
            }
            let here: Vec<&Member> = members.iter().filter(|m| m.hash == hash).collect();
            let seeds = here.iter().filter(|m| m.seed).count();
            let counted = (answer.response.complete, answer.response.incomplete);
            let naive = (u32::try_from(seeds).ok(), u32::try_from(here.len() - seeds).ok());
            assert_eq!(counted, naive);
            assert!(answer.response.peers.len() <= bounds().max_answer);
            for peer in &answer.response.peers {
                assert!(*peer != addr && here.iter().any(|m| m.addr == *peer), "{peer} is no peer");
            }
            assert!(here.len() <= bounds().max_peers_per_torrent);
        }
        let (torrents, peers) = store.size();
        assert!(torrents <= bounds().max_torrents && peers <= bounds().max_peers);
        // None is forgotten that is not too old, and none is counted twice.
        let fresh = members.iter().filter(|m| now.since(m.seen) <= life).count();
        assert!((fresh..=members.len()).contains(&peers), "{peers} of {}", members.len());
    }
}
