//! NAT-PMP (RFC 6886): the external address, and mappings of ports.

use super::Protocol;
use core::net::Ipv4Addr;

/// Marks an answer.
const ANSWER: u8 = 0x80;

/// Asks a gateway something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Which address do you have outside?
    ExternalAddress,
    /// Map a port; for 0 seconds: remove the mapping.
    Map {
        /// What is mapped.
        protocol: Protocol,
        /// The port we listen on.
        internal_port: u16,
        /// The port wanted outside; 0: any.
        external_port: u16,
        /// For so long, in seconds.
        lifetime: u32,
    },
}

/// An answer of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Request::ExternalAddress`].
    ExternalAddress {
        /// The address outside.
        ip: Ipv4Addr,
        /// Seconds since the gateway began; starts anew when it has forgotten its mappings.
        epoch: u32,
    },
    /// To [`Request::Map`].
    Map {
        /// What is mapped.
        protocol: Protocol,
        /// That of the request.
        internal_port: u16,
        /// The port given.
        external_port: u16,
        /// For so long, in seconds.
        lifetime: u32,
        /// Seconds since the gateway began.
        epoch: u32,
    },
    /// Refused: by the operation (0: the address) and the reason.
    Refused(u8, NatPmpRefusal),
}

/// A refusal, by its number in RFC 6886, 3.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} (NAT-PMP result {})", self.words(), self.0)]
pub struct NatPmpRefusal(pub u16);

impl NatPmpRefusal {
    const fn words(self) -> &'static str {
        match self.0 {
            1 | 5 => "the gateway does not know such a request",
            2 => "port mapping is not allowed",
            3 => "the gateway has no address outside",
            4 => "the gateway has no ports left",
            _ => "refused",
        }
    }
}

/// Why a datagram is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no answer of NAT-PMP")]
pub struct NotAnAnswer;

impl Protocol {
    const fn operation(self) -> u8 {
        match self {
            Self::Udp => 1,
            Self::Tcp => 2,
        }
    }
}

impl Request {
    /// The number of what is asked for, as refusals repeat it.
    #[must_use]
    pub const fn operation(&self) -> u8 {
        match self {
            Self::ExternalAddress => 0,
            Self::Map { protocol, .. } => protocol.operation(),
        }
    }

    /// Writes the datagram into `out` and gives its part.
    #[must_use]
    pub fn encode<'a>(&self, out: &'a mut [u8; 12]) -> &'a [u8] {
        *out = [0; 12];
        out[1] = self.operation();
        match *self {
            Self::ExternalAddress => &out[..2],
            Self::Map { internal_port, external_port, lifetime, .. } => {
                out[4..6].copy_from_slice(&internal_port.to_be_bytes());
                out[6..8].copy_from_slice(&external_port.to_be_bytes());
                out[8..12].copy_from_slice(&lifetime.to_be_bytes());
                out
            }
        }
    }
}

impl Answer {
    /// Reads a datagram. What is behind the answer is passed over.
    ///
    /// # Errors
    /// If it is no answer.
    pub fn parse(datagram: &[u8]) -> Result<Self, NotAnAnswer> {
        let head: &[u8; 8] = datagram.first_chunk().ok_or(NotAnAnswer)?;
        let &[0, code, high, low, epoch @ ..] = head else { return Err(NotAnAnswer) };
        let (epoch, operation) = (u32::from_be_bytes(epoch), code & !ANSWER);
        if code & ANSWER == 0 || operation > 2 {
            return Err(NotAnAnswer);
        }
        match (u16::from_be_bytes([high, low]), &datagram[8..]) {
            (0, &[a, b, c, d, ..]) if operation == 0 => {
                Ok(Self::ExternalAddress { ip: Ipv4Addr::new(a, b, c, d), epoch })
            }
            (0, &[a, b, c, d, e, f, g, h, ..]) if operation != 0 => Ok(Self::Map {
                protocol: if operation == 1 { Protocol::Udp } else { Protocol::Tcp },
                internal_port: u16::from_be_bytes([a, b]),
                external_port: u16::from_be_bytes([c, d]),
                lifetime: u32::from_be_bytes([e, f, g, h]),
                epoch,
            }),
            (0, _) => Err(NotAnAnswer),
            (result, _) => Ok(Self::Refused(operation, NatPmpRefusal(result))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn requests_are_laid_out_as_rfc_6886_says() {
        let mut out = [0xff; 12];
        assert_eq!(Request::ExternalAddress.encode(&mut out), [0, 0]);
        let map = Request::Map {
            protocol: Protocol::Tcp,
            internal_port: 6881,
            external_port: 6882,
            lifetime: 7200,
        };
        assert_eq!(map.encode(&mut out), [0, 2, 0, 0, 0x1a, 0xe1, 0x1a, 0xe2, 0, 0, 28, 32]);
    }

    #[test]
    fn answers_are_read() {
        let address = [0, 128, 0, 0, 0, 0, 0, 5, 203, 0, 113, 9];
        let want = Answer::ExternalAddress { ip: Ipv4Addr::new(203, 0, 113, 9), epoch: 5 };
        assert_eq!(Answer::parse(&address), Ok(want));
        let map = [0, 129, 0, 0, 0, 0, 0, 5, 0x1a, 0xe1, 0x1a, 0xe2, 0, 0, 28, 32];
        let want = Answer::Map {
            protocol: Protocol::Udp,
            internal_port: 6881,
            external_port: 6882,
            lifetime: 7200,
            epoch: 5,
        };
        assert_eq!(Answer::parse(&map), Ok(want));
        let refused = Answer::parse(&[0, 130, 0, 2, 0, 0, 0, 5]).unwrap();
        assert_eq!(refused, Answer::Refused(2, NatPmpRefusal(2)));
        let Answer::Refused(_, why) = refused else { unreachable!() };
        assert_eq!(why.to_string(), "port mapping is not allowed (NAT-PMP result 2)");
    }

    #[test]
    fn junk_is_no_answer() {
        for junk in [
            &[][..],
            &[0, 128, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            &[1, 128, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            &[0, 131, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0],
            &[0, 128, 0, 0, 0, 0, 0, 0, 1, 2, 3],
            &[0, 129, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0],
        ] {
            assert_eq!(Answer::parse(junk), Err(NotAnAnswer), "{junk:?}");
        }
    }
}
