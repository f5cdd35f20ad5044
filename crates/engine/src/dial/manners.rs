//! What peers were found to speak, so that they are dialled that way at once the next time.

use samara_wire::mse::{Attempt, Policy};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// Peers remembered at most. When there are more, all are forgotten, which costs each one attempt.
const MAX_REMEMBERED: usize = 4096;

/// Peers with which another way than the first one worked.
#[derive(Default)]
pub(crate) struct Manners(Mutex<HashMap<SocketAddr, Attempt>>);

impl Manners {
    /// The ways in which `addr` is to be dialled, one after the other.
    pub(crate) fn attempts(&self, policy: Policy, addr: SocketAddr) -> Vec<Attempt> {
        let mut attempts = policy.attempts().to_vec();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&addr).copied();
        if let Some(at) = known.and_then(|known| attempts.iter().position(|one| *one == known)) {
            attempts.swap(0, at);
        }
        attempts
    }

    /// Notes which way worked.
    pub(crate) fn note(&self, policy: Policy, addr: SocketAddr, worked: Attempt) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if policy.attempts().first() == Some(&worked) {
            known.remove(&addr);
            return;
        }
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(addr, worked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_worked_is_tried_first_and_what_is_refused_never() {
        let manners = Manners::default();
        let addr = SocketAddr::from(([192, 0, 2, 1], 6881));
        assert_eq!(manners.attempts(Policy::Prefer, addr), [Attempt::Encrypted, Attempt::Plain]);
        manners.note(Policy::Prefer, addr, Attempt::Plain);
        assert_eq!(manners.attempts(Policy::Prefer, addr), [Attempt::Plain, Attempt::Encrypted]);
        assert_eq!(manners.attempts(Policy::Require, addr), [Attempt::Encrypted]);
        manners.note(Policy::Prefer, addr, Attempt::Encrypted);
        assert_eq!(manners.attempts(Policy::Prefer, addr), [Attempt::Encrypted, Attempt::Plain]);
    }

    #[test]
    fn memory_is_bounded() {
        let manners = Manners::default();
        for n in 0..MAX_REMEMBERED + 1 {
            let ip = u32::try_from(n).unwrap().to_be_bytes();
            manners.note(Policy::Prefer, SocketAddr::from((ip, 1)), Attempt::Plain);
        }
        assert_eq!(manners.0.lock().unwrap().len(), 1);
    }
}
