//! The public handle to one torrent. SKELETON.
#![expect(unused_variables, clippy::todo, clippy::unused_async, reason = "skeleton")]

use crate::status::{Events, TorrentStatus};
use samara_swarm::torrent::PeerStats;
use samara_wire::id::InfoHashes;
use samara_wire::metainfo::Metainfo;
use std::net::SocketAddr;
use std::path::Path;

/// A torrent in a session. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Torrent {}

impl Torrent {
    /// Its info-hashes.
    #[must_use]
    pub fn hashes(&self) -> InfoHashes {
        todo!()
    }

    /// What it was added with.
    #[must_use]
    pub fn metainfo(&self) -> &Metainfo {
        todo!()
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        todo!()
    }

    /// A snapshot, at most 100 ms old; never blocks.
    #[must_use]
    pub fn status(&self) -> TorrentStatus {
        todo!()
    }

    /// The connected peers.
    pub async fn peers(&self) -> Vec<PeerStats> {
        todo!()
    }

    /// Bytes verified of each file.
    pub async fn file_progress(&self) -> Vec<u64> {
        todo!()
    }

    /// Ready when the status is one that `accept` accepts, at once if it is already. Also ready, with the
    /// last status, when the torrent is gone.
    pub async fn wait_until(&self, accept: impl FnMut(&TorrentStatus) -> bool) -> TorrentStatus {
        todo!()
    }

    /// Events from now on; slow readers lose the oldest and are told so ([`crate::Event::Lagged`]).
    #[must_use]
    pub fn events(&self) -> Events {
        todo!()
    }

    /// Closes all connections and announces `stopped`, until `resume`.
    pub fn pause(&self) {}

    /// Takes up what `pause` stopped.
    pub fn resume(&self) {}

    /// Tells of more peers.
    pub fn add_peers(&self, peers: Vec<SocketAddr>) {}

    /// Stops and forgets the torrent; deletes its files if asked. Removes resume data.
    pub async fn remove(self, delete_files: bool) {
        todo!()
    }
}
