//! Nodes that are known by name, where names are a proxy's to look up: each is sent a ping by its name, and where the answer comes
//! from is its address.
//!
//! Behind a proxy nothing is looked up here ([`super::names`] does elsewhere). An answer is known by its number, which
//! nobody can guess; whoever sends it does no more harm than any address that a torrent names: it is asked whether it is there.

use crate::tracker::unguessable;
use samara_wire::krpc::{Body, Method, NodeId, Packet, Query, TransactionId, Want};
use samara_wire::proxy::Target;
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;

/// Names called at a time. More are not heeded.
const MAX: usize = 64;

/// Pauses after the first call, the second and the last.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// See the module's head.
#[derive(Default)]
pub(super) struct Calls {
    /// By the number of the question.
    waiting: BTreeMap<[u8; 4], Call>,
}

struct Call {
    to: Target,
    made: usize,
    next: Instant,
}

impl Calls {
    /// Has a host called, with a number that nobody can guess.
    pub(super) fn add(&mut self, now: Instant, host: &str, port: u16, number: [u8; 4]) {
        let to = match Target::new(host, port) {
            Ok(to) => to,
            Err(error) => return tracing::debug!(host, %error, "not called"),
        };
        let is_known = self.waiting.values().any(|call| call.to == to);
        if is_known || self.waiting.len() >= MAX {
            return;
        }
        self.waiting.insert(number, Call { to, made: 0, next: now });
    }

    /// Who is to be sent what now, in the name of the node `id`.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        id: NodeId,
        read_only: bool,
    ) -> Vec<(Target, Vec<u8>)> {
        self.waiting.retain(|_, call| call.next > now || call.made < PAUSES.len());
        let due = self.waiting.iter_mut().filter(|(_, call)| call.next <= now);
        due.filter_map(|(number, call)| {
            call.next = now + PAUSES[call.made];
            call.made += 1;
            let query = Query { id, want: Want::default(), method: Method::Ping };
            let packet = Packet {
                transaction: TransactionId::new(number)?,
                client: None,
                read_only,
                your_addr: None,
                body: Body::Query(query),
            };
            Some((call.to.clone(), packet.encode()))
        })
        .collect()
    }

    /// Whether `datagram` answers a call, which is then over.
    pub(super) fn is_answer(&mut self, datagram: &[u8]) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        match Packet::parse(datagram) {
            Ok(Packet { transaction, body: Body::Response(_) | Body::Error(_), .. }) => {
                let number = <[u8; 4]>::try_from(transaction.as_bytes());
                number.is_ok_and(|number| self.waiting.remove(&number).is_some())
            }
            _ => false,
        }
    }

    /// When [`Calls::poll`] is to be called.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.waiting.values().map(|call| call.next).min()
    }
}

/// The number of a question.
pub(super) fn number() -> [u8; 4] {
    let [a, b, c, d, ..] = unguessable().to_ne_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::krpc::Response;

    fn name(n: usize) -> String {
        format!("router-{n}.example")
    }

    fn answer(number: [u8; 4]) -> Vec<u8> {
        let response = Response { id: NodeId([9; 20]), ..Response::default() };
        let packet = Packet {
            transaction: TransactionId::new(&number).unwrap(),
            client: None,
            read_only: false,
            your_addr: None,
            body: Body::Response(Box::new(response)),
        };
        packet.encode()
    }

    #[test]
    fn a_name_is_called_three_times_until_it_answers() {
        let mut calls = Calls::default();
        let start = Instant::from_secs(10);
        calls.add(start, &name(1), 6881, *b"aaaa");
        calls.add(start, &name(1), 6881, *b"bbbb");
        let mut times = Vec::new();
        for ms in (0..30_000).step_by(500) {
            let now = start + Duration::from_millis(ms);
            for (to, datagram) in calls.poll(now, NodeId([1; 20]), true) {
                assert_eq!(to.to_string(), "router-1.example:6881");
                let packet = Packet::parse(&datagram).unwrap();
                assert!(packet.read_only && packet.transaction.as_bytes() == b"aaaa");
                times.push(ms / 1000);
            }
        }
        assert_eq!(times, [0, 2, 6]);
        assert_eq!(calls.next_timeout(), None, "it is forgotten");
        calls.add(start, &name(1), 6881, *b"cccc");
        calls.poll(start, NodeId([1; 20]), false);
        assert!(!calls.is_answer(&answer(*b"aaaa")) && !calls.is_answer(b"d1:q"));
        assert!(calls.is_answer(&answer(*b"cccc")));
        assert!(!calls.is_answer(&answer(*b"cccc")), "once");
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let mut calls = Calls::default();
        for n in 0..2 * MAX {
            calls.add(Instant::ZERO, &name(n), 6881, u32::try_from(n).unwrap().to_be_bytes());
        }
        assert_eq!(calls.poll(Instant::ZERO, NodeId([1; 20]), false).len(), MAX);
    }
}
