//! What must hold in the end where connections are uTP.
//!
//! - **What is sent arrives**: between honest nodes that are connected nothing is under way any more when all have been done for a
//!   while: neither blocks nor packets that are sent again without end.
//! - **A stream gives what was put into it**, in that order: looked at when each block arrives (`reading`).

use crate::swarm::config::NodeId;
use crate::swarm::world::World;

impl World {
    /// Looks at all streams; gives the bytes of blocks that are under way.
    pub(in crate::swarm) fn check_packets(&mut self) -> u64 {
        let stuck = (0..self.nodes.len()).find_map(|place| {
            let id = NodeId(u32::try_from(place).unwrap_or(0));
            self.stuck(id).map(|what| (id, what))
        });
        if let Some((id, what)) = stuck {
            self.breaks(id, what);
        }
        self.packets.as_ref().map_or(0, |packets| {
            let (heard, unheard) = packets.blocks.under_way();
            heard + unheard
        })
    }

    /// What does not come to an end on the streams of an honest node with others.
    fn stuck(&self, id: NodeId) -> Option<String> {
        let packets = self.packets.as_ref()?;
        let honest = |id: NodeId| {
            let node = &self.nodes[id.at()];
            let host = packets.hosts[id.at()].as_ref();
            host.filter(|_| node.is_honest() && node.alive)
        };
        let host = honest(id)?;
        host.streams.iter().find_map(|(key, stream)| {
            stream.peer()?;
            let other = *self.by_ip.get(&stream.addr.ip())?;
            honest(other)?.streams.values().find(|end| Some(end.number) == stream.other)?;
            let waiting = packets.blocks.waiting(stream.number);
            let in_flight = host.endpoint.stats(*key)?.in_flight;
            let said = |what| format!("{what} bytes to node {} do not arrive", other.0);
            match (waiting, in_flight) {
                (0, 0) => None,
                (0, bytes) => Some(said(format!("{bytes} unacknowledged"))),
                (bytes, _) => Some(said(format!("blocks of {bytes}"))),
            }
        })
    }
}
