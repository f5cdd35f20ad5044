//! What others are answered.
//!
//! An answer to an unproven address is cut until it is no more than three times its question: first the filters of
//! a scrape and long items go, then peers and nodes in turn. One who sends us the program's name with its
//! questions, as nearly all do, is told all eight nodes even so.

use super::{CLIENT, Dht, Family};
use crate::item_store::target_of;
use crate::outbox::{Effect, Outbox};
use crate::proven::AMPLIFICATION;
use crate::table::BUCKET;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::id::WireHash;
use samara_wire::krpc::{
    AnnouncedPort, Body, ErrorCode, ErrorReply, KrpcError, Method, NodeId, NodeInfo, Packet, Put,
    Query, Response, TransactionId,
};
use samara_wire::time::Instant;

/// Longest answer, in bytes: one that no network has to cut in pieces.
const MAX_ANSWER: usize = 1400;

/// Peers in one answer.
const MAX_VALUES: usize = 50;

/// A question of ours that is only a ping, in bytes, at most.
const PING_LEN: usize = 84;

impl Dht {
    #[expect(clippy::too_many_arguments, reason = "the parts of one datagram")]
    pub(super) fn answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        len: usize,
        transaction: TransactionId,
        read_only: bool,
        query: &Query,
        out: &mut Outbox,
    ) {
        if self.config.read_only || query.id == self.id() || !self.sources.take(now, from.ip()) {
            return;
        }
        let body = match self.response_to(now, from, query) {
            Ok(response) => Body::Response(Box::new(response)),
            Err(code) => Body::Error(ErrorReply::new(code)),
        };
        let proven = self.proven.contains(now, &from);
        let mut budget = if proven { MAX_ANSWER } else { (AMPLIFICATION * len).min(MAX_ANSWER) };
        let node = NodeInfo { id: query.id, addr: from };
        let curious =
            !read_only && !proven && self.table.would_take(&node) && self.curiosity.take(now, 1);
        if curious {
            budget = budget.saturating_sub(PING_LEN);
        }
        let packet =
            Packet { transaction, client: None, read_only: false, your_addr: Some(from), body };
        self.reply(now, from, packet, budget, out);
        if curious {
            self.ask_ping(now, node, out);
        }
    }

    /// A query that cannot be read is refused with what is wrong in it (BEP 5), within the same limits as all answers.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        error: KrpcError,
        out: &mut Outbox,
    ) {
        let Some((transaction, refusal)) = ErrorReply::of(datagram, error) else { return };
        if self.config.read_only || !self.sources.take(now, from.ip()) {
            return;
        }
        let body = Body::Error(refusal);
        let packet =
            Packet { transaction, client: None, read_only: false, your_addr: Some(from), body };
        self.reply(now, from, packet, AMPLIFICATION * datagram.len(), out);
    }

    /// Sends an answer of at most `budget` bytes, if the limits let it and so little is enough.
    fn reply(
        &mut self,
        now: Instant,
        to: SocketAddr,
        packet: Packet,
        budget: usize,
        out: &mut Outbox,
    ) {
        if let Some(datagram) = fit(packet, budget)
            && self.answer_bytes.take(now, datagram.len())
        {
            out.push(Effect::Send(to, datagram));
        }
    }

    fn response_to(
        &mut self,
        now: Instant,
        from: SocketAddr,
        query: &Query,
    ) -> Result<Response, ErrorCode> {
        match &query.method {
            Method::Ping => Ok(self.bare()),
            Method::FindNode { target } => Ok(self.near(now, query, target)),
            Method::GetPeers { info_hash, no_seeds, scrape } => {
                let target = NodeId(info_hash.0);
                let values = self.peers.some(info_hash, *no_seeds, MAX_VALUES, &mut self.rng);
                let scrape = if *scrape { self.peers.scrape(info_hash) } else { None };
                Ok(Response {
                    token: Some(self.tokens.give(from.ip(), &target)),
                    values: (!values.is_empty()).then_some(values),
                    scrape,
                    ..self.near(now, query, &target)
                })
            }
            Method::AnnouncePeer { info_hash, port, token, seed } => {
                if !self.tokens.check(token, from.ip(), &NodeId(info_hash.0)) {
                    return Err(ErrorCode::Protocol);
                }
                self.proven.insert(now, from);
                self.store_peer(now, from, *info_hash, *port, *seed)
            }
            Method::Get { target, seq } => Ok(self.stored(now, from, query, target, *seq)),
            Method::Put(put) => self.store_item(now, from, put),
            Method::SampleInfohashes { target } => Ok(Response {
                samples: Some(self.peers.samples(&mut self.rng)),
                ..self.near(now, query, target)
            }),
            Method::Unknown { target: Some(target) } => Ok(self.near(now, query, target)),
            Method::Unknown { target: None } => Err(ErrorCode::MethodUnknown),
        }
    }

    fn bare(&self) -> Response {
        Response { id: self.id(), ..Response::default() }
    }

    /// The nodes we know near `target`; those of the other family as far as the shell has told us any (BEP 32).
    fn near(&self, now: Instant, query: &Query, target: &NodeId) -> Response {
        let (wanted, other) = match self.config.family {
            Family::V4 => (query.want.v4, query.want.v6),
            Family::V6 => (query.want.v6, query.want.v4),
        };
        let mut response = self.bare();
        if wanted || !other {
            let mut nodes = self.table.closest(target, BUCKET + 1);
            nodes.retain(|node| node.id != query.id);
            nodes.truncate(BUCKET);
            match self.config.family {
                Family::V4 => response.nodes4 = Some(nodes),
                Family::V6 => response.nodes6 = Some(nodes),
            }
        }
        if other {
            let nodes = self.other_family.closest(now, target, BUCKET);
            let nodes = Some(nodes).filter(|nodes| !nodes.is_empty());
            match self.config.family {
                Family::V4 => response.nodes6 = nodes,
                Family::V6 => response.nodes4 = nodes,
            }
        }
        response
    }

    fn store_peer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        torrent: WireHash,
        port: AnnouncedPort,
        seed: bool,
    ) -> Result<Response, ErrorCode> {
        let port = match port {
            AnnouncedPort::Implied => from.port(),
            AnnouncedPort::Explicit(port) => port,
        };
        let (own, peer) = (self.id(), SocketAddr::new(from.ip(), port));
        let kept = self.peers.insert(now, &own, torrent, peer, seed);
        if kept { Ok(self.bare()) } else { Err(ErrorCode::Server) }
    }

    fn stored(
        &self,
        now: Instant,
        from: SocketAddr,
        query: &Query,
        target: &NodeId,
        seq: Option<i64>,
    ) -> Response {
        let item = self.items.get(target);
        let number = item.and_then(|item| item.signed).map(|signed| signed.seq);
        // Whoever has it already is told only its number.
        let known = matches!((seq, number), (Some(known), Some(number)) if number <= known);
        Response {
            token: Some(self.tokens.give(from.ip(), target)),
            item: item.filter(|_| !known).map(|item| Box::new(item.clone())),
            seq: number,
            ..self.near(now, query, target)
        }
    }

    fn store_item(
        &mut self,
        now: Instant,
        from: SocketAddr,
        put: &Put,
    ) -> Result<Response, ErrorCode> {
        if !self.tokens.check(&put.token, from.ip(), &target_of(put)) {
            return Err(ErrorCode::Protocol);
        }
        self.proven.insert(now, from);
        let own = self.id();
        self.items.put(now, &own, put)?;
        Ok(self.bare())
    }
}

