//! Suggestions (BEP 6), given and taken.

use super::*;

fn suggested(effects: &[Effect], peer: PeerKey) -> Vec<PieceIndex> {
    let piece = |message| match message {
        Message::Suggest(piece) => Some(piece),
        _ => None,
    };
    sent(effects, peer).into_iter().filter_map(piece).collect()
}

#[test]
fn a_seed_suggests_to_a_crowd_what_nobody_has() {
    let mut t = Trace::seed();
    let (p, q) = (t.fast_peer(), t.fast_peer());
    let effects = t.says(p, Message::Interested);
    let first = suggested(&effects, p)[0];
    assert_eq!(sent(&effects, p), [Message::Suggest(first), Message::Unchoke]);
    let effects = t.says(q, Message::Interested);
    let second = suggested(&effects, q)[0];
    t.says(q, Message::Have(PieceIndex((second.0 + 1) % PIECES)));
    assert_eq!(suggested(&t.says(p, Message::Request(at(first.0, 1))), p), [], "not its begin");
    // As it is begun there is another one, until all were told of: nothing twice, and nothing that somebody has.
    let mut all = vec![first, second];
    let mut now = first;
    while let [next] = suggested(&t.says(p, Message::Request(at(now.0, 0))), p)[..] {
        all.push(next);
        now = next;
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), PIECES as usize - 1);
    assert!(!all.contains(&PieceIndex((second.0 + 1) % PIECES)));
}

#[test]
fn one_peer_alone_and_one_without_the_extension_hear_no_suggestion() {
    let mut t = Trace::seed();
    let p = t.fast_peer();
    assert_eq!(sent(&t.says(p, Message::Interested), p), [Message::Unchoke]);
    let plain = t.plain_peer();
    assert_eq!(sent(&t.says(plain, Message::Interested), plain), [Message::Unchoke]);
}

#[test]
fn a_suggestion_decides_among_equals_and_a_flood_of_them_is_forgotten() {
    let mut t = Trace::leech();
    let p = t.fast_peer();
    t.says(p, Message::HaveAll);
    t.says(p, Message::Suggest(PieceIndex(PIECES)));
    (0..PIECES).for_each(|piece| _ = t.says(p, Message::Suggest(PieceIndex(piece))));
    assert_eq!(t.torrent.peers.get(p).unwrap().suggested.len(), 8);
    let asked = requests(&t.says(p, Message::Unchoke), p);
    assert_eq!(asked[0], at(PIECES - 8, 0), "the oldest that is remembered");
}
