//! What the user of a node can ask for.

use super::jobs::Goal;
use super::{Dht, Method, Purpose};
use crate::announces::Announcement;
use crate::lookup::LookupId;
use crate::outbox::Outbox;
use crate::upkeep::{MAX_KEPT, MAX_WATCHED};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::bencode::{self, Limits};
use samara_wire::id::WireHash;
use samara_wire::krpc::{
    AnnouncedPort, Item, MAX_ITEM_VALUE, MAX_SALT, NodeId, NodeInfo, PublicKey, immutable_target,
    mutable_target,
};
use samara_wire::time::Instant;

/// Why an item cannot be put.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PutError {
    /// The value is no bencode.
    #[error("the value of an item must be one bencoded value")]
    NotBencode,
    /// The value is too long.
    #[error("the value of an item is limited to 1,000 bytes")]
    TooBig,
    /// The salt is too long.
    #[error("the salt of an item is limited to 64 bytes")]
    SaltTooBig,
    /// So many items are put again each hour that no more are taken.
    #[error("{MAX_KEPT} items are put again each hour already; withdraw one first")]
    TooMany,
    /// The signature is not of the key, or the number is negative.
    #[error("the signature of the item does not match")]
    BadSignature,
}

/// Why an item cannot be watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WatchError {
    /// The salt is too long.
    #[error("the salt of an item is limited to 64 bytes")]
    SaltTooBig,
    /// So many are watched that no more are taken.
    #[error("{MAX_WATCHED} items are watched already")]
    TooMany,
}

impl Dht {
    /// Begins to join the network.
    pub fn handle_start(&mut self, now: Instant, out: &mut Outbox) {
        if self.running {
            return;
        }
        self.running = true;
        self.next_tick = now;
        self.next_expiry = now;
        self.join_at = Some(now);
        self.handle_timeout(now, out);
    }

    /// Endpoints where nodes may be: of a torrent's `nodes` (BEP 5), of a peer's `port` message, of the user.
    /// Each is asked whether it is there. More than the limits allow are ignored.
    pub fn handle_endpoints(&mut self, now: Instant, addrs: &[SocketAddr], out: &mut Outbox) {
        for &addr in addrs.iter().filter(|addr| addr.port() != 0) {
            let known = self.table.live().any(|entry| entry.info.addr == addr);
            if self.running && self.config.family.is_of(addr.ip()) && !known {
                self.ask(now, addr, None, Method::Ping, Purpose::Ping, out);
            }
        }
    }

    /// Nodes that our own node in the other network knows ([`Dht::good_nodes`]). They take the place of those named before and are
    /// told, for 15 minutes, to those who ask for nodes of both families (BEP 32). At most
    /// [`crate::other_family::MAX`] are taken.
    pub fn handle_other_family(&mut self, now: Instant, nodes: &[NodeInfo]) {
        let family = self.config.family;
        let usable = |node: &&NodeInfo| !family.is_of(node.addr.ip()) && node.addr.port() != 0;
        self.other_family.replace(now, nodes.iter().filter(usable).copied());
    }

    /// Looks for peers of a torrent. They come as [`crate::Event::PeersFound`], the end as
    /// [`crate::Event::LookupDone`].
    pub fn lookup_peers(
        &mut self,
        now: Instant,
        info_hash: WireHash,
        out: &mut Outbox,
    ) -> LookupId {
        let goal = Goal::Peers { info_hash, scrape: false };
        self.begin(now, NodeId(info_hash.0), goal, out)
    }

    /// Counts the peers of a torrent (BEP 33). The result is [`crate::LookupOutcome::swarm`].
    pub fn scrape(&mut self, now: Instant, info_hash: WireHash, out: &mut Outbox) -> LookupId {
        let goal = Goal::Peers { info_hash, scrape: true };
        self.begin(now, NodeId(info_hash.0), goal, out)
    }

    /// Announces that we are a peer of a torrent, now and from now on until [`Dht::withdraw`]. Peers met on the way come as
    /// [`crate::Event::PeersFound`]. Never to be called for a private torrent (BEP 27).
    pub fn announce(
        &mut self,
        now: Instant,
        info_hash: WireHash,
        port: AnnouncedPort,
        seed: bool,
        out: &mut Outbox,
    ) {
        self.announces.insert(now, info_hash, Announcement { port, seed });
        self.drive_waiting(now, out);
    }

