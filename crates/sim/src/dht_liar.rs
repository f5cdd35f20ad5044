//! A node of the DHT that answers everything with lies.

use samara_swarm::rng::Rng;
use samara_wire::krpc::{Body, Method, NodeId, NodeInfo, Packet, Response, Token};
use std::net::SocketAddr;

/// What the liar with this id answers to a datagram from `from`: everything but the id is made up. Nodes right beside the target
/// that are not there, peers, a token; `nowhere` draws addresses. Nothing to what is no question.
pub(crate) fn lie(
    id: NodeId,
    from: SocketAddr,
    packet: Packet,
    rng: &mut Rng,
    mut nowhere: impl FnMut(&mut Rng) -> SocketAddr,
) -> Option<Vec<u8>> {
    let Body::Query(query) = &packet.body else { return None };
    let target = match &query.method {
        Method::FindNode { target } | Method::Get { target, .. } => Some(*target),
        Method::GetPeers { info_hash, .. } => Some(NodeId(info_hash.0)),
        _ => None,
    };
    let mut response = Response { id, ..Response::default() };
    if let Some(target) = target {
        let mut phantom = || {
            let mut near = target;
            near.0[19] ^= u8::try_from(rng.below(256)).unwrap_or(0);
            near.0[18] ^= u8::try_from(rng.below(256)).unwrap_or(0);
            NodeInfo { id: near, addr: nowhere(rng) }
        };
        response.nodes4 = Some((0..8).map(|_| phantom()).collect());
        response.token = Token::new(b"liar");
        let peers = (0..5).map(|_| nowhere(rng)).collect();
        response.values = matches!(query.method, Method::GetPeers { .. }).then_some(peers);
    }
    let body = Body::Response(Box::new(response));
    Some(Packet { client: None, your_addr: Some(from), body, ..packet }.encode())
}
