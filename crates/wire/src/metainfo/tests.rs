use super::merkle::{FileHashes, Hash};
use super::path::{PathError, PathRules};
use super::*;
use crate::bencode::{DictEncoder, Encoder, Fault};
use crate::id::BLOCK_LEN;
use crate::peer::hashes::HashRequest;
use alloc::collections::BTreeMap;
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::string::ToString;
use std::vec;

const PIECE: u32 = 32 << 10;

fn error(bytes: &[u8]) -> MetainfoError {
    Metainfo::parse(bytes).expect_err("should be refused")
}

/// A file around an info dictionary.
fn file(info: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    Encoder::dict_bytes(|d| d.dict(b"info", info))
}

/// A v1 torrent with the given files; a path of one element `name` alone makes it a single-file torrent.
fn v1(piece_len: i64, files: &[(&[&str], i64, &str)]) -> Vec<u8> {
    let total: i64 = files.iter().map(|f| f.1).sum();
    let count =
        usize::try_from(u64::try_from(total).unwrap().div_ceil(piece_len.unsigned_abs().max(1)));
    file(|d| {
        d.bytes(b"name", b"name");
        d.int(b"piece length", piece_len);
        d.bytes(b"pieces", &vec![7; 20 * count.unwrap()]);
        d.list(b"files", |e| files.iter().for_each(|f| v1_file(e, f)));
    })
}

fn v1_file(e: &mut Encoder, &(path, len, attr): &(&[&str], i64, &str)) {
    e.dict(|d| {
        d.int(b"length", len);
        d.list(b"path", |e| path.iter().for_each(|p| e.bytes(p.as_bytes())));
        if !attr.is_empty() {
            d.bytes(b"attr", attr.as_bytes());
        }
    });
}

fn paths(info: &Info) -> Vec<String> {
    info.files().iter().map(|f| f.path.to_string()).collect()
}

fn blocks(len: u64, seed: u8) -> Vec<Hash> {
    (0..len.div_ceil(u64::from(BLOCK_LEN)))
        .map(|i| [seed ^ u8::try_from(i % 251).unwrap(); 32])
        .collect()
}

/// A v2 torrent (hybrid if `v1` adds to the info dictionary) with files of the given names and lengths.
fn v2(files: &[(&str, u64)], v1: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    let hashes: Vec<_> = (1..)
        .zip(files)
        .map(|(seed, f)| FileHashes::from_blocks(&blocks(f.1, seed), PIECE))
        .collect();
    Encoder::dict_bytes(|d| {
        d.dict(b"info", |d| {
            d.bytes(b"name", b"name");
            d.int(b"piece length", i64::from(PIECE));
            d.int(b"meta version", 2);
            d.dict(b"file tree", |d| {
                for ((name, len), hashes) in files.iter().zip(&hashes) {
                    d.dict(name.as_bytes(), |d| {
                        d.dict(b"", |d| {
                            d.int(b"length", i64::try_from(*len).unwrap());
                            if let Some(h) = hashes {
                                d.bytes(b"pieces root", &h.root);
                            }
                        });
                    });
                }
            });
            v1(d);
        });
        d.dict(b"piece layers", |d| {
            for h in hashes.iter().flatten().filter(|h| !h.layer.is_empty()) {
                d.bytes(&h.root, h.layer.as_flattened());
            }
        });
    })
}

#[test]
fn other_formats_are_named() {
    assert_eq!(error(b""), MetainfoError::Empty);
    assert_eq!(error(b" \n"), MetainfoError::Empty);
    assert_eq!(error(b"<!DOCTYPE html>"), MetainfoError::Html);
    assert_eq!(error(b"\xef\xbb\xbf\n<html>"), MetainfoError::Html);
    assert_eq!(error(b"\x1f\x8b\x08\x00"), MetainfoError::Gzip);
    assert_eq!(error(b"magnet:?xt=urn:btih:"), MetainfoError::Magnet);
    assert_eq!(error(&vec![b'd'; MAX_FILE_LEN + 1]), MetainfoError::TooBig(MAX_FILE_LEN + 1));
    assert!(error(b"<html>").to_string().contains("web page"));
    assert!(matches!(error(b"hello"), MetainfoError::Bencode(e) if e.fault == Fault::NotAValue));
    assert_eq!(error(b"i1e"), MetainfoError::Field("info"));
    assert_eq!(error(b"de"), MetainfoError::Field("info"));
    assert_eq!(error(b"d4:info3:abce"), MetainfoError::Field("info"));
    assert!(
        matches!(error(&vec![b'l'; 10_000]), MetainfoError::Bencode(e) if e.fault == Fault::TooDeep)
    );
}

