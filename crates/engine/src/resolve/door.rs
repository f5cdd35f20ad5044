//! Links that are being resolved, by hash: where peers go that dial us for one of them.

use crate::greet::Incoming;
use samara_wire::id::{InfoHashes, WireHash};
use samara_wire::mse::SkeyHash;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Peers that may wait at a door. More are turned away.
pub(super) const MAX_WAITING: usize = 16;

/// The doors of a session. Locked for a look-up at a time.
#[derive(Default)]
pub(crate) struct Doors(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_hash: BTreeMap<WireHash, Vec<(u64, mpsc::Sender<Incoming>)>>,
    next_id: u64,
}

/// Keeps a door open until dropped.
pub(super) struct Door {
    doors: Arc<Doors>,
    hashes: InfoHashes,
    id: u64,
}

impl Doors {
    /// Has peers that name one of `hashes` sent to `to`, until what is returned is dropped.
    pub(super) fn open(self: &Arc<Self>, hashes: InfoHashes, to: &mpsc::Sender<Incoming>) -> Door {
        let mut inner = self.inner();
        let id = inner.next_id;
        inner.next_id += 1;
        for hash in hashes.names() {
            inner.by_hash.entry(hash).or_default().push((id, to.clone()));
        }
        drop(inner);
        Door { doors: Arc::clone(self), hashes, id }
    }

    /// Whether a link of this hash is being resolved.
    pub(crate) fn is_open(&self, hash: &WireHash) -> bool {
        self.inner().by_hash.contains_key(hash)
    }

    /// The link that an encrypted connection is for.
    pub(crate) fn find_skey(&self, skey: SkeyHash) -> Option<WireHash> {
        self.inner().by_hash.keys().copied().find(|hash| SkeyHash::of(*hash) == skey)
    }

    /// Gives a peer to the first who resolves what it names; if that one has no room, the connection closes.
    pub(crate) fn enter(&self, incoming: Incoming) {
        let to = self.inner().by_hash.get(&incoming.handshake.info_hash).and_then(|doors| {
            let (_, to) = doors.first()?;
            Some(to.clone())
        });
        if let Some(to) = to {
            let addr = incoming.addr;
            if to.try_send(incoming).is_err() {
                tracing::debug!(%addr, "no room while a link is resolved");
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut inner = self.doors.inner();
        for hash in self.hashes.names() {
            if let Some(doors) = inner.by_hash.get_mut(&hash) {
                doors.retain(|(id, _)| *id != self.id);
                if doors.is_empty() {
                    inner.by_hash.remove(&hash);
                }
            }
        }
    }
}
