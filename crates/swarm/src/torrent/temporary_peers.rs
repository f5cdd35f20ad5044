//! TEMP
use crate::torrent::PeerSource;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use samara_wire::time::Instant;
#[derive(Debug, Default)]
pub struct PeerList {
    known: alloc::collections::BTreeMap<SocketAddr, bool>,
    banned: Vec<SocketAddr>,
}
impl PeerList {
    pub fn new(_seed: u64) -> Self {
        Self::default()
    }
    pub fn add(&mut self, _: Instant, a: SocketAddr, _: PeerSource) {
        self.known.entry(a).or_insert(false);
    }
    pub fn next_to_dial(&mut self, _: Instant, n: usize, _: bool) -> Vec<SocketAddr> {
        let v: Vec<_> = self.known.iter().filter(|(_, d)| !**d).take(n).map(|(a, _)| *a).collect();
        for a in &v {
            self.known.insert(*a, true);
        }
        v
    }
    pub fn next_ready(&self, _: bool) -> Option<Instant> {
        None
    }
    pub fn on_connected(&mut self, _: Instant, _: SocketAddr, _: bool) {}
    pub fn on_failed(&mut self, _: Instant, _: SocketAddr) {}
    pub fn on_disconnected(&mut self, _: Instant, _: SocketAddr, _: bool) {}
    pub fn mark_seed(&mut self, _: SocketAddr) {}
    pub fn mark_own(&mut self, _: SocketAddr) {}
    pub fn ban(&mut self, a: SocketAddr) {
        self.banned.push(a);
    }
    pub fn is_banned(&self, a: SocketAddr) -> bool {
        self.banned.contains(&a)
    }
    pub fn set_external_ip(&mut self, _: IpAddr) {}
    pub fn on_listen_port(&mut self, _: SocketAddr, _: SocketAddr) {}
    pub fn len(&self) -> usize {
        self.known.len()
    }
}
