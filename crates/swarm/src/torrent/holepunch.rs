//! Hole punching (BEP 55): with the help of a third peer two that cannot dial each other, each behind a NAT, begin a uTP
//! connection to each other at the same moment, and each NAT takes the other's packets for answers.
//!
//! All three parts are here:
//!
//! - **Who dials.** When a dial fails, or takes long ([`Torrent::handle_dial_slow`]), and a connected peer has told us of that
//!   address (BEP 11) and that hole punching is spoken there, that peer is asked to bring us together. At once, where
//!   the address could not be dialled before. Each address is asked for once in a while; of several who told of it the next one is
//!   asked the next time.
//! - **The third.** Who asks is brought together with a peer of ours that supports it, each being told how the other is
//!   seen from here.
//! - **Who is told to connect** does so, by uTP alone and instead of any dial under way ([`Effect::Punch`]).
//!
//! Not for private torrents, which tell nobody of anybody. What anybody can bring about is bounded: a peer is heeded a number of
//! times a minute, nobody is told to connect more often than that, and few connections are begun at a time. We as the third send
//! people to addresses that we are connected with ourselves and to no others. Addresses in our own network are named to peers on
//! it alone, and strangers name none of them.

use super::peer::Peer;
use super::{Direction, PeerKey, Torrent};
use crate::outbox::{Effect, Outbox};
use crate::peer_list::{is_local, is_usable};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_holepunch::{HolepunchError, HolepunchMessage};
use samara_wire::peer::ut_pex::PexFlags;
use samara_wire::time::{Duration, Instant};

/// The id under which we want `ut_holepunch` messages.
pub(super) const UT_HOLEPUNCH_ID: u8 = 4;

/// Addresses of which we remember who told us, of these told by one peer, and peers who told of one.
const MAX_INTRODUCED: usize = 512;
const MAX_OF_ONE: usize = 100;
const MAX_INTRODUCERS: usize = 3;

/// Addresses that we asked to be brought together with lately; and when each may be asked for again.
const MAX_ASKED: usize = 64;
const ASK_AGAIN: Duration = Duration::from_secs(120);

/// Connections that we begin at the same time as their other end. They are beside those that we dial: their moment passes.
const MAX_PUNCHING: usize = 8;

/// Addresses remembered of those that could not be dialled.
const MAX_UNREACHABLE: usize = 64;

/// In a minute: messages of one peer that are heeded, what one peer is asked, and how often one is told to connect. The first is
/// the greatest, so that we are heeded by those who do as we do.
const MAX_HEEDED: u8 = 24;
const MAX_SENT: u8 = 12;
const WINDOW: Duration = Duration::from_secs(60);

/// What a torrent knows of peers that have to be reached with the help of others: most torrents, nothing.
#[derive(Debug, Default)]
pub(super) struct Holepunch(Option<Box<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Who told of an address, of those that can bring us together; whose turn it is to be asked stands first.
    introducers: BTreeMap<SocketAddr, VecDeque<PeerKey>>,
    asked: BTreeMap<SocketAddr, Instant>,
    /// Peers with which a connection is begun from both ends.
    punching: Vec<SocketAddr>,
    /// Addresses that could not be dialled, oldest first.
    unreachable: VecDeque<SocketAddr>,
}

/// What is known of one peer in this matter.
#[derive(Debug, Default)]
pub(super) struct PeerHolepunch {
    /// The id it gave for `ut_holepunch` messages; 0: it does not support it.
    pub(super) id: u8,
    /// The connection was begun from both ends: it says nothing of whether the peer can be dialled.
    pub(super) punched: bool,
    heeded: Budget,
    asked: Budget,
    told: Budget,
}

/// So many times a minute.
#[derive(Debug, Default)]
struct Budget {
    since: Instant,
    spent: u8,
}

impl Budget {
    /// Whether it may be done once more; then it counts as done.
    fn spend(&mut self, now: Instant, most: u8) -> bool {
        if self.spent == 0 || now.since(self.since) >= WINDOW {
            (self.since, self.spent) = (now, 0);
        }
        let may = self.spent < most;
        self.spent += u8::from(may);
        may
    }
}

