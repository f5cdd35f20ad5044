//! One line of a list.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of this level and above are let through (eMule).
const FIRST_LEVEL_LET_THROUGH: u16 = 128;

/// What a line says. No range ends before it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Comment,
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
    LetThrough,
    Nonsense,
}

/// Reads a line in whichever form it is. Descriptions are in any encoding, and may have anything in them.
pub(super) fn parse(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    if line.is_empty()
        || line.starts_with(b"#")
        || line.starts_with(b";")
        || line.starts_with(b"//")
    {
        return Line::Comment;
    }
    // The most frequent forms first.
    dat(line)
        .or_else(|| addresses(line))
        .or_else(|| p2p(line))
        .or_else(|| addresses(line[..line.iter().position(|byte| *byte == b'#')?].trim_ascii()))
        .unwrap_or(Line::Nonsense)
}

/// `first - last , level , description`
fn dat(line: &[u8]) -> Option<Line> {
    let (range, rest) = split_at_byte(line, b',')?;
    let range = addresses(range.trim_ascii())?;
    let level = rest.split(|byte| *byte == b',').next()?.trim_ascii();
    let level: u16 = core::str::from_utf8(level).ok()?.parse().ok()?;
    Some(if level < FIRST_LEVEL_LET_THROUGH { range } else { Line::LetThrough })
}

/// `description:first-last`. The description may have colons and an IPv6 address has them: the longest end of the line that
/// is a range is taken.
fn p2p(line: &[u8]) -> Option<Line> {
    let last = line.iter().rposition(|byte| *byte == b':')?;
    let behind = |at: usize| line[at + 1..].trim_ascii();
    addresses(behind(last)).or_else(|| {
        let colons = line.iter().enumerate().filter(|(_, byte)| **byte == b':');
        // An address has eight groups, so two have sixteen colons at most.
        let count = colons.clone().count();
        let ends = colons.skip(count.saturating_sub(16)).map(|(at, _)| behind(at));
        // The end of an address would often be an address too.
        ends.filter(|end| end.contains(&b'-') || end.contains(&b'/')).find_map(addresses)
    })
}

/// `first-last`, `network/bits`, or one address.
fn addresses(text: &[u8]) -> Option<Line> {
    if let Some((first, last)) = split_at_byte(text, b'-') {
        let (first, last) = (address(first.trim_ascii())?, address(last.trim_ascii())?);
        return range(first, last);
    }
    let Some((network, bits)) = split_at_byte(text, b'/') else {
        let one = address(text)?;
        return range(one, one);
    };
    let bits: u32 = core::str::from_utf8(bits.trim_ascii()).ok()?.parse().ok()?;
    match address(network.trim_ascii())? {
        IpAddr::V4(ip) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            let ip = ip.to_bits();
            (bits <= 32).then(|| Line::V4((ip & !host).into(), (ip | host).into()))
        }
        IpAddr::V6(ip) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let ip = ip.to_bits();
            if bits > 128 {
                return None;
            }
            let (first, last) = (Ipv6Addr::from(ip & !host), Ipv6Addr::from(ip | host));
            range(first.into(), last.into())
        }
    }
}

/// IPv4 in IPv6 clothes is IPv4 here, as it is where addresses are looked up.
fn range(first: IpAddr, last: IpAddr) -> Option<Line> {
    match (first.to_canonical(), last.to_canonical(), first, last) {
        (IpAddr::V4(first), IpAddr::V4(last), ..) => {
            (first <= last).then_some(Line::V4(first, last))
        }
        (.., IpAddr::V6(first), IpAddr::V6(last)) => {
            (first <= last).then_some(Line::V6(first, last))
        }
        _ => None,
    }
}

/// An address; numbers may have leading zeros, and are decimal all the same.
fn address(text: &[u8]) -> Option<IpAddr> {
    if text.contains(&b':') {
        let ip: Ipv6Addr = core::str::from_utf8(text).ok()?.parse().ok()?;
        return Some(ip.into());
    }
    let mut octets = [0; 4];
    let mut parts = text.split(|byte| *byte == b'.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| (1..=3).contains(&part.len()))?;
        let number = part.iter().try_fold(0, |number: u16, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
        });
        *octet = u8::try_from(number?).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|found| *found == byte)?;
    Some((&text[..at], &text[at + 1..]))
}
