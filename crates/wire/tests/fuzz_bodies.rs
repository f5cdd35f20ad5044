//! Runs what the fuzz targets run, in every `cargo test`, over random bytes and over mutations of valid input.
#![allow(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "public where they live, in the fuzz crate")]

#[path = "../../../fuzz/src/bencode.rs"]
mod bencode;
#[path = "../../../fuzz/src/exchange.rs"]
mod exchange;
#[path = "../../../fuzz/src/ip_filter.rs"]
mod ip_filter;
#[path = "../../../fuzz/src/krpc.rs"]
mod krpc;
#[path = "../../../fuzz/src/magnet.rs"]
mod magnet;
#[path = "../../../fuzz/src/metainfo.rs"]
mod metainfo;
#[path = "../../../fuzz/src/mse.rs"]
mod mse;
#[path = "../../../fuzz/src/peer.rs"]
mod peer;
#[path = "../../../fuzz/src/portmap.rs"]
mod portmap;
#[path = "../../../fuzz/src/proxy.rs"]
mod proxy;
#[path = "../../../fuzz/src/tracker.rs"]
mod tracker;

use proptest::prelude::*;
use proptest::sample::Index;
use std::path::PathBuf;

/// A small change to some bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, u8),
    Delete(Index, usize),
    Repeat(Index, usize),
    Truncate(Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |index: &Index| index.index(bytes.len() + 1);
        match self {
            Self::Replace(index, byte) => {
                let at = at(index);
                bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
            }
            Self::Insert(index, byte) => bytes.insert(at(index), *byte),
            Self::Delete(index, len) => {
                let at = at(index);
                bytes.drain(at..(at + len).min(bytes.len()));
            }
            Self::Repeat(index, len) => {
                let at = at(index);
                let part = bytes[at..(at + len).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Self::Truncate(index) => bytes.truncate(at(index)),
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(b"ilde:0123456789-/.%&=".to_vec())];
    let mutation = prop_oneof![
        8 => (any::<Index>(), byte()).prop_map(|(i, b)| Mutation::Replace(i, b)),
        2 => (any::<Index>(), byte()).prop_map(|(i, b)| Mutation::Insert(i, b)),
        2 => (any::<Index>(), 1usize..20).prop_map(|(i, n)| Mutation::Delete(i, n)),
        2 => (any::<Index>(), 1usize..50).prop_map(|(i, n)| Mutation::Repeat(i, n)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
    ];
    prop::collection::vec(mutation, 0..4)
}

fn torrents() -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torrents");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

const LINKS: [&str; 3] = [
    "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a%20b&tr=udp%3A%2F%2Fa%3A1&x.pe=[::1]:1&so=0,2-4",
    "0123456789abcdef0123456789abcdef01234567",
    "magnet:?xs=urn:btpk:8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e&s=6e&dn=followed",
];

/// Streams of peers.
const STREAMS: [&[u8]; 3] = [
    b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04aaaaaaaaaabbbbbbbbbb-SM0100-0123456789ab",
    b"\0\0\0\0\0\0\0\x01\x01\0\0\0\x05\x04\0\0\0\x07\0\0\0\x04\x05\xff\xff\xf0\0\0\0\x0d\x06\0\0\0\x01\0\0\0\0\0\0\x40\0\
      \0\0\0\x03\x09\x1a\xe1\0\0\0\x1d\x14\0d1:md6:ut_pexi1ee1:pi6881ee\0\0\0\x0b\x07\0\0\0\x01\0\0\0\0ab",
    b"d1:md6:ut_pexi1e11:ut_metadatai2ee13:metadata_sizei31235e1:pi6881e4:reqqi500e11:upload_onlyi1e1:v3:x/1e",
];

/// Answers, queries and datagrams of trackers and their clients.
const TRACKER_TALK: [&[u8]; 8] = [
    b"d8:completei5e8:intervali1800e12:min intervali60e5:peers12:\x7f\0\0\x01\x1a\xe1\x0a\0\0\x01\x1a\xe115:warning message2:hie",
    b"d8:intervali1800e5:peersld2:ip9:127.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eed2:ip3:::14:porti6882eeee",
    b"d14:failure reason4:full8:retry in5:nevere",
    b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi2e10:incompletei3eeee",
    b"info_hash=%00%FF%20aaaaaaaaaaaaaaaaa&peer_id=-SM0100-0123456789ab&port=6881&left=3&event=started&compact=1",
    b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0\x0a\x0b\x0c\x0d",
    b"\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x01aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbb",
    b"\0\0\0\x01\0\0\0\x09\0\0\x07\x08\0\0\0\x01\0\0\0\x02\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\0\0",
];

/// Packets of the DHT.
const PACKETS: [&[u8]; 4] = [
    b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnth4:wantl2:n42:n6ee\
      1:q13:announce_peer2:roi1e1:t2:aa1:v4:SM011:y1:qe",
    b"d1:ad3:casi1e2:id20:abcdefghij01234567891:k32:abcdefghijabcdefghijabcdefghijab4:salt3:abc3:seqi2e3:sig64:\
      abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd5:token4:abcd1:vli1e1:aee1:q3:put1:t2:aa1:y1:qe",
    b"d2:ip6:\x7f\0\0\x01\x1a\xe11:rd2:id20:abcdefghij01234567898:intervali60e5:nodes26:abcdefghij0123456789\x0a\0\0\x01\x1a\xe1\
      3:numi9e7:samples20:abcdefghij01234567895:token8:aoeusnth1:vi7e6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
    b"d1:eli203e11:bad requeste1:t2:aa1:y1:ee",
];

/// Messages of `ut_holepunch`, `ut_metadata` and `ut_pex`, and a datagram of local discovery.
const EXCHANGES: [&[u8]; 5] = [
    b"\x02\0\xcb\0q\x09\x1a\xe1\0\0\0\x02",
    b"d8:msg_typei0e5:piecei7ee",
    b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx",
    b"d5:added12:\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe27:added.f2:\x02\x106:added60:8:added6.f0:7:dropped6:\x0a\0\0\x03\0\x01e",
    b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: 0123456789abcdef0123456789abcdef01234567\r\n\
      cookie: 1a2b\r\n\r\n\r\n",
];

/// Answers of gateways.
const GATEWAY_TALK: [&[u8]; 6] = [
    b"\x02\x81\0\0\0\0\x0e\x10\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0abcdefghijkl\x06\0\0\0\x1a\xe1\x1a\xe2\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\0q\x09",
    b"\0\x80\0\0\0\0\0\x05\xcb\0q\x09",
    b"\0\x81\0\0\0\0\0\x05\x1a\xe1\x1a\xe2\0\0\x1c\x20",
    b"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLocation: http://192.168.1.1:5000/d.xml\r\n\r\n",
    b"<root><URLBase>http://192.168.1.1:5000/</URLBase><s:service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1\
      </serviceType><!-- x --><controlURL>/a&amp;b</controlURL></s:service></root>",
    b"<u:GetExternalIPAddressResponse><NewExternalIPAddress>203.0.113.9</NewExternalIPAddress></u:GetExternalIPAddressResponse>",
];

fn gateways(bytes: &[u8]) {
    portmap::answers(bytes);
    portmap::documents(bytes);
}

/// Answers of proxies, a datagram of a relay, and URLs.
const PROXY_TALK: [&[u8]; 9] = [
    b"\x05\x02\x01\0\x05\0\0\x01\x0a\0\0\x01\x1a\xe1stream",
    b"\x05\0\x05\0\0\x03\x05relay\x1a\xe1stream",
    b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nstream",
    b"\x05\0\x05\0\0\x01\0\0\0\0\x04\0",
    b"\x05\0\x05\0\0\x01\xac\x11\0\x02\x04\0",
    b"\0\0\0\x01\xc0\0\x02\x01\x1a\xe1d1:rd2:id20:abcdefghij0123456789e1:t4:aaaa1:y1:re",
    b"\0\0\0\x03\x04peer\0\x01payload",
    b"socks5h://me:pass%20word@[2001:db8::1]:1080/",
    b"http://proxy.example:3128",
];

/// Lists of blocked addresses.
const FILTERS: [&[u8]; 3] = [
    b"001.002.003.000 - 001.002.003.255 , 100 , who\n1.2.4.0 - 1.2.4.9 , 200 , who\r\n",
    b"# a list\nwho: else:1.2.3.0-1.2.3.255\nwho:2001:db8::1-2001:db8::5\n",
    b"1.2.3.0/24\n2001:db8::/32\n1.2.3.4\n::ffff:1.2.3.0/120",
];

fn exchanges(bytes: &[u8]) {
    exchange::metadata(bytes);
    exchange::pex(bytes);
    exchange::holepunch(bytes);
    exchange::lsd(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_torrents(torrent in prop::sample::select(torrents()), mutations in mutations()) {
        let mut bytes = torrent;
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        bencode::run(&bytes);
        metainfo::run(&bytes);
    }

    #[test]
    fn mutated_links(link in prop::sample::select(LINKS.to_vec()), mutations in mutations()) {
        let mut bytes = link.as_bytes().to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        magnet::run(&bytes);
    }

    #[test]
    fn mutated_streams(stream in prop::sample::select(STREAMS.to_vec()), mutations in mutations()) {
        let mut bytes = stream.to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        peer::run(&bytes);
    }

    #[test]
    fn mutated_tracker_talk(talk in prop::sample::select(TRACKER_TALK.to_vec()), mutations in mutations()) {
        let mut bytes = talk.to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        tracker::run(&bytes);
    }

    #[test]
    fn mutated_exchanges(exchange in prop::sample::select(EXCHANGES.to_vec()), mutations in mutations()) {
        let mut bytes = exchange.to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        exchanges(&bytes);
    }

    #[test]
    fn mutated_gateway_talk(talk in prop::sample::select(GATEWAY_TALK.to_vec()), mutations in mutations()) {
        let mut bytes = talk.to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        gateways(&bytes);
    }

    #[test]
    fn mutated_proxy_talk(talk in prop::sample::select(PROXY_TALK.to_vec()), mutations in mutations()) {
        let mut bytes = talk.to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        proxy::run(&bytes);
    }

    #[test]
    fn mutated_filters(list in prop::sample::select(FILTERS.to_vec()), mutations in mutations()) {
        let mut bytes = list.to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        ip_filter::run(&bytes);
    }

    #[test]
    fn mutated_packets(packet in prop::sample::select(PACKETS.to_vec()), mutations in mutations()) {
        let mut bytes = packet.to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        krpc::run(&bytes);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        bencode::run(&bytes);
        metainfo::run(&bytes);
        magnet::run(&bytes);
        peer::run(&bytes);
        tracker::run(&bytes);
        krpc::run(&bytes);
        proxy::run(&bytes);
        ip_filter::run(&bytes);
        exchanges(&bytes);
        gateways(&bytes);
    }
}

proptest! {
    // Each is six exponentiations, which cost much without optimisation.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn encrypted_connections(
        cuts in prop::collection::vec((any::<u8>(), prop_oneof![20 => Just(0), 1 => any::<u8>()]), 0..60),
        noise in prop::collection::vec(any::<u8>(), 0..900),
    ) {
        mse::run(&cuts.into_iter().flat_map(|(cut, change)| [cut, change]).collect::<Vec<u8>>());
        mse::run(&noise);
    }
}

#[test]
fn the_packets_that_are_mutated_are_valid() {
    for packet in PACKETS {
        assert!(samara_wire::krpc::Packet::parse(packet).is_ok(), "{}", packet.escape_ascii());
    }
}
