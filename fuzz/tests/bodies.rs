//! Every target in every `cargo test`: over its seeds, over what was found before, and over some hundred changes of both, the same each time.
#![allow(clippy::unwrap_used, reason = "test code")]

use samara_fuzz::{TARGETS, Target, seeds};
use samara_wire::rng::Rng;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Changed inputs for each target. Where one run takes long, fewer.
const CASES: usize = 250;
const SLOW: [(&str, usize); 6] = [
    ("mse", 20),
    ("cipher", 30),
    ("kept_layers", 60),
    ("dht_items", 40),
    ("dht_node", 60),
    ("layer_fetch", 60),
];

macro_rules! targets {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            test(stringify!($name));
        })*
    };
}

targets! {
    announcer bencode bencode_model bitfield blame choker cipher datagram_kind dht_filters dht_ids dht_item_bytes dht_items dht_lookup
    dht_node dht_peers dht_requests dht_saved dht_table dht_table_file dht_tokens gateway_lifetimes gateway_trust gateway_url holepunch
    ip_filter ip_filter_file kept_layers krpc layer_fetch layout limit lsd lsd_hearing magnet merkle messages metadata_fetch metainfo
    metainfo_create metainfo_model mse packed_answer paths peer peer_list pex_intake picker pipeline portmap_answers portmap_documents
    proxy rate_meter resume_data torrent torrent_serving tracker tracker_datagrams tracker_requests tracker_store tracker_url
    ut_holepunch ut_metadata ut_pex utp utp_packets utp_strangers utp_transfer
}

#[test]
fn every_target_is_tested_and_its_seeds_are_as_written() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    for name in names {
        let mut kept = inputs(&folder("seeds", name));
        let mut made = seeds::of(name);
        kept.sort();
        made.sort();
        assert!(kept == made, "the seeds of {name}: cargo run -p samara-fuzz --example seeds");
        assert!(!made.is_empty());
    }
}

#[test]
fn what_was_found_is_of_targets_that_there_are() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || samara_fuzz::find(&name).is_some(), "{name}");
    }
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// What is in the files of a folder, if there is one, in the order of their names.
fn inputs(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn test(name: &str) {
    let target = samara_fuzz::find(name).unwrap();
    let mut known = inputs(&folder("seeds", name));
    known.extend(inputs(&folder("regressions", name)));
    known.iter().for_each(|input| run(target, input));
    let mut rng = Rng::new([5; 32]);
    let cases = SLOW.iter().find(|(slow, _)| *slow == name).map_or(CASES, |(_, cases)| *cases);
    for _ in 0..cases {
        let mut input = known[rng.below(known.len())].clone();
        for _ in 0..=rng.below(4) {
            change(&mut input, &known, &mut rng);
        }
        input.truncate(target.max_len);
        run(target, &input);
    }
}

fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let path = std::env::temp_dir().join(format!("samara-fuzz-{}", target.name));
        fs::write(&path, input).unwrap();
        println!("the input is in {}: keep it in fuzz/regressions/{}", path.display(), target.name);
        std::panic::resume_unwind(panic);
    }
}

/// A small change: a byte, some bytes more or fewer, a repetition, or part of another input.
fn change(input: &mut Vec<u8>, known: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(input.len() + 1);
    let end = (at + 1 + rng.below(24)).min(input.len());
    match rng.below(7) {
        0 | 1 => {
            let byte = rng.next_u32().to_le_bytes()[0];
            if let Some(place) = input.get_mut(at) {
                *place = byte;
            }
        }
        2 => {
            let digit = b"0123456789ilde:-/.%&=\n"[rng.below(22)];
            input.insert(at, digit);
        }
        3 => _ = input.drain(at..end),
        4 => {
            let part = input[at..end.max(at)].to_vec();
            input.splice(at..at, part);
        }
        5 => {
            let other = &known[rng.below(known.len())];
            let from = rng.below(other.len() + 1);
            let part = other[from..(from + 40).min(other.len())].to_vec();
            input.splice(at..at, part);
        }
        _ => {
            let mut noise = vec![0; 1 + rng.below(16)];
            rng.fill(&mut noise);
            input.splice(at..end.max(at), noise);
        }
    }
}
