use super::udp::DatagramError;
use super::*;
use alloc::string::String;
use core::net::SocketAddr;
use proptest::prelude::*;
use std::string::ToString;

fn credentials() -> Option<Credentials> {
    Some(Credentials::new("me", "secret").unwrap())
}

fn name() -> Target {
    Target::new("peer.example", 6881).unwrap()
}

/// What is sent at first, then for each thing that arrives what is sent for it, and what comes of it in the end.
fn socks(
    command: Command,
    target: Target,
    credentials: Option<Credentials>,
    arrives: &[&[u8]],
) -> (Vec<Vec<u8>>, Result<Progress<Bound>, Socks5Error>) {
    let mut out = Vec::new();
    let mut client = Socks5::new(command, target, credentials, &mut out);
    let mut sent = alloc::vec![core::mem::take(&mut out)];
    let mut result = Ok(Progress::Pending);
    for bytes in arrives {
        result = client.handle_bytes(bytes, &mut out);
        sent.push(core::mem::take(&mut out));
    }
    (sent, result)
}

#[test]
fn a_stream_to_a_name_without_a_login() {
    let (sent, result) = socks(
        Command::Connect,
        name(),
        None,
        &[b"\x05\0", b"\x05\0\0\x01\x0a\0\0\x01\x1a\xe1\x13BitTorrent"],
    );
    assert_eq!(sent, [&b"\x05\x01\0"[..], b"\x05\x01\0\x03\x0cpeer.example\x1a\xe1", b""]);
    let at = Target::new("10.0.0.1", 6881).unwrap();
    assert_eq!(result, Ok(Progress::Open(Bound { at, received: b"\x13BitTorrent".to_vec() })));
}

#[test]
fn a_stream_to_addresses_with_a_login() {
    let addr = |text: &str| Target::from(text.parse::<SocketAddr>().unwrap());
    for (target, request) in [
        (addr("10.0.0.2:1"), &b"\x05\x01\0\x01\x0a\0\0\x02\0\x01"[..]),
        (
            addr("[2001:db8::1]:2"),
            b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x02",
        ),
    ] {
        for version in [1, 5] {
            let (sent, result) = socks(
                Command::Connect,
                target.clone(),
                credentials(),
                &[b"\x05\x02", &[version, 0], b"\x05\0\0\x03\x04here\0\0"],
            );
            assert_eq!(sent, [b"\x05\x02\0\x02", &b"\x01\x02me\x06secret"[..], request, b""]);
            assert!(matches!(result, Ok(Progress::Open(_))), "{result:?}");
        }
    }
}

#[test]
fn a_relay_for_datagrams() {
    let any = Target::new("0.0.0.0", 0).unwrap();
    let arrives: &[&[u8]] = &[b"\x05\0", b"\x05\0\0\x01\0\0\0\0\x04\0"];
    let (sent, result) = socks(Command::UdpAssociate, any, credentials(), arrives);
    assert_eq!(sent[1], b"\x05\x03\0\x01\0\0\0\0\0\0");
    let Ok(Progress::Open(bound)) = result else { panic!("{result:?}") };
    let proxy = "192.0.2.1:1080".parse().unwrap();
    assert_eq!(bound.relay(proxy), Some("192.0.2.1:1024".parse().unwrap()));
    assert!(!bound.names_another(proxy));
    let told = |host, port| Bound { at: Target::new(host, port).unwrap(), received: Vec::new() };
    let known = Some("192.0.2.1:7".parse().unwrap());
    // Whatever the host that it names: itself, nobody, one of its own network, a name, a stranger, this machine.
    for (host, another) in [
        ("192.0.2.1", false),
        ("::ffff:192.0.2.1", false),
        ("::", false),
        ("172.17.0.2", true),
        ("relay.example", true),
        ("192.0.2.2", true),
        ("2001:db8::1", true),
        ("127.0.0.1", true),
    ] {
        assert_eq!(told(host, 7).relay(proxy), known, "{host}");
        assert_eq!(told(host, 7).names_another(proxy), another, "{host}");
    }
    assert_eq!(told("192.0.2.1", 0).relay(proxy), None);
}

