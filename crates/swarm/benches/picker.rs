//! What the piece picker costs in torrents of 100,000 and 1,000,000 pieces with 200 peers.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use samara_swarm::PeerKey;
use samara_swarm::picker::{PickOptions, Picker};
use samara_swarm::rng::Rng;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, PieceIndex};
use samara_wire::layout::PieceLayout;
use std::hint::black_box;
use std::time::Duration;

const SIZES: [u32; 2] = [100_000, 1_000_000];
const BLOCKS: u32 = 16;
const ME: PeerKey = PeerKey { slot: 0, generation: 0 };

fn random_set(len: u32, per_thousand: u64, seed: u64) -> Bitfield {
    let mut rng = Rng::new(seed);
    let bytes: Vec<u8> = (0..len.div_ceil(8))
        .map(|_| {
            (0..8).fold(0, |byte, _| byte << 1 | u8::from(rng.next_u64() % 1000 < per_thousand))
        })
        .collect();
    Bitfield::from_bytes(&bytes, len).unwrap()
}

/// A torrent a tenth of which is verified, in a swarm of 10 seeds and 190 peers that are anywhere between.
fn swarm(pieces: u32) -> Picker {
    let total = u64::from(pieces) * u64::from(BLOCKS * BLOCK_LEN);
    let layout = PieceLayout::contiguous(total, BLOCKS * BLOCK_LEN);
    let mut picker = Picker::new(layout, &random_set(pieces, 100, 1), 7);
    for _ in 0..10 {
        picker.peer_joined(&Bitfield::full(pieces));
    }
    for i in 0..190 {
        picker.peer_joined(&random_set(pieces, 5 * i, i));
    }
    picker
}

/// Begins a piece, asks for all its blocks, and gives it back.
fn fetch_piece(picker: &mut Picker, has: &Bitfield) {
    let mut out = Vec::with_capacity(BLOCKS as usize);
    picker.pick(ME, has, BLOCKS as usize, PickOptions::default(), &mut out);
    black_box(picker.failed(out[0].piece));
}

fn picks(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick a piece of 16 blocks and give it back");
    for pieces in SIZES {
        let mut picker = swarm(pieces);
        fetch_piece(&mut picker, &Bitfield::full(pieces));
        println!("{} bytes a piece", picker.heap_bytes() as f64 / f64::from(pieces));
        for (name, per_thousand) in [("seed", 1000), ("half", 500), ("1 %", 10)] {
            let has = random_set(pieces, per_thousand, 99);
            group.bench_function(BenchmarkId::new(name, pieces), |b| {
                b.iter(|| fetch_piece(&mut picker, &has));
            });
        }
        // The hardest peer: it has what everybody has, and nothing of the rarer half.
        let common = random_set(pieces, 500, 100);
        for _ in 0..200 {
            picker.peer_joined(&common);
        }
        group.bench_function(BenchmarkId::new("only the commoner half", pieces), |b| {
            b.iter(|| fetch_piece(&mut picker, &common));
        });
        picker.set_sequential(true);
        let half = random_set(pieces, 500, 99);
        group.bench_function(BenchmarkId::new("half, sequential", pieces), |b| {
            b.iter(|| fetch_piece(&mut picker, &half));
        });
    }
    group.finish();
}

fn one_block(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick a block, receive it");
    for pieces in SIZES {
        let mut picker = swarm(pieces);
        let has = random_set(pieces, 500, 99);
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::new("half", pieces), |b| {
            b.iter(|| {
                out.clear();
                picker.pick(ME, &has, 1, PickOptions::default(), &mut out);
                black_box(picker.received(ME, out[0]));
                if out[0].begin == (BLOCKS - 1) * BLOCK_LEN {
                    picker.failed(out[0].piece);
                }
            });
        });
    }
    group.finish();
}

fn peers(c: &mut Criterion) {
    let mut group = c.benchmark_group("peers");
    for pieces in SIZES {
        let mut picker = swarm(pieces);
        let [full, half, few] = [1000, 500, 10].map(|share| random_set(pieces, share, 99));
        fetch_piece(&mut picker, &full);
        let mut rng = Rng::new(3);
        group.bench_function(BenchmarkId::new("have", pieces), |b| {
            b.iter(|| {
                let piece = u32::try_from(rng.below(pieces as usize)).unwrap();
                picker.peer_has(PieceIndex(piece), &few);
            });
        });
        for (name, has) in [("seed joins and leaves", &full), ("1 % joins and leaves", &few)] {
            group.bench_function(BenchmarkId::new(name, pieces), |b| {
                b.iter(|| {
                    picker.peer_joined(has);
                    picker.peer_left(has);
                });
            });
        }
        group.bench_function(BenchmarkId::new("half joins and leaves", pieces), |b| {
            b.iter(|| {
                picker.peer_joined(&half);
                picker.peer_left(&half);
            });
        });
        group.bench_function(BenchmarkId::new("half joins and leaves, one pick", pieces), |b| {
            b.iter(|| {
                picker.peer_joined(&half);
                picker.peer_left(&half);
                fetch_piece(&mut picker, &full);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    targets = picks, one_block, peers
}
criterion_main!(all);
