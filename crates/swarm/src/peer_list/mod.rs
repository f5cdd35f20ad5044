//! The addresses of peers that a torrent knows, and whom of them to dial next.
//!
//! - **Order.** Peers that the user named come first, then those with the fewest failures in a row, those on the local
//!   network, those that were of use before, and the highest canonical priority ([`canonical_priority`], BEP 40).
//!   Until our own address is known a seeded hash stands in for the priority.
//! - **Back-off.** A failed dial or a useless connection: 15 s, doubling to half an hour, plus up to a quarter by
//!   lot (2 s to a minute for peers that the user named). It ends when the user names the peer again, or when the
//!   peer itself is heard on the local network: then it is there now.
//! - **Seeds** (BEP 21) are remembered and not dialled while we are one ourselves.
//! - **Bounds.** The list has a size; when it is full an address comes in only in place of a worse one. A source that
//!   outsiders control may hold a quarter of it; the user and the trackers, which the user chose, may fill it. A
//!   /24 or /48 may hold a bounded number of connections; networks of our own are exempt.
//! - **Refused:** what cannot be reached, our own addresses, banned ones.
//!
//! Every operation costs the logarithm of the list; nothing is scanned but when we turn into a seed or
//! learn our own address. How many dials may be under way is the caller's to decide.

mod address;
mod entry;
mod priority;
mod queues;

pub use priority::canonical_priority;

use crate::rng::Rng;
use crate::torrent::PeerSource;
pub(crate) use address::is_usable;
use address::usable;
pub use address::{Subnet, is_local};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use entry::{Entry, State};
use queues::Queues;
use samara_wire::time::Instant;

/// Bans remembered at most; the oldest is forgotten first.
const MAX_BANS: usize = 4_096;
/// Addresses of ours remembered at most.
const MAX_OWN: usize = 32;

/// Bounds of a [`PeerList`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerListConfig {
    /// Addresses at most.
    pub max_addrs: usize,
    /// Connections and dials in one /24 (IPv4) or /48 (IPv6) at most.
    pub max_per_subnet: usize,
}

impl Default for PeerListConfig {
    fn default() -> Self {
        Self { max_addrs: 2_000, max_per_subnet: 16 }
    }
}

/// The known addresses of a torrent.
#[derive(Clone, Debug)]
pub struct PeerList {
    config: PeerListConfig,
    entries: BTreeMap<SocketAddr, Entry>,
    queues: Queues,
    per_source: BTreeMap<PeerSource, usize>,
    /// Connections and dials.
    subnets: BTreeMap<Subnet, usize>,
    /// Each connection by the address its socket tells, with the address in the list that it belongs to.
    connections: BTreeMap<SocketAddr, Option<Link>>,
    /// Most torrents have nothing to do with any of these.
    shunned: Option<Box<Shunned>>,
    /// Our address as others see it, one of each family.
    external: [Option<SocketAddr>; 2],
    seeding: bool,
    seed: u64,
    rng: Rng,
}

/// Whom we have nothing to do with.
#[derive(Clone, Debug, Default)]
struct Shunned {
    bans: BTreeSet<Ban>,
    bans_by_age: VecDeque<Ban>,
    /// Addresses of our own.
    own: VecDeque<SocketAddr>,
}

/// The entry that a connection belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Link {
    addr: SocketAddr,
    dialled: bool,
}

/// On the user's own networks one address stands for many peers, so there a ban is for one port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Ban {
    Ip(IpAddr),
    Addr(SocketAddr),
}

impl Ban {
    fn of(addr: SocketAddr) -> Self {
        let ip = addr.ip().to_canonical();
        if is_local(ip) { Self::Addr(SocketAddr::new(ip, addr.port())) } else { Self::Ip(ip) }
    }
}

impl PeerList {
    /// An empty list.
    #[must_use]
    pub fn new(config: PeerListConfig, seed: u64) -> Self {
        Self {
            config,
            entries: BTreeMap::new(),
            queues: Queues::default(),
            per_source: BTreeMap::new(),
            subnets: BTreeMap::new(),
            connections: BTreeMap::new(),
            shunned: None,
            external: [None; 2],
            seeding: false,
            seed,
            rng: Rng::new(seed),
        }
    }

