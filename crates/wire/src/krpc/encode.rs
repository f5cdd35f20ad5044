//! Values to bytes.

use super::node::{compact_addr, compact_nodes};
use super::{AnnouncedPort, Body, Item, Method, Packet, Put, Query, Response};
use crate::bencode::{DictEncoder, Encoder};
use alloc::vec::Vec;

impl Packet {
    /// The packet as a datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Encoder::dict_bytes(|d| {
            match &self.body {
                Body::Query(query) => {
                    d.dict(b"a", |a| arguments(query, a));
                    d.bytes(b"q", query.method.name());
                    d.bytes(b"y", b"q");
                }
                Body::Response(response) => {
                    d.dict(b"r", |r| answer(response, r));
                    d.bytes(b"y", b"r");
                }
                Body::Error(error) => {
                    d.list(b"e", |e| {
                        e.int(error.code);
                        e.bytes(error.message.as_bytes());
                    });
                    d.bytes(b"y", b"e");
                }
            }
            if let Some(addr) = &self.your_addr {
                d.bytes(b"ip", &compact_addr(addr));
            }
            if self.read_only {
                d.int(b"ro", 1);
            }
            d.bytes(b"t", self.transaction.as_bytes());
            if let Some(client) = &self.client {
                d.bytes(b"v", client);
            }
        })
    }
}

impl Method {
    /// Its name on the wire. An unknown method has lost its own.
    const fn name(&self) -> &'static [u8] {
        match self {
            Self::Ping => b"ping",
            Self::FindNode { .. } => b"find_node",
            Self::GetPeers { .. } => b"get_peers",
            Self::AnnouncePeer { .. } => b"announce_peer",
            Self::Get { .. } => b"get",
            Self::Put(_) => b"put",
            Self::SampleInfohashes { .. } => b"sample_infohashes",
            Self::Unknown { .. } => b"unknown",
        }
    }
}

fn arguments(query: &Query, a: &mut DictEncoder<'_>) {
    a.bytes(b"id", &query.id.0);
    match &query.method {
        Method::Ping | Method::Unknown { target: None } => {}
        Method::FindNode { target }
        | Method::SampleInfohashes { target }
        | Method::Unknown { target: Some(target) } => a.bytes(b"target", &target.0),
        Method::GetPeers { info_hash, no_seeds, scrape } => {
            a.bytes(b"info_hash", &info_hash.0);
            flag(a, b"noseed", *no_seeds);
            flag(a, b"scrape", *scrape);
        }
        Method::AnnouncePeer { info_hash, port, token, seed } => {
            a.bytes(b"info_hash", &info_hash.0);
            a.bytes(b"token", token.as_bytes());
            flag(a, b"seed", *seed);
            flag(a, b"implied_port", *port == AnnouncedPort::Implied);
            let port = match port {
                AnnouncedPort::Implied => 0,
                AnnouncedPort::Explicit(port) => *port,
            };
            a.int(b"port", i64::from(port));
        }
        Method::Get { target, seq } => {
            a.bytes(b"target", &target.0);
            if let Some(seq) = seq {
                a.int(b"seq", *seq);
            }
        }
        Method::Put(put) => put_arguments(put, a),
    }
    if query.want.v4 || query.want.v6 {
        a.list(b"want", |want| {
            if query.want.v4 {
                want.bytes(b"n4");
            }
            if query.want.v6 {
                want.bytes(b"n6");
            }
        });
    }
}

fn flag(a: &mut DictEncoder<'_>, key: &[u8], set: bool) {
    if set {
        a.int(key, 1);
    }
}

fn put_arguments(put: &Put, a: &mut DictEncoder<'_>) {
    a.bytes(b"token", put.token.as_bytes());
    item(&put.item, a);
    if let Some(cas) = put.cas {
        a.int(b"cas", cas);
    }
    if !put.salt.is_empty() {
        a.bytes(b"salt", &put.salt);
    }
}

fn item(item: &Item, d: &mut DictEncoder<'_>) {
    d.raw(b"v", &item.value);
    if let Some(signed) = &item.signed {
        d.bytes(b"k", &signed.key.0);
        d.int(b"seq", signed.seq);
        d.bytes(b"sig", &signed.signature.0);
    }
}

fn answer(response: &Response, r: &mut DictEncoder<'_>) {
    r.bytes(b"id", &response.id.0);
    if let Some(nodes) = &response.nodes4 {
        r.bytes(b"nodes", &compact_nodes(nodes, false));
    }
    if let Some(nodes) = &response.nodes6 {
        r.bytes(b"nodes6", &compact_nodes(nodes, true));
    }
    if let Some(token) = &response.token {
        r.bytes(b"token", token.as_bytes());
    }
    if let Some(values) = &response.values {
        r.list(b"values", |list| values.iter().for_each(|peer| list.bytes(&compact_addr(peer))));
    }
    if let Some(scrape) = &response.scrape {
        r.bytes(b"BFsd", scrape.seeds.as_bytes());
        r.bytes(b"BFpe", scrape.peers.as_bytes());
    }
    if let Some(samples) = &response.samples {
        let hashes: Vec<u8> = samples.hashes.iter().flat_map(|hash| hash.0).collect();
        r.bytes(b"samples", &hashes);
        r.int(b"interval", i64::try_from(samples.interval.as_secs()).unwrap_or(i64::MAX));
        r.int(b"num", i64::try_from(samples.total).unwrap_or(i64::MAX));
    }
    if let Some(stored) = &response.item {
        item(stored, r);
    }
    let item_has_seq = response.item.as_ref().is_some_and(|item| item.signed.is_some());
    if let Some(seq) = response.seq.filter(|_| !item_has_seq) {
        r.int(b"seq", seq);
    }
}
