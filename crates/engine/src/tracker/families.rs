//! Which address families of a host are asked (BEP 7).
//!
//! A tracker learns our address from where an announce comes, so one with addresses of both families is told over
//! each. A family that gives no answer while the other does (most often IPv6 on a machine that has no way out with it)
//! is left alone for a while, so that it costs one failed attempt in five minutes and no place in the gate.

use samara_wire::tracker::udp::Family;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a family that gave no answer is not asked.
const AVOID: Duration = Duration::from_secs(5 * 60);

/// Hosts remembered of which a family is avoided.
const MAX_AVOIDED: usize = 512;

pub(super) const BOTH: [Family; 2] = [Family::V4, Family::V6];

/// The family of sockets that reach `ip`.
pub(super) const fn family_of(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

pub(super) const fn other(family: Family) -> Family {
    match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    }
}

/// Families that gave no answer, by host.
#[derive(Debug, Default)]
pub(super) struct Avoided {
    until: Mutex<HashMap<(String, Family), Instant>>,
}

impl Avoided {
    /// The family of `host` that is better not asked now.
    pub(super) fn get(&self, host: &str) -> Option<Family> {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let avoided = |family: &Family| {
            until.get(&(host.to_owned(), *family)).is_some_and(|until| *until > Instant::now())
        };
        BOTH.into_iter().find(avoided)
    }

    /// `family` of `host` gave no answer while the other did.
    pub(super) fn avoid(&self, host: &str, family: Family) {
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.remove(&(host.to_owned(), other(family)));
        if until.len() >= MAX_AVOIDED {
            until.retain(|_, until| *until > now);
        }
        if until.len() < MAX_AVOIDED {
            until.insert((host.to_owned(), family), now + AVOID);
        }
    }

    /// It gave an answer.
    pub(super) fn forgive(&self, host: &str, family: Family) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.remove(&(host.to_owned(), family));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_family_at_most_is_avoided_and_not_for_ever() {
        let avoided = Avoided::default();
        assert_eq!(avoided.get("a"), None);
        avoided.avoid("a", Family::V6);
        assert_eq!((avoided.get("a"), avoided.get("b")), (Some(Family::V6), None));
        avoided.avoid("a", Family::V4);
        assert_eq!(avoided.get("a"), Some(Family::V4), "never both");
        tokio::time::advance(AVOID).await;
        assert_eq!(avoided.get("a"), None);
        avoided.avoid("a", Family::V6);
        avoided.forgive("a", Family::V6);
        assert_eq!(avoided.get("a"), None);
        for i in 0..2 * MAX_AVOIDED {
            avoided.avoid(&i.to_string(), Family::V6);
        }
        assert_eq!(avoided.until.lock().unwrap().len(), MAX_AVOIDED);
    }
}
