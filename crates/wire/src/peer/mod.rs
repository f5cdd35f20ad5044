//! The peer protocol: handshake and messages (BEP 3, 5, 6, 9, 10, 11, 20, 21, 52, 55).
//!
//! | module | what it reads and writes |
//! | --- | --- |
//! | [`handshake`] | the 68 bytes both sides open with |
//! | [`message`] | the messages, all but the payload of `piece` |
//! | [`frame`] | the boundaries of messages in a stream, checked before anything is buffered |
//! | [`extension`] | the handshake of the extension protocol |
//! | [`ut_metadata`] | requests for the info dictionary, and the answers |
//! | [`ut_pex`] | peers that peers tell of |
//! | [`ut_holepunch`] | peers that are brought together through their NATs |
//! | [`hashes`] | requests for parts of the hash trees of v2 torrents |
//! | [`client`] | the client and version a peer id speaks of |

pub mod client;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod hashes;
pub mod message;
pub mod ut_holepunch;
pub mod ut_metadata;
pub mod ut_pex;
