use super::*;
use data_encoding::HEXLOWER_PERMISSIVE;
use proptest::prelude::*;
use std::format;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::string::ToString;
use std::vec;

fn parsed(datagram: &[u8]) -> Packet {
    Packet::parse(datagram).unwrap()
}

fn bad(datagram: &[u8]) -> KrpcError {
    Packet::parse(datagram).unwrap_err()
}

fn hex(text: &str) -> Vec<u8> {
    let text: std::string::String = text.split_whitespace().collect();
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
}

#[test]
fn the_examples_of_bep_5_are_read_and_written() {
    let id = NodeId(*b"abcdefghij0123456789");
    let target = NodeId(*b"mnopqrstuvwxyz123456");
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    let find =
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe";
    let query = |packet: &Packet| match &packet.body {
        Body::Query(query) => query.clone(),
        other => panic!("{other:?}"),
    };
    let packet = parsed(ping);
    assert_eq!((query(&packet).id, query(&packet).method), (id, Method::Ping));
    assert_eq!(packet.transaction.as_bytes(), b"aa");
    assert_eq!(packet.encode(), ping);
    assert_eq!(query(&parsed(find)).method, Method::FindNode { target });
    assert_eq!(parsed(find).encode(), find);
    let error = parsed(b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee");
    assert_eq!(
        error.body,
        Body::Error(ErrorReply { code: 201, message: "A Generic Error Ocurred".into() })
    );
    let peers = parsed(
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
    );
    let Body::Response(peers) = peers.body else { panic!("a response") };
    let addr = |ip: &[u8; 4], port: &[u8; 2]| {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::from(*ip)), u16::from_be_bytes(*port))
    };
    assert_eq!(peers.values, Some(vec![addr(b"axje", b".u"), addr(b"idht", b"nm")]));
    assert_eq!(peers.token, Token::new(b"aoeusnth"));
}

#[test]
fn what_must_be_there_is_named_when_it_is_not() {
    for (datagram, expected) in [
        (&b"le"[..], KrpcError::NotADict),
        (b"d1:t2:aae", KrpcError::Bad("y")),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe", KrpcError::Bad("t")),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t0:1:y1:qe", KrpcError::Bad("t")),
        (b"d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe", KrpcError::Bad("id")),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q3:get1:t2:aa1:y1:qe", KrpcError::Bad("target")),
        (b"d1:rd2:id20:abcdefghij01234567895:nodes3:abce1:t2:aa1:y1:re", KrpcError::Bad("nodes")),
        (
            b"d1:rd2:id20:abcdefghij01234567897:samples3:abce1:t2:aa1:y1:re",
            KrpcError::Bad("samples"),
        ),
    ] {
        assert_eq!(bad(datagram), expected, "{}", datagram.escape_ascii());
    }
    assert_eq!(bad(&[b'd'; MAX_PACKET + 1]), KrpcError::TooLong);
    let deep = [&b"d1:a"[..], &[b'l'; 30], &[b'e'; 31]].concat();
    assert!(matches!(bad(&deep), KrpcError::Bencode(_)));
    assert_eq!(KrpcError::Bad("token").to_string(), "\"token\" is missing or malformed");
    assert!(Token::new(&[1; MAX_TOKEN + 1]).is_none() && Token::new(b"").is_none());
}

