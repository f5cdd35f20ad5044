//! Connects to everybody, and disconnects from everybody a moment later.

use super::{Adversary, Deed, Scene};
use samara_wire::time::Duration;

#[derive(Debug)]
pub(super) struct Storm;

impl Adversary for Storm {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_millis(700))
    }

    fn act(&mut self, scene: &mut Scene<'_>) {
        scene.deeds.extend(scene.peers.iter().map(|&peer| Deed::Close(peer)));
        scene.deeds.push(Deed::DialAll);
    }
}
