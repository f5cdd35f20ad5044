//! Looks up names for HTTP, giving only addresses that may be connected to.

use super::address::is_local;
use super::names::Names;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a [`Resolver`] gives of what the system knows.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    pub(super) names: Arc<Names>,
    /// Only addresses of IPv4 (`Some(true)`) or of IPv6 (`Some(false)`).
    pub(super) v4: Option<bool>,
    /// Whether addresses of this machine and its network are given.
    pub(super) local: bool,
    /// The one name that is looked up, if not all are.
    pub(super) only: Option<String>,
}

/// Why a name was not resolved. Found again in the error that reqwest gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ResolveError {
    /// The system knows no address, or none of the family asked for.
    Unknown,
    /// All addresses are local, and that is not allowed.
    Local,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no such host",
            Self::Local => "a local address",
        })
    }
}

impl std::error::Error for ResolveError {}

impl Resolver {
    async fn lookup(&self, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        if self.only.as_ref().is_some_and(|only| !only.eq_ignore_ascii_case(name)) {
            return Err(ResolveError::Unknown);
        }
        let found = self.names.lookup(name).await;
        choose(found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect(), self.v4, self.local)
    }
}

fn choose(
    mut addrs: Vec<SocketAddr>,
    v4: Option<bool>,
    local: bool,
) -> Result<Vec<SocketAddr>, ResolveError> {
    addrs.retain(|addr| v4.is_none_or(|v4| addr.is_ipv4() == v4));
    if addrs.is_empty() {
        return Err(ResolveError::Unknown);
    }
    addrs.retain(|addr| local || !is_local(addr.ip()));
    if addrs.is_empty() { Err(ResolveError::Local) } else { Ok(addrs) }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addrs = resolver.lookup(name.as_str()).await?;
            Ok(Box::new(addrs.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_both_kinds_of_address_gives_only_those_allowed() {
        let addr = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let all =
            vec![addr("127.0.0.1:0"), addr("8.8.8.8:0"), addr("[2a00::1]:0"), addr("[::1]:0")];
        let choose = |v4, local| super::choose(all.clone(), v4, local);
        assert_eq!(choose(None, true), Ok(all.clone()));
        assert_eq!(choose(None, false), Ok(vec![all[1], all[2]]));
        assert_eq!(choose(Some(true), false), Ok(vec![all[1]]));
        assert_eq!(choose(Some(false), true), Ok(vec![all[2], all[3]]));
        let loopback = super::choose(vec![all[0]], None, false);
        assert_eq!(loopback, Err(ResolveError::Local));
        let no_v6 = super::choose(vec![all[0]], Some(false), true);
        assert_eq!(no_v6, Err(ResolveError::Unknown));
    }
}
