//! Which datagram answers which question.
//!
//! An answer counts only if it comes from the endpoint that was asked and repeats the four unguessable
//! bytes the question carried. Questions end in two steps: after a time that is learned ([`Patience`]) a lookup stops waiting for
//! the answer, after [`TIMEOUT`] it no longer counts.

use crate::patience::Patience;
use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;
use samara_wire::krpc::{NodeId, TransactionId};
use samara_wire::time::{Duration, Instant};

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
    /// When they were sent, in that order, which is that of both deadlines.
    to_be_slow: VecDeque<(Instant, u32)>,
    to_end: VecDeque<(Instant, u32)>,
    patience: Patience,
}

impl<P: Copy> Requests<P> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            open: BTreeMap::new(),
            to_be_slow: VecDeque::new(),
            to_end: VecDeque::new(),
            patience: Patience::new(),
        }
    }

    /// Whether another question may be asked.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN
    }

    /// Notes a question that carries `number`, which is free.
    pub fn insert(&mut self, number: u32, request: Request<P>) {
        self.to_be_slow.push_back((request.sent, number));
        self.to_end.push_back((request.sent, number));
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
        now: Instant,
        from: SocketAddr,
        transaction: &TransactionId,
    ) -> Option<Request<P>> {
        let number = u32::from_be_bytes(transaction.as_bytes().try_into().ok()?);
        if self.open.get(&number)?.addr != from {
            return None;
        }
        let request = self.open.remove(&number)?;
        // No timer for what is answered.
        for queue in [&mut self.to_be_slow, &mut self.to_end] {
            while queue.front().is_some_and(|(_, number)| !self.open.contains_key(number)) {
                queue.pop_front();
            }
        }
        self.patience.learn(now - request.sent);
        Some(request)
    }

    /// After so long a node is slow.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience.limit()
    }

    /// The next open question that has just become slow.
    pub fn poll_slow(&mut self, now: Instant) -> Option<Request<P>> {
        let limit = self.patience();
        while let Some(&(sent, number)) = self.to_be_slow.front()
            && (sent + limit <= now || !self.open.contains_key(&number))
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
        while let Some(&(sent, number)) = self.to_end.front()
            && (sent + TIMEOUT <= now || !self.open.contains_key(&number))
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
        let slow = self.to_be_slow.front().map(|(sent, _)| *sent + self.patience());
        let end = self.to_end.front().map(|(sent, _)| *sent + TIMEOUT);
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
    use crate::patience::{FIRST, SHORTEST};

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
        assert!(requests.answered(now, other_port, &transaction(7)).is_none());
        assert!(requests.answered(now, addr, &transaction(8)).is_none());
        assert!(requests.answered(now, addr, &TransactionId::new(b"\x07").unwrap()).is_none());
        assert_eq!(requests.answered(now, addr, &transaction(7)).unwrap().purpose, 'a');
        assert!(requests.answered(now, addr, &transaction(7)).is_none(), "only once");
    }

    #[test]
    fn what_is_answered_needs_no_timer() {
        let start = Instant::from_secs(1);
        let addr = SocketAddr::from(([1, 2, 3, 4], 5));
        let mut requests = Requests::new();
        for number in 1..4 {
            let sent = start + Duration::from_millis(number.into());
            requests.insert(number, Request { addr, id: None, purpose: 'a', sent });
        }
        requests.answered(start, addr, &transaction(2)).unwrap();
        assert_eq!(requests.next_timeout(), Some(start + FIRST + Duration::from_millis(1)));
        requests.answered(start, addr, &transaction(1)).unwrap();
        assert_eq!(requests.next_timeout(), Some(start + FIRST + Duration::from_millis(3)));
        requests.answered(start, addr, &transaction(3)).unwrap();
        assert_eq!(requests.next_timeout(), None);
    }

    #[test]
    fn a_question_is_slow_once_and_ends_once() {
        let start = Instant::from_secs(1);
        let addr = SocketAddr::from(([1, 2, 3, 4], 5));
        let mut requests = Requests::new();
        for (number, purpose) in [(1, 'a'), (2, 'b'), (3, 'c')] {
            requests.insert(number, Request { addr, id: None, purpose, sent: start });
        }
        requests.answered(start, addr, &transaction(1)).unwrap();
        assert!(requests.poll_slow(start).is_none() && requests.poll_ended(start).is_none());
        assert_eq!(requests.next_timeout(), Some(start + FIRST));
        let slow = start + FIRST;
        assert_eq!(requests.poll_slow(slow).unwrap().purpose, 'b');
        assert_eq!(requests.poll_slow(slow).unwrap().purpose, 'c');
        assert!(requests.poll_slow(slow).is_none() && requests.poll_ended(slow).is_none());
        requests.answered(slow, addr, &transaction(2)).unwrap();
        assert_eq!(requests.poll_ended(start + TIMEOUT).unwrap().purpose, 'c');
        assert!(requests.poll_ended(start + TIMEOUT).is_none());
        assert_eq!(requests.next_timeout(), None);
    }

    #[test]
    fn a_node_is_slow_when_it_takes_longer_than_others_do() {
        let mut now = Instant::from_secs(1);
        let addr = SocketAddr::from(([1, 2, 3, 4], 5));
        let mut requests = Requests::new();
        requests.insert(99, Request { addr, id: None, purpose: 'a', sent: now });
        for number in 0..20 {
            requests.insert(number, Request { addr, id: None, purpose: 'b', sent: now });
            now += Duration::from_millis(10);
            requests.answered(now, addr, &transaction(number)).unwrap();
        }
        assert_eq!(requests.next_timeout(), Some(Instant::from_secs(1) + SHORTEST));
        assert_eq!(requests.poll_slow(now + SHORTEST).unwrap().purpose, 'a', "asked before that");
    }
}
