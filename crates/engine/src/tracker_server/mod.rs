//! A small tracker, HTTP and UDP on one port. SKELETON.
#![expect(unused_variables, missing_docs, clippy::todo, reason = "skeleton")]

use samara_wire::id::WireHash;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct TrackerServerConfig {
    pub bind: Vec<SocketAddr>,
    pub interval: Duration,
    /// Only these; empty: any
    pub allow: Vec<WireHash>,
    /// Files served by GET /NAME (share's .torrent)
    pub files: Vec<(String, Vec<u8>)>,
}
pub struct TrackerServer {}
impl TrackerServer {
    pub fn start(config: TrackerServerConfig) -> std::io::Result<Self> {
        todo!()
    }
    pub fn port(&self) -> u16 {
        todo!()
    }
    pub fn shutdown(self) {}
}
