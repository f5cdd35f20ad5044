//! Who sent corrupt data: nobody honest is ever convicted, whoever lies when and however pieces come about.

use crate::Script;
use samara_swarm::blame::Blame;
use samara_wire::id::PieceIndex;
use std::collections::BTreeSet;

/// Blocks of a piece.
const BLOCKS: usize = 6;

/// Reads `input` as attempts at pieces: whose block each is, and whether it is a lie. Peers below 8 are honest.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut blame: Blame<u8> = Blame::new();
    let (mut lied, mut convicted) = (BTreeSet::new(), BTreeSet::new());
    while !script.is_done() {
        let number = u32::from(script.byte()) % 80;
        let piece = PieceIndex(number);
        let (mut senders, mut digests) = (Vec::new(), Vec::new());
        let single = script.flag().then(|| script.byte() & 0xf);
        let mut good = true;
        for block in 0..u8::try_from(BLOCKS).unwrap_or(0) {
            let [who, how] = script.array();
            let sender = single.unwrap_or(who & 0xf);
            let mut digest = [block; 20];
            if sender >= 8 && how & 1 == 1 {
                lied.insert(sender);
                digest[0] = 0x80 | how;
                good = false;
            }
            // Of some nobody knows who sent them, but those are right: they were checked by an earlier run.
            let unknown = how & 0xc0 == 0xc0 && digest[0] & 0x80 == 0;
            senders.push((!unknown).then_some(sender));
            digests.push(digest);
        }
        let guilty: Vec<u8> = match good {
            true => blame.on_verified(piece, &digests),
            false => blame.on_failed(piece, &senders, &digests).into_iter().collect(),
        };
        convicted.extend(guilty);
        assert!(convicted.is_subset(&lied), "{convicted:?} but only {lied:?} lied");
        if good {
            assert!(
                !blame.wants_digests(piece) && !blame.is_suspect(piece),
                "remembered for nothing"
            );
        }
    }
}