#[test]
fn a_single_file_torrent_as_bep_3_has_it() {
    let bytes = b"d8:announce20:http://t.example/ann4:infod6:lengthi40000e4:name5:a.txt\
        12:piece lengthi32768e6:pieces40:aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbee";
    let m = Metainfo::parse(bytes).unwrap();
    let raw = &bytes[40..bytes.len() - 1];
    assert_eq!(m.info.raw(), raw);
    assert_eq!(m.info.hashes().v1().unwrap().0[..], Sha1::digest(raw)[..]);
    assert_eq!(m.info.hashes().v2(), None);
    assert_eq!(
        (m.info.name(), m.info.is_single_file(), m.info.total_len()),
        ("a.txt", true, 40_000)
    );
    assert_eq!(paths(&m.info), ["a.txt"]);
    assert_eq!(m.info.piece_hash(PieceIndex(1)), Some(PieceHash::V1([b'b'; 20])));
    assert_eq!(m.info.piece_hash(PieceIndex(2)), None);
    assert_eq!(m.info.piece_hash_v2(PieceIndex(0)), None);
    assert_eq!(m.info.layout().len_of(PieceIndex(1)), 40_000 - 32_768);
    assert_eq!(m.trackers, [["http://t.example/ann"]]);
    assert!(!m.info.is_private() && m.info.source().is_none() && m.info.has_all_hashes());
    assert_eq!(Info::parse(raw).unwrap().hashes(), m.info.hashes());
    assert!(Info::parse(&bytes[40..]).is_err(), "a byte too many");
}

#[test]
fn the_hash_is_over_the_bytes_in_the_file() {
    // Keys out of order and a number with a leading zero: never to be written that way again.
    let info = b"d4:name1:a12:piece lengthi032768e6:pieces20:aaaaaaaaaaaaaaaaaaaa6:lengthi1ee";
    let bytes = [&b"d4:info"[..], info, b"8:announce1:xe\n"].concat();
    let m = Metainfo::parse(&bytes).unwrap();
    assert_eq!(m.info.hashes().v1().unwrap().0[..], Sha1::digest(info)[..]);
    assert_eq!(m.info.piece_hash(PieceIndex(0)), Some(PieceHash::V1([b'a'; 20])));
    assert!(m.trackers.is_empty(), "`x` is no URL");
}

