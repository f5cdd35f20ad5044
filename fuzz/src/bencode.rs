//! Bencode: views stay inside their input, and what strict mode accepts has one encoding.

use samara_wire::bencode::{self, Encoder, Kind, Limits, Strictness, Value};

/// Parses `input` in every mode and looks at every value.
pub fn run(input: &[u8]) {
    for limits in [Limits::WIRE, Limits::FILE, Limits::FILE.with_strictness(Strictness::Strict)] {
        let Ok((doc, used)) = bencode::parse_prefix(input, limits) else { continue };
        assert_eq!(doc.root().raw(), &input[..used]);
        assert!(doc.token_count() <= limits.tokens);
        let mut encoder = Encoder::new();
        if limits.strictness == Strictness::Strict {
            encode(doc.root(), &mut encoder);
            assert_eq!(encoder.finish(), &input[..used], "a second encoding was accepted");
        } else {
            walk(doc.root());
        }
    }
}

/// Recursion is bounded by the depth that the parser let pass.
fn encode(value: Value<'_, '_>, to: &mut Encoder) {
    match value.kind() {
        Kind::Int => to.int(value.as_int().expect("a number")),
        Kind::Bytes => to.bytes(value.as_bytes().expect("a string")),
        Kind::List => to.list(|to| {
            value.as_list().expect("a list").into_iter().for_each(|item| encode(item, to));
        }),
        Kind::Dict => to.dict(|to| {
            for (key, value) in value.as_dict().expect("a dictionary") {
                let mut inner = Encoder::new();
                encode(value, &mut inner);
                to.raw(key, &inner.finish());
            }
        }),
    }
}

fn walk(value: Value<'_, '_>) {
    match value.kind() {
        Kind::Int => assert!(value.as_int().is_some()),
        Kind::Bytes => assert!(value.raw().ends_with(value.as_bytes().expect("a string"))),
        Kind::List => value.as_list().expect("a list").into_iter().for_each(walk),
        Kind::Dict => {
            let dict = value.as_dict().expect("a dictionary");
            for (key, value) in dict {
                assert!(value.raw().len() < dict.raw().len());
                walk(value);
                // Quadratic, so only where it is cheap.
                if dict.raw().len() < 1000 {
                    assert!(dict.get(key).is_some());
                }
            }
        }
    }
}
