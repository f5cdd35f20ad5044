//! Peer exchange (BEP 11): telling peers whom we are connected to, and learning from them.
//!
//! - **Never** for a private torrent (BEP 27): the extension is not offered, nothing is sent, nothing is heeded.
//! - A peer is told at most once a minute, and only what changed since it was last told: at most 50 addresses a family
//!   added and as many dropped. Only peers that can be dialled are named: those we dialled, and those that told
//!   their listening port. Addresses of the user's own network are named to peers on it alone.
//! - Of what a peer tells as much is taken as [`crate::pex`] says; a peer that floods is disconnected. The peer list
//!   holds all that was learned so to a quarter of itself.

use super::peer::Peer;
use super::{Direction, PeerKey, PeerSource, Torrent};
use crate::outbox::{Effect, Outbox};
use crate::peer_list::is_local;
use crate::pex::PexIntake;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_pex::{MAX_PER_FAMILY, PexFlags, PexMessage};
use samara_wire::time::{Duration, Instant};

/// Time between two messages to a peer (BEP 11).
const INTERVAL: Duration = Duration::from_secs(60);

/// The first message waits this long, so that it names those who come at the same time.
const FIRST: Duration = Duration::from_secs(2);

/// What a peer has been told, and has told.
#[derive(Debug, Default)]
pub(super) struct PexState {
    /// The id it gave for `ut_pex` messages; 0: it wants none.
    pub(super) id: u8,
    /// Where it listens, if it dialled us and told.
    pub(super) listens: Option<SocketAddr>,
    /// When it may be told next; `None` until it said that it wants to be.
    next: Option<Instant>,
    /// [`Torrent::pex_version`] of what it was told last.
    version: u64,
    told: Told,
    intake: PexIntake,
}

/// Addresses in order, six bytes for one of IPv4: every peer is told of nearly every other, so in a swarm of a thousand they would
/// else be a quarter of all memory.
#[derive(Debug, Default)]
struct Told {
    v4: Vec<SocketAddrV4>,
    v6: Vec<SocketAddrV6>,
}

impl Told {
    fn contains(&self, addr: SocketAddr) -> bool {
        match addr {
            SocketAddr::V4(addr) => self.v4.binary_search(&addr).is_ok(),
            SocketAddr::V6(addr) => self.v6.binary_search(&addr).is_ok(),
        }
    }

    fn insert(&mut self, addr: SocketAddr) {
        match addr {
            SocketAddr::V4(addr) => insert(&mut self.v4, addr),
            SocketAddr::V6(addr) => insert(&mut self.v6, addr),
        }
    }

    fn remove(&mut self, addr: SocketAddr) {
        match addr {
            SocketAddr::V4(addr) => remove(&mut self.v4, addr),
            SocketAddr::V6(addr) => remove(&mut self.v6, addr),
        }
    }

    fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        let v6 = self.v6.iter().copied().map(SocketAddr::V6);
        self.v4.iter().copied().map(SocketAddr::V4).chain(v6)
    }
}

fn insert<A: Ord>(sorted: &mut Vec<A>, addr: A) {
    if let Err(place) = sorted.binary_search(&addr) {
        sorted.insert(place, addr);
    }
}

fn remove<A: Ord>(sorted: &mut Vec<A>, addr: A) {
    if let Ok(place) = sorted.binary_search(&addr) {
        sorted.remove(place);
    }
}

impl PexState {
    /// The peer said whether it wants to be told, and under which id.
    pub(super) fn wants(&mut self, now: Instant, id: u8) {
        self.id = id;
        if id != 0 && self.next.is_none() {
            self.next = Some(now + FIRST);
        }
    }
}

impl Peer {
    /// Where others can dial it, as far as we know.
    pub(super) fn dial_addr(&self) -> Option<SocketAddr> {
        match self.direction {
            Direction::Outgoing => Some(self.addr),
            Direction::Incoming => self.pex.listens,
        }
    }

    fn pex_flags(&self) -> PexFlags {
        let seed = if self.is_seed() || self.upload_only { PexFlags::SEED } else { 0 };
        let reached = self.direction == Direction::Outgoing && !self.holepunch.punched;
        let utp = if self.utp { PexFlags::UTP } else { 0 };
        let punches = if self.holepunch.id != 0 { PexFlags::HOLEPUNCH } else { 0 };
        PexFlags(seed | utp | punches | if reached { PexFlags::REACHABLE } else { 0 })
    }
}