#[test]
fn a_query_with_wrong_arguments_is_refused_by_what_is_wrong() {
    let refusal = |datagram: &[u8]| {
        let (transaction, reply) = ErrorReply::of(datagram, bad(datagram))?;
        assert_eq!(reply.code, 203);
        Some((transaction.as_bytes().to_vec(), reply.message))
    };
    let id = "2:id20:abcdefghij0123456789";
    let query = |arguments: &str, name: &str| {
        format!("d1:ad{id}{arguments}e1:q{}:{name}1:t2:aa1:y1:qe", name.len()).into_bytes()
    };
    for (arguments, name, what) in [
        ("", "find_node", "target"),
        ("6:target3:abc", "find_node", "target"),
        ("9:info_hashi1e", "get_peers", "info_hash"),
        ("9:info_hash20:mnopqrstuvwxyz1234564:porti0e5:token1:x", "announce_peer", "port"),
        ("9:info_hash20:mnopqrstuvwxyz1234564:porti70000e5:token1:x", "announce_peer", "port"),
        ("9:info_hash20:mnopqrstuvwxyz1234564:porti1e", "announce_peer", "token"),
        ("5:token1:x", "put", "v"),
        ("1:k3:abc3:seqi1e3:sig1:x5:token1:x1:v1:x", "put", "k"),
    ] {
        let message = format!("{what} is missing or malformed");
        assert_eq!(refusal(&query(arguments, name)), Some((b"aa".to_vec(), message)), "{name}");
    }
    let headless = refusal(b"d1:q4:ping1:t2:aa1:y1:qe");
    assert_eq!(headless, Some((b"aa".to_vec(), "a is missing or malformed".into())));
    // Nothing of this can or must be answered.
    for silent in [
        &b"d1:q4:ping1:y1:qe"[..],
        b"d1:rd2:id3:abce1:t2:aa1:y1:re",
        b"d1:eli201ee1:t2:aa1:y1:qe1:z",
        b"d1:ele1:t2:aa1:y1:ee",
        b"d1:t2:aa1:y1:xe",
        b"i1e",
    ] {
        assert_eq!(refusal(silent), None);
    }
}

#[test]
fn node_ids_match_addresses_as_in_bep_42() {
    for (ip, id) in [
        ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
        ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
        ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
        ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
        ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
    ] {
        let ip: IpAddr = ip.parse().unwrap();
        let id = NodeId(hex(id).try_into().unwrap());
        assert!(id.is_valid_for(ip), "{ip}");
        assert_eq!(NodeId::for_ip(ip, id.0), id, "{ip}");
        let mut other = id;
        other.0[1] ^= 1;
        assert!(!other.is_valid_for(ip));
        assert!(other.is_valid_for("192.168.1.1".parse().unwrap()));
    }
}

#[test]
fn filters_match_the_vector_of_bep_33() {
    let mut filter = BloomFilter::default();
    assert!(filter.estimate().abs() < 0.001);
    for last in 0..=255 {
        filter.insert(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
    }
    for last in 0..=0x3e7 {
        filter.insert(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)));
    }
    let expected =
        hex("F6C3F5EA A07FFD91 BDE89F77 7F26FB2B FF37BDB8 FB2BBAA2 FD3DDDE7 BACFFF75 EE7CCBAE
        FE5EEDB1 FBFAFF67 F6ABFF5E 43DDBCA3 FD9B9FFD F4FFD3E9 DFF12D1B DF59DB53 DBE9FA5B
        7FF3B8FD FCDE1AFB 8BEDD7BE 2F3EE71E BBBFE93B CDEEFE14 8246C2BC 5DBFF7E7 EFDCF24F
        D8DC7ADF FD8FFFDF DDFFF7A4 BBEEDF5C B95CE81F C7FCFF1F F4FFFFDF E5F7FDCB B7FD79B3
        FA1FC77B FE07FFF9 05B7B7FF C7FEFEFF E0B8370B B0CD3F5B 7F2BD93F EB4386CF DD6F7FD5
        BFAF2E9E BFFFFEEC D67ADBF7 C67F17EF D5D75EBA 6FFEBA7F FF47A91E B1BFBB53 E8ABFB57
        62ABE8FF 237279BF EFBFEEF5 FFC5FEBF DFE5ADFF ADFEE1FB 737FFFFB FD9F6AEF FEEE76B6 FD8F72EF");
    assert_eq!(filter.as_bytes(), expected);
    assert!((filter.estimate() - 1224.9308).abs() < 0.001, "{}", filter.estimate());
}

