//! What every target begins with: inputs made of valid values, and scripts of any decisions. `cargo run -p samara-fuzz --example seeds`
//! writes them to `fuzz/seeds`, and a test sees that those are they.

mod torrents;

use crate::TARGETS;
use flate2::Compression;
use flate2::write::GzEncoder;
use samara_dht::SavedTable;
use samara_wire::bencode::Encoder;
use samara_wire::id::{BlockRef, PeerId, PieceIndex, WireHash};
use samara_wire::krpc::{
    AnnouncedPort, Body, Item, Method, NodeId, NodeInfo, Packet, Put, Query, Response, Samples,
    Token, TransactionId, Want,
};
use samara_wire::lsd::{GROUP_V4, LocalAnnounce};
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::handshake::{Handshake, Reserved};
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_holepunch::HolepunchMessage;
use samara_wire::peer::ut_metadata::MetadataMessage;
use samara_wire::peer::ut_pex::{PexFlags, PexMessage};
use samara_wire::rng::Rng;
use samara_wire::tracker::http::{PeersForm, encode_announce, encode_failure, encode_scrape};
use samara_wire::tracker::udp::{ConnectionId, Request, TransactionId as UdpTransaction};
use samara_wire::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse, ScrapeStats};
use samara_wire::utp;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// Lengths of the scripts, in bytes.
const SCRIPTS: [usize; 2] = [300, 1500];

/// The seeds of a target, without names.
#[must_use]
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let valid = match target {
        "bencode" | "bencode_model" => vec![
            b"d1:ad1:bi-12ee3:keyl5:value0:lei0eee".to_vec(),
            b"li0ei-1e4:spamd0:0:ee".to_vec(),
            b"d1:bi1e1:ai01e1:a3:xyze junk".to_vec(),
        ],
        "metainfo" | "metainfo_model" => torrents::all(),
        "krpc" => packets(),
        "datagram_kind" => [packets(), utp_packets()].concat(),
        "magnet" => text(&[
            "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a%20b&tr=udp%3A%2F%2Fa%3A1&so=0,2-4&x.pe=1.2.3.4:5",
            "magnet:?xt=urn:btmh:12200123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef&ws=http%3A%2F%2Fa%2F",
            "magnet:?xs=urn:btpk:8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e&s=6e&dn=followed",
            "0123456789abcdef0123456789abcdef01234567",
        ]),
        "peer" => vec![handshake(), stream(), extensions()],
        "ut_metadata" => metadata(),
        "ut_pex" => vec![pex().encode()],
        "ut_holepunch" => holepunch(),
        "lsd" => vec![local().encode(GROUP_V4)],
        "tracker" => [answers(), udp_requests(), text(&[ANNOUNCE])].concat(),
        "tracker_url" => text(&[
            "tracker.example/announce",
            "http://[::1]:80/",
            "udp://a:1",
            "ftp://a",
            "//\\a@b:c#d",
        ]),
        "portmap_answers" => gateway_answers(),
        "portmap_documents" => text(&[DESCRIPTION, ADDRESS, FAULT]),
        "gateway_url" => text(&[
            "http://192.168.1.1:5000/d.xml\n/control?a=b",
            "http://[fe80::1]/\nhttp://192.168.1.9:80/x",
            "HTTP://10.0.0.1\n../up",
        ]),
        "gateway_trust" => {
            gateway_answers().into_iter().map(|answer| [&[7], &answer[..]].concat()).collect()
        }
        "proxy" => proxy(),
        "ip_filter" => text(&FILTERS),
        "ip_filter_file" => [text(&FILTERS[..1]), vec![packed(FILTERS[1].as_bytes())]].concat(),
        "packed_answer" => {
            let limit = [0x7f, 0xff];
            let answer = packed(&encode_failure("no", None));
            vec![[&limit, &answer[..]].concat(), [&limit, &packed(&[b'x'; 20_000])[..]].concat()]
        }
        "dht_saved" | "dht_table_file" => vec![table().encode(), SavedTable::default().encode()],
        "resume_data" => resume(),
        "tracker_requests" => text(&[REQUESTS]),
        "kept_layers" => vec![(0..=255).cycle().take(32 * 5).collect(), vec![7; 64]],
        "utp_packets" => utp_packets(),
        "mse" => vec![vec![], [0xff, 0].repeat(40), [9, 0].repeat(200)],
        "paths" => vec![
            b"\0\x03dir\0\x08file.txt".to_vec(),
            b"\0\x02..\0\x01.\0\x04C:\\x".to_vec(),
            b"\0\x05a/../\0\x07x\xe2\x80\xaeyz".to_vec(),
        ],
        _ => scripts(target),
    };
    debug_assert!(TARGETS.iter().any(|known| known.name == target));
    valid
}