impl Torrent {
    /// Who is connected, or where they can be dialled, has changed.
    pub(super) fn pex_changed(&mut self) {
        self.pex_version += 1;
        self.pex_due = None;
    }

    /// When the next peer is to be told something.
    pub(super) fn next_pex(&mut self) -> Option<Instant> {
        if self.config.private {
            return None;
        }
        let due = self.pex_due.unwrap_or_else(|| self.find_pex_due());
        self.pex_due = Some(due);
        due
    }

    fn find_pex_due(&self) -> Option<Instant> {
        let news = |peer: &&Peer| peer.pex.id != 0 && peer.pex.version != self.pex_version;
        self.peers.iter().filter(news).filter_map(|peer| peer.pex.next).min()
    }

    /// What is kept is what a look at all peers would find.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn check_pex_due(&self) {
        assert!(self.pex_due.is_none_or(|due| due == self.find_pex_due()));
    }

    /// Tells everybody whose time has come.
    pub(super) fn drive_pex(&mut self, now: Instant, out: &mut Outbox) {
        if self.next_pex().is_none_or(|at| at > now) {
            return;
        }
        let known: BTreeMap<SocketAddr, PexFlags> =
            self.peers.iter().filter_map(|p| Some((p.dial_addr()?, p.pex_flags()))).collect();
        let version = self.pex_version;
        self.pex_due = None;
        for peer in self.peers.iter_mut() {
            let due = peer.pex.next.is_some_and(|at| at <= now);
            if peer.pex.id == 0 || peer.pex.version == version || !due {
                continue;
            }
            let (message, whole) = delta(peer, &known);
            if whole {
                peer.pex.version = version;
            }
            if message.is_empty() {
                continue;
            }
            peer.pex.next = Some(now + INTERVAL);
            peer.last_sent = now;
            let payload = message.encode().into();
            out.push(Effect::Send(peer.key, Message::Extended { id: peer.pex.id, payload }));
        }
    }

    /// A message of `ut_pex`.
    ///
    /// # Errors
    /// The peer's fault, in words.
    pub(super) fn on_pex(
        &mut self,
        now: Instant,
        key: PeerKey,
        payload: &[u8],
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        let complete = self.complete;
        let Some(peer) = self.peers.get_mut(key).filter(|_| !self.config.private) else {
            return Ok(());
        };
        let named = peer.pex.intake.take(now, peer.addr, payload);
        let named = named.map_err(|_| "peer exchange far more often than once a minute")?;
        // A seed looks for no seeds.
        let wanted = named.into_iter().filter(|(_, flags)| !(complete && flags.is_seed()));
        let wanted: Vec<_> = wanted.collect();
        self.on_introduced(now, key, &wanted, out);
        let added: Vec<_> = wanted.into_iter().map(|(addr, _)| addr).collect();
        self.handle_peers(now, PeerSource::Pex, &added, out);
        Ok(())
    }
}

/// What `peer` is to be told so that it knows of `known`, and whether it then knows of all.
fn delta(peer: &mut Peer, known: &BTreeMap<SocketAddr, PexFlags>) -> (PexMessage, bool) {
    let of_own_network = is_local(peer.addr.ip());
    let itself = peer.dial_addr();
    let fit = |addr: &SocketAddr| {
        Some(*addr) != itself && *addr != peer.addr && (of_own_network || !is_local(addr.ip()))
    };
    let mut message = PexMessage::default();
    let new = known.iter().filter(|(addr, _)| fit(addr) && !peer.pex.told.contains(**addr));
    let mut whole = take(new.map(|(addr, flags)| (*addr, *flags)), |(a, _)| a, &mut message.added);
    let gone = peer.pex.told.iter().filter(|addr| !known.contains_key(addr));
    whole &= take(gone, |addr| addr, &mut message.dropped);
    message.added.iter().for_each(|(addr, _)| peer.pex.told.insert(*addr));
    message.dropped.iter().for_each(|addr| peer.pex.told.remove(*addr));
    (message, whole)
}

/// Takes at most [`MAX_PER_FAMILY`] of each family. Whether those were all.
fn take<T: Copy>(
    items: impl Iterator<Item = T>,
    addr: impl Fn(T) -> SocketAddr,
    to: &mut Vec<T>,
) -> bool {
    let (mut taken, mut all) = ([0; 2], true);
    for item in items {
        let count = &mut taken[usize::from(addr(item).is_ipv4())];
        if *count == MAX_PER_FAMILY {
            all = false;
            continue;
        }
        *count += 1;
        to.push(item);
    }
    all
}
