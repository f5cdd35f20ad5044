//! The table of connected peers: keys that are small indices and are never mistaken for an earlier peer's.

use super::PeerKey;
use super::peer::Peer;
use alloc::boxed::Box;
use alloc::vec::Vec;

#[derive(Debug, Default)]
pub(super) struct PeerTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    peer: Option<Box<Peer>>,
}

impl PeerTable {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts in the peer that `make` builds for its key.
    pub(super) fn insert(&mut self, make: impl FnOnce(PeerKey) -> Peer) -> PeerKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, peer: None });
            u32::try_from(self.slots.len() - 1).expect("connections are bounded far below 2^32")
        });
        let place = &mut self.slots[slot as usize];
        place.generation = place.generation.wrapping_add(1);
        let key = PeerKey { slot, generation: place.generation };
        place.peer = Some(Box::new(make(key)));
        key
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Box<Peer>> {
        let place = self.slots.get_mut(key.slot as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let peer = place.peer.take()?;
        self.free.push(key.slot);
        Some(peer)
    }

    pub(super) fn get(&self, key: PeerKey) -> Option<&Peer> {
        let place = self.slots.get(key.slot as usize)?;
        place.peer.as_deref().filter(|peer| peer.key == key)
    }

    pub(super) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        let place = self.slots.get_mut(key.slot as usize)?;
        place.peer.as_deref_mut().filter(|peer| peer.key == key)
    }

    /// All peers in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.slots.iter().filter_map(|slot| slot.peer.as_deref())
    }

    /// All peers in the order of their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.slots.iter_mut().filter_map(|slot| slot.peer.as_deref_mut())
    }

    /// Number of slots ever used: with [`PeerTable::key_at`], a way to go through the peers while changing them.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The key of the peer in slot `index`, if there is one.
    pub(super) fn key_at(&self, index: usize) -> Option<PeerKey> {
        self.slots.get(index)?.peer.as_deref().map(|peer| peer.key)
    }
}
