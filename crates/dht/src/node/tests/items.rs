//! Items (BEP 44, 46) in small networks.

use super::*;

#[test]
fn items_are_put_found_and_moved_forward() {
    let mut net = Net::new(20);
    let plain = Item { value: b"12:Hello World!".into(), signed: None };
    let key = SecretKey::from_seed(&[1; 32]);
    let (salt, first) = (b"news".to_vec(), key.sign(b"news", 1, b"i1e"));
    let second = key.sign(b"news", 2, b"i2e");
    for item in [plain.clone(), first] {
        let salt = if item.signed.is_some() { salt.clone() } else { vec![] };
        let put = net.call(4, |node, now, out| node.put_item(now, item, salt, None, out));
        net.run(Duration::from_secs(10));
        assert_eq!(net.outcome(4, put.unwrap()).stored, 8);
    }
    let put = net
        .call(5, |node, now, out| node.put_item(now, second.clone(), salt.clone(), Some(1), out));
    net.run(Duration::from_secs(10));
    assert_eq!(net.outcome(5, put.unwrap()).stored, 8);
    let stale = net.call(5, |node, now, out| {
        node.put_item(now, key.sign(b"news", 3, b"i3e"), salt.clone(), Some(1), out)
    });
    net.run(Duration::from_secs(10));
    assert_eq!(net.outcome(5, stale.unwrap()).stored, 0, "cas");
    net.call(9, |node, now, out| node.get_item(now, immutable_target(&plain.value), vec![], out));
    let target = mutable_target(&key.public(), b"news");
    net.call(10, |node, now, out| node.get_item(now, target, salt, out));
    net.run(Duration::from_secs(10));
    assert_eq!((net.items(9), net.items(10)), (vec![plain], vec![second]));
}

#[test]
fn what_no_node_would_take_is_not_put() {
    let mut node = Dht::new(START, config(1));
    let mut out = Outbox::new();
    let mut put = |item: Item, salt: usize| {
        node.put_item(START, item, vec![0; salt], None, &mut out).unwrap_err()
    };
    let plain = |value: &[u8]| Item { value: value.into(), signed: None };
    assert_eq!(put(plain(b"hello"), 0), PutError::NotBencode);
    assert_eq!(put(plain(&[b'1'; 1001]), 0), PutError::TooBig);
    assert_eq!(put(plain(b"i1e"), 65), PutError::SaltTooBig);
    let signed = SecretKey::from_seed(&[1; 32]).sign(b"", 1, b"i1e");
    assert_eq!(put(Item { value: b"i2e".into(), ..signed }, 0), PutError::BadSignature);
}

const HOUR: Duration = Duration::from_secs(3600);

/// What somebody who asks now is given.
fn got(net: &mut Net, n: usize, target: NodeId) -> Vec<Item> {
    net.events.clear();
    net.call(n, |node, now, out| node.get_item(now, target, vec![], out));
    net.run(Duration::from_secs(10));
    net.items(n)
}

#[test]
fn an_item_is_put_again_until_it_is_withdrawn_and_then_forgotten() {
    let mut net = Net::new(12);
    let item = Item { value: b"5:hello".into(), signed: None };
    let target = immutable_target(&item.value);
    net.call(4, |node, now, out| node.put_item(now, item.clone(), vec![], None, out)).unwrap();
    net.run(HOUR * 3);
    assert_eq!(got(&mut net, 9, target), [item]);
    net.nodes[4].withdraw_item(&target);
    net.run(HOUR * 2);
    net.run(Duration::from_secs(120));
    assert!(got(&mut net, 9, target).is_empty());
}

#[test]
fn whoever_put_an_older_item_learns_of_the_newer_and_lets_go() {
    let mut net = Net::new(12);
    let key = SecretKey::from_seed(&[1; 32]);
    let (first, second) = (key.sign(b"", 1, b"i1e"), key.sign(b"", 2, b"i2e"));
    net.call(4, |node, now, out| node.put_item(now, first, vec![], None, out)).unwrap();
    net.run(Duration::from_secs(60));
    assert!(net.nodes[4].upkeep.next_timeout().is_some());
    net.call(5, |node, now, out| node.put_item(now, second.clone(), vec![], None, out)).unwrap();
    net.run(HOUR);
    assert_eq!(net.items(4), vec![second.clone()]);
    assert_eq!(net.nodes[4].upkeep.next_timeout(), None);
    assert!(net.nodes[5].upkeep.next_timeout().is_some());
    let found = got(&mut net, 9, mutable_target(&key.public(), b""));
    assert_eq!(found.last(), Some(&second));
}