impl Holepunch {
    /// Whether a connection to `addr` is being begun from both ends.
    pub(super) fn is_punching(&self, addr: SocketAddr) -> bool {
        self.0.as_ref().is_some_and(|known| known.punching.contains(&addr))
    }

    /// How many such connections are being begun.
    pub(super) fn punching(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.punching.len())
    }

    /// One of them has come to something, or not. Whether it was one.
    pub(super) fn end_punch(&mut self, addr: SocketAddr) -> bool {
        let Some(known) = &mut self.0 else { return false };
        let before = known.punching.len();
        known.punching.retain(|punched| *punched != addr);
        known.punching.len() < before
    }

    /// Whether it was found that the address cannot be dialled.
    pub(super) fn is_unreachable(&self, addr: SocketAddr) -> bool {
        self.0.as_ref().is_some_and(|known| known.unreachable.contains(&addr))
    }

    /// The address can be dialled, or not.
    pub(super) fn note_dial(&mut self, addr: SocketAddr, reached: bool) {
        if reached && self.0.is_none() {
            return;
        }
        let unreachable = &mut self.known().unreachable;
        unreachable.retain(|known| *known != addr);
        if !reached {
            if unreachable.len() == MAX_UNREACHABLE {
                unreachable.pop_front();
            }
            unreachable.push_back(addr);
        }
    }

    fn known(&mut self) -> &mut Known {
        self.0.get_or_insert_default()
    }

    /// The peer `key` told of `addr`.
    fn introduce(&mut self, key: PeerKey, addr: SocketAddr) {
        let introducers = &mut self.known().introducers;
        if introducers.len() >= MAX_INTRODUCED && !introducers.contains_key(&addr) {
            return;
        }
        let known = introducers.entry(addr).or_default();
        if known.len() < MAX_INTRODUCERS && !known.contains(&key) {
            known.push_back(key);
        }
    }

    /// The peer cannot help, with `addr` or, if there is none, with anybody. Whether it was one that might have.
    pub(super) fn forget_introducer(&mut self, key: PeerKey, addr: Option<SocketAddr>) -> bool {
        let Some(known) = &mut self.0 else { return false };
        let mut knew = false;
        known.introducers.retain(|introduced, known| {
            if addr.is_none_or(|addr| addr == *introduced) {
                let before = known.len();
                known.retain(|by| *by != key);
                knew |= known.len() < before;
            }
            !known.is_empty()
        });
        knew
    }
}

impl Peer {
    /// Where its uTP packets come from, or would be expected.
    fn utp_addr(&self) -> Option<SocketAddr> {
        let same = self.utp || self.direction == Direction::Outgoing;
        if same { Some(self.addr) } else { self.pex.listens }
    }

    fn holepunch(&self, message: HolepunchMessage) -> Effect {
        let payload = message.encode().into();
        Effect::Send(self.key, Message::Extended { id: self.holepunch.id, payload })
    }
}

impl Torrent {
    /// Whether we take part.
    pub(super) fn punches(&self) -> bool {
        self.config.holepunch && !self.config.private
    }

    /// The peer `key` told of these.
    pub(super) fn on_introduced(
        &mut self,
        now: Instant,
        key: PeerKey,
        named: &[(SocketAddr, PexFlags)],
        out: &mut Outbox,
    ) {
        if !self.punches() || self.peers.get(key).is_none_or(|peer| peer.holepunch.id == 0) {
            return;
        }
        let of_one = |known: &&VecDeque<PeerKey>| known.contains(&key);
        let told = self.holepunch.known().introducers.values().filter(of_one).count();
        let willing = named.iter().filter(|(addr, flags)| flags.punches() && is_usable(*addr));
        for &(addr, _) in willing.take(MAX_OF_ONE.saturating_sub(told)) {
            self.holepunch.introduce(key, addr);
            if self.holepunch.is_unreachable(addr) {
                self.ask_rendezvous(now, addr, out);
            }
        }
    }

    /// A dial takes so long that the peer may not be reachable. It goes on, but others are asked for help.
    pub fn handle_dial_slow(&mut self, now: Instant, addr: SocketAddr, out: &mut Outbox) {
        if self.dialling.contains(&addr) {
            self.ask_rendezvous(now, addr, out);
        }
    }

