//! Bytes to values.

use super::node::{parse_addr, parse_nodes4, parse_nodes6};
use super::{
    AnnouncedPort, BloomFilter, Body, ErrorReply, Item, KrpcError, MAX_PACKET, Method, NodeId,
    Packet, PublicKey, Put, Query, Response, Samples, Scrape, Signature, Signed, Token,
    TransactionId, Want,
};
use crate::bencode::{self, Dict, Limits};
use crate::id::WireHash;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// Longest message of a refusal that is kept, in bytes.
const MAX_ERROR_MESSAGE: usize = 200;

/// Longest interval between samples that is believed (BEP 51).
const MAX_SAMPLE_INTERVAL: u64 = 6 * 3600;

impl Packet {
    /// Reads a datagram.
    ///
    /// # Errors
    /// If it is no packet of the DHT, or breaks one of the bounds of [this module](super).
    pub fn parse(datagram: &[u8]) -> Result<Self, KrpcError> {
        if datagram.len() > MAX_PACKET {
            return Err(KrpcError::TooLong);
        }
        let doc = bencode::parse(datagram, Limits::WIRE)?;
        let dict = doc.as_dict().ok_or(KrpcError::NotADict)?;
        let transaction = dict.get_bytes(b"t").and_then(TransactionId::new);
        let body = match dict.get_bytes(b"y") {
            Some(b"q") => Body::Query(query(&dict)?),
            Some(b"r") => {
                let r = dict.get_dict(b"r").ok_or(KrpcError::Bad("r"))?;
                Body::Response(Box::new(response(&r)?))
            }
            Some(b"e") => Body::Error(error(&dict)?),
            _ => return Err(KrpcError::Bad("y")),
        };
        Ok(Self {
            transaction: transaction.ok_or(KrpcError::Bad("t"))?,
            client: dict.get_bytes(b"v").and_then(|v| v.try_into().ok()),
            read_only: is_set(&dict, b"ro"),
            your_addr: dict.get_bytes(b"ip").and_then(parse_addr),
            body,
        })
    }
}

fn query(packet: &Dict<'_, '_>) -> Result<Query, KrpcError> {
    let a = packet.get_dict(b"a").ok_or(KrpcError::Bad("a"))?;
    let id = id_at(&a, b"id").ok_or(KrpcError::Bad("id"))?;
    let target = || id_at(&a, b"target").ok_or(KrpcError::Bad("target"));
    let method = match packet.get_bytes(b"q").ok_or(KrpcError::Bad("q"))? {
        b"ping" => Method::Ping,
        b"find_node" => Method::FindNode { target: target()? },
        b"get_peers" => Method::GetPeers {
            info_hash: info_hash(&a)?,
            no_seeds: is_set(&a, b"noseed"),
            scrape: is_set(&a, b"scrape"),
        },
        b"announce_peer" => Method::AnnouncePeer {
            info_hash: info_hash(&a)?,
            port: announced_port(&a)?,
            token: token(&a)?.ok_or(KrpcError::Bad("token"))?,
            seed: is_set(&a, b"seed"),
        },
        b"get" => Method::Get { target: target()?, seq: a.get_int(b"seq") },
        b"put" => Method::Put(Box::new(put(&a)?)),
        b"sample_infohashes" => Method::SampleInfohashes { target: target()? },
        _ => Method::Unknown { target: id_at(&a, b"target").or_else(|| id_at(&a, b"info_hash")) },
    };
    Ok(Query { id, want: want(&a), method })
}

fn id_at(dict: &Dict<'_, '_>, key: &[u8]) -> Option<NodeId> {
    Some(NodeId(dict.get_bytes(key)?.try_into().ok()?))
}

fn info_hash(a: &Dict<'_, '_>) -> Result<WireHash, KrpcError> {
    id_at(a, b"info_hash").map(|id| WireHash(id.0)).ok_or(KrpcError::Bad("info_hash"))
}

fn is_set(dict: &Dict<'_, '_>, key: &[u8]) -> bool {
    dict.get_int(key) == Some(1)
}

fn want(a: &Dict<'_, '_>) -> Want {
    let mut want = Want::default();
    for family in a.get_list(b"want").into_iter().flatten() {
        match family.as_bytes() {
            Some(b"n4") => want.v4 = true,
            Some(b"n6") => want.v6 = true,
            _ => {}
        }
    }
    want
}

fn announced_port(a: &Dict<'_, '_>) -> Result<AnnouncedPort, KrpcError> {
    if a.get_int(b"implied_port").is_some_and(|n| n != 0) {
        return Ok(AnnouncedPort::Implied);
    }
    let port = a.get_int(b"port").and_then(|port| u16::try_from(port).ok());
    port.filter(|&port| port != 0).map(AnnouncedPort::Explicit).ok_or(KrpcError::Bad("port"))
}

