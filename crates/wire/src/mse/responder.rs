//! The side that is dialled.

use super::dh::{KEY_LEN, KeyPair, Secret};
use super::inbox::Inbox;
use super::keys::{SkeyHash, Streams, sync_hash};
use super::policy::{Method, Methods, Policy};
use super::session::Established;
use super::{MAX_INITIAL_PAYLOAD, MseError, Progress, Step, VC, pad, pad_encrypted, padding_len};
use crate::id::WireHash;
use crate::peer::handshake::PREFIX;
use crate::rng::Rng;
use alloc::vec::Vec;

/// The beginning of a connection that we accepted: plain, or the negotiation of encryption.
pub struct Responder {
    policy: Policy,
    methods: Methods,
    rng: Rng,
    inbox: Inbox,
    state: State,
}

/// What comes next from the other side.
enum State {
    /// The name of the BitTorrent protocol, or anything else.
    Anything,
    /// Its public value.
    PublicValue,
    /// The end of its padding: the hash of the secret.
    Sync(Secret, [u8; 20]),
    /// Which torrent it means.
    Torrent(Secret),
    /// The verification constant, what it offers, and the length of the padding behind that.
    Offer(Streams, WireHash),
    /// That padding.
    Padding(Agreed, usize),
    /// The length of its initial payload.
    PayloadLen(Agreed),
    /// The initial payload.
    Payload(Agreed, usize),
    /// Nothing: the negotiation is over.
    Over,
}

/// What is clear once the offer is.
struct Agreed {
    streams: Streams,
    info_hash: WireHash,
    method: Method,
}

impl Responder {
    /// Waits for the first bytes of a connection. `methods` are those that are accepted, usually
    /// [`Policy::methods`].
    ///
    /// `seed` has to be new for each connection and known to nobody.
    #[must_use]
    pub fn new(policy: Policy, methods: Methods, seed: [u8; 32]) -> Self {
        let (rng, inbox, state) = (Rng::new(seed), Inbox::default(), State::Anything);
        Self { policy, methods, rng, inbox, state }
    }

