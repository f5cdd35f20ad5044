//! SSDP: the search for gateways among the UPnP devices of the local network, and their answers.

use super::url::{GatewayUrl, UrlError};
use alloc::format;
use alloc::string::String;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Where searches are sent.
pub const GROUP: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900));

/// Longest answer that is read, in bytes.
pub const MAX_DATAGRAM: usize = 2048;

/// What is searched for: gateways of both versions, and the service itself, by which some answer that do not answer to the others.
pub const TARGETS: [&str; 3] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
];

/// The words that a device or service of interest has in its type.
const OF_INTEREST: [&str; 3] = ["InternetGatewayDevice", "WANIPConnection", "WANPPPConnection"];

/// Why a datagram is no answer of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SsdpError {
    /// Too long, not text, or not an answer.
    #[error("not an answer to a search")]
    NotAnAnswer,
    /// Another kind of device.
    #[error("not a gateway")]
    NotAGateway,
    /// It does not say where its description is.
    #[error("it does not say where its description is")]
    NoLocation,
    /// It names a place for its description that is not allowed.
    #[error("the place of its description: {0}")]
    Location(#[from] UrlError),
}

/// The datagram that searches for `target`, to be answered within `wait` seconds.
#[must_use]
pub fn search(target: &str, wait: u8) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}\r\nMAN: \"ssdp:discover\"\r\nMX: {wait}\r\nST: {target}\r\n\r\n"
    )
}

/// Reads an answer: where the description of a gateway is.
///
/// # Errors
/// If it is not the answer of a gateway, or names no place that can be used.
pub fn parse_answer(datagram: &[u8]) -> Result<GatewayUrl, SsdpError> {
    if datagram.len() > MAX_DATAGRAM {
        return Err(SsdpError::NotAnAnswer);
    }
    let text = core::str::from_utf8(datagram).map_err(|_| SsdpError::NotAnAnswer)?;
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    let mut first = lines.next().unwrap_or_default().split_ascii_whitespace();
    let is_http = first.next().is_some_and(|version| version.starts_with("HTTP/1."));
    if !is_http || first.next() != Some("200") {
        return Err(SsdpError::NotAnAnswer);
    }
    let (mut target, mut location) = (None, None);
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.trim() {
            name if name.eq_ignore_ascii_case("st") => target = Some(value.trim()),
            name if name.eq_ignore_ascii_case("location") => location = Some(value.trim()),
            _ => {}
        }
    }
    if !target.is_some_and(|target| OF_INTEREST.iter().any(|word| target.contains(word))) {
        return Err(SsdpError::NotAGateway);
    }
    Ok(GatewayUrl::parse(location.ok_or(SsdpError::NoLocation)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn answer(rest: &str) -> Result<String, SsdpError> {
        let text = format!("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n{rest}\r\n\r\n");
        parse_answer(text.as_bytes()).map(|url| url.to_string())
    }

    #[test]
    fn a_search_says_what_is_searched_for() {
        let text = search(TARGETS[1], 2);
        assert!(
            text.starts_with("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "MX: 2\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
            )
        );
    }

    #[test]
    fn answers_of_gateways_are_understood() {
        let url = answer(
            "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:2\r\nUSN: uuid:1\r\nEXT:\r\n\
             Location: http://192.168.1.1:33333/rootDesc.xml",
        );
        assert_eq!(url.unwrap(), "http://192.168.1.1:33333/rootDesc.xml");
        let lazy = b"HTTP/1.0 200 OK\nlocation:http://10.0.0.1/d\nst:urn:schemas-upnp-org:service:WANPPPConnection:1\n";
        assert_eq!(parse_answer(lazy).unwrap().to_string(), "http://10.0.0.1:80/d");
    }

    #[test]
    fn others_and_junk_are_not() {
        let gateway = "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1";
        assert_eq!(
            answer("ST: upnp:rootdevice\r\nLocation: http://10.0.0.1/"),
            Err(SsdpError::NotAGateway)
        );
        assert_eq!(answer("Location: http://10.0.0.1/"), Err(SsdpError::NotAGateway));
        assert_eq!(answer(gateway), Err(SsdpError::NoLocation));
        let named = answer(&format!("{gateway}\r\nLocation: http://evil.example/"));
        assert_eq!(named, Err(SsdpError::Location(UrlError::Host)));
        let late = answer(&format!("{gateway}\r\n\r\nLocation: http://10.0.0.1/"));
        assert_eq!(late, Err(SsdpError::NoLocation));
        for junk in [&b""[..], b"\xff", b"HTTP/1.1 404 Not Found\r\n", b"NOTIFY * HTTP/1.1\r\n"] {
            assert_eq!(parse_answer(junk), Err(SsdpError::NotAnAnswer));
        }
        assert_eq!(parse_answer(&[b'x'; MAX_DATAGRAM + 1]), Err(SsdpError::NotAnAnswer));
    }
}