#[test]
fn piece_lengths_and_counts_must_add_up() {
    let one = |piece_len, len| v1(piece_len, &[(&["a"], len, "")]);
    assert_eq!(error(&one(0, 0)), MetainfoError::PieceLen(0));
    assert_eq!(error(&one(-1, 0)), MetainfoError::PieceLen(-1));
    assert_eq!(error(&one((256 << 20) + 1, 1)), MetainfoError::PieceLen((256 << 20) + 1));
    assert_eq!(error(&one(1 << 32, 1)), MetainfoError::PieceLen(1 << 32));
    assert!(Metainfo::parse(&one(256 << 20, 1)).is_ok());
    assert!(Metainfo::parse(&one(1, 5)).is_ok());
    let with = |len: i64, pieces: usize| {
        file(|d| {
            d.bytes(b"name", b"n");
            d.int(b"length", len);
            d.int(b"piece length", 16384);
            d.bytes(b"pieces", &vec![0; pieces]);
        })
    };
    assert_eq!(error(&with(1, 19)), MetainfoError::PiecesLen(19));
    assert_eq!(error(&with(1, 40)), MetainfoError::PieceCount { expected: 1, got: 2 });
    assert_eq!(error(&with(16385, 20)), MetainfoError::PieceCount { expected: 2, got: 1 });
    assert!(Metainfo::parse(&with(16384, 20)).is_ok(), "an exact multiple");
    assert!(Metainfo::parse(&with(0, 0)).is_ok(), "an empty file");
    assert_eq!(error(&with(-1, 0)), MetainfoError::Length);
    assert_eq!(error(&with(i64::MAX, 20)), MetainfoError::Length);
    assert_eq!(
        error(&with(((1 << 21) + 1) << 14, 20)),
        MetainfoError::TooManyPieces((1 << 21) + 1)
    );
    assert_eq!(error(&v1(16384, &[])), MetainfoError::NoFiles);
    let twice = file(|d| {
        d.bytes(b"name", b"n");
        d.int(b"piece length", 16384);
        d.bytes(b"pieces", b"");
        let big = [&["a"][..], &["b"], &["c"]].map(|path| (path, i64::MAX, ""));
        d.list(b"files", |e| big.iter().for_each(|f| v1_file(e, f)));
    });
    assert_eq!(error(&twice), MetainfoError::Length);
}

#[test]
fn missing_fields_are_named() {
    let without = |skip: &str| {
        file(|d| {
            let mut put = |key: &str, write: &dyn Fn(&mut DictEncoder<'_>, &[u8])| {
                if key != skip {
                    write(d, key.as_bytes());
                }
            };
            put("length", &|d, k| d.int(k, 1));
            put("name", &|d, k| d.bytes(k, b"n"));
            put("piece length", &|d, k| d.int(k, 1));
            put("pieces", &|d, k| d.bytes(k, &[0; 20]));
        })
    };
    for field in ["length", "name", "piece length", "pieces"] {
        assert_eq!(error(&without(field)), MetainfoError::Field(field));
    }
    assert!(Metainfo::parse(&without("")).is_ok());
}

#[test]
fn files_pieces_and_offsets() {
    // Empty files at the start, on a piece boundary, inside a piece and at the end; a one-byte file; padding.
    let m = Metainfo::parse(&v1(
        10,
        &[
            (&["e0"], 0, ""),
            (&["a"], 10, "x"),
            (&["e1"], 0, "h"),
            (&["d", "b"], 1, ""),
            (&["e2"], 0, ""),
            (&[".pad", "9"], 9, "p"),
            (&["c"], 25, "?"),
            (&["e3"], 0, ""),
        ],
    ))
    .unwrap();
    let info = &m.info;
    assert_eq!(info.total_len(), 36);
    assert_eq!(info.layout().total_len(), 45);
    let offsets: Vec<u64> = info.files().iter().map(|f| f.offset).collect();
    assert_eq!(offsets, [0, 0, 10, 10, 11, 11, 20, 45]);
    assert_eq!(paths(info)[..4], ["name/e0", "name/a", "name/e1", "name/d/b"]);
    assert!(info.files()[1].attributes.executable && info.files()[2].attributes.hidden);
    assert!(info.files()[5].attributes.padding && !info.is_single_file());
    let of_piece: Vec<_> = (0..6).map(|p| info.files_of_piece(PieceIndex(p))).collect();
    assert_eq!(of_piece, [0..2, 2..6, 6..7, 6..7, 6..7, 0..0]);
    let of_file: Vec<_> = (0..9).map(|f| info.pieces_of_file(FileIndex(f))).collect();
    assert_eq!(of_file, [0..0, 0..1, 0..0, 1..2, 0..0, 1..2, 2..5, 0..0, 0..0]);
}

