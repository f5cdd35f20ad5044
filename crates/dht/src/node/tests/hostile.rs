//! What others may do to a node, datagram by datagram.

use super::*;

#[test]
fn only_a_fresh_token_of_ones_own_permits_to_announce() {
    let (mut node, from) = (started(), addr(9));
    let get = query(Method::GetPeers { info_hash: HASH, no_seeds: false, scrape: false });
    let token = response(&replies(&mut node, START, from, &get)).token.unwrap();
    let announce = |token: &Token| {
        query(Method::AnnouncePeer {
            info_hash: HASH,
            port: AnnouncedPort::Explicit(1),
            token: token.clone(),
            seed: false,
        })
    };
    let stranger = replies(&mut node, START, addr(8), &announce(&token));
    assert_eq!(refusal(&stranger), 203);
    let forged = Token::new(b"forged").unwrap();
    assert_eq!(refusal(&replies(&mut node, START, from, &announce(&forged))), 203);
    response(&replies(&mut node, START, from, &announce(&token)));
    assert_eq!(response(&replies(&mut node, START, from, &get)).values.unwrap().len(), 1);
    let late = START + Duration::from_secs(11 * 60);
    node.handle_timeout(START + Duration::from_secs(5 * 60), &mut Outbox::new());
    node.handle_timeout(late, &mut Outbox::new());
    assert_eq!(refusal(&replies(&mut node, late, from, &announce(&token))), 203);
    let put = Put {
        token: forged,
        item: Item { value: b"i1e".into(), signed: None },
        cas: None,
        salt: vec![],
    };
    assert_eq!(refusal(&replies(&mut node, late, from, &query(Method::Put(put.into())))), 203);
    let unknown = query(Method::Unknown { target: None });
    assert_eq!(refusal(&replies(&mut node, late, from, &unknown)), 204);
}

#[test]
fn a_stranger_gets_no_more_than_three_times_what_it_sent() {
    let mut net = Net::new(30);
    for n in 0..25 {
        net.call(n, |node, now, out| node.announce(now, HASH, AnnouncedPort::Implied, false, out));
    }
    let big = [b"900:", &[b'x'; 900][..]].concat();
    let item = Item { value: big, signed: None };
    let target = immutable_target(&item.value);
    net.call(1, |node, now, out| node.put_item(now, item, vec![], None, out)).unwrap();
    net.run(Duration::from_secs(30));
    let questions = [
        Method::Ping,
        Method::FindNode { target: NodeId([9; 20]) },
        Method::GetPeers { info_hash: HASH, no_seeds: false, scrape: true },
        Method::Get { target, seq: None },
        Method::SampleInfohashes { target },
        Method::Unknown { target: Some(target) },
        Method::Unknown { target: None },
    ];
    let mut answered = 0;
    for n in 0..30 {
        for (port, question) in (1..).zip(&questions) {
            let from = SocketAddr::from(([99, u8::try_from(n).unwrap(), 1, 1], port));
            let datagram = query(question.clone());
            let mut out = Outbox::new();
            net.nodes[n].handle_packet(net.now, from, &datagram, &mut out);
            let mut bytes = 0;
            for effect in out.drain() {
                let Effect::Send(to, sent) = effect else { continue };
                assert_eq!(to, from);
                bytes += sent.len();
                answered += 1;
            }
            assert!(bytes <= 3 * datagram.len(), "{bytes} for {}: {question:?}", datagram.len());
        }
    }
    assert!(answered >= 30 * questions.len(), "{answered}");
    // One who is known gets all of it.
    let get = query(Method::Get { target, seq: None });
    let full = (0..30).filter(|&n| {
        let now = net.now;
        let sent = replies(&mut net.nodes[n], now, addr(0), &get);
        sent.iter().any(|p| matches!(&p.body, Body::Response(r) if r.item.is_some()))
    });
    assert!(full.count() >= 4);
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut node = started();
    let mut out = Outbox::new();
    node.handle_endpoints(START, &[addr(2)], &mut out);
    let Some(Effect::Send(_, ping)) = out.drain().next() else { panic!("a ping") };
    let number = Packet::parse(&ping).unwrap().transaction;
    let answer = |id: NodeId| {
        let response = Response { id, ..Response::default() };
        packet(number.as_bytes(), Body::Response(response.into()))
    };
    let id = NodeId::for_ip(addr(2).ip(), [1; 20]);
    node.handle_packet(START, addr(3), &answer(id), &mut out);
    let other_port = SocketAddr::new(addr(2).ip(), 6882);
    node.handle_packet(START, other_port, &answer(id), &mut out);
    let own = node.id();
    assert_eq!(node.node_count(), 0);
    node.handle_packet(START, addr(2), &answer(id), &mut out);
    assert_eq!(node.node_count(), 1);
    node.handle_packet(START, addr(2), &answer(own), &mut out);
    assert_eq!(node.node_count(), 1, "answered already");
    let v6 = SocketAddr::from(([1, 2, 3, 4, 5, 6, 7, 8], 1));
    assert!(replies(&mut node, START, v6, &query(Method::Ping)).is_empty(), "not our network");
}

