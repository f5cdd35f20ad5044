use super::super::{
    AnnounceEvent, AnnounceRequest, AnnounceResponse, DEFAULT_INTERVAL, MAX_PEERS, ScrapeStats,
};
use super::*;
use crate::id::{PeerId, WireHash};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use proptest::collection::{btree_map, btree_set, vec as vec_of};
use proptest::prelude::*;
use std::format;

fn sample() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: WireHash(*b"\x00\xff aZ09-._~&=?+%#/:@"),
        peer_id: PeerId(*b"-SM0100-0123456789ab"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        key: 0xab,
        num_want: 50,
        tracker_id: None,
    }
}

fn peer(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn the_query_is_exactly_this() {
    assert_eq!(
        announce_url("http://t.example/announce", &sample()),
        "http://t.example/announce?info_hash=%00%FF%20aZ09-._~%26%3D%3F%2B%25%23%2F%3A%40\
         &peer_id=-SM0100-0123456789ab&port=6881&uploaded=1&downloaded=2&left=3\
         &compact=1&no_peer_id=1&numwant=50&key=000000AB&event=started"
    );
    let periodic = AnnounceRequest {
        event: AnnounceEvent::Periodic,
        tracker_id: Some("a b".into()),
        ..sample()
    };
    let url = announce_url("http://t.example/announce", &periodic);
    assert!(url.ends_with("&key=000000AB&trackerid=a%20b") && !url.contains("event"));
    assert!(!url.contains("ip=") && !url.contains("supportcrypto"));
}

#[test]
fn a_passkey_gets_exactly_one_question_mark() {
    for (given, start) in [
        ("http://t/announce?passkey=1", "http://t/announce?passkey=1&info_hash="),
        ("http://t/announce?passkey=1&", "http://t/announce?passkey=1&info_hash="),
        ("http://t/announce?", "http://t/announce?info_hash="),
        ("http://t/announce#frag", "http://t/announce?info_hash="),
        ("http://t/1/announce.php", "http://t/1/announce.php?info_hash="),
    ] {
        let url = announce_url(given, &sample());
        assert!(url.starts_with(start), "{url}");
        assert_eq!(url.matches('?').count(), 1);
    }
}

#[test]
fn scrape_urls_are_derived_as_bep_48_says() {
    let derive = |url| scrape_url(url, &[]);
    assert_eq!(derive("http://t/announce").as_deref(), Some("http://t/scrape"));
    assert_eq!(
        derive("http://t/x/announce.php?k=/a").as_deref(),
        Some("http://t/x/scrape.php?k=/a")
    );
    assert_eq!(derive("http://t/announce/x"), None);
    assert_eq!(derive("http://t/a"), None);
    assert_eq!(derive("announce"), None);
    assert_eq!(
        scrape_url(
            "http://t/announce?k=1",
            &[WireHash([1; 20]), WireHash(*b"abcdefghijklmnopqrst")]
        ),
        Some(format!(
            "http://t/scrape?k=1&info_hash={}&info_hash=abcdefghijklmnopqrst",
            "%01".repeat(20)
        ))
    );
}

#[test]
fn queries_that_lack_something_say_what() {
    let url = announce_url("?", &sample());
    let query = url.trim_start_matches('?');
    let parsed = parse_announce_query(query).unwrap();
    assert!(parsed.compact && parsed.no_peer_id);
    let without = |name: &str| {
        let parts: Vec<_> = query.split('&').filter(|part| !part.starts_with(name)).collect();
        parse_announce_query(&parts.join("&")).unwrap_err()
    };
    assert_eq!(without("info_hash"), QueryError::Missing("info_hash"));
    assert_eq!(without("peer_id"), QueryError::Missing("peer_id"));
    assert_eq!(without("port"), QueryError::Missing("port"));
    assert_eq!(parse_announce_query("info_hash=abc"), Err(QueryError::Invalid("info_hash")));
    assert_eq!(parse_announce_query("port=70000"), Err(QueryError::Invalid("port")));
    assert_eq!(parse_scrape_query("info_hash=abc"), Err(QueryError::Invalid("info_hash")));
    assert_eq!(parse_scrape_query(""), Ok(Vec::new()));
    assert_eq!(
        parse_scrape_query(&"info_hash=aaaaaaaaaaaaaaaaaaaa&".repeat(500)).unwrap().len(),
        MAX_SCRAPE
    );
    assert_eq!(QueryError::Missing("port").to_string(), "missing port");
}

#[test]
fn dictionary_peers_and_both_families_are_read() {
    let body = b"d8:intervali1800e5:peersld2:ip9:127.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881ee\
        d2:ip3:::14:porti6882eed2:ip11:example.org4:porti1eed2:ip9:127.0.0.24:porti0eed2:ip1:x4:porti99999eeee";
    let answer = parse_announce(body).unwrap();
    assert_eq!(answer.peers, [peer("127.0.0.1:6881"), peer("[::1]:6882")]);

    let body = b"d5:peers12:\x7f\0\0\x01\x1a\xe1\x7f\0\0\x01\x1a\xe16:peers619:\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe2xe";
    let answer = parse_announce(body).unwrap();
    assert_eq!(answer.peers, [peer("127.0.0.1:6881"), peer("[::1]:6882")], "no duplicate, no rest");
    assert_eq!(answer.interval, DEFAULT_INTERVAL);
}

#[test]
fn everything_else_a_tracker_says_is_heard() {
    let body = b"d8:completei5e10:downloadedi9e11:external ip4:\x08\x08\x04\x0410:incompletei-1e\
        8:intervali99999999e12:min intervali1e5:peers0:10:tracker id3:abc15:warning message7:be\x1b[no!e\n";
    let answer = parse_announce(body).unwrap();
    assert_eq!(answer.interval, Duration::from_secs(86_400));
    assert_eq!(answer.min_interval, Some(Duration::from_secs(30)));
    assert_eq!((answer.complete, answer.downloaded, answer.incomplete), (Some(5), Some(9), None));
    assert_eq!(answer.external_ip, Some([8, 8, 4, 4].into()));
    assert_eq!(answer.tracker_id.as_deref(), Some("abc"));
    assert_eq!(answer.warning.as_deref(), Some("be[no!"));
}

#[test]
fn failures_and_nonsense_are_told_apart() {
    let error = |body: &[u8]| parse_announce(body).unwrap_err();
    assert_eq!(error(b""), ResponseError::Empty);
    assert_eq!(error(b" \r\n"), ResponseError::Empty);
    assert_eq!(error(b"\n<!DOCTYPE html>"), ResponseError::Html);
    assert_eq!(error(b"le"), ResponseError::Missing("dictionary"));
    assert_eq!(error(b"de"), ResponseError::Missing("peers"));
    assert!(matches!(error(b"Not found"), ResponseError::NotBencode(_)));
    let failure = |reason: &str, retry| ResponseError::Failure { reason: reason.into(), retry };
    assert_eq!(error(b"d14:failure reason8:not heree"), failure("not here", None));
    assert_eq!(
        error(b"d14:failure reason4:full8:retry ini5ee"),
        failure("full", Some(Retry::After(Duration::from_secs(300))))
    );
    assert_eq!(
        error(b"d14:failure reason4:full8:retry in5:nevere"),
        failure("full", Some(Retry::Never))
    );
    assert_eq!(error(&encode_failure("no", None)), failure("no", None));
    assert!(error(b"d14:failure reason0:e").to_string().contains("without a reason"));
}

#[test]
fn a_flood_of_peers_is_cut() {
    let bytes: Vec<u8> = (0..5_000u32)
        .flat_map(|i| {
            let [a, b, c, d] = (0x0a00_0000 + i).to_be_bytes();
            [a, b, c, d, 1, 1]
        })
        .collect();
    let mut body = format!("d5:peers{}:", bytes.len()).into_bytes();
    body.extend(bytes);
    body.push(b'e');
    assert_eq!(parse_announce(&body).unwrap().peers.len(), MAX_PEERS);
}

fn any_peers() -> impl Strategy<Value = Vec<SocketAddr>> {
    let any_v4 = (1u32.., 1u16..)
        .prop_map(|(ip, port)| SocketAddr::new(core::net::Ipv4Addr::from_bits(ip).into(), port));
    let any_v6 = (1u128.., 1u16..)
        .prop_map(|(ip, port)| SocketAddr::new(core::net::Ipv6Addr::from_bits(ip).into(), port));
    (btree_set(any_v4, 0..40), btree_set(any_v6, 0..40))
        .prop_map(|(v4, v6)| v4.into_iter().chain(v6).collect())
}

fn any_response() -> impl Strategy<Value = AnnounceResponse> {
    let counts = any::<[Option<u32>; 3]>();
    let secs = 30u64..86_400;
    let texts = proptest::array::uniform2(proptest::option::of("[!-~]{1,100}"));
    (secs.clone(), proptest::option::of(secs), counts, any_peers(), texts, any::<Option<[u8; 4]>>())
        .prop_map(|(interval, min, counts, peers, [tracker_id, warning], ip)| AnnounceResponse {
            interval: Duration::from_secs(interval),
            min_interval: min.map(Duration::from_secs),
            complete: counts[0],
            incomplete: counts[1],
            downloaded: counts[2],
            peers,
            tracker_id,
            warning,
            external_ip: ip.map(Into::into),
        })
}

#[test]
fn what_was_not_asked_for_in_a_scrape_takes_no_place() {
    let all: Vec<_> = (0..=250u8)
        .map(|i| (WireHash([i; 20]), ScrapeStats { complete: i.into(), ..Default::default() }))
        .collect();
    let body = encode_scrape(&all);
    assert_eq!(parse_scrape(&body).unwrap().len(), MAX_SCRAPE);
    let wanted = [WireHash([240; 20]), WireHash([255; 20])];
    assert_eq!(parse_scrape_of(&body, &wanted), Ok(Vec::from([all[240]])));
}

proptest! {
    #[test]
    fn a_tracker_reads_the_query_a_client_builds(
        hash: [u8; 20], id: [u8; 20], numbers: [u64; 3], port: u16, key: u32, num_want: u32, event in 0..4,
        tracker_id in proptest::option::of("\\PC{0,40}"),
    ) {
        let request = AnnounceRequest {
            info_hash: WireHash(hash),
            peer_id: PeerId(id),
            port,
            uploaded: numbers[0],
            downloaded: numbers[1],
            left: numbers[2],
            event: match event {
                0 => AnnounceEvent::Periodic,
                1 => AnnounceEvent::Started,
                2 => AnnounceEvent::Completed,
                _ => AnnounceEvent::Stopped,
            },
            key,
            num_want,
            tracker_id,
        };
        let url = announce_url("http://t/announce?passkey=1", &request);
        let query = url.split_once('?').unwrap().1;
        let parsed = parse_announce_query(query);
        prop_assert_eq!(parsed, Ok(AnnounceQuery { request, compact: true, no_peer_id: true }));
        prop_assert_eq!(parse_scrape_query(query), Ok(Vec::from([WireHash(hash)])));
    }

    #[test]
    fn a_client_reads_the_answer_a_tracker_builds(response in any_response()) {
        let read = parse_announce(&encode_announce(&response, PeersForm::Compact));
        prop_assert_eq!(read, Ok(response.clone()));
        let ids = [PeerId(*b"-SM0100-0123456789ab"); 3];
        let read = parse_announce(&encode_announce(&response, PeersForm::Dictionary(&ids)));
        prop_assert_eq!(read, Ok(response));
    }

    #[test]
    fn scrapes_survive_the_trip(torrents in btree_map(any::<[u8; 20]>(), any::<[u32; 3]>(), 0..MAX_SCRAPE)) {
        let torrents: Vec<_> = torrents
            .into_iter()
            .map(|(hash, n)| {
                let stats = ScrapeStats { complete: n[0], downloaded: n[1], incomplete: n[2] };
                (WireHash(hash), stats)
            })
            .collect();
        prop_assert_eq!(parse_scrape(&encode_scrape(&torrents)), Ok(torrents));
    }

    /// Whatever a tracker sends is understood within bounds or refused in words.
    #[test]
    fn mutated_answers_never_panic(response in any_response(), edits in vec_of(any::<(prop::sample::Index, u8)>(), 0..6)) {
        let mut body = encode_announce(&response, PeersForm::Compact);
        for (at, byte) in edits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        match parse_announce(&body) {
            Ok(answer) => {
                let again = encode_announce(&answer, PeersForm::Compact);
                prop_assert_eq!(parse_announce(&again), Ok(answer));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
        let _ = parse_scrape(&body);
    }

    #[test]
    fn any_query_and_url_is_read_or_refused(text in "[a-z_=&%0-9+?#/:]{0,120}", raw: String) {
        for text in [text, raw] {
            let _ = parse_announce_query(&text);
            let _ = parse_scrape_query(&text);
            let _ = scrape_url(&text, &[WireHash([0; 20])]);
            prop_assert!(announce_url(&text, &sample()).contains("info_hash=%00%FF"));
        }
    }

    #[test]
    fn any_body_is_read_or_refused(body: Vec<u8>) {
        let _ = parse_announce(&body);
        let _ = parse_scrape(&body);
    }
}
