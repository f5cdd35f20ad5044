//! What it costs to turn bytes into values and back: bencode, torrent files, peer messages, packets of the DHT; and to exchange
//! keys.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use samara_wire::bencode::{self, Limits};
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::krpc::Packet;
use samara_wire::metainfo::Metainfo;
use samara_wire::metainfo::create::{Details, NewFile, Plan, PlanHashes, Version};
use samara_wire::mse::{Policy, Responder};
use samara_wire::peer::frame::{Decoded, FrameDecoder};
use samara_wire::peer::message::{Message, encode_piece_header};
use std::hint::black_box;
use std::time::Duration;

/// A torrent with so many files of five pieces each.
fn torrent(files: u32) -> (Plan, PlanHashes) {
    let files = (0..files).map(|i| NewFile {
        path: vec![format!("directory {}", i % 100), format!("file {i:06}")],
        len: 5 * u64::from(BLOCK_LEN),
        ..NewFile::default()
    });
    let plan = Plan::new("a name", files.collect(), BLOCK_LEN, Version::V1).unwrap();
    let v1 = plan.layout().pieces().map(|piece| [piece.0.to_le_bytes()[0]; 20]).collect();
    (plan, PlanHashes { v1, v2: Vec::new() })
}

fn torrents(c: &mut Criterion) {
    let mut group = c.benchmark_group("torrent file");
    for files in [1, 1_000, 50_000] {
        let (plan, hashes) = torrent(files);
        let bytes = plan.encode(&hashes, &Details::default()).unwrap();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("bencode::parse", files), |b| {
            b.iter(|| black_box(bencode::parse(black_box(&bytes), Limits::FILE).unwrap()));
        });
        group.bench_function(BenchmarkId::new("Metainfo::parse", files), |b| {
            b.iter(|| black_box(Metainfo::parse(black_box(&bytes)).unwrap()));
        });
        group.bench_function(BenchmarkId::new("Plan::encode", files), |b| {
            b.iter(|| black_box(plan.encode(&hashes, &Details::default()).unwrap()));
        });
    }
    group.finish();
}

/// What a seed reads, and what a download does, in portions as they come from a socket.
fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("peer messages");
    let block = |i: u32| BlockRef { piece: PieceIndex(i), begin: BLOCK_LEN, len: BLOCK_LEN };
    let mut requests = Vec::new();
    (0..64).for_each(|i| Message::Request(block(i)).encode(&mut requests));
    let headers: Vec<u8> = (0..64).flat_map(|i| encode_piece_header(block(i))).collect();
    let mut bitfield = Vec::new();
    Message::Bitfield(vec![0xff; 10_000].into()).encode(&mut bitfield);
    let decoder = FrameDecoder::new(Some(80_000));
    for (name, stream) in [
        ("64 requests", requests),
        ("64 block headers", headers),
        ("a bitfield of 10 kB", bitfield),
    ] {
        group.bench_function(BenchmarkId::new("decode", name), |b| {
            b.iter(|| {
                let mut rest = black_box(&stream[..]);
                while let Decoded::Frame { frame, consumed } = decoder.decode(rest).unwrap() {
                    black_box(frame);
                    rest = &rest[consumed..];
                }
            });
        });
    }
    let mut out = Vec::with_capacity(2048);
    group.bench_function("encode/64 requests", |b| {
        b.iter(|| {
            out.clear();
            (0..64).for_each(|i| Message::Request(black_box(block(i))).encode(&mut out));
            black_box(&out);
        });
    });
    group.finish();
}

/// A question for peers, and an answer with eight nodes and fifty peers.
fn krpc(c: &mut Criterion) {
    let mut group = c.benchmark_group("DHT");
    let query = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe".to_vec();
    let mut answer = b"d1:rd2:id20:abcdefghij01234567895:nodes208:".to_vec();
    answer.extend((0..208u8).map(|i| i | 1));
    answer.extend_from_slice(b"5:token8:aoeusnth6:valuesl");
    (0..50).for_each(|_| answer.extend_from_slice(b"6:axje.u"));
    answer.extend_from_slice(b"ee1:t2:aa1:y1:re");
    for (name, bytes) in [("get_peers", query), ("answer", answer)] {
        let packet = Packet::parse(&bytes).unwrap();
        group.bench_function(BenchmarkId::new("parse", name), |b| {
            b.iter(|| black_box(Packet::parse(black_box(&bytes)).unwrap()));
        });
        group.bench_function(BenchmarkId::new("encode", name), |b| {
            b.iter(|| black_box(packet.encode()));
        });
    }
    group.finish();
}

/// What one who dials us can have us compute with 96 bytes: a public value and the shared secret.
fn key_exchange(c: &mut Criterion) {
    let mut public = [0x55; 96];
    public[0] = 0x54;
    c.bench_function("encryption/key exchange", |b| {
        b.iter(|| {
            let policy = Policy::Prefer;
            let mut responder = Responder::new(policy, policy.methods(), [7; 32]);
            let mut out = Vec::new();
            let progress = responder.handle_bytes(black_box(&public), |_| None, &mut out);
            assert!(progress.is_ok() && out.len() >= 96);
        });
    });
}

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    targets = torrents, messages, krpc, key_exchange
}
criterion_main!(all);
