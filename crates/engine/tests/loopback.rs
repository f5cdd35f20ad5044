//! Whole sessions with real sockets on loopback.

mod support;

use support::{Sample, addr, run};

const KIB: usize = 1024;

#[test]
fn one_seed_to_one_leech() {
    run(async {
        let sample = Sample::single(3_000_001, 64 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let status = sample.download(&[addr(&seed)]).await;
        assert_eq!(status.stats.wanted_have_bytes, 3_000_001);
        assert_eq!(status.stats.corrupt, 0);
        seed.shutdown().await;
    });
}

#[test]
fn many_files_empty_and_tiny_ones_among_them() {
    run(async {
        let files = [
            ("a", 70 * KIB),
            ("empty", 0),
            ("deep/er/one byte", 1),
            ("deep/b", 100 * KIB + 3),
            ("deep/empty too", 0),
            ("z", 40_000),
        ];
        let sample = Sample::multi(&files, 32 * 1024);
        let (seed, _torrent) = sample.seed().await;
        sample.download(&[addr(&seed)]).await;
        seed.shutdown().await;
    });
}

#[test]
fn exact_multiples_and_single_blocks() {
    run(async {
        for (len, piece_len) in [(4 * 64 * KIB, 64 * 1024), (16 * KIB, 16 * 1024), (1, 16 * 1024)] {
            let sample = Sample::single(len, piece_len);
            let (seed, _torrent) = sample.seed().await;
            sample.download(&[addr(&seed)]).await;
            seed.shutdown().await;
        }
    });
}
