//! How long packets may be: found out by sending some that are longer (BEP 29 leaves it open; compare RFC 8899).
//!
//! A probe carries no more of the stream than fits in a packet that is known to get through, and is filled up with
//! padding: if it is lost, the same bytes go once more without it. Its loss says nothing of congestion. Padding is never so
//! short that some peers would not take it ([`MIN_PADDING`]).

use samara_wire::time::{Duration, Instant};
use samara_wire::utp::{HEADER_LEN, MIN_PADDING};

/// Two lost probes of a length mean that it does not fit; one may be chance.
const TRIES: u8 = 2;

/// The search ends when it is known to within so many bytes: half of them are enough for padding.
const CLOSE_ENOUGH: u16 = 24;
const _: () = assert!(CLOSE_ENOUGH as usize / 2 >= MIN_PADDING);

/// The path may have changed after this.
const SEARCH_AGAIN: Duration = Duration::from_secs(600);

/// The search for the longest packet, in bytes of a UDP datagram's content.
#[derive(Clone, Debug)]
pub struct PathMtu {
    /// Known to get through.
    proven: u16,
    /// Not known not to.
    ceiling: u16,
    /// What the path could at best.
    max: u16,
    /// A length that was sent, and how often it was lost.
    tried: (u16, u8),
    in_flight: bool,
    again_at: Instant,
}

impl PathMtu {
    /// A search from `min`, which gets through everywhere, up to `max`.
    #[must_use]
    pub const fn new(min: u16, max: u16) -> Self {
        Self {
            proven: min,
            ceiling: max,
            max,
            tried: (0, 0),
            in_flight: false,
            again_at: Instant::ZERO,
        }
    }

    /// Payload of a full packet.
    #[must_use]
    pub const fn payload(&self) -> usize {
        self.proven as usize - HEADER_LEN
    }

    /// The length that is to be tried now, if any. The longest comes first: it is the most likely.
    #[must_use]
    pub fn wants(&self, now: Instant) -> Option<u16> {
        if self.in_flight {
            return None;
        }
        let (length, losses) = self.tried;
        if losses > 0 && losses < TRIES && length <= self.ceiling {
            return Some(length);
        }
        if self.ceiling - self.proven < CLOSE_ENOUGH {
            return (self.proven < self.max && now >= self.again_at).then_some(self.max);
        }
        let middle = self.proven + (self.ceiling - self.proven) / 2;
        Some(if self.ceiling == self.max { self.max } else { middle })
    }

    /// A probe of `length` was sent.
    pub fn on_sent(&mut self, length: u16) {
        if self.tried.0 != length {
            self.tried = (length, 0);
        }
        self.ceiling = self.ceiling.max(length);
        self.in_flight = true;
    }

    /// The probe arrived.
    pub fn on_acked(&mut self) {
        self.in_flight = false;
        self.proven = self.proven.max(self.tried.0);
        self.tried.1 = 0;
    }

    /// The probe was lost.
    pub fn on_lost(&mut self, now: Instant) {
        self.in_flight = false;
        let (length, losses) = &mut self.tried;
        *losses += 1;
        if *losses >= TRIES {
            self.ceiling = self.proven.max(*length - 1);
            self.again_at = now + SEARCH_AGAIN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a path that carries `real` bytes; gives the result and the number of probes.
    fn search(mtu: &mut PathMtu, now: Instant, real: u16) -> (u16, usize) {
        let mut probes = 0;
        while let Some(length) = mtu.wants(now) {
            probes += 1;
            mtu.on_sent(length);
            assert_eq!(mtu.wants(now), None, "one at a time");
            if length <= real { mtu.on_acked() } else { mtu.on_lost(now) }
        }
        (mtu.proven, probes)
    }

    #[test]
    fn the_usual_path_takes_one_probe() {
        let mut mtu = PathMtu::new(548, 1472);
        assert_eq!(mtu.payload(), 528);
        assert_eq!(search(&mut mtu, Instant::from_secs(1), 1500), (1472, 1));
        assert_eq!(mtu.payload(), 1452);
    }

    #[test]
    fn any_path_is_found_and_looked_at_again() {
        for real in (548..1472).step_by(7) {
            let (mut mtu, now) = (PathMtu::new(548, 1472), Instant::from_secs(1));
            let (found, probes) = search(&mut mtu, now, real);
            assert!(found <= real && real - found < 32 && probes < 20, "{real}: {found}, {probes}");
            let later = now + SEARCH_AGAIN;
            assert_eq!(search(&mut mtu, later, 1472).0, 1472);
        }
    }

    #[test]
    fn one_loss_is_chance() {
        let (mut mtu, now) = (PathMtu::new(548, 1472), Instant::from_secs(1));
        mtu.on_sent(1472);
        mtu.on_lost(now);
        assert_eq!(search(&mut mtu, now, 1472), (1472, 1));
    }
}
