//! Announces against servers that misbehave in every way we know.

use super::*;
use crate::Egress;
use crate::probe::fetch_torrent;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::tracker::AnnounceEvent;
use samara_wire::tracker::http::Retry;
use samara_wire::tracker::udp::{ConnectionId, Family, Request, Response, TransactionId};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

mod families;
mod floods;
mod scrape;

const TIME: Duration = Duration::from_secs(20);

fn request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: WireHash([7; 20]),
        peer_id: PeerId(*b"-SM0100-0123456789ab"),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: AnnounceEvent::Started,
        key: 1,
        num_want: 50,
        tracker_id: None,
    }
}

/// A server that answers each connection with what `answer` makes of its request head, and hangs up. Also
/// counts connections.
async fn serve(
    answer: impl Fn(&str) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    serve_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
}

fn serve_on(
    listener: TcpListener,
    answer: impl Fn(&str) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let addr = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let answer = answer(&String::from_utf8_lossy(&head));
            let _ = stream.write_all(&answer).await;
        }
    });
    (addr, connections)
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

async fn announce(url: &str) -> Result<AnnounceResponse, TrackerError> {
    TrackerClient::new(&Egress::default()).announce(url, &request(), TIME).await
}

/// What becomes of an announce that is answered so.
async fn announced(answer: Vec<u8>) -> Result<AnnounceResponse, TrackerFault> {
    let (addr, _) = serve(move |_| answer.clone()).await;
    announce(&format!("http://{addr}/announce")).await.map_err(|error| error.fault().clone())
}

/// What the user reads when an announce is answered so.
async fn message(answer: Vec<u8>) -> String {
    announced(answer).await.unwrap_err().to_string()
}

