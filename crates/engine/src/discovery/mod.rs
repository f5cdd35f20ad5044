//! Finding peers without trackers: who is to be found, and where what is found goes.
//!
//! A *finder* is a way to find peers: the DHT, the local network. A *seeker* is who wants them: a torrent, or a magnet link
//! that is being resolved. Finders run on the first shard and are told by [`FinderCommand`] what is sought;
//! what they find goes through [`Discovery::found`] to all that seek it, on whatever shard they are.
//!
//! A private torrent (BEP 27) never becomes a seeker: its core does not ask for it, and would not heed what is found.

use crate::command::{ShardCommand, TorrentCommand};
use crate::lsd;
use crate::shard::ShardEnv;
use crate::torrent::TorrentShared;
use samara_swarm::torrent::PeerSource;
use samara_wire::id::{InfoHashes, WireHash};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// To a finder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FinderCommand {
    /// Tell of this torrent and look for its peers, from now on. The same again means nothing, another `seed` that it has
    /// changed.
    Seek {
        hash: WireHash,
        /// Whether all of it is here.
        seed: bool,
    },
    /// No longer.
    Withdraw(WireHash),
    /// Nodes of the DHT may be there: the `nodes` of a torrent, as `(host, port)`.
    Names(Vec<(String, u16)>),
    /// A node of the DHT may be there: the `port` message of a peer.
    Node(SocketAddr),
    /// How peers outside reach us has changed: our address there, if it is known.
    Outside(Option<IpAddr>),
    /// We are at another address than before.
    Moved,
}

/// Peers that were found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) source: PeerSource,
    pub(crate) peers: Vec<SocketAddr>,
}

/// Who wants peers.
#[derive(Clone)]
pub(crate) enum Seeker {
    Torrent(Arc<TorrentShared>),
    /// What finds no room is lost; it is found again.
    Resolver(mpsc::Sender<Found>),
}

impl Seeker {
    fn tell(&self, found: Found) {
        match self {
            Self::Torrent(torrent) => {
                let command = ShardCommand::Torrent(torrent.id, TorrentCommand::Found(found));
                // Fails only at shutdown.
                let _ = torrent.shard.send(command);
            }
            Self::Resolver(tell) => {
                let _ = tell.try_send(found);
            }
        }
    }
}

/// Starts the finders on the shard of `env`.
pub(crate) fn run(env: &Rc<ShardEnv>, inputs: FinderInputs) {
    // The DHT is begun by itself: it needs sockets besides.
    let FinderInputs { dht: _, local } = inputs;
    if let Some(local) = local {
        tokio::task::spawn_local(lsd::run(Rc::clone(env), local));
    }
}

/// All that is sought in a session. Locked for a look-up at a time.
pub(crate) struct Discovery {
    finders: Vec<mpsc::UnboundedSender<FinderCommand>>,
    seekers: Mutex<Seekers>,
}

#[derive(Default)]
struct Seekers {
    by_hash: BTreeMap<WireHash, Vec<Entry>>,
    next_id: u64,
}

struct Entry {
    id: u64,
    seed: bool,
    seeker: Seeker,
}

/// What the finders are to read.
#[derive(Debug, Default)]
pub(crate) struct FinderInputs {
    pub(crate) dht: Option<mpsc::UnboundedReceiver<FinderCommand>>,
    pub(crate) local: Option<mpsc::UnboundedReceiver<FinderCommand>>,
}

/// Keeps something sought until dropped.
pub(crate) struct Seeking {
    discovery: Arc<Discovery>,
    hashes: InfoHashes,
    id: u64,
}

impl Discovery {
    /// With the finders that are wanted, and their inputs.
    pub(crate) fn new(dht: bool, local: bool) -> (Arc<Self>, FinderInputs) {
        let mut finders = Vec::new();
        let mut finder = |wanted: bool| {
            wanted.then(|| {
                let (tx, rx) = mpsc::unbounded_channel();
                finders.push(tx);
                rx
            })
        };
        let inputs = FinderInputs { dht: finder(dht), local: finder(local) };
        (Arc::new(Self { finders, seekers: Mutex::default() }), inputs)
    }

    /// Whether there is any way to find peers.
    pub(crate) fn has_finders(&self) -> bool {
        !self.finders.is_empty()
    }

