//! Runs what the fuzz targets run, in every `cargo test`, over random bytes and over mutations of valid input.
#![allow(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "public where they live, in the fuzz crate")]

#[path = "../../../fuzz/src/bencode.rs"]
mod bencode;
#[path = "../../../fuzz/src/magnet.rs"]
mod magnet;
#[path = "../../../fuzz/src/metainfo.rs"]
mod metainfo;

use proptest::prelude::*;
use proptest::sample::Index;
use std::path::PathBuf;

/// A small change to some bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, u8),
    Delete(Index, usize),
    Repeat(Index, usize),
    Truncate(Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |index: &Index| index.index(bytes.len() + 1);
        match self {
            Self::Replace(index, byte) => {
                let at = at(index);
                bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
            }
            Self::Insert(index, byte) => bytes.insert(at(index), *byte),
            Self::Delete(index, len) => {
                let at = at(index);
                bytes.drain(at..(at + len).min(bytes.len()));
            }
            Self::Repeat(index, len) => {
                let at = at(index);
                let part = bytes[at..(at + len).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Self::Truncate(index) => bytes.truncate(at(index)),
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(b"ilde:0123456789-/.%&=".to_vec())];
    let mutation = prop_oneof![
        8 => (any::<Index>(), byte()).prop_map(|(i, b)| Mutation::Replace(i, b)),
        2 => (any::<Index>(), byte()).prop_map(|(i, b)| Mutation::Insert(i, b)),
        2 => (any::<Index>(), 1usize..20).prop_map(|(i, n)| Mutation::Delete(i, n)),
        2 => (any::<Index>(), 1usize..50).prop_map(|(i, n)| Mutation::Repeat(i, n)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
    ];
    prop::collection::vec(mutation, 0..4)
}

fn torrents() -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torrents");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

const LINKS: [&str; 2] = [
    "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a%20b&tr=udp%3A%2F%2Fa%3A1&x.pe=[::1]:1&so=0,2-4",
    "0123456789abcdef0123456789abcdef01234567",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_torrents(torrent in prop::sample::select(torrents()), mutations in mutations()) {
        let mut bytes = torrent;
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        bencode::run(&bytes);
        metainfo::run(&bytes);
    }

    #[test]
    fn mutated_links(link in prop::sample::select(LINKS.to_vec()), mutations in mutations()) {
        let mut bytes = link.as_bytes().to_vec();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        magnet::run(&bytes);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        bencode::run(&bytes);
        metainfo::run(&bytes);
        magnet::run(&bytes);
    }
}