    /// Takes what has arrived, in parts of any size, and appends what is to be sent to `out`. All bytes are taken: those
    /// behind the negotiation are in [`Established::received`].
    ///
    /// `find` tells which of our torrents has a hash. It is asked once at most.
    ///
    /// # Errors
    /// If the other side does not keep to the protocol or to our policy, or asks for what is not here. See [`MseError`].
    pub fn handle_bytes(
        &mut self,
        bytes: &[u8],
        find: impl FnOnce(SkeyHash) -> Option<WireHash>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, MseError> {
        self.inbox.push(bytes);
        let mut find = Some(find);
        loop {
            let state = core::mem::replace(&mut self.state, State::Over);
            match self.step(state, &mut find, out)? {
                Step::Next(state) => self.state = state,
                Step::Wait(state) => {
                    self.state = state;
                    return Ok(Progress::Pending);
                }
                Step::Done(progress) => return Ok(progress),
            }
        }
    }

    /// Whether [`Responder::handle_bytes`] would compute a key exchange if it were given `bytes` now: what this costs is by far
    /// the most that a connection costs, so the shell may want to wait with it.
    #[must_use]
    pub fn would_compute(&self, bytes: &[u8]) -> bool {
        let unread = self.inbox.unread();
        if unread.len() + bytes.len() < KEY_LEN || !self.policy.lets_encrypted_in() {
            return false;
        }
        match self.state {
            State::PublicValue => true,
            State::Anything => {
                let first = unread.iter().chain(bytes);
                first.zip(PREFIX).any(|(got, want)| got != want)
            }
            _ => false,
        }
    }

    fn step(
        &mut self,
        state: State,
        find: &mut Option<impl FnOnce(SkeyHash) -> Option<WireHash>>,
        out: &mut Vec<u8>,
    ) -> Result<Step<State>, MseError> {
        Ok(match state {
            State::Anything => self.on_first_bytes()?,
            State::PublicValue => match self.inbox.take() {
                None => Step::Wait(State::PublicValue),
                Some(theirs) => {
                    let keys = KeyPair::new(&mut self.rng);
                    let secret = keys.secret(&theirs).ok_or(MseError::BadKey)?;
                    out.extend_from_slice(keys.public());
                    pad(&mut self.rng, out);
                    let mark = sync_hash(&secret);
                    Step::Next(State::Sync(secret, mark))
                }
            },
            State::Sync(secret, mark) => match self.inbox.skip_to(&mark)? {
                false => Step::Wait(State::Sync(secret, mark)),
                true => Step::Next(State::Torrent(secret)),
            },
            State::Torrent(secret) => match self.inbox.take() {
                None => Step::Wait(State::Torrent(secret)),
                Some(hidden) => {
                    let skey = SkeyHash::from_hidden(hidden, &secret);
                    let info_hash = find.take().and_then(|find| find(skey));
                    let info_hash = info_hash.ok_or(MseError::UnknownTorrent)?;
                    let streams = Streams::of_responder(&secret, info_hash);
                    Step::Next(State::Offer(streams, info_hash))
                }
            },
            State::Offer(mut streams, info_hash) => {
                match self.inbox.take_decrypted(&mut streams.incoming) {
                    None => Step::Wait(State::Offer(streams, info_hash)),
                    Some(offer) => Step::Next(self.on_offer(&offer, streams, info_hash)?),
                }
            }
            State::Padding(mut agreed, len) => {
                match self.inbox.take_many(len, &mut agreed.streams.incoming) {
                    None => Step::Wait(State::Padding(agreed, len)),
                    Some(_) => Step::Next(State::PayloadLen(agreed)),
                }
            }
            State::PayloadLen(mut agreed) => {
                match self.inbox.take_decrypted(&mut agreed.streams.incoming) {
                    None => Step::Wait(State::PayloadLen(agreed)),
                    Some(len) => {
                        let len = u16::from_be_bytes(len);
                        if usize::from(len) > MAX_INITIAL_PAYLOAD {
                            return Err(MseError::PayloadTooLong(len));
                        }
                        Step::Next(State::Payload(agreed, len.into()))
                    }
                }
            }
            State::Payload(mut agreed, len) => {
                match self.inbox.take_many(len, &mut agreed.streams.incoming) {
                    None => Step::Wait(State::Payload(agreed, len)),
                    Some(payload) => Step::Done(self.on_payload(agreed, payload, out)),
                }
            }
            State::Over => return Err(MseError::Over),
        })
    }

    /// Tells the name of the protocol from a public value. One in 2^160 of these begins with the name.
    fn on_first_bytes(&mut self) -> Result<Step<State>, MseError> {
        let first = self.inbox.unread();
        let alike = first.iter().zip(PREFIX).all(|(got, want)| got == want);
        Ok(match (alike, first.len() >= PREFIX.len()) {
            (true, false) => Step::Wait(State::Anything),
            (true, true) if !self.policy.lets_plain_in() => return Err(MseError::PlainRefused),
            (true, true) => {
                Step::Done(Progress::Plain(core::mem::take(&mut self.inbox).into_rest()))
            }
            (false, _) if !self.policy.lets_encrypted_in() => {
                return Err(MseError::EncryptedRefused);
            }
            (false, _) => Step::Next(State::PublicValue),
        })
    }

    fn on_offer(
        &mut self,
        offer: &[u8; 14],
        streams: Streams,
        info_hash: WireHash,
    ) -> Result<State, MseError> {
        let [constant @ .., a, b, c, d, len_high, len_low] = *offer;
        if constant != VC {
            return Err(MseError::BadConstant);
        }
        let offered = u32::from_be_bytes([a, b, c, d]);
        let method = self.methods.choose(offered).ok_or(MseError::NoMethod(offered))?;
        let agreed = Agreed { streams, info_hash, method };
        Ok(State::Padding(agreed, padding_len([len_high, len_low])?))
    }

    /// Tells what we selected; the stream begins.
    fn on_payload(&mut self, agreed: Agreed, payload: Vec<u8>, out: &mut Vec<u8>) -> Progress {
        let Agreed { mut streams, info_hash, method } = agreed;
        let encrypted = out.len();
        out.extend_from_slice(&VC);
        out.extend_from_slice(&Methods::only(method).to_bits().to_be_bytes());
        pad_encrypted(&mut self.rng, out);
        streams.outgoing.apply(&mut out[encrypted..]);

        let mut session = streams.into_session(method);
        // The initial payload is encrypted whatever was selected; what follows it is as selected.
        let mut received = payload;
        let mut rest = core::mem::take(&mut self.inbox).into_rest();
        session.incoming.apply(&mut rest);
        received.append(&mut rest);
        Progress::Established(Established { session, info_hash, received })
    }
}
