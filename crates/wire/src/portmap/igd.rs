//! UPnP Internet Gateway Devices: which service of a description maps ports, and the actions of it.
//!
//! Versions 1 and 2 differ little in what is used here: mappings that last for a limited time, refused by some of the first, and the
//! number in the name of the service, which has to be repeated to it.

use super::Protocol;
use super::xml::{self, Part};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

/// Longest description or answer that is read, in bytes.
pub const MAX_DOCUMENT: usize = 64 * 1024;

/// Services taken from one description.
pub const MAX_SERVICES: usize = 8;

/// Longest text of a refusal that is shown, in characters.
const MAX_REASON: usize = 80;

/// The kinds of service that map ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceKind {
    /// `WANIPConnection:1` or `:2`.
    Ip(u8),
    /// `WANPPPConnection:1`, of lines with a dial-up protocol.
    Ppp,
}

impl ServiceKind {
    const ALL: [Self; 3] = [Self::Ip(2), Self::Ip(1), Self::Ppp];

    /// The name that its actions are called by.
    #[must_use]
    pub const fn urn(self) -> &'static str {
        match self {
            Self::Ip(2..) => "urn:schemas-upnp-org:service:WANIPConnection:2",
            Self::Ip(_) => "urn:schemas-upnp-org:service:WANIPConnection:1",
            Self::Ppp => "urn:schemas-upnp-org:service:WANPPPConnection:1",
        }
    }
}

/// A service that maps ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its kind.
    pub kind: ServiceKind,
    /// Where its actions are sent: relative to the description, or absolute. As it was written.
    pub control: String,
}

/// The description of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// What URLs are relative to, if not to where the description came from.
    pub base: Option<String>,
    /// Services that map ports, at least one and at most [`MAX_SERVICES`].
    pub services: Vec<Service>,
}

/// Why a document is of no use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IgdError {
    /// Beyond [`MAX_DOCUMENT`].
    #[error("it sent more than 64 KiB")]
    TooLong,
    /// No service that maps ports.
    #[error("it has no service that maps ports")]
    NoService,
    /// Not an answer to the action.
    #[error("it answered something else than was asked")]
    NotAnAnswer,
    /// The gateway refused.
    #[error("{reason} (UPnP error {code})")]
    Refused {
        /// By its number.
        code: u16,
        /// The gateway's own words, shortened.
        reason: String,
    },
}

impl IgdError {
    /// Whether somebody else has this external port.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        // 501: said by some instead of 718.
        matches!(self, Self::Refused { code: 718 | 501 | 729, .. })
    }

    /// Whether the gateway knows only mappings that last for ever.
    #[must_use]
    pub const fn wants_permanent(&self) -> bool {
        matches!(self, Self::Refused { code: 725, .. })
    }
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// If it is too long or has no service that maps ports.
    pub fn parse(document: &[u8]) -> Result<Self, IgdError> {
        let text = text(document)?;
        let base = xml::text_of(&text, "URLBase").map(|base| base.into_owned());
        let mut services = Vec::new();
        let (mut kind, mut control, mut last) = (None, None, "");
        for part in xml::parts(&text) {
            match part {
                Part::Open("service") => (kind, control) = (None, None),
                Part::Open(name) => last = name,
                Part::Text(text) => match last {
                    "serviceType" => kind = ServiceKind::ALL.into_iter().find(|k| k.urn() == text),
                    "controlURL" => control = Some(text.into_owned()),
                    _ => {}
                },
                Part::Close("service") => {
                    if let (Some(kind), Some(control)) = (kind.take(), control.take())
                        && services.len() < MAX_SERVICES
                    {
                        services.push(Service { kind, control });
                    }
                }
                Part::Close(_) => last = "",
            }
        }
        if services.is_empty() { Err(IgdError::NoService) } else { Ok(Self { base, services }) }
    }
}

/// Something that a service does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    /// Which address do you have outside?
    GetExternalAddress,
    /// Map a port, or renew what was mapped.
    AddPortMapping {
        /// What is mapped.
        protocol: Protocol,
        /// The port outside.
        external_port: u16,
        /// Where it leads.
        internal: (Ipv4Addr, u16),
        /// For so long, in seconds; 0: for ever.
        lease: u32,
        /// What users of the gateway read: printable ASCII without `<` and `&`.
        description: &'a str,
    },
    /// Remove a mapping.
    DeletePortMapping {
        /// What was mapped.
        protocol: Protocol,
        /// The port outside.
        external_port: u16,
    },
}

impl Action<'_> {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::GetExternalAddress => "GetExternalIPAddress",
            Self::AddPortMapping { .. } => "AddPortMapping",
            Self::DeletePortMapping { .. } => "DeletePortMapping",
        }
    }

    /// The body of the request.
    #[must_use]
    pub fn body(&self, kind: ServiceKind) -> String {
        let (name, urn) = (self.name(), kind.urn());
        let arguments = match self {
            Self::GetExternalAddress => String::new(),
            Self::AddPortMapping { protocol, external_port, internal, lease, description } => {
                let (ip, port) = internal;
                format!(
                    "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external_port}</NewExternalPort>\
                     <NewProtocol>{}</NewProtocol><NewInternalPort>{port}</NewInternalPort>\
                     <NewInternalClient>{ip}</NewInternalClient><NewEnabled>1</NewEnabled>\
                     <NewPortMappingDescription>{description}</NewPortMappingDescription>\
                     <NewLeaseDuration>{lease}</NewLeaseDuration>",
                    protocol.name()
                )
            }
            Self::DeletePortMapping { protocol, external_port } => format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external_port}</NewExternalPort>\
                 <NewProtocol>{}</NewProtocol>",
                protocol.name()
            ),
        };
        format!(
            "<?xml version=\"1.0\"?>\r\n\
             <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{name} xmlns:u=\"{urn}\">{arguments}</u:{name}></s:Body></s:Envelope>\r\n"
        )
    }

    /// Reads the answer, whose HTTP status was a success or not. Gives the address, if one was asked for; a gateway that has none
    /// names none.
    ///
    /// # Errors
    /// If the gateway refused, or answered something else.
    pub fn parse_answer(&self, success: bool, document: &[u8]) -> Result<Option<IpAddr>, IgdError> {
        let text = text(document)?;
        if let Some(code) = xml::text_of(&text, "errorCode") {
            let code = code.parse().map_err(|_| IgdError::NotAnAnswer)?;
            let reason = xml::text_of(&text, "errorDescription").unwrap_or("refused".into());
            let shown = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
            return Err(IgdError::Refused { code, reason: shown });
        }
        let is_answer = |part: Part<'_>| match part {
            Part::Open(name) => name.strip_suffix("Response") == Some(self.name()),
            _ => false,
        };
        if !success || !xml::parts(&text).any(is_answer) {
            return Err(IgdError::NotAnAnswer);
        }
        let said = xml::text_of(&text, "NewExternalIPAddress");
        let ip = said.and_then(|said| said.parse().ok());
        Ok(ip.filter(|ip: &IpAddr| *self == Self::GetExternalAddress && !ip.is_unspecified()))
    }
}

/// A document as text. Bytes that are none are replaced: a device may be named in any encoding.
fn text(document: &[u8]) -> Result<String, IgdError> {
    if document.len() > MAX_DOCUMENT {
        return Err(IgdError::TooLong);
    }
    Ok(String::from_utf8_lossy(document).into_owned())
}

#[cfg(test)]
mod tests;
