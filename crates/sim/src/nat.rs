//! A box that translates addresses between a home and the network outside, as pure state.
//!
//! What tells one kind from another is what it does to UDP (RFC 4787): whether a socket inside is seen at one address outside by all
//! (*mapping*), and whom it lets answer (*filtering*):
//!
//! | kind | mapping | lets in |
//! | --- | --- | --- |
//! | full cone | one for all | anybody |
//! | address-restricted | one for all | whom something was sent to, from any port of theirs |
//! | port-restricted | one for all | whom something was sent to, from that port |
//! | symmetric | another one for each destination | the destination, from that port |
//!
//! A mapping lives as long as something is sent through it, and the right to answer likewise; what comes in prolongs neither.
//! Nothing that is sent to the box's own address outside comes back in.

use samara_swarm::rng::Rng;
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// How a box maps and filters. See the module's head.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NatKind {
    /// One mapping, through which anybody comes in.
    FullCone,
    /// One mapping, through which those addresses come in that were sent to.
    AddressRestricted,
    /// One mapping, through which those addresses and ports come in that were sent to.
    PortRestricted,
    /// A mapping for each destination, through which that comes in.
    Symmetric,
}

/// How a box is made.
#[derive(Clone, Debug)]
pub struct NatConfig {
    /// How it maps and filters.
    pub kind: NatKind,
    /// Its address outside.
    pub outside: IpAddr,
    /// How long a mapping lives after something was sent through it.
    pub lifetime: Duration,
    /// Whether a socket keeps its port outside where that is free; else ports are drawn.
    pub keeps_ports: bool,
    /// Draws ports.
    pub seed: u64,
}

/// A box between a home and the network outside.
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    rng: Rng,
    /// By port outside.
    mappings: BTreeMap<u16, Mapping>,
}

#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    /// Whom it is for alone, of a symmetric box.
    only: Option<SocketAddr>,
    /// Whom something was sent to, and when last.
    sent: BTreeMap<SocketAddr, Instant>,
    last_sent: Instant,
}

impl Nat {
    /// A box without mappings.
    #[must_use]
    pub fn new(config: NatConfig) -> Self {
        Self { rng: Rng::new(config.seed), config, mappings: BTreeMap::new() }
    }

    /// Its address outside.
    #[must_use]
    pub fn outside(&self) -> IpAddr {
        self.config.outside
    }

