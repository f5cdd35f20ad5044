//! Who is in which swarm. No I/O and no clock: time is an argument, chance a seed.
//!
//! Invariants: there are never more torrents or peers than [`StoreConfig`] says; `total` and `per_ip` count exactly
//! the peers that are in swarms; a swarm without peers exists only as long as its count of completed downloads
//! is worth its place. Peers are known by their address and port, so nobody can remove or replace another's
//! entry without sending from its address.

use super::household::household;
use samara_swarm::rng::Rng;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::time::Instant;
use samara_wire::tracker::udp::Family;
use samara_wire::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse, ScrapeStats};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Bounds of a tracker. Plain data.
#[derive(Clone, Debug)]
pub(super) struct StoreConfig {
    /// Time between announces that peers are asked for.
    pub(super) interval: Duration,
    /// Torrents that are tracked; empty: any.
    pub(super) allow: BTreeSet<WireHash>,
    /// Torrents at most.
    pub(super) max_torrents: usize,
    /// Peers at most, in all, in one torrent, and from one address (of IPv6, from one /64).
    pub(super) max_peers: usize,
    pub(super) max_peers_per_torrent: usize,
    pub(super) max_peers_per_ip: usize,
    /// Peers at most in one answer.
    pub(super) max_answer: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30 * 60),
            allow: BTreeSet::new(),
            max_torrents: 10_000,
            max_peers: 100_000,
            max_peers_per_torrent: 5_000,
            max_peers_per_ip: 1_000,
            max_answer: 200,
        }
    }
}

/// Why an announce is not accepted. The text goes to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this tracker does not track that torrent")]
    NotAllowed,
    #[error("invalid port")]
    Port,
    #[error("too many announces from your address")]
    AddressFull,
    #[error("this tracker is full")]
    Full,
}

/// An answer, with the id of each of its peers for those who want them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) response: AnnounceResponse,
    pub(super) ids: Vec<PeerId>,
}

#[derive(Debug)]
pub(super) struct Store {
    config: StoreConfig,
    swarms: BTreeMap<WireHash, Swarm>,
    total: usize,
    per_ip: BTreeMap<IpAddr, usize>,
    next_sweep: Instant,
    rng: Rng,
}

#[derive(Debug, Default)]
struct Swarm {
    peers: BTreeMap<SocketAddr, Peer>,
    downloaded: u32,
}

#[derive(Debug)]
struct Peer {
    id: PeerId,
    seed: bool,
    seen: Instant,
}

impl Store {
    pub(super) fn new(config: StoreConfig, seed: u64) -> Self {
        Self {
            next_sweep: Instant::ZERO + config.interval,
            config,
            swarms: BTreeMap::new(),
            total: 0,
            per_ip: BTreeMap::new(),
            rng: Rng::new(seed),
        }
    }

    /// Takes in an announce that came from `ip` and answers with peers: a random choice of at most as many as are
    /// wanted, seeds only for those who are none, of one family if `family` says so.
    pub(super) fn announce(
        &mut self,
        now: Instant,
        ip: IpAddr,
        request: &AnnounceRequest,
        family: Option<Family>,
    ) -> Result<Answer, Refusal> {
        self.sweep(now);
        let hash = request.info_hash;
        if !self.config.allow.is_empty() && !self.config.allow.contains(&hash) {
            return Err(Refusal::NotAllowed);
        }
        if request.port == 0 {
            return Err(Refusal::Port);
        }
        let announcer = SocketAddr::new(ip.to_canonical(), request.port);
        self.expire(now, hash);
        if request.event == AnnounceEvent::Stopped {
            self.remove(hash, announcer);
            return Ok(self.answer(hash, Vec::new(), announcer));
        }
        self.insert(now, hash, announcer, request)?;
        let chosen = self.choose(hash, announcer, request, family);
        Ok(self.answer(hash, chosen, announcer))
    }

    /// What is known of `hashes`, or of the first few torrents if there are none; of unknown ones nothing.
    pub(super) fn scrape(
        &mut self,
        now: Instant,
        hashes: &[WireHash],
    ) -> Vec<(WireHash, ScrapeStats)> {
        self.sweep(now);
        let hashes: Vec<_> = match hashes {
            [] => {
                self.swarms.keys().take(samara_wire::tracker::http::MAX_SCRAPE).copied().collect()
            }
            hashes => hashes.to_vec(),
        };
        let stats = |store: &mut Self, hash| {
            store.expire(now, hash);
            Some((hash, store.swarms.get(&hash)?.stats()))
        };
        hashes.into_iter().filter_map(|hash| stats(self, hash)).collect()
    }