    /// [`Effect::Punch`] came to nothing. If a dial was given up for it, that has failed, too.
    pub fn handle_punch_failed(&mut self, now: Instant, addr: SocketAddr, out: &mut Outbox) {
        if !self.holepunch.end_punch(addr) {
            return;
        }
        if self.dialling.contains(&addr) {
            self.on_dial_failed(now, addr);
        }
        self.drive_dialling(now, out);
    }

    /// The address is dialled: if that did not work before, help is asked for at once.
    pub(super) fn on_dial(&mut self, now: Instant, addr: SocketAddr, out: &mut Outbox) {
        if self.holepunch.is_unreachable(addr) {
            self.ask_rendezvous(now, addr, out);
        }
    }

    /// Asks one who told of the address to bring us together.
    pub(super) fn ask_rendezvous(&mut self, now: Instant, addr: SocketAddr, out: &mut Outbox) {
        if !self.running || !self.punches() || self.is_met(addr) {
            return;
        }
        let Some(known) = &mut self.holepunch.0 else { return };
        let Known { introducers, asked, .. } = &mut **known;
        asked.retain(|_, at| now.since(*at) < ASK_AGAIN);
        if asked.contains_key(&addr) || asked.len() >= MAX_ASKED {
            return;
        }
        let Some(known) = introducers.get_mut(&addr) else { return };
        for _ in 0..known.len() {
            known.rotate_left(1);
            let by = known.back().and_then(|key| self.peers.get_mut(*key));
            let Some(peer) = by.filter(|peer| peer.holepunch.id != 0) else { continue };
            if peer.holepunch.asked.spend(now, MAX_SENT) {
                asked.insert(addr, now);
                peer.last_sent = now;
                out.push(peer.holepunch(HolepunchMessage::Rendezvous(addr)));
                return;
            }
        }
    }

    /// Whether the peer is connected, or a connection is being begun from both ends.
    fn is_met(&self, addr: SocketAddr) -> bool {
        self.holepunch.is_punching(addr)
            || self.peers.iter().any(|p| p.addr == addr || p.pex.listens == Some(addr))
    }

