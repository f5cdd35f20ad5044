//! Fuzz target: what is heard on the local network.

use super::hearing::Hearing;
use crate::fuzzing::Script;
use crate::network::Subnet;
use samara_wire::id::WireHash;
use samara_wire::lsd::{GROUP_V4, LocalAnnounce};
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How long a peer is not told of again.
const TOLD: Duration = Duration::from_secs(30);

/// Reads `input` as datagrams, their senders and time: a peer is its sender's address at the port that it names, of a torrent that is
/// sought, told of once in half a minute, and nothing from elsewhere counts.
pub fn hearing(input: &[u8]) {
    let mut script = Script::new(input);
    let mut heard = Hearing::new("ours".to_owned());
    heard.set_subnets(vec![Subnet::new([203, 0, 113, 9].into(), 24)]);
    let mut now = Instant::from_secs(1000);
    let mut told: BTreeMap<(WireHash, SocketAddr), Instant> = BTreeMap::new();
    while !script.is_done() {
        now += Duration::from_millis(u64::from(script.byte()) * 40);
        let from = sender(&mut script);
        let datagram = match script.below(4) {
            0 => script.bytes(200).to_vec(),
            1 => {
                let hash = WireHash([script.byte(); 20]);
                heard.forget(&hash);
                told.retain(|(of, _), _| *of != hash);
                continue;
            }
            choice => {
                let hashes = (0..=script.below(4)).map(|_| WireHash([script.byte() & 7; 20]));
                let (hashes, port) = (hashes.collect(), script.short().max(1));
                let cookie = if choice == 2 && script.flag() { "ours" } else { "theirs" };
                LocalAnnounce { port, hashes, cookie: Some(cookie.to_owned()) }.encode(GROUP_V4)
            }
        };
        let sought = |hash: &WireHash| hash.0[0] < 5;
        let Some(news) = heard.hear(now, from, &datagram, sought) else { continue };
        let said = LocalAnnounce::parse(&datagram).expect("what is heard can be read");
        assert_ne!(said.cookie.as_deref(), Some("ours"), "our own voice");
        assert!(is_near(from), "{from} is from elsewhere");
        assert_eq!((news.peer.ip(), news.peer.port()), (from.ip(), said.port));
        assert!(!news.hashes.is_empty());
        for hash in news.hashes {
            assert!(sought(&hash) && said.hashes.contains(&hash));
            let before = told.insert((hash, news.peer), now);
            assert!(before.is_none_or(|before| now >= before + TOLD), "told of again");
        }
    }
}

fn sender(script: &mut Script<'_>) -> SocketAddr {
    let last = script.byte();
    let ip = match last >> 6 {
        0 => [192, 168, 1, last & 7],
        1 => [203, 0, 113, last & 7],
        2 => [8, 8, 8, last & 7],
        _ => script.array(),
    };
    SocketAddr::from((ip, 6771))
}

fn is_near(from: SocketAddr) -> bool {
    let std::net::IpAddr::V4(ip) = from.ip() else { return false };
    let local = ip.is_private() || ip.is_loopback() || ip.is_link_local();
    local || ip.octets()[..3] == [203, 0, 113]
}