/// Decisions by lot, always the same for a target.
fn scripts(target: &str) -> Vec<Vec<u8>> {
    let mut seed = [0; 32];
    for (at, byte) in target.bytes().enumerate() {
        seed[at % 32] ^= byte;
    }
    let mut rng = Rng::new(seed);
    let script = |len| {
        let mut script = vec![0; len];
        rng.fill(&mut script);
        script
    };
    SCRIPTS.map(script).to_vec()
}

fn text(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory can be written")
}

fn addr(last: u8) -> SocketAddr {
    SocketAddr::from(([80, 1, 2, last], 6881))
}

fn handshake() -> Vec<u8> {
    let peer_id = PeerId::ours(*b"0100", *b"0123456789ab");
    Handshake { reserved: Reserved::OURS, info_hash: WireHash([7; 20]), peer_id }.encode().to_vec()
}

fn stream() -> Vec<u8> {
    let block = BlockRef { piece: PieceIndex(1), begin: 0, len: 16384 };
    let mut out = Vec::new();
    for message in [
        Message::KeepAlive,
        Message::Unchoke,
        Message::Interested,
        Message::Have(PieceIndex(7)),
        Message::Bitfield(Box::new([0xff, 0xff, 0xf0])),
        Message::Request(block),
        Message::Cancel(block),
        Message::Port(6881),
        Message::Reject(block),
        Message::AllowedFast(PieceIndex(3)),
        Message::Extended { id: 0, payload: extensions().into() },
    ] {
        message.encode(&mut out);
    }
    [&out[..], b"\0\0\0\x0b\x07\0\0\0\x01\0\0\0\0ab"].concat()
}

fn extensions() -> Vec<u8> {
    ExtensionHandshake {
        extensions: vec![("ut_pex".to_owned(), 1), ("ut_metadata".to_owned(), 2)],
        client: Some("a client 1.0".to_owned()),
        port: Some(6881),
        request_queue: Some(500),
        your_ip: Some(addr(1).ip()),
        metadata_len: Some(31_235),
        upload_only: true,
        ..ExtensionHandshake::default()
    }
    .encode()
}

fn metadata() -> Vec<Vec<u8>> {
    let data = MetadataMessage::Data { piece: 0, total_len: Some(34_256), payload: &[b'x'; 8] };
    [MetadataMessage::Request { piece: 7 }, data, MetadataMessage::Reject { piece: 1 }]
        .map(|message| message.encode())
        .to_vec()
}

fn pex() -> PexMessage {
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 6881));
    PexMessage {
        added: vec![(addr(1), PexFlags(2)), (addr(2), PexFlags(16)), (v6, PexFlags(0))],
        dropped: vec![addr(3)],
    }
}

fn holepunch() -> Vec<Vec<u8>> {
    let refused = b"\x02\0\xcb\0q\x09\x1a\xe1\0\0\0\x02".to_vec();
    vec![
        HolepunchMessage::Connect(addr(1)).encode(),
        HolepunchMessage::Rendezvous(addr(2)).encode(),
        refused,
    ]
}

fn local() -> LocalAnnounce {
    let hashes = vec![WireHash([7; 20]), WireHash([8; 20])];
    LocalAnnounce { port: 6881, hashes, cookie: Some("1a2b".to_owned()) }
}

const ANNOUNCE: &str = "info_hash=%00%FF%20aaaaaaaaaaaaaaaaa&peer_id=-SM0100-0123456789ab&port=6881&left=3&event=started&compact=1&numwant=9";