    /// Announces a torrent no more. What others have stored they forget within half an hour.
    pub fn withdraw(&mut self, info_hash: &WireHash) {
        self.announces.remove(info_hash);
    }

    /// Looks for an item (BEP 44) at `target`. `salt` is that of a mutable item, or empty. The item comes as
    /// [`crate::Event::ItemFound`].
    pub fn get_item(
        &mut self,
        now: Instant,
        target: NodeId,
        salt: Vec<u8>,
        out: &mut Outbox,
    ) -> LookupId {
        self.begin(now, target, Goal::Get { salt }, out)
    }

    /// Stores an item (BEP 44); a mutable one is signed already ([`crate::signature::SecretKey::sign`]). With `cas`
    /// only where the stored item has this number. It is put again within each hour, until [`Dht::withdraw_item`]; or until a newer
    /// one is found in its place, which comes as [`crate::Event::ItemFound`]. If there is a `cas` and few take it, it is not.
    ///
    /// # Errors
    /// If no node would take it, or too many are kept already.
    pub fn put_item(
        &mut self,
        now: Instant,
        item: Item,
        salt: Vec<u8>,
        cas: Option<i64>,
        out: &mut Outbox,
    ) -> Result<LookupId, PutError> {
        if item.value.len() > MAX_ITEM_VALUE {
            return Err(PutError::TooBig);
        }
        if salt.len() > MAX_SALT {
            return Err(PutError::SaltTooBig);
        }
        bencode::parse(&item.value, Limits::WIRE).map_err(|_| PutError::NotBencode)?;
        let target = match &item.signed {
            None => immutable_target(&item.value),
            Some(signed) => {
                let good = crate::signature::verifies(signed, &salt, &item.value);
                if signed.seq < 0 || !good {
                    return Err(PutError::BadSignature);
                }
                mutable_target(&signed.key, &salt)
            }
        };
        let item = Box::new(item);
        if !self.upkeep.keep(now, target, item.clone(), salt.clone(), cas.is_some()) {
            return Err(PutError::TooMany);
        }
        Ok(self.begin(now, target, Goal::Put { item, salt, cas }, out))
    }

    /// Puts the item at `target` no more. Others forget it within two hours.
    pub fn withdraw_item(&mut self, target: &NodeId) {
        self.upkeep.withdraw(target);
    }

    /// Follows a mutable item (BEP 46): asks for it now and every quarter of an hour until [`Dht::unwatch_item`].
    /// Each version newer than `known` comes as [`crate::Event::ItemFound`] of the lookup that is returned, once; the lookup
    /// never ends. Nodes that should have the item and do not are given it, so that it lives as long as somebody follows it.
    ///
    /// # Errors
    /// If the salt is too long, or too many are watched already.
    pub fn watch_item(
        &mut self,
        now: Instant,
        key: &PublicKey,
        salt: Vec<u8>,
        known: Option<i64>,
        out: &mut Outbox,
    ) -> Result<LookupId, WatchError> {
        if salt.len() > MAX_SALT {
            return Err(WatchError::SaltTooBig);
        }
        let (id, target) = (self.new_lookup(), mutable_target(key, &salt));
        if !self.upkeep.watch(now, id, target, salt, known) {
            return Err(WatchError::TooMany);
        }
        self.drive_waiting(now, out);
        Ok(id)
    }

    /// Follows it no more.
    pub fn unwatch_item(&mut self, id: LookupId) {
        self.upkeep.unwatch(id);
        self.end_watch(id);
    }

    /// Asks nodes on the way to `target` which torrents they know (BEP 51).
    pub fn sample_infohashes(
        &mut self,
        now: Instant,
        target: NodeId,
        out: &mut Outbox,
    ) -> LookupId {
        self.begin(now, target, Goal::Samples, out)
    }

    fn begin(&mut self, now: Instant, target: NodeId, goal: Goal, out: &mut Outbox) -> LookupId {
        let id = self.new_lookup();
        self.waiting.push_back((id, target, goal));
        self.drive_waiting(now, out);
        id
    }
}
