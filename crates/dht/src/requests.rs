//! Which datagram answers which question.
//!
//! An answer counts only if it comes from the endpoint that was asked and repeats the four unguessable
//! bytes the question carried. Questions end in two steps: after [`SLOW`] a lookup stops waiting for the answer, after
//! [`TIMEOUT`] it no longer counts.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;
use samara_wire::krpc::{NodeId, TransactionId};
use samara_wire::time::{Duration, Instant};

/// After so long a lookup asks somebody else as well.
pub const SLOW: Duration = Duration::from_millis(1200);

/// After so long a question is given up.
pub const TIMEOUT: Duration = Duration::from_secs(6);

/// Questions that may be open at once.
pub const MAX_OPEN: usize = 2048;

/// A question that is not answered.
#[derive(Clone, Copy, Debug)]
pub struct Request<P> {
    /// Who was asked.
    pub addr: SocketAddr,
    /// Its id, if it was known.
    pub id: Option<NodeId>,
    /// Why.
    pub purpose: P,
    /// When.
    pub sent: Instant,
}

/// All open questions.
#[derive(Debug)]
pub struct Requests<P> {
    open: BTreeMap<u32, Request<P>>,
    /// In the order of sending, which is that of both deadlines.
    to_be_slow: VecDeque<(Instant, u32)>,
    to_end: VecDeque<(Instant, u32)>,
}

impl<P: Copy> Requests<P> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { open: BTreeMap::new(), to_be_slow: VecDeque::new(), to_end: VecDeque::new() }
    }

    /// Whether another question may be asked.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN
    }

    /// Notes a question that carries `number`, which is free.
    pub fn insert(&mut self, number: u32, request: Request<P>) {
        self.to_be_slow.push_back((request.sent + SLOW, number));
        self.to_end.push_back((request.sent + TIMEOUT, number));
        self.open.insert(number, request);
    }

    /// Whether `number` is taken.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        self.open.contains_key(&number)
    }

    /// The question that a datagram from `from` answers.
    pub fn answered(
        &mut self,
        from: SocketAddr,
        transaction: &TransactionId,
    ) -> Option<Request<P>> {
        let number = u32::from_be_bytes(transaction.as_bytes().try_into().ok()?);
        if self.open.get(&number)?.addr != from {
            return None;
        }
        self.open.remove(&number)
    }

    /// The next open question that has just become slow.
    pub fn poll_slow(&mut self, now: Instant) -> Option<Request<P>> {
        while let Some(&(at, number)) = self.to_be_slow.front()
            && (at <= now || !self.open.contains_key(&number))
        {
            self.to_be_slow.pop_front();
            if let Some(request) = self.open.get(&number) {
                return Some(*request);
            }
        }
        None
    }

    /// The next question that ends without an answer.
    pub fn poll_ended(&mut self, now: Instant) -> Option<Request<P>> {
        while let Some(&(at, number)) = self.to_end.front()
            && (at <= now || !self.open.contains_key(&number))
        {
            self.to_end.pop_front();
            if let Some(request) = self.open.remove(&number) {
                return Some(request);
            }
        }
        None
    }

    /// When something becomes slow or ends.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let slow = self.to_be_slow.front().map(|(at, _)| *at);
        let end = self.to_end.front().map(|(at, _)| *at);
        slow.into_iter().chain(end).min()
    }
}

impl<P: Copy> Default for Requests<P> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(number: u32) -> TransactionId {
        TransactionId::new(&number.to_be_bytes()).unwrap()
    }

    #[test]
    fn answers_come_from_the_endpoint_asked_and_once() {
        let now = Instant::from_secs(1);
        let addr = SocketAddr::from(([1, 2, 3, 4], 5));
        let mut requests = Requests::new();
        requests.insert(7, Request { addr, id: None, purpose: 'a', sent: now });
        assert!(requests.contains(7) && requests.has_room());
        let other_port = SocketAddr::from(([1, 2, 3, 4], 6));
        assert!(requests.answered(other_port, &transaction(7)).is_none());
        assert!(requests.answered(addr, &transaction(8)).is_none());
        assert!(requests.answered(addr, &TransactionId::new(b"\x07").unwrap()).is_none());
        assert_eq!(requests.answered(addr, &transaction(7)).unwrap().purpose, 'a');
        assert!(requests.answered(addr, &transaction(7)).is_none(), "only once");
    }

    #[test]
    fn a_question_is_slow_once_and_ends_once() {
        let start = Instant::from_secs(1);
        let addr = SocketAddr::from(([1, 2, 3, 4], 5));
        let mut requests = Requests::new();
        for (number, purpose) in [(1, 'a'), (2, 'b'), (3, 'c')] {
            requests.insert(number, Request { addr, id: None, purpose, sent: start });
        }
        requests.answered(addr, &transaction(1)).unwrap();
        assert!(requests.poll_slow(start).is_none() && requests.poll_ended(start).is_none());
        assert_eq!(requests.next_timeout(), Some(start + SLOW));
        let slow = start + SLOW;
        assert_eq!(requests.poll_slow(slow).unwrap().purpose, 'b');
        assert_eq!(requests.poll_slow(slow).unwrap().purpose, 'c');
        assert!(requests.poll_slow(slow).is_none() && requests.poll_ended(slow).is_none());
        requests.answered(addr, &transaction(2)).unwrap();
        assert_eq!(requests.poll_ended(start + TIMEOUT).unwrap().purpose, 'c');
        assert!(requests.poll_ended(start + TIMEOUT).is_none());
        assert_eq!(requests.next_timeout(), None);
    }
}
