//! What must hold in the end where connections are uTP.
//!
//! - **What is sent arrives**: between honest nodes that are connected nothing is under way any more when all have been done for a
//!   while: neither blocks nor packets that are sent again without end.
//! - **A stream gives what was put into it**, in that order: looked at when each block arrives (`reading`).

use crate::swarm::config::NodeId;
use crate::swarm::world::World;
use samara_wire::time::Duration;

/// A stream on which something is under way is looked at again so often, this long after.
const AGAIN: (u32, Duration) = (20, Duration::from_millis(500));

/// Something under way on a stream of a node.
struct UnderWay {
    node: NodeId,
    stream: u32,
    what: String,
}

impl World {
    /// Sees whether all that is under way comes to its end.
    pub(in crate::swarm) fn check_streams(&mut self) {
        let mut stuck = self.all_under_way();
        for _ in 0..AGAIN.0 {
            if stuck.is_empty() {
                return;
            }
            // Something may have been said just now.
            self.run_for(AGAIN.1);
            let still = self.all_under_way();
            stuck.retain(|one| still.iter().any(|other| other.stream == one.stream));
        }
        if let Some(UnderWay { node, what, .. }) = stuck.into_iter().next() {
            self.breaks(node, what);
        }
    }

    /// Bytes of blocks that are under way on streams.
    pub(in crate::swarm) fn bytes_on_streams(&self) -> u64 {
        self.packets.as_ref().map_or(0, |packets| packets.blocks.under_way())
    }

    fn all_under_way(&self) -> Vec<UnderWay> {
        let ids = (0u32..).take(self.nodes.len()).map(NodeId);
        ids.flat_map(|id| self.under_way_from(id)).collect()
    }

    /// What is under way from an honest node to others.
    fn under_way_from(&self, node: NodeId) -> Vec<UnderWay> {
        let Some(packets) = &self.packets else { return Vec::new() };
        let honest = |id: NodeId| {
            let node = &self.nodes[id.at()];
            packets.hosts[id.at()].as_ref().filter(|_| node.is_honest() && node.alive)
        };
        let Some(host) = honest(node) else { return Vec::new() };
        let streams = host.streams.iter().filter(|(_, stream)| stream.peer().is_some());
        let under_way = streams.filter_map(|(key, stream)| {
            let other = *self.by_ip.get(&stream.addr.ip())?;
            honest(other)?.streams.values().find(|end| Some(end.number) == stream.other)?;
            let bytes = packets.blocks.waiting(stream.number);
            let what = match host.endpoint.stats(*key)?.in_flight {
                0 if bytes == 0 => return None,
                in_flight if bytes == 0 => format!("{in_flight} unacknowledged bytes"),
                _ => format!("{bytes} bytes of blocks"),
            };
            let what = format!("{what} to node {} do not arrive", other.0);
            Some(UnderWay { node, stream: stream.number, what })
        });
        under_way.collect()
    }
}
