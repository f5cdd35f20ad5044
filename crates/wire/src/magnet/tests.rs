use super::*;
use crate::bencode::Encoder;
use proptest::prelude::*;
use std::format;
use std::string::ToString;
use std::vec;

const V1: &str = "0123456789abcdef0123456789abcdef01234567";
const V2: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn parse(parameters: &str) -> Result<Magnet, MagnetError> {
    Magnet::parse(&format!("magnet:?xt=urn:btih:{V1}&{parameters}"))
}

#[test]
fn hashes_in_all_their_forms() {
    let v1 = Magnet::parse(&format!("magnet:?xt=urn:btih:{V1}")).unwrap();
    assert_eq!(v1.hashes.v1().unwrap().to_string(), V1);
    assert_eq!(v1.hashes.v2(), None);
    let upper = format!("MAGNET:?XT=URN:BTIH:{}", V1.to_uppercase());
    assert_eq!(Magnet::parse(&upper).unwrap(), v1);
    assert_eq!(Magnet::parse("magnet:?xt=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH").unwrap(), v1);
    assert_eq!(Magnet::parse("magnet:?xt=urn:btih:aerukz4jvpg66ajdivtytk6n54asgrlh").unwrap(), v1);
    assert_eq!(Magnet::parse(&format!(" magnet:?xt=urn%3Abtih%3A{V1}\n")).unwrap(), v1);
    assert_eq!(Magnet::parse(&format!("magnet:?xt.1=urn:btih:{V1}&xt.2=urn:ed2k:1")).unwrap(), v1);
    assert_eq!(Magnet::parse(&format!("magnet:?&&xt=urn:btih:{V1}#fragment&dn=x")).unwrap(), v1);
    let v2 = Magnet::parse(&format!("magnet:?xt=urn:btmh:1220{V2}")).unwrap();
    assert_eq!((v2.hashes.v1(), v2.hashes.v2().unwrap().to_string()), (None, V2.to_string()));
    let both = parse(&format!("xt=urn:btmh:1220{V2}")).unwrap();
    assert!(both.hashes.v1().is_some() && both.hashes.v2().is_some());
    assert_eq!(parse(&format!("xt=urn:btih:{V1}")).unwrap(), v1, "twice the same");
}

#[test]
fn errors_name_the_wrong_part() {
    let error = |link: &str| Magnet::parse(link).unwrap_err();
    assert_eq!(error("http://x/?xt=urn:btih:1"), MagnetError::Scheme);
    assert_eq!(error(""), MagnetError::Scheme);
    assert_eq!(error("magnetér"), MagnetError::Scheme);
    assert_eq!(error("magnet:?"), MagnetError::NoHash);
    assert_eq!(error("magnet:?dn=x&xt"), MagnetError::NoHash);
    assert_eq!(error("magnet:?xt=urn:sha1:ABC"), MagnetError::NoHash);
    for bad in ["", "12", &V1[1..], &V1.replace('0', "g"), &V1[..32], V2] {
        assert_eq!(
            error(&format!("magnet:?xt=urn:btih:{bad}")),
            MagnetError::HashV1(bad.to_string())
        );
    }
    for bad in [V2.to_string(), format!("1220{V1}"), format!("1114{V2}"), "1220é".to_string()] {
        assert_eq!(error(&format!("magnet:?xt=urn:btmh:{bad}")), MagnetError::HashV2(bad));
    }
    let other = V1.replace('0', "1");
    assert_eq!(parse(&format!("xt=urn:btih:{other}")), Err(MagnetError::TwoTorrents));
    for bad in ["x", "1-", "-1", "3-2", "+1", "1-2-3", "4294967296"] {
        assert_eq!(parse(&format!("so={bad}")), Err(MagnetError::Selection(bad.to_string())));
    }
    let long = format!("magnet:?dn={}", "x".repeat(MAX_LINK_BYTES));
    assert_eq!(error(&long), MagnetError::TooLong(long.len()));
    assert_eq!(
        error("magnet:?xt=urn:btih:12").to_string(),
        "`xt=urn:btih:12`: an info-hash has 40 hexadecimal or 32 base32 digits"
    );
}

#[test]
fn hints_that_make_no_sense_are_left_out() {
    let m = parse(
        "tr=udp%3A%2F%2Fa%3A1&tr.1=http://b/?passkey%3D1&tr=udp%3A%2F%2Fa%3A1&tr=junk&tr=&ws=http://w/a+b\
         &x.pe=1.2.3.4:5&x.pe=[2001:db8::1]:6&x.pe=host.example:7&x.pe=nope&x.pe=a:0&x.pe=a:70000\
         &x.pe=:1&x.pe=[x]:1&x.pe=::1:1&x.pe=a%20b:1&dn=caf%C3%A9+%2B%0Ab%1b&dn=second&unknown=1&xl=5",
    )
    .unwrap();
    assert_eq!(m.trackers, ["udp://a:1", "http://b/?passkey=1"]);
    assert_eq!(m.web_seeds, ["http://w/a+b"]);
    let peers: Vec<_> = m.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["1.2.3.4:5", "[2001:db8::1]:6", "host.example:7"]);
    assert_eq!(m.name.as_deref(), Some("café +b"));
    assert_eq!(parse("dn=").unwrap().name, None);
    let many: String = (0..1000).map(|i| format!("&tr=udp://{i}")).collect();
    assert_eq!(parse(&many).unwrap().trackers.len(), MAX_HINTS);
}

