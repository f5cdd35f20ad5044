//! The choker with any peers and rates: only changes, only those who want something, never more slots than there may be.

use crate::Script;
use samara_swarm::choker::{Candidate, Choker, ChokerConfig, Crowd, ROUND, Role};
use samara_swarm::torrent::PeerKey;
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeSet;

/// Reads `input` as rounds, each with what became of the peers meanwhile.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let config = ChokerConfig { min_slots: script.below(6), max_slots: 2 + script.below(12) };
    let mut now = Instant::from_secs(1000);
    let mut choker = Choker::new(now, config, 3);
    let most = config.max_slots.max(config.min_slots).max(2);
    let mut peers: Vec<Candidate> = Vec::new();
    let mut next_slot = 0;
    while !script.is_done() {
        for _ in 0..script.below(4) {
            let key = PeerKey { slot: next_slot, generation: 0 };
            next_slot += 1;
            if peers.len() < 40 {
                peers.push(candidate(key, now));
            }
        }
        for peer in &mut peers {
            live(peer, &mut script);
        }
        peers.retain(|peer| peer.up_rate != 13);
        let ranking = script.flag();
        let wait = if ranking { ROUND } else { Duration::from_millis(script.byte().into()) };
        now = choker.next_round().min(now + wait).max(now);
        let before: BTreeSet<PeerKey> = unchoked(&peers).map(|peer| peer.key).collect();
        let up_rate = peers.iter().map(|peer| peer.up_rate).sum();
        let crowd = Crowd::of(&peers);
        let role = [Role::Leech, Role::Seed, Role::Finished][script.below(3)];
        let decision = choker.run(now, role, up_rate, crowd, || peers.clone());
        for key in &decision.choke {
            assert!(before.contains(key), "choked already");
        }
        for key in &decision.unchoke {
            let peer = peers.iter().find(|peer| peer.key == *key).expect("a candidate");
            assert!(peer.choked && peer.interested && !peer.upload_only);
        }
        let changed: BTreeSet<PeerKey> =
            decision.choke.iter().chain(&decision.unchoke).copied().collect();
        assert_eq!(changed.len(), decision.choke.len() + decision.unchoke.len(), "one twice");
        for peer in peers.iter_mut().filter(|peer| changed.contains(&peer.key)) {
            peer.choked = !peer.choked;
            if !peer.choked {
                (peer.unchoked_at, peer.uploaded_this_unchoke) = (Some(now), 0);
            }
        }
        let takers = unchoked(&peers).filter(|peer| peer.interested && !peer.upload_only).count();
        // Who was unchoked keeps its slot until the next ranking, even if meanwhile there are fewer.
        assert!(takers <= most.max(before.len()), "{takers} slots of {most}");
        assert!(choker.next_round() > now && choker.next_round() <= now + ROUND);
    }
}

const fn candidate(key: PeerKey, now: Instant) -> Candidate {
    Candidate {
        key,
        interested: false,
        choked: true,
        snubbed: false,
        upload_only: false,
        down_rate: 0,
        up_rate: 0,
        received: 0,
        sent: 0,
        pieces: 0,
        uploaded_this_unchoke: 0,
        unchoked_at: None,
        connected_at: now,
    }
}

fn live(peer: &mut Candidate, script: &mut Script<'_>) {
    let what = script.byte();
    if what & 0x80 == 0 {
        return;
    }
    peer.interested = what & 1 == 1;
    peer.snubbed = what & 2 != 0;
    peer.upload_only = what & 12 == 12;
    peer.down_rate = u64::from(script.byte()) << (what >> 4 & 7);
    peer.up_rate = script.byte().into();
    peer.received += peer.down_rate;
    peer.sent += peer.up_rate;
    peer.pieces += u32::from(what & 16);
    peer.uploaded_this_unchoke += u64::from(what) << 18;
    // One who is not interested any more is choked by the torrent itself.
    if !peer.interested {
        peer.choked = true;
    }
}

fn unchoked(peers: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    peers.iter().filter(|peer| !peer.choked)
}