    /// Has the finders look for what `hashes` name, until what is returned is dropped. Never to be called for a private
    /// torrent.
    pub(crate) fn seek(
        self: &Arc<Self>,
        hashes: InfoHashes,
        seed: bool,
        seeker: &Seeker,
    ) -> Seeking {
        let mut seekers = self.seekers();
        let id = seekers.next_id;
        seekers.next_id += 1;
        for hash in hashes.names() {
            let entry = Entry { id, seed, seeker: seeker.clone() };
            seekers.by_hash.entry(hash).or_default().push(entry);
            self.tell(&seekers.wish(hash));
        }
        drop(seekers);
        Seeking { discovery: Arc::clone(self), hashes, id }
    }

    /// Nodes of the DHT may be at these names.
    pub(crate) fn names(&self, names: Vec<(String, u16)>) {
        if !names.is_empty() {
            self.tell(&FinderCommand::Names(names));
        }
    }

    /// A node of the DHT may be there.
    pub(crate) fn node(&self, addr: SocketAddr) {
        self.tell(&FinderCommand::Node(addr));
    }

    /// How peers outside reach us has changed.
    pub(crate) fn outside(&self, ip: Option<IpAddr>) {
        self.tell(&FinderCommand::Outside(ip));
    }

    /// We are at another address than before.
    pub(crate) fn moved(&self) {
        self.tell(&FinderCommand::Moved);
    }

    /// A finder found peers of `hash`.
    pub(crate) fn found(&self, hash: &WireHash, source: PeerSource, peers: &[SocketAddr]) {
        let seekers = self.seekers();
        for entry in seekers.by_hash.get(hash).into_iter().flatten() {
            entry.seeker.tell(Found { source, peers: peers.to_vec() });
        }
    }

    fn leave(&self, seeking: &Seeking) {
        let mut seekers = self.seekers();
        for hash in seeking.hashes.names() {
            if let Some(entries) = seekers.by_hash.get_mut(&hash) {
                entries.retain(|entry| entry.id != seeking.id);
                if entries.is_empty() {
                    seekers.by_hash.remove(&hash);
                }
            }
            self.tell(&seekers.wish(hash));
        }
    }

    /// Fails only at shutdown, when nothing is sought any more. Told under the lock, so that finders hear of changes in
    /// the order in which they came about.
    fn tell(&self, command: &FinderCommand) {
        for finder in &self.finders {
            let _ = finder.send(command.clone());
        }
    }

    fn seekers(&self) -> MutexGuard<'_, Seekers> {
        self.seekers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seekers {
    /// What the finders are to do about `hash` as things stand.
    fn wish(&self, hash: WireHash) -> FinderCommand {
        match self.by_hash.get(&hash) {
            Some(entries) => {
                FinderCommand::Seek { hash, seed: entries.iter().all(|entry| entry.seed) }
            }
            None => FinderCommand::Withdraw(hash),
        }
    }
}

impl Drop for Seeking {
    fn drop(&mut self) {
        self.discovery.leave(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::id::InfoHashV1;

    fn discovery() -> (Arc<Discovery>, mpsc::UnboundedReceiver<FinderCommand>) {
        let (discovery, inputs) = Discovery::new(false, true);
        assert!(inputs.dht.is_none());
        (discovery, inputs.local.unwrap())
    }

    #[test]
    fn a_torrent_and_a_link_may_seek_the_same() {
        let (discovery, mut heard) = discovery();
        let hashes = InfoHashes::v1_only(InfoHashV1([1; 20]));
        let hash = hashes.wire();
        let (one, mut found_one) = mpsc::channel(1);
        let (two, mut found_two) = mpsc::channel(1);
        let first = discovery.seek(hashes, true, &Seeker::Resolver(one));
        let second = discovery.seek(hashes, false, &Seeker::Resolver(two));
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        discovery.found(&hash, PeerSource::Local, &[addr]);
        for found in [&mut found_one, &mut found_two] {
            assert_eq!(found.try_recv().unwrap().peers, [addr]);
        }
        drop(first);
        discovery.found(&hash, PeerSource::Local, &[addr]);
        assert!(found_one.try_recv().is_err() && found_two.try_recv().is_ok());
        drop(second);
        discovery.found(&hash, PeerSource::Local, &[addr]);
        let seek = |seed| FinderCommand::Seek { hash, seed };
        for wanted in [seek(true), seek(false), seek(false), FinderCommand::Withdraw(hash)] {
            assert_eq!(heard.try_recv(), Ok(wanted));
        }
        assert!(heard.try_recv().is_err() && found_two.try_recv().is_err());
    }
}
