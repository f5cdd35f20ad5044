//! Which peers were announced to us (BEP 5, 33, 51).
//!
//! A peer is known for 30 minutes. Several may be behind one NAT, so a torrent has a few ports of one IP address; one more
//! takes the place of the oldest. Torrents and peers are bounded; when there are too many torrents, the one farthest from our own id goes, because that is where nobody will look for it.

use crate::rng::Rng;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use samara_wire::id::WireHash;
use samara_wire::krpc::{NodeId, Samples, Scrape};
use samara_wire::time::{Duration, Instant};

/// For so long an announced peer is told to others.
pub const PEER_LIFE: Duration = Duration::from_secs(30 * 60);

/// Torrents for which peers are kept.
pub const MAX_TORRENTS: usize = 2000;

/// Peers kept for one torrent.
pub const MAX_PEERS_EACH: usize = 500;

/// Peers kept for one torrent at one IP address.
pub const MAX_PEERS_OF_IP: usize = 8;

/// Peers kept in all.
pub const MAX_PEERS: usize = 50_000;

/// Info-hashes in one sample: 400 bytes.
const SAMPLE: usize = 20;

#[derive(Clone, Copy, Debug)]
struct Peer {
    seed: bool,
    announced: Instant,
}

/// The store.
#[derive(Debug, Default)]
pub struct PeerStore {
    torrents: BTreeMap<WireHash, BTreeMap<SocketAddr, Peer>>,
    peers: usize,
}

impl PeerStore {
    /// Keeps a peer. `false` if there is no room for it.
    pub fn insert(
        &mut self,
        now: Instant,
        own: &NodeId,
        torrent: WireHash,
        peer: SocketAddr,
        seed: bool,
    ) -> bool {
        if !self.make_room(own, torrent) {
            return false;
        }
        let peers = self.torrents.entry(torrent).or_default();
        let known = peers.contains_key(&peer);
        if !known && let Some(oldest) = crowding(peers, peer.ip()) {
            peers.remove(&oldest);
            self.peers -= 1;
        }
        if !known && (peers.len() >= MAX_PEERS_EACH || self.peers >= MAX_PEERS) {
            if peers.is_empty() {
                self.torrents.remove(&torrent);
            }
            return false;
        }
        peers.insert(peer, Peer { seed, announced: now });
        self.peers += usize::from(!known);
        true
    }

    /// Whether there is a place for `torrent`, which another may have to leave.
    fn make_room(&mut self, own: &NodeId, torrent: WireHash) -> bool {
        if self.torrents.len() < MAX_TORRENTS || self.torrents.contains_key(&torrent) {
            return true;
        }
        let distance = |hash: &WireHash| NodeId(hash.0).distance(own);
        let farthest = self.torrents.keys().copied().max_by_key(distance);
        let Some(farthest) = farthest.filter(|hash| distance(hash) > distance(&torrent)) else {
            return false;
        };
        self.peers -= self.torrents.remove(&farthest).map_or(0, |peers| peers.len());
        true
    }

    /// Up to `max` peers of a torrent, chosen at random.
    pub fn some(
        &self,
        torrent: &WireHash,
        no_seeds: bool,
        max: usize,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let Some(peers) = self.torrents.get(torrent) else { return Vec::new() };
        let wanted = peers.iter().filter(|(_, peer)| !(no_seeds && peer.seed));
        let mut found: Vec<_> = wanted.map(|(addr, _)| *addr).collect();
        for i in 0..max.min(found.len()) {
            let other = i + rng.below(found.len() - i);
            found.swap(i, other);
        }
        found.truncate(max);
        found
    }

    /// Whether `peer` is kept for `torrent`.
    #[must_use]
    pub fn contains(&self, torrent: &WireHash, peer: SocketAddr) -> bool {
        self.torrents.get(torrent).is_some_and(|peers| peers.contains_key(&peer))
    }

    /// How many there are of a torrent, as filters (BEP 33); `None` if the torrent is not known.
    #[must_use]
    pub fn scrape(&self, torrent: &WireHash) -> Option<Box<Scrape>> {
        let mut scrape = Box::<Scrape>::default();
        for (addr, peer) in self.torrents.get(torrent)? {
            let filter = if peer.seed { &mut scrape.seeds } else { &mut scrape.peers };
            filter.insert(addr.ip());
        }
        Some(scrape)
    }