#[test]
fn paths_are_made_safe_or_refused() {
    let one = |path: &[&str]| Metainfo::parse(&v1(16384, &[(path, 1, "")]));
    assert!(matches!(one(&["..", "x"]), Err(MetainfoError::Path(PathError::Parent(_)))));
    assert!(matches!(one(&["/etc/passwd"]), Err(MetainfoError::Path(PathError::Absolute(_)))));
    assert!(matches!(one(&[]), Err(MetainfoError::Path(PathError::Empty))));
    assert!(matches!(one(&["", "."]), Err(MetainfoError::Path(PathError::Empty))));
    assert!(matches!(one(&["d"; 65]), Err(MetainfoError::Path(PathError::TooDeep))));
    assert_eq!(paths(&one(&["a/b\0", "c"]).unwrap().info), ["name/a_b_/c"]);
    let two = |a: &[&str], b: &[&str]| Metainfo::parse(&v1(16384, &[(a, 1, ""), (b, 1, "")]));
    assert_eq!(paths(&two(&["a"], &["a"]).unwrap().info), ["name/a", "name/a (2)"]);
    assert!(matches!(
        two(&["a"], &["a", "b"]),
        Err(MetainfoError::Path(PathError::FileIsDirectory(_)))
    ));
    let same = v1(16384, &[(&["p"], 1, "p"), (&["a"], 1, ""), (&["p"], 1, "p")]);
    assert_eq!(paths(&Metainfo::parse(&same).unwrap().info)[2], "name/.pad/1");
    let windows = PathRules { windows_names: true, fold_case: true };
    let bytes = v1(16384, &[(&["nul.x"], 1, ""), (&["_NUL.X"], 1, "")]);
    let info = Metainfo::parse_with(&bytes, windows).unwrap().info;
    assert_eq!(paths(&info), ["name/_nul.x", "name/_NUL (2).X"]);
}

#[test]
fn names_prefer_utf_8_and_never_lead_out() {
    let named = |fill: &dyn Fn(&mut DictEncoder<'_>)| {
        Metainfo::parse(&file(|d| {
            fill(d);
            d.int(b"length", 0);
            d.int(b"piece length", 1);
            d.bytes(b"pieces", b"");
        }))
    };
    let m = named(&|d| {
        d.bytes(b"name", b"\xb5");
        d.bytes(b"name.utf-8", "µ".as_bytes());
    });
    assert_eq!(m.unwrap().info.name(), "µ");
    assert_eq!(named(&|d| d.bytes(b"name", b"AC/DC")).unwrap().info.name(), "AC_DC");
    assert!(named(&|d| d.bytes(b"name", b"../x")).is_err());
    assert!(named(&|d| d.bytes(b"name", b"/x")).is_err());
    let nameless = named(&|d| d.bytes(b"name", b"")).unwrap().info;
    assert_eq!(nameless.name(), nameless.hashes().wire().to_string());
}

#[test]
fn symlinks_stay_inside() {
    let link = |target: &[&str], len: i64| {
        Metainfo::parse(&file(|d| {
            d.bytes(b"name", b"name");
            d.int(b"piece length", 1);
            d.bytes(b"pieces", &[0; 20]);
            d.list(b"files", |e| {
                v1_file(e, &(&["a"], 1, ""));
                e.dict(|d| {
                    d.bytes(b"attr", b"l");
                    d.int(b"length", len);
                    d.list(b"path", |e| e.bytes(b"link"));
                    if !target.is_empty() {
                        d.list(b"symlink path", |e| {
                            target.iter().for_each(|t| e.bytes(t.as_bytes()));
                        });
                    }
                });
            });
        }))
    };
    let info = link(&["a"], 0).unwrap().info;
    assert_eq!(info.files()[1].symlink.as_ref().unwrap().as_str(), "name/a");
    assert!(matches!(link(&["..", "x"], 0), Err(MetainfoError::Path(PathError::Parent(_)))));
    assert!(matches!(link(&["/etc"], 0), Err(MetainfoError::Path(PathError::Absolute(_)))));
    assert_eq!(link(&[], 0).unwrap_err(), MetainfoError::Symlink("name/link".to_string()));
    assert_eq!(link(&["a"], 1).unwrap_err(), MetainfoError::Symlink("name/link".to_string()));
}

