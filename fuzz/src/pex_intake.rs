//! What is taken of a peer's exchange messages (BEP 11), however many it sends and whatever it names.

use crate::Script;
use crate::messages;
use samara_swarm::peer_list::is_local;
use samara_swarm::pex::PexIntake;
use samara_wire::peer::ut_pex::{MAX_PER_FAMILY, PexMessage};
use samara_wire::time::{Duration, Instant};

/// Reads `input` as a peer's address, its messages and time.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let from = messages::address(&mut script);
    let mut intake = PexIntake::default();
    let mut now = Instant::from_secs(1000);
    let (mut heeded, mut early): (Option<Instant>, u32) = (None, 0);
    while !script.is_done() {
        now += Duration::from_millis(u64::from(script.byte()) * 250);
        let payload = match script.flag() {
            true => messages::pex(&mut script),
            false => script.bytes(300).to_vec(),
        };
        let soon = heeded.is_some_and(|at| now.since(at) < Duration::from_secs(50));
        let Ok(named) = intake.take(now, from, &payload) else {
            assert!(soon && early >= 6, "dropped without a flood");
            return;
        };
        if soon {
            early += 1;
            assert!(named.is_empty() && early <= 6, "a flood goes on");
            continue;
        }
        (heeded, early) = (Some(now), 0);
        for v4 in [true, false] {
            let of_family = named.iter().filter(|(addr, _)| addr.is_ipv4() == v4);
            assert!(of_family.count() <= MAX_PER_FAMILY);
        }
        let said = PexMessage::parse(&payload).map(|message| message.added).unwrap_or_default();
        for (addr, flags) in named {
            assert!(said.contains(&(addr, flags)), "{addr} was not named");
            assert!(is_local(from.ip()) || !is_local(addr.ip()), "{from} names {addr}");
        }
    }
}
