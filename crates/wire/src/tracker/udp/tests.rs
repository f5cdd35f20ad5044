use super::*;
use crate::tracker::MAX_PEERS;
use alloc::vec;
use core::net::SocketAddr;
use core::time::Duration;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use std::string::ToString;

fn sample() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: WireHash([0xaa; 20]),
        peer_id: PeerId(*b"-SM0100-0123456789ab"),
        port: 6881,
        uploaded: 3,
        downloaded: 1,
        left: 2,
        event: AnnounceEvent::Started,
        key: 0x0102_0304,
        num_want: 50,
        tracker_id: None,
    }
}

fn encoded(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out);
    out
}

#[test]
fn requests_are_laid_out_as_bep_15_says() {
    let transaction = TransactionId(0x0a0b_0c0d);
    assert_eq!(
        encoded(&Request::Connect { transaction }),
        [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 10, 11, 12, 13]
    );
    let bytes = encoded(&Request::Announce {
        connection: ConnectionId(7),
        transaction,
        announce: sample(),
        url_data: String::new(),
    });
    assert_eq!(bytes.len(), 98);
    assert_eq!(bytes[..16], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 10, 11, 12, 13]);
    assert_eq!((bytes[63], bytes[71], bytes[79]), (1, 2, 3), "downloaded, left, uploaded");
    assert_eq!(bytes[80..], [0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 50, 0x1a, 0xe1]);
}

#[test]
fn the_path_and_query_ride_along() {
    let announce = |url_data: &str| Request::Announce {
        connection: ConnectionId(7),
        transaction: TransactionId(1),
        announce: sample(),
        url_data: url_data.to_string(),
    };
    let bytes = encoded(&announce("/a?b"));
    assert_eq!(&bytes[98..], b"\x02\x04/a?b");
    let long = announce(&"x".repeat(600));
    assert_eq!(Request::parse(&encoded(&long)), Ok(long));
    // Options we do not know are passed over, and nothing is read behind the end of options.
    let mut options = encoded(&announce(""));
    options.extend(b"\x01\x09\x02zz\x02\x01/\x02\x01q\x00\x02\xff");
    assert_eq!(Request::parse(&options), Ok(announce("/q")));
    let mut cut = encoded(&announce(""));
    cut.extend(b"\x02\x05/a");
    assert_eq!(Request::parse(&cut), Err(DatagramError::Option));
}

#[test]
fn url_data_that_is_no_text_stays_within_its_bound() {
    let mut datagram = encoded(&Request::Announce {
        connection: ConnectionId(7),
        transaction: TransactionId(1),
        announce: sample(),
        url_data: String::new(),
    });
    for _ in 0..7 {
        datagram.extend([2, 255]);
        datagram.extend([0xff; 255]);
    }
    let read = Request::parse(&datagram).unwrap();
    let Request::Announce { url_data, .. } = &read else { panic!("{read:?}") };
    assert!((1990..=2000).contains(&url_data.len()), "{}", url_data.len());
    assert_eq!(Request::parse(&encoded(&read)), Ok(read));
}

#[test]
fn answers_are_read_in_the_form_of_their_family() {
    let mut datagram = vec![0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 2];
    datagram.extend([10, 0, 0, 1, 0x1a, 0xe1, 10, 0, 0, 2, 0, 0, 10, 0, 0, 1, 0x1a, 0xe1]);
    let (transaction, response) = Response::parse(&datagram, Family::V4).unwrap();
    let Response::Announce(answer) = response else { panic!("{response:?}") };
    assert_eq!(transaction, TransactionId(9));
    assert_eq!(answer.interval, Duration::from_secs(1800));
    assert_eq!((answer.complete, answer.incomplete), (Some(2), Some(1)));
    assert_eq!(answer.peers, ["10.0.0.1:6881".parse::<SocketAddr>().unwrap()]);
    let (_, response) = Response::parse(&datagram, Family::V6).unwrap();
    let Response::Announce(answer) = response else { panic!("{response:?}") };
    assert_eq!(answer.peers.len(), 1);
}

#[test]
fn what_is_no_answer_is_refused() {
    assert_eq!(Response::parse(&[0; 7], Family::V4), Err(DatagramError::Short));
    assert_eq!(Response::parse(&[0; 12], Family::V4), Err(DatagramError::Short));
    assert_eq!(Response::parse(&[1; 40], Family::V4), Err(DatagramError::Action(0x0101_0101)));
    assert_eq!(Request::parse(&[0; 16]), Err(DatagramError::Protocol));
    let error = Response::parse(b"\0\0\0\x03\0\0\0\x01bad\x1b[2J", Family::V4).unwrap().1;
    assert_eq!(error, Response::Error("bad[2J".to_string()));
}