#[test]
fn a_liar_cannot_send_us_to_our_own_network() {
    let mut node = started();
    let mut out = Outbox::new();
    node.handle_endpoints(START, &[addr(2)], &mut out);
    let mut asked = Vec::new();
    let id = NodeId::for_ip(addr(2).ip(), [1; 20]);
    let named = ["192.168.0.1:1", "127.0.0.1:1", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1"];
    let named: Vec<SocketAddr> = named.map(|text| text.parse().unwrap()).into();
    let nodes = (0..).zip(&named).map(|(n, &addr)| NodeInfo { id: NodeId([n; 20]), addr });
    let response = Response { id, nodes4: Some(nodes.collect()), ..Response::default() };
    for round in 0..20 {
        let now = START + Duration::from_secs(round);
        let sent: Vec<Effect> = out.drain().collect();
        for effect in sent {
            let Effect::Send(to, datagram) = effect else { continue };
            asked.push(to);
            let number = Packet::parse(&datagram).unwrap().transaction;
            let answer = packet(number.as_bytes(), Body::Response(response.clone().into()));
            node.handle_packet(now, to, &answer, &mut out);
        }
        node.handle_timeout(now, &mut out);
    }
    assert!(asked.len() >= 2, "it was asked for nodes");
    assert!(named.iter().all(|addr| !asked.contains(addr)), "{asked:?}");
}

#[test]
fn a_flood_is_served_in_part_and_memory_does_not_grow() {
    let mut node = started();
    let ping = query(Method::Ping);
    let loud = (0..1000).filter(|_| !replies(&mut node, START, addr(9), &ping).is_empty());
    assert!(loud.count() <= 50);
    let mut sent = 0;
    for n in 0..20_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let from = SocketAddr::from(([60 + a, b, c, 1], 1));
        sent += replies(&mut node, START, from, &ping).len();
    }
    let bytes = node.config.answer_bytes.1 as usize;
    assert!(sent <= bytes / 60 + 100, "{sent}");
    assert!(node.requests.next_timeout().is_some() && node.node_count() == 0);
}

/// A node that has asked the one at `addr(2)` whether it is there, and the number of that question.
fn asking() -> (Dht, TransactionId) {
    let mut node = started();
    let mut out = Outbox::new();
    node.handle_endpoints(START, &[addr(2)], &mut out);
    let Some(Effect::Send(_, ping)) = out.drain().next() else { panic!("a ping") };
    (node, Packet::parse(&ping).unwrap().transaction)
}

/// What the node at `addr(2)` would answer to question `number`.
fn pong(number: &[u8]) -> Vec<u8> {
    let id = NodeId::for_ip(addr(2).ip(), [1; 20]);
    packet(number, Body::Response(Response { id, ..Response::default() }.into()))
}

#[test]
fn a_truncated_answer_is_none() {
    let (mut node, number) = asking();
    let whole = pong(number.as_bytes());
    for cut in 0..whole.len() {
        assert!(replies(&mut node, START, addr(2), &whole[..cut]).is_empty());
        assert_eq!(node.node_count(), 0, "{cut} bytes of {}", whole.len());
    }
    let longer = [&whole[..], b"e"].concat();
    replies(&mut node, START, addr(2), &longer);
    assert_eq!(node.node_count(), 0, "something stands behind it");
    replies(&mut node, START, addr(2), &whole);
    assert_eq!(node.node_count(), 1);
}

