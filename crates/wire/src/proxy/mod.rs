//! Proxies: what is said to one before it carries a stream or datagrams.
//!
//! [`Socks5`] (RFC 1928, 1929) and [`HttpConnect`] (RFC 9110) are the client's side as state machines: they are fed what
//! arrives in parts of any size and append what is to be sent. They know no time: whoever feeds them gives up on a proxy
//! that does not get on. [`udp`] wraps datagrams for a SOCKS5 relay. [`ProxyUrl`] is how a user names a proxy.
//!
//! Everything that a proxy answers is bounded: at most 262 bytes of SOCKS, and [`MAX_HEAD`] of HTTP.

mod http;
mod socks;
mod target;
#[cfg(test)]
mod tests;
pub mod udp;
mod url;

pub use http::{HttpConnect, HttpConnectError, MAX_HEAD};
pub use socks::{Command, Refusal, Socks5, Socks5Error};
pub use target::{MAX_NAME, Target, TargetError};
pub use url::{Credentials, CredentialsError, MAX_URL, ProxyUrl, ProxyUrlError, Scheme};

use alloc::vec::Vec;

/// What has come of the bytes that were fed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress<T> {
    /// More are needed.
    Pending,
    /// The proxy does what it was asked to.
    Open(T),
}

/// A stream through an HTTP proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// What has come of the stream already.
    pub received: Vec<u8>,
}

/// A stream, or a relay for datagrams, of a SOCKS5 proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// For a stream: where the proxy connects from, of which few tell the truth. For datagrams: where it takes them, of which
    /// the port is believed; see [`Bound::relay`].
    pub at: Target,
    /// What has come of the stream already.
    pub received: Vec<u8>,
}