#[test]
fn a_huge_answer_gives_a_bounded_number_of_peers() {
    let mut datagram = vec![0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    for i in 0..10_000u32 {
        datagram.extend((0x0a00_0000 + i).to_be_bytes());
        datagram.extend([1, 2]);
    }
    let (_, response) = Response::parse(&datagram, Family::V4).unwrap();
    let Response::Announce(answer) = response else { panic!("{response:?}") };
    assert_eq!(answer.peers.len(), MAX_PEERS);
    assert_eq!(answer.interval, Duration::from_secs(30));
}

fn any_request() -> impl Strategy<Value = Request> {
    let event = prop_oneof![
        Just(AnnounceEvent::Periodic),
        Just(AnnounceEvent::Started),
        Just(AnnounceEvent::Completed),
        Just(AnnounceEvent::Stopped)
    ];
    let announce = (any::<([u8; 20], [u8; 20], u16, [u64; 3], u32, u32)>(), event).prop_map(
        |((hash, id, port, counters, key, num_want), event)| AnnounceRequest {
            info_hash: WireHash(hash),
            peer_id: PeerId(id),
            port,
            uploaded: counters[0],
            downloaded: counters[1],
            left: counters[2],
            event,
            key,
            num_want,
            tracker_id: None,
        },
    );
    let ids = any::<(u64, u32)>().prop_map(|(c, t)| (ConnectionId(c), TransactionId(t)));
    prop_oneof![
        any::<u32>().prop_map(|t| Request::Connect { transaction: TransactionId(t) }),
        (ids.clone(), announce, "[ -~]{0,600}").prop_map(
            |((connection, transaction), announce, url_data)| Request::Announce {
                connection,
                transaction,
                announce,
                url_data
            }
        ),
        (ids, vec_of(any::<[u8; 20]>(), 0..MAX_SCRAPE)).prop_map(
            |((connection, transaction), hashes)| Request::Scrape {
                connection,
                transaction,
                hashes: hashes.into_iter().map(WireHash).collect()
            }
        ),
    ]
}

fn any_response() -> impl Strategy<Value = Response> {
    let peers = proptest::collection::btree_set((1u32..1_000_000, 1u16..), 0..50);
    let announce = (30u64..86_400, any::<[u32; 2]>(), peers).prop_map(|(secs, counts, peers)| {
        Response::Announce(AnnounceResponse {
            interval: Duration::from_secs(secs),
            complete: Some(counts[0]),
            incomplete: Some(counts[1]),
            peers: peers
                .into_iter()
                .map(|(ip, port)| SocketAddr::new(core::net::Ipv4Addr::from_bits(ip).into(), port))
                .collect(),
            ..AnnounceResponse::default()
        })
    });
    prop_oneof![
        any::<u64>().prop_map(|c| Response::Connect(ConnectionId(c))),
        announce,
        vec_of(any::<[u32; 3]>(), 0..MAX_SCRAPE).prop_map(|torrents| Response::Scrape(
            torrents
                .into_iter()
                .map(|[complete, downloaded, incomplete]| ScrapeStats {
                    complete,
                    downloaded,
                    incomplete
                })
                .collect()
        )),
        "[!-~]{0,200}".prop_map(Response::Error),
    ]
}

proptest! {
    #[test]
    fn requests_survive_the_trip(request in any_request()) {
        prop_assert_eq!(Request::parse(&encoded(&request)), Ok(request));
    }

    #[test]
    fn responses_survive_the_trip(response in any_response(), transaction: u32) {
        let transaction = TransactionId(transaction);
        let mut bytes = Vec::new();
        response.encode(transaction, Family::V4, &mut bytes);
        prop_assert_eq!(Response::parse(&bytes, Family::V4), Ok((transaction, response)));
    }

    /// Nothing that arrives makes a parser panic, and what it understood can be said again.
    #[test]
    fn any_datagram_is_read_or_refused(
        mut bytes in vec_of(any::<u8>(), 0..300),
        action in 0u8..5,
        at in 0usize..16,
        v6: bool,
    ) {
        // Put a plausible action where each side expects one.
        for start in [0, 8] {
            if let Some(field) = bytes.get_mut(start..start + 4) {
                field.copy_from_slice(&[0, 0, 0, action]);
            }
        }
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        let family = if v6 { Family::V6 } else { Family::V4 };
        if let Ok(request) = Request::parse(&bytes) {
            prop_assert_eq!(Request::parse(&encoded(&request)), Ok(request));
        }
        if let Ok((transaction, response)) = Response::parse(&bytes, family) {
            let mut again = Vec::new();
            response.encode(transaction, family, &mut again);
            prop_assert_eq!(Response::parse(&again, family), Ok((transaction, response)));
        }
    }

    #[test]
    fn mutated_requests_are_read_or_refused(request in any_request(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = encoded(&request);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(request) = Request::parse(&bytes) {
            prop_assert_eq!(Request::parse(&encoded(&request)), Ok(request));
        }
    }
}