#[test]
fn a_v2_torrent() {
    let big = 3 * u64::from(PIECE) + 1;
    let bytes = v2(&[("a", 5), ("b", 0), ("c", big), ("d", u64::from(PIECE))], |_| {});
    let m = Metainfo::parse(&bytes).unwrap();
    let info = &m.info;
    assert_eq!(info.hashes().v2().unwrap().0[..], Sha256::digest(info.raw())[..]);
    assert_eq!(info.hashes().v1(), None);
    assert_eq!(paths(info), ["name/a", "name/b", "name/c", "name/d"]);
    let piece = u64::from(PIECE);
    let offsets: Vec<u64> = info.files().iter().map(|f| f.offset).collect();
    assert_eq!(offsets, [0, piece, piece, 5 * piece]);
    assert_eq!(info.layout().count(), 6);
    let lens: Vec<u32> = info.layout().pieces().map(|p| info.layout().len_of(p)).collect();
    assert_eq!(lens, [5, PIECE, PIECE, PIECE, 1, PIECE]);
    assert_eq!((info.total_len(), info.layout().total_len()), (5 + big + piece, 5 + big + piece));
    let hashes = FileHashes::from_blocks(&blocks(big, 3), PIECE).unwrap();
    let v2 = |root, leaves| Some(PieceHash::V2 { root, leaves });
    assert_eq!(info.piece_hash(PieceIndex(0)), v2(blocks(5, 1)[0], 1));
    assert_eq!(info.piece_hash(PieceIndex(1)), v2(hashes.layer[0], 2));
    assert_eq!(info.piece_hash(PieceIndex(4)), v2(hashes.layer[3], 2));
    assert_eq!(info.piece_hash(PieceIndex(5)), v2(info.files()[3].pieces_root.unwrap(), 2));
    assert_eq!(info.piece_hash(PieceIndex(6)), None);
    assert_eq!(info.piece_layer(FileIndex(2)), Some(&hashes.layer[..]));
    assert_eq!(info.piece_layer(FileIndex(3)), None);
    let of_piece: Vec<_> = (0..6).map(|p| info.files_of_piece(PieceIndex(p))).collect();
    assert_eq!(of_piece, [0..1, 1..3, 2..3, 2..3, 2..3, 3..4]);
    assert_eq!(m.to_bytes(), bytes);

    let alone = Info::parse(info.raw()).unwrap();
    assert!(!alone.has_all_hashes() && info.has_all_hashes());
    assert_eq!(alone.piece_hash(PieceIndex(0)), info.piece_hash(PieceIndex(0)));
    assert_eq!((alone.piece_hash(PieceIndex(1)), alone.piece_layer(FileIndex(2))), (None, None));
}

#[test]
fn piece_layers_are_put_back_where_they_belong_and_given_in_parts() {
    let piece = u64::from(PIECE);
    // The long one has enough pieces for its upper layers to be kept.
    let bytes = v2(&[("a", 3 * piece), ("b", 5), ("c", 700 * piece)], |_| {});
    let info = Metainfo::parse(&bytes).unwrap().info;
    let alone = Info::parse(info.raw()).unwrap();
    assert!(info.has_piece_layers() && !alone.has_piece_layers());
    let files: Vec<_> = alone.layered_files().into_values().collect();
    assert_eq!(files.len(), 2);
    let layer = |(root, (file, pieces)): (Hash, (FileIndex, u32))| {
        let layer = info.piece_layer(file).unwrap().to_vec();
        assert_eq!(layer.len(), pieces as usize);
        (root, layer)
    };
    let mut layers: BTreeMap<_, _> = alone.layered_files().into_iter().map(layer).collect();
    let whole = alone.with_piece_layers(&layers).unwrap();
    assert!(whole.has_all_hashes() && whole.has_piece_layers());
    assert_eq!(whole.piece_layer(FileIndex(2)), info.piece_layer(FileIndex(2)));
    for (root, (file, pieces)) in alone.layered_files() {
        for first in (0..pieces).step_by(512) {
            let request = merkle::piece_layer_request(root, PIECE, pieces, first);
            let hashes = whole.answer_hashes(file, &request).unwrap();
            assert!(merkle::proven(&request, &hashes).is_some(), "{pieces} pieces, {first}");
            assert_eq!(alone.answer_hashes(file, &request), None, "not known");
            assert_eq!(whole.answer_hashes(FileIndex(1), &request), None, "of another file");
            let below = HashRequest { base: 0, ..request };
            assert_eq!(whole.answer_hashes(file, &below), None, "below the piece layer");
        }
    }
    let first = layers.first_entry().unwrap();
    let layer = first.into_mut();
    layer[0][0] ^= 1;
    assert!(matches!(alone.with_piece_layers(&layers), Err(MetainfoError::PieceLayer(_))));
    layers.pop_first();
    assert!(matches!(alone.with_piece_layers(&layers), Err(MetainfoError::PieceLayer(_))));
    assert!(Metainfo::parse(&v1(4, &[(&["x"], 4, "")])).unwrap().info.has_piece_layers());
}

