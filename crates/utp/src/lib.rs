//! uTP (BEP 29): many reliable streams over one UDP socket, without socket or clock.
//!
//! An [`Endpoint`] is a state machine: it is told which datagrams came, what is to be written and what time it is, and is asked
//! for the datagrams to be sent. Its contract is at the head of [`endpoint`].
//!
//! | module | decides |
//! | --- | --- |
//! | [`endpoint`] | which connection a datagram belongs to; who may begin one; whose turn it is |
//! | `connection` | handshake, acknowledgements, time-outs, end of one connection |
//! | `send` | what is to be sent, what is lost |
//! | `receive` | what has arrived, in order and beyond gaps |
//! | [`congestion`] | how much may be on its way (LEDBAT) |
//! | [`delay`] | how long packets wait in queues, from clocks that nobody has set |
//! | [`rtt`] | how long an acknowledgement is waited for |
//! | [`mtu`] | how long packets may be |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod congestion;
mod connection;
pub mod delay;
pub mod endpoint;
pub mod mtu;
mod receive;
pub mod rtt;
mod send;

pub use connection::{CloseReason, StreamError};
pub use endpoint::{
    ConnectError, ConnectionKey, ConnectionStats, Endpoint, Event, Outbox, Transmit, UtpConfig,
};
