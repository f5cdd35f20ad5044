//! The side that dials.

use super::dh::KeyPair;
use super::inbox::Inbox;
use super::keys::{SkeyHash, Streams, sync_hash};
use super::policy::{Method, Methods};
use super::session::Established;
use super::{MAX_INITIAL_PAYLOAD, MseError, Progress, Step, VC, pad, pad_encrypted, padding_len};
use crate::id::WireHash;
use crate::peer::handshake::PREFIX;
use crate::rng::Rng;
use alloc::vec::Vec;

/// The negotiation of a connection that we dialled.
pub struct Initiator {
    info_hash: WireHash,
    methods: Methods,
    /// What is sent as `IA`.
    payload: Vec<u8>,
    rng: Rng,
    inbox: Inbox,
    state: State,
}

/// What comes next from the other side.
enum State {
    /// Its public value.
    PublicValue(KeyPair),
    /// The end of its padding: the verification constant, as it looks encrypted.
    Sync(Streams, [u8; 8]),
    /// What it selected, and the length of the padding behind that.
    Selection(Streams),
    /// That padding.
    Padding(Streams, Method, usize),
    /// Nothing: the negotiation is over.
    Over,
}

impl Initiator {
    /// Begins: appends to `out` what is to be sent first.
    ///
    /// `payload` is the beginning of our stream, the BitTorrent handshake. It must not be sent again behind the
    /// negotiation. `seed` has to be new for each connection and known to nobody.
    ///
    /// # Panics
    /// If `payload` is longer than [`MAX_INITIAL_PAYLOAD`].
    #[must_use]
    pub fn new(
        info_hash: WireHash,
        methods: Methods,
        payload: &[u8],
        seed: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Self {
        assert!(payload.len() <= MAX_INITIAL_PAYLOAD, "an initial payload is a handshake");
        let mut rng = Rng::new(seed);
        let keys = KeyPair::new(&mut rng);
        out.extend_from_slice(keys.public());
        pad(&mut rng, out);
        let state = State::PublicValue(keys);
        Self { info_hash, methods, payload: payload.to_vec(), rng, inbox: Inbox::default(), state }
    }

    /// Takes what has arrived, in parts of any size, and appends what is to be sent to `out`. All bytes are taken: those
    /// behind the negotiation are in [`Established::received`].
    ///
    /// # Errors
    /// If the other side does not keep to the protocol, or selects what we did not offer. See [`MseError`].
    pub fn handle_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Progress, MseError> {
        self.inbox.push(bytes);
        loop {
            let state = core::mem::replace(&mut self.state, State::Over);
            match self.step(state, out)? {
                Step::Next(state) => self.state = state,
                Step::Wait(state) => {
                    self.state = state;
                    return Ok(Progress::Pending);
                }
                Step::Done(progress) => return Ok(progress),
            }
        }
    }

    fn step(&mut self, state: State, out: &mut Vec<u8>) -> Result<Step<State>, MseError> {
        Ok(match state {
            State::PublicValue(keys) => match self.inbox.take() {
                // One that understands nothing of this may well answer with its handshake, and wait for ours.
                None if self.inbox.unread().starts_with(PREFIX) => {
                    return Err(MseError::PlainAnswer);
                }
                None => Step::Wait(State::PublicValue(keys)),
                Some(theirs) => Step::Next(self.on_public_value(&keys, &theirs, out)?),
            },
            State::Sync(streams, mark) => match self.inbox.skip_to(&mark)? {
                false => Step::Wait(State::Sync(streams, mark)),
                true => Step::Next(State::Selection(streams)),
            },
            State::Selection(mut streams) => match self.inbox.take_decrypted(&mut streams.incoming)
            {
                None => Step::Wait(State::Selection(streams)),
                Some([a, b, c, d, len_high, len_low]) => {
                    let selected = u32::from_be_bytes([a, b, c, d]);
                    let method = self.methods.taken(selected);
                    let method = method.ok_or(MseError::BadSelection(selected))?;
                    Step::Next(State::Padding(streams, method, padding_len([len_high, len_low])?))
                }
            },
            State::Padding(mut streams, method, len) => {
                match self.inbox.take_many(len, &mut streams.incoming) {
                    None => Step::Wait(State::Padding(streams, method, len)),
                    Some(_) => Step::Done(self.established(streams, method)),
                }
            }
            State::Over => return Err(MseError::Over),
        })
    }

    /// Both know the secret now: shows that we know the torrent, and sends the initial payload.
    fn on_public_value(
        &mut self,
        keys: &KeyPair,
        theirs: &[u8; super::dh::KEY_LEN],
        out: &mut Vec<u8>,
    ) -> Result<State, MseError> {
        let secret = keys.secret(theirs).ok_or(MseError::BadKey)?;
        let mut streams = Streams::of_initiator(&secret, self.info_hash);
        out.extend_from_slice(&sync_hash(&secret));
        out.extend_from_slice(&SkeyHash::of(self.info_hash).hidden(&secret));
        let encrypted = out.len();
        out.extend_from_slice(&VC);
        out.extend_from_slice(&self.methods.to_bits().to_be_bytes());
        pad_encrypted(&mut self.rng, out);
        let len = u16::try_from(self.payload.len()).expect("checked at the start");
        out.extend_from_slice(&len.to_be_bytes());
        out.append(&mut self.payload);
        streams.outgoing.apply(&mut out[encrypted..]);

        let mut mark = VC;
        streams.incoming.apply(&mut mark);
        Ok(State::Sync(streams, mark))
    }

    fn established(&mut self, streams: Streams, method: Method) -> Progress {
        let mut session = streams.into_session(method);
        let mut received = core::mem::take(&mut self.inbox).into_rest();
        session.incoming.apply(&mut received);
        Progress::Established(Established { session, info_hash: self.info_hash, received })
    }
}
