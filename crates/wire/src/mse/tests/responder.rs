//! Our responder and an initiator that is written by hand.

use super::reference::{Shared, public};
use super::*;

const EXPONENT: &[u8; 20] = b"the exponent of an A";

/// A's second message; what is right unless a test says otherwise.
struct Dial {
    pad_a: Vec<u8>,
    skey: WireHash,
    constant: [u8; 8],
    provide: u32,
    pad_c: u16,
    payload: Vec<u8>,
    payload_len: Option<u16>,
    behind: Vec<u8>,
}

impl Default for Dial {
    fn default() -> Self {
        Self {
            pad_a: vec![0x55; 100],
            skey: TORRENT,
            constant: VC,
            provide: 3,
            pad_c: 7,
            payload: HANDSHAKE.to_vec(),
            payload_len: None,
            behind: Vec::new(),
        }
    }
}

impl Dial {
    /// Runs it all against `responder`; what B sent behind its public value and padding is read to its end.
    fn run(self, mut responder: Responder) -> Result<(Established, Shared, u32), MseError> {
        let mut out = Vec::new();
        let first = [&public(EXPONENT)[..], &self.pad_a].concat();
        pending(responder.handle_bytes(&first, find, &mut out));
        assert!((96..=96 + MAX_PADDING).contains(&out.len()));
        let mut shared = Shared::new(out.first_chunk().unwrap(), EXPONENT, self.skey.0);
        let sent = out.len();

        let len = self.payload_len.unwrap_or(u16::try_from(self.payload.len()).unwrap());
        let encrypted = [
            &self.constant[..],
            &self.provide.to_be_bytes(),
            &self.pad_c.to_be_bytes(),
            &vec![0; self.pad_c.into()],
            &len.to_be_bytes(),
            &self.payload,
        ];
        let mut second = shared.hashes();
        second.extend(shared.from_a.apply(&encrypted.concat()));
        second.extend(self.behind);
        let established = match responder.handle_bytes(&second, find, &mut out)? {
            Progress::Established(established) => established,
            other => panic!("{other:?}"),
        };
        let answer = shared.from_b.apply(&out[sent..]);
        assert_eq!(answer[..8], VC);
        let pad_d = u16::from_be_bytes([answer[12], answer[13]]);
        assert!(usize::from(pad_d) <= MAX_PADDING);
        assert_eq!(answer.len(), 14 + usize::from(pad_d));
        let select = u32::from_be_bytes(answer[8..12].try_into().unwrap());
        Ok((established, shared, select))
    }
}

fn responder(methods: Methods) -> Responder {
    Responder::new(Policy::Allow, methods, [3; 32])
}

#[test]
fn a_connection_by_the_book() {
    let (mut done, mut shared, select) = Dial::default().run(responder(RC4)).unwrap();
    assert_eq!((select, done.session.method()), (2, Method::Rc4));
    assert_eq!((&done.received[..], done.info_hash), (&HANDSHAKE[..], TORRENT));
    let mut said = b"unchoke".to_vec();
    done.session.outgoing.apply(&mut said);
    assert_eq!(said, shared.from_b.apply(b"unchoke"));
    let mut heard = shared.from_a.apply(b"interested");
    done.session.incoming.apply(&mut heard);
    assert_eq!(heard, b"interested");
}

#[test]
fn nothing_is_computed_for_who_is_plain_refused_or_not_through_yet() {
    let public = public(EXPONENT);
    let computes = |policy, bytes: &[u8]| {
        Responder::new(policy, policy.methods(), [3; 32]).would_compute(bytes)
    };
    assert!(computes(Policy::Allow, &public) && computes(Policy::Require, &public));
    assert!(!computes(Policy::Off, &public) && !computes(Policy::Allow, &public[..95]));
    assert!(!computes(Policy::Allow, &[&HANDSHAKE[..], &public].concat()));
    let mut responder = responder(BOTH);
    pending(responder.handle_bytes(&public[..95], find, &mut Vec::new()));
    assert!(!responder.would_compute(b"") && responder.would_compute(&public[95..]));
    pending(responder.handle_bytes(&public[95..], find, &mut Vec::new()));
    assert!(!responder.would_compute(&public), "once is enough");
}

#[test]
fn behind_an_encrypted_payload_the_stream_is_plain_if_so_selected() {
    let dial = Dial { behind: b"plain words".to_vec(), ..Dial::default() };
    let (done, _, select) = dial.run(responder(BOTH)).unwrap();
    assert_eq!((select, done.session.method()), (1, Method::Plaintext));
    assert_eq!(done.received, [&HANDSHAKE[..], b"plain words"].concat());
    assert!(done.session.outgoing.is_plaintext());
}