const REQUESTS: &str = "\0\x01/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-SM0100-0123456789ab&port=6881&left=3&event=started&compact=1\n\
     \0\x02/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-SM0100-0123456789ac&port=6882&left=0\n\
     \0\x03/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa\n\0\x04/\n\0\x04/a%20%26%20%3Cb%3E.torrent\n\x03\x04/\n\0\0/nothing";

fn announce() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: WireHash([b'a'; 20]),
        peer_id: PeerId::ours(*b"0100", *b"0123456789ab"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        key: 4,
        num_want: 50,
        tracker_id: None,
    }
}

fn answers() -> Vec<Vec<u8>> {
    let answer = AnnounceResponse {
        interval: Duration::from_secs(1800),
        min_interval: Some(Duration::from_secs(60)),
        complete: Some(5),
        incomplete: Some(6),
        peers: vec![addr(1), addr(2)],
        warning: Some("a warning".to_owned()),
        ..AnnounceResponse::default()
    };
    let stats = ScrapeStats { complete: 1, downloaded: 2, incomplete: 3 };
    vec![
        encode_announce(&answer, PeersForm::Compact),
        encode_announce(&answer, PeersForm::Dictionary(&[])),
        encode_failure("full", None),
        encode_scrape(&[(WireHash([b'a'; 20]), stats)]),
    ]
}

fn udp_requests() -> Vec<Vec<u8>> {
    let (transaction, connection) = (UdpTransaction(9), ConnectionId(7));
    let url_data = "/announce?key=1".to_owned();
    let requests = [
        Request::Connect { transaction },
        Request::Announce { connection, transaction, announce: announce(), url_data },
        Request::Scrape { connection, transaction, hashes: vec![WireHash([b'a'; 20])] },
    ];
    let encoded = |request: &Request| {
        let mut out = Vec::new();
        request.encode(&mut out);
        out
    };
    requests.iter().map(encoded).collect()
}

fn nodes() -> Vec<NodeInfo> {
    [1, 2, 3].map(|n| NodeInfo { id: NodeId([n; 20]), addr: addr(n) }).to_vec()
}

fn table() -> SavedTable {
    SavedTable { id: NodeId([9; 20]), nodes: nodes() }
}

fn packets() -> Vec<Vec<u8>> {
    let token = Token::new(b"aoeusnth").expect("a token");
    let item = Item { value: b"li1ee".to_vec(), signed: None };
    let put =
        Put { token: token.clone(), item: item.clone(), cas: Some(1), salt: b"salt".to_vec() };
    let (target, torrent) = (NodeId([5; 20]), WireHash([7; 20]));
    let methods = [
        Method::Ping,
        Method::FindNode { target },
        Method::GetPeers { info_hash: torrent, no_seeds: true, scrape: true },
        Method::AnnouncePeer {
            info_hash: torrent,
            port: AnnouncedPort::Explicit(6881),
            token: token.clone(),
            seed: false,
        },
        Method::Get { target, seq: Some(3) },
        Method::Put(put.into()),
        Method::SampleInfohashes { target },
    ];
    let want = Want { v4: true, v6: true };
    let questions = methods.map(|method| Body::Query(Query { id: NodeId([1; 20]), want, method }));
    let samples = Samples { hashes: vec![torrent], interval: Duration::from_secs(60), total: 9 };
    let response = Response {
        id: NodeId([2; 20]),
        nodes4: Some(nodes()),
        token: Some(token),
        values: Some(vec![addr(1), addr(2)]),
        samples: Some(samples),
        item: Some(item.into()),
        ..Response::default()
    };
    let transaction = TransactionId::new(b"aa").expect("two bytes");
    let packet = |body| Packet {
        transaction: transaction.clone(),
        client: Some(*b"SM01"),
        read_only: false,
        your_addr: Some(addr(4)),
        body,
    };
    let bodies = questions.into_iter().chain([Body::Response(Box::new(response))]);
    let mut packets: Vec<Vec<u8>> = bodies.map(|body| packet(body).encode()).collect();
    packets.push(b"d1:eli203e11:bad requeste1:t2:aa1:y1:ee".to_vec());
    packets
}