    /// Some info-hashes (BEP 51): those from a random place on.
    pub fn samples(&self, rng: &mut Rng) -> Samples {
        let from = WireHash(rng.next_20());
        let hashes = self.torrents.range(from..).chain(self.torrents.range(..from));
        Samples {
            hashes: hashes.map(|(hash, _)| *hash).take(SAMPLE).collect(),
            interval: Duration::ZERO,
            total: self.torrents.len() as u64,
        }
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Instant) {
        self.torrents.retain(|_, peers| {
            peers.retain(|_, peer| now - peer.announced < PEER_LIFE);
            !peers.is_empty()
        });
        self.peers = self.torrents.values().map(BTreeMap::len).sum();
    }
}

/// The oldest of the peers at `ip`, if there are as many as there may be.
fn crowding(peers: &BTreeMap<SocketAddr, Peer>, ip: IpAddr) -> Option<SocketAddr> {
    let of_ip = || peers.range(SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX));
    let oldest = of_ip().min_by_key(|(_, peer)| peer.announced).map(|(addr, _)| *addr);
    oldest.filter(|_| of_ip().count() >= MAX_PEERS_OF_IP)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 20]);

    fn addr(n: u16, port: u16) -> SocketAddr {
        let [a, b] = n.to_be_bytes();
        SocketAddr::from(([1, 1, a, b], port))
    }

    fn hash(n: u16) -> WireHash {
        let mut hash = [0; 20];
        hash[..2].copy_from_slice(&n.to_be_bytes());
        WireHash(hash)
    }

    #[test]
    fn a_peer_is_forgotten() {
        let (mut store, mut rng) = (PeerStore::default(), Rng::new([1; 32]));
        let start = Instant::from_secs(1);
        assert!(store.insert(start, &OWN, hash(1), addr(1, 10), false));
        assert!(store.insert(start, &OWN, hash(1), addr(1, 10), true));
        assert_eq!(store.some(&hash(1), false, 9, &mut rng), [addr(1, 10)]);
        assert!(store.some(&hash(1), true, 9, &mut rng).is_empty(), "a seed now");
        let scrape = store.scrape(&hash(1)).unwrap();
        assert!(scrape.seeds.estimate() > 0.9 && scrape.peers.estimate() < 0.1);
        assert!(store.scrape(&hash(2)).is_none());
        assert_eq!(store.samples(&mut rng).hashes, [hash(1)]);
        store.expire(start + PEER_LIFE);
        assert!(store.some(&hash(1), false, 9, &mut rng).is_empty());
        assert_eq!((store.peers, store.torrents.len()), (0, 0));
    }

    #[test]
    fn a_few_peers_share_an_address_and_one_more_takes_the_place_of_the_oldest() {
        let (mut store, mut rng) = (PeerStore::default(), Rng::new([1; 32]));
        let other = addr(2, 7);
        assert!(store.insert(Instant::from_secs(1), &OWN, hash(1), other, false));
        for port in 1..=20 {
            let now = Instant::from_secs(1 + u64::from(port));
            assert!(store.insert(now, &OWN, hash(1), addr(1, port), false));
        }
        let mut kept = store.some(&hash(1), false, 99, &mut rng);
        kept.sort();
        let mut last: Vec<_> = (13..=20).map(|port| addr(1, port)).collect();
        last.push(other);
        assert_eq!((kept, store.peers), (last, MAX_PEERS_OF_IP + 1));
    }

    #[test]
    fn a_torrent_has_so_many_peers_and_tells_different_ones() {
        let (mut store, mut rng) = (PeerStore::default(), Rng::new([1; 32]));
        let now = Instant::from_secs(1);
        let kept = (0..2000).filter(|&n| store.insert(now, &OWN, hash(1), addr(n, 1), false));
        assert_eq!(kept.count(), MAX_PEERS_EACH);
        let first = store.some(&hash(1), false, 50, &mut rng);
        assert_eq!(first.len(), 50);
        assert_ne!(first, store.some(&hash(1), false, 50, &mut rng));
    }

    #[test]
    fn the_farthest_torrents_make_room_for_nearer_ones() {
        let mut store = PeerStore::default();
        let now = Instant::from_secs(1);
        let most = u16::try_from(MAX_TORRENTS).unwrap();
        assert!((1000..1000 + most).all(|n| store.insert(now, &OWN, hash(n), addr(n, 1), false)));
        assert!(!store.insert(now, &OWN, hash(60_000), addr(1, 1), false), "farther than all");
        assert!(store.insert(now, &OWN, hash(5), addr(1, 1), false));
        assert!(store.scrape(&hash(999 + most)).is_none() && store.scrape(&hash(5)).is_some());
        assert_eq!((store.torrents.len(), store.peers), (MAX_TORRENTS, MAX_TORRENTS));
    }
}
