//! Finding peers without trackers: the DHT (BEP 5) and local discovery (BEP 14).
//!
//! The torrent says only that it wants to be found and to find, and takes the addresses; how that is done is not its
//! business. **A private torrent (BEP 27) does none of it**: it never asks to be sought, heeds no address from there, and
//! says and hears nothing of DHT nodes.

use super::{PeerKey, PeerSource, Torrent};
use crate::outbox::{Effect, Outbox};
use core::net::SocketAddr;
use samara_wire::peer::message::Message;

impl Torrent {
    /// Asks to be sought, if that is allowed and not so already.
    pub(super) fn seek(&mut self, out: &mut Outbox) {
        let seed = self.have.is_full();
        if self.running && self.config.seek && !self.config.private && self.sought != Some(seed) {
            self.sought = Some(seed);
            out.push(Effect::Seek { seed });
        }
    }

    /// Asks to be sought no more.
    pub(super) fn withdraw(&mut self, out: &mut Outbox) {
        if self.sought.take().is_some() {
            out.push(Effect::Withdraw);
        }
    }

    /// Whether addresses from `source` are heeded.
    pub(super) const fn may_learn_from(&self, source: PeerSource) -> bool {
        match source {
            PeerSource::User | PeerSource::Tracker | PeerSource::Incoming => true,
            PeerSource::Pex | PeerSource::Dht | PeerSource::Local => !self.config.private,
        }
    }

    /// What a peer that has a DHT node is told of ours.
    pub(super) fn dht_greeting(&self, key: PeerKey) -> Option<Message> {
        let port = self.config.dht_port.filter(|_| !self.config.private)?;
        let peer = self.peers.get(key)?;
        peer.reserved.dht().then_some(Message::Port(port))
    }

    /// A peer told the port of its DHT node. Once is enough.
    pub(super) fn on_port(&mut self, key: PeerKey, port: u16, out: &mut Outbox) {
        if self.config.private || self.config.dht_port.is_none() || port == 0 {
            return;
        }
        if let Some(peer) = self.peers.get_mut(key)
            && !core::mem::replace(&mut peer.told_dht_port, true)
        {
            out.push(Effect::DhtNode(SocketAddr::new(peer.addr.ip(), port)));
        }
    }
}