/// The packet in at most `budget` bytes, with less in it if need be. `None` if even the least is too long.
fn fit(mut packet: Packet, budget: usize) -> Option<Vec<u8>> {
    // Our name is worth nine bytes only where there is room for them.
    packet.client = Some(CLIENT);
    loop {
        let datagram = packet.encode();
        if datagram.len() <= budget {
            return Some(datagram);
        }
        if packet.client.take().is_some() {
            continue;
        }
        let shorter = match &mut packet.body {
            Body::Response(response) => shrink(response, datagram.len() - budget),
            // The code says enough.
            Body::Error(error) => !core::mem::take(&mut error.message).is_empty(),
            Body::Query(_) => false,
        };
        if !shorter {
            return None;
        }
    }
}

/// Leaves something out. Whether there was anything.
fn shrink(response: &mut Response, over: usize) -> bool {
    if response.scrape.take().is_some() {
        return true;
    }
    let nodes = match (response.nodes4.as_mut(), response.nodes6.as_mut()) {
        (Some(v4), Some(v6)) if v4.len() > v6.len() => Some(v4),
        (v4, v6) => v6.or(v4),
    };
    let nodes = nodes.filter(|nodes| !nodes.is_empty());
    let samples = response.samples.as_mut().map(|samples| &mut samples.hashes);
    if let Some(samples) = samples.filter(|samples| !samples.is_empty()) {
        // They take about the same room, and both are wanted.
        match nodes {
            Some(nodes) if nodes.len() > samples.len() => _ = nodes.pop(),
            _ => _ = samples.pop(),
        }
        return true;
    }
    let values = response.values.as_mut().filter(|values| !values.is_empty());
    match (nodes, values) {
        // A peer takes a third of the room of a node, and both are wanted.
        (Some(nodes), Some(values)) if nodes.len() * 3 > values.len() => _ = nodes.pop(),
        (_, Some(values)) => _ = values.pop(),
        (Some(nodes), None) if response.item.is_none() || over < 3 * 26 => _ = nodes.pop(),
        (nodes, None) => {
            let left_out = response.item.take().is_some();
            return left_out || nodes.is_some_and(|nodes| nodes.pop().is_some());
        }
    }
    true
}
