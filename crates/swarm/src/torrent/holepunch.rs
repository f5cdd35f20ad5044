//! Hole punching (BEP 55): with the help of a third peer two that cannot dial each other, each behind a NAT, begin a uTP
//! connection to each other at the same moment, and each NAT takes the other's packets for answers.
//!
//! All three parts are here:
//!
//! - **Who dials.** When a dial fails and a connected peer had told us of that address (BEP 11), that peer is asked to bring
//!   us together, once in a while for each address.
//! - **The third.** Who asks is brought together with a peer of ours that supports it, each being told how the other is
//!   seen from here.
//! - **Who is told to connect** does so, by uTP alone ([`Effect::Punch`]).
//!
//! Not for private torrents, which tell nobody of anybody. A peer is heeded a few times a minute: each message makes us,
//! or two of our peers, send a few packets to an address that the peer chose. Addresses in our own network are not for
//! strangers to name.

use super::peer::Peer;
use super::{Direction, PeerKey, Torrent};
use crate::outbox::{Effect, Outbox};
use crate::peer_list::is_local;
use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_holepunch::{HolepunchError, HolepunchMessage};
use samara_wire::time::{Duration, Instant};

/// The id under which we want `ut_holepunch` messages.
pub(super) const UT_HOLEPUNCH_ID: u8 = 4;

/// Addresses of which we remember who told us.
const MAX_INTRODUCED: usize = 512;

/// Addresses that we asked to be brought together with lately; and when each may be asked for again.
const MAX_ASKED: usize = 64;
const ASK_AGAIN: Duration = Duration::from_secs(120);

/// Messages of one peer that are heeded in a minute.
const MAX_HEEDED: u8 = 12;
const WINDOW: Duration = Duration::from_secs(60);

/// What a torrent knows of peers that have to be reached with the help of others.
#[derive(Debug, Default)]
pub(super) struct Holepunch {
    /// Who told of an address last, of those that can bring us together.
    introducers: BTreeMap<SocketAddr, PeerKey>,
    asked: BTreeMap<SocketAddr, Instant>,
}

/// What is known of one peer in this matter.
#[derive(Debug, Default)]
pub(super) struct PeerHolepunch {
    /// The id it gave for `ut_holepunch` messages; 0: it does not support it.
    pub(super) id: u8,
    /// When messages began to be counted, and how many came since.
    window: Option<(Instant, u8)>,
}

impl PeerHolepunch {
    /// Whether a message that comes now is heeded.
    fn heeds(&mut self, now: Instant) -> bool {
        let (since, count) = self.window.get_or_insert((now, 0));
        if now.since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= MAX_HEEDED
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

    /// The peer `key` told of `addrs`.
    pub(super) fn on_introduced(&mut self, key: PeerKey, addrs: &[SocketAddr]) {
        if !self.punches() || self.peers.get(key).is_none_or(|peer| peer.holepunch.id == 0) {
            return;
        }
        let introducers = &mut self.holepunch.introducers;
        for addr in addrs {
            if introducers.len() < MAX_INTRODUCED || introducers.contains_key(addr) {
                introducers.insert(*addr, key);
            }
        }
    }

    /// The peer is gone: nobody can be reached with its help.
    pub(super) fn forget_introducer(&mut self, key: PeerKey) {
        self.holepunch.introducers.retain(|_, by| *by != key);
    }

    /// A dial failed: asks who told us of the address to bring us together.
    pub(super) fn ask_rendezvous(&mut self, now: Instant, addr: SocketAddr, out: &mut Outbox) {
        if !self.running || !self.punches() {
            return;
        }
        let Holepunch { introducers, asked } = &mut self.holepunch;
        asked.retain(|_, at| now.since(*at) < ASK_AGAIN);
        let by = introducers.get(&addr).filter(|_| !asked.contains_key(&addr));
        let Some(peer) = by.and_then(|key| self.peers.get_mut(*key)) else { return };
        if asked.len() < MAX_ASKED && peer.holepunch.id != 0 {
            asked.insert(addr, now);
            peer.last_sent = now;
            out.push(peer.holepunch(HolepunchMessage::Rendezvous(addr)));
        }
    }

    /// A message of `ut_holepunch`. One that cannot be read is passed over.
    pub(super) fn on_holepunch(
        &mut self,
        now: Instant,
        key: PeerKey,
        payload: &[u8],
        out: &mut Outbox,
    ) {
        if !self.punches() {
            return;
        }
        let Ok(message) = HolepunchMessage::parse(payload) else { return };
        let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.holepunch.id != 0) else {
            return;
        };
        if !peer.holepunch.heeds(now) {
            return;
        }
        let stranger = !is_local(peer.addr.ip());
        match message {
            HolepunchMessage::Rendezvous(addr) => self.bring_together(now, key, addr, out),
            HolepunchMessage::Connect(addr) if stranger && is_local(addr.ip()) => {}
            HolepunchMessage::Connect(addr) => self.punch(addr, out),
            // The address is not asked for again for a while; nothing else follows.
            HolepunchMessage::Error(..) => {}
        }
    }

    /// We are the third: tells the one who asks and the one who is meant to connect to each other.
    fn bring_together(&mut self, now: Instant, key: PeerKey, addr: SocketAddr, out: &mut Outbox) {
        let Some(asking) = self.peers.get(key) else { return };
        let meant = self.peers.iter().find(|p| p.addr == addr || p.dial_addr() == Some(addr));
        let refusal = match meant {
            _ if addr.port() == 0 => Some(HolepunchError::NoSuchPeer),
            _ if self.peer_list.is_own(addr) => Some(HolepunchError::NoSelf),
            None => Some(HolepunchError::NotConnected),
            Some(meant) if meant.key == key => Some(HolepunchError::NoSuchPeer),
            Some(meant) if meant.holepunch.id == 0 => Some(HolepunchError::NoSupport),
            Some(_) => None,
        };
        let told = match (meant, refusal) {
            (Some(meant), None) => {
                let (Some(from), Some(to)) = (asking.utp_addr(), meant.utp_addr()) else { return };
                out.push(asking.holepunch(HolepunchMessage::Connect(to)));
                out.push(meant.holepunch(HolepunchMessage::Connect(from)));
                Some(meant.key)
            }
            (_, refusal) => {
                let why = refusal.unwrap_or(HolepunchError::NotConnected);
                out.push(asking.holepunch(HolepunchMessage::Error(addr, why)));
                None
            }
        };
        for key in [Some(key), told].into_iter().flatten() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.last_sent = now;
            }
        }
    }

    /// Begins a uTP connection to `addr`, which does the same now.
    fn punch(&mut self, addr: SocketAddr, out: &mut Outbox) {
        let known = self.dialling.contains(&addr) || self.peers.iter().any(|p| p.addr == addr);
        if known || self.dial_room() == 0 || !self.peer_list.may_be_dialled(addr) {
            return;
        }
        self.dialling.push(addr);
        out.push(Effect::Punch(addr));
    }
}