#[tokio::test]
async fn good_answers_in_every_form() {
    let compact = b"d8:intervali1800e5:peers6:\x7f\0\0\x01\x1a\xe1e";
    let dictionary = b"d8:intervali1800e5:peersld2:ip9:127.0.0.14:porti6881eeee";
    let peer: SocketAddr = "127.0.0.1:6881".parse().unwrap();
    for answer in [
        ok("", compact),
        ok("Content-Type: text/plain\r\n", dictionary),
        ok("Content-Encoding: gzip\r\n", &gzip(compact)),
        ok("", &gzip(compact)),
        [b"HTTP/1.0 200 OK\r\n\r\n", &compact[..]].concat(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nd5\r\n8\r\n:peers0:\r\n1\r\ne\r\n0\r\n\r\n".to_vec(),
    ] {
        let peers = announced(answer.clone()).await.unwrap().peers;
        assert!(peers == [peer] || answer.ends_with(b"0\r\n\r\n") && peers.is_empty());
    }
}

#[tokio::test]
async fn the_request_is_what_trackers_expect() {
    let (addr, _) = serve(|head| {
        let good = head.starts_with("GET /announce?passkey=s3cret&info_hash=%07%07")
            && head.lines().next().is_some_and(|line| line.matches('?').count() == 1)
            && head.contains(concat!("user-agent: samara/", env!("CARGO_PKG_VERSION"), "\r\n"))
            && head.contains("accept-encoding: gzip\r\n");
        ok("", if good { b"d5:peers0:e" } else { b"d14:failure reason3:bade" })
    })
    .await;
    announce(&format!("http://{addr}/announce?passkey=s3cret")).await.unwrap();
}

#[tokio::test]
async fn bad_answers_are_told_in_words() {
    let refused = ok("", b"d14:failure reason11:not allowed8:retry ini3ee");
    assert_eq!(message(refused.clone()).await, "not allowed");
    let error = announced(refused.clone()).await.unwrap_err();
    let error = TrackerError::new("host".into(), error);
    assert_eq!(error.retry(), Some(Retry::After(Duration::from_secs(180))));
    let refused_400 = [b"HTTP/1.1 400 Bad\r\n", &refused[b"HTTP/1.1 200 OK\r\n".len()..]].concat();
    assert_eq!(message(refused_400).await, "not allowed");
    assert!(message(ok("", b"<html>")).await.contains("web page"));
    assert!(message(ok("", b"")).await.contains("empty answer"));
    assert!(message(ok("", b"5:abc")).await.contains("cannot be read"));
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>";
    assert_eq!(message(missing.to_vec()).await, "HTTP status 404 (nothing at this address)");
    let broken = announced(Vec::new()).await.unwrap_err();
    assert!(matches!(broken, TrackerFault::Unreachable(_)), "{broken:?}");
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nd5:peers".to_vec();
    assert!(matches!(announced(cut).await, Err(TrackerFault::Unreachable(_))));
}

#[tokio::test]
async fn bodies_are_bounded_before_and_after_decompression() {
    let too_large = Err(TrackerFault::TooLarge(1 << 20));
    let announced_large = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nd".to_vec();
    assert_eq!(announced(announced_large).await, too_large);
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n", &vec![b'd'; 3 << 20][..]].concat();
    assert_eq!(announced(endless).await, too_large);
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(announced(ok("Content-Encoding: gzip\r\n", &bomb)).await, too_large);
    let steep = gzip(&vec![b'd'; 500_000]);
    let fault = announced(ok("Content-Encoding: gzip\r\n", &steep)).await;
    assert_eq!(fault, Err(TrackerFault::Compression), "{} bytes", steep.len());
    let lie = ok("Content-Encoding: gzip\r\n", b"d5:peers0:e");
    assert_eq!(announced(lie).await, Err(TrackerFault::Compression));
    let unknown = ok("Content-Encoding: br\r\n", b"d5:peers0:e");
    assert_eq!(announced(unknown).await, Err(TrackerFault::Compression));
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever_nor_everywhere() {
    let (good, _) = serve(|_| ok("", b"d5:peers0:e")).await;
    announced(redirect(&format!("http://{good}/announce2"))).await.unwrap();
    let fault = |to: &str| announced(redirect(to));
    assert_eq!(fault("/announce").await, Err(TrackerFault::Redirects));
    assert_eq!(fault("file:///etc/passwd").await, Err(TrackerFault::RedirectTarget));
    assert_eq!(fault("http://").await, Err(TrackerFault::RedirectTarget));
    // From one local tracker to what is no tracker.
    let (admin, connections) = serve(|_| ok("", b"d5:peers0:e")).await;
    assert_eq!(fault(&format!("http://{admin}/admin")).await, Err(TrackerFault::Local));
    assert_eq!(
        fault(&format!("http://localhost:{}/", admin.port())).await,
        Err(TrackerFault::Local)
    );
    let error = announce(&format!("http://{admin}/reboot?now=1")).await.unwrap_err();
    assert_eq!(*error.fault(), TrackerFault::Local);
    assert_eq!(connections.load(Ordering::Relaxed), 0, "nothing was sent");
}

#[tokio::test]
async fn trackers_that_are_not_there_are_named_without_their_passkeys() {
    let error = announce("http://no-such-host.invalid/announce?passkey=s3cret").await.unwrap_err();
    assert_eq!(*error.fault(), TrackerFault::Lookup);
    assert_eq!(error.to_string(), "no-such-host.invalid: no such host, or no network");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = announce(&format!("http://{free}/announce")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{free}: connection refused: nothing listens there"));
    for bad in
        ["", "announce", "ftp://x/announce", "udp://x/announce", "file:///announce", "http:///?key"]
    {
        let error = announce(bad).await.unwrap_err();
        assert!(matches!(error.fault(), TrackerFault::Url(_)) || bad.starts_with("http"), "{bad}");
        assert!(!error.to_string().contains("key"), "{error}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        stream.write_all(b"HTTP/1.1 400 This is no TLS\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = announce(&format!("https://{plain}/announce")).await.unwrap_err();
    assert!(matches!(error.fault(), TrackerFault::Tls(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let client = TrackerClient::new(&Egress::default());
    let error = client.announce(&url, &request(), Duration::from_millis(1500)).await.unwrap_err();
    assert!(error.to_string().ends_with("no answer within 1.5 s"), "{error}");
}

#[tokio::test]
async fn an_address_family_that_is_not_bound_is_not_used() {
    let (addr, _) = serve(|_| ok("", b"d5:peers0:e")).await;
    let client =
        TrackerClient::new(&Egress { bind: vec!["::1".parse().unwrap()], ..Egress::default() });
    for url in [format!("http://{addr}/announce"), format!("udp://{addr}")] {
        let error = client.announce(&url, &request(), TIME).await.unwrap_err();
        assert_eq!(*error.fault(), TrackerFault::Lookup);
    }
    let client = TrackerClient::new(&Egress {
        bind: vec!["127.0.0.1".parse().unwrap()],
        ..Egress::default()
    });
    client.announce(&format!("http://{addr}/announce"), &request(), TIME).await.unwrap();
}

#[tokio::test]
async fn torrents_are_fetched_and_web_pages_are_not() {
    let (addr, _) = serve(|head| match head.split(' ').nth(1) {
        Some("/a.torrent") => ok("", b"d4:infodee"),
        Some("/moved") => redirect("/a.torrent"),
        Some("/page") => ok("", b"\n<!doctype html>"),
        Some("/empty") => ok("", b""),
        Some("/text") => ok("", b"hello"),
        _ => b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let fetch = async |path: &str| {
        fetch_torrent(&format!("http://{addr}{path}"), &Egress::default(), TIME)
            .await
            .map_err(|error| error.to_string())
    };
    assert_eq!(fetch("/a.torrent").await.as_deref(), Ok(&b"d4:infodee"[..]));
    assert_eq!(fetch("/moved").await.as_deref(), Ok(&b"d4:infodee"[..]));
    for (path, words) in [
        ("/page", "a web page, not a torrent"),
        ("/empty", "empty file"),
        ("/text", "not a torrent"),
        ("/else", "HTTP status 404"),
    ] {
        let error = fetch(path).await.unwrap_err();
        assert!(error.contains(words) && error.contains(&addr.to_string()), "{error}");
    }
    let error = fetch_torrent("file:///etc/passwd", &Egress::default(), TIME).await.unwrap_err();
    assert!(error.to_string().contains("not an http"));
}

/// A UDP tracker that answers what `answer` gives for the n-th datagram it receives.
async fn udp_tracker(
    answer: impl FnMut(usize, Request) -> Vec<(TransactionId, Response)> + Send + 'static,
) -> SocketAddr {
    udp_tracker_on(UdpSocket::bind("127.0.0.1:0").await.unwrap(), answer)
}

fn udp_tracker_on(
    socket: UdpSocket,
    mut answer: impl FnMut(usize, Request) -> Vec<(TransactionId, Response)> + Send + 'static,
) -> SocketAddr {
    let addr = socket.local_addr().unwrap();
    let family = if addr.is_ipv4() { Family::V4 } else { Family::V6 };
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        for n in 0.. {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            let request = Request::parse(&buffer[..len]).unwrap();
            for (transaction, response) in answer(n, request) {
                let mut datagram = Vec::new();
                response.encode(transaction, family, &mut datagram);
                socket.send_to(&datagram, from).await.unwrap();
            }
        }
    });
    addr
}

fn honest(received: Request) -> Vec<(TransactionId, Response)> {
    match received {
        Request::Connect { transaction } => vec![(transaction, Response::Connect(ConnectionId(9)))],
        Request::Announce { transaction, connection: ConnectionId(9), announce, url_data } => {
            assert_eq!((announce, url_data.as_str()), (request(), "/announce?k=1"));
            let interval = Duration::from_secs(1800);
            let answer = AnnounceResponse { interval, ..AnnounceResponse::default() };
            vec![(transaction, Response::Announce(answer))]
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test]
async fn a_udp_tracker_is_asked_and_its_connection_id_used_again() {
    let connects = Arc::new(AtomicUsize::new(0));
    let counter = connects.clone();
    let addr = udp_tracker(move |_, request| {
        if matches!(request, Request::Connect { .. }) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        honest(request)
    })
    .await;
    let client = TrackerClient::new(&Egress::default());
    let url = format!("udp://{addr}/announce?k=1");
    for _ in 0..3 {
        let answer = client.announce(&url, &request(), TIME).await.unwrap();
        assert_eq!(answer.interval, Duration::from_secs(1800));
    }
    assert_eq!(connects.load(Ordering::Relaxed), 1);
    // Many at once on one socket: each gets its own answer.
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (client, url) = (client.clone(), url.clone());
        all.spawn(async move { client.announce(&url, &request(), TIME).await });
    }
    assert!(all.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn lost_datagrams_are_sent_again_and_strangers_answers_ignored() {
    let addr = udp_tracker(|n, request| match (n, request) {
        // The first is lost; the second is answered with a wrong transaction and then rightly.
        (0, _) => Vec::new(),
        (1, request) => {
            let mut answers = honest(request);
            let wrong = TransactionId(answers[0].0.0 ^ 1);
            answers.insert(0, (wrong, Response::Error("forged".into())));
            answers
        }
        (_, request) => honest(request),
    })
    .await;
    let client = TrackerClient::new(&Egress::default());
    client.announce(&format!("udp://{addr}/announce?k=1"), &request(), TIME).await.unwrap();
}

#[tokio::test]
async fn a_restarted_udp_tracker_gets_a_new_connection() {
    let addr = udp_tracker(|n, request| match (n, request) {
        (0, Request::Connect { transaction }) => {
            vec![(transaction, Response::Connect(ConnectionId(9)))]
        }
        // The second announce comes with an id of before the restart.
        (2, Request::Announce { transaction, .. }) => {
            vec![(transaction, Response::Error("connection id mismatch".into()))]
        }
        (_, request) => honest(request),
    })
    .await;
    let client = TrackerClient::new(&Egress::default());
    let url = format!("udp://{addr}/announce?k=1");
    client.announce(&url, &request(), TIME).await.unwrap();
    client.announce(&url, &request(), TIME).await.unwrap();
    let never = udp_tracker(|_, request| match request {
        Request::Connect { transaction } => vec![(transaction, Response::Connect(ConnectionId(1)))],
        Request::Announce { transaction, .. } | Request::Scrape { transaction, .. } => {
            vec![(transaction, Response::Error("go away".into()))]
        }
    })
    .await;
    let error = client.announce(&format!("udp://{never}"), &request(), TIME).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{never}: go away"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_udp_tracker_leaves_nothing_behind() {
    let silent = udp_tracker(|_, _| Vec::new()).await;
    let client = TrackerClient::new(&Egress::default());
    let url = format!("udp://{silent}");
    let error = client.announce(&url, &request(), Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(*error.fault(), TrackerFault::Timeout(Duration::from_secs(30)));
    assert_eq!(client.inner.udp.waiting(), 0);
}

#[tokio::test]
async fn every_tracker_is_asked_once_and_told_that_we_stop() {
    use crate::tracker_server::{TrackerServer, TrackerServerConfig};
    let bind = vec!["127.0.0.1:0".parse().unwrap()];
    let server = TrackerServer::start(TrackerServerConfig { bind, ..Default::default() }).unwrap();
    let good = format!("127.0.0.1:{}", server.port());
    let (bad, _) = serve(|_| ok("", b"<html>")).await;
    let torrent = samara_wire::bencode::Encoder::dict_bytes(|torrent| {
        torrent.list(b"announce-list", |tiers| {
            tiers.list(|tier| {
                tier.bytes(format!("http://{good}/announce").as_bytes());
                tier.bytes(format!("http://{bad}/announce?passkey=s3cret").as_bytes());
            });
            tiers.list(|tier| tier.bytes(format!("udp://{good}").as_bytes()));
        });
        torrent.dict(b"info", |info| {
            info.int(b"length", 5);
            info.bytes(b"name", b"a");
            info.int(b"piece length", 16384);
            info.bytes(b"pieces", &[0; 20]);
        });
    });
    let metainfo = samara_wire::metainfo::Metainfo::parse(&torrent).unwrap();
    let answers = crate::probe::announce_all(&metainfo, &Egress::default(), TIME).await;
    let urls: Vec<_> = answers.iter().map(|(url, _)| url.clone()).collect();
    assert_eq!(urls, metainfo.trackers.concat());
    assert_eq!(answers[0].1.as_ref().unwrap().incomplete, Some(1));
    let error = answers[1].1.as_ref().unwrap_err();
    assert!(error.starts_with(&format!("{bad}: the tracker sent a web page")), "{error}");
    assert_eq!(answers[2].1.as_ref().unwrap().interval, Duration::from_secs(1800));
    let seed = AnnounceRequest { info_hash: metainfo.info.hashes().wire(), ..request() };
    let after =
        TrackerClient::new(&Egress::default()).announce(&urls[0], &seed, TIME).await.unwrap();
    assert_eq!(
        (after.incomplete, after.peers),
        (Some(1), vec![]),
        "nobody but the one who asks now"
    );
}

#[tokio::test]
async fn a_connection_serves_announce_after_announce() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    tokio::spawn(async move {
        // One connection is accepted; a second would wait for ever.
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while let Ok(byte) = stream.read_u8().await {
            head.push(byte);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                stream.write_all(&ok("", b"d5:peers0:e")).await.unwrap();
            }
        }
    });
    let client = TrackerClient::new(&Egress::default());
    for _ in 0..5 {
        client.announce(&url, &request(), TIME).await.unwrap();
    }
}
