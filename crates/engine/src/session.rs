//! The public handle to a running engine. SKELETON.
#![expect(unused_variables, clippy::todo, clippy::unused_async, reason = "skeleton")]

use crate::config::{AddTorrent, SessionConfig};
use crate::error::{AddError, SessionError};
use crate::torrent::Torrent;
use samara_wire::id::PeerId;

/// A running engine. Cheap to clone; runs until `shutdown` or until the last clone is dropped.
/// Its futures need no particular runtime.
#[derive(Clone, Debug)]
pub struct Session {}

impl Session {
    /// Binds the sockets and starts the threads.
    ///
    /// # Errors
    /// If a port is in use or a resource of the system is lacking.
    pub fn start(config: SessionConfig) -> Result<Self, SessionError> {
        todo!()
    }

    /// The port in fact listened on.
    #[must_use]
    pub fn port(&self) -> u16 {
        todo!()
    }

    /// By which the session names itself to peers and trackers.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        todo!()
    }

    /// Adds a torrent and begins to check what is there.
    ///
    /// # Errors
    /// If it is there already, or asks for what it has not.
    pub async fn add(&self, add: AddTorrent) -> Result<Torrent, AddError> {
        todo!()
    }

    /// The torrents, in the order they were added.
    #[must_use]
    pub fn torrents(&self) -> Vec<Torrent> {
        todo!()
    }

    /// Changes the limits of all torrents together, in bytes per second. `None`: no limit.
    pub fn set_limits(&self, down: Option<u64>, up: Option<u64>) {
        todo!()
    }

    /// Announces `stopped`, writes resume data, closes everything; within 2 s.
    pub async fn shutdown(&self) {
        todo!()
    }
}
