//! What is believed of what is heard on the local network. No socket, no clock.
//!
//! Anybody there can send anything, under any address of that network. So:
//!
//! - a datagram counts only if its source is of this network; what comes from elsewhere is dropped,
//! - each source may say so much a second, and all together so much,
//! - a peer is told of once in half a minute and torrent, so that nobody can make us dial an address (which the user of that
//!   address knows nothing of) more often than that, and no more than [`MAX_TOLD`] are told of in that time.

use crate::network::Subnet;
use samara_wire::id::WireHash;
use samara_wire::lsd::{LocalAnnounce, LsdError};
use samara_wire::time::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// What one source costs with each datagram, and how far ahead it may be: 20 a second and 100 at once. Others send
/// one datagram for each torrent, and each three times.
const OF_SOURCE: Rate = Rate { cost: Duration::from_millis(50), ahead: Duration::from_secs(5) };

/// The same for all: a thousand a second and 200 at once.
const OF_ALL: Rate = Rate { cost: Duration::from_millis(1), ahead: Duration::from_millis(200) };

/// Sources whose rate is remembered.
const MAX_SOURCES: usize = 256;

/// How long a peer is not told of again.
const TOLD: Duration = Duration::from_secs(30);

/// Pairs of torrent and peer that are told of in that time, at most.
const MAX_TOLD: usize = 2048;

/// What was heard, and what of it is believed. See the module.
#[derive(Debug)]
pub(super) struct Hearing {
    /// By which our own datagrams are known.
    cookie: String,
    subnets: Vec<Subnet>,
    all: Bucket,
    sources: BTreeMap<IpAddr, Bucket>,
    /// Who was told of when, and the same in the order of time.
    told: BTreeMap<Told, Instant>,
    told_by_age: VecDeque<(Instant, Told)>,
    pub(super) ignored: Ignored,
}

/// A torrent and a peer of it.
type Told = (WireHash, SocketAddr);

/// What was heard in vain, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ignored {
    pub(super) junk: u64,
    pub(super) from_elsewhere: u64,
    pub(super) too_many: u64,
}

/// A peer on the local network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    pub(super) peer: SocketAddr,
    /// Those of its torrents that are sought here.
    pub(super) hashes: Vec<WireHash>,
}

impl Hearing {
    pub(super) fn new(cookie: String) -> Self {
        Self {
            cookie,
            subnets: Vec::new(),
            all: Bucket::default(),
            sources: BTreeMap::new(),
            told: BTreeMap::new(),
            told_by_age: VecDeque::new(),
            ignored: Ignored::default(),
        }
    }

    /// The networks that we are part of.
    pub(super) fn set_subnets(&mut self, subnets: Vec<Subnet>) {
        self.subnets = subnets;
    }

    /// When to listen again: later than `now` if too much was heard.
    pub(super) fn open_at(&self) -> Instant {
        self.all.ready_at(OF_ALL)
    }

    /// Somebody new seeks this torrent: all that is heard of it is news.
    pub(super) fn forget(&mut self, hash: &WireHash) {
        self.told.retain(|(of, _), _| of != hash);
    }

    /// A datagram came from `from`. What it says, if anything that is believed and new.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        sought: impl Fn(&WireHash) -> bool,
    ) -> Option<Heard> {
        self.all.charge(now, OF_ALL);
        if !self.is_local(from.ip()) {
            self.ignored.from_elsewhere += 1;
            return None;
        }
        let announce = match LocalAnnounce::parse(datagram) {
            Ok(announce) => announce,
            Err(error) => {
                self.on_junk(from, error);
                return None;
            }
        };
        if announce.cookie.as_deref() == Some(&self.cookie) {
            return None;
        }
        if !self.source(now, from.ip()) {
            self.ignored.too_many += 1;
            return None;
        }
        let mut peer = from;
        peer.set_port(announce.port);
        let hashes = announce.hashes.into_iter().filter(|hash| sought(hash));
        let hashes: Vec<_> = hashes.filter(|hash| self.is_news(now, (*hash, peer))).collect();
        (!hashes.is_empty()).then_some(Heard { peer, hashes })
    }

    fn on_junk(&mut self, from: SocketAddr, error: LsdError) {
        self.ignored.junk += 1;
        tracing::trace!(%from, %error, "junk on the local network");
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        let unicast = !ip.is_unspecified() && !ip.is_multicast();
        unicast && (is_local_anywhere(ip) || self.subnets.iter().any(|net| net.contains(ip)))
    }

    /// Whether `ip` may say something.
    fn source(&mut self, now: Instant, ip: IpAddr) -> bool {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&ip) {
            self.sources.retain(|_, bucket| bucket.busy_until > now);
            if self.sources.len() >= MAX_SOURCES {
                return false;
            }
        }
        self.sources.entry(ip).or_default().take(now, OF_SOURCE)
    }

    /// Whether this was not told of lately; from now on it was.
    fn is_news(&mut self, now: Instant, told: Told) -> bool {
        while let Some((at, oldest)) = self.told_by_age.front().filter(|(at, _)| now >= *at + TOLD)
        {
            if self.told.get(oldest) == Some(at) {
                self.told.remove(oldest);
            }
            self.told_by_age.pop_front();
        }
        if self.told_by_age.len() >= MAX_TOLD || self.told.contains_key(&told) {
            return false;
        }
        self.told.insert(told, now);
        self.told_by_age.push_back((now, told));
        true
    }
}

/// Addresses that mean a local network wherever they are used.
fn is_local_anywhere(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

#[derive(Clone, Copy)]
struct Rate {
    cost: Duration,
    ahead: Duration,
}

/// Paid for until then.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    busy_until: Instant,
}

