//! Fuzz targets: what gateways, and who takes their place, make a session do.

use super::place::Place;
use super::plan::{Plan, Step};
use crate::fuzzing::Script;
use crate::network::Subnet;
use samara_wire::portmap::{GATEWAY_PORT, ssdp};
use samara_wire::time::{Duration, Instant};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The longest that nothing is done: half of the longest lifetime that is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3600);

/// Reads `input` as lifetimes that a gateway names, failures and time: the plan never spins, never sleeps for ever, and renews only
/// what it holds.
pub fn gateway_lifetimes(input: &[u8]) {
    let mut script = Script::new(input);
    let mut now = Instant::from_secs(1000);
    let mut plan = Plan::new(now);
    let mut held_until = None;
    while !script.is_done() {
        match plan.step(now) {
            Step::Wait(until) => {
                assert!(until > now && until.since(now) <= LONGEST_WAIT, "{:?}", until.since(now));
                // At the time, or at another: sooner, or far too late.
                now = match script.byte() {
                    byte @ 0..128 => now + until.since(now) * byte.into() / 127,
                    byte => until + Duration::from_secs(u64::from(byte) * 60),
                };
                continue;
            }
            Step::Renew => assert!(held_until.is_some_and(|until| now < until)),
            Step::Map => assert!(held_until.is_none_or(|until| now >= until)),
        }
        match script.below(3) {
            0 => {
                let lifetime = Duration::from_secs(script.word().into());
                plan.on_mapped(now, lifetime);
                held_until = Some(now + lifetime.clamp(Duration::from_secs(60), LONGEST_WAIT * 2));
            }
            1 => {
                if plan.on_failed(now) {
                    assert!(held_until.take().is_some_and(|until| now >= until));
                }
            }
            _ => {
                plan.on_moved(now);
                held_until = None;
                assert_eq!(plan.step(now), Step::Map);
                plan.on_failed(now);
            }
        }
    }
}

/// Reads `input` as an address of the sender and its answer to a search: what is followed leads to a neighbour's own door or to the
/// gateway, never to this machine, to the link, or to the world.
pub fn gateway_trust(input: &[u8]) {
    let mut script = Script::new(input);
    let ours = IpAddr::from([192, 168, 7, 2]);
    let gateway = IpAddr::from([192, 168, 7, 1]);
    let place = Place {
        source: ours.into(),
        gateway: SocketAddr::new(gateway, GATEWAY_PORT),
        subnet: Subnet::new(ours, 24),
    };
    let from = match script.byte() {
        0 => gateway,
        byte @ 1..128 => IpAddr::from([192, 168, 7, byte]),
        128..192 => IpAddr::V4(Ipv4Addr::from(script.word())),
        _ => IpAddr::from(script.array::<16>()),
    };
    let Ok(url) = ssdp::parse_answer(script.rest()) else { return };
    if place.trusts(from, &url) {
        let IpAddr::V4(to) = url.ip() else { panic!("{url} is no address of that network") };
        assert_eq!(to.octets()[..3], [192, 168, 7], "{url}");
        assert!(url.ip() != ours && (url.ip() == from || url.ip() == gateway));
    }
}
