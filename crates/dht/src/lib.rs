//! A node of the BitTorrent DHT, without sockets, files or clocks.
//!
//! [`Dht`] is one node in one address family, as a state machine: it is told which datagrams came and what time it
//! is, and leaves in an [`Outbox`] what is to be sent and what was found. The contract is at the head of
//! [`node`]. A machine with IPv4 and IPv6 runs two nodes, one for each (BEP 32 has two separate
//! networks, and BEP 42 binds an id to an address, so they could not share an id anyway); what
//! one hears of the other's network comes out as [`Event::OtherFamily`].
//!
//! | module | decides |
//! | --- | --- |
//! | [`node`] | how the parts work together; what is answered |
//! | [`table`] | which nodes are remembered (BEP 5, 42) |
//! | [`lookup`] | whom to ask next on the way to a target |
//! | [`requests`] | which datagram answers which question |
//! | [`patience`] | how long an answer is waited for |
//! | [`token`] | who may store something here |
//! | [`peer_store`], [`item_store`] | what is stored here, how much and for how long (BEP 5, 33, 44, 51) |
//! | [`proven`] | who has shown to be where its datagrams say |
//! | [`rate`] | how much is sent and served |
//! | [`announces`] | when each of our torrents is announced again |
//! | [`upkeep`] | when our items are put again, and watched ones asked for |
//! | [`other_family`] | nodes of the other family that are told (BEP 32) |
//! | [`external`] | what our own address is, and so our id (BEP 42) |
//! | [`signature`] | who wrote an item (BEP 44) |
//! | [`saved`] | what survives a restart |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod announces;
pub mod external;
pub mod item_store;
pub mod lookup;
pub mod node;
pub mod other_family;
pub mod outbox;
pub mod patience;
pub mod peer_store;
pub mod proven;
pub mod rate;
pub mod requests;
pub mod saved;
pub mod signature;
pub mod table;
pub mod token;
pub mod upkeep;

pub use lookup::LookupId;
pub use node::{Dht, DhtConfig, Family};
pub use outbox::{Effect, Event, LookupOutcome, Outbox};
pub use samara_wire::rng;
pub use saved::SavedTable;
