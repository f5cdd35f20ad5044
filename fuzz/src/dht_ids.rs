//! Ids of the DHT, filters of its scrapes, and what its items are signed over (BEP 5, 33, 42, 44, 46).

use crate::Script;
use samara_wire::bencode::{self, Limits};
use samara_wire::id::WireHash;
use samara_wire::krpc::{
    BloomFilter, NodeId, PublicKey, immutable_target, mutable_target, pointed_torrent,
    pointer_value, signed_bytes,
};
use std::net::IpAddr;

/// Reads `input` as ids and addresses: distances are a metric, and an id made for an address fits it and few others.
pub fn ids(input: &[u8]) {
    let mut script = Script::new(input);
    let [a, b, c] = [NodeId(script.array()), NodeId(script.array()), NodeId(script.array())];
    assert_eq!(a.distance(&b), b.distance(&a));
    assert_eq!(a == b, a.distance(&b) == a.distance(&a));
    assert!(a.distance(&b) >= a.distance(&a), "nearer than itself");
    // Of three, the two longest ways are of one magnitude: what makes the tree of ids.
    let bits = [a.shared_bits(&b), b.shared_bits(&c), a.shared_bits(&c)];
    let least = bits.into_iter().min().unwrap_or(0);
    assert!(bits.iter().filter(|shared| **shared == least).count() >= 2);
    let naive = (0..160).find(|bit| bit_of(&a, *bit) != bit_of(&b, *bit)).unwrap_or(160);
    assert_eq!(a.shared_bits(&b), naive);
    if a.shared_bits(&b) > a.shared_bits(&c) {
        assert!(a.distance(&b) < a.distance(&c));
    }
    let ip = match script.flag() {
        true => IpAddr::from(script.array::<4>()),
        false => IpAddr::from(script.array::<16>()),
    };
    let id = NodeId::for_ip(ip, script.array());
    assert!(id.is_valid_for(ip), "{id} does not fit {ip}");
}

fn bit_of(id: &NodeId, bit: u32) -> bool {
    id.0[bit as usize / 8] << (bit % 8) & 0x80 != 0
}

/// Reads `input` as addresses in two filters: what was put in is found, in a union as well, and estimates are numbers.
pub fn filters(input: &[u8]) {
    let mut script = Script::new(input);
    let (mut one, mut other) = (BloomFilter::default(), BloomFilter::default());
    let (mut ips, mut count) = (Vec::new(), [0usize; 2]);
    while !script.is_done() && ips.len() < 500 {
        let kind = script.byte();
        let ip = match kind & 2 {
            0 => IpAddr::from(script.array::<4>()),
            _ => IpAddr::from(script.array::<16>()),
        };
        let filter = if kind & 1 == 0 { &mut one } else { &mut other };
        filter.insert(ip);
        assert!(filter.contains(ip), "{ip} is not found");
        ips.push(ip);
        count[usize::from(kind & 1)] += 1;
    }
    let estimate = one.estimate();
    assert!(estimate.is_finite() && estimate >= 0.0);
    assert_eq!(count[0] == 0, estimate == 0.0, "{estimate} of {}", count[0]);
    let again = BloomFilter::from_bytes(one.as_bytes()).expect("its own bytes");
    assert_eq!(again.as_bytes(), one.as_bytes());
    assert!(BloomFilter::from_bytes(&one.as_bytes()[1..]).is_none());
    one.union(&other);
    assert!(ips.iter().all(|ip| one.contains(*ip)), "lost in the union");
    assert!(one.estimate() >= estimate);
}

/// Reads `input` as items: two that differ are signed over different bytes and stand at different places.
pub fn items(input: &[u8]) {
    let mut script = Script::new(input);
    let key = PublicKey([script.byte(); 32]);
    let mut item = || {
        let (salt, seq) = (script.bytes(64).to_vec(), script.long().cast_signed().max(0));
        (salt, seq, value(&mut script))
    };
    let (one, other) = (item(), item());
    let bytes = |(salt, seq, value): &(Vec<u8>, i64, Vec<u8>)| signed_bytes(salt, *seq, value);
    assert_eq!(one == other, bytes(&one) == bytes(&other), "{one:?} and {other:?}");
    assert_eq!(one.0 == other.0, mutable_target(&key, &one.0) == mutable_target(&key, &other.0));
    assert_eq!(one.2 == other.2, immutable_target(&one.2) == immutable_target(&other.2));
    let torrent = WireHash(script.array());
    assert_eq!(pointed_torrent(&pointer_value(torrent)), Some(torrent));
    let text = script.rest();
    if let Some(torrent) = pointed_torrent(text) {
        let pointer = pointer_value(torrent);
        let (doc, written) =
            (bencode::parse(text, Limits::WIRE), bencode::parse(&pointer, Limits::WIRE));
        let hash = |doc: &bencode::Doc<'_>| {
            doc.as_dict().and_then(|dict| dict.get_bytes(b"ih")).map(<[u8]>::to_vec)
        };
        assert_eq!(doc.as_ref().map(hash), written.as_ref().map(hash), "another torrent");
    }
}

/// One bencoded value, as every item is.
fn value(script: &mut Script<'_>) -> Vec<u8> {
    let bytes = script.bytes(40);
    match bencode::parse_prefix(bytes, Limits::WIRE) {
        Ok((doc, used)) if doc.token_count() > 0 => bytes[..used].to_vec(),
        _ => [bytes.len().to_string().as_bytes(), b":", bytes].concat(),
    }
}
