//! Nodes of the other address family, for those who ask us for some (BEP 32).
//!
//! They come from our own node in that network, which has heard them; here they are only passed on. Bounded, and forgotten
//! when the shell has not named them again for [`LIFE`].

use alloc::vec::Vec;
use samara_wire::krpc::{NodeId, NodeInfo};
use samara_wire::time::{Duration, Instant};

/// Nodes that are remembered.
pub const MAX: usize = 256;

/// For so long they are told to others.
pub const LIFE: Duration = Duration::from_secs(15 * 60);

/// The nodes.
#[derive(Debug, Default)]
pub struct OtherFamily {
    nodes: Vec<NodeInfo>,
    since: Instant,
}

impl OtherFamily {
    /// Takes the place of all that were named before.
    pub fn replace(&mut self, now: Instant, nodes: impl Iterator<Item = NodeInfo>) {
        self.nodes = nodes.take(MAX).collect();
        self.since = now;
    }

    /// The `count` nearest to `target`, nearest first.
    #[must_use]
    pub fn closest(&self, now: Instant, target: &NodeId, count: usize) -> Vec<NodeInfo> {
        if now - self.since >= LIFE {
            return Vec::new();
        }
        let mut nodes = self.nodes.clone();
        nodes.sort_unstable_by_key(|node| node.id.distance(target));
        nodes.truncate(count);
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;

    #[test]
    fn the_nearest_are_told_and_all_are_forgotten() {
        let node = |n: u16| {
            let [a, b] = n.to_be_bytes();
            let mut id = NodeId([0; 20]);
            (id.0[0], id.0[1]) = (a, b);
            NodeInfo { id, addr: SocketAddr::from(([9, 9, a, b], 1)) }
        };
        let (mut other, start) = (OtherFamily::default(), Instant::from_secs(9999));
        assert!(other.closest(start, &NodeId([0; 20]), 8).is_empty());
        other.replace(start, (0..1000).rev().map(node));
        assert_eq!(other.nodes.len(), MAX);
        let nearest: Vec<NodeInfo> = (800..803).map(node).collect();
        assert_eq!(other.closest(start, &node(800).id, 3), nearest);
        assert!(other.closest(start + LIFE, &node(800).id, 3).is_empty());
        other.replace(start + LIFE, [node(1)].into_iter());
        assert_eq!(other.closest(start + LIFE, &node(800).id, 3), [node(1)]);
    }
}
