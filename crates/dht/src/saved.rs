//! What survives a restart: our id and the nodes we knew.

use alloc::vec::Vec;
use samara_wire::krpc::{Body, MAX_PACKET, NodeId, NodeInfo, Packet, Response, TransactionId};

/// Nodes that are saved at most.
pub const MAX_SAVED: usize = 300;

/// Nodes in one packet of the saved form.
const PER_PACKET: usize = 20;

/// Our id and the nodes we knew, the most reliable first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SavedTable {
    /// Our id.
    pub id: NodeId,
    /// Nodes.
    pub nodes: Vec<NodeInfo>,
}

impl SavedTable {
    /// The table as bytes for a file: answers to `find_node`, as they would be on the wire, each behind its length in
    /// two bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let kept = &self.nodes[..self.nodes.len().min(MAX_SAVED)];
        let chunks = kept.chunks(PER_PACKET).chain((kept.is_empty()).then_some(&[][..]));
        for nodes in chunks {
            let family = |v6| nodes.iter().filter(|n| n.addr.is_ipv6() == v6).copied().collect();
            let response = Response {
                id: self.id,
                nodes4: Some(family(false)),
                nodes6: Some(family(true)),
                ..Response::default()
            };
            let packet = Packet {
                transaction: TransactionId::new(b"s").expect("one byte"),
                client: None,
                read_only: false,
                your_addr: None,
                body: Body::Response(response.into()),
            };
            let packet = packet.encode();
            let len = u16::try_from(packet.len()).expect("twenty nodes fit in a datagram");
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&packet);
        }
        out
    }

    /// Reads what [`SavedTable::encode`] wrote. What is damaged is left out; `None` if nothing is whole.
    #[must_use]
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut saved: Option<Self> = None;
        while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*len));
            if len > MAX_PACKET || len > rest.len() {
                break;
            }
            let (packet, rest) = rest.split_at(len);
            bytes = rest;
            if let Ok(Packet { body: Body::Response(response), .. }) = Packet::parse(packet) {
                let saved = saved.get_or_insert_default();
                saved.id = response.id;
                saved.nodes.extend(response.nodes4.into_iter().flatten());
                saved.nodes.extend(response.nodes6.into_iter().flatten());
                saved.nodes.truncate(MAX_SAVED);
            }
        }
        saved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;

    #[test]
    fn a_table_is_read_as_it_was_written_and_damage_is_survived() {
        let node = |n: u16| NodeInfo {
            id: NodeId([n.to_be_bytes()[1]; 20]),
            addr: SocketAddr::from(([1, 2, 3, 4], n + 1)),
        };
        let saved = SavedTable { id: NodeId([9; 20]), nodes: (0..105).map(node).collect() };
        let bytes = saved.encode();
        assert_eq!(SavedTable::parse(&bytes), Some(saved.clone()));
        for cut in 0..bytes.len() {
            let nodes = SavedTable::parse(&bytes[..cut]).unwrap_or_default().nodes;
            assert!(saved.nodes.starts_with(&nodes));
        }
        let empty = SavedTable { id: NodeId([1; 20]), nodes: Vec::new() };
        assert_eq!(SavedTable::parse(&empty.encode()), Some(empty));
        assert_eq!(SavedTable::parse(b"\0\x05hello"), None);
        let many = SavedTable { id: NodeId([9; 20]), nodes: (0..1000).map(node).collect() };
        assert_eq!(SavedTable::parse(&many.encode()).unwrap().nodes.len(), MAX_SAVED);
    }
}
