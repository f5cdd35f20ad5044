//! Who wrote an item (BEP 44): the only place that knows ed25519.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use samara_wire::krpc::{
    Item, NodeId, PublicKey, Signature, Signed, immutable_target, mutable_target, signed_bytes,
};

/// A key that can sign items.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SecretKey(of {:?})", self.public())
    }
}

impl SecretKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// What others know the items of this key by.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// A mutable item: `value` (bencoded), its number and the signature of both with `salt`.
    #[must_use]
    pub fn sign(&self, salt: &[u8], seq: i64, value: &[u8]) -> Item {
        let signature = self.0.sign(&signed_bytes(salt, seq, value)).to_bytes();
        let signed = Signed { key: self.public(), seq, signature: Signature(signature) };
        Item { value: value.into(), signed: Some(signed) }
    }
}

/// Whether the signature is of the key, over this salt, number and value.
#[must_use]
pub fn verifies(signed: &Signed, salt: &[u8], value: &[u8]) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signed.signature.0);
    VerifyingKey::from_bytes(&signed.key.0).is_ok_and(|key| {
        key.verify_strict(&signed_bytes(salt, signed.seq, value), &signature).is_ok()
    })
}

/// Whether `item` is what is looked for at `target`: the right hash, or the right key and a good signature.
#[must_use]
pub fn belongs(item: &Item, target: &NodeId, salt: &[u8]) -> bool {
    match &item.signed {
        None => immutable_target(&item.value) == *target,
        Some(signed) => {
            mutable_target(&signed.key, salt) == *target && verifies(signed, salt, &item.value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn vector(signature: &str) -> Signed {
        let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
        let key = bytes("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548");
        Signed {
            key: PublicKey(key.try_into().unwrap()),
            seq: 1,
            signature: Signature(bytes(signature).try_into().unwrap()),
        }
    }

    #[test]
    fn the_vectors_of_bep_44_verify() {
        let value = b"12:Hello World!";
        let plain = vector(
            "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
        );
        let salted = vector(
            "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17ddf9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
        );
        assert!(verifies(&plain, b"", value) && verifies(&salted, b"foobar", value));
        assert!(!verifies(&plain, b"foobar", value) && !verifies(&salted, b"", value));
        assert!(!verifies(&plain, b"", b"12:Hello World?"));
        assert!(!verifies(&Signed { seq: 2, ..plain }, b"", value));
    }

    #[test]
    fn what_is_signed_belongs_where_it_is_stored() {
        let secret = SecretKey::from_seed(&[5; 32]);
        let item = secret.sign(b"salt", 7, b"i1e");
        let target = mutable_target(&secret.public(), b"salt");
        assert!(belongs(&item, &target, b"salt"));
        assert!(!belongs(&item, &target, b"") && !belongs(&item, &NodeId([0; 20]), b"salt"));
        let plain = Item { value: b"i1e".into(), signed: None };
        assert!(belongs(&plain, &immutable_target(b"i1e"), b""));
        assert!(!belongs(&plain, &target, b""));
    }
}
