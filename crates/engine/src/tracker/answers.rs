//! Who waits for what a UDP tracker answers.

use samara_wire::proxy::Target;
use samara_wire::tracker::udp::{Family, Response, TransactionId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Whom an answer is from, and what it says.
type Answer = (Target, Response);

/// Where an answer has to come from, and its number. A name that the proxy looks up leads to an address that we do not know;
/// there the number alone, which nobody can guess, tells an answer.
type Key = (Option<SocketAddr>, TransactionId);

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    waiting: Mutex<HashMap<Key, oneshot::Sender<Answer>>>,
}

/// A place among those who wait, given up when dropped.
pub(super) struct Waiting<'a> {
    answers: &'a Answers,
    key: Key,
    pub(super) answer: oneshot::Receiver<Answer>,
}

impl Answers {
    /// Waits for an answer of `to`.
    pub(super) fn wait_for(&self, to: &Target) -> Waiting<'_> {
        let from = match to {
            Target::Address(addr) => Some(without_scope(*addr)),
            Target::Name(..) => None,
        };
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        loop {
            let [a, b, c, d, ..] = super::unguessable().to_ne_bytes();
            let key = (from, TransactionId(u32::from_ne_bytes([a, b, c, d])));
            if let Entry::Vacant(place) = waiting.entry(key) {
                place.insert(sender);
                return Waiting { answers: self, key, answer };
            }
        }
    }

    /// A datagram has come: gives it to who waits for it, if anybody does.
    pub(crate) fn take(&self, from: &Target, datagram: &[u8]) {
        let addr = match from {
            Target::Address(addr) => Some(without_scope(*addr)),
            Target::Name(..) => None,
        };
        let family = if addr.is_some_and(|addr| addr.is_ipv6()) { Family::V6 } else { Family::V4 };
        let Ok((transaction, response)) = Response::parse(datagram, family) else { return };
        let mut waiting = self.lock();
        let asked = addr.and_then(|addr| waiting.remove(&(Some(addr), transaction)));
        let asked = asked.or_else(|| waiting.remove(&(None, transaction)));
        drop(waiting);
        if let Some(asked) = asked {
            // Its announce may have been given up meanwhile.
            let _ = asked.send((from.clone(), response));
        }
    }

    /// Number of requests that wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    pub(super) const fn transaction(&self) -> TransactionId {
        self.key.1
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // It is there no more if it was answered.
        self.answers.lock().remove(&self.key);
    }
}

/// The endpoint without the fields of IPv6 that are not part of its identity.
fn without_scope(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::tracker::udp::ConnectionId;

    fn connected(transaction: TransactionId) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(transaction.0.to_be_bytes());
        bytes.extend(7_u64.to_be_bytes());
        bytes
    }

    #[test]
    fn an_answer_is_for_who_asked_there_or_asked_a_name() {
        let answers = Answers::default();
        let target = |host: &str| Target::new(host, 1).unwrap();
        let (one, other) = (target("192.0.2.1"), target("192.0.2.2"));
        let mut asked = answers.wait_for(&one);
        answers.take(&other, &connected(asked.transaction()));
        answers.take(&target("tracker.example"), &connected(asked.transaction()));
        assert!(asked.answer.try_recv().is_err(), "from elsewhere");
        answers.take(&one, &connected(asked.transaction()));
        let (from, response) = asked.answer.try_recv().unwrap();
        assert_eq!(from, one);
        assert!(matches!(response, Response::Connect(ConnectionId(7))));
        for from in [other, target("tracker.example")] {
            let mut asked = answers.wait_for(&target("tracker.example"));
            answers.take(&from, &connected(TransactionId(!asked.transaction().0)));
            assert!(asked.answer.try_recv().is_err(), "another number");
            answers.take(&from, &connected(asked.transaction()));
            assert_eq!(asked.answer.try_recv().unwrap().0, from);
        }
        drop(asked);
        assert_eq!(answers.waiting(), 0);
    }
}