#[test]
fn v2_faults_are_refused() {
    let good = v2(&[("c", 2 * u64::from(PIECE))], |_| {});
    let info = Metainfo::parse(&good).unwrap().info;
    assert!(info.is_single_file());
    assert_eq!((info.name(), paths(&info)), ("c", vec!["c".to_string()]), "as libtorrent has it");
    let mut bad = good.clone();
    let last = bad.len() - 3;
    bad[last] ^= 1;
    assert_eq!(error(&bad), MetainfoError::PieceLayer("c".to_string()));
    let no_layers = [&b"d4:info"[..], info.raw(), b"e"].concat();
    assert_eq!(error(&no_layers), MetainfoError::PieceLayer("c".to_string()));

    let tree = |piece_len: i64, version: i64, tree: &[u8]| {
        error(&file(|d| {
            d.bytes(b"name", b"name");
            d.int(b"piece length", piece_len);
            d.int(b"meta version", version);
            d.raw(b"file tree", tree);
        }))
    };
    let fine = b"d1:ad0:d6:lengthi0eeee";
    assert_eq!(tree(16384, 3, fine), MetainfoError::Version(3));
    assert_eq!(tree(8192, 2, fine), MetainfoError::PieceLenV2(8192));
    assert_eq!(tree(16384 * 3, 2, fine), MetainfoError::PieceLenV2(16384 * 3));
    assert_eq!(tree(16384, 2, b"le"), MetainfoError::Field("file tree"));
    assert_eq!(tree(16384, 2, b"de"), MetainfoError::NoFiles);
    assert_eq!(tree(16384, 2, b"d0:d6:lengthi0eee"), MetainfoError::FileTree(String::new()));
    let at_a = MetainfoError::FileTree("a".to_string());
    assert_eq!(tree(16384, 2, b"d1:ai1ee"), at_a);
    assert_eq!(tree(16384, 2, b"d1:ad0:i1eee"), at_a);
    assert_eq!(tree(16384, 2, b"d1:ad0:d6:lengthi0ee1:bd0:d6:lengthi0eeeee"), at_a);
    assert_eq!(tree(16384, 2, b"d1:ad0:deee"), MetainfoError::Field("length"));
    assert_eq!(tree(16384, 2, b"d1:ad0:d6:lengthi-1eeee"), MetainfoError::Length);
    assert_eq!(
        tree(16384, 2, b"d1:ad0:d6:lengthi1eeee"),
        MetainfoError::PiecesRoot("a".to_string())
    );
    assert!(matches!(
        tree(16384, 2, b"d2:..d1:ad0:d6:lengthi0eeeee"),
        MetainfoError::Path(PathError::Parent(_))
    ));
}

#[test]
fn paths_of_a_file_tree_cannot_take_gigabytes() {
    let long = "x".repeat(240);
    let bytes = file(|d| {
        d.bytes(b"name", b"name");
        d.int(b"piece length", 16384);
        d.int(b"meta version", 2);
        let mut tree = Encoder::new();
        tree.dict(|d| {
            for i in 0u32..20_000 {
                d.raw(&i.to_be_bytes(), b"d0:d6:lengthi0eee");
            }
        });
        let nested = (0..60).fold(tree.finish(), |inner, _| {
            Encoder::dict_bytes(|d| d.raw(long.as_bytes(), &inner))
        });
        d.raw(b"file tree", &nested);
    });
    assert!(bytes.len() < 1 << 20);
    assert_eq!(error(&bytes), MetainfoError::PathsTooLong);
}

