//! Who is a peer: dialling, newcomers, duplicates, leaving.

use super::allowed_fast::{GRANTED, allowed_fast_set};
use super::peer::Peer;
use super::{Direction, NewPeer, PeerKey, PeerSource, Torrent};
use crate::outbox::{DisconnectReason, Effect, Outbox};
use alloc::boxed::Box;
use core::net::SocketAddr;
use samara_wire::peer::message::Message;
use samara_wire::time::{Duration, Instant};

/// Connections of one torrent being set up at a time. The shell bounds them over all torrents.
const MAX_DIALLING: usize = 30;

/// A connection with the same peer id that has been silent this long is taken for dead.
const SILENT: Duration = Duration::from_secs(60);

/// A peer that wants nothing and has nothing for us may be replaced by a newcomer after this time.
const USELESS: Duration = Duration::from_secs(60);

/// Peers remembered after they left: blocks they sent may turn out corrupt later.
const MAX_DEPARTED: usize = 256;

/// The first bytes of a peer id, by which one tells those who decide as we do.
const CLIENT: usize = 3;

/// What becomes of the older one of two connections with one peer.
enum Older {
    /// It stays, and the newer one is refused.
    Stays,
    /// It makes place for the newer one.
    Goes,
    /// It stays for now: which one the other end keeps is not known.
    StaysForNow,
}

impl Torrent {
    /// A handshake is done.
    ///
    /// # Errors
    /// Why the newcomer is refused; the shell closes the connection, but for [`DisconnectReason::Spare`]. Nothing was kept of it.
    pub fn handle_peer_connected(
        &mut self,
        now: Instant,
        new: NewPeer,
        out: &mut Outbox,
    ) -> Result<PeerKey, DisconnectReason> {
        let outgoing = new.direction == Direction::Outgoing;
        if outgoing {
            self.on_dialled(new.addr);
        }
        if let Err(reason) = self.admit(now, &new, out) {
            if outgoing {
                self.peer_list.on_failed(now, new.addr);
            }
            return Err(reason);
        }
        let pieces = self.layout.count();
        let key = self.peers.insert(|key| {
            let mut peer = Peer::new(now, key, new, pieces);
            peer.holepunch.punched = outgoing && self.holepunch.is_unreachable(new.addr);
            peer
        });
        self.peer_list.on_connected(now, new.addr, outgoing);
        self.picker.peer_joined(&samara_wire::bitfield::Bitfield::empty(pieces));
        self.pex_changed();
        self.greet(now, key, out);
        self.schedule_tick(now);
        Ok(key)
    }

    /// The shell closed the connection, or the other end did.
    pub fn handle_disconnected(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        if self.forget(now, key, out) {
            self.drive_dialling(now, out);
        }
    }

    /// [`Effect::Dial`] came to nothing.
    pub fn handle_dial_failed(&mut self, now: Instant, addr: SocketAddr, out: &mut Outbox) {
        self.on_dial_failed(now, addr);
        self.ask_rendezvous(now, addr, out);
        self.drive_dialling(now, out);
    }

    /// A dial, or a connection begun from both ends, has come about.
    fn on_dialled(&mut self, addr: SocketAddr) {
        let punched = self.holepunch.end_punch(addr);
        // Neither, if it was spare and is offered again.
        if punched || self.dialling.contains(&addr) {
            self.holepunch.note_dial(addr, !punched);
        }
        self.dialling.retain(|dialled| *dialled != addr);
    }

    pub(super) fn on_dial_failed(&mut self, now: Instant, addr: SocketAddr) {
        self.dialling.retain(|dialled| *dialled != addr);
        self.peer_list.on_failed(now, addr);
        if self.punches() {
            self.holepunch.note_dial(addr, false);
        }
    }

    /// Addresses of peers were learned.
    pub fn handle_peers(
        &mut self,
        now: Instant,
        source: PeerSource,
        addrs: &[SocketAddr],
        out: &mut Outbox,
    ) {
        if !self.may_learn_from(source) {
            return;
        }
        for &addr in addrs {
            self.peer_list.add(now, addr, source);
        }
        self.drive_dialling(now, out);
    }

    /// Closes the connection to `key` for `reason`; the peer is forgotten at once.
    pub(super) fn disconnect(
        &mut self,
        now: Instant,
        key: PeerKey,
        reason: DisconnectReason,
        out: &mut Outbox,
    ) {
        let at_fault = matches!(reason, DisconnectReason::Protocol(_));
        if let Some(peer) = self.peers.get_mut(key).filter(|_| at_fault) {
            // Whatever it brought before: not to be dialled again at once.
            peer.payload_moved = 0;
            peer.past_bitfield = false;
        }
        if self.forget(now, key, out) {
            out.push(Effect::Disconnect(key, reason));
        }
    }

    /// Two complete peers have nothing to say to each other.
    pub(super) fn drop_if_redundant(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get(key) else { return };
        if self.complete && peer.past_bitfield && (peer.is_seed() || peer.upload_only) {
            self.disconnect(now, key, DisconnectReason::Redundant, out);
        }
    }

    /// Dials as many peers as there is room for.
    pub(super) fn drive_dialling(&mut self, now: Instant, out: &mut Outbox) {
        if !self.running {
            return;
        }
        let room = self.dial_room();
        if room > 0 {
            for addr in self.peer_list.next_to_dial(now, room) {
                self.dialling.push(addr);
                out.push(Effect::Dial(addr));
                self.on_dial(now, addr, out);
            }
        }
        self.schedule_tick(now);
    }

