//! HTTP proxies: a stream by `CONNECT` (RFC 9110, section 9.3.6), with Basic authentication (RFC 7617).

use super::target::Target;
use super::url::Credentials;
use super::{Progress, Tunnel};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use data_encoding::BASE64;

/// The longest head of an answer, in bytes.
pub const MAX_HEAD: usize = 16 << 10;

/// How much of a proxy's reason is repeated, in characters.
const MAX_REASON: usize = 80;

/// Why there is no stream through the proxy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HttpConnectError {
    /// The other side speaks something else.
    #[error("the proxy does not speak HTTP: its answer begins with {0:?}; is it a SOCKS proxy?")]
    NotHttp(String),
    /// The head of its answer has no end.
    #[error("the proxy's answer has a head of more than 16 KiB")]
    TooLong,
    /// It wants a user and a password, or others than those given.
    #[error("the proxy wants a user and a password, or others: http://USER:PASSWORD@HOST:PORT")]
    BadCredentials,
    /// It cannot or will not: the status and its reason.
    #[error("the proxy refuses: {0} {1}")]
    Refused(u16, String),
    /// It had ended before, in success or failure.
    #[error("the negotiation with the proxy is over")]
    Over,
}

/// The negotiation with an HTTP proxy.
pub struct HttpConnect {
    head: Vec<u8>,
    over: bool,
}

impl HttpConnect {
    /// Begins: appends to `out` the request for a stream to `target`.
    #[must_use]
    pub fn new(target: &Target, credentials: Option<&Credentials>, out: &mut Vec<u8>) -> Self {
        let mut request = String::new();
        // A `String` takes whatever is written.
        let _ = write!(request, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(credentials) = credentials {
            let pair = [credentials.user(), ":", credentials.password()].concat();
            let _ = write!(
                request,
                "Proxy-Authorization: Basic {}\r\n",
                BASE64.encode(pair.as_bytes())
            );
        }
        request.push_str("\r\n");
        out.extend_from_slice(request.as_bytes());
        Self { head: Vec::new(), over: false }
    }

    /// Takes what has arrived, in parts of any size. All bytes are taken: those behind the head of the answer are in
    /// [`Tunnel::received`].
    ///
    /// # Errors
    /// If the proxy refuses or does not keep to the protocol. See [`HttpConnectError`].
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Progress<Tunnel>, HttpConnectError> {
        if self.over {
            return Err(HttpConnectError::Over);
        }
        // The end may lie across the cut.
        let from = self.head.len().saturating_sub(3);
        self.head.extend_from_slice(bytes);
        let name = self.head.iter().zip(b"HTTP/1.");
        let result = if name.clone().any(|(got, want)| got != want) {
            let start = &self.head[..self.head.len().min(20)];
            Err(HttpConnectError::NotHttp(String::from_utf8_lossy(start).into_owned()))
        } else {
            match self.head[from..].windows(4).position(|end| end == b"\r\n\r\n") {
                Some(at) if from + at + 4 <= MAX_HEAD => {
                    let received = self.head.split_off(from + at + 4);
                    status(&self.head).map(|()| Progress::Open(Tunnel { received }))
                }
                None if self.head.len() <= MAX_HEAD => Ok(Progress::Pending),
                _ => Err(HttpConnectError::TooLong),
            }
        };
        self.over = !matches!(result, Ok(Progress::Pending));
        result
    }
}

/// Whether the head of an answer says that the stream is open.
fn status(head: &[u8]) -> Result<(), HttpConnectError> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(3, ' ').skip(1);
    let status = words.next().filter(|word| word.len() == 3).and_then(|word| word.parse().ok());
    match status {
        Some(200..=299) => Ok(()),
        // What is meant is 407; tinyproxy says 401 to wrong ones.
        Some(401 | 407) => Err(HttpConnectError::BadCredentials),
        Some(status) => {
            let reason = words.next().unwrap_or_default().chars();
            let reason = reason.filter(|c| !c.is_control()).take(MAX_REASON).collect();
            Err(HttpConnectError::Refused(status, reason))
        }
        None => Err(HttpConnectError::NotHttp(line.chars().take(20).collect())),
    }
}
