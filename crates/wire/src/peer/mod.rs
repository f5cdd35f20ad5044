//! The peer protocol: handshake and messages (BEP 3, 5, 6, 10, 20, 21).
//!
//! | module | what it reads and writes |
//! | --- | --- |
//! | [`handshake`] | the 68 bytes both sides open with |
//! | [`message`] | the messages, all but the payload of `piece` |
//! | [`frame`] | the boundaries of messages in a stream, checked before anything is buffered |
//! | [`extension`] | the handshake of the extension protocol |
//! | [`client`] | the client and version a peer id speaks of |

pub mod client;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod message;