/// The v1 half of a hybrid with the files `a` (5 bytes) and `c` (one piece and a byte).
fn hybrid(files: &[(&[&str], i64, &str)]) -> Result<Metainfo, MetainfoError> {
    let total: i64 = files.iter().map(|f| f.1).sum();
    let pieces = usize::try_from(total).unwrap().div_ceil(PIECE as usize);
    Metainfo::parse(&v2(&[("a", 5), ("c", u64::from(PIECE) + 1)], |d| {
        d.bytes(b"pieces", &vec![1; 20 * pieces]);
        d.list(b"files", |e| files.iter().for_each(|f| v1_file(e, f)));
    }))
}

#[test]
fn a_hybrid_torrent_has_two_hashes_and_one_list() {
    let piece = i64::from(PIECE);
    let pad = (&[".pad", "x"][..], piece - 5, "p");
    let (a, c) = ((&["a"][..], 5, ""), (&["c"][..], piece + 1, "x"));
    let m = hybrid(&[a, pad, c]).unwrap();
    let info = &m.info;
    assert_eq!(info.hashes().v1().unwrap().0[..], Sha1::digest(info.raw())[..]);
    assert_eq!(info.hashes().v2().unwrap().0[..], Sha256::digest(info.raw())[..]);
    assert_eq!(paths(info), ["name/a", "name/.pad/32763", "name/c"]);
    assert_eq!(info.piece_hash(PieceIndex(2)), Some(PieceHash::V1([1; 20])));
    let layer = FileHashes::from_blocks(&blocks(u64::from(PIECE) + 1, 2), PIECE).unwrap().layer;
    assert_eq!(
        info.piece_hash_v2(PieceIndex(2)),
        Some(PieceHash::V2 { root: layer[1], leaves: 2 })
    );
    assert_eq!(
        info.piece_hash_v2(PieceIndex(0)),
        Some(PieceHash::V2 { root: blocks(5, 1)[0], leaves: 1 })
    );
    assert_eq!(info.total_len(), 5 + u64::from(PIECE) + 1);
    let tail = (&[".pad", "y"][..], piece - 1, "p");
    assert!(hybrid(&[a, pad, c, tail]).is_ok(), "padding at the end is allowed");

    let differs =
        |files: &[_]| assert!(matches!(hybrid(files), Err(MetainfoError::HybridMismatch(_))));
    differs(&[a, c]);
    differs(&[c, a]);
    differs(&[a]);
    differs(&[a, pad, c, (&["z"], 0, "")]);
    differs(&[a, pad, (&["b"], piece + 1, "")]);
    differs(&[(&["a"], 4, ""), (&[".pad"], piece - 4, "p"), c]);
    differs(&[a, pad, (&[".pad"], piece, "p"), c]);
    differs(&[a, pad, c, tail, tail]);
}

