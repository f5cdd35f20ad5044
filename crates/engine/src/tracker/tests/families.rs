//! A tracker with addresses of both families, one of which may be good for nothing.

use super::*;
use crate::tracker_server::{TrackerServer, TrackerServerConfig};

const NAME: &str = "tracker.test";

/// A client that believes `tracker.test` to be this machine, over both families.
fn client(bind: &[&str]) -> TrackerClient {
    let bind: Vec<_> = bind.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<crate::Bind>>();
    let client = TrackerClient::new(&Egress { bind, ..Egress::default() });
    client.inner.names.set(NAME, &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
    client
}

/// A port that nobody has, TCP or UDP, over either family.
async fn both_listeners() -> (TcpListener, TcpListener) {
    loop {
        let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(v6) = TcpListener::bind(("::1", v4.local_addr().unwrap().port())).await {
            return (v4, v6);
        }
    }
}

async fn both_sockets() -> (UdpSocket, UdpSocket) {
    loop {
        let v4 = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(v6) = UdpSocket::bind(("::1", v4.local_addr().unwrap().port())).await {
            return (v4, v6);
        }
    }
}

async fn first_and_other(
    client: &TrackerClient,
    url: &str,
) -> Result<(AnnounceResponse, Option<AnnounceResponse>), TrackerError> {
    let turn = client.turn(url, Urgency::Event).await.unwrap();
    let Announced { response, other } =
        client.announce_in_turn(turn, url, &request(), TIME).await?;
    Ok((
        response,
        match other {
            Some(other) => other.answer().await,
            None => None,
        },
    ))
}

fn peers(answer: &AnnounceResponse) -> Vec<String> {
    answer.peers.iter().map(ToString::to_string).collect()
}

/// Our own tracker knows each family's peers by where they announce from: so both have to be asked to meet all.
/// Where a gateway gave another port, it is none of IPv6.
#[tokio::test]
async fn over_ipv6_our_own_port_is_told_whatever_a_gateway_translates() {
    let bind = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let server = TrackerServer::start(TrackerServerConfig { bind, ..Default::default() }).unwrap();
    let binding = Arc::new(Binding::now(&Egress::default()));
    let client = TrackerClient::with_gate(binding, Gate::new(), None, Some(6881));
    client.inner.names.set(NAME, &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
    for (n, scheme) in (1u8..).zip(["http", "udp"]) {
        let info_hash = WireHash([n; 20]);
        let ours = AnnounceRequest { info_hash, port: 50_000, ..request() };
        let url = format!("{scheme}://{NAME}:{}/announce", server.port());
        client.announce(&url, &ours, TIME).await.unwrap();
        let only_v6 = format!("{scheme}://[::1]:{}/announce", server.port());
        client.announce(&only_v6, &ours, TIME).await.unwrap();
        let other = self::client(&[]);
        let peer_id = PeerId(*b"-SM0100-another-peer");
        let asks = AnnounceRequest { info_hash, peer_id, port: 7, ..request() };
        let mut met = peers(&other.announce(&url, &asks, TIME).await.unwrap());
        met.sort();
        met.retain(|peer| peer.ends_with(":50000") || peer.ends_with(":6881"));
        assert_eq!(met, ["127.0.0.1:50000", "[::1]:6881"], "{scheme}");
    }
}

#[tokio::test]
async fn a_tracker_is_told_of_both_addresses_over_http_and_udp() {
    let bind = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let server = TrackerServer::start(TrackerServerConfig { bind, ..Default::default() }).unwrap();
    let client = client(&[]);
    for (n, scheme) in (1u8..).zip(["http", "udp"]) {
        let there = 1000 + u16::from(n);
        let url = format!("{scheme}://{NAME}:{}/announce", server.port());
        let request = AnnounceRequest { info_hash: WireHash([n; 20]), ..request() };
        let elsewhere = AnnounceRequest { port: there, ..request.clone() };
        client.announce(&url, &elsewhere, TIME).await.unwrap();
        let here = client.announce(&url, &request, TIME).await.unwrap();
        let mut met = peers(&here);
        met.sort();
        met.retain(|peer| peer.ends_with(&format!(":{there}")));
        assert_eq!(met, [format!("127.0.0.1:{there}"), format!("[::1]:{there}")], "{scheme}");
        // Both are told the end.
        let stopped = AnnounceRequest { event: AnnounceEvent::Stopped, ..elsewhere };
        client.announce(&url, &stopped, TIME).await.unwrap();
        let left = client.announce(&url, &request, TIME).await.unwrap();
        assert_eq!(left.incomplete, Some(2), "{scheme}: ourselves, twice");
    }
}

#[tokio::test]
async fn the_first_answer_does_not_wait_for_the_second() {
    let (v4, v6) = both_listeners().await;
    let url = format!("http://{NAME}:{}/announce", v4.local_addr().unwrap().port());
    let (proceed, wait) = std::sync::mpsc::channel::<()>();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    serve_on(v4, |_| ok("", b"d8:intervali1800e5:peers6:\x0a\0\0\x01\x1a\xe1e"));
    // On a thread of its own: it answers when it is told to.
    let v6 = v6.into_std().unwrap();
    v6.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        use std::io::Read;
        let mut stream = v6.accept().unwrap().0;
        let _ = stream.read(&mut [0; 2048]);
        told.send(()).unwrap();
        wait.recv().unwrap();
        stream.write_all(&ok("", b"d8:intervali60e5:peers6:\x0a\0\0\x02\x1a\xe1e")).unwrap();
    });
    let client = client(&[]);
    let turn = client.turn(&url, Urgency::Event).await.unwrap();
    let Announced { response, other } =
        client.announce_in_turn(turn, &url, &request(), TIME).await.unwrap();
    assert_eq!(peers(&response), ["10.0.0.1:6881"]);
    let other = tokio::spawn(other.unwrap().answer());
    heard.recv().await.unwrap();
    proceed.send(()).unwrap();
    assert_eq!(peers(&other.await.unwrap().unwrap()), ["10.0.0.2:6881"]);
}