    /// Number of addresses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no address is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Learns an address. Whether it is new and was taken in.
    pub fn add(&mut self, now: Instant, addr: SocketAddr, source: PeerSource) -> bool {
        let Some(addr) = usable(addr) else { return false };
        // Banned and own addresses are not among them. First, as peers name each other over and over.
        let is_known = self.entries.contains_key(&addr);
        if is_known {
            if matches!(source, PeerSource::User | PeerSource::Local) {
                let fits = source == PeerSource::User || self.held(source) < self.quarter();
                self.edit(now, addr, |entry| {
                    (entry.failures, entry.ready_at) = (0, now);
                    if fits && !entry.is_users() {
                        entry.source = source;
                    }
                });
            }
            return false;
        }
        if self.is_banned(addr) || self.is_own(addr) {
            return false;
        }
        let entry = Entry::new(now, source, self.priority(addr));
        if !self.make_room(&entry) {
            return false;
        }
        *self.per_source.entry(source).or_default() += 1;
        self.entries.insert(addr, entry);
        self.index(now, addr);
        true
    }

    /// Up to `n` addresses to dial now, best first. They count as being dialled until [`PeerList::on_connected`]
    /// or [`PeerList::on_failed`].
    pub fn next_to_dial(&mut self, now: Instant, n: usize) -> Vec<SocketAddr> {
        while let Some(addr) = self.queues.pop_due(now) {
            self.index(now, addr);
        }
        let mut chosen = Vec::new();
        while chosen.len() < n
            && let Some(addr) = self.queues.pop_ready()
        {
            let has_room = self.subnet_has_room(addr.ip());
            let Some(entry) = self.entries.get_mut(&addr) else { continue };
            if !has_room {
                self.queues.park(addr, entry);
                continue;
            }
            self.queues.remove(addr, entry);
            entry.state = State::Dialing;
            self.occupy(addr.ip());
            chosen.push(addr);
        }
        chosen
    }

    /// When [`PeerList::next_to_dial`] may have something, if nothing else happens. Only of interest while the
    /// caller has room for another dial.
    #[must_use]
    pub fn next_ready(&self, now: Instant) -> Option<Instant> {
        self.queues.next_ready(now)
    }

    /// A handshake succeeded with `addr` (as the socket tells it), which we dialled or which dialled us.
    pub fn on_connected(&mut self, now: Instant, addr: SocketAddr, dialled: bool) {
        let addr = normal(addr);
        if self.connections.contains_key(&addr) {
            return;
        }
        let known = self.entries.get(&addr).map(|entry| entry.state);
        let known = known.filter(|state| dialled && *state != State::Connected);
        if known != Some(State::Dialing) {
            self.occupy(addr.ip());
        }
        if known.is_some() {
            self.edit(now, addr, |entry| entry.state = State::Connected);
        }
        self.connections.insert(addr, known.map(|_| Link { addr, dialled: true }));
    }

    /// A peer that dialled us from `addr` told the port on which it listens (BEP 10): it can be dialled later.
    pub fn on_listen_port(&mut self, now: Instant, addr: SocketAddr, port: u16) {
        let addr = normal(addr);
        if self.connections.get(&addr) != Some(&None) {
            return;
        }
        let mut listens = addr;
        listens.set_port(port);
        self.add(now, listens, PeerSource::Incoming);
        if self.entries.contains_key(&listens) {
            self.edit(now, listens, |entry| entry.incoming += 1);
            self.connections.insert(addr, Some(Link { addr: listens, dialled: false }));
        }
    }

    /// A dial failed, or the handshake did.
    pub fn on_failed(&mut self, now: Instant, addr: SocketAddr) {
        let addr = normal(addr);
        if self.entries.get(&addr).is_some_and(|entry| entry.state == State::Dialing) {
            let mut rng = self.rng.clone();
            self.edit(now, addr, |entry| {
                entry.state = State::Idle;
                // It may have been refused only because the peer dialled us meanwhile.
                if entry.incoming == 0 {
                    entry.on_failed(now, &mut rng);
                }
            });
            self.rng = rng;
            self.vacate(addr.ip());
        }
    }

