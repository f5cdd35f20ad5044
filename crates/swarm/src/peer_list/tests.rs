//! Dial orders, bounds and back-off; and a model test of the book-keeping.

use super::*;
use PeerSource::{Incoming, Local, Pex, Tracker, User};
use proptest::prelude::*;
use samara_wire::time::Duration;
use std::string::ToString;
use std::vec;

fn a(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Address number `n`, each in a subnet of its own.
fn nth(n: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4((0x0b00_0001 + (n << 8)).into()), 6881)
}

fn t(secs: u64) -> Instant {
    Instant::from_secs(1_000 + secs)
}

fn list(max_addrs: usize, max_per_subnet: usize) -> PeerList {
    PeerList::new(PeerListConfig { max_addrs, max_per_subnet }, 5)
}

#[test]
fn what_nobody_can_reach_is_refused_and_mapped_addresses_are_one() {
    let mut l = list(10, 9);
    for bad in [
        "1.2.3.4:0",
        "0.0.0.0:1",
        "0.1.2.3:1",
        "224.0.0.1:1",
        "255.255.255.255:1",
        "[::]:1",
        "[ff02::1]:1",
    ] {
        assert!(!l.add(t(0), a(bad), User), "{bad}");
    }
    assert!(l.add(t(0), a("[::ffff:1.2.3.4]:9"), Tracker));
    assert!(!l.add(t(0), a("1.2.3.4:9"), Tracker));
    assert_eq!(l.next_to_dial(t(0), 9), [a("1.2.3.4:9")]);
    l.on_connected(t(0), a("[::ffff:1.2.3.4]:9"), true);
    assert_eq!(l.next_to_dial(t(9_999), 9), []);
}

/// Found by the fuzzer: the end of an old connection made an address idle that was being dialled, and it was dialled twice.
#[test]
fn an_address_forgotten_while_connected_and_learned_again_is_dialled_once() {
    let mut l = list(10, 9);
    let peer = a("1.2.3.4:9");
    assert!(l.add(t(0), peer, Tracker));
    assert_eq!(l.next_to_dial(t(0), 9), [peer]);
    l.on_connected(t(0), peer, true);
    l.set_external(t(1), peer);
    l.set_external(t(2), a("5.6.7.8:9"));
    assert!(l.add(t(3), peer, Tracker));
    assert_eq!(l.next_to_dial(t(3), 9), [peer]);
    l.on_disconnected(t(4), peer, true);
    assert_eq!(l.next_to_dial(t(9_999), 9), []);
}

#[test]
fn our_own_addresses_are_never_dialled() {
    let mut l = list(10, 9);
    assert!(l.add(t(0), a("1.2.3.4:9"), Tracker) && l.add(t(0), a("127.0.0.1:9"), Tracker));
    l.set_external(t(0), a("1.2.3.4:9"));
    assert_eq!(l.next_to_dial(t(0), 9), [a("127.0.0.1:9")]);
    l.add_own(a("127.0.0.1:9"));
    l.on_failed(t(1), a("127.0.0.1:9"));
    assert!(l.is_empty() && l.next_to_dial(t(9_999), 9).is_empty());
    assert!(!l.add(t(1), a("127.0.0.1:9"), User));
    // Found by the fuzzer: what was the external address at the time was forgotten with it.
    l.add_own(a("1.2.3.4:9"));
    l.set_external(t(2), a("5.6.7.8:9"));
    assert!(!l.add(t(2), a("1.2.3.4:9"), User));
}

#[test]
fn the_users_peers_first_then_by_failures_use_and_priority() {
    let mut l = list(100, 9);
    l.set_external(t(0), a("200.1.1.1:1"));
    for n in 0..6 {
        l.add(t(0), nth(n), Tracker);
    }
    let all = l.next_to_dial(t(0), 9);
    assert!(all.is_sorted_by_key(|addr| core::cmp::Reverse(l.priority(*addr))));
    // The one that ranked last proves useful, the first fails.
    for addr in &all {
        l.on_connected(t(1), *addr, true);
        l.on_disconnected(t(2), *addr, *addr == all[5]);
    }
    l.add(t(3), nth(77), User);
    let again = l.next_to_dial(t(600), 9);
    assert_eq!(again[..2], [nth(77), all[5]]);
    assert_eq!(again[2..], all[..5]);
}

