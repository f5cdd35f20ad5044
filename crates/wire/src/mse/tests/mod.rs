use super::*;
use crate::id::WireHash;
use alloc::vec;
use proptest::prelude::*;
use std::collections::HashMap;
use std::string::{String, ToString};

mod initiator;
pub(super) mod reference;
mod responder;

const TORRENT: WireHash = WireHash(*b"01234567890123456789");
const HANDSHAKE: &[u8; 68] =
    b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x0401234567890123456789-XX0001-0123456789ab";

const BOTH: Methods = Methods::both(Method::Plaintext);
const RC4: Methods = Methods::only(Method::Rc4);

fn find(skey: SkeyHash) -> Option<WireHash> {
    (skey == SkeyHash::of(TORRENT)).then_some(TORRENT)
}

fn established(progress: Result<Progress, MseError>) -> Established {
    match progress {
        Ok(Progress::Established(established)) => established,
        other => panic!("{other:?}"),
    }
}

fn pending(progress: Result<Progress, MseError>) {
    assert!(matches!(progress, Ok(Progress::Pending)), "{progress:?}");
}

/// Both ends of one connection, talking until both are through.
struct Pair {
    initiator: Initiator,
    responder: Responder,
    /// On the way to each.
    to_initiator: Vec<u8>,
    to_responder: Vec<u8>,
}

impl Pair {
    fn new(offered: Methods, accepted: Methods, payload: &[u8], seed: u8) -> Self {
        let mut to_responder = Vec::new();
        let seeds = [[seed; 32], [!seed; 32]];
        Self {
            initiator: Initiator::new(TORRENT, offered, payload, seeds[0], &mut to_responder),
            responder: Responder::new(Policy::Allow, accepted, seeds[1]),
            to_initiator: Vec::new(),
            to_responder,
        }
    }

    /// Carries parts of the given lengths to and fro. What A sends behind its negotiation is `a_says`, and B's is `b_says`:
    /// each is sent at once, so that it may arrive together with the end of the negotiation.
    fn run(mut self, cuts: &[usize], a_says: &[u8], b_says: &[u8]) -> (Established, Established) {
        let (mut a, mut b, mut computed) = (None, None, false);
        let mut cuts = cuts.iter().cycle();
        while a.is_none() || b.is_none() {
            let mut cut = |bytes: &mut Vec<u8>| {
                let len = bytes.len().min(*cuts.next().unwrap());
                bytes.drain(..len).collect::<Vec<u8>>()
            };
            if a.is_none() {
                let part = cut(&mut self.to_initiator);
                let out = &mut self.to_responder;
                if let Progress::Established(mut done) =
                    self.initiator.handle_bytes(&part, out).unwrap()
                {
                    let mut rest = core::mem::take(&mut self.to_initiator);
                    done.session.incoming.apply(&mut rest);
                    done.received.append(&mut rest);
                    let mut said = a_says.to_vec();
                    done.session.outgoing.apply(&mut said);
                    self.to_responder.append(&mut said);
                    a = Some(done);
                }
            }
            let part = cut(&mut self.to_responder);
            if let Some(done) = &mut b {
                let done: &mut Established = done;
                let mut part = part;
                done.session.incoming.apply(&mut part);
                done.received.append(&mut part);
            } else {
                let out = &mut self.to_initiator;
                // What it sends first is its public value, and then never until it is through.
                let (computes, sent) = (self.responder.would_compute(&part), out.len());
                let progress = self.responder.handle_bytes(&part, find, out).unwrap();
                assert!(!(computes && computed), "once is enough");
                computed |= computes;
                assert!(if computes { out.len() > sent } else { computed || out.len() == sent });
                if let Progress::Established(mut done) = progress {
                    let mut said = b_says.to_vec();
                    done.session.outgoing.apply(&mut said);
                    self.to_initiator.append(&mut said);
                    b = Some(done);
                }
            }
        }
        let (a, mut b) = (a.unwrap(), b.unwrap());
        b.session.incoming.apply(&mut self.to_responder);
        b.received.append(&mut self.to_responder);
        (a, b)
    }
}

fn methods() -> impl Strategy<Value = Methods> {
    let method = || prop::sample::select(vec![Method::Plaintext, Method::Rc4]);
    prop_oneof![1 => method().prop_map(Methods::only), 2 => method().prop_map(Methods::both)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_roles_understand_each_other_however_the_bytes_are_cut(
        offered in methods(),
        accepted in methods(),
        payload in prop::collection::vec(any::<u8>(), 0..=MAX_INITIAL_PAYLOAD),
        says in any::<[[u8; 50]; 2]>(),
        cuts in prop::collection::vec(prop_oneof![1..3_usize, 1..200_usize, Just(5000)], 1..20),
        seed in any::<u8>(),
    ) {
        let common = accepted.choose(offered.to_bits());
        prop_assume!(common.is_some());
        let (a, b) = Pair::new(offered, accepted, &payload, seed).run(&cuts, &says[0], &says[1]);
        prop_assert_eq!((a.session.method(), b.session.method()), (common.unwrap(), common.unwrap()));
        prop_assert_eq!((a.info_hash, b.info_hash), (TORRENT, TORRENT));
        prop_assert_eq!(b.received, [&payload[..], &says[0]].concat());
        // B's words may still be on the way when A is through; those that came are right.
        prop_assert!(says[1].starts_with(&a.received), "{:?}", a.received);
    }

    /// What comes before the secret is shared is nothing but random bytes to either side: no panic, no endless wait.
    #[test]
    fn noise_ends_in_an_error(noise in prop::collection::vec(any::<u8>(), 700..2000), seed in any::<[u8; 32]>()) {
        prop_assume!(noise[0] != 0x13);
        let mut out = Vec::new();
        let mut responder = Responder::new(Policy::Allow, BOTH, seed);
        prop_assert!(responder.handle_bytes(&noise, find, &mut out).is_err());
        prop_assert!(out.len() <= 96 + MAX_PADDING);
        let mut initiator = Initiator::new(TORRENT, BOTH, HANDSHAKE, seed, &mut out);
        prop_assert!(initiator.handle_bytes(&noise, &mut out).is_err());
    }
}

#[test]
fn one_byte_at_a_time() {
    let (a, b) = Pair::new(RC4, BOTH, HANDSHAKE, 1).run(&[1], b"from a", b"from b");
    assert_eq!(b.received, [&HANDSHAKE[..], b"from a"].concat());
    assert_eq!((a.session.method(), b.session.method()), (Method::Rc4, Method::Rc4));
}

#[test]
fn no_two_connections_look_alike() {
    let first = |seed| {
        let mut out = Vec::new();
        let _ = Initiator::new(TORRENT, BOTH, HANDSHAKE, [seed; 32], &mut out);
        out
    };
    let (one, other) = (first(1), first(2));
    assert_eq!(one, first(1), "the same for the same seed");
    assert_ne!(one[..96], other[..96]);
    let lens: Vec<_> = (0..200).map(|seed| first(seed).len()).collect();
    assert!(lens.iter().all(|len| (96..=96 + MAX_PADDING).contains(len)));
    assert!(lens.iter().min() < Some(&150) && lens.iter().max() > Some(&550), "{lens:?}");
}

#[test]
fn errors_say_what_is_wrong() {
    for (error, says) in [
        (MseError::PaddingTooLong(513), "513 bytes of padding"),
        (MseError::NoMethod(4), "(it offers 0x4)"),
        (MseError::BadSelection(3), "was not offered (0x3)"),
    ] {
        let text: String = error.to_string();
        assert!(text.contains(says), "{text}");
    }
}