    /// A connection ended. `useful`: whether anything was exchanged with the peer; if not, it counts as a failure.
    pub fn on_disconnected(&mut self, now: Instant, addr: SocketAddr, useful: bool) {
        let addr = normal(addr);
        let Some(link) = self.connections.remove(&addr) else { return };
        if let Some(link) = link {
            let mut rng = self.rng.clone();
            self.edit(now, link.addr, |entry| {
                if link.dialled {
                    // One that was forgotten and learned again meanwhile may be on its way: it stays so.
                    if entry.state == State::Connected {
                        entry.state = State::Idle;
                    }
                } else {
                    entry.incoming = entry.incoming.saturating_sub(1);
                }
                if useful { entry.on_useful_end(now) } else { entry.on_failed(now, &mut rng) }
            });
            self.rng = rng;
        }
        self.vacate(addr.ip());
    }

    /// Addresses that failed may be dialled again, as if they never had: it was perhaps our own network that failed.
    pub fn retry_all(&mut self, now: Instant) {
        let idle = |(addr, entry): (&SocketAddr, &Entry)| entry.is_idle().then_some(*addr);
        let addrs: Vec<SocketAddr> = self.entries.iter().filter_map(idle).collect();
        for addr in addrs {
            self.edit(now, addr, |entry| (entry.failures, entry.ready_at) = (0, now));
        }
    }

    /// A connected peer said whether it only uploads (BEP 21), or turned out to have everything.
    pub fn set_upload_only(&mut self, now: Instant, addr: SocketAddr, upload_only: bool) {
        if let Some(&Some(link)) = self.connections.get(&normal(addr)) {
            self.edit(now, link.addr, |entry| entry.upload_only = upload_only);
        }
    }

    /// Whether we want nothing any more: then seeds are not dialled.
    pub fn set_seeding(&mut self, now: Instant, seeding: bool) {
        if core::mem::replace(&mut self.seeding, seeding) != seeding {
            self.index_all(now);
        }
    }

    /// Our address and listening port as others see us; one of each family is kept.
    pub fn set_external(&mut self, now: Instant, external: SocketAddr) {
        let external = normal(external);
        if self.external[family(external)].replace(external) == Some(external) {
            return;
        }
        self.remove(external);
        let addrs: Vec<SocketAddr> = self.entries.keys().copied().collect();
        for addr in addrs {
            let priority = self.priority(addr);
            self.edit(now, addr, |entry| entry.priority = priority);
        }
    }

    /// An address turned out to be our own: it is never dialled again.
    pub fn add_own(&mut self, addr: SocketAddr) {
        let addr = normal(addr);
        // Also where it is the external one at present, which may change.
        let own = &mut self.shunned.get_or_insert_default().own;
        if !own.contains(&addr) {
            own.push_back(addr);
            if own.len() > MAX_OWN {
                own.pop_front();
            }
        }
        self.remove(addr);
    }

    /// Bans a peer: on the internet its IP address, on a network of our own its address and port alone.
    /// Closing its connections is the caller's part.
    pub fn ban(&mut self, addr: SocketAddr) {
        let ban = Ban::of(addr);
        let Shunned { bans, bans_by_age, .. } = &mut **self.shunned.get_or_insert_default();
        if !bans.insert(ban) {
            return;
        }
        bans_by_age.push_back(ban);
        if bans_by_age.len() > MAX_BANS
            && let Some(oldest) = bans_by_age.pop_front()
        {
            bans.remove(&oldest);
        }
        let ip = normal(addr).ip();
        let all_ports = SocketAddr::new(ip, 0)..;
        let banned: Vec<SocketAddr> = self
            .entries
            .range(all_ports)
            .map(|(&known, _)| known)
            .take_while(|known| known.ip() == ip)
            .filter(|&known| Ban::of(known) == ban)
            .collect();
        for known in banned {
            self.remove(known);
        }
    }

    /// Whether nothing speaks against dialling this address once, whoever named it.
    pub(crate) fn may_be_dialled(&self, addr: SocketAddr) -> bool {
        usable(addr).is_some() && !self.is_banned(addr) && !self.is_own(addr)
    }

    /// Whether the peer is banned.
    #[must_use]
    pub fn is_banned(&self, addr: SocketAddr) -> bool {
        self.shunned.as_ref().is_some_and(|shunned| shunned.bans.contains(&Ban::of(addr)))
    }

    /// Whether a connection from `addr` may be taken: it is not banned and its subnet has room.
    #[must_use]
    pub fn admits(&self, addr: SocketAddr) -> bool {
        !self.is_banned(addr) && self.subnet_has_room(addr.ip())
    }

