//! Deterministic virtual swarms for tests.
//!
//! A [`World`] runs the very state machines that the engine runs ([`samara_swarm::Torrent`]), with a virtual
//! network, disk, tracker and clock in place of the real ones. Nothing waits: time jumps from event to event,
//! so an hour of a swarm takes moments, and no socket or file is touched.
//!
//! The same [`WorldConfig`] with the same seed gives the same run, event for event; [`World::digest`] is a
//! fingerprint of everything that happened, so a test can say so.
//!
//! What is modelled: a delay for each connection, a rate each way for each node (messages and blocks queue behind
//! each other), dials and connections that fail, nodes that leave without a word and others that come, liars
//! ([`Behaviour`]). What is not: TCP's slow start and loss recovery, and the payload itself: a block is
//! either right or wrong, which is all that the decisions can depend on.
//!
//! ```
//! use samara_sim::{NodeConfig, World, WorldConfig};
//!
//! let mut world = World::new(WorldConfig { pieces: 16, ..WorldConfig::default() });
//! world.add(NodeConfig::seed());
//! let leech = world.add(NodeConfig::leech());
//! world.run_until_complete();
//! assert!(world.node(leech).is_complete());
//! ```
//!
//! Beside it lives a [`DhtWorld`]: hundreds of real nodes of the DHT ([`samara_dht::Dht`]) with loss, churn, NATs and
//! liars. [`run_utp`] has streams of uTP share a bottleneck with each other and with a flow like TCP's. And [`run_punch`] puts two
//! peers behind boxes that translate addresses ([`Nat`]) and sees whether a third brings them together.
#![forbid(unsafe_code)]

mod dht_report;
mod dht_world;
mod nat;
mod node;
mod punch_world;
mod utp_world;
mod world;

pub use dht_report::{AnnounceRecord, DhtReport, ENOUGH_HOLDERS, LookupRecord};
pub use dht_world::{DhtWorld, DhtWorldConfig};
pub use nat::{Nat, NatConfig, NatKind};
pub use node::{Behaviour, Node, NodeConfig, NodeId};
pub use punch_world::{Meeting, PunchReport, PunchWorldConfig, run_punch};
pub use utp_world::{UtpReport, UtpWorldConfig, run_utp};
pub use world::{World, WorldConfig};
