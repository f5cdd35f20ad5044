//! Our initiator and a responder that is written by hand.

use super::reference::{Shared, public, sha1};
use super::*;

const EXPONENT: &[u8; 20] = b"the exponent of an B";

/// B's messages; what is right unless a test says otherwise.
struct Answer {
    exponent: [u8; 20],
    pad_b: usize,
    constant: [u8; 8],
    select: u32,
    pad_d: u16,
    behind: Vec<u8>,
}

impl Default for Answer {
    fn default() -> Self {
        let behind = Vec::new();
        Self { exponent: *EXPONENT, pad_b: 100, constant: VC, select: 2, pad_d: 7, behind }
    }
}

impl Answer {
    /// Runs it all against an initiator that offers `methods`, and looks at what that sends.
    fn run(self, methods: Methods) -> Result<(Established, Shared), MseError> {
        let mut out = Vec::new();
        let mut initiator = Initiator::new(TORRENT, methods, HANDSHAKE, [5; 32], &mut out);
        let mut shared = Shared::new(out.first_chunk().unwrap(), &self.exponent, TORRENT.0);
        out.clear();
        let first = [&public(&self.exponent)[..], &vec![0x55; self.pad_b]].concat();
        pending(initiator.handle_bytes(&first[..96], &mut out));
        assert_eq!(out[..20], sha1(&[b"req1", &shared.secret]));
        assert_eq!(out[..40], shared.hashes());
        let sent = shared.from_a.apply(&out[40..]);
        assert_eq!(sent[..8], VC);
        assert_eq!(u32::from_be_bytes(sent[8..12].try_into().unwrap()), methods.to_bits());
        let behind_pad = 14 + usize::from(u16::from_be_bytes([sent[12], sent[13]]));
        assert!(behind_pad <= 14 + MAX_PADDING);
        assert_eq!(sent[behind_pad..], [&[0, 68], &HANDSHAKE[..]].concat());

        if self.pad_b > 0 {
            pending(initiator.handle_bytes(&first[96..], &mut out));
        }
        let encrypted = [
            &self.constant[..],
            &self.select.to_be_bytes(),
            &self.pad_d.to_be_bytes(),
            &vec![0; self.pad_d.into()],
        ];
        let mut second = shared.from_b.apply(&encrypted.concat());
        second.extend(if self.select == 2 {
            shared.from_b.apply(&self.behind)
        } else {
            self.behind
        });
        let sent = out.len();
        match initiator.handle_bytes(&second, &mut out)? {
            Progress::Established(established) => {
                assert_eq!(out.len(), sent, "nothing is left to say");
                Ok((established, shared))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_connection_by_the_book() {
    let answer = Answer { behind: HANDSHAKE.to_vec(), ..Answer::default() };
    let (mut done, mut shared) = answer.run(BOTH).unwrap();
    assert_eq!((done.session.method(), &done.received[..]), (Method::Rc4, &HANDSHAKE[..]));
    let mut said = b"interested".to_vec();
    done.session.outgoing.apply(&mut said);
    assert_eq!(said, shared.from_a.apply(b"interested"));
    let mut heard = shared.from_b.apply(b"unchoke");
    done.session.incoming.apply(&mut heard);
    assert_eq!(heard, b"unchoke");
}

#[test]
fn plain_is_taken_where_it_was_offered() {
    let plain = || Answer { select: 1, behind: HANDSHAKE.to_vec(), ..Answer::default() };
    let (done, _) = plain().run(BOTH).unwrap();
    assert_eq!((done.session.method(), &done.received[..]), (Method::Plaintext, &HANDSHAKE[..]));
    assert_eq!(plain().run(RC4).err(), Some(MseError::BadSelection(1)));
}

/// 2^159 + 289 gives a public value with a zero in front.
#[test]
fn a_public_value_with_a_leading_zero() {
    let mut exponent = [0; 20];
    (exponent[0], exponent[18], exponent[19]) = (0x80, 1, 33);
    assert_eq!(public(&exponent)[0], 0);
    assert!(Answer { exponent, ..Answer::default() }.run(BOTH).is_ok());
}

#[test]
fn every_padding_within_the_bounds_is_taken() {
    for (pad_b, pad_d) in [(0, 0), (MAX_PADDING, 512), (511, 1)] {
        assert!(Answer { pad_b, pad_d, ..Answer::default() }.run(RC4).is_ok());
    }
}

#[test]
fn what_is_wrong_is_named() {
    let default = Answer::default;
    for (answer, error) in [
        (Answer { select: 0, ..default() }, MseError::BadSelection(0)),
        (Answer { select: 3, ..default() }, MseError::BadSelection(3)),
        (Answer { select: 4, ..default() }, MseError::BadSelection(4)),
        (Answer { pad_d: 513, ..default() }, MseError::PaddingTooLong(513)),
        (Answer { pad_b: 513, ..default() }, MseError::NoSync),
        (Answer { constant: [1; 8], pad_d: 512, ..default() }, MseError::NoSync),
    ] {
        assert_eq!(answer.run(BOTH).err(), Some(error));
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    for key in [[0; 96], [0xff; 96]] {
        let mut out = Vec::new();
        let mut initiator = Initiator::new(TORRENT, BOTH, HANDSHAKE, [5; 32], &mut out);
        assert_eq!(initiator.handle_bytes(&key, &mut out).err(), Some(MseError::BadKey));
        assert_eq!(initiator.handle_bytes(&key, &mut out).err(), Some(MseError::Over));
    }
}

#[test]
fn an_answer_without_encryption_is_told_at_once() {
    let mut out = Vec::new();
    let methods = Policy::Prefer.methods();
    let mut initiator = Initiator::new(TORRENT, methods, HANDSHAKE, [5; 32], &mut out);
    pending(initiator.handle_bytes(&HANDSHAKE[..19], &mut out));
    let told = initiator.handle_bytes(&HANDSHAKE[19..30], &mut out);
    assert_eq!(told.unwrap_err(), MseError::PlainAnswer);
}
