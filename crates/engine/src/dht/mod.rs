//! The DHT, as a user of the engine sees it; what finds peers for torrents by itself is below it.
//!
//! A session with a [`crate::DhtConfig`] runs one node for each address family it has a socket for (BEP 32). Both live on
//! the first shard, in one driver, which gives them datagrams, time and names that were looked up.
//!
//! | file | does |
//! | --- | --- |
//! | `driver` | owns the nodes: datagrams, timers, what torrents seek |
//! | `seekers` | when peers of a torrent are looked for again |
//! | `asks` | what users of [`DhtHandle`] asked for |
//! | `names` | looks up the names of nodes, away from the event loop |
//! | `calls` | asks nodes by name, where that is for a proxy to look up |
//! | `keep` | the table, from run to run |

mod asks;
mod calls;
mod driver;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
mod keep;
mod names;
mod seekers;
#[cfg(test)]
mod tests;

pub(crate) use asks::Request;
pub(crate) use driver::{Driver, Inputs, run};
pub(crate) use names::{Lookup, system_lookup};
pub use samara_dht::node::PutError;
pub use samara_dht::signature::SecretKey;

use asks::{Ask, Findings, Want};
use samara_wire::id::WireHash;
use samara_wire::krpc::{Item, NodeId};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::sync::{mpsc, oneshot};

/// Why nothing came of a question to the DHT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DhtError {
    /// No other node was met in time.
    #[error("no node of the DHT was reached")]
    NotJoined,
    /// Many questions wait already.
    #[error("too many questions to the DHT at a time")]
    Busy,
    /// The item is not fit to be stored.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The session was shut down, or has no DHT after all for lack of a resource.
    #[error("the session has been shut down")]
    ShutDown,
}

/// How the DHT of a session is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DhtStatus {
    /// The node in the network of IPv4, if there is one.
    pub v4: Option<DhtNodeStatus>,
    /// The node in the network of IPv6, if there is one.
    pub v6: Option<DhtNodeStatus>,
    /// Look-ups under way: those of [`DhtHandle`], and those repeated for torrents with few peers.
    pub lookups: usize,
    /// Torrents and magnet links that are announced.
    pub announced: usize,
}

/// How one node is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtNodeStatus {
    /// Its id.
    pub id: NodeId,
    /// Nodes in its table.
    pub nodes: usize,
    /// Whether a look-up of its own id has ended with some nodes known.
    pub joined: bool,
    /// The address that other nodes say we have, once several agree.
    pub external_ip: Option<IpAddr>,
}

impl DhtStatus {
    /// Nodes in the tables.
    #[must_use]
    pub fn nodes(&self) -> usize {
        [&self.v4, &self.v6].into_iter().flatten().map(|node| node.nodes).sum()
    }

    /// Whether the network has been joined in either family.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        [&self.v4, &self.v6].into_iter().flatten().any(|node| node.joined)
    }
}

/// How many peers a torrent has, about (BEP 33).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DhtScrape {
    /// Peers that have all of it.
    pub seeds: u64,
    /// The others, and those of whom it is not known.
    pub peers: u64,
}

/// Access to the DHT of a session. Each question waits until the network is joined, asks in every family that is, and ends
/// within a minute with what was found until then. Dropping the future gives the question up.
#[derive(Clone)]
pub struct DhtHandle(pub(crate) mpsc::UnboundedSender<Request>);

impl fmt::Debug for DhtHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhtHandle")
    }
}

impl DhtHandle {
    /// How it is doing.
    ///
    /// # Errors
    /// If the session was shut down.
    pub async fn status(&self) -> Result<DhtStatus, DhtError> {
        let (reply, wait) = oneshot::channel();
        self.0.send(Request::Status(reply)).map_err(|_| DhtError::ShutDown)?;
        wait.await.map_err(|_| DhtError::ShutDown)
    }

    /// Waits for a status that `accept` accepts; at once if it is so already.
    ///
    /// # Errors
    /// If the session was shut down.
    pub async fn wait_until(
        &self,
        mut accept: impl FnMut(&DhtStatus) -> bool,
    ) -> Result<DhtStatus, DhtError> {
        let mut status = self.status().await?;
        while !accept(&status) {
            let (reply, wait) = oneshot::channel();
            let request = Request::Change(Box::new(status), reply);
            self.0.send(request).map_err(|_| DhtError::ShutDown)?;
            status = wait.await.map_err(|_| DhtError::ShutDown)?;
        }
        Ok(status)
    }

    /// The item (BEP 44) stored at `target`, its hash or signature checked; of a mutable one the highest number found.
    /// `salt` is that of a mutable item, else empty.
    ///
    /// # Errors
    /// If no node was reached, or the session was shut down.
    pub async fn get(&self, target: NodeId, salt: Vec<u8>) -> Result<Option<Item>, DhtError> {
        Ok(self.ask(Want::Get { target, salt }).await?.item)
    }

    /// Stores an item (BEP 44) and tells how many nodes took it. A mutable one is signed already, by
    /// [`SecretKey::sign`] with the same salt; with `cas` it is stored only where the stored one has this number.
    /// Nodes forget it after two hours or so; as long as the session lives it is put again each hour.
    ///
    /// # Errors
    /// If the item is not fit to be stored, no node was reached, or the session was shut down.
    pub async fn put(&self, item: Item, salt: Vec<u8>, cas: Option<i64>) -> Result<u32, DhtError> {
        Ok(self.ask(Want::Put { item, salt, cas }).await?.stored)
    }

    /// Peers that were announced for a torrent, at most some thousands; nothing is known of them but that nodes said so.
    ///
    /// # Errors
    /// If no node was reached, or the session was shut down.
    pub async fn peers(&self, hash: WireHash) -> Result<Vec<SocketAddr>, DhtError> {
        Ok(self.ask(Want::Peers(hash)).await?.peers.into_iter().collect())
    }

    /// How many peers a torrent has, about.
    ///
    /// # Errors
    /// If no node was reached, or the session was shut down.
    pub async fn scrape(&self, hash: WireHash) -> Result<DhtScrape, DhtError> {
        Ok(self.ask(Want::Scrape(hash)).await?.scrape())
    }

    /// Some of the torrents that nodes near `target` know peers of (BEP 51), at most some thousands.
    ///
    /// # Errors
    /// If no node was reached, or the session was shut down.
    pub async fn sample(&self, target: NodeId) -> Result<Vec<WireHash>, DhtError> {
        Ok(self.ask(Want::Sample(target)).await?.hashes.into_iter().collect())
    }

    async fn ask(&self, want: Want) -> Result<Findings, DhtError> {
        let (reply, wait) = oneshot::channel();
        let request = Request::Ask(Ask { want, reply });
        self.0.send(request).map_err(|_| DhtError::ShutDown)?;
        wait.await.map_err(|_| DhtError::ShutDown)?
    }
}

/// A new key to sign items with, from the randomness of the system, and the 32 secret bytes it is made of: whoever has them can
/// write in its name.
///
/// # Errors
/// If the system gives no randomness.
pub fn generate_key() -> io::Result<(SecretKey, [u8; 32])> {
    let seed = random_seed()?;
    Ok((SecretKey::from_seed(&seed), seed))
}

/// Random bytes that nobody can guess.
fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut seed)
        .map_err(|_| io::Error::other("the system gives no randomness"))?;
    Ok(seed)
}
