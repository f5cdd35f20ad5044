use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::format;
use std::string::ToString;
use std::vec::Vec;

const STRICT: Limits = Limits::WIRE;
const LENIENT: Limits = Limits::WIRE.with_strictness(Strictness::Lenient);

fn fault(bytes: &[u8], limits: Limits) -> Option<(usize, Fault)> {
    parse(bytes, limits).err().map(|e| (e.offset, e.fault))
}

#[test]
fn what_is_wrong_in_any_mode() {
    for (input, offset, expected) in [
        (&b""[..], 0, Fault::Truncated),
        (b"ie", 1, Fault::BadNumber),
        (b"i-e", 2, Fault::BadNumber),
        (b"i--1e", 2, Fault::BadNumber),
        (b"i+1e", 1, Fault::BadNumber),
        (b"i 1e", 1, Fault::BadNumber),
        (b"i1", 2, Fault::Truncated),
        (b"i", 1, Fault::Truncated),
        (b"i9223372036854775808e", 1, Fault::NumberTooBig),
        (b"i-9223372036854775809e", 2, Fault::NumberTooBig),
        (b"i99999999999999999999999999e", 1, Fault::NumberTooBig),
        (b"5:abc", 0, Fault::StringTooLong),
        (b"5", 1, Fault::Truncated),
        (b"5abc", 1, Fault::BadNumber),
        (b"-1:a", 0, Fault::NotAValue),
        (b":", 0, Fault::NotAValue),
        (b"9223372036854775808:a", 0, Fault::NumberTooBig),
        (b"9223372036854775807:a", 0, Fault::StringTooLong),
        (b"18446744073709551616:a", 0, Fault::NumberTooBig),
        (b"e", 0, Fault::NotAValue),
        (b"l", 1, Fault::Truncated),
        (b"lx", 1, Fault::NotAValue),
        (b"d", 1, Fault::Truncated),
        (b"d1:ae", 4, Fault::KeyWithoutValue),
        (b"di1ei1ee", 1, Fault::KeyNotString),
        (b"dlee", 1, Fault::KeyNotString),
        (b"d1:ai1e", 7, Fault::Truncated),
        (b"<html>", 0, Fault::NotAValue),
    ] {
        for limits in [STRICT, LENIENT] {
            let text = input.escape_ascii().to_string();
            assert_eq!(fault(input, limits), Some((offset, expected)), "{text}");
        }
    }
}

#[test]
fn what_only_lenient_mode_lets_pass() {
    for (input, offset, expected) in [
        (&b"i-0e"[..], 2, Fault::LeadingZero),
        (b"i03e", 1, Fault::LeadingZero),
        (b"i-03e", 2, Fault::LeadingZero),
        (b"i00e", 1, Fault::LeadingZero),
        (b"03:abc", 0, Fault::LeadingZero),
        (b"d1:bi1e1:ai2ee", 9, Fault::UnsortedKeys),
        (b"d1:ai1e1:ai2ee", 9, Fault::DuplicateKey),
        (b"i1e\n", 3, Fault::TrailingBytes),
        (b"i1ei2e", 3, Fault::TrailingBytes),
    ] {
        let text = input.escape_ascii().to_string();
        assert_eq!(fault(input, STRICT), Some((offset, expected)), "{text}");
        assert_eq!(fault(input, LENIENT), None, "{text}");
    }
    let doc = parse(b"d1:bi-0e1:ai007e1:ai2ee", LENIENT).unwrap();
    let dict = doc.as_dict().unwrap();
    assert_eq!((dict.get_int(b"a"), dict.get_int(b"b")), (Some(7), Some(0)));
    let mut padded = Vec::from([b'0'; 300]);
    padded.extend_from_slice(b"3:abc");
    assert_eq!(parse(&padded, LENIENT).unwrap().root().as_bytes(), Some(&b"abc"[..]));
}

#[test]
fn numbers_reach_both_ends_of_64_bits() {
    for (input, value) in [
        (&b"i0e"[..], 0),
        (b"i9223372036854775807e", i64::MAX),
        (b"i-9223372036854775808e", i64::MIN),
    ] {
        assert_eq!(parse(input, STRICT).unwrap().root().as_int(), Some(value));
    }
    assert_eq!(parse(b"i-1e", STRICT).unwrap().root().as_u64(), None);
}

#[test]
fn depth_and_items_are_bounded() {
    let nested = |depth: usize| [vec_of(b'l', depth), vec_of(b'e', depth)].concat();
    assert_eq!(fault(&nested(16), STRICT), None);
    assert_eq!(fault(&nested(17), STRICT), Some((16, Fault::TooDeep)));
    assert_eq!(fault(&nested(10_000), LENIENT), Some((16, Fault::TooDeep)));
    assert_eq!(fault(&vec_of(b'd', 10_000), LENIENT), Some((1, Fault::KeyNotString)));
    let few = Limits { tokens: 3, ..STRICT };
    assert_eq!(fault(b"li1ei2ee", few), None);
    assert_eq!(fault(b"li1ei2ei3ee", few), Some((7, Fault::TooManyItems)));
}

fn vec_of(byte: u8, n: usize) -> Vec<u8> {
    core::iter::repeat_n(byte, n).collect()
}

#[test]
fn a_prefix_leaves_the_payload() {
    let input = b"d8:msg_typei1e5:piecei0eePAYLOAD";
    let (doc, used) = parse_prefix(input, STRICT).unwrap();
    assert_eq!(&input[used..], b"PAYLOAD");
    assert_eq!(doc.as_dict().unwrap().get_int(b"msg_type"), Some(1));
}

