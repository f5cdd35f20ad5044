use super::line::{self, Line};
use super::*;
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;
use std::format;
use std::string::ToString;

fn blocked(list: &str, ip: &str) -> bool {
    let (filter, report) = IpFilter::parse(list.as_bytes());
    assert_eq!(report.bad, 0, "{report}");
    filter.blocks(ip.parse().unwrap())
}

#[test]
fn every_form_is_read() {
    let v4 = |first: &str, last: &str| Line::V4(first.parse().unwrap(), last.parse().unwrap());
    let v6 = |first: &str, last: &str| Line::V6(first.parse().unwrap(), last.parse().unwrap());
    let low = v4("1.2.3.0", "1.2.3.255");
    for (text, means) in [
        ("001.002.003.000 - 001.002.003.255 , 000 , Some, org", low),
        ("1.2.3.0-1.2.3.255,127,x\r", low),
        ("1.2.3.0 - 1.2.3.255 , 128 , friends", Line::LetThrough),
        ("1.2.3.0 - 1.2.3.255 , 100", low),
        ("Some org:1.2.3.0-1.2.3.255", low),
        ("Some, org: the #1 - really:1.2.3.0-1.2.3.255", low),
        ("1.2.3.0-1.2.3.255", low),
        ("  1.2.3.77/24  ", low),
        ("1.2.3.0/24 # Some org", low),
        ("who:1.2.3.0/24", low),
        ("010.020.030.040", v4("10.20.30.40", "10.20.30.40")),
        ("0.0.0.0/0", v4("0.0.0.0", "255.255.255.255")),
        ("1.2.3.4/32", v4("1.2.3.4", "1.2.3.4")),
        ("2001:db8::/32", v6("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("2001:db8::1-2001:db8::5", v6("2001:db8::1", "2001:db8::5")),
        ("2001:db8::1 - 2001:db8::5 , 0 , x", v6("2001:db8::1", "2001:db8::5")),
        ("who: it is:2001:db8::1-2001:db8::5", v6("2001:db8::1", "2001:db8::5")),
        ("::/0", v6("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("::ffff:1.2.3.0-::ffff:1.2.3.255", low),
        ("::ffff:1.2.3.0/120", low),
        ("# 1.2.3.4", Line::Comment),
        ("; 1.2.3.4", Line::Comment),
        ("// 1.2.3.4", Line::Comment),
        (" \t", Line::Comment),
    ] {
        assert_eq!(line::parse(text.as_bytes()), means, "{text}");
    }
    // A description that is no UTF-8.
    assert_eq!(line::parse(b"Fran\xe7ois:1.2.3.0-1.2.3.255"), low);
}

#[test]
fn nonsense_is_nonsense() {
    for text in [
        "hello",
        "1.2.3.4-",
        "1.2.3.256",
        "1.2.3",
        "1.2.3.4.5",
        "0001.2.3.4",
        "1.2.3.4/33",
        "::/129",
        "1.2.3.4/",
        "1.2.3.9-1.2.3.1",
        "1.2.3.4-2001:db8::1",
        "1.2.3.0 - 1.2.3.255 , high , x",
        "<html>",
        "a:b:c",
        ":",
        ",",
        "-",
        "/",
    ] {
        assert_eq!(line::parse(text.as_bytes()), Line::Nonsense, "{text}");
    }
}

#[test]
fn nonsense_is_counted_and_named_and_the_rest_is_used() {
    let long = "x".repeat(MAX_LINE + 1);
    let list = format!("# a list\nfirst\n1.2.3.4\n{long}\nc\nd\ne\nf\u{7}\n5.6.7.8");
    let (filter, report) = IpFilter::parse(list.as_bytes());
    assert_eq!((report.blocked, report.bad, filter.len()), (2, 6, 2));
    let named: Vec<_> = report.first_bad.iter().map(|bad| bad.number).collect();
    assert_eq!(named, [2, 4, 5, 6, 7]);
    let told = report.to_string();
    assert!(
        told.starts_with("2 ranges blocked, 6 lines make no sense: line 2 (first), line 4 (xxx"),
        "{told}"
    );
    assert!(report.first_bad[1].text.len() == MAX_SHOWN);
}

#[test]
fn ranges_that_overlap_or_touch_become_one() {
    let list = "1.0.0.5-1.0.0.9\n1.0.0.1-1.0.0.6\n1.0.0.2-1.0.0.3\n1.0.0.10-1.0.0.11\n1.0.0.13\n255.255.255.0/24\n255.255.255.255";
    let (filter, _) = IpFilter::parse(list.as_bytes());
    assert_eq!(filter.len(), 3);
    for (ip, is) in [
        ("1.0.0.0", false),
        ("1.0.0.1", true),
        ("1.0.0.11", true),
        ("1.0.0.12", false),
        ("1.0.0.13", true),
    ] {
        assert_eq!(filter.blocks(ip.parse().unwrap()), is, "{ip}");
    }
    assert!(filter.blocks("255.255.255.255".parse().unwrap()));
}

#[test]
fn both_families_are_kept_apart_but_for_clothes() {
    assert!(blocked("1.2.3.4", "::ffff:1.2.3.4"));
    assert!(blocked("::ffff:1.2.3.4", "1.2.3.4"));
    assert!(!blocked("::/0", "1.2.3.4"));
    assert!(!blocked("0.0.0.0/0", "2001:db8::1"));
    assert!(IpFilter::parse(b"").0.is_empty());
}

#[test]
fn several_lists_are_one() {
    let [one, other] = ["1.0.0.0-1.0.0.9\n2001:db8::1", "1.0.0.5-1.0.0.20"]
        .map(|list| IpFilter::parse(list.as_bytes()).0);
    let both = IpFilter::union(&[one, other]);
    assert_eq!(both.len(), 2);
    assert!(
        both.blocks("1.0.0.15".parse().unwrap()) && both.blocks("2001:db8::1".parse().unwrap())
    );
}

fn range_v4() -> impl Strategy<Value = (u32, u32)> {
    // Close together and at both ends, so that they meet.
    prop_oneof![0..300_u32, (u32::MAX - 300)..=u32::MAX]
        .prop_flat_map(|first| (Just(first), 0..40_u32))
        .prop_map(|(first, len)| (first, first.saturating_add(len)))
}

proptest! {
    #[test]
    fn agrees_with_looking_at_every_range(ranges in prop::collection::vec(range_v4(), 0..30), form in 0..3_u8, cut in 1..50_usize) {
        let list: String = ranges.iter().map(|(first, last)| {
            let (first, last) = (Ipv4Addr::from(*first), Ipv4Addr::from(*last));
            match form {
                0 => format!("{first} - {last} , 1 , x\n"),
                1 => format!("some:one:{first}-{last}\r\n"),
                _ => format!("{}-{}\n", first.to_ipv6_mapped(), last.to_ipv6_mapped()),
            }
        }).collect();
        let (filter, report) = IpFilter::parse(list.as_bytes());
        prop_assert_eq!(report.blocked, ranges.len() as u64);
        let mut reader = FilterReader::default();
        list.as_bytes().chunks(cut).for_each(|part| reader.feed(part));
        prop_assert_eq!(reader.finish(), (filter.clone(), report));
        for ip in (0..350).chain(u32::MAX - 310..=u32::MAX) {
            let naive = ranges.iter().any(|(first, last)| (*first..=*last).contains(&ip));
            prop_assert_eq!(filter.blocks(Ipv4Addr::from(ip).into()), naive);
        }
    }

    #[test]
    fn networks_of_ipv6_agree_with_their_prefix(ip in any::<u128>(), bits in 0..=128_u32, flip in 0..128_u32) {
        let (filter, report) = IpFilter::parse(format!("{}/{bits}", Ipv6Addr::from(ip)).as_bytes());
        prop_assert_eq!(report.blocked, 1);
        // The highest bit that differs is in the host's part, or it is another network.
        let other = ip ^ (1 << (127 - flip));
        prop_assert!(filter.blocks(Ipv6Addr::from(ip).into()));
        prop_assert_eq!(filter.blocks(Ipv6Addr::from(other).into()), flip >= bits);
    }
}