    /// How much a connection with `addr` is worth beside others, the higher the better: when there are too many,
    /// the lowest is dropped (BEP 40).
    #[must_use]
    pub fn priority(&self, addr: SocketAddr) -> u32 {
        if let Some(external) = self.external[family(addr)] {
            return canonical_priority(external, addr);
        }
        let bits = match addr.ip().to_canonical() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => ip
                .segments()
                .iter()
                .fold(0, |bits: u64, segment| bits.rotate_left(13) ^ u64::from(*segment)),
        };
        let mut hash = Rng::new(self.seed ^ bits << 16 ^ u64::from(addr.port()));
        u32::try_from(hash.next_u64() >> 32).unwrap_or(0)
    }

    /// Whether the address is one of ours.
    pub(crate) fn is_own(&self, addr: SocketAddr) -> bool {
        let addr = normal(addr);
        self.shunned.as_ref().is_some_and(|shunned| shunned.own.contains(&addr))
            || self.external.contains(&Some(addr))
    }

    /// Forgets a worse address if the bounds ask for it. Whether there is room now.
    fn make_room(&mut self, new: &Entry) -> bool {
        let trusted = matches!(new.source, PeerSource::User | PeerSource::Tracker);
        let victims = if !trusted && self.held(new.source) >= self.quarter() {
            Some(new.source)
        } else if self.entries.len() >= self.config.max_addrs {
            None
        } else {
            return true;
        };
        match self.queues.worst(victims) {
            Some((worth, worst)) if new.is_users() || worth < new.worth() => {
                self.remove(worst);
                true
            }
            _ => false,
        }
    }

    /// Addresses that `source` holds.
    fn held(&self, source: PeerSource) -> usize {
        self.per_source.get(&source).copied().unwrap_or(0)
    }

    /// Addresses that a source may hold which outsiders control.
    const fn quarter(&self) -> usize {
        self.config.max_addrs / 4
    }

    /// Changes an entry and puts it where it then belongs.
    fn edit(&mut self, now: Instant, addr: SocketAddr, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        if entry.is_idle() {
            self.queues.remove(addr, entry);
        }
        let source = entry.source;
        change(entry);
        if entry.source != source {
            let to = entry.source;
            *self.per_source.entry(source).or_default() -= 1;
            *self.per_source.entry(to).or_default() += 1;
        }
        self.index(now, addr);
    }

    fn index(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(entry) = self.entries.get(&addr)
            && entry.is_idle()
        {
            self.queues.add(now, addr, entry, self.seeding && entry.upload_only);
        }
    }

    fn index_all(&mut self, now: Instant) {
        self.queues = Queues::default();
        let addrs: Vec<SocketAddr> = self.entries.keys().copied().collect();
        for addr in addrs {
            self.index(now, addr);
        }
    }

    fn remove(&mut self, addr: SocketAddr) {
        let Some(entry) = self.entries.remove(&addr) else { return };
        *self.per_source.entry(entry.source).or_default() -= 1;
        if entry.is_idle() {
            self.queues.remove(addr, &entry);
        } else if entry.state == State::Dialing {
            self.vacate(addr.ip());
        }
        // Had it been let out of the park, another may take its turn.
        self.queues.unpark_one(Subnet::of(addr.ip()));
    }

    fn subnet_has_room(&self, ip: IpAddr) -> bool {
        let used = self.subnets.get(&Subnet::of(ip)).copied().unwrap_or(0);
        used < self.config.max_per_subnet || is_local(ip)
    }

    fn occupy(&mut self, ip: IpAddr) {
        *self.subnets.entry(Subnet::of(ip)).or_default() += 1;
    }

    fn vacate(&mut self, ip: IpAddr) {
        let subnet = Subnet::of(ip);
        if let Some(used) = self.subnets.get_mut(&subnet) {
            *used -= 1;
            if *used == 0 {
                self.subnets.remove(&subnet);
            }
        }
        self.queues.unpark_one(subnet);
    }
}

fn family(addr: SocketAddr) -> usize {
    usize::from(addr.ip().to_canonical().is_ipv6())
}

/// An address as the list writes it.
fn normal(addr: SocketAddr) -> SocketAddr {
    usable(addr).unwrap_or(addr)
}

#[cfg(test)]
mod tests;
