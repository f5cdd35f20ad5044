//! Every kernel against RustCrypto's digests, over messages of any length, cut and alignment.

use super::*;
use crate::algorithm::{Sha1, Sha256};
use proptest::prelude::*;
use sha1::Digest;

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    let mut x = u32::from(seed) + 1;
    let next = |_| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x.to_be_bytes()[0]
    };
    (0..len).map(next).collect()
}

/// Cuts `data` at `cuts`.
fn cut<'a>(mut data: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut slices = Vec::new();
    for &at in cuts {
        let (now, later) = data.split_at(at.min(data.len()));
        slices.push(now);
        data = later;
    }
    slices.push(data);
    slices
}

fn agree<A: Algorithm>(
    messages: &[(Vec<u8>, Vec<usize>, usize)],
    reference: fn(&[u8]) -> Vec<u8>,
) -> Result<(), TestCaseError> {
    // Each message begins so many bytes into its memory, which is no larger than it has to be: sanitizers and Miri see
    // what reads beyond it.
    let memory: Vec<Box<[u8]>> = messages
        .iter()
        .map(|(data, _, shift)| [&vec![0; *shift], data.as_slice()].concat().into())
        .collect();
    let cuts: Vec<Vec<&[u8]>> = memory
        .iter()
        .zip(messages)
        .map(|(data, (_, cuts, shift))| cut(&data[*shift..], cuts))
        .collect();
    let slices: Vec<&[&[u8]]> = cuts.iter().map(Vec::as_slice).collect();
    let wanted: Vec<Vec<u8>> = messages.iter().map(|(data, ..)| reference(data)).collect();
    for kernels in A::all_kernels().iter().chain([A::kernels()]) {
        let got = kernels.digest_all(&slices);
        for (got, wanted) in got.iter().zip(&wanted) {
            prop_assert_eq!(got.as_ref(), wanted.as_slice(), "{:?}", kernels);
        }
    }
    for (slices, wanted) in cuts.iter().zip(&wanted) {
        let mut stream = Stream::<A>::new();
        slices.iter().for_each(|slice| stream.update(slice));
        let digest = stream.finish();
        prop_assert_eq!(digest.as_ref(), wanted.as_slice());
    }
    Ok(())
}

fn message() -> impl Strategy<Value = (Vec<u8>, Vec<usize>, usize)> {
    let len = prop_oneof![0usize..300, 0usize..20_000];
    let cuts = prop::collection::vec(prop_oneof![0usize..200, Just(64), Just(4096)], 0..5);
    (len, any::<u8>(), cuts, 0usize..64)
        .prop_map(|(len, seed, cuts, shift)| (bytes(len, seed), cuts, shift))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_kernel_gives_what_the_reference_gives(messages in prop::collection::vec(message(), 0..24)) {
        agree::<Sha1>(&messages, |data| sha1::Sha1::digest(data).to_vec())?;
        agree::<Sha256>(&messages, |data| sha2::Sha256::digest(data).to_vec())?;
    }
}

#[test]
fn every_length_around_the_blocks_and_the_padding() {
    let messages: Vec<_> = (0..200).map(|len| (bytes(len, 7), vec![len / 3], len % 32)).collect();
    agree::<Sha1>(&messages, |data| sha1::Sha1::digest(data).to_vec()).unwrap();
    agree::<Sha256>(&messages, |data| sha2::Sha256::digest(data).to_vec()).unwrap();
}

#[test]
fn a_message_may_come_in_several_updates_beside_others() {
    let (a, b) = (bytes(10_000, 1), bytes(777, 2));
    for kernels in Sha1::all_kernels().iter().chain([Sha1::kernels()]) {
        let (mut first, mut second) = (Stream::new(), Stream::new());
        for (a, b) in a.chunks(1000).zip(b.chunks(78)) {
            let mut parts = [
                Part { stream: &mut first, bytes: &[a] },
                Part { stream: &mut second, bytes: &[b] },
            ];
            kernels.update_all(&mut parts);
        }
        assert_eq!(first.finish(), <[u8; 20]>::from(sha1::Sha1::digest(&a)), "{kernels:?}");
        assert_eq!(second.finish(), <[u8; 20]>::from(sha1::Sha1::digest(&b)), "{kernels:?}");
    }
}

#[test]
fn vectors_of_the_standard() {
    let sha1 = digest_all::<Sha1>(&[&[b"abc"], &[]]);
    assert_eq!(sha1[0][..4], [0xa9, 0x99, 0x3e, 0x36]);
    assert_eq!(sha1[1][..4], [0xda, 0x39, 0xa3, 0xee]);
    let sha256 = digest_all::<Sha256>(&[&[b"abc"], &[]]);
    assert_eq!(sha256[0][..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!(sha256[1][..4], [0xe3, 0xb0, 0xc4, 0x42]);
}