#[test]
fn selections_are_sorted_and_joined() {
    assert_eq!(parse("so=0,2,4,6-8").unwrap().select, [0..=0, 2..=2, 4..=4, 6..=8]);
    assert_eq!(
        parse("so=6-8,7,9,0,,1&so=20-4294967295,5").unwrap().select,
        [0..=1, 5..=9, 20..=u32::MAX]
    );
    assert!(parse("so=").unwrap().select.is_empty());
}

#[test]
fn bare_info_hashes() {
    assert_eq!(Magnet::from_info_hash(&format!(" {V1}\n")).unwrap(), parse("").unwrap());
    assert_eq!(
        Magnet::from_info_hash("AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH").unwrap(),
        parse("").unwrap()
    );
    assert_eq!(Magnet::from_info_hash(V2).unwrap().hashes.v2().unwrap().to_string(), V2);
    for bad in ["", "magnet:", &V1[1..], "file.torrent"] {
        assert_eq!(Magnet::from_info_hash(bad), Err(MagnetError::BareHash(bad.to_string())));
    }
}

#[test]
fn the_canonical_link() {
    let mut m = parse(&format!("xt=urn:btmh:1220{V2}")).unwrap();
    m.name = Some("a&b =ü".into());
    m.trackers = vec!["http://t/a?k=1&l=2".into()];
    m.web_seeds = vec!["http://w/".into()];
    m.peers = vec![PeerHint { host: "::1".into(), port: 1 }];
    m.select = vec![0..=0, 3..=5];
    let link = m.to_string();
    assert_eq!(
        link,
        format!(
            "magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}&dn=a%26b%20%3D%C3%BC\
             &tr=http%3A%2F%2Ft%2Fa%3Fk%3D1%26l%3D2&ws=http%3A%2F%2Fw%2F&x.pe=[::1]:1&so=0,3-5"
        )
    );
    assert_eq!(link.parse::<Magnet>().unwrap(), m);
}

#[test]
fn the_link_of_a_torrent() {
    let bytes = Encoder::dict_bytes(|d| {
        d.list(b"announce-list", |e| {
            e.list(|e| e.bytes(b"udp://a"));
            e.list(|e| e.bytes(b"udp://b"));
        });
        d.bytes(b"url-list", b"http://w/");
        d.dict(b"info", |d| {
            d.bytes(b"name", b"n m");
            d.int(b"length", 0);
            d.int(b"piece length", 1);
            d.bytes(b"pieces", b"");
        });
    });
    let metainfo = Metainfo::parse(&bytes).unwrap();
    let v1 = metainfo.info.hashes().v1().unwrap();
    assert_eq!(
        Magnet::of(&metainfo).to_string(),
        format!(
            "magnet:?xt=urn:btih:{v1}&dn=n%20m&tr=udp%3A%2F%2Fa&tr=udp%3A%2F%2Fb&ws=http%3A%2F%2Fw%2F"
        )
    );
}

const KEY: &str = "8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e";