#[test]
fn what_was_refused_on_its_condition_is_not_put_again() {
    let mut net = Net::new(12);
    let key = SecretKey::from_seed(&[1; 32]);
    let put = |net: &mut Net, n: usize, seq, cas| {
        let item = key.sign(b"", seq, b"i1e");
        net.call(n, |node, now, out| node.put_item(now, item, vec![], cas, out)).unwrap();
        net.run(Duration::from_secs(60));
        net.nodes[n].upkeep.next_timeout().is_some()
    };
    assert!(put(&mut net, 4, 3, Some(9)), "nothing was there to compare");
    assert!(!put(&mut net, 5, 4, Some(1)));
    assert!(put(&mut net, 6, 4, Some(3)));
}

#[test]
fn a_watched_item_is_followed_and_lives_as_long_as_somebody_does() {
    let mut net = Net::new(12);
    let key = SecretKey::from_seed(&[1; 32]);
    let target = mutable_target(&key.public(), b"");
    let version = |seq: i64| key.sign(b"", seq, std::format!("i{seq}e").as_bytes());
    let put = |net: &mut Net, seq| {
        net.call(4, |node, now, out| node.put_item(now, version(seq), vec![], None, out)).unwrap();
        net.run(Duration::from_secs(10));
        net.nodes[4].withdraw_item(&target);
    };
    put(&mut net, 1);
    let watch = net
        .call(9, |node, now, out| node.watch_item(now, &key.public(), vec![], None, out).unwrap());
    let known = net.call(8, |node, now, out| {
        node.watch_item(now, &key.public(), vec![], Some(1), out).unwrap()
    });
    net.run(HOUR * 3);
    assert_eq!((net.items(9), net.items(8)), (vec![version(1)], vec![]), "once, and only news");
    assert_eq!(got(&mut net, 10, target), [version(1)], "those who follow it keep it alive");
    net.events.clear();
    put(&mut net, 2);
    net.run(crate::upkeep::WATCH_AGAIN);
    let news: Vec<_> =
        net.events.iter().filter(|(_, e)| matches!(e, Event::ItemFound { .. })).collect();
    assert_eq!(news.len(), 2, "{news:?}");
    for (n, lookup) in [(9, watch), (8, known)] {
        assert!(news.contains(&&(n, Event::ItemFound { lookup, item: version(2).into() })));
    }
    net.nodes[8].unwatch_item(known);
    net.nodes[9].unwatch_item(watch);
    put(&mut net, 3);
    net.run(HOUR);
    assert_eq!((net.items(9), net.items(8)), (vec![version(2)], vec![version(2)]));
    net.run(HOUR * 2);
    assert!(got(&mut net, 10, target).is_empty(), "nobody follows it");
}

#[test]
fn what_is_kept_and_watched_is_bounded() {
    let mut node = started();
    let mut out = Outbox::new();
    let mut put = |n: usize| {
        let item = Item { value: std::format!("i{n}e").into_bytes(), signed: None };
        node.put_item(START, item, vec![], None, &mut out)
    };
    assert!((0..crate::upkeep::MAX_KEPT).all(|n| put(n).is_ok()));
    assert_eq!(put(1000), Err(PutError::TooMany));
    assert!(put(0).is_ok(), "one of them");
    let key = SecretKey::from_seed(&[1; 32]).public();
    let mut watch = |salt: Vec<u8>| node.watch_item(START, &key, salt, None, &mut out);
    assert_eq!(watch(vec![0; 65]), Err(WatchError::SaltTooBig));
    assert!((0..crate::upkeep::MAX_WATCHED).all(|n| watch(n.to_be_bytes().to_vec()).is_ok()));
    assert_eq!(watch(vec![]), Err(WatchError::TooMany));
}
