//! Encryption: noise is refused with a bounded answer, and a connection whose bytes are tampered with ends in an error or
//! in what was said, but for bits that a stream cipher cannot protect.

use samara_wire::id::WireHash;
use samara_wire::mse::{
    Initiator, MAX_PADDING, Method, Methods, MseError, Policy, Progress, Responder, SkeyHash,
};

const TORRENT: WireHash = WireHash([7; 20]);
const PAYLOAD: [u8; 68] = [0x61; 68];
/// Public value and padding; hashes, offer, padding and payload.
const MOST_SENT: usize = 96 + MAX_PADDING + 40 + 14 + MAX_PADDING + 2 + PAYLOAD.len();

/// Feeds `input` to both roles as it is; then lets them talk to each other, with `input` saying how the bytes are cut and
/// which are changed.
pub fn run(input: &[u8]) {
    let methods = Methods::both(Method::Rc4);
    let mut out = Vec::new();
    let mut initiator = Initiator::new(TORRENT, methods, &PAYLOAD, [1; 32], &mut out);
    let mut responder = Responder::new(Policy::Allow, methods, [2; 32]);
    let mut answer = Vec::new();
    for part in input.chunks(100) {
        let _ = initiator.handle_bytes(part, &mut out);
        let _ = responder.handle_bytes(part, find, &mut answer);
    }
    assert!(out.len() <= MOST_SENT && answer.len() <= 96 + MAX_PADDING);
    talk(input, methods);
}

fn find(skey: SkeyHash) -> Option<WireHash> {
    (skey == SkeyHash::of(TORRENT)).then_some(TORRENT)
}

fn talk(script: &[u8], methods: Methods) {
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    let mut a = Initiator::new(TORRENT, methods, &PAYLOAD, [3; 32], &mut to_b);
    let mut b = Responder::new(Policy::Allow, methods, [4; 32]);
    let (mut a_done, mut b_done) = (None, None);
    let mut tampered = false;
    let mut script = script.iter();
    while a_done.is_none() || b_done.is_none() {
        let cut = usize::from(*script.next().unwrap_or(&0xff)) * 4 + 1;
        let change = *script.next().unwrap_or(&0);
        if to_a.is_empty() && to_b.is_empty() {
            assert!(tampered, "both sides wait");
            return;
        }
        let part = carry(&mut to_b, cut, change, &mut tampered);
        if b_done.is_none() {
            b_done = match step(b.handle_bytes(&part, find, &mut to_a), tampered) {
                Ok(done) => done,
                Err(()) => return,
            };
        }
        let part = carry(&mut to_a, cut, change, &mut tampered);
        if a_done.is_none() {
            a_done = match step(a.handle_bytes(&part, &mut to_b), tampered) {
                Ok(done) => done,
                Err(()) => return,
            };
        }
    }
    if !tampered {
        assert_eq!(b_done.as_deref(), Some(&PAYLOAD[..]));
    }
}

/// The next bytes of `queue`, the last of them changed.
fn carry(queue: &mut Vec<u8>, cut: usize, change: u8, tampered: &mut bool) -> Vec<u8> {
    let mut part: Vec<u8> = queue.drain(..cut.min(queue.len())).collect();
    if let Some(byte) = part.last_mut() {
        *byte ^= change;
        *tampered |= change != 0;
    }
    part
}

/// What was received if the negotiation is over.
fn step(progress: Result<Progress, MseError>, tampered: bool) -> Result<Option<Vec<u8>>, ()> {
    match progress {
        Ok(Progress::Pending) => Ok(None),
        Ok(Progress::Established(established)) => {
            assert_eq!(established.info_hash, TORRENT);
            Ok(Some(established.received))
        }
        Ok(Progress::Plain(_)) => {
            assert!(tampered, "a public value was taken for a handshake");
            Err(())
        }
        Err(error) => {
            assert!(tampered, "{error}");
            Err(())
        }
    }
}
