//! What is said to a home gateway to be reachable from outside: three protocols for the same thing.
//!
//! | module | protocol |
//! | --- | --- |
//! | [`pcp`] | Port Control Protocol (RFC 6887), IPv4 and IPv6 |
//! | [`natpmp`] | its forerunner, NAT-PMP (RFC 6886), IPv4 |
//! | [`ssdp`] | search for UPnP devices on the local network |
//! | [`igd`] | UPnP Internet Gateway Devices, version 1 and 2: description and actions |
//!
//! Anybody on the local network can answer. What is read here is bounded and valid by itself; whether it was asked for, and of
//! whom, is known to who holds the sockets.

pub mod igd;
pub mod natpmp;
pub mod pcp;
pub mod ssdp;
mod url;
mod xml;

pub use url::{GatewayUrl, UrlError};

/// Where gateways listen for PCP and NAT-PMP.
pub const GATEWAY_PORT: u16 = 5351;

/// What is mapped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number in an IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// Its name in UPnP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}
