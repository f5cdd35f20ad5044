//! PCP (RFC 6887): the MAP request and its answer.
//!
//! A client is known by its address and a nonce of its own choice: only who repeats the nonce can change or remove a mapping.

use super::Protocol;
use core::net::{IpAddr, Ipv6Addr};

/// The version spoken.
const VERSION: u8 = 2;

/// The operation of mapping a port.
const MAP: u8 = 1;

/// Marks an answer.
const ANSWER: u8 = 0x80;

/// Bytes of a MAP request, and of the part of an answer that is read.
const LEN: usize = 60;

/// Longest message (RFC 6887, 7).
pub const MAX_DATAGRAM: usize = 1100;

/// By which a gateway knows who made a mapping.
pub type Nonce = [u8; 12];

/// Asks for a mapping, for its renewal, or for its removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapRequest {
    /// Our address, as the gateway sees it.
    pub client: IpAddr,
    /// Names the mapping together with protocol and internal port.
    pub nonce: Nonce,
    /// What is mapped.
    pub protocol: Protocol,
    /// The port we listen on.
    pub internal_port: u16,
    /// The port wanted outside; 0: any.
    pub external_port: u16,
    /// The address wanted outside; that of an earlier answer, or unspecified.
    pub external_ip: IpAddr,
    /// For so long, in seconds. 0 removes the mapping.
    pub lifetime: u32,
}

/// An answer to a [`MapRequest`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapAnswer {
    /// What became of it.
    pub result: Result<(), PcpRefusal>,
    /// Of a mapping: it lasts so long. Of a refusal: it is the same for so long. In seconds.
    pub lifetime: u32,
    /// Seconds since the gateway began; starts anew when it has forgotten its mappings.
    pub epoch: u32,
    /// That of the request.
    pub nonce: Nonce,
    /// That of the request.
    pub protocol: Protocol,
    /// That of the request.
    pub internal_port: u16,
    /// The port given.
    pub external_port: u16,
    /// The address given.
    pub external_ip: IpAddr,
}

/// A refusal, by its number in RFC 6887, 7.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} (PCP result {})", self.words(), self.0)]
pub struct PcpRefusal(pub u8);

impl PcpRefusal {
    /// The wanted external port or address cannot be had.
    pub const CANNOT_PROVIDE_EXTERNAL: Self = Self(11);

    const fn words(self) -> &'static str {
        match self.0 {
            1 => "another version is spoken",
            2 => "port mapping is not allowed",
            3..=6 | 9 => "the gateway does not know such a request",
            7 => "the gateway has no network outside",
            8 | 10 => "the gateway has no ports left for us",
            11 => "the wanted port cannot be had",
            12 => "there is another gateway between us and this one",
            _ => "refused",
        }
    }
}

/// Why a datagram is no answer to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PcpError {
    /// The gateway speaks another version: 0 is NAT-PMP.
    #[error("the gateway speaks version {0} of PCP")]
    Version(u8),
    /// Not an answer to a MAP request.
    #[error("no answer to a mapping by PCP")]
    NotAnAnswer,
}

impl MapRequest {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[0] = VERSION;
        out[1] = MAP;
        out[4..8].copy_from_slice(&self.lifetime.to_be_bytes());
        out[8..24].copy_from_slice(&mapped(self.client));
        out[24..36].copy_from_slice(&self.nonce);
        out[36] = self.protocol.number();
        out[40..42].copy_from_slice(&self.internal_port.to_be_bytes());
        out[42..44].copy_from_slice(&self.external_port.to_be_bytes());
        out[44..60].copy_from_slice(&mapped(self.external_ip));
        out
    }
}

