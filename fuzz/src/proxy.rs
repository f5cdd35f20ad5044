//! Proxies: whatever one answers, the cut does not matter and what is kept is bounded; what is read is written so that it
//! is read the same.

use samara_wire::proxy::udp::DatagramError;
use samara_wire::proxy::{
    Bound, Command, Credentials, HttpConnect, Progress, ProxyUrl, Socks5, Socks5Error, Target,
    Tunnel, udp,
};
use std::net::SocketAddr;

/// Reads `input` as a proxy's answers, as a datagram of its relay and as a URL.
pub fn run(input: &[u8]) {
    let whole = socks(Command::Connect, &[input]);
    let bytes: Vec<_> = input.chunks(1).collect();
    assert_eq!(whole, socks(Command::Connect, &bytes));
    // What is asked for makes no difference to what the answers mean.
    assert_eq!(whole, socks(Command::UdpAssociate, &bytes));
    if let Ok(Some(bound)) = whole {
        assert!(input.ends_with(&bound.received));
        // Wherever a proxy claims its relay to be, datagrams go to the host that we know.
        for known in ["192.0.2.1:1080", "[2001:db8::1]:1080"] {
            let proxy: SocketAddr = known.parse().expect("an address");
            let relay = bound.relay(proxy);
            assert_eq!(relay.is_some(), bound.at.port() != 0);
            let there = |at: SocketAddr| at.ip() == proxy.ip() && at.port() == bound.at.port();
            assert!(relay.is_none_or(there));
            let alike = matches!(&bound.at, Target::Address(at) if at.ip() == proxy.ip());
            assert!(!(alike && bound.names_another(proxy)));
        }
    }
    if let Some(Tunnel { received }) = http(&[input]) {
        assert!(input.ends_with(&received));
        assert!(http(&input.chunks(1).collect::<Vec<_>>()).is_some());
    }
    if let Ok((from, payload)) = udp::decode(input) {
        let mut again = Vec::new();
        udp::encode_header(&from, &mut again);
        assert!(again.len() <= udp::MAX_HEADER);
        again.extend(payload);
        assert_eq!(udp::decode(&again), Ok((from, payload)));
        // A part of a datagram is none, whatever follows.
        again[2] = input[3] | 1;
        assert_eq!(udp::decode(&again), Err(DatagramError::Fragment));
    }
    if let Ok(url) = String::from_utf8_lossy(input).parse::<ProxyUrl>() {
        let again: ProxyUrl = url.to_string().parse().expect("our own writing");
        assert_eq!((again.scheme, again.at, again.credentials), (url.scheme, url.at, None));
    }
}

fn target() -> Target {
    Target::new("peer.example", 1).expect("a name")
}

/// What comes of answers in these parts, with what behind the negotiation put together again.
fn socks(command: Command, parts: &[&[u8]]) -> Result<Option<Bound>, Socks5Error> {
    let mut out = Vec::new();
    let login = Credentials::new("user", "password").expect("a login");
    let mut client = Socks5::new(command, target(), Some(login), &mut out);
    let mut open: Option<Bound> = None;
    for part in parts {
        match &mut open {
            Some(bound) => bound.received.extend_from_slice(part),
            None => {
                if let Progress::Open(bound) = client.handle_bytes(part, &mut out)? {
                    open = Some(bound);
                }
            }
        }
    }
    assert!(out.len() < 100);
    Ok(open)
}

fn http(parts: &[&[u8]]) -> Option<Tunnel> {
    let mut client = HttpConnect::new(&target(), None, &mut Vec::new());
    let mut open: Option<Tunnel> = None;
    for part in parts {
        match &mut open {
            Some(tunnel) => tunnel.received.extend_from_slice(part),
            None => {
                if let Progress::Open(tunnel) = client.handle_bytes(part).ok()? {
                    open = Some(tunnel);
                }
            }
        }
    }
    open
}
