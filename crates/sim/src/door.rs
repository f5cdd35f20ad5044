//! What a NAT lets in, seen from outside: a datagram reaches the machine behind it only from an address to which that has sent
//! something in the last two minutes. Addresses are not translated; [`crate::Nat`] does that too.

use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What was sent to is forgotten after this.
const LIFE: Duration = Duration::from_secs(120);

/// With more addresses than this, those that are forgotten are taken out.
const MANY: usize = 2_000;

/// The door of a machine behind a NAT.
#[derive(Debug, Default)]
pub(crate) struct Door {
    sent: BTreeMap<SocketAddr, Instant>,
}

impl Door {
    /// Something goes to `to`.
    pub(crate) fn goes_out(&mut self, now: Instant, to: SocketAddr) {
        self.sent.insert(to, now);
    }

    /// Whether what comes from `from` gets in.
    pub(crate) fn lets_in(&mut self, now: Instant, from: SocketAddr) -> bool {
        let open = self.sent.get(&from).is_some_and(|&sent| now - sent <= LIFE);
        if open && self.sent.len() > MANY {
            self.sent.retain(|_, sent| now - *sent <= LIFE);
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_sent_to_gets_in_and_not_for_ever() {
        let addr = |last: u8| SocketAddr::from(([10, 0, 0, last], 6881));
        let (mut door, begin) = (Door::default(), Instant::from_secs(1));
        assert!(!door.lets_in(begin, addr(1)));
        door.goes_out(begin, addr(1));
        assert!(door.lets_in(begin + LIFE, addr(1)) && !door.lets_in(begin, addr(2)));
        assert!(!door.lets_in(begin + LIFE + Duration::from_micros(1), addr(1)));
    }
}
