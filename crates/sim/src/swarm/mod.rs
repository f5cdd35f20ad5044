//! A swarm in virtual time: real torrents, and around them links, disks, a tracker and a clock that are numbers.
//!
//! | file | is |
//! | --- | --- |
//! | `config` | what worlds and nodes are made from |
//! | `world` | the clock: what happens next |
//! | `queue` | the order of events |
//! | `shell` | each node's shell: gives its torrent inputs and carries out what it wants |
//! | `network` | blocks and messages on their way; dials |
//! | [`packets`] | the same where connections are uTP and datagrams cross |
//! | `link`, `conn` | access links, connections |
//! | `disk` | writing, failing, what a crash leaves |
//! | `life` | coming, leaving, crashing, partitions; what adversaries do |
//! | `finding` | the tracker, and a table like the DHT's |
//! | `lookup` | real nodes of the DHT |
//! | `invariants` | what must hold at every event |
//! | `record`, `figures` | what is noted of a run, and what it comes to |
//! | `digest` | the fingerprint of a run |
//!
//! Nothing in here reads a clock, a file or the order of a hash map, and no decision depends on a fraction: the same
//! configuration gives the same run on every machine.

mod config;
mod conn;
mod digest;
mod disk;
mod figures;
mod finding;
mod invariants;
mod life;
mod link;
mod lookup;
mod network;
mod node;
mod packets;
mod queue;
mod record;
mod shell;
mod world;

pub use config::{NodeConfig, NodeId, WorldConfig};
pub(crate) use conn::Item;
pub use disk::{Crash, DiskConfig};
pub use figures::{Bound, Figures, Percentiles, Riders, fluid_bound, jain, parts_bound};
pub use invariants::Broken;
pub use lookup::{DhtCrowd, DhtFigures};
pub use node::{Ledger, Node};
pub use packets::{PacketFigures, PacketsConfig};
pub use record::Sample;
pub use world::World;