const DESCRIPTION: &str = "<root><URLBase>http://192.168.1.1:5000/</URLBase><s:service><serviceType>\
    urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><!-- x --><controlURL>/a&amp;b</controlURL></s:service></root>";
const ADDRESS: &str = "<u:GetExternalIPAddressResponse><NewExternalIPAddress>203.0.113.9</NewExternalIPAddress></u:GetExternalIPAddressResponse>";
const FAULT: &str = "<s:Fault><detail><UPnPError><errorCode>718</errorCode><errorDescription>taken</errorDescription></UPnPError></detail></s:Fault>";

fn gateway_answers() -> Vec<Vec<u8>> {
    vec![
        b"\x02\x81\0\0\0\0\x0e\x10\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0abcdefghijkl\x06\0\0\0\x1a\xe1\x1a\xe2\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0q\x09".to_vec(),
        b"\0\x80\0\0\0\0\0\x05\xcb\0q\x09".to_vec(),
        b"\0\x81\0\0\0\0\0\x05\x1a\xe1\x1a\xe2\0\0\x1c\x20".to_vec(),
        b"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLocation: http://192.168.7.7:5000/d.xml\r\n\r\n".to_vec(),
    ]
}

fn proxy() -> Vec<Vec<u8>> {
    vec![
        b"\x05\x02\x01\0\x05\0\0\x01\x0a\0\0\x01\x1a\xe1stream".to_vec(),
        b"\x05\0\x05\0\0\x03\x05relay\x1a\xe1stream".to_vec(),
        b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nstream".to_vec(),
        b"\0\0\0\x03\x04peer\0\x01payload".to_vec(),
        b"socks5h://me:pass%20word@[2001:db8::1]:1080/".to_vec(),
    ]
}

const FILTERS: [&str; 3] = [
    "001.002.003.000 - 001.002.003.255 , 100 , who\n1.2.4.0 - 1.2.4.9 , 200 , who\r\n",
    "# a list\nwho: else:1.2.3.0-1.2.3.255\nwho:2001:db8::1-2001:db8::5\n",
    "1.2.3.0/24\n2001:db8::/32\n1.2.3.4\n::ffff:1.2.3.0/120",
];

/// As `samara_engine` writes it, of the torrent that the target knows.
fn resume() -> Vec<Vec<u8>> {
    let file = |list: &mut Encoder, len| {
        list.list(|item| [1, 77, len, 1_000_000].into_iter().for_each(|number| item.int(number)));
    };
    let body = |trackers: bool| {
        Encoder::dict_bytes(|dict| {
            dict.bytes(b"dir", b"/");
            dict.int(b"downloaded", 5);
            dict.list(b"files", |list| [655_000, 355].into_iter().for_each(|len| file(list, len)));
            dict.bytes(b"have", &[0x50, 0x40]);
            dict.bytes(b"info-hash", &[7; 20]);
            dict.list(b"partial", |list| {
                list.list(|item| {
                    item.int(3);
                    item.bytes(&[0xa0]);
                });
            });
            if trackers {
                dict.list(b"trackers", |list| list.list(|tier| tier.bytes(b"http://a/")));
            }
            dict.list(b"unsettled", |list| list.int(4));
            dict.int(b"uploaded", 6);
        })
    };
    vec![body(false), body(true)]
}

fn utp_packets() -> Vec<Vec<u8>> {
    let header = utp::Header {
        kind: utp::PacketType::State,
        connection: utp::ConnectionId(7),
        timestamp: 1_000_000,
        timestamp_difference: 5000,
        window: 100_000,
        seq: utp::SeqNr(3),
        ack: utp::SeqNr(9),
    };
    let mut out = [0; utp::HEADER_LEN + 2 + utp::MAX_SACK_LEN];
    let len = utp::encode_with_sack(&header, [true, false, true].into_iter(), &mut out);
    let data = utp::Header { kind: utp::PacketType::Data, ..header };
    let mut padded = [0; 100];
    let padded_len = utp::encode_padded(&data, b"payload", 100, &mut padded);
    vec![out[..len].to_vec(), padded[..padded_len].to_vec(), header.encode().to_vec()]
}
