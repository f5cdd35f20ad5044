//! Those who name peers that do not exist.

use super::{Adversary, Scene, nowhere};
use samara_swarm::pex::UT_PEX_ID;
use samara_swarm::rng::Rng;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_pex::{MAX_PER_FAMILY, PexFlags, PexMessage};
use samara_wire::time::Duration;
use std::net::SocketAddr;

/// Addresses that a lookup finds of one poisoner.
const IN_DHT: usize = 100;

/// By peer exchange, as often as is heeded.
#[derive(Debug)]
pub(super) struct Pex;

impl Adversary for Pex {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(55))
    }

    fn act(&mut self, scene: &mut Scene<'_>) {
        for &peer in scene.peers {
            let flags = PexFlags(PexFlags::SEED | PexFlags::REACHABLE);
            let added = (0..MAX_PER_FAMILY).map(|_| (nowhere(scene.rng), flags)).collect();
            let payload = PexMessage { added, dropped: Vec::new() }.encode().into();
            scene.send(peer, Message::Extended { id: UT_PEX_ID, payload });
        }
    }
}

/// In the DHT.
#[derive(Debug)]
pub(super) struct Dht;

impl Adversary for Dht {
    fn poison(&mut self, rng: &mut Rng) -> Vec<SocketAddr> {
        (0..IN_DHT).map(|_| nowhere(rng)).collect()
    }
}
