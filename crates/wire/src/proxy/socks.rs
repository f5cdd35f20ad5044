//! SOCKS5, the client's side: a stream, or a relay for datagrams (RFC 1928), with user and password (RFC 1929).
//!
//! ```text
//! -> 5, count, methods            0: no authentication; 2: user and password, if we have them
//! <- 5, method
//! -> 1, length, user, length, password       if that is what the proxy chose
//! <- 1, 0
//! -> 5, command, 0, address
//! <- 5, 0, 0, address             the stream begins behind it
//! ```

use super::target::{self, BadAddress, Target};
use super::url::Credentials;
use super::{Bound, Progress};
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

const VERSION: u8 = 5;
/// The version of the negotiation of user and password.
const AUTH_VERSION: u8 = 1;
const NO_AUTH: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;

/// What a proxy is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// A stream to the target.
    Connect,
    /// A relay for datagrams, for as long as the connection to the proxy stands. The target is where we send them from,
    /// and usually not known: all zeros.
    UdpAssociate,
}

/// What a proxy says when it does not do what it was asked to (RFC 1928, section 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal(pub u8);

/// Why there is no stream through the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Socks5Error {
    /// The other side speaks something else.
    #[error(
        "the proxy does not speak SOCKS5: its answer begins with byte {0:#04x}; is it an HTTP proxy?"
    )]
    Version(u8),
    /// The proxy wants user and password, which we have not, or something that we cannot.
    #[error(
        "the proxy takes none of our ways to log in: give it a user and a password, as in socks5://USER:PASSWORD@HOST:PORT"
    )]
    NoMethod,
    /// It chose what was not offered.
    #[error("the proxy chose a way to log in that was not offered ({0:#04x})")]
    BadMethod(u8),
    /// User or password are wrong.
    #[error("the proxy refuses the user and the password")]
    BadCredentials,
    /// It cannot or will not.
    #[error("the proxy refuses: {0}")]
    Refused(Refusal),
    /// The address in its answer is none.
    #[error("the proxy's answer has an address that is none")]
    BadAddress,
    /// It had ended before, in success or failure.
    #[error("the negotiation with the proxy is over")]
    Over,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "a failure of its own",
            2 => "its rules do not allow it",
            3 => "the network cannot be reached",
            4 => "the host cannot be reached",
            5 => "the connection was refused",
            6 => "the time to live ran out",
            7 => "it does not know the command",
            8 => "it does not know the kind of address",
            code => return write!(f, "reply {code}"),
        })
    }
}

impl Refusal {
    /// Whether the target is to blame rather than the proxy: another may work.
    #[must_use]
    pub const fn is_of_target(self) -> bool {
        matches!(self.0, 3..=6)
    }
}

/// The negotiation with a SOCKS5 proxy.
pub struct Socks5 {
    command: Command,
    target: Target,
    credentials: Option<Credentials>,
    inbox: Vec<u8>,
    state: State,
}

/// What the proxy says next.
#[derive(Clone, Copy)]
enum State {
    Method,
    Login,
    Reply,
    Over,
}

impl Socks5 {
    /// Begins: appends to `out` what is to be sent first.
    #[must_use]
    pub fn new(
        command: Command,
        target: Target,
        credentials: Option<Credentials>,
        out: &mut Vec<u8>,
    ) -> Self {
        match credentials {
            Some(_) => out.extend_from_slice(&[VERSION, 2, NO_AUTH, PASSWORD]),
            None => out.extend_from_slice(&[VERSION, 1, NO_AUTH]),
        }
        Self { command, target, credentials, inbox: Vec::new(), state: State::Method }
    }