fn followed(link: &str) -> MutableMagnet {
    match MagnetLink::parse(link) {
        Ok(MagnetLink::Mutable(followed)) => followed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn links_that_follow_an_item() {
    // The vectors of BEP 46.
    let plain = followed(&format!("magnet:?xs=urn:btpk:{KEY}"));
    assert_eq!((&plain.salt[..], plain.hashes), (&[][..], None));
    assert_eq!(plain.target().to_string(), "cc3f9d90b572172053626f9980ce261a850d050b");
    let salted = followed(&format!("magnet:?xs=urn:btpk:{KEY}&s=6e"));
    assert_eq!(salted.salt, b"n");
    assert_eq!(salted.target().to_string(), "59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f");
    let upper = format!("magnet:?S=6E&XS.1=URN%3ABTPK:{}&s=6e&s.2=6e", KEY.to_uppercase());
    assert_eq!(followed(&upper), salted);
    assert_eq!(followed(&format!("magnet:?xs=http://a/b&xs=urn:btpk:{KEY}&s=")), plain);
    let hinted =
        format!("magnet:?xs=urn:btpk:{KEY}&s=6e&xt=urn:btih:{V1}&dn=n&tr=udp://t&so=1-2,3");
    let hinted = followed(&hinted);
    assert_eq!(hinted.hashes, Some(parse("").unwrap().hashes));
    assert_eq!((hinted.name.as_deref(), &hinted.select[..]), (Some("n"), &[1..=3][..]));
    assert_eq!(
        hinted.to_string(),
        format!("magnet:?xs=urn:btpk:{KEY}&s=6e&xt=urn:btih:{V1}&dn=n&tr=udp%3A%2F%2Ft&so=1-3")
    );
    let torrent = Magnet::parse(&hinted.to_string()).unwrap();
    assert_eq!(torrent, hinted.clone().into_magnet(torrent.hashes), "what it says of the torrent");
    assert_eq!(MagnetLink::parse(&torrent.to_string()), Ok(MagnetLink::Torrent(torrent)));
    assert_eq!(parse("s=x&s=y").unwrap(), parse("").unwrap(), "no salt without a key");
}

#[test]
fn errors_of_a_link_that_follows_an_item() {
    let error = |rest: &str| MagnetLink::parse(&format!("magnet:?{rest}")).unwrap_err();
    for bad in ["", "12", &KEY[1..], &KEY.replace('8', "g"), &format!("{KEY}00"), "é"] {
        assert_eq!(error(&format!("xs=urn:btpk:{bad}")), MagnetError::PublicKey(bad.to_string()));
        let beside = parse(&format!("xs=urn:btpk:{bad}"));
        assert_eq!(beside, Err(MagnetError::PublicKey(bad.to_string())));
    }
    for bad in ["6", "6g", "0x6e", &"00".repeat(65)[..100]] {
        let long = if bad.len() == 100 { "00".repeat(65) } else { bad.to_string() };
        let error = error(&format!("xs=urn:btpk:{KEY}&s={long}"));
        assert_eq!(error, MagnetError::Salt(bad.to_string()));
    }
    assert_eq!(
        followed(&format!("magnet:?xs=urn:btpk:{KEY}&s={}", "00".repeat(64))).salt.len(),
        64
    );
    let other = KEY.replace('8', "9");
    assert_eq!(error(&format!("xs=urn:btpk:{KEY}&xs=urn:btpk:{other}")), MagnetError::TwoItems);
    assert_eq!(error(&format!("xs=urn:btpk:{KEY}&s=01&s=02")), MagnetError::TwoItems);
    assert_eq!(error(&format!("xt=urn:btpk:{KEY}")), MagnetError::NoHash);
    let only = Magnet::parse(&format!("magnet:?xs=urn:btpk:{KEY}"));
    assert_eq!(only, Err(MagnetError::OnlyMutable));
    assert_eq!(
        error("xs=urn:btpk:12").to_string(),
        "`xs=urn:btpk:12`: a public key has 64 hexadecimal digits"
    );
    assert_eq!(
        error(&format!("xs=urn:btpk:{KEY}&s=1")).to_string(),
        "`s=1`: a salt is hexadecimal, two digits for each of at most 64 bytes"
    );
}

proptest! {
    #[test]
    fn a_followed_item_that_is_written_is_read_again(
        key in any::<[u8; 32]>(),
        salt in prop::collection::vec(any::<u8>(), 0..=64),
        v1 in any::<Option<[u8; 20]>>(),
    ) {
        let mut link = MutableMagnet::new(PublicKey(key), salt);
        link.hashes = v1.map(|v1| InfoHashes::v1_only(InfoHashV1(v1)));
        prop_assert_eq!(MagnetLink::parse(&link.to_string()), Ok(MagnetLink::Mutable(link)));
    }

    #[test]
    fn what_is_written_is_read_again(
        v1 in any::<Option<[u8; 20]>>(),
        v2 in any::<[u8; 32]>(),
        name in "[^\\p{Cc}\\s]{1,40}",
        trackers in prop::collection::btree_set("[a-z]{1,5}://[^\\p{Cc}\\s]{1,30}", 0..5),
        indices in prop::collection::vec((0u32..100, 0u32..5), 0..10),
    ) {
        let v2 = InfoHashV2(v2);
        let hashes = v1.map_or(InfoHashes::v2_only(v2), |v1| InfoHashes::hybrid(InfoHashV1(v1), v2));
        let mut m = Magnet::new(hashes);
        m.name = Some(name);
        m.trackers = trackers.into_iter().collect();
        m.select = merged(indices.iter().map(|&(first, more)| first..=first + more).collect());
        prop_assert_eq!(Magnet::parse(&m.to_string()), Ok(m.clone()));
        let wanted = |i: u32| indices.iter().any(|&(first, more)| (first..=first + more).contains(&i));
        for i in 0..110 {
            prop_assert_eq!(m.select.iter().any(|r| r.contains(&i)), wanted(i));
        }
    }

    #[test]
    fn any_text_is_survived(tail in "\\PC*", known in prop::sample::select(vec!["", "xt=urn:btih:", "so=", "x.pe=[", "dn=%", "tr=%f"])) {
        if let Ok(m) = parse(&format!("{known}{tail}")) {
            prop_assert_eq!(Magnet::parse(&m.to_string()), Ok(m.clone()));
        }
    }
}