impl Bucket {
    fn charge(&mut self, now: Instant, rate: Rate) {
        self.busy_until = self.busy_until.max(now) + rate.cost;
    }

    fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let has_room = self.busy_until.since(now) + rate.cost <= rate.ahead;
        if has_room {
            self.charge(now, rate);
        }
        has_room
    }

    /// When it has room again.
    fn ready_at(&self, rate: Rate) -> Instant {
        let ahead = rate.ahead.saturating_sub(rate.cost);
        Instant::ZERO + self.busy_until.since(Instant::ZERO + ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use samara_wire::lsd::GROUP_V4;

    const HASH: WireHash = WireHash([7; 20]);

    fn t(millis: u64) -> Instant {
        Instant::from_secs(1_000) + Duration::from_millis(millis)
    }

    fn a(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn says(port: u16, cookie: &str) -> Vec<u8> {
        let hashes = vec![HASH, WireHash([8; 20])];
        LocalAnnounce { port, hashes, cookie: Some(cookie.to_owned()) }.encode(GROUP_V4)
    }

    fn hear(h: &mut Hearing, now: Instant, from: &str, datagram: &[u8]) -> Option<Heard> {
        h.hear(now, a(from), datagram, |hash| *hash == HASH)
    }

    #[test]
    fn a_peer_is_its_address_with_the_port_it_names() {
        let mut h = Hearing::new("ours".to_owned());
        let heard = hear(&mut h, t(0), "192.168.1.5:6771", &says(51_413, "other"));
        let peer = a("192.168.1.5:51413");
        assert_eq!(heard, Some(Heard { peer, hashes: vec![HASH] }));
        // Its repeats are no news, until somebody new asks or a while has passed.
        assert_eq!(hear(&mut h, t(2_000), "192.168.1.5:6771", &says(51_413, "other")), None);
        h.forget(&HASH);
        assert!(hear(&mut h, t(2_001), "192.168.1.5:6771", &says(51_413, "other")).is_some());
        assert!(hear(&mut h, t(31_000), "192.168.1.5:6771", &says(51_413, "other")).is_none());
        assert!(hear(&mut h, t(32_001), "192.168.1.5:6771", &says(51_413, "other")).is_some());
        // A link-local address means nothing without its link.
        let scoped = hear(&mut h, t(0), "[fe80::1%3]:6771", &says(9, "other"));
        assert_eq!(scoped.unwrap().peer, a("[fe80::1%3]:9"));
    }

    #[test]
    fn our_own_voice_strangers_and_junk_are_ignored() {
        let mut h = Hearing::new("ours".to_owned());
        assert_eq!(hear(&mut h, t(0), "192.168.1.5:6771", &says(1, "ours")), None);
        assert_eq!(h.ignored, Ignored::default());
        for from in ["8.8.8.8:1", "[2001:db8::1]:1", "0.0.0.0:1", "224.0.0.1:1"] {
            assert_eq!(hear(&mut h, t(0), from, &says(1, "other")), None, "{from}");
        }
        assert_eq!(h.ignored.from_elsewhere, 4);
        // With the public network of our own it is another matter.
        h.set_subnets(vec![Subnet::new(a("[2001:db8::7]:0").ip(), 64)]);
        assert!(hear(&mut h, t(0), "[2001:db8::1]:1", &says(1, "other")).is_some());
        assert!(hear(&mut h, t(0), "[2001:db8:1::1]:1", &says(1, "other")).is_none());
        for junk in [&b""[..], b"\xff\xff", b"BT-SEARCH * HTTP/1.1\r\n\r\n", &[b'x'; 1_401]] {
            assert_eq!(hear(&mut h, t(0), "10.0.0.1:1", junk), None);
        }
        assert_eq!(h.ignored.junk, 4);
    }

    #[test]
    fn a_source_has_its_rate_and_so_have_all() {
        let mut h = Hearing::new("ours".to_owned());
        let heard = |h: &mut Hearing, ip: u8, port: u16| {
            hear(h, t(0), &format!("10.0.0.{ip}:1"), &says(port, "other")).is_some()
        };
        assert_eq!((1..=150).filter(|port| heard(&mut h, 1, *port)).count(), 100);
        assert!(heard(&mut h, 2, 1), "another is heard all the same");
        assert_eq!(h.ignored.too_many, 50);
        assert!(h.open_at() < t(0));
        for _ in 0..50 {
            hear(&mut h, t(0), "10.0.0.3:1", b"junk");
        }
        assert_eq!(h.open_at(), t(2), "201 at once");
    }

    #[test]
    fn memory_is_bounded_and_dials_are_too() {
        let mut h = Hearing::new("ours".to_owned());
        let mut told = 0;
        for n in 0..60_000u16 {
            let ip = Ipv4(n);
            told += usize::from(
                hear(&mut h, t(u64::from(n) / 2), &format!("{ip}:1"), &says(n | 1, "o")).is_some(),
            );
        }
        assert_eq!(told, MAX_TOLD);
        assert_eq!((h.told.len(), h.told_by_age.len()), (MAX_TOLD, MAX_TOLD));
        assert!(hear(&mut h, t(60_000), "10.9.9.9:1", &says(1, "o")).is_some(), "room again");
        assert!(h.sources.len() <= MAX_SOURCES);
    }

    struct Ipv4(u16);

    impl std::fmt::Display for Ipv4 {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "10.0.{}.{}", self.0 >> 8, self.0 & 0xff)
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_heard_without_harm(bytes: Vec<u8>, v6: [u8; 16], port: u16) {
            let mut h = Hearing::new("ours".to_owned());
            let from = SocketAddr::new(v6.into(), port);
            prop_assert_eq!(h.hear(t(0), from, &bytes, |_| true), None);
        }
    }
}