    /// Takes what has arrived, in parts of any size, and appends what is to be sent to `out`. All bytes are taken: those
    /// behind the negotiation are in [`Bound::received`].
    ///
    /// # Errors
    /// If the proxy refuses or does not keep to the protocol. See [`Socks5Error`].
    pub fn handle_bytes(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress<Bound>, Socks5Error> {
        self.inbox.extend_from_slice(bytes);
        loop {
            let state = core::mem::replace(&mut self.state, State::Over);
            self.state = match state {
                State::Over => return Err(Socks5Error::Over),
                State::Reply => {
                    let progress = self.on_reply()?;
                    if progress == Progress::Pending {
                        self.state = state;
                    }
                    return Ok(progress);
                }
                State::Method | State::Login => match *self.inbox {
                    // The first wrong byte is enough.
                    [version, ..] if !is_version(state, version) => {
                        return Err(Socks5Error::Version(version));
                    }
                    [_, answer, ..] => {
                        self.inbox.drain(..2);
                        match state {
                            State::Method => self.on_method(answer, out)?,
                            _ if answer != 0 => return Err(Socks5Error::BadCredentials),
                            _ => self.request(out),
                        }
                    }
                    _ => {
                        self.state = state;
                        return Ok(Progress::Pending);
                    }
                },
            }
        }
    }

    fn on_method(&self, method: u8, out: &mut Vec<u8>) -> Result<State, Socks5Error> {
        match (method, &self.credentials) {
            (NO_AUTH, _) => Ok(self.request(out)),
            (PASSWORD, Some(credentials)) => {
                out.push(AUTH_VERSION);
                for part in [credentials.user(), credentials.password()] {
                    // `Credentials` keeps them within 255 bytes.
                    out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                    out.extend_from_slice(part.as_bytes());
                }
                Ok(State::Login)
            }
            (NO_METHOD, _) => Err(Socks5Error::NoMethod),
            (method, _) => Err(Socks5Error::BadMethod(method)),
        }
    }

    fn request(&self, out: &mut Vec<u8>) -> State {
        let command = match self.command {
            Command::Connect => 1,
            Command::UdpAssociate => 3,
        };
        out.extend_from_slice(&[VERSION, command, 0]);
        target::encode(&self.target, out);
        State::Reply
    }

    fn on_reply(&mut self) -> Result<Progress<Bound>, Socks5Error> {
        match *self.inbox {
            [version, ..] if version != VERSION => return Err(Socks5Error::Version(version)),
            // Some close the connection here, with the address left off.
            [_, reply, ..] if reply != 0 => return Err(Socks5Error::Refused(Refusal(reply))),
            [_, _, _, ..] => {}
            _ => return Ok(Progress::Pending),
        }
        match target::decode(&self.inbox[3..]) {
            Ok((at, len)) => {
                let received = self.inbox.split_off(3 + len);
                Ok(Progress::Open(Bound { at, received }))
            }
            Err(BadAddress::Short) => Ok(Progress::Pending),
            Err(BadAddress::Kind(_) | BadAddress::Name) => Err(Socks5Error::BadAddress),
        }
    }
}

/// Some proxies give the version of SOCKS where that of the login belongs.
fn is_version(state: State, version: u8) -> bool {
    version == VERSION || (matches!(state, State::Login) && version == AUTH_VERSION)
}

impl Bound {
    /// Where datagrams are sent, if `proxy` is where the connection to the proxy leads: to the port that it names, at the
    /// address that we know. `None` if it names no port.
    ///
    /// The address that it names is not believed. Most name zeros, themselves, or what only they can reach, since they are behind a
    /// NAT or in a container; there the known address is the right one. One that names anybody else could have us send to whom it
    /// likes, while the user chose one host that packets may go to. A relay that is in fact elsewhere is of no use then.
    #[must_use]
    pub fn relay(&self, proxy: SocketAddr) -> Option<SocketAddr> {
        (self.at.port() != 0).then(|| SocketAddr::new(proxy.ip(), self.at.port()))
    }

    /// Whether it names another host than `proxy` for datagrams, which is not believed.
    #[must_use]
    pub fn names_another(&self, proxy: SocketAddr) -> bool {
        match &self.at {
            Target::Address(addr) => {
                let ip = addr.ip().to_canonical();
                !ip.is_unspecified() && ip != proxy.ip().to_canonical()
            }
            Target::Name(..) => true,
        }
    }
}