/// The token, if there is one; an empty one counts as none.
fn token(dict: &Dict<'_, '_>) -> Result<Option<Token>, KrpcError> {
    match dict.get_bytes(b"token") {
        None | Some([]) => Ok(None),
        Some(bytes) => Token::new(bytes).map(Some).ok_or(KrpcError::Bad("token")),
    }
}

fn put(a: &Dict<'_, '_>) -> Result<Put, KrpcError> {
    let signed = signed(a)?;
    let salt = a.get_bytes(b"salt").filter(|_| signed.is_some()).unwrap_or_default();
    Ok(Put {
        token: token(a)?.ok_or(KrpcError::Bad("token"))?,
        item: Item { value: a.get(b"v").ok_or(KrpcError::Bad("v"))?.raw().into(), signed },
        cas: a.get_int(b"cas").filter(|_| signed.is_some()),
        salt: salt.into(),
    })
}

/// Key, number and signature, which come together or not at all.
fn signed(dict: &Dict<'_, '_>) -> Result<Option<Signed>, KrpcError> {
    let Some(key) = dict.get(b"k") else { return Ok(None) };
    let key = key.as_bytes().and_then(|key| key.try_into().ok()).ok_or(KrpcError::Bad("k"))?;
    let seq = dict.get_int(b"seq").filter(|&seq| seq >= 0).ok_or(KrpcError::Bad("seq"))?;
    let signature = dict.get_bytes(b"sig").and_then(|signature| signature.try_into().ok());
    let signature = signature.ok_or(KrpcError::Bad("sig"))?;
    Ok(Some(Signed { key: PublicKey(key), seq, signature: Signature(signature) }))
}

fn response(r: &Dict<'_, '_>) -> Result<Response, KrpcError> {
    let id = id_at(r, b"id").ok_or(KrpcError::Bad("id"))?;
    let nodes4 = match r.get_bytes(b"nodes") {
        Some(nodes) => Some(parse_nodes4(nodes).ok_or(KrpcError::Bad("nodes"))?),
        None => None,
    };
    let nodes6 = match r.get_bytes(b"nodes6") {
        Some(nodes) => Some(parse_nodes6(nodes).ok_or(KrpcError::Bad("nodes6"))?),
        None => None,
    };
    let item = match r.get(b"v") {
        Some(value) => Some(Box::new(Item { value: value.raw().into(), signed: signed(r)? })),
        None => None,
    };
    let known_seq = item.as_ref().and_then(|item| item.signed).map(|signed| signed.seq);
    Ok(Response {
        id,
        nodes4,
        nodes6,
        token: token(r)?,
        values: r.get_list(b"values").map(|list| {
            let peers = list.into_iter().filter_map(|peer| parse_addr(peer.as_bytes()?));
            peers.filter(is_dialable).collect()
        }),
        scrape: scrape(r)?,
        samples: samples(r)?,
        seq: known_seq.or_else(|| r.get_int(b"seq")),
        item,
    })
}

fn is_dialable(peer: &SocketAddr) -> bool {
    peer.port() != 0 && !peer.ip().is_unspecified()
}

fn scrape(r: &Dict<'_, '_>) -> Result<Option<Box<Scrape>>, KrpcError> {
    let (Some(seeds), Some(peers)) = (r.get_bytes(b"BFsd"), r.get_bytes(b"BFpe")) else {
        return Ok(None);
    };
    let seeds = BloomFilter::from_bytes(seeds).ok_or(KrpcError::Bad("BFsd"))?;
    let peers = BloomFilter::from_bytes(peers).ok_or(KrpcError::Bad("BFpe"))?;
    Ok(Some(Box::new(Scrape { seeds, peers })))
}

fn samples(r: &Dict<'_, '_>) -> Result<Option<Samples>, KrpcError> {
    let Some(bytes) = r.get_bytes(b"samples") else { return Ok(None) };
    let (hashes, []) = bytes.as_chunks::<20>() else {
        return Err(KrpcError::Bad("samples"));
    };
    let number = |key: &[u8]| r.get(key).and_then(|n| n.as_u64()).unwrap_or(0);
    Ok(Some(Samples {
        hashes: hashes.iter().map(|hash| WireHash(*hash)).collect(),
        interval: Duration::from_secs(number(b"interval").min(MAX_SAMPLE_INTERVAL)),
        total: number(b"num"),
    }))
}

fn error(packet: &Dict<'_, '_>) -> Result<ErrorReply, KrpcError> {
    let mut parts = packet.get_list(b"e").ok_or(KrpcError::Bad("e"))?.into_iter();
    let code = parts.next().and_then(|code| code.as_int()).ok_or(KrpcError::Bad("e"))?;
    let message = parts.next().and_then(|message| message.as_bytes()).unwrap_or_default();
    Ok(ErrorReply { code, message: printable(message) })
}

/// Text that can be shown: what is not plain ASCII is replaced, and the rest is cut.
fn printable(message: &[u8]) -> String {
    let kept: Vec<u8> = message.iter().take(MAX_ERROR_MESSAGE).copied().collect();
    let shown = |byte: u8| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' };
    kept.into_iter().map(shown).collect()
}
