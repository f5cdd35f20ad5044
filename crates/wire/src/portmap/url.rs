//! The few URLs that a gateway may give.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Longest path, in bytes.
const MAX_PATH: usize = 512;

/// An `http` URL of an address, not a name: nothing has to be looked up to see where it leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayUrl {
    addr: SocketAddr,
    /// Begins with a slash; printable ASCII without spaces.
    path: String,
}

/// Why a text is no such URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// Not `http`.
    #[error("it does not begin with http://")]
    Scheme,
    /// A name, or no address at all, or port 0.
    #[error("it names no address and port")]
    Host,
    /// Too long, or with characters that are not allowed.
    #[error("its path is not valid")]
    Path,
}

impl GatewayUrl {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// If it is not `http`, names a host other than by its address, or has a path that cannot be sent.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        const SCHEME: &str = "http://";
        let text = text.trim();
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(UrlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(UrlError::Scheme);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let addr = match (host.parse::<SocketAddr>(), host.trim_matches(['[', ']']).parse()) {
            (Ok(addr), _) if addr.port() != 0 => addr,
            (Err(_), Ok(ip)) => SocketAddr::new(ip, 80),
            _ => return Err(UrlError::Host),
        };
        Ok(Self { addr, path: checked(path)? })
    }

    /// Reads a URL that may be relative to this one, as `controlURL` of a description is.
    ///
    /// # Errors
    /// As for [`GatewayUrl::parse`].
    pub fn join(&self, text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.contains("://") {
            return Self::parse(text);
        }
        let path = match text.strip_prefix('/') {
            Some(_) => checked(text)?,
            None => {
                let before = self.path.split('?').next().unwrap_or_default();
                let dir = before.rfind('/').map_or("/", |slash| &before[..=slash]);
                checked(&format!("{dir}{text}"))?
            }
        };
        Ok(Self { addr: self.addr, path })
    }

    /// Where it leads.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The host of it.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.addr, self.path)
    }
}

/// A path fit to be sent, without a fragment.
fn checked(path: &str) -> Result<String, UrlError> {
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let fits = path.len() <= MAX_PATH && path.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(path) } else { Err(UrlError::Path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn only_addresses_are_hosts() {
        let shown = |text: &str| GatewayUrl::parse(text).map(|url| url.to_string());
        assert_eq!(
            shown("http://192.168.1.1:5000/root.xml").unwrap(),
            "http://192.168.1.1:5000/root.xml"
        );
        assert_eq!(shown(" HTTP://192.168.1.1 ").unwrap(), "http://192.168.1.1:80/");
        assert_eq!(shown("http://[fe80::1]:5000/a?b#c").unwrap(), "http://[fe80::1]:5000/a?b");
        for host in
            ["router", "", "1.2.3", "user@192.168.1.1", "192.168.1.1:0", "192.168.1.1:99999"]
        {
            assert_eq!(shown(&format!("http://{host}/x")), Err(UrlError::Host), "{host}");
        }
        for scheme in ["https://192.168.1.1/", "file:///etc/passwd", "", "http:/", "httpé//1.1.1.1"]
        {
            assert_eq!(shown(scheme), Err(UrlError::Scheme), "{scheme}");
        }
        assert_eq!(shown("http://1.2.3.4/a b"), Err(UrlError::Path));
        assert_eq!(shown("http://1.2.3.4/a\r\nX: y"), Err(UrlError::Path));
        assert_eq!(shown(&format!("http://1.2.3.4/{}", "a".repeat(MAX_PATH))), Err(UrlError::Path));
    }

    #[test]
    fn relative_ones_stay_where_they_are() {
        let base = GatewayUrl::parse("http://192.168.1.1:5000/dir/root.xml?x=/y").unwrap();
        let joined = |text: &str| base.join(text).unwrap().to_string();
        assert_eq!(joined("/ctl/IPConn"), "http://192.168.1.1:5000/ctl/IPConn");
        assert_eq!(joined("ctl?a"), "http://192.168.1.1:5000/dir/ctl?a");
        assert_eq!(joined("http://192.168.1.1:5001/c"), "http://192.168.1.1:5001/c");
        assert_eq!(joined("//10.0.0.1/c"), "http://192.168.1.1:5000//10.0.0.1/c");
        assert_eq!(base.join("/a b"), Err(UrlError::Path));
        assert_eq!(base.join("ftp://192.168.1.1/c"), Err(UrlError::Scheme));
    }
}
