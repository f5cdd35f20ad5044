//! An embeddable BitTorrent engine.
//!
//! A [`Session`] owns the sockets, the threads and the disk; a [`Torrent`] is a handle to one torrent in it.
//! Everything a torrent *decides* is made in [`samara_swarm`], which knows no socket, file or clock; this
//! crate is the shell that moves the bytes and tells the core what happened and when.
//!
//! ```no_run
//! # async fn demo(metainfo: samara_engine::wire::metainfo::Metainfo) -> Result<(), Box<dyn std::error::Error>> {
//! use samara_engine::{AddTorrent, Session, SessionConfig, State};
//! let session = Session::start(SessionConfig::default())?;
//! let torrent = session.add(AddTorrent::new(metainfo, "downloads")).await?;
//! torrent.wait_until(|status| status.state == State::Seeding).await;
//! session.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod announce;
mod clock;
mod command;
mod config;
mod connections;
#[cfg(test)]
mod crash;
pub mod create;
pub mod dht;
mod dial;
mod discovery;
mod error;
mod exchanges;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod greet;
mod ip_filter;
mod limits;
mod listen;
mod lsd;
mod mapping;
mod network;
mod open_files;
mod peer;
pub mod probe;
mod relay;
mod resolve;
mod resume;
mod session;
mod shard;
mod shared;
mod shell;
mod state_files;
mod status;
mod stream;
mod timers;
mod torrent;
pub mod tracker;
pub mod tracker_server;
mod trackers;
mod udp;
mod utp;

pub use config::{AddTorrent, CustomStorage, DhtConfig, Existing, SessionConfig};
pub use dht::{DhtError, DhtHandle, DhtNodeStatus, DhtScrape, DhtStatus};
pub use error::{AddError, ErrorKind, SessionError, TorrentError};
pub use ip_filter::{IpFilterError, read_ip_filter};
pub use limits::{AlternativeLimits, RateLimits};
pub use mapping::{MappingProtocol, PortMapping, PortMappingStatus};
pub use network::{Bind, BindError, Egress};
pub use open_files::raise_open_files_limit;
pub use resolve::{ResolveConfig, ResolveError, ResolveStatus, Resolved, Resolving};
pub use samara_disk as disk;
pub use samara_disk::{Allocation, CheckProgress};
pub use samara_swarm::limits::{Days, Schedule, ScheduleError};
pub use samara_swarm::metadata::FetchStatus;
pub use samara_swarm::torrent::{PeerStats, TorrentStats};
pub use samara_wire as wire;
pub use samara_wire::ip_filter::{FilterReport, IpFilter};
pub use session::{MAX_SHARDS, Session};
pub use status::{Event, Events, State, TorrentStatus};
pub use torrent::Torrent;
pub use trackers::{TrackerEditError, TrackerInfo, TrackerState};