#[test]
fn every_padding_and_payload_within_the_bounds_is_taken() {
    for (pad_a, pad_c, payload) in
        [(0, 0, 0), (MAX_PADDING, 512, MAX_INITIAL_PAYLOAD), (511, 1, 68)]
    {
        let (pad_a, payload) = (vec![0xaa; pad_a], vec![0x61; payload]);
        let dial = Dial { pad_a, pad_c, payload: payload.clone(), ..Dial::default() };
        assert_eq!(dial.run(responder(RC4)).unwrap().0.received, payload);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let default = Dial::default;
    for (dial, methods, error) in [
        (Dial { constant: [0, 0, 0, 0, 0, 0, 0, 1], ..default() }, BOTH, MseError::BadConstant),
        (Dial { provide: 0, ..default() }, BOTH, MseError::NoMethod(0)),
        (Dial { provide: 1, ..default() }, RC4, MseError::NoMethod(1)),
        (Dial { pad_c: 513, ..default() }, BOTH, MseError::PaddingTooLong(513)),
        (Dial { pad_c: 0xffff, ..default() }, BOTH, MseError::PaddingTooLong(0xffff)),
        (Dial { payload_len: Some(1025), ..default() }, BOTH, MseError::PayloadTooLong(1025)),
        (Dial { skey: WireHash([7; 20]), ..default() }, BOTH, MseError::UnknownTorrent),
    ] {
        assert_eq!(dial.run(responder(methods)).err(), Some(error));
    }
}

#[test]
fn padding_over_the_bound_is_the_end_even_if_it_comes_slowly() {
    let mut responder = responder(BOTH);
    let mut out = Vec::new();
    pending(responder.handle_bytes(&public(EXPONENT), find, &mut out));
    for at in 0..MAX_PADDING + 20 {
        let progress = responder.handle_bytes(&[0x55], find, &mut out);
        if at + 1 == MAX_PADDING + 20 {
            assert_eq!(progress.err(), Some(MseError::NoSync));
        } else {
            pending(progress);
        }
    }
    assert_eq!(responder.handle_bytes(b"more", find, &mut out).err(), Some(MseError::Over));
}

#[test]
fn a_key_that_is_none_is_answered_with_nothing() {
    for key in [[0; 96], [0xff; 96]] {
        let mut out = Vec::new();
        let progress = responder(BOTH).handle_bytes(&key, find, &mut out);
        assert_eq!((progress.err(), out.len()), (Some(MseError::BadKey), 0));
    }
}

#[test]
fn a_plain_handshake_is_given_back_whole_however_it_comes() {
    for cut in 0..HANDSHAKE.len() {
        let mut responder = responder(BOTH);
        let mut out = Vec::new();
        let (first, second) = HANDSHAKE.split_at(cut);
        let plain = match responder.handle_bytes(first, find, &mut out).unwrap() {
            Progress::Pending => match responder.handle_bytes(second, find, &mut out).unwrap() {
                Progress::Plain(bytes) => bytes,
                other => panic!("{other:?}"),
            },
            Progress::Plain(bytes) => [&bytes, second].concat(),
            Progress::Established(_) => panic!("nothing was negotiated"),
        };
        assert_eq!((&plain[..], out.len()), (&HANDSHAKE[..], 0), "cut at {cut}");
    }
}

#[test]
fn a_key_may_begin_like_a_handshake() {
    let mut key = [0x77; 96];
    key[..12].copy_from_slice(b"\x13BitTorrent ");
    let mut responder = responder(BOTH);
    let mut out = Vec::new();
    pending(responder.handle_bytes(&key[..12], find, &mut out));
    assert!(out.is_empty());
    pending(responder.handle_bytes(&key[12..], find, &mut out));
    assert!(out.len() >= 96);
}

#[test]
fn the_policy_is_kept() {
    let begin = |policy: Policy, bytes: &[u8]| {
        Responder::new(policy, policy.methods(), [1; 32]).handle_bytes(bytes, find, &mut Vec::new())
    };
    assert_eq!(begin(Policy::Require, HANDSHAKE).err(), Some(MseError::PlainRefused));
    assert_eq!(begin(Policy::Off, &[0x77]).err(), Some(MseError::EncryptedRefused));
    assert!(matches!(begin(Policy::Prefer, HANDSHAKE), Ok(Progress::Plain(_))));
    pending(begin(Policy::Require, &[0x77]));
    // A stream in the clear is no encryption: it takes more than an encrypted handshake.
    let dial = Dial { provide: 1, ..Dial::default() };
    let strict = Responder::new(Policy::Require, Policy::Require.methods(), [1; 32]);
    assert_eq!(dial.run(strict).err(), Some(MseError::NoMethod(1)));
}

#[test]
fn one_of_many_torrents_is_found_by_one_look_up() {
    let torrents: HashMap<SkeyHash, WireHash> = (0..10_000_u32)
        .map(|number| {
            let mut hash = [0x20; 20];
            hash[..4].copy_from_slice(&number.to_be_bytes());
            (SkeyHash::of(WireHash(hash)), WireHash(hash))
        })
        .collect();
    let meant = *torrents.values().next().unwrap();
    let mut out = Vec::new();
    let mut initiator = Initiator::new(meant, RC4, HANDSHAKE, [1; 32], &mut out);
    let (mut responder, mut back, mut asked) = (responder(BOTH), Vec::new(), 0);
    let mut look_up = |skey| {
        asked += 1;
        torrents.get(&skey).copied()
    };
    pending(responder.handle_bytes(&out, &mut look_up, &mut back));
    out.clear();
    pending(initiator.handle_bytes(&back, &mut out));
    let done = established(responder.handle_bytes(&out, &mut look_up, &mut back));
    assert_eq!((done.info_hash, asked), (meant, 1));
}
