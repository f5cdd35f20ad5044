//! Messages of 256 KiB through every way there is on this machine, and through what is chosen among them.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use samara_hash::{Algorithm, Sha1, Sha256};
use std::hint::black_box;

const LEN: usize = 256 << 10;

fn bench<A: Algorithm>(c: &mut Criterion, name: &str) {
    let message = vec![0x5a; LEN];
    let each = A::all_kernels();
    let named = each.iter().map(|kernels| (kernels.name(), kernels));
    for (way, kernels) in named.chain([("chosen", A::kernels())]) {
        let mut group = c.benchmark_group(format!("{name}/{way}"));
        for count in [1, 2, 4, 8, 16] {
            let slices: Vec<&[u8]> = vec![&message];
            let messages = vec![slices.as_slice(); count];
            group.throughput(Throughput::Bytes((LEN * count) as u64));
            group.bench_function(BenchmarkId::from_parameter(count), |b| {
                b.iter(|| black_box(kernels.digest_all(black_box(&messages))));
            });
        }
        group.finish();
    }
}

fn lanes(c: &mut Criterion) {
    bench::<Sha1>(c, "sha1");
    bench::<Sha256>(c, "sha256");
}

criterion_group!(benches, lanes);
criterion_main!(benches);
