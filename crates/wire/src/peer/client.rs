//! The client and version that a peer id speaks of, for display (BEP 20).
//!
//! A peer id is whatever its sender likes, so what is said here is a hint for a person and never a reason to
//! treat a peer differently. The text is always short and plain ASCII, safe to print on a terminal.

use crate::id::PeerId;
use alloc::format;
use alloc::string::{String, ToString};

/// The name and version in `id`, such as `Transmission 3.00`, or `None` if it follows no known convention.
///
/// A client unknown to us that follows the convention of Azureus is shown by its two letters.
#[must_use]
pub fn client_name(id: &PeerId) -> Option<String> {
    azureus(&id.0).or_else(|| dashed(&id.0)).or_else(|| shadow(&id.0))
}

/// How a client writes its version into the four characters that Azureus-style ids have for it.
#[derive(Clone, Copy)]
enum Version {
    /// `major.minor.patch`, a fourth number only if it is not zero; letters count on from nine.
    Numbers,
    /// All four numbers.
    Four,
    /// `3000` is 3.00 and `2940` is 2.94; from 4.0 on three numbers (Transmission).
    Transmission,
    /// `0171` is 1.71: two digits before the point, two after it (BitComet and the like).
    TwoByTwo,
}

/// Two letters, the client's name, its way to write versions. Ascending by letters.
const AZUREUS: &[(&[u8; 2], &str, Version)] = &[
    (b"AZ", "Vuze", Version::Four),
    (b"BC", "BitComet", Version::TwoByTwo),
    (b"BI", "BiglyBT", Version::Four),
    (b"BL", "BitLord", Version::Numbers),
    (b"BT", "BitTorrent", Version::Numbers),
    (b"BW", "BitTorrent Web", Version::Numbers),
    (b"DE", "Deluge", Version::Numbers),
    (b"FD", "Free Download Manager", Version::Numbers),
    (b"FL", "Flud", Version::Numbers),
    (b"FW", "FrostWire", Version::Numbers),
    (b"HL", "Halite", Version::Numbers),
    (b"KT", "KTorrent", Version::Numbers),
    (b"LP", "Lphant", Version::TwoByTwo),
    (b"LT", "libtorrent", Version::Numbers),
    (b"LW", "LimeWire", Version::Numbers),
    (b"PI", "PicoTorrent", Version::Numbers),
    (b"SD", "Xunlei", Version::Numbers),
    (b"SM", "samara", Version::Numbers),
    (b"TR", "Transmission", Version::Transmission),
    (b"TX", "Tixati", Version::TwoByTwo),
    (b"UE", "uTorrent Embedded", Version::Numbers),
    (b"UM", "uTorrent for Mac", Version::Numbers),
    (b"UT", "uTorrent", Version::Numbers),
    (b"UW", "uTorrent Web", Version::Numbers),
    (b"WD", "WebTorrent Desktop", Version::TwoByTwo),
    (b"WW", "WebTorrent", Version::TwoByTwo),
    (b"XL", "Xunlei", Version::Numbers),
    (b"lt", "libTorrent (rTorrent)", Version::Numbers),
    (b"qB", "qBittorrent", Version::Numbers),
    (b"rQ", "rqbit", Version::Numbers),
];

/// `-XXvvvv-`, two letters and four characters of version.
fn azureus(id: &[u8; 20]) -> Option<String> {
    if id[0] != b'-' || id[7] != b'-' || !id[1..7].iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let letters = [id[1], id[2]];
    let version = [id[3], id[4], id[5], id[6]];
    let (name, style) = match AZUREUS.binary_search_by_key(&&letters, |entry| entry.0) {
        Ok(at) => (AZUREUS[at].1.to_string(), AZUREUS[at].2),
        Err(_) => (letters.map(char::from).iter().collect(), Version::Numbers),
    };
    Some(format!("{name} {}", azureus_version(version, style)))
}

fn azureus_version(v: [u8; 4], style: Version) -> String {
    let [a, b, c, d] = v.map(base62);
    let [_, y, z, _] = v.map(char::from);
    match style {
        // The fourth character of a release is 0; a letter there marks a preview.
        Version::Numbers if v[3] == b'0' || v[3].is_ascii_alphabetic() => format!("{a}.{b}.{c}"),
        Version::Numbers | Version::Four => format!("{a}.{b}.{c}.{d}"),
        Version::Transmission if a < 4 => format!("{a}.{y}{z}"),
        Version::Transmission => format!("{a}.{b}.{c}"),
        Version::TwoByTwo => format!("{}.{}", a * 10 + b, c * 10 + d),
    }
}

/// The value of a letter or digit: 0 to 9, then `A` to `Z` from 10, then `a` to `z` from 36.
fn base62(c: u8) -> u32 {
    u32::from(match c {
        b'0'..=b'9' => c - b'0',
        b'A'..=b'Z' => c - b'A' + 10,
        b'a'..=b'z' => c - b'a' + 36,
        _ => 0,
    })
}

