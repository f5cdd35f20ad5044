//! Deterministic virtual swarms: a laboratory, and tests.
//!
//! A [`World`] runs the very state machines that the engine runs ([`samara_swarm::Torrent`]), with virtual
//! links, disks, a tracker and a clock in place of the real ones. Nothing waits: time jumps from event to event,
//! so an hour of a swarm takes moments, and no socket or file is touched.
//!
//! The same [`WorldConfig`] with the same seed gives the same run, event for event, on every machine; [`World::digest`] is a
//! fingerprint of everything that happened, so a test can say so. What must hold at every event is looked at while it runs: who
//! breaks it ends the run, and [`World::broken`] says what, when and who.
//!
//! What is modelled: access links with separate rates up and down, a delay for each connection, loss, nodes that
//! cannot be dialled, dials and connections that fail, partitions, nodes that come, leave, crash and come back with what their
//! disk kept, slow and failing disks, and fifteen kinds of adversaries ([`Behaviour`]). Connections are *flows*, without slow start and
//! congestion, made for many peers; or, with [`WorldConfig::packets`], real pairs of uTP connections whose datagrams meet queues,
//! loss and NATs. What a system buffers is not modelled, nor is the payload: a block is either right or wrong, which is all that
//! the decisions can depend on. Peers come from a tracker, or with [`WorldConfig::dht_nodes`] from a DHT of real nodes.
//!
//! ```
//! use samara_sim::{Figures, NodeConfig, World, WorldConfig};
//!
//! let mut world = World::new(WorldConfig::with_pieces(16));
//! world.add(NodeConfig::seed());
//! let leech = world.add(NodeConfig::leech());
//! assert!(world.run_until_complete());
//! assert!(world.node(leech).is_complete());
//! assert!(Figures::of(&world).eta().is_some_and(|eta| eta <= 1.0));
//! ```
//!
//! [`Plan`] makes the worlds of the laboratory by name, the program `samara-sim` runs them (docs/swarm.md).
//!
//! Beside it lives a [`DhtWorld`]: hundreds of real nodes of the DHT ([`samara_dht::Dht`]) with loss, churn, NATs and
//! liars. [`run_utp`] has streams of uTP share a bottleneck with each other and with a flow like TCP's. And [`run_punch`] puts two
//! peers behind boxes that translate addresses ([`Nat`]) and sees whether a third brings them together.
#![forbid(unsafe_code)]

mod adversary;
mod dht_liar;
mod dht_report;
mod dht_world;
mod door;
mod nat;
mod punch_world;
pub mod report;
mod scenario;
mod swarm;
mod utp_world;

pub use adversary::Behaviour;
pub use dht_report::{AnnounceRecord, DhtReport, ENOUGH_HOLDERS, LookupRecord};
pub use dht_world::{DhtWorld, DhtWorldConfig};
pub use nat::{Nat, NatConfig, NatKind};
pub use punch_world::{Meeting, PunchReport, PunchWorldConfig, run_punch};
pub use scenario::{DOWN, Discovery, Plan, Scenario, Transport, UP};
pub use swarm::{
    Bound, Broken, Crash, DhtCrowd, DhtFigures, DiskConfig, Figures, Ledger, Node, NodeConfig,
    NodeId, PacketFigures, PacketsConfig, Percentiles, Riders, Sample, World, WorldConfig,
    fluid_bound, jain, parts_bound,
};
pub use utp_world::{UtpReport, UtpWorldConfig, run_utp};