    /// A message of `ut_holepunch`. One that cannot be read is passed over.
    pub(super) fn on_holepunch(
        &mut self,
        now: Instant,
        key: PeerKey,
        payload: &[u8],
        out: &mut Outbox,
    ) {
        if !self.punches() || !self.running {
            return;
        }
        let Ok(message) = HolepunchMessage::parse(payload) else { return };
        let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.holepunch.id != 0) else {
            return;
        };
        if !peer.holepunch.heeded.spend(now, MAX_HEEDED) {
            return;
        }
        let stranger = !is_local(peer.addr.ip());
        match message {
            HolepunchMessage::Rendezvous(addr) => self.bring_together(now, key, addr, out),
            HolepunchMessage::Connect(addr) if stranger && is_local(addr.ip()) => {}
            HolepunchMessage::Connect(addr) => self.punch(addr, out),
            // Somebody else who told of it may know it still. Who never told of it has no say in whom we ask.
            HolepunchMessage::Error(addr, _) => {
                if self.holepunch.forget_introducer(key, Some(addr)) {
                    self.holepunch.known().asked.remove(&addr);
                    if self.dialling.contains(&addr) {
                        self.ask_rendezvous(now, addr, out);
                    }
                }
            }
        }
    }

    /// We are the third: tells the one who asks and the one who is meant to connect to each other.
    fn bring_together(&mut self, now: Instant, key: PeerKey, addr: SocketAddr, out: &mut Outbox) {
        let Some(asking) = self.peers.get(key) else { return };
        let (meant, from, to) = match self.meeting(asking, addr) {
            Ok(meeting) => meeting,
            Err(why) => {
                out.push(asking.holepunch(HolepunchMessage::Error(addr, why)));
                if let Some(asking) = self.peers.get_mut(key) {
                    asking.last_sent = now;
                }
                return;
            }
        };
        let Some(told) = self.peers.get_mut(meant) else { return };
        if !told.holepunch.told.spend(now, MAX_SENT) {
            return;
        }
        told.last_sent = now;
        let to_meant = told.holepunch(HolepunchMessage::Connect(from));
        let Some(asking) = self.peers.get_mut(key) else { return };
        asking.last_sent = now;
        out.push(asking.holepunch(HolepunchMessage::Connect(to)));
        out.push(to_meant);
    }

    /// Whom `asking` means by `addr`, and where each is to find the other: the one who asks, and the one who is meant.
    fn meeting(
        &self,
        asking: &Peer,
        addr: SocketAddr,
    ) -> Result<(PeerKey, SocketAddr, SocketAddr), HolepunchError> {
        if !is_usable(addr) || !may_meet(asking.addr, addr) {
            return Err(HolepunchError::NoSuchPeer);
        }
        if self.peer_list.is_own(addr) {
            return Err(HolepunchError::NoSelf);
        }
        let known_as = |p: &&Peer| p.addr == addr || p.dial_addr() == Some(addr);
        let meant = self.peers.iter().find(known_as).ok_or(HolepunchError::NotConnected)?;
        if meant.key == asking.key {
            return Err(HolepunchError::NoSuchPeer);
        }
        if meant.holepunch.id == 0 {
            return Err(HolepunchError::NoSupport);
        }
        let places = asking.utp_addr().zip(meant.utp_addr());
        let (from, to) = places.ok_or(HolepunchError::NoSuchPeer)?;
        Ok((meant.key, from, to))
    }

    /// Begins a uTP connection to `addr`, which does the same now.
    fn punch(&mut self, addr: SocketAddr, out: &mut Outbox) {
        let dialled = self.dialling.contains(&addr);
        let taken = self.peers.len() + self.dialling.len() + self.holepunch.punching();
        let room = dialled || (taken < self.config.max_peers && self.peer_list.admits(addr));
        let full = self.holepunch.punching() >= MAX_PUNCHING;
        if full || !room || self.is_met(addr) || !self.peer_list.may_be_dialled(addr) {
            return;
        }
        self.holepunch.known().punching.push(addr);
        out.push(Effect::Punch(addr));
    }
}

/// Whether two peers can have a connection at all: addresses of one family, both of our own network or neither.
fn may_meet(a: SocketAddr, b: SocketAddr) -> bool {
    a.is_ipv4() == b.is_ipv4() && is_local(a.ip()) == is_local(b.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> PeerKey {
        PeerKey { slot, generation: 0 }
    }

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 9], n))
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_with_its_source() {
        let mut holepunch = Holepunch::default();
        for n in 1..2000 {
            for by in 0..10 {
                holepunch.introduce(key(by), addr(n));
                holepunch.introduce(key(by), addr(n));
            }
            holepunch.note_dial(addr(n), false);
        }
        let known = holepunch.known();
        assert_eq!(known.introducers.len(), MAX_INTRODUCED);
        assert!(known.introducers.values().all(|by| *by == [key(0), key(1), key(2)]));
        assert_eq!(known.unreachable.len(), MAX_UNREACHABLE);
        assert!(holepunch.is_unreachable(addr(1999)) && !holepunch.is_unreachable(addr(1)));
        holepunch.note_dial(addr(1999), true);
        assert!(!holepunch.is_unreachable(addr(1999)));
        assert!(holepunch.forget_introducer(key(0), Some(addr(1))));
        assert!(!holepunch.forget_introducer(key(0), Some(addr(1))), "it is no more");
        assert_eq!(holepunch.known().introducers[&addr(1)], [key(1), key(2)]);
        assert!((0..3).all(|by| holepunch.forget_introducer(key(by), None)));
        assert!(holepunch.known().introducers.is_empty());
    }

    #[test]
    fn a_budget_is_for_a_minute() {
        let (mut budget, now) = (Budget::default(), Instant::from_secs(5));
        assert_eq!((0..300).filter(|_| budget.spend(now, 12)).count(), 12);
        assert!(!budget.spend(now + Duration::from_secs(59), 12));
        assert!(budget.spend(now + Duration::from_secs(60), 12));
    }
}