#[test]
fn raw_is_the_exact_span_and_outlives_the_document() {
    let input = b"d4:infod1:bi02e1:ai1ee5:otherle".as_slice();
    let bytes = [input, b"e"].concat();
    let raw = {
        let doc = parse(&bytes, LENIENT).unwrap();
        doc.as_dict().unwrap().get(b"info").unwrap().raw()
    };
    assert_eq!(raw, b"d1:bi02e1:ai1ee");
}

#[test]
fn views_of_the_wrong_kind_are_none() {
    let doc = parse(b"d1:ai1e1:b1:\xff1:cle1:ddee", STRICT).unwrap();
    let dict = doc.as_dict().unwrap();
    assert_eq!(dict.get_bytes(b"a"), None);
    assert_eq!((dict.get_str(b"b"), dict.get_bytes(b"b")), (None, Some(&b"\xff"[..])));
    assert!(dict.get_list(b"c").unwrap().is_empty() && dict.get_dict(b"d").unwrap().is_empty());
    assert!(dict.get_list(b"d").is_none() && dict.get_dict(b"c").is_none());
    assert!(dict.get(b"e").is_none());
    assert_eq!(dict.get(b"c").unwrap().offset(), 16);
    assert_eq!(format!("{doc:?}"), r"d1:ai1e1:b1:\xff1:cle1:ddee");
}

#[test]
fn errors_say_where_and_what() {
    let e = parse(b"d3:fooi1x", STRICT).unwrap_err();
    assert_eq!(e.to_string(), "invalid bencode at byte 8: malformed number");
}

#[test]
#[should_panic(expected = "duplicate dictionary key")]
fn the_encoder_refuses_a_key_given_twice() {
    let _ = Encoder::dict_bytes(|d| {
        d.int(b"b", 1);
        d.int(b"a", 1);
        d.int(b"b", 2);
    });
}

/// The naive model: an owned tree, written by the obvious recursion.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    Dict(BTreeMap<Vec<u8>, Tree>),
}

impl Tree {
    fn of(value: Value<'_, '_>) -> Self {
        match value.kind() {
            Kind::Int => Self::Int(value.as_int().unwrap()),
            Kind::Bytes => Self::Bytes(value.as_bytes().unwrap().into()),
            Kind::List => Self::List(value.as_list().unwrap().into_iter().map(Self::of).collect()),
            Kind::Dict => Self::Dict(
                value
                    .as_dict()
                    .unwrap()
                    .into_iter()
                    .map(|(k, v)| (k.into(), Self::of(v)))
                    .collect(),
            ),
        }
    }

    fn naive(&self) -> Vec<u8> {
        let string = |s: &[u8]| [format!("{}:", s.len()).as_bytes(), s].concat();
        match self {
            Self::Int(n) => format!("i{n}e").into_bytes(),
            Self::Bytes(s) => string(s),
            Self::List(items) => {
                let inner: Vec<u8> = items.iter().flat_map(Self::naive).collect();
                [b"l", &inner[..], b"e"].concat()
            }
            Self::Dict(entries) => {
                let inner: Vec<u8> =
                    entries.iter().flat_map(|(k, v)| [string(k), v.naive()].concat()).collect();
                [b"d", &inner[..], b"e"].concat()
            }
        }
    }

    /// Writes with the encoder, dictionaries backwards so that it has to sort.
    fn encode(&self, e: &mut Encoder) {
        match self {
            Self::Int(n) => e.int(*n),
            Self::Bytes(s) => e.bytes(s),
            Self::List(items) => e.list(|e| items.iter().for_each(|item| item.encode(e))),
            Self::Dict(entries) => e.dict(|d| {
                for (key, value) in entries.iter().rev() {
                    match value {
                        Self::Int(n) => d.int(key, *n),
                        Self::Bytes(s) => d.bytes(key, s),
                        Self::List(items) => {
                            d.list(key, |e| items.iter().for_each(|item| item.encode(e)));
                        }
                        Self::Dict(_) => d.raw(key, &value.naive()),
                    }
                }
            }),
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let leaf = prop_oneof![any::<i64>().prop_map(Tree::Int), bytes().prop_map(Tree::Bytes)];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Tree::List),
            prop::collection::btree_map(bytes(), inner, 0..8).prop_map(Tree::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn parser_encoder_and_model_agree(tree in trees()) {
        let bytes = tree.naive();
        let doc = parse(&bytes, STRICT).unwrap();
        prop_assert_eq!(&Tree::of(doc.root()), &tree);
        prop_assert_eq!(doc.root().raw(), &bytes[..]);
        let mut encoder = Encoder::new();
        tree.encode(&mut encoder);
        prop_assert_eq!(encoder.finish(), bytes);
    }

    #[test]
    fn what_strict_mode_accepts_is_canonical(tree in trees(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = tree.naive();
        let at = cut.index(bytes.len());
        bytes[at] = byte;
        if let Ok(doc) = parse(&bytes, STRICT) {
            prop_assert_eq!(Tree::of(doc.root()).naive(), bytes.clone());
            prop_assert!(parse(&bytes, LENIENT).is_ok());
        }
        prop_assert!(parse(&bytes[..at], STRICT).is_err(), "a value cut short is none");
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(prop::sample::select(b"ilde:0123456789-ax".to_vec()), 0..60)) {
        for limits in [STRICT, LENIENT, Limits::FILE] {
            if let Ok((doc, used)) = parse_prefix(&bytes, limits) {
                prop_assert!(used <= bytes.len());
                prop_assert_eq!(doc.root().raw(), &bytes[..used]);
                let _ = Tree::of(doc.root());
            }
        }
    }
}
