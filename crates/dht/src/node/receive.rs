//! What becomes of the answers to our questions, and of questions without an answer.

use super::{Dht, Purpose};
use crate::outbox::{Event, Outbox};
use crate::requests::Request;
use core::net::{IpAddr, SocketAddr};
use samara_wire::krpc::{Body, NodeId, NodeInfo, Packet, Response, is_local};
use samara_wire::time::Instant;

impl Dht {
    /// A datagram came. A query that cannot be read is refused; what else is no valid packet, or not for us, is passed over in
    /// silence.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        let ours = self.config.family.is_of(from.ip()) && from.port() != 0;
        if !self.running || !ours {
            return;
        }
        let packet = match Packet::parse(datagram) {
            Ok(packet) => packet,
            Err(error) => return self.refuse(now, from, datagram, error, out),
        };
        let Packet { transaction, read_only, your_addr, body, .. } = packet;
        match body {
            Body::Query(query) => {
                self.answer(now, from, datagram.len(), transaction, read_only, &query, out);
            }
            Body::Response(response) => {
                let Some(request) = self.requests.answered(now, from, &transaction) else { return };
                self.proven.insert(now, from);
                self.on_response(now, request, read_only, your_addr, *response, out);
                // Enough may be known now for what waited.
                self.drive_waiting(now, out);
            }
            Body::Error(_) => {
                let Some(request) = self.requests.answered(now, from, &transaction) else { return };
                self.proven.insert(now, from);
                self.on_refused(now, &request, out);
            }
        }
    }

    fn on_response(
        &mut self,
        now: Instant,
        request: Request<Purpose>,
        read_only: bool,
        your_addr: Option<SocketAddr>,
        response: Response,
        out: &mut Outbox,
    ) {
        let from = NodeInfo { id: response.id, addr: request.addr };
        if from.id == self.id() {
            // Ourselves, or one who pretends to be.
            return self.on_refused(now, &request, out);
        }
        if let Some(expected) = request.id.filter(|expected| *expected != from.id) {
            // Another lives there now, or it answers with whatever id is convenient.
            self.table.failed(&NodeInfo { id: expected, addr: from.addr });
            return self.on_refused(now, &request, out);
        }
        if !read_only {
            let was_empty = self.table.is_empty();
            self.table.heard(now, from);
            if was_empty && self.join_at.is_some() && !self.table.is_empty() {
                self.join_soon(now);
            }
        }
        if let Some(addr) = your_addr {
            self.on_told_address(now, from.addr, addr.ip(), out);
        }
        match request.purpose {
            Purpose::Ping => {}
            Purpose::Store(id) => self.on_store_ended(now, id, from.addr, true, out),
            Purpose::Walk(id) => {
                let (same, other) = match self.config.family {
                    super::Family::V4 => (&response.nodes4, &response.nodes6),
                    super::Family::V6 => (&response.nodes6, &response.nodes4),
                };
                let mut nodes = same.clone().unwrap_or_default();
                nodes.retain(|node| self.is_plausible(from.addr, node));
                if let Some(other) = other.clone().filter(|nodes| !nodes.is_empty()) {
                    out.event(Event::OtherFamily(other));
                }
                self.on_walk_answered(now, id, from, response, &nodes, out);
            }
        }
    }

    /// Whether a node that `from` names is worth a datagram. Only one in a local network may name others there.
    fn is_plausible(&self, from: SocketAddr, node: &NodeInfo) -> bool {
        let ip = node.addr.ip();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        self.config.family.is_of(ip)
            && node.id != self.id()
            && !ip.is_unspecified()
            && !ip.is_multicast()
            && !broadcast
            && (!is_local(ip) || is_local(from.ip()))
    }

    fn on_refused(&mut self, now: Instant, request: &Request<Purpose>, out: &mut Outbox) {
        match request.purpose {
            Purpose::Ping => {}
            Purpose::Walk(id) => self.on_walk_silent(now, id, request.addr, true, out),
            Purpose::Store(id) => self.on_store_ended(now, id, request.addr, false, out),
        }
    }

    /// Questions that have become slow, or have had their time.
    pub(super) fn on_silence(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(request) = self.requests.poll_slow(now) {
            match (request.purpose, request.id) {
                (Purpose::Walk(id), _) => {
                    self.on_walk_silent(now, id, request.addr, false, out);
                }
                (Purpose::Store(id), Some(node)) => {
                    let to = NodeInfo { id: node, addr: request.addr };
                    self.on_store_slow(now, id, to, out);
                }
                _ => {}
            }
        }
        while let Some(request) = self.requests.poll_ended(now) {
            if let Some(id) = request.id {
                self.table.failed(&NodeInfo { id, addr: request.addr });
            }
            self.on_refused(now, &request, out);
        }
    }

    /// Our address outside is known: a gateway said so. One of another family, or that cannot be anybody's, is passed over.
    pub fn handle_external_ip(&mut self, now: Instant, ip: IpAddr, out: &mut Outbox) {
        let is_ours = self.config.family.is_of(ip) && !ip.is_unspecified() && !ip.is_multicast();
        if is_ours && self.external.know(ip) {
            self.on_external_ip(now, ip, out);
        }
    }

    /// We are at another address than before: what others said of it holds no more, and what we announced is announced again, at
    /// the usual distance.
    pub fn handle_moved(&mut self, now: Instant) {
        self.external.forget();
        self.announces.renew(now);
    }

    fn on_told_address(&mut self, now: Instant, voter: SocketAddr, ip: IpAddr, out: &mut Outbox) {
        if let Some(ip) = self.external.vote(voter, ip) {
            self.on_external_ip(now, ip, out);
        }
    }

    fn on_external_ip(&mut self, now: Instant, ip: IpAddr, out: &mut Outbox) {
        out.event(Event::ExternalAddress(ip));
        if !self.id().is_valid_for(ip) {
            let id = NodeId::for_ip(ip, self.rng.next_20());
            self.table.rebase(now, id);
            // Others shall know us by it.
            self.join_soon(now);
        }
    }
}
