//! The peer protocol: handshake and messages (BEP 3, 6, 10, 21). SKELETON.

pub mod handshake;
pub mod message;