#[test]
fn truncated_questions_are_refused_at_most() {
    let (mut node, _) = asking();
    let get = query(Method::GetPeers { info_hash: HASH, no_seeds: false, scrape: false });
    let token = response(&replies(&mut node, START, addr(9), &get)).token.unwrap();
    let announce = query(Method::AnnouncePeer {
        info_hash: HASH,
        port: AnnouncedPort::Implied,
        token,
        seed: false,
    });
    for cut in 0..announce.len() {
        let sent = replies(&mut node, START, addr(9), &announce[..cut]);
        assert!(sent.is_empty(), "{cut}: not even bencode");
    }
    assert!(!node.has_peer(&HASH, addr(9)));
    response(&replies(&mut node, START, addr(9), &announce));
    assert!(node.has_peer(&HASH, addr(9)));
}

/// A ping with `padding`, a bencoded value, among its arguments.
fn padded(padding: &[u8]) -> Vec<u8> {
    let head = b"d1:ad2:id20:abcdefghij01234567891:x";
    [head, padding, b"e1:q4:ping1:t2:aa1:y1:qe"].concat()
}

#[test]
fn huge_and_deeply_nested_questions_are_not_answered() {
    let mut node = started();
    let string =
        |len: usize| padded(&[std::format!("{len}:").as_bytes(), &vec![b'x'; len]].concat());
    let overhead = string(1000).len() - 1000;
    let mut answered = |datagram: &[u8]| !replies(&mut node, START, addr(9), datagram).is_empty();
    let most = samara_wire::krpc::MAX_PACKET;
    assert!(answered(&string(most - overhead)));
    assert!(!answered(&string(most - overhead + 1)));
    assert!(!answered(&string(60_000)));
    let nested = |depth: usize| padded(&[vec![b'l'; depth], vec![b'e'; depth]].concat());
    assert!(answered(&nested(10)));
    for depth in [17, 100, 700] {
        assert!(!answered(&nested(depth)), "{depth}");
    }
    let bottomless = vec![b'd'; most];
    assert!(!answered(&bottomless));
    assert!(!answered(&padded(b"9999999999999999999:x")), "a length nobody has");
}

#[test]
fn answers_with_a_foreign_number_count_for_nothing() {
    let (mut node, number) = asking();
    let mut out = Outbox::new();
    node.handle_endpoints(START, &[addr(3)], &mut out);
    let Some(Effect::Send(_, other)) = out.drain().next() else { panic!("a ping") };
    let other = Packet::parse(&other).unwrap().transaction;
    let own = number.as_bytes();
    let wrong: [&[u8]; 6] = [
        other.as_bytes(),
        &own[..3],
        &[own, b"x"].concat(),
        &[b"\0\0", own].concat(),
        b"aa",
        &[own[0] ^ 1, own[1], own[2], own[3]],
    ];
    for number in wrong {
        replies(&mut node, START, addr(2), &pong(number));
        assert_eq!(node.node_count(), 0, "{number:?}");
    }
    replies(&mut node, START, addr(2), &pong(own));
    assert_eq!(node.node_count(), 1);
}

#[test]
fn a_forged_source_ends_no_question_and_proves_nothing() {
    let (mut node, number) = asking();
    let error = packet(number.as_bytes(), Body::Error(ErrorReply::new(ErrorCode::Generic)));
    let forgers = [addr(3), SocketAddr::new(addr(2).ip(), 1)];
    for from in forgers {
        assert!(replies(&mut node, START, from, &error).is_empty());
        assert!(replies(&mut node, START, from, &pong(number.as_bytes())).is_empty());
        assert!(!node.proven.contains(START, &from));
    }
    let query = query(Method::Ping);
    response(&replies(&mut node, START, addr(4), &query));
    assert!(!node.proven.contains(START, &addr(4)), "a question proves nothing");
    replies(&mut node, START, addr(2), &pong(number.as_bytes()));
    assert!(node.proven.contains(START, &addr(2)) && node.node_count() == 1);
}

