//! Parts of hash trees and their proofs (BEP 52), beside trees that are written out: an answer is what stands there, and nothing but the
//! answer is proven.

use crate::Script;
use samara_wire::bencode::Encoder;
use samara_wire::metainfo::Info;
use samara_wire::metainfo::merkle::{Hash, piece_layer_request, proven, root_of_layer};
use samara_wire::peer::hashes::HashRequest;
use sha2::{Digest, Sha256};

const PIECE_LEN: u32 = 32 << 10;

/// Reads `input` as a number of pieces and requests for parts of their tree.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let pieces = u32::from(script.byte() % 90) + 2;
    let layer: Vec<Hash> =
        (0..pieces).map(|piece| [u8::try_from(piece).unwrap_or(0); 32]).collect();
    let rows = rows(&layer);
    let root = root_of_layer(&layer, PIECE_LEN);
    assert_eq!(rows.last().and_then(|row| row.first()), Some(&root));
    let info = info(root, pieces, &layer);
    let file = info.layered_files()[&root].0;
    for _ in 0..16 {
        if script.is_done() {
            break;
        }
        let request = match script.flag() {
            true => piece_layer_request(root, PIECE_LEN, pieces, 0),
            false => {
                let [base, index, len, proof] = script.array::<4>().map(u32::from);
                let wild = script.byte() == 255;
                let index = if wild { script.word() } else { index & 0x7f };
                HashRequest {
                    root,
                    base: base & 7,
                    index,
                    len: len & 0x7f,
                    proof_layers: proof & 7,
                }
            }
        };
        let answer = info.answer_hashes(file, &request);
        assert_eq!(answer, naive(&rows, &request), "{request:?}");
        if let Some(hashes) = answer {
            check(&request, hashes, &mut script);
        }
    }
}

/// Every layer from the piece layer to the root, to its full width.
fn rows(layer: &[Hash]) -> Vec<Vec<Hash>> {
    let mut row = layer.to_vec();
    row.resize(layer.len().next_power_of_two(), parent(&[0; 32], &[0; 32]));
    let mut rows = vec![row];
    while let Some(row) = rows.last().filter(|row| row.len() > 1) {
        let above = row.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        rows.push(above);
    }
    rows
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

/// What is to be answered. A piece has two blocks, so the piece layer is layer 1.
fn naive(rows: &[Vec<Hash>], request: &HashRequest) -> Option<Vec<Hash>> {
    let HashRequest { base, index, len, proof_layers, .. } = *request;
    let level = base.checked_sub(1)? as usize;
    let row = rows.get(level)?;
    let span = len.next_power_of_two().max(2);
    let run = row.get(index as usize..(index.checked_add(len)?) as usize)?;
    let above = rows.len() - 1 - level;
    if len == 0 || !index.is_multiple_of(span) || proof_layers as usize >= above.max(1) {
        return None;
    }
    let mut hashes = run.to_vec();
    for up in 1..=proof_layers {
        // Below the run's own height its uncles follow from it.
        if 1 << up >= span {
            hashes.push(rows[level + up as usize][((index >> up) ^ 1) as usize]);
        }
    }
    Some(hashes)
}

/// A whole proof proves its run, and no other.
fn check(request: &HashRequest, mut hashes: Vec<Hash>, script: &mut Script<'_>) {
    let Some(run) = proven(request, &hashes).map(<[Hash]>::to_vec) else { return };
    assert_eq!(run, hashes[..request.len as usize]);
    let at = script.below(hashes.len());
    hashes[at][usize::from(script.byte()) % 32] ^= script.byte() | 1;
    assert_eq!(proven(request, &hashes), None, "a lie is proven");
    assert_eq!(proven(request, &hashes[1..]), None);
    let elsewhere = HashRequest { index: request.index ^ request.len, ..*request };
    assert_eq!(proven(&elsewhere, &hashes), None);
}

fn info(root: Hash, pieces: u32, layer: &[Hash]) -> Info {
    let raw = Encoder::dict_bytes(|dict| {
        dict.dict(b"file tree", |tree| {
            tree.dict(b"f", |file| {
                file.dict(b"", |leaf| {
                    leaf.int(b"length", i64::from(pieces * PIECE_LEN));
                    leaf.bytes(b"pieces root", &root);
                });
            });
        });
        dict.int(b"meta version", 2);
        dict.bytes(b"name", b"f");
        dict.int(b"piece length", PIECE_LEN.into());
    });
    let bare = Info::parse(&raw).expect("a torrent");
    bare.with_piece_layers(&[(root, layer.to_vec())].into()).expect("its own layers")
}