#[test]
fn without_our_address_the_order_depends_on_the_seed_alone() {
    let order = |seed| {
        let mut l = PeerList::new(PeerListConfig::default(), seed);
        (0..50).for_each(|n| assert!(l.add(t(0), nth(n), Tracker)));
        l.next_to_dial(t(0), 50)
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn failures_back_off_to_half_an_hour() {
    let mut l = list(10, 9);
    l.add(t(0), nth(0), Tracker);
    let mut now = t(0);
    let mut waits = vec![];
    for _ in 0..10 {
        assert_eq!(l.next_to_dial(now, 9), [nth(0)]);
        assert_eq!(l.next_ready(now), None);
        l.on_failed(now, nth(0));
        assert!(!l.add(now, nth(0), Tracker), "naming it again changes nothing");
        let next = l.next_ready(now).unwrap();
        assert_eq!(l.next_to_dial(now, 9), []);
        waits.push((next - now).as_secs());
        now = next;
    }
    assert!((15..19).contains(&waits[0]) && (30..38).contains(&waits[1]), "{waits:?}");
    assert!((1_800..2_251).contains(&waits[9]), "{waits:?}");
    l.add(now, nth(0), User);
    assert_eq!(l.next_to_dial(now, 9), [nth(0)]);
    l.on_failed(now, nth(0));
    assert!((2..3).contains(&(l.next_ready(now).unwrap() - now).as_secs()));
}

#[test]
fn when_our_own_network_failed_nobody_is_blamed() {
    let mut l = list(10, 9);
    for n in 0..3 {
        l.add(t(0), nth(n), Tracker);
    }
    assert_eq!(l.next_to_dial(t(0), 9).len(), 3);
    l.on_connected(t(0), nth(0), true);
    (1..3).for_each(|n| l.on_failed(t(0), nth(n)));
    assert_eq!(l.next_to_dial(t(1), 9), []);
    l.retry_all(t(1));
    let mut again = l.next_to_dial(t(1), 9);
    again.sort();
    let mut failed = vec![nth(1), nth(2)];
    failed.sort();
    assert_eq!(again, failed, "and who is connected is left alone");
    l.on_failed(t(1), nth(1));
    assert!((15..19).contains(&(l.next_ready(t(1)).unwrap() - t(1)).as_secs()), "as at first");
}

#[test]
fn a_seed_does_not_dial_seeds() {
    let mut l = list(10, 9);
    l.add(t(0), nth(0), Tracker);
    l.add(t(0), nth(1), Tracker);
    for addr in l.next_to_dial(t(0), 9) {
        l.on_connected(t(0), addr, true);
    }
    l.set_upload_only(t(1), nth(1), true);
    l.set_seeding(t(1), true);
    l.on_disconnected(t(1), nth(0), true);
    l.on_disconnected(t(1), nth(1), true);
    assert_eq!(l.next_to_dial(t(9_999), 9), [nth(0)]);
    assert_eq!(l.next_ready(t(9_999)), None);
    // More is wanted now.
    l.set_seeding(t(9_999), false);
    assert_eq!(l.next_to_dial(t(9_999), 9), [nth(1)]);
}

#[test]
fn who_dials_us_is_dialled_back_only_after_it_left() {
    let mut l = list(10, 9);
    l.on_connected(t(0), a("11.0.0.1:50000"), false);
    assert!(l.is_empty());
    l.on_listen_port(t(0), a("11.0.0.1:50000"), 0);
    l.on_listen_port(t(0), a("11.0.0.1:50000"), 6881);
    assert!(!l.add(t(0), nth(0), Tracker));
    assert_eq!(l.next_to_dial(t(9), 9), []);
    l.on_disconnected(t(10), a("11.0.0.1:50000"), true);
    assert_eq!(l.next_ready(t(10)), Some(t(20)));
    assert_eq!(l.next_to_dial(t(20), 9), [nth(0)]);
}

#[test]
fn a_dial_that_crosses_theirs_is_no_failure_and_not_repeated() {
    let mut l = list(10, 9);
    l.add(t(0), nth(0), Tracker);
    assert_eq!(l.next_to_dial(t(0), 9), [nth(0)]);
    l.on_connected(t(0), a("11.0.0.1:50000"), false);
    l.on_listen_port(t(0), a("11.0.0.1:50000"), 6881);
    // Refused as a duplicate.
    l.on_failed(t(1), nth(0));
    assert_eq!(l.next_ready(t(1)), None);
    l.on_disconnected(t(50), a("11.0.0.1:50000"), true);
    assert_eq!(l.next_ready(t(50)), Some(t(60)));
    assert_eq!(l.next_to_dial(t(60), 9), [nth(0)]);
}

#[test]
fn who_is_heard_on_the_local_network_comes_before_strangers_and_is_there_now() {
    let mut l = list(100, 9);
    l.set_external(t(0), a("200.1.1.1:1"));
    let mut addrs = [0, 1, 4, 5, 16].map(nth);
    addrs.sort_by_key(|addr| l.priority(*addr));
    l.add(t(0), addrs[0], Local);
    addrs[1..4].iter().for_each(|addr| assert!(l.add(t(0), *addr, Tracker)));
    l.add(t(0), addrs[4], User);
    assert_eq!(l.next_to_dial(t(0), 3), [addrs[4], addrs[0], addrs[3]]);
    // It ends a back-off, and raises one that a tracker named.
    l.on_failed(t(1), addrs[3]);
    assert!(!l.add(t(2), addrs[3], Pex) && !l.add(t(2), addrs[1], Local));
    assert_eq!(l.next_to_dial(t(2), 1), [addrs[1]]);
    assert!(!l.add(t(2), addrs[3], Local));
    assert_eq!(l.next_to_dial(t(2), 9), [addrs[3], addrs[2]]);
    // The user's word stays the user's.
    l.on_failed(t(3), addrs[4]);
    l.add(t(3), addrs[4], Local);
    assert!(l.entries[&addrs[4]].is_users());
    check(&l);
}

#[test]
fn outsiders_hold_a_quarter_at_most() {
    let mut l = list(100, 9);
    for n in 0..200 {
        let addr = nth(n);
        l.on_connected(t(0), addr, false);
        l.on_listen_port(t(0), addr, 7_000);
        l.on_disconnected(t(0), addr, true);
    }
    assert_eq!(l.len(), 25);
    for n in 300..600 {
        l.add(t(0), nth(n), Tracker);
    }
    assert_eq!(l.len(), 100);
    assert!(l.add(t(0), nth(999), User));
    assert_eq!(l.len(), 100);
}

#[test]
fn a_full_list_gives_up_the_address_that_failed_most() {
    let mut l = list(4, 9);
    l.set_external(t(0), a("200.1.1.1:1"));
    let mut addrs: Vec<_> = (0..5).map(nth).collect();
    addrs.sort_by_key(|addr| l.priority(*addr));
    addrs[1..].iter().for_each(|addr| assert!(l.add(t(0), *addr, Tracker)));
    assert!(!l.add(t(0), addrs[0], Tracker), "worth less than all that are there");
    assert_eq!(l.next_to_dial(t(0), 1), [addrs[4]]);
    assert!(!l.add(t(0), addrs[0], Tracker));
    l.on_failed(t(0), addrs[4]);
    assert!(l.add(t(0), addrs[0], Tracker));
    assert!(l.add(t(0), addrs[4], Tracker), "the best again, without a past");
    assert!(!l.entries.contains_key(&addrs[0]));
}

#[test]
fn a_subnet_holds_a_bounded_number_of_connections() {
    let mut l = list(100, 2);
    for n in 1..=5 {
        l.add(t(0), a(&std::format!("11.0.0.{n}:1")), Tracker);
        l.add(t(0), a(&std::format!("[2001:db8:1:{n}::1]:1")), Tracker);
        l.add(t(0), a(&std::format!("127.0.0.{n}:1")), Tracker);
    }
    let first = l.next_to_dial(t(0), 99);
    let v4 = |addrs: &[SocketAddr]| {
        addrs.iter().filter(|addr| addr.ip().to_string().starts_with("11.")).count()
    };
    assert_eq!((first.len(), v4(&first)), (9, 2), "the networks of our own are exempt");
    assert!(
        !l.admits(a("11.0.0.200:5")) && l.admits(a("11.0.1.200:5")) && l.admits(a("127.0.0.9:5"))
    );
    assert_eq!(l.next_ready(t(1)), None, "no polling for those that must wait");
    let mut gone = vec![];
    let one = *first.iter().find(|addr| v4(&[**addr]) == 1).unwrap();
    l.on_failed(t(1), one);
    gone.extend(l.next_to_dial(t(1), 99));
    assert_eq!((gone.len(), v4(&gone)), (1, 1));
}

#[test]
fn bans_cover_an_address_on_the_internet_and_a_port_at_home() {
    let mut l = list(100, 9);
    for addr in ["11.0.0.1:1", "11.0.0.1:2", "11.0.0.2:1", "127.0.0.1:1", "127.0.0.1:2"] {
        l.add(t(0), a(addr), Tracker);
    }
    l.ban(a("11.0.0.1:5"));
    l.ban(a("127.0.0.1:1"));
    let mut left = l.next_to_dial(t(0), 9);
    left.sort();
    assert_eq!(left, [a("11.0.0.2:1"), a("127.0.0.1:2")]);
    assert!(
        !l.admits(a("11.0.0.1:77"))
            && l.admits(a("127.0.0.1:77"))
            && l.is_banned(a("[::ffff:11.0.0.1]:3"))
    );
    assert!(!l.add(t(0), a("11.0.0.1:3"), User));
    for n in 0..10_000 {
        l.ban(nth(n));
    }
    let Shunned { bans, bans_by_age, .. } = &**l.shunned.as_ref().unwrap();
    assert_eq!((bans.len(), bans_by_age.len()), (MAX_BANS, MAX_BANS));
}

/// The book-keeping, checked against a count by hand.
fn check(l: &PeerList) {
    assert!(l.len() <= l.config.max_addrs);
    let held = |s| l.entries.values().filter(|entry| entry.source == s).count();
    for source in [User, Tracker, Incoming, Pex, Local] {
        assert_eq!(held(source), l.per_source.get(&source).copied().unwrap_or(0));
    }
    assert!(held(Incoming) <= l.config.max_addrs / 4);
    assert!(held(Pex) <= l.config.max_addrs / 4);
    assert!(held(Local) <= l.config.max_addrs / 4);
    let mut subnets = BTreeMap::<Subnet, usize>::new();
    let dialing =
        l.entries.iter().filter(|(_, entry)| entry.state == State::Dialing).map(|(addr, _)| addr);
    for addr in dialing.chain(l.connections.keys()) {
        *subnets.entry(Subnet::of(addr.ip())).or_default() += 1;
    }
    assert_eq!(subnets, l.subnets);
    for (addr, entry) in &l.entries {
        let links = |dialled| {
            let links = l.connections.values().flatten();
            links.filter(|link| link.addr == *addr && link.dialled == dialled).count()
        };
        assert_eq!(links(true), usize::from(entry.state == State::Connected));
        assert_eq!(links(false), entry.incoming as usize);
        let asleep = l.seeding && entry.upload_only;
        let queues = usize::from(entry.is_idle() && !asleep);
        let forgettable = entry.is_idle() && !entry.is_users();
        assert_eq!(l.queues.places(*addr, entry), (queues, forgettable));
    }
    assert!(l.queues.total() <= 2 * l.entries.len());
}

proptest! {
    /// Whatever happens, no address is lost or counted twice, and in the end everyone is dialled again.
    #[test]
    fn the_books_balance(steps in prop::collection::vec((0u8..15, 0u32..24, 0u64..60), 1..200)) {
        let mut l = list(16, 2);
        let mut now = t(0);
        let (mut dialing, mut connected) = (vec![], vec![]);
        for (what, n, secs) in steps {
            now += Duration::from_secs(secs);
            // Eight subnets of three addresses.
            let addr = SocketAddr::new(IpAddr::V4((0x0b00_0001 + ((n / 3) << 8) + n % 3).into()), 6881);
            let pick = n as usize;
            match what {
                0..=2 => { l.add(now, addr, Tracker); }
                3 => { l.add(now, addr, User); }
                4 | 5 => dialing.extend(l.next_to_dial(now, pick % 5)),
                6 if !dialing.is_empty() => l.on_failed(now, dialing.swap_remove(pick % dialing.len())),
                7 if !dialing.is_empty() => {
                    let addr = dialing.swap_remove(pick % dialing.len());
                    l.on_connected(now, addr, true);
                    connected.push(addr);
                }
                8 => {
                    let from = SocketAddr::new(addr.ip(), 50_000);
                    if l.admits(from) && !connected.contains(&from) {
                        l.on_connected(now, from, false);
                        l.on_listen_port(now, from, 6881);
                        connected.push(from);
                    }
                }
                9 | 10 if !connected.is_empty() => {
                    l.on_disconnected(now, connected.swap_remove(pick % connected.len()), n % 2 == 0);
                }
                11 if !connected.is_empty() => {
                    l.set_upload_only(now, connected[pick % connected.len()], n % 3 > 0);
                }
                12 => l.set_seeding(now, n % 2 == 0),
                13 if n < 3 => l.ban(addr),
                13 if n < 6 => l.set_external(now, SocketAddr::new(nth(99).ip(), 1 + u16::try_from(n).unwrap())),
                13 if n < 8 => l.add_own(addr),
                14 => { l.add(now, addr, Local); }
                _ => {}
            }
            check(&l);
        }
        dialing.into_iter().for_each(|addr| l.on_failed(now, addr));
        connected.into_iter().for_each(|addr| l.on_disconnected(now, addr, true));
        l.set_seeding(now, false);
        prop_assert!(l.subnets.is_empty());
        now += Duration::from_secs(10_000);
        let mut dialled = BTreeSet::new();
        loop {
            let next = l.next_to_dial(now, 3);
            check(&l);
            if next.is_empty() { break; }
            for addr in next {
                prop_assert!(dialled.insert(addr));
                l.on_failed(now, addr);
            }
        }
        prop_assert_eq!(dialled.len(), l.len());
    }
}