#[test]
fn items_are_stored_and_signed_as_in_bep_44() {
    let value = b"12:Hello World!";
    let key = hex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548");
    let key = PublicKey(key.try_into().unwrap());
    let target = |id: NodeId| id.to_string();
    assert_eq!(target(immutable_target(value)), "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    assert_eq!(target(mutable_target(&key, b"")), "4a533d47ec9c7d95b1ad75f576cffc641853b750");
    assert_eq!(target(mutable_target(&key, b"foobar")), "411eba73b6f087ca51a3795d9c8c938d365e32c1");
    assert_eq!(signed_bytes(b"", 1, value), b"3:seqi1e1:v12:Hello World!");
    assert_eq!(signed_bytes(b"foobar", 4, value), b"4:salt6:foobar3:seqi4e1:v12:Hello World!");
    let torrent = WireHash([7; 20]);
    assert_eq!(pointed_torrent(&pointer_value(torrent)), Some(torrent));
    assert_eq!(pointed_torrent(value), None);
}

#[test]
fn unknown_questions_keep_their_target() {
    let method = |datagram: &[u8]| match parsed(datagram).body {
        Body::Query(query) => query.method,
        other => panic!("{other:?}"),
    };
    let target = Some(NodeId(*b"mnopqrstuvwxyz123456"));
    assert_eq!(
        method(b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q3:new1:t1:a1:y1:qe"),
        Method::Unknown { target }
    );
    assert_eq!(
        method(b"d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t1:a1:y1:qe"),
        Method::Unknown { target: None }
    );
    let odd = b"d1:eli203e4:a\xff\nbe1:t1:a1:y1:ee";
    assert_eq!(parsed(odd).body, Body::Error(ErrorReply { code: 203, message: "a??b".into() }));
}

#[test]
fn distance_is_a_number_and_shared_bits_its_length() {
    let (a, b) = (NodeId([0; 20]), NodeId([1; 20]));
    assert_eq!((a.shared_bits(&b), a.shared_bits(&a)), (7, 160));
    let mut near = a;
    near.0[19] = 1;
    assert_eq!(a.shared_bits(&near), 159);
    assert!(a.distance(&near) < a.distance(&b));
    assert_eq!(format!("{near:?}"), format!("NodeId({}01)", "00".repeat(19)));
}

fn ids() -> impl Strategy<Value = NodeId> {
    any::<[u8; 20]>().prop_map(NodeId)
}

fn addrs(v6: bool) -> impl Strategy<Value = SocketAddr> {
    (any::<[u8; 16]>(), 1u16..).prop_map(move |(ip, port)| {
        let v4 = Ipv4Addr::new(ip[0] | 1, ip[1], ip[2], ip[3]);
        let ip = if v6 { IpAddr::V6(Ipv6Addr::from(ip)) } else { IpAddr::V4(v4) };
        SocketAddr::new(ip, port)
    })
}

fn nodes(v6: bool) -> impl Strategy<Value = Option<Vec<NodeInfo>>> {
    let node = (ids(), addrs(v6)).prop_map(|(id, addr)| NodeInfo { id, addr });
    prop::option::of(prop::collection::vec(node, 0..9))
}

fn tokens() -> impl Strategy<Value = Token> {
    prop::collection::vec(any::<u8>(), 1..=MAX_TOKEN).prop_map(|bytes| Token::new(&bytes).unwrap())
}

fn items() -> impl Strategy<Value = Item> {
    let value = prop::collection::vec(any::<u8>(), 0..200)
        .prop_map(|bytes| [format!("{}:", bytes.len()).as_bytes(), &bytes].concat());
    let signed = (any::<[u8; 32]>(), 0i64.., any::<[u8; 32]>()).prop_map(|(key, seq, half)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&half);
        Signed { key: PublicKey(key), seq, signature: Signature(signature) }
    });
    (value, prop::option::of(signed)).prop_map(|(value, signed)| Item { value, signed })
}