#[test]
fn a_token_for_an_item_is_for_one_address_one_target_and_ten_minutes() {
    let mut node = started();
    let put = |token: &Token, value: &[u8]| {
        let item = Item { value: value.into(), signed: None };
        query(Method::Put(Put { token: token.clone(), item, cas: None, salt: vec![] }.into()))
    };
    let get = query(Method::Get { target: immutable_target(b"i1e"), seq: None });
    let token = response(&replies(&mut node, START, addr(9), &get)).token.unwrap();
    let minutes = |n: u64| START + Duration::from_secs(n * 60);
    let other_port = SocketAddr::new(addr(9).ip(), 1);
    assert_eq!(refusal(&replies(&mut node, START, addr(8), &put(&token, b"i1e"))), 203);
    assert_eq!(refusal(&replies(&mut node, START, addr(9), &put(&token, b"i2e"))), 203);
    assert!(node.items.get(&immutable_target(b"i1e")).is_none());
    response(&replies(&mut node, START, other_port, &put(&token, b"i1e")));
    assert!(node.items.get(&immutable_target(b"i1e")).is_some());
    for n in 1..=10 {
        node.handle_timeout(minutes(n), &mut Outbox::new());
        if n == 9 {
            response(&replies(&mut node, minutes(n), addr(9), &put(&token, b"i1e")));
        }
    }
    assert_eq!(refusal(&replies(&mut node, minutes(10), addr(9), &put(&token, b"i1e"))), 203);
}

/// A question that lacks its argument.
const NO_TARGET: &[u8] = b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe";

#[test]
fn a_malformed_question_is_refused_within_all_limits() {
    let mut node = started();
    let sent = replies(&mut node, START, addr(9), NO_TARGET);
    assert_eq!(refusal(&sent), 203);
    assert_eq!(sent[0].transaction.as_bytes(), b"aa");
    let mut lengths = |datagram: &[u8], from: SocketAddr| -> usize {
        let mut out = Outbox::new();
        node.handle_packet(START, from, datagram, &mut out);
        let sent = out.drain().map(|effect| match effect {
            Effect::Send(to, sent) => {
                assert_eq!(to, from);
                sent.len()
            }
            Effect::Event(_) => 0,
        });
        sent.sum()
    };
    // As short as it can be, with a long transaction id to be repeated, and in between.
    let [short, long] =
        [1, 32].map(|len| std::format!("d1:t{len}:{}1:y1:qe", "t".repeat(len)).into_bytes());
    for datagram in [&short[..], &long, NO_TARGET, b"d1:q4:ping1:t1:a1:y1:qe"] {
        let sent = lengths(datagram, addr(8));
        assert!(sent <= 3 * datagram.len(), "{sent} for {}", datagram.len());
    }
    assert!(lengths(b"d1:q4:ping1:t1:a1:y1:qe", addr(8)) > 0, "the code alone has room");
    let served = (0..1000).filter(|_| lengths(NO_TARGET, addr(7)) > 0).count();
    assert!((10..=50).contains(&served), "{served}");
    let error = packet(b"aa", Body::Error(ErrorReply::new(ErrorCode::Generic)));
    assert_eq!(lengths(&error, addr(6)), 0, "an error is never answered");
    assert_eq!(lengths(b"d1:rd2:id3:abce1:t2:aa1:y1:re", addr(6)), 0, "nor an answer");
    let mut shy = Dht::new(START, DhtConfig { read_only: true, ..config(3) });
    shy.handle_start(START, &mut Outbox::new());
    assert!(replies(&mut shy, START, addr(9), NO_TARGET).is_empty());
}

proptest! {
    #[test]
    fn any_datagram_is_survived_and_unasked_ones_are_not_amplified(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut node = started();
        let mut mutated = query(Method::FindNode { target: NodeId([1; 20]) });
        let at = at.index(mutated.len());
        mutated[at] = byte;
        for datagram in [bytes, mutated] {
            let mut out = Outbox::new();
            node.handle_packet(START, addr(9), &datagram, &mut out);
            let sent: usize = out.drain().map(|effect| match effect {
                Effect::Send(_, sent) => sent.len(),
                Effect::Event(_) => 0,
            }).sum();
            prop_assert!(sent <= 3 * datagram.len());
        }
    }
}