    /// How many more dials there is room for.
    pub(super) fn dial_room(&self) -> usize {
        let taken = self.peers.len() + self.dialling.len() + self.holepunch.punching();
        let places = self.config.max_peers.saturating_sub(taken);
        places.min(MAX_DIALLING.saturating_sub(self.dialling.len()))
    }

    /// Decides about a newcomer, making room for it if need be.
    fn admit(
        &mut self,
        now: Instant,
        new: &NewPeer,
        out: &mut Outbox,
    ) -> Result<(), DisconnectReason> {
        if !self.running {
            return Err(DisconnectReason::Stopping);
        }
        if new.peer_id == self.config.peer_id {
            self.peer_list.add_own(new.addr);
            return Err(DisconnectReason::Myself);
        }
        if self.peer_list.is_banned(new.addr) {
            return Err(DisconnectReason::Corrupt);
        }
        if new.direction == Direction::Incoming && !self.peer_list.admits(new.addr) {
            return Err(DisconnectReason::Full);
        }
        let twin = self.peers.iter().find(|p| p.peer_id == new.peer_id || p.addr == new.addr);
        if let Some(twin) = twin {
            let (key, silent) = (twin.key, now.since(twin.last_received) > SILENT);
            match self.older(twin, new) {
                _ if silent => {}
                Older::Goes => {}
                Older::Stays => return Err(DisconnectReason::Duplicate),
                Older::StaysForNow => return Err(DisconnectReason::Spare),
            }
            self.disconnect(now, key, DisconnectReason::Duplicate, out);
        }
        if self.peers.len() >= self.config.max_peers {
            let useless = self.peers.iter().find(|p| {
                !p.interested_by_us
                    && !p.interested_in_us
                    && now.since(p.connected_at) > USELESS
                    && now.since(p.last_payload) > USELESS
            });
            let Some(key) = useless.map(|p| p.key) else {
                return Err(DisconnectReason::Full);
            };
            self.disconnect(now, key, DisconnectReason::Replaced, out);
        }
        Ok(())
    }

    /// What becomes of the older one of two connections between the same two peers. When both ends dialled at once, both must come
    /// to the same answer: among clients of our kind it is the one dialled by the smaller peer id. Others have rules of their own
    /// (libtorrent compares ports, and draws lots where they are equal), so with them the other end decides.
    fn older(&self, older: &Peer, newer: &NewPeer) -> Older {
        if older.peer_id != newer.peer_id {
            // At one UDP port there is one program, and it is the one that shook hands last.
            return if older.utp && newer.utp { Older::Goes } else { Older::Stays };
        }
        if older.direction == newer.direction {
            // A peer that dials us again has given the first connection up, though we may not have heard of its end yet:
            // so it is when a magnet link turns into a torrent. From elsewhere it may be somebody else who borrows the id.
            return match newer.direction {
                Direction::Incoming if older.addr.ip() == newer.addr.ip() => Older::Goes,
                Direction::Incoming => Older::Stays,
                Direction::Outgoing => Older::StaysForNow,
            };
        }
        if newer.peer_id.0[..CLIENT] != self.config.peer_id.0[..CLIENT] {
            return Older::StaysForNow;
        }
        let we_are_smaller = self.config.peer_id < newer.peer_id;
        let ours_is_older = older.direction == Direction::Outgoing;
        if ours_is_older == we_are_smaller { Older::Stays } else { Older::Goes }
    }

    /// What we say first: our pieces, our extensions, what is granted while choked.
    fn greet(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.last_sent = now;
        let super_seeding = self.config.super_seeding && self.have.is_full();
        let (fast, extended) = (peer.fast(), peer.reserved.extended());
        let first = if fast && (self.have.is_empty() || super_seeding) {
            Some(Message::HaveNone)
        } else if fast && self.have.is_full() {
            Some(Message::HaveAll)
        } else if self.have.is_empty() || super_seeding {
            None
        } else {
            Some(Message::Bitfield(Box::from(self.have.as_bytes())))
        };
        if fast && !self.have.is_empty() && !super_seeding && self.layout.count() as usize > GRANTED
        {
            let all = allowed_fast_set(peer.addr.ip(), &self.hashes.wire(), self.layout.count());
            peer.granted_fast = all.into_iter().filter(|&p| self.have.has(p)).collect();
        }
        let granted = peer.granted_fast.clone();
        let addr = peer.addr;
        out.extend_send(key, first);
        if extended {
            out.push(Effect::Send(key, self.extension_handshake(addr)));
        }
        out.extend_send(key, granted.into_iter().map(Message::AllowedFast));
        out.extend_send(key, self.dht_greeting(key));
        if super_seeding {
            self.reveal_next(now, key, out);
        }
    }

    /// Takes the peer out of every table. Whether it was there.
    fn forget(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) -> bool {
        let Some(peer) = self.peers.remove(key) else { return false };
        let asked: u64 = peer.outstanding.iter().map(|o| u64::from(o.block.len)).sum();
        self.outstanding_bytes -= asked;
        let gave_back = !peer.outstanding.is_empty();
        self.picker.release_all(key);
        self.crowd.remove(&peer);
        self.pex_changed();
        self.holepunch.forget_introducer(key, None);
        if self.departed.len() == MAX_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back((key, peer.addr));
        self.picker.peer_left(&peer.has);
        let of_use = peer.payload_moved > 0 || peer.past_bitfield;
        self.peer_list.set_upload_only(now, peer.addr, peer.is_seed() || peer.upload_only);
        self.peer_list.on_disconnected(now, peer.addr, of_use);
        if self.running {
            if gave_back {
                self.request_from_all(now, out);
            }
            if !peer.choked_by_us {
                self.drive_choker(now, out);
            }
        }
        true
    }
}