#[tokio::test]
async fn a_family_that_fails_is_no_failure_and_is_left_alone_for_a_while() {
    // Nobody listens on the IPv6 address.
    let (v4, v6) = both_listeners().await;
    let port = v4.local_addr().unwrap().port();
    drop(v6);
    let (_, asked) = serve_on(v4, |_| ok("", b"d5:peers0:e"));
    let url = format!("http://{NAME}:{port}/announce");
    let client = client(&[]);
    for n in 1..=3 {
        let (_, other) = first_and_other(&client, &url).await.unwrap();
        assert_eq!((other, asked.load(Ordering::Relaxed)), (None, n));
    }
    let host = format!("{NAME}:{port}");
    assert_eq!(client.inner.avoided.get(&host), Some(Family::V6));
    // The family that worked goes, the one that was left alone comes: it is found.
    client.inner.avoided.avoid(&host, Family::V4);
    let (_, other) = first_and_other(&client, &url).await.unwrap();
    assert_eq!((other, asked.load(Ordering::Relaxed)), (None, 4));
    assert_eq!(client.inner.avoided.get(&host), Some(Family::V6));
}

#[tokio::test]
async fn when_both_fail_the_more_telling_failure_is_shown() {
    let (v4, v6) = both_listeners().await;
    let port = v4.local_addr().unwrap().port();
    let url = format!("http://{NAME}:{port}/announce");
    drop(v6);
    serve_on(v4, |_| ok("", b"d14:failure reason6:bannede"));
    let error = first_and_other(&client(&[]), &url).await.err().unwrap();
    assert_eq!(error.to_string(), format!("{NAME}:{port}: banned"));
    let free = both_listeners().await.0.local_addr().unwrap().port();
    let url = format!("http://{NAME}:{free}/announce");
    let error = client(&[]).announce(&url, &request(), TIME).await.unwrap_err();
    assert_eq!(*error.fault(), TrackerFault::Refused);
}

#[tokio::test]
async fn a_refusal_over_one_family_does_not_hide_the_answer_over_the_other() {
    let (v4, v6) = both_listeners().await;
    let port = v4.local_addr().unwrap().port();
    serve_on(v4, |_| ok("", b"d14:failure reason6:bannede"));
    serve_on(v6, |_| ok("", b"d5:peers6:\x0a\0\0\x02\x1a\xe1e"));
    let client = client(&[]);
    let answer = client.announce(&format!("http://{NAME}:{port}/announce"), &request(), TIME).await;
    assert_eq!(peers(&answer.unwrap()), ["10.0.0.2:6881"]);
    assert_eq!(client.inner.avoided.get(&format!("{NAME}:{port}")), None, "it did answer");
}

#[tokio::test(start_paused = true)]
async fn a_silent_family_costs_one_place_for_ten_seconds_once() {
    let (v4, v6) = both_sockets().await;
    let port = v4.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    udp_tracker_on(v4, |_, request| honest(request));
    udp_tracker_on(v6, move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    });
    let client = client(&[]);
    let url = format!("udp://{NAME}:{port}/announce?k=1");
    let begin = tokio::time::Instant::now();
    let (_, other) = first_and_other(&client, &url).await.unwrap();
    assert_eq!(other, None);
    assert!(begin.elapsed() <= Duration::from_secs(11), "{:?}", begin.elapsed());
    let repeats = asked.load(Ordering::Relaxed);
    assert!(repeats > 0);
    first_and_other(&client, &url).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), repeats, "not asked again so soon");
    assert_eq!(client.inner.udp.waiting(), 0);
}

#[tokio::test]
async fn a_family_that_is_not_bound_is_not_used() {
    let (v4, v6) = both_listeners().await;
    let port = v4.local_addr().unwrap().port();
    let (_, on_v4) = serve_on(v4, |_| ok("", b"d5:peers0:e"));
    let (_, on_v6) = serve_on(v6, |_| ok("", b"d5:peers0:e"));
    let url = format!("http://{NAME}:{port}/announce");
    let asked = || (on_v4.load(Ordering::Relaxed), on_v6.load(Ordering::Relaxed));
    client(&["127.0.0.1"]).announce(&url, &request(), TIME).await.unwrap();
    assert_eq!(asked(), (1, 0));
    client(&["::1"]).announce(&url, &request(), TIME).await.unwrap();
    assert_eq!(asked(), (1, 1));
    client(&["127.0.0.1", "::1"]).announce(&url, &request(), TIME).await.unwrap();
    assert_eq!(asked(), (2, 2));
}
