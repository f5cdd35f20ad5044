//! Why an announce or a download over HTTP failed, in words for a user.

use samara_wire::tracker::http::{ResponseError, Retry};
use std::time::Duration;

/// Why a tracker gave no answer. Names the tracker's host, never its whole URL.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{host}: {fault}")]
pub struct TrackerError {
    host: String,
    fault: TrackerFault,
}

impl TrackerError {
    pub(super) const fn new(host: String, fault: TrackerFault) -> Self {
        Self { host, fault }
    }

    /// Host, and port if given, of the tracker.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What went wrong.
    #[must_use]
    pub const fn fault(&self) -> &TrackerFault {
        &self.fault
    }

    /// When the tracker wants to hear from us again, if it said so (BEP 31).
    #[must_use]
    pub const fn retry(&self) -> Option<Retry> {
        match &self.fault {
            TrackerFault::Response(ResponseError::Failure { retry, .. }) => *retry,
            _ => None,
        }
    }
}

/// What went wrong with a tracker or a web server.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackerFault {
    /// The URL cannot be used.
    #[error("the address cannot be used: {0}")]
    Url(String),
    /// The host has no address, or none that may be used.
    #[error("no such host, or no network")]
    Lookup,
    /// What the user bound the session to is not there.
    #[error("not asked: {0} is away")]
    Away(String),
    /// Nothing came of it by way of the proxy, and there is no other way.
    #[error("through the proxy: {0}")]
    Proxy(String),
    /// Nobody listens there.
    #[error("connection refused: nothing listens there")]
    Refused,
    /// The connection could not be made or broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// TLS failed.
    #[error("no secure connection: {0}")]
    Tls(String),
    /// It did not answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// It would lead into this machine or its network.
    #[error("refused: it leads to an address on this machine or its own network")]
    Local,
    /// It redirects without end.
    #[error("too many redirects")]
    Redirects,
    /// It redirects to something that cannot be followed.
    #[error("it redirects to an address that cannot be used")]
    RedirectTarget,
    /// An HTTP status that is no success.
    #[error("HTTP status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    /// The answer is longer than it may be.
    #[error("the answer is larger than {} KiB", .0 / 1024)]
    TooLarge(usize),
    /// The answer decompresses to far more than it should.
    #[error("the answer's compression makes no sense")]
    Compression,
    /// The tracker refused, or its answer cannot be read.
    #[error("{0}")]
    Response(#[from] ResponseError),
    /// The tracker refused, over UDP.
    #[error("{0}")]
    Rejected(String),
    /// Its URL does not say where it is scraped (BEP 48).
    #[error(
        "this tracker cannot be scraped: the last part of its path does not begin with announce"
    )]
    NoScrape,
}

impl TrackerFault {
    /// Whether nothing came from the tracker: another way to it may do better.
    pub(super) const fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Lookup
                | Self::Away(_)
                | Self::Refused
                | Self::Unreachable(_)
                | Self::Tls(_)
                | Self::Timeout(_)
                | Self::Local
        )
    }

    /// Of the faults of two ways to a tracker, the one that says more about it: what it said itself, or else what
    /// took time to find out.
    pub(super) fn telling(self, other: Self) -> Self {
        let weight = |fault: &Self| match fault {
            Self::Lookup | Self::Local | Self::Away(_) => 0,
            Self::Unreachable(_) => 1,
            fault if fault.is_silence() => 2,
            _ => 3,
        };
        if weight(&other) > weight(&self) { other } else { self }
    }
}

/// What a user can conclude from a status.
const fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => " (access denied)",
        407 => " (the proxy wants a user and a password, or others)",
        404 | 410 => " (nothing at this address)",
        429 => " (too many requests)",
        500.. => " (the server is in trouble)",
        _ => "",
    }
}