impl MapAnswer {
    /// Reads a datagram. Options behind the answer are passed over: none was asked for.
    ///
    /// # Errors
    /// If it is of another version, or no answer to a MAP request.
    pub fn parse(datagram: &[u8]) -> Result<Self, PcpError> {
        match *datagram {
            // What speaks NAT-PMP alone says so in four bytes.
            [version, code, ..]
                if version != VERSION && code & ANSWER != 0 && datagram.len() >= 4 =>
            {
                return Err(PcpError::Version(version));
            }
            [VERSION, code, ..] if code == MAP | ANSWER && datagram.len() <= MAX_DATAGRAM => {}
            _ => return Err(PcpError::NotAnAnswer),
        }
        let body: &[u8; LEN] = datagram.first_chunk().ok_or(PcpError::NotAnAnswer)?;
        let two = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let four =
            |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&body[24..36]);
        let mut ip = [0; 16];
        ip.copy_from_slice(&body[44..60]);
        Ok(Self {
            result: if body[3] == 0 { Ok(()) } else { Err(PcpRefusal(body[3])) },
            lifetime: four(4),
            epoch: four(8),
            nonce,
            protocol: Protocol::from_number(body[36]).ok_or(PcpError::NotAnAnswer)?,
            internal_port: two(40),
            external_port: two(42),
            external_ip: Ipv6Addr::from(ip).to_canonical(),
        })
    }
}

/// An address as PCP writes it: IPv4 inside IPv6.
fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use core::net::Ipv4Addr;

    fn request() -> MapRequest {
        MapRequest {
            client: Ipv4Addr::new(192, 168, 1, 2).into(),
            nonce: *b"abcdefghijkl",
            protocol: Protocol::Tcp,
            internal_port: 6881,
            external_port: 6882,
            external_ip: Ipv4Addr::UNSPECIFIED.into(),
            lifetime: 3600,
        }
    }

    /// What a gateway makes of a request.
    fn answer(request: &MapRequest) -> [u8; LEN] {
        let mut out = request.encode();
        out[1] |= ANSWER;
        out[8..24].fill(0);
        out[8..12].copy_from_slice(&7u32.to_be_bytes());
        out[44..60].copy_from_slice(&mapped(Ipv4Addr::new(203, 0, 113, 9).into()));
        out
    }

    #[test]
    fn a_request_is_laid_out_as_rfc_6887_says() {
        let bytes = request().encode();
        assert_eq!(bytes[..8], [2, 1, 0, 0, 0, 0, 14, 16]);
        assert_eq!(bytes[8..24], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 168, 1, 2]);
        assert_eq!(bytes[24..36], *b"abcdefghijkl");
        assert_eq!(bytes[36..44], [6, 0, 0, 0, 0x1a, 0xe1, 0x1a, 0xe2]);
        assert_eq!(bytes[44..60], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0]);
    }

    #[test]
    fn an_answer_is_read_and_one_with_options_too() {
        let bytes = answer(&request());
        let read = MapAnswer::parse(&bytes).unwrap();
        assert_eq!((read.result, read.lifetime, read.epoch), (Ok(()), 3600, 7));
        assert_eq!((read.nonce, read.protocol), (*b"abcdefghijkl", Protocol::Tcp));
        assert_eq!((read.internal_port, read.external_port), (6881, 6882));
        assert_eq!(read.external_ip, IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)));
        let with_option = [&bytes[..], &[2, 0, 0, 0]].concat();
        assert_eq!(MapAnswer::parse(&with_option), Ok(read));
    }

    #[test]
    fn refusals_other_versions_and_junk_are_told_apart() {
        let mut refused = answer(&request());
        refused[3] = 2;
        let read = MapAnswer::parse(&refused).unwrap();
        let said = read.result.unwrap_err().to_string();
        assert_eq!(said, "port mapping is not allowed (PCP result 2)");
        // As gateways that know NAT-PMP alone answer.
        let old = [0, 0x81, 0, 1, 0, 0, 0, 9];
        assert_eq!(MapAnswer::parse(&old), Err(PcpError::Version(0)));
        let good = answer(&request());
        for junk in [&[][..], &[2], &good[..59], &request().encode(), &[2, 0x82, 0, 0]] {
            assert_eq!(MapAnswer::parse(junk), Err(PcpError::NotAnAnswer), "{junk:?}");
        }
        let mut other = good;
        other[36] = 1;
        assert_eq!(MapAnswer::parse(&other), Err(PcpError::NotAnAnswer), "neither TCP nor UDP");
        let long = [&good[..], &[0; MAX_DATAGRAM]].concat();
        assert_eq!(MapAnswer::parse(&long), Err(PcpError::NotAnAnswer));
    }
}
