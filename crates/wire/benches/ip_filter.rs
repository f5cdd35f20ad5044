//! What a list of 500,000 ranges costs to load and to ask.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use criterion::{Criterion, criterion_group, criterion_main};
use samara_wire::ip_filter::IpFilter;
use samara_wire::rng::Rng;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const RANGES: u32 = 500_000;

/// Ranges that lie apart, spread over all addresses, in no order.
fn ranges() -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let mut rng = Rng::new([1; 32]);
    let space = u32::MAX / RANGES;
    let mut ranges: Vec<_> = (0..RANGES)
        .map(|at| {
            let len = rng.next_u32() % (space / 2);
            (at * space, at * space + len)
        })
        .collect();
    for at in (1..ranges.len()).rev() {
        ranges.swap(at, rng.below(at + 1));
    }
    ranges.into_iter().map(|(first, last)| (first.into(), last.into())).collect()
}

fn list(line: impl Fn(&mut String, Ipv4Addr, Ipv4Addr)) -> String {
    let mut list = String::new();
    ranges().into_iter().for_each(|(first, last)| line(&mut list, first, last));
    list
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    for (form, list) in [
        (
            "dat",
            list(|to, a, b| writeln!(to, "{a} - {b} , 100 , Some organisation or other").unwrap()),
        ),
        ("p2p", list(|to, a, b| writeln!(to, "Some organisation or other:{a}-{b}").unwrap())),
    ] {
        group.bench_function(form, |b| b.iter(|| IpFilter::parse(black_box(list.as_bytes()))));
    }
    group.finish();
}

fn look_up(c: &mut Criterion) {
    let list = list(|to, a, b| writeln!(to, "{a}-{b}").unwrap());
    let (filter, report) = IpFilter::parse(list.as_bytes());
    assert_eq!((filter.len(), report.blocked), (RANGES as usize, RANGES.into()));
    let mut rng = Rng::new([2; 32]);
    // So many that they do not tell the processor's caches and guesses anything.
    let ips: Vec<IpAddr> = (0..1 << 16).map(|_| Ipv4Addr::from(rng.next_u32()).into()).collect();
    let mut next = ips.iter().cycle();
    c.bench_function("look up", |b| b.iter(|| filter.blocks(black_box(*next.next().unwrap()))));
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    targets = load, look_up
}
criterion_main!(benches);