/// `M7-10-5--` (BitTorrent's own client) and `A2-1-36-0-` (aria2): numbers in decimal between dashes.
fn dashed(id: &[u8; 20]) -> Option<String> {
    let (name, rest) = match id.as_slice() {
        [b'A', b'2', b'-', rest @ ..] => ("aria2", rest),
        [b'M', rest @ ..] => ("BitTorrent", rest),
        [b'Q', rest @ ..] => ("Queen Bee", rest),
        _ => return None,
    };
    let mut version = String::new();
    let mut numbers = 0;
    for part in rest.split(|&c| c == b'-').take(3) {
        if part.is_empty() || part.len() > 3 || !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        if numbers > 0 {
            version.push('.');
        }
        version.extend(part.iter().map(|&c| char::from(c)));
        numbers += 1;
    }
    (numbers == 3).then(|| format!("{name} {version}"))
}

/// A letter, up to five characters of version filled up with dashes, three characters that end it.
fn shadow(id: &[u8; 20]) -> Option<String> {
    let name = match id[0] {
        b'A' => "ABC",
        b'O' => "Osprey Permaseed",
        b'Q' => "BTQueue",
        b'R' => "Tribler",
        b'S' => "Shadow's client",
        b'T' => "BitTornado",
        b'U' => "UPnP NAT BitTorrent",
        _ => return None,
    };
    let given = id[1..6].split(|&c| c == b'-').next().filter(|v| !v.is_empty())?;
    let filler = &id[1 + given.len()..9];
    if !given.iter().all(u8::is_ascii_alphanumeric) || !filler.iter().all(|&c| c == b'-') {
        return None;
    }
    let numbers: alloc::vec::Vec<_> = given.iter().map(|&c| base62(c).to_string()).collect();
    Some(format!("{name} {}", numbers.join(".")))
}

/// `text` from a stranger (the client name of BEP 10, a tracker's warning) made safe to print: at most `max_chars`
/// characters, no control or direction-changing ones, no line breaks.
#[must_use]
pub fn printable(text: &str, max_chars: usize) -> String {
    let is_plain = |c: &char| !c.is_control() && !is_invisible(*c);
    let mut safe: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(is_plain)
        .take(max_chars)
        .collect();
    safe.truncate(safe.trim_end().len());
    safe
}

/// Characters that are not seen but change how others are: joiners, direction marks and overrides, tags.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(start: &[u8]) -> Option<String> {
        let mut id = [b'x'; 20];
        id[..start.len()].copy_from_slice(start);
        client_name(&PeerId(id))
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(AZUREUS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn clients_one_meets_are_named() {
        for (id, want) in [
            (&b"-LT2110-"[..], "libtorrent 2.1.1"),
            (b"-TR3000-", "Transmission 3.00"),
            (b"-TR2940-", "Transmission 2.94"),
            (b"-TR4060-", "Transmission 4.0.6"),
            (b"A2-1-36-0-", "aria2 1.36.0"),
            (b"-rQ9100-", "rqbit 9.1.0"),
            (b"-qB5120-", "qBittorrent 5.1.2"),
            (b"-DE13F0-", "Deluge 1.3.15"),
            (b"-DE211s-", "Deluge 2.1.1"),
            (b"-UT355W-", "uTorrent 3.5.5"),
            (b"-lt0D80-", "libTorrent (rTorrent) 0.13.8"),
            (b"-AZ5760-", "Vuze 5.7.6.0"),
            (b"-BC0171-", "BitComet 1.71"),
            (b"-SM0100-", "samara 0.1.0"),
            (b"-Zz1234-", "Zz 1.2.3.4"),
            (b"M7-10-5--", "BitTorrent 7.10.5"),
            (b"T03I-----", "BitTornado 0.3.18"),
            (b"S587-----", "Shadow's client 5.8.7"),
        ] {
            assert_eq!(name(id).as_deref(), Some(want));
        }
    }

    #[test]
    fn what_follows_no_convention_has_no_name() {
        assert_eq!(name(b""), None);
        assert_eq!(name(b"-\x1b[2J00-"), None);
        assert_eq!(name(b"M7-10"), None);
        assert_eq!(name(b"T\x07\x07\x07-----"), None);
        assert_eq!(name(b"A2-1-\x1b-0-"), None);
    }

    #[test]
    fn strangers_cannot_drive_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\u{202e}c\r\nd\u{9b}", 64), "a[31mbc  d");
        assert_eq!(printable("äöü 한", 3), "äöü");
        assert_eq!(printable("\n\n", 9), "");
    }

    proptest! {
        #[test]
        fn names_are_short_plain_ascii(id: [u8; 20], style in 0..4u8) {
            let mut id = id;
            match style {
                0 => { id[0] = b'-'; id[7] = b'-'; }
                1 => id[..3].copy_from_slice(b"A2-"),
                2 => { id[0] = b'T'; id[5..9].fill(b'-'); }
                _ => {}
            }
            if let Some(name) = client_name(&PeerId(id)) {
                prop_assert!(name.len() < 48 && name.bytes().all(|c| (b' '..=b'~').contains(&c)));
            }
        }
    }
}
