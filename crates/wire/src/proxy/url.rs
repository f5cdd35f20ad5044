//! How a user names a proxy: `socks5://USER:PASSWORD@HOST:PORT`, `socks5h://…`, `http://…`.

use super::target::{Target, TargetError};
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use percent_encoding::percent_decode_str;

/// The longest URL, in bytes.
pub const MAX_URL: usize = 2048;

/// The longest user and the longest password, in bytes: what one byte can count (RFC 1929).
const MAX_CREDENTIAL: usize = 255;

/// The port of SOCKS if none is given.
const SOCKS_PORT: u16 = 1080;

/// What a proxy speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// SOCKS5. Some programs look names up themselves with it; here the proxy does, as nothing may pass beside it.
    Socks5,
    /// SOCKS5; the proxy resolves names.
    Socks5h,
    /// HTTP with `CONNECT`; the proxy resolves names. It carries no datagrams.
    Http,
}

/// User and password, each within 255 bytes. They are shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

/// A proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyUrl {
    /// What it speaks.
    pub scheme: Scheme,
    /// Where it is.
    pub at: Target,
    /// Who we are there.
    pub credentials: Option<Credentials>,
}

/// Why text is not the URL of a proxy. What could be a password is not repeated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyUrlError {
    /// More than anybody writes.
    #[error("the proxy's URL has {0} bytes, where 2048 are allowed")]
    TooLong(usize),
    /// No scheme, or another one.
    #[error("a proxy is given as socks5://, socks5h:// or http://, then HOST:PORT")]
    Scheme,
    /// The host is none.
    #[error("the proxy's host: {0}")]
    Host(#[from] TargetError),
    /// The port is none.
    #[error("the proxy's port is not a number from 1 to 65535")]
    Port,
    /// HTTP proxies have no usual port.
    #[error("the proxy's port is missing: http://HOST:PORT")]
    NoPort,
    /// Something behind the port.
    #[error("a proxy is given as SCHEME://HOST:PORT, with nothing behind it")]
    Path,
    /// User or password cannot be sent.
    #[error("the proxy's user and password: {0}")]
    Credentials(#[from] CredentialsError),
}

/// Why user and password cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Too long for any proxy.
    #[error("each may have 255 bytes")]
    TooLong,
    /// A password without a user.
    #[error("the user is empty")]
    NoUser,
    /// HTTP cannot tell where such a user ends.
    #[error("the user has a colon or a control character, which cannot be sent")]
    User,
    /// Not text.
    #[error("what is escaped with % is not UTF-8")]
    NotText,
}

impl Scheme {
    /// Whether it can carry datagrams.
    #[must_use]
    pub const fn carries_datagrams(self) -> bool {
        !matches!(self, Self::Http)
    }
}

impl Credentials {
    /// A user and a password, which may be empty.
    ///
    /// # Errors
    /// If they are too long, or the user is empty or cannot be told from the password.
    pub fn new(user: &str, password: &str) -> Result<Self, CredentialsError> {
        if user.len().max(password.len()) > MAX_CREDENTIAL {
            return Err(CredentialsError::TooLong);
        }
        if user.is_empty() {
            return Err(CredentialsError::NoUser);
        }
        if user.chars().any(|c| c == ':' || c.is_control()) {
            return Err(CredentialsError::User);
        }
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    fn parse(text: &str) -> Result<Self, CredentialsError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let decode =
            |part| percent_decode_str(part).decode_utf8().map_err(|_| CredentialsError::NotText);
        Self::new(&decode(user)?, &decode(password)?)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        if text.len() > MAX_URL {
            return Err(ProxyUrlError::TooLong(text.len()));
        }
        let (scheme, rest) = text.trim().split_once("://").ok_or(ProxyUrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "socks5" => Scheme::Socks5,
            "socks5h" => Scheme::Socks5h,
            "http" => Scheme::Http,
            _ => return Err(ProxyUrlError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A password may have an @ that was not escaped; a host has none.
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(Credentials::parse(credentials)?), place),
            None => (None, rest),
        };
        if place.contains(['/', '?', '#']) {
            return Err(ProxyUrlError::Path);
        }
        let (host, port) = match place.rsplit_once(':') {
            // The colon of an IPv6 address, not of a port.
            Some((_, behind)) if behind.ends_with(']') => (place, None),
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        };
        let port = match port {
            Some(text) => match text.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(ProxyUrlError::Port),
            },
            None if scheme == Scheme::Http => return Err(ProxyUrlError::NoPort),
            None => SOCKS_PORT,
        };
        Ok(Self { scheme, at: Target::new(host, port)?, credentials })
    }
}

impl fmt::Display for ProxyUrl {
    /// Without user and password: it goes into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Socks5 => "socks5",
            Scheme::Socks5h => "socks5h",
            Scheme::Http => "http",
        };
        write!(f, "{scheme}://{}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::ToString;

    fn parse(text: &str) -> Result<ProxyUrl, ProxyUrlError> {
        text.parse()
    }

    #[test]
    fn proxies_as_users_write_them() {
        for (text, shown, credentials) in [
            ("socks5://10.0.0.1:1080", "socks5://10.0.0.1:1080", None),
            ("socks5h://proxy.example/", "socks5h://proxy.example:1080", None),
            ("SOCKS5://[::1]", "socks5://[::1]:1080", None),
            ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080", None),
            ("http://me:secret@proxy:3128/", "http://proxy:3128", Some(("me", "secret"))),
            ("socks5://me@proxy:1", "socks5://proxy:1", Some(("me", ""))),
            ("socks5://a%20b:p%40s:%3a/@proxy:1", "socks5://proxy:1", Some(("a b", "p@s::/"))),
        ] {
            let url = parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            let ours = url.credentials.as_ref().map(|c| (c.user(), c.password()));
            assert_eq!(ours, credentials, "{text}");
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_carried() {
        let [socks5, socks5h, http] = [Scheme::Socks5, Scheme::Socks5h, Scheme::Http];
        assert_eq!([socks5, socks5h, http].map(Scheme::carries_datagrams), [true, true, false]);
    }

    #[test]
    fn errors_say_what_is_missing() {
        let long = "a".repeat(256);
        for (text, error) in [
            ("10.0.0.1:1080", ProxyUrlError::Scheme),
            ("socks4://10.0.0.1:1080", ProxyUrlError::Scheme),
            ("http://proxy", ProxyUrlError::NoPort),
            ("socks5://proxy:0", ProxyUrlError::Port),
            ("socks5://proxy:65536", ProxyUrlError::Port),
            ("socks5://me:secret", ProxyUrlError::Port),
            ("socks5://proxy:1/path", ProxyUrlError::Path),
            ("socks5://:1080", ProxyUrlError::Host(TargetError::Empty)),
            ("socks5://a b:1080", ProxyUrlError::Host(TargetError::BadByte(b' '))),
            ("socks5://:x@proxy:1", ProxyUrlError::Credentials(CredentialsError::NoUser)),
            ("http://a%3ab:x@proxy:1", ProxyUrlError::Credentials(CredentialsError::User)),
            ("http://%ff:x@proxy:1", ProxyUrlError::Credentials(CredentialsError::NotText)),
            (
                &format!("http://{long}@proxy:1"),
                ProxyUrlError::Credentials(CredentialsError::TooLong),
            ),
            (&"a".repeat(3000), ProxyUrlError::TooLong(3000)),
        ] {
            let got = parse(text).unwrap_err();
            assert_eq!(got, error, "{text}");
            assert!(!got.to_string().contains("secret"));
        }
    }
}