    /// A packet leaves from `from` inside to `to`: where it is seen to come from, or nothing if it does not get out.
    pub fn outbound(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<SocketAddr> {
        if to.ip() == self.config.outside {
            return None;
        }
        let lifetime = self.config.lifetime;
        self.mappings.retain(|_, mapping| now.since(mapping.last_sent) < lifetime);
        let only = (self.config.kind == NatKind::Symmetric).then_some(to);
        let known = self.mappings.iter().find(|(_, m)| m.inside == from && m.only == only);
        let port = match known {
            Some((port, _)) => *port,
            None => self.free_port(from.port())?,
        };
        let mapping = self.mappings.entry(port).or_insert_with(|| Mapping {
            inside: from,
            only,
            sent: BTreeMap::new(),
            last_sent: now,
        });
        mapping.last_sent = now;
        mapping.sent.retain(|_, at| now.since(*at) < lifetime);
        mapping.sent.insert(to, now);
        Some(SocketAddr::new(self.config.outside, port))
    }

    /// A packet comes from `from` to a port outside: to whom inside it goes, or nothing if it is not let in.
    #[must_use]
    pub fn inbound(&self, now: Instant, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        let mapping = self.mappings.get(&port)?;
        let lives = |at: Instant| now.since(at) < self.config.lifetime;
        let mut may_answer = mapping.sent.iter().filter(|(_, at)| lives(**at)).map(|(to, _)| to);
        let welcome = match self.config.kind {
            NatKind::FullCone => lives(mapping.last_sent),
            NatKind::AddressRestricted => may_answer.any(|to| to.ip() == from.ip()),
            NatKind::PortRestricted | NatKind::Symmetric => may_answer.any(|to| *to == from),
        };
        welcome.then_some(mapping.inside)
    }

    fn free_port(&mut self, wanted: u16) -> Option<u16> {
        if self.config.keeps_ports && !self.mappings.contains_key(&wanted) {
            return Some(wanted);
        }
        let drawn = |rng: &mut Rng| u16::try_from(1024 + rng.below(64_512)).unwrap_or(u16::MAX);
        (0..1000).map(|_| drawn(&mut self.rng)).find(|port| !self.mappings.contains_key(port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NatKind::{AddressRestricted, FullCone, PortRestricted, Symmetric};

    const LIFETIME: Duration = Duration::from_secs(60);

    fn a(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn t(secs: u64) -> Instant {
        Instant::from_secs(1000 + secs)
    }

    fn nat(kind: NatKind, keeps_ports: bool) -> Nat {
        let outside = "9.0.0.1".parse().unwrap();
        Nat::new(NatConfig { kind, outside, lifetime: LIFETIME, keeps_ports, seed: 3 })
    }

    /// Who is let in at `port`, after something was sent to the first one: it, another port of it, another address.
    fn let_in(nat: &Nat, now: Instant, port: u16) -> [bool; 3] {
        ["5.5.5.5:53", "5.5.5.5:99", "6.6.6.6:53"]
            .map(|from| nat.inbound(now, a(from), port) == Some(a("192.168.0.2:6881")))
    }

    #[test]
    fn each_kind_lets_in_whom_it_says() {
        for (kind, expected) in [
            (FullCone, [true, true, true]),
            (AddressRestricted, [true, true, false]),
            (PortRestricted, [true, false, false]),
            (Symmetric, [true, false, false]),
        ] {
            let mut nat = nat(kind, true);
            assert_eq!(
                nat.inbound(t(0), a("5.5.5.5:53"), 6881),
                None,
                "{kind:?}: nothing was sent"
            );
            let seen = nat.outbound(t(0), a("192.168.0.2:6881"), a("5.5.5.5:53")).unwrap();
            assert_eq!(seen, a("9.0.0.1:6881"));
            assert_eq!(let_in(&nat, t(1), 6881), expected, "{kind:?}");
            assert_eq!(let_in(&nat, t(1), 6882), [false; 3], "{kind:?}: nobody is there");
        }
    }

    #[test]
    fn a_symmetric_box_shows_each_destination_another_port() {
        for keeps_ports in [true, false] {
            let from = a("192.168.0.2:6881");
            for kind in [FullCone, AddressRestricted, PortRestricted, Symmetric] {
                let mut nat = nat(kind, keeps_ports);
                let mut seen = |to: &str| nat.outbound(t(0), from, a(to)).unwrap();
                let (first, again, other) =
                    (seen("5.5.5.5:53"), seen("5.5.5.5:53"), seen("5.5.5.5:54"));
                assert_eq!(first, again);
                assert_eq!(first == other, kind != Symmetric, "{kind:?}");
                assert_eq!(first.port() == 6881, keeps_ports);
            }
        }
    }

    #[test]
    fn two_machines_with_one_port_get_two_ports() {
        let mut nat = nat(PortRestricted, true);
        let to = a("5.5.5.5:53");
        let one = nat.outbound(t(0), a("192.168.0.2:6881"), to).unwrap();
        let two = nat.outbound(t(0), a("192.168.0.3:6881"), to).unwrap();
        assert_ne!(one, two);
        assert_eq!(nat.inbound(t(0), to, one.port()), Some(a("192.168.0.2:6881")));
        assert_eq!(nat.inbound(t(0), to, two.port()), Some(a("192.168.0.3:6881")));
    }

    #[test]
    fn what_is_sent_keeps_it_open_and_what_comes_does_not() {
        for kind in [FullCone, AddressRestricted, PortRestricted, Symmetric] {
            let (from, to, other) = (a("192.168.0.2:6881"), a("5.5.5.5:53"), a("7.7.7.7:1"));
            let mut nat = nat(kind, false);
            let seen = nat.outbound(t(0), from, to).unwrap();
            assert_eq!(nat.outbound(t(50), from, to), Some(seen));
            assert_eq!(nat.inbound(t(109), to, seen.port()), Some(from), "{kind:?}");
            assert_eq!(nat.inbound(t(110), to, seen.port()), None, "{kind:?}");
            assert_ne!(nat.outbound(t(110), from, to), Some(seen), "{kind:?}: a new one is drawn");
            // The right of one to answer is not prolonged by what is sent to another.
            let seen = nat.outbound(t(200), from, to).unwrap();
            nat.outbound(t(230), from, other).unwrap();
            nat.outbound(t(270), from, other).unwrap();
            let open = nat.inbound(t(280), to, seen.port()).is_some();
            assert_eq!(open, kind == FullCone, "{kind:?}");
        }
    }

    #[test]
    fn nothing_comes_back_in() {
        let mut nat = nat(FullCone, true);
        let seen = nat.outbound(t(0), a("192.168.0.2:6881"), a("5.5.5.5:53")).unwrap();
        assert_eq!(nat.outbound(t(0), a("192.168.0.3:7000"), seen), None);
    }
}
