//! An encrypted connection after its negotiation: however a stream is cut on both sides, it arrives as it was.

use crate::Script;
use samara_wire::id::WireHash;
use samara_wire::mse::{
    Established, Initiator, Method, Methods, Policy, Progress, Responder, SkeyHash,
};

const TORRENT: WireHash = WireHash([7; 20]);

/// Reads `input` as a method, a payload for each side, and cuts.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let method = if script.byte() < 32 { Method::Plaintext } else { Method::Rc4 };
    let (mut a, mut b) = negotiate(method, script.bytes(68));
    assert_eq!((a.session.method(), b.session.method()), (method, method));
    let plain = script.bytes(2000).to_vec();
    let there = carry(
        &mut script,
        &plain,
        |part| a.session.outgoing.apply(part),
        |part| {
            b.session.incoming.apply(part);
        },
    );
    assert_eq!(there, plain);
    let back = carry(
        &mut script,
        &plain,
        |part| b.session.outgoing.apply(part),
        |part| {
            a.session.incoming.apply(part);
        },
    );
    assert_eq!(back, plain);
    if method == Method::Rc4 && plain.len() > 32 {
        let mut wire = plain.clone();
        a.session.outgoing.apply(&mut wire);
        assert_ne!(wire, plain, "sent as it is");
    }
}

/// Sends `plain` in parts, and takes it in others.
fn carry(
    script: &mut Script<'_>,
    plain: &[u8],
    mut send: impl FnMut(&mut [u8]),
    mut receive: impl FnMut(&mut [u8]),
) -> Vec<u8> {
    let mut bytes = plain.to_vec();
    let mut cut = |bytes: &mut [u8], apply: &mut dyn FnMut(&mut [u8])| {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = usize::from(script.byte()).clamp(1, rest.len());
            let (part, after) = rest.split_at_mut(len);
            apply(part);
            rest = after;
        }
    };
    cut(&mut bytes, &mut send);
    cut(&mut bytes, &mut receive);
    bytes
}

fn negotiate(method: Method, first: &[u8]) -> (Established, Established) {
    let methods = Methods::only(method);
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    let mut a = Initiator::new(TORRENT, methods, first, [3; 32], &mut to_b);
    let mut b = Responder::new(Policy::Allow, methods, [4; 32]);
    let find = |skey: SkeyHash| (skey == SkeyHash::of(TORRENT)).then_some(TORRENT);
    let (mut a_done, mut b_done) = (None, None);
    for _ in 0..8 {
        let bytes = std::mem::take(&mut to_b);
        if b_done.is_none() {
            b_done = established(b.handle_bytes(&bytes, find, &mut to_a).expect("no fault"));
        }
        let bytes = std::mem::take(&mut to_a);
        if a_done.is_none() {
            a_done = established(a.handle_bytes(&bytes, &mut to_b).expect("no fault"));
        }
    }
    let (a, b) = a_done.zip(b_done).expect("both sides are through");
    assert_eq!(b.received, first);
    (a, b)
}

fn established(progress: Progress) -> Option<Established> {
    match progress {
        Progress::Established(established) => Some(established),
        _ => None,
    }
}