#[test]
fn socks_errors_are_named() {
    let with =
        |credentials, arrives: &[&[u8]]| socks(Command::Connect, name(), credentials, arrives).1;
    for (arrives, error) in [
        (&[&b"HTTP/1.1 400"[..]][..], Socks5Error::Version(b'H')),
        (&[b"\x05\xff"], Socks5Error::NoMethod),
        (&[b"\x05\x02"], Socks5Error::BadMethod(2)),
        (&[b"\x05\0", b"\x04\x5a"], Socks5Error::Version(4)),
        (&[b"\x05\0", b"\x05\x05"], Socks5Error::Refused(Refusal(5))),
        (&[b"\x05\0", b"\x05\x63\0\x01"], Socks5Error::Refused(Refusal(99))),
        (&[b"\x05\0", b"\x05\0\0\x09"], Socks5Error::BadAddress),
        (&[b"\x05\0", b"\x05\0\0\x03\x02\r\n\0\0"], Socks5Error::BadAddress),
        (&[b"\x05\0", b"\x05\x01", b"more"], Socks5Error::Over),
    ] {
        assert_eq!(with(None, arrives), Err(error), "{arrives:?}");
    }
    assert_eq!(with(credentials(), &[b"\x05\x02", b"\x01\x01"]), Err(Socks5Error::BadCredentials));
    assert_eq!(with(credentials(), &[b"\x05\x02", b"\x07"]), Err(Socks5Error::Version(7)));
    assert!(Refusal(5).is_of_target() && !Refusal(2).is_of_target());
    let error = Socks5Error::Refused(Refusal(2)).to_string();
    assert_eq!(error, "the proxy refuses: its rules do not allow it");
}

#[test]
fn datagrams_are_wrapped_as_the_rfc_says() {
    let mut datagram = Vec::new();
    udp::encode_header(&Target::new("10.0.0.1", 6881).unwrap(), &mut datagram);
    datagram.extend_from_slice(b"d1:q4:ping");
    assert_eq!(datagram, b"\0\0\0\x01\x0a\0\0\x01\x1a\xe1d1:q4:ping");
    let (from, payload) = udp::decode(&datagram).unwrap();
    assert_eq!((from, payload), (Target::new("10.0.0.1", 6881).unwrap(), &b"d1:q4:ping"[..]));
    assert_eq!(udp::decode(b"\0\0\x01\x01\x0a\0\0\x01\x1a\xe1"), Err(DatagramError::Fragment));
    for bad in [
        &b""[..],
        b"\0\0",
        b"\0\x01\0\x01\x0a\0\0\x01\x1a\xe1",
        b"\0\0\0\x01\x0a\0\0",
        b"\0\0\0\x03\x09ab",
    ] {
        assert_eq!(udp::decode(bad), Err(DatagramError::Header));
    }
}

fn http(answer: &[u8]) -> Result<Progress<Tunnel>, HttpConnectError> {
    HttpConnect::new(&name(), None, &mut Vec::new()).handle_bytes(answer)
}

