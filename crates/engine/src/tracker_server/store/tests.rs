use super::*;
use proptest::prelude::*;

const A: WireHash = WireHash([1; 20]);
const B: WireHash = WireHash([2; 20]);

fn config() -> StoreConfig {
    StoreConfig { interval: Duration::from_secs(60), ..StoreConfig::default() }
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn request(hash: WireHash, port: u16, left: u64, event: AnnounceEvent) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: hash,
        peer_id: PeerId([port.to_be_bytes()[1]; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        key: 0,
        num_want: 50,
        tracker_id: None,
    }
}

fn announce(store: &mut Store, now: u64, ip: &str, request: &AnnounceRequest) -> AnnounceResponse {
    store.announce(at(now), ip.parse().unwrap(), request, None).unwrap().response
}

use AnnounceEvent::{Completed, Periodic, Started, Stopped};

#[test]
fn peers_meet_and_part() {
    let mut store = Store::new(config(), 1);
    let first = announce(&mut store, 0, "10.0.0.1", &request(A, 1000, 0, Started));
    assert_eq!((first.complete, first.incomplete, first.peers), (Some(1), Some(0), vec![]));
    assert_eq!(first.external_ip, Some([10, 0, 0, 1].into()));
    let second = announce(&mut store, 1, "10.0.0.2", &request(A, 1000, 5, Started));
    assert_eq!(second.peers, ["10.0.0.1:1000".parse().unwrap()]);
    assert_eq!(announce(&mut store, 2, "10.0.0.1", &request(A, 1000, 0, Periodic)).peers.len(), 1);
    // A second seed is of no use to the first.
    let done = announce(&mut store, 3, "10.0.0.2", &request(A, 1000, 0, Completed));
    assert_eq!((done.complete, done.downloaded, done.peers.len()), (Some(2), Some(1), 0));
    // Completed once more, or by one who never downloaded here, counts for nothing.
    announce(&mut store, 3, "10.0.0.2", &request(A, 1000, 0, Completed));
    announce(&mut store, 3, "10.0.0.3", &request(A, 1000, 0, Completed));
    let stats = ScrapeStats { complete: 3, downloaded: 1, incomplete: 0 };
    assert_eq!(store.scrape(at(4), &[A, B]), [(A, stats)]);
    announce(&mut store, 5, "10.0.0.1", &request(A, 1000, 0, Stopped));
    assert_eq!(store.scrape(at(5), &[])[0].1.complete, 2);
    assert_eq!(store.size(), (1, 2));
}

#[test]
fn the_silent_are_forgotten() {
    let mut store = Store::new(config(), 1);
    announce(&mut store, 0, "10.0.0.1", &request(A, 1000, 1, Started));
    announce(&mut store, 100, "10.0.0.2", &request(A, 1000, 1, Started));
    assert_eq!(store.scrape(at(120), &[A])[0].1.incomplete, 2);
    assert_eq!(store.scrape(at(121), &[A])[0].1.incomplete, 1);
    announce(&mut store, 500, "10.0.0.2", &request(B, 1000, 1, Started));
    assert_eq!(store.size(), (1, 1));
    assert_eq!(store.per_ip.len(), 1);
}

#[test]
fn everything_is_bounded() {
    let bounds = StoreConfig {
        max_torrents: 3,
        max_peers: 10,
        max_peers_per_torrent: 5,
        max_peers_per_ip: 6,
        ..config()
    };
    let mut store = Store::new(bounds, 1);
    let mut try_announce = |ip: [u8; 4], hash, port| {
        store.announce(at(0), ip.into(), &request(hash, port, 1, Started), None).map(drop)
    };
    for port in 1..=5 {
        assert_eq!(try_announce([10, 0, 0, 1], A, port), Ok(()));
    }
    assert_eq!(try_announce([10, 0, 0, 2], A, 1), Err(Refusal::Full), "torrent full");
    assert_eq!(try_announce([10, 0, 0, 1], A, 1), Ok(()), "who is known may always announce");
    assert_eq!(try_announce([10, 0, 0, 1], B, 1), Ok(()));
    assert_eq!(try_announce([10, 0, 0, 1], B, 2), Err(Refusal::AddressFull));
    assert_eq!(try_announce([10, 0, 0, 2], WireHash([3; 20]), 1), Ok(()));
    assert_eq!(try_announce([10, 0, 0, 2], WireHash([4; 20]), 1), Err(Refusal::Full), "torrents");
    for port in 2..=4 {
        assert_eq!(try_announce([10, 0, 0, 3], B, port), Ok(()));
    }
    assert_eq!(try_announce([10, 0, 0, 4], B, 1), Err(Refusal::Full), "peers");
    assert_eq!(try_announce([10, 0, 0, 4], B, 0), Err(Refusal::Port));
}

#[test]
fn one_machine_with_a_million_addresses_is_one() {
    let mut store = Store::new(StoreConfig { max_peers_per_ip: 6, ..config() }, 1);
    let mut admitted = |ip: u128| {
        let ip = IpAddr::V6(std::net::Ipv6Addr::from_bits(ip));
        store.announce(at(0), ip, &request(A, 1, 1, Started), None).is_ok()
    };
    let net = 0x2001_0db8_0000_0001 << 64;
    assert_eq!((0..100).filter(|host| admitted(net + host)).count(), 6);
    assert!(admitted(net + (1 << 64)), "the neighbours are not to blame");
    let stopped = request(A, 1, 1, Stopped);
    store.announce(at(0), std::net::Ipv6Addr::from_bits(net).into(), &stopped, None).unwrap();
    assert_eq!(store.per_ip.values().sum::<usize>(), store.total);
}

#[test]
fn only_allowed_torrents_are_tracked() {
    let mut store = Store::new(StoreConfig { allow: [A].into(), ..config() }, 1);
    announce(&mut store, 0, "10.0.0.1", &request(A, 1, 1, Started));
    let refused = store.announce(at(0), [10, 0, 0, 1].into(), &request(B, 1, 1, Started), None);
    assert_eq!(refused, Err(Refusal::NotAllowed));
}

#[test]
fn a_large_swarm_is_told_of_at_random() {
    let mut store = Store::new(config(), 1);
    for port in 1..=500 {
        announce(&mut store, 0, "10.0.0.1", &request(A, port, 1, Started));
    }
    let mut asker = request(A, 1, 1, Periodic);
    let one = announce(&mut store, 1, "10.0.0.2", &asker).peers;
    let two = announce(&mut store, 1, "10.0.0.2", &asker).peers;
    assert_eq!((one.len(), two.len()), (50, 50));
    assert_ne!(one, two);
    assert_eq!(one.iter().collect::<BTreeSet<_>>().len(), 50, "no peer twice");
    asker.num_want = u32::MAX;
    assert_eq!(announce(&mut store, 1, "10.0.0.2", &asker).peers.len(), 200);
    asker.num_want = 0;
    assert_eq!(announce(&mut store, 1, "10.0.0.2", &asker).peers.len(), 0);
}

#[test]
fn families_and_loopback_are_kept_apart() {
    let mut store = Store::new(config(), 1);
    announce(&mut store, 0, "127.0.0.1", &request(A, 1, 1, Started));
    announce(&mut store, 0, "2001:db8::1", &request(A, 2, 1, Started));
    // An IPv4 client of a dual-stack socket.
    announce(&mut store, 0, "::ffff:10.0.0.3", &request(A, 3, 1, Started));
    let mut ask = |ip: &str, family| {
        let ip = ip.parse().unwrap();
        let answer = store.announce(at(1), ip, &request(A, 9, 1, Periodic), family).unwrap();
        answer.response.peers.iter().map(SocketAddr::port).filter(|&port| port != 9).count()
    };
    assert_eq!(ask("127.0.0.1", None), 3);
    assert_eq!(ask("10.0.0.9", None), 2);
    assert_eq!(ask("10.0.0.9", Some(Family::V4)), 1);
    assert_eq!(ask("2001:db8::9", Some(Family::V6)), 1);
}

proptest! {
    /// The counters are what a count of the swarms gives, whatever happens, and bounds hold.
    #[test]
    fn counters_agree_with_a_count(steps in prop::collection::vec((0u64..40, 0u8..4, 0u8..4, 1u16..6, 0u8..4), 0..120)) {
        let bounds = StoreConfig { max_torrents: 3, max_peers: 20, max_peers_per_torrent: 9, max_peers_per_ip: 8, ..config() };
        let mut store = Store::new(bounds, 1);
        let mut now = 0;
        for (wait, ip, hash, port, event) in steps {
            now += wait;
            let event = [Periodic, Started, Completed, Stopped][usize::from(event)];
            let request = request(WireHash([hash; 20]), port, u64::from(port % 2), event);
            let _ = store.announce(at(now), [10, 0, 0, ip].into(), &request, None);
            let peers: Vec<_> = store.swarms.values().flat_map(|swarm| swarm.peers.keys()).collect();
            prop_assert_eq!(store.total, peers.len());
            prop_assert_eq!(store.per_ip.values().sum::<usize>(), peers.len());
            for (ip, count) in &store.per_ip {
                prop_assert_eq!(peers.iter().filter(|peer| peer.ip() == *ip).count(), *count);
            }
            prop_assert!(store.swarms.len() <= 3 && store.total <= 20);
        }
    }
}
