//! Everything one torrent decides.
//!
//! The centre is [`Torrent`]: a state machine without sockets, files, clocks or threads. Inputs go in together
//! with the time, effects come out in an [`Outbox`]; payload bytes never pass through. Whoever drives it (the
//! engine with real sockets, the simulator with virtual ones) moves the bytes and reports what happened.
//!
//! Around it stand components of the same shape, each usable and tested alone:
//!
//! | module | decides |
//! | --- | --- |
//! | [`torrent`] | what each input means, and what follows (BEP 3, 6, 10, 16, 21) |
//! | [`picker`] | which block to ask of whom |
//! | [`pipeline`] | how many requests to keep outstanding, and how long to wait for a block |
//! | [`choker`] | whom to upload to |
//! | [`peer_list`] | which addresses to remember, to dial, to drop (BEP 40) |
//! | [`announcer`] | when to tell which tracker what (BEP 12, 27, 31) |
//! | [`metadata`] | whom to ask for an info dictionary of which only the hash is known (BEP 9) |
//! | [`pex`] | what to take of the peers that peers name (BEP 11) |
//! | [`blame`] | who sent corrupt data, on proof |
//! | [`limits`] | how many bytes may move, and whose turn it is |
//! | [`rate`], [`rng`] | smoothed rates; the seeded generator all randomness comes from |
//!
//! The same configuration, seed and inputs give the same outputs, always.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod announcer;
pub mod blame;
pub mod choker;
pub mod limits;
pub mod metadata;
pub mod outbox;
pub mod peer_list;
pub mod pex;
pub mod picker;
pub mod pipeline;
pub mod rate;
pub mod rng;
pub mod torrent;

pub use outbox::{Announce, AnnounceId, DisconnectReason, Effect, Event, Outbox};
pub use torrent::{PeerKey, Torrent, TorrentConfig};