#[test]
fn a_stream_through_an_http_proxy() {
    let mut out = Vec::new();
    let mut client = HttpConnect::new(&name(), credentials().as_ref(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "CONNECT peer.example:6881 HTTP/1.1\r\nHost: peer.example:6881\r\n\
         Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
    );
    assert_eq!(
        client.handle_bytes(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n"),
        Ok(Progress::Pending)
    );
    let received = b"\x13Bit\r\n\r\nTorrent".to_vec();
    let rest = [b"\r\n", &received[..]].concat();
    assert_eq!(client.handle_bytes(&rest), Ok(Progress::Open(Tunnel { received })));
    assert_eq!(client.handle_bytes(b"more"), Err(HttpConnectError::Over));
    let mut out = Vec::new();
    let _ = HttpConnect::new(&Target::new("::1", 80).unwrap(), None, &mut out);
    assert_eq!(out, b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
}

#[test]
fn http_errors_are_named() {
    let refused = |status, reason: &str| HttpConnectError::Refused(status, reason.into());
    let not_http = |start: &str| HttpConnectError::NotHttp(start.into());
    for (answer, error) in [
        (&b"\x05\0"[..], not_http("\x05\0")),
        (b"HTTP/2", not_http("HTTP/2")),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", HttpConnectError::BadCredentials),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", HttpConnectError::BadCredentials),
        (b"HTTP/1.1 403 Not \x1b[31mhere\r\nA: b\r\n\r\nbody", refused(403, "Not [31mhere")),
        (b"HTTP/1.1 502\r\n\r\n", refused(502, "")),
        (b"HTTP/1.1 100 Continue\r\n\r\n", refused(100, "Continue")),
        (b"HTTP/1.1 20 OK\r\n\r\n", not_http("HTTP/1.1 20 OK")),
        (b"HTTP/1.1\r\n\r\n", not_http("HTTP/1.1")),
    ] {
        assert_eq!(http(answer), Err(error), "{}", answer.escape_ascii());
    }
    let long = [&b"HTTP/1.1 500 "[..], &[b'x'; 500], b"\r\n\r\n"].concat();
    assert_eq!(http(&long), Err(refused(500, &"x".repeat(80))));
    let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &[b'x'; MAX_HEAD]].concat();
    assert_eq!(http(&endless), Err(HttpConnectError::TooLong));
}

#[test]
fn an_endless_head_is_left_at_its_bound_however_slowly_it_comes() {
    let mut client = HttpConnect::new(&name(), None, &mut Vec::new());
    assert_eq!(client.handle_bytes(b"HTTP/1.1 200"), Ok(Progress::Pending));
    let fed = (0..).take_while(|_| client.handle_bytes(b"x") == Ok(Progress::Pending)).count();
    assert_eq!(fed + 12, MAX_HEAD);
}

proptest! {
    #[test]
    fn the_cut_does_not_matter(
        cuts in prop::collection::vec(1..8_usize, 1..20),
        received in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let answers = [b"\x05\x02\x01\0\x05\0\0\x03\x09relay.com\0\x50", &received[..]].concat();
        let head = b"HTTP/1.1 200 Connection established\r\nProxy-Agent: some\r\n\r\n";
        let head = [&head[..], &received].concat();
        let cut = |mut bytes: &[u8]| {
            let mut parts = Vec::new();
            for len in cuts.iter().cycle() {
                let (part, rest) = bytes.split_at((*len).min(bytes.len()));
                parts.push(part.to_vec());
                bytes = rest;
                if bytes.is_empty() {
                    return parts;
                }
            }
            parts
        };
        let mut out = Vec::new();
        let mut client = Socks5::new(Command::Connect, name(), credentials(), &mut out);
        let mut got = None;
        for mut part in cut(&answers) {
            match &mut got {
                Some(Bound { received, .. }) => received.append(&mut part),
                None => if let Progress::Open(bound) = client.handle_bytes(&part, &mut out).unwrap() {
                    got = Some(bound);
                }
            }
        }
        prop_assert_eq!(&got.unwrap().received, &received);
        prop_assert_eq!(&out[..], b"\x05\x02\0\x02\x01\x02me\x06secret\x05\x01\0\x03\x0cpeer.example\x1a\xe1");

        let mut client = HttpConnect::new(&name(), None, &mut out);
        let mut got = None;
        for mut part in cut(&head) {
            match &mut got {
                Some(Tunnel { received }) => received.append(&mut part),
                None => if let Progress::Open(tunnel) = client.handle_bytes(&part).unwrap() {
                    got = Some(tunnel);
                }
            }
        }
        prop_assert_eq!(got.unwrap().received, received);
    }
}