fn methods() -> impl Strategy<Value = Method> {
    let hash = || any::<[u8; 20]>().prop_map(WireHash);
    let port =
        prop_oneof![Just(AnnouncedPort::Implied), (1u16..).prop_map(AnnouncedPort::Explicit)];
    let salt = prop::collection::vec(any::<u8>(), 0..70);
    prop_oneof![
        Just(Method::Ping),
        ids().prop_map(|target| Method::FindNode { target }),
        ids().prop_map(|target| Method::SampleInfohashes { target }),
        (ids(), any::<Option<i64>>()).prop_map(|(target, seq)| Method::Get { target, seq }),
        prop::option::of(ids()).prop_map(|target| Method::Unknown { target }),
        (hash(), any::<bool>(), any::<bool>()).prop_map(|(info_hash, no_seeds, scrape)| {
            Method::GetPeers { info_hash, no_seeds, scrape }
        }),
        (hash(), port, tokens(), any::<bool>()).prop_map(|(info_hash, port, token, seed)| {
            Method::AnnouncePeer { info_hash, port, token, seed }
        }),
        (tokens(), items(), any::<Option<i64>>(), salt).prop_map(|(token, item, cas, salt)| {
            let mutable = item.signed.is_some();
            Method::Put(Box::new(Put {
                token,
                item,
                cas: cas.filter(|_| mutable),
                salt: if mutable { salt } else { Vec::new() },
            }))
        }),
    ]
}

fn responses() -> impl Strategy<Value = Response> {
    let filters = any::<[u8; 32]>().prop_map(|bytes| {
        let seeds = BloomFilter::from_bytes(&bytes.repeat(8)).unwrap();
        Box::new(Scrape { seeds, peers: BloomFilter::default() })
    });
    let hashes = prop::collection::vec(any::<[u8; 20]>().prop_map(WireHash), 0..8);
    let samples = (hashes, 0u64..=21_600, 0u64..1 << 60).prop_map(|(hashes, secs, total)| {
        Samples { hashes, interval: Duration::from_secs(secs), total }
    });
    let values = prop::collection::vec(prop_oneof![addrs(false), addrs(true)], 0..8);
    (
        (ids(), nodes(false), nodes(true), prop::option::of(tokens())),
        (prop::option::of(values), prop::option::of(filters), prop::option::of(samples)),
        (prop::option::of(items()), any::<Option<i64>>()),
    )
        .prop_map(|((id, nodes4, nodes6, token), (values, scrape, samples), (item, seq))| {
            let signed = item.as_ref().and_then(|item| item.signed);
            let seq = signed.map(|signed| signed.seq).or(seq);
            let item = item.map(Box::new);
            Response { id, nodes4, nodes6, token, values, scrape, samples, item, seq }
        })
}

fn bodies() -> impl Strategy<Value = Body> {
    let queries = (ids(), methods(), any::<bool>(), any::<bool>())
        .prop_map(|(id, method, v4, v6)| Body::Query(Query { id, method, want: Want { v4, v6 } }));
    let errors = (any::<i64>(), "[ -~]{0,200}")
        .prop_map(|(code, message)| Body::Error(ErrorReply { code, message }));
    prop_oneof![queries, responses().prop_map(|r| Body::Response(Box::new(r))), errors]
}

fn packets() -> impl Strategy<Value = Packet> {
    let transaction = prop::collection::vec(any::<u8>(), 1..=MAX_TRANSACTION);
    let addr = prop::option::of(prop_oneof![addrs(false), addrs(true)]);
    (transaction, any::<Option<[u8; 4]>>(), any::<bool>(), addr, bodies()).prop_map(
        |(transaction, client, read_only, your_addr, body)| Packet {
            transaction: TransactionId::new(&transaction).unwrap(),
            client,
            read_only,
            your_addr,
            body,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(packet in packets()) {
        let bytes = packet.encode();
        if bytes.len() <= MAX_PACKET {
            prop_assert_eq!(Packet::parse(&bytes), Ok(packet));
        } else {
            prop_assert_eq!(Packet::parse(&bytes), Err(KrpcError::TooLong));
        }
    }

    #[test]
    fn damaged_packets_are_survived(
        packet in packets(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = packet.encode();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
            prop_assert!(Packet::parse(&bytes).is_err(), "a packet cut short is none");
        } else {
            bytes[at] = byte;
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.encode().len() <= bytes.len() + 64);
            }
        }
    }

    #[test]
    fn ids_made_for_an_address_are_valid_for_it(addr in prop_oneof![addrs(false), addrs(true)], random in any::<[u8; 20]>()) {
        prop_assert!(NodeId::for_ip(addr.ip(), random).is_valid_for(addr.ip()));
    }
}
