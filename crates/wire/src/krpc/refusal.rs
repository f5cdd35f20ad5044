//! What a query deserves that cannot be read (BEP 5: error 203).

use super::{ErrorCode, ErrorReply, KrpcError, TransactionId};
use crate::bencode::{self, Limits};
use alloc::format;

impl ErrorReply {
    /// The refusal of a query in which `what` is missing or malformed.
    #[must_use]
    pub fn malformed(what: &'static str) -> Self {
        let message = format!("{what} is missing or malformed");
        Self { code: ErrorCode::Protocol as i64, message }
    }

    /// The refusal of `datagram`, which [`super::Packet::parse`] refused with `error`, and the transaction id it has to
    /// carry. Only what is a query deserves one: answers and errors would be answered for ever, and what is no bencode or
    /// has no transaction id cannot be answered.
    #[must_use]
    pub fn of(datagram: &[u8], error: KrpcError) -> Option<(TransactionId, Self)> {
        let KrpcError::Bad(what) = error else { return None };
        let doc = bencode::parse(datagram, Limits::WIRE).ok()?;
        let dict = doc.as_dict()?;
        let transaction = dict.get_bytes(b"t").and_then(TransactionId::new)?;
        (dict.get_bytes(b"y") == Some(b"q")).then(|| (transaction, Self::malformed(what)))
    }
}
