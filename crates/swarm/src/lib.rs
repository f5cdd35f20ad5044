//! Everything one torrent decides.
//!
//! SKELETON. No sockets, files, clocks or threads: inputs go in with the time, effects come out in an [`Outbox`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod announcer;
pub mod blame;
pub mod choker;
pub mod outbox;
pub mod picker;
pub mod pipeline;
pub mod rate;
pub mod rng;
pub mod torrent;

pub use outbox::{Announce, AnnounceId, DisconnectReason, Effect, Event, Outbox};
pub use torrent::{PeerKey, Torrent, TorrentConfig};
