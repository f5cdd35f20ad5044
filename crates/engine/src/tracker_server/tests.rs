//! The tracker over real sockets, asked by our own client and by hand.

use super::*;
use crate::Egress;
use crate::tracker::TrackerClient;
use samara_wire::id::PeerId;
use samara_wire::tracker::http::{announce_url, parse_announce, parse_scrape, scrape_url};
use samara_wire::tracker::udp::{ConnectionId, Family, Request, Response, TransactionId};
use samara_wire::tracker::{AnnounceEvent, AnnounceRequest, ScrapeStats};
use std::io::{Read, Write};
use std::net::TcpStream;

const HASH: WireHash = WireHash(*b"\x00\xff & 234567890123456");
const TIME: Duration = Duration::from_secs(20);

fn start(config: TrackerServerConfig) -> TrackerServer {
    let bind = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    TrackerServer::start(TrackerServerConfig { bind, ..config }).unwrap()
}

fn request(port: u16, left: u64, event: AnnounceEvent) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: HASH,
        peer_id: PeerId(*b"-SM0100-0123456789ab"),
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        key: 1,
        num_want: 50,
        tracker_id: None,
    }
}

/// Head and body of the answer to `GET path`.
fn get(server: &TrackerServer, path: &str) -> (String, Vec<u8>) {
    raw(server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

fn raw(server: &TrackerServer, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.set_read_timeout(Some(TIME)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap().to_lowercase(), body)
}

#[tokio::test]
async fn peers_find_each_other_over_http_and_udp() {
    let server = start(TrackerServerConfig::default());
    let http = format!("http://127.0.0.1:{}/announce", server.port());
    let udp = format!("udp://127.0.0.1:{}/announce", server.port());
    let client = TrackerClient::new(&Egress::default());
    let ask = async |url: &str, request| client.announce(url, &request, TIME).await.unwrap();
    let first = ask(&http, request(1001, 0, AnnounceEvent::Started)).await;
    assert_eq!((first.complete, first.interval), (Some(1), Duration::from_secs(1800)));
    assert_eq!(first.external_ip, Some(Ipv4Addr::LOCALHOST.into()));
    let second = ask(&udp, request(1002, 9, AnnounceEvent::Started)).await;
    assert_eq!(second.peers, [SocketAddr::from((Ipv4Addr::LOCALHOST, 1001))]);
    assert_eq!((second.complete, second.incomplete), (Some(1), Some(1)));
    let third = ask(&http, request(1003, 9, AnnounceEvent::Started)).await;
    assert_eq!(third.peers.len(), 2);
    ask(&udp, request(1001, 0, AnnounceEvent::Stopped)).await;
    ask(&udp, request(1002, 0, AnnounceEvent::Completed)).await;
    let url =
        scrape_url(&format!("http://{}", http.trim_start_matches("http://")), &[HASH]).unwrap();
    let path = url.trim_start_matches(&format!("http://127.0.0.1:{}", server.port()));
    let stats = ScrapeStats { complete: 1, downloaded: 1, incomplete: 1 };
    assert_eq!(parse_scrape(&get(&server, path).1), Ok(vec![(HASH, stats)]));
    server.shutdown();
}

#[test]
fn dictionaries_are_for_those_who_ask() {
    let server = start(TrackerServerConfig::default());
    let path = announce_url("/announce", &request(1001, 1, AnnounceEvent::Started));
    get(&server, &path);
    let path = announce_url("/announce", &request(1002, 1, AnnounceEvent::Started));
    let body = get(&server, &path.replace("compact=1&no_peer_id=1", "compact=0")).1;
    let shown = String::from_utf8_lossy(&body).into_owned();
    assert!(
        shown.contains("2:ip9:127.0.0.17:peer id20:-SM0100-0123456789ab4:porti1001e"),
        "{shown}"
    );
    let body = get(&server, &path.replace("compact=1", "compact=0")).1;
    assert!(!String::from_utf8_lossy(&body).contains("peer id"));
    assert_eq!(parse_announce(&body).unwrap().peers.len(), 1);
}

#[test]
fn files_and_the_page_are_served_and_nothing_else() {
    let server = start(TrackerServerConfig {
        files: vec![("my file & <b>.torrent".into(), b"d4:infodee".to_vec())],
        ..TrackerServerConfig::default()
    });
    let (head, body) = get(&server, "/my%20file%20%26%20%3Cb%3E.torrent");
    assert_eq!(body, b"d4:infodee");
    assert!(head.contains("content-type: application/x-bittorrent\r\n") && head.contains(" 200 "));
    get(&server, &announce_url("/announce", &request(1001, 1, AnnounceEvent::Started)));
    let (head, page) = get(&server, "/");
    let page = String::from_utf8(page).unwrap();
    assert!(head.contains("content-type: text/html"));
    assert!(page.contains(&HASH.to_string()) && page.contains("1 torrents, 1 peers"));
    assert!(page.contains("my file &amp; &lt;b&gt;.torrent") && !page.contains("<b>"));
    for path in ["/etc/passwd", "/../../etc/passwd", "/%2e%2e/etc/passwd", "/my", "//"] {
        assert!(get(&server, path).0.contains(" 404 "), "{path}");
    }
    assert!(
        raw(&server, "POST / HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .0
            .contains(" 405 ")
    );
    let flood = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    // The server hangs up on such a request, at any point.
    let _ = stream.write_all(flood.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains(" 200 "));
}

#[test]
fn refusals_are_failures_in_bencode() {
    let server = start(TrackerServerConfig {
        allow: vec![WireHash([0; 20])],
        ..TrackerServerConfig::default()
    });
    let path = announce_url("/announce", &request(1001, 1, AnnounceEvent::Started));
    let error = parse_announce(&get(&server, &path).1).unwrap_err();
    assert_eq!(error.to_string(), "this tracker does not track that torrent");
    let error = parse_announce(&get(&server, "/announce?port=1").1).unwrap_err();
    assert_eq!(error.to_string(), "missing info_hash");
}

#[test]
fn a_udp_client_must_prove_its_address() {
    let server = start(TrackerServerConfig::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    socket.set_read_timeout(Some(TIME)).unwrap();
    let ask = |request: &Request| {
        let (mut datagram, mut answer) = (Vec::new(), [0; 2048]);
        request.encode(&mut datagram);
        socket.send(&datagram).unwrap();
        let len = socket.recv(&mut answer).unwrap();
        Response::parse(&answer[..len], Family::V4).unwrap()
    };
    let transaction = TransactionId(77);
    let scrape = |connection| Request::Scrape {
        connection,
        transaction,
        hashes: vec![HASH, WireHash([9; 20])],
    };
    let (_, forged) = ask(&scrape(ConnectionId(1)));
    assert_eq!(forged, Response::Error("connection id expired".into()));
    let (same, connected) = ask(&Request::Connect { transaction });
    assert_eq!(same, transaction);
    let Response::Connect(connection) = connected else { panic!("{connected:?}") };
    let unknown = vec![ScrapeStats::default(); 2];
    assert_eq!(ask(&scrape(connection)), (transaction, Response::Scrape(unknown)));
}

#[test]
fn the_port_is_free_again_after_shutdown() {
    let first = start(TrackerServerConfig::default());
    let bind = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, first.port()))];
    let config = TrackerServerConfig { bind, ..TrackerServerConfig::default() };
    let taken = TrackerServer::start(config.clone()).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    first.shutdown();
    let second = TrackerServer::start(config.clone()).unwrap();
    assert_eq!(second.port(), config.bind[0].port());
}

#[test]
fn a_server_on_all_addresses_has_one_port() {
    let server = TrackerServer::start(TrackerServerConfig::default()).unwrap();
    assert!(server.port() != 0);
    let (head, _) = get(&server, "/");
    assert!(head.contains(" 200 "));
}

#[test]
fn one_address_cannot_take_all_connections() {
    let server = start(TrackerServerConfig::default());
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    let mut held: Vec<_> = (0..64).map(|_| connect()).collect();
    // Served only once it was accepted, so all before it were.
    let ask = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(TIME)).unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).map(|()| answer.starts_with(b"HTTP/1.1 200"))
    };
    assert!(ask(&mut held[63]).unwrap());
    assert!(ask(&mut connect()).is_err(), "closed at once");
}

proptest::proptest! {
    /// Whoever forges a sender's address makes us send no more than was sent.
    #[test]
    fn nothing_is_amplified_towards_an_unproven_address(
        mut datagram in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        action in 0u8..4,
        connect: bool,
    ) {
        if let Some(field) = datagram.get_mut(8..12) {
            field.copy_from_slice(&[0, 0, 0, action]);
        }
        if connect && let Some(id) = datagram.get_mut(..8) {
            id.copy_from_slice(&[0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80]);
        }
        let shared = Shared::new(TrackerServerConfig::default());
        let (from, mut out) = (SocketAddr::from(([10, 0, 0, 1], 1)), Vec::new());
        let cookies = cookie::Cookies::default();
        udp::respond(&shared, &cookies, Instant::from_secs(9), from, &datagram, &mut out);
        proptest::prop_assert!(out.len() <= datagram.len());
        proptest::prop_assert_eq!(shared.store().size(), (0, 0));
    }
}