    /// Number of torrents and of peers.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.swarms.len(), self.total)
    }

    fn insert(
        &mut self,
        now: Instant,
        hash: WireHash,
        announcer: SocketAddr,
        request: &AnnounceRequest,
    ) -> Result<(), Refusal> {
        let swarm = self.swarms.get(&hash);
        let known = swarm.and_then(|swarm| swarm.peers.get(&announcer));
        let was_leech = known.is_some_and(|peer| !peer.seed);
        if known.is_none() {
            let from_ip = self.per_ip.get(&household(announcer.ip())).copied().unwrap_or(0);
            if from_ip >= self.config.max_peers_per_ip {
                return Err(Refusal::AddressFull);
            }
            let in_torrent = swarm.map_or(0, |swarm| swarm.peers.len());
            if self.total >= self.config.max_peers
                || in_torrent >= self.config.max_peers_per_torrent
                || (swarm.is_none() && self.swarms.len() >= self.config.max_torrents)
            {
                return Err(Refusal::Full);
            }
            self.total += 1;
            *self.per_ip.entry(household(announcer.ip())).or_default() += 1;
        }
        let swarm = self.swarms.entry(hash).or_default();
        let seed = request.left == 0;
        // Only one who was seen downloading can complete, or the number would mean nothing.
        if request.event == AnnounceEvent::Completed && was_leech && seed {
            swarm.downloaded = swarm.downloaded.saturating_add(1);
        }
        swarm.peers.insert(announcer, Peer { id: request.peer_id, seed, seen: now });
        Ok(())
    }

    /// A random choice of peers that can be of use to the announcer.
    fn choose(
        &mut self,
        hash: WireHash,
        announcer: SocketAddr,
        request: &AnnounceRequest,
        family: Option<Family>,
    ) -> Vec<(SocketAddr, PeerId)> {
        let useful = |addr: &SocketAddr, peer: &Peer| {
            *addr != announcer
                && !(peer.seed && request.left == 0)
                && family.is_none_or(|family| addr.is_ipv4() == (family == Family::V4))
                // An address of this machine is none for another.
                && (announcer.ip().is_loopback() || !addr.ip().is_loopback())
        };
        let Some(swarm) = self.swarms.get(&hash) else { return Vec::new() };
        let mut peers: Vec<_> = swarm
            .peers
            .iter()
            .filter(|(addr, peer)| useful(addr, peer))
            .map(|(addr, peer)| (*addr, peer.id))
            .collect();
        let wanted = usize::try_from(request.num_want).unwrap_or(usize::MAX);
        let count = wanted.min(self.config.max_answer).min(peers.len());
        for i in 0..count {
            let other = i + self.rng.below(peers.len() - i);
            peers.swap(i, other);
        }
        peers.truncate(count);
        peers
    }

    fn answer(&self, hash: WireHash, peers: Vec<(SocketAddr, PeerId)>, to: SocketAddr) -> Answer {
        let stats = self.swarms.get(&hash).map(Swarm::stats).unwrap_or_default();
        let (peers, ids) = peers.into_iter().unzip();
        let response = AnnounceResponse {
            interval: self.config.interval,
            complete: Some(stats.complete),
            incomplete: Some(stats.incomplete),
            downloaded: Some(stats.downloaded),
            peers,
            external_ip: Some(to.ip()),
            ..AnnounceResponse::default()
        };
        Answer { response, ids }
    }

    fn remove(&mut self, hash: WireHash, addr: SocketAddr) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        if swarm.peers.remove(&addr).is_some() {
            self.total -= 1;
            forget_ip(&mut self.per_ip, addr.ip());
        }
        if swarm.peers.is_empty() && swarm.downloaded == 0 {
            self.swarms.remove(&hash);
        }
    }

    /// Removes peers of a torrent that have been silent for two intervals.
    fn expire(&mut self, now: Instant, hash: WireHash) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let (total, per_ip) = (&mut self.total, &mut self.per_ip);
        let life = self.config.interval * 2;
        swarm.peers.retain(|addr, peer| {
            let alive = now.since(peer.seen) <= life;
            if !alive {
                *total -= 1;
                forget_ip(per_ip, addr.ip());
            }
            alive
        });
    }

    /// Once an interval: removes the silent peers of all torrents, and the torrents that have none left.
    fn sweep(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + self.config.interval;
        let hashes: Vec<_> = self.swarms.keys().copied().collect();
        for hash in hashes {
            self.expire(now, hash);
        }
        self.swarms.retain(|_, swarm| !swarm.peers.is_empty());
    }
}

impl Swarm {
    fn stats(&self) -> ScrapeStats {
        let seeds = self.peers.values().filter(|peer| peer.seed).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        ScrapeStats {
            complete: count(seeds),
            downloaded: self.downloaded,
            incomplete: count(self.peers.len() - seeds),
        }
    }
}

fn forget_ip(per_ip: &mut BTreeMap<IpAddr, usize>, ip: IpAddr) {
    let ip = household(ip);
    if let Some(count) = per_ip.get_mut(&ip) {
        *count -= 1;
        if *count == 0 {
            per_ip.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests;