#[test]
fn the_outer_dictionary() {
    let bytes = Encoder::dict_bytes(|d| {
        d.bytes(b"announce", b"http://ignored.example/");
        d.list(b"announce-list", |e| {
            e.list(|e| {
                e.bytes(b" udp://a.example:1 ");
                e.bytes(b"http://b.example/?passkey=1");
            });
            e.list(|e| e.bytes(b"udp://a.example:1"));
            e.int(1);
            e.list(|e| e.bytes(b"https://c.example/announce"));
            e.list(|e| {
                ["", "no url", "://x", "http://sp ace/"].iter().for_each(|u| e.bytes(u.as_bytes()));
            });
        });
        d.bytes(b"url-list", b"http://seed.example/");
        d.list(b"httpseeds", |e| e.bytes(b"http://http.example/"));
        d.list(b"nodes", |e| {
            for (host, port) in
                [("dht.example", 6881), ("::1", 70_000), ("", 1), ("x", 0), ("::1", 65_535)]
            {
                e.list(|e| {
                    e.bytes(host.as_bytes());
                    e.int(port);
                });
            }
        });
        d.int(b"creation date", 1_234);
        d.bytes(b"created by", b"samara\x1b[31m/1");
        d.bytes(b"comment", b"two\nlines \xff");
        d.dict(b"info", |d| {
            d.bytes(b"name", b"n");
            d.int(b"length", 0);
            d.int(b"piece length", 1);
            d.bytes(b"pieces", b"");
            d.int(b"private", 1);
            d.bytes(b"source", b"S");
        });
    });
    let m = Metainfo::parse(&bytes).unwrap();
    let tiers: [&[&str]; 2] =
        [&["udp://a.example:1", "http://b.example/?passkey=1"], &["https://c.example/announce"]];
    assert_eq!(m.trackers, tiers);
    assert_eq!(m.web_seeds, ["http://seed.example/"]);
    assert_eq!(m.http_seeds, ["http://http.example/"]);
    assert_eq!(m.nodes, [("dht.example".to_string(), 6881), ("::1".to_string(), 65_535)]);
    assert_eq!(m.creation_date, Some(1_234));
    assert_eq!(m.created_by.as_deref(), Some("samara[31m/1"));
    assert_eq!(m.comment.as_deref(), Some("two\nlines \u{fffd}"));
    assert!(m.info.is_private());
    assert_eq!(m.info.source(), Some("S"));
    let again = Metainfo::parse(&m.to_bytes()).unwrap();
    assert_eq!(std::format!("{m:?}"), std::format!("{again:?}"));
    assert_eq!(again.to_bytes(), m.to_bytes());
}

proptest! {
    /// Binary searches against a look at every byte of every file.
    #[test]
    fn files_and_pieces_agree_with_the_naive_model(lens in prop::collection::vec(0i64..30, 1..12), piece_len in 1i64..20) {
        let names: Vec<String> = (0..lens.len()).map(|i| i.to_string()).collect();
        let elements: Vec<[&str; 1]> = names.iter().map(|n| [n.as_str()]).collect();
        let files: Vec<(&[&str], i64, &str)> = elements.iter().zip(&lens).map(|(p, &len)| (&p[..], len, "")).collect();
        let info = Metainfo::parse(&v1(piece_len, &files)).unwrap().info;
        let piece_of = |at: u64| u32::try_from(at / piece_len.unsigned_abs()).unwrap();
        for piece in info.layout().pieces() {
            let range = info.files_of_piece(piece);
            for (i, f) in info.files().iter().enumerate() {
                let holds_byte = (f.offset..f.end()).any(|at| piece_of(at) == piece.0);
                let empty_inside = f.len == 0 && f.offset < info.layout().total_len() && piece_of(f.offset) == piece.0;
                prop_assert_eq!(range.contains(&i), holds_byte || empty_inside);
            }
        }
        for (i, f) in (0u32..).zip(info.files()) {
            let mut naive: Vec<u32> = (f.offset..f.end()).map(piece_of).collect();
            naive.dedup();
            prop_assert_eq!(info.pieces_of_file(FileIndex(i)).collect::<Vec<_>>(), naive);
        }
    }

    #[test]
    fn a_damaged_torrent_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let piece = i64::from(PIECE);
        let mut bytes = v2(&[("a", 5), ("c", u64::from(PIECE) + 1)], |d| {
            d.bytes(b"pieces", &[1; 60]);
            let files = [(&["a"][..], 5, ""), (&[".pad"], piece - 5, "p"), (&["c"], piece + 1, "")];
            d.list(b"files", |e| files.iter().for_each(|f| v1_file(e, f)));
        });
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(m) = Metainfo::parse(&bytes) {
            for piece in m.info.layout().pieces() {
                prop_assert!(m.info.piece_hash(piece).is_some());
                prop_assert!(!m.info.files_of_piece(piece).is_empty());
            }
        }
    }
}
