//! The key exchange: Diffie-Hellman with a prime of 768 bits and the generator 2.
//!
//! Numbers are of fixed size and arithmetic takes the same time whatever they are. On the wire and in hashes every number
//! has [`KEY_LEN`] bytes, leading zeros included: one in 256 begins with such a zero, and where they are left off those
//! connections fail.

use crate::rng::Rng;
use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U192, U768, const_monty_params};

/// Length of public values and of the secret, in bytes.
pub(super) const KEY_LEN: usize = 96;

/// Length of the private exponent, in bits.
const EXPONENT_BITS: u32 = 160;

const_monty_params!(
    Prime,
    U768,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
     ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
    "The arithmetic modulo the prime of MSE."
);

type Residue = ConstMontyForm<Prime, { U768::LIMBS }>;

/// Our half of one exchange.
pub(super) struct KeyPair {
    exponent: U192,
    public: [u8; KEY_LEN],
}

/// What both sides know in the end and nobody else does: `S`.
pub(super) struct Secret(pub(super) [u8; KEY_LEN]);

impl KeyPair {
    /// A new pair.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self::from_exponent(&rng.next_20())
    }

    fn from_exponent(exponent: &[u8; 20]) -> Self {
        let mut wide = [0; 24];
        wide[4..].copy_from_slice(exponent);
        let exponent = U192::from_be_slice(&wide);
        let generator = Residue::new(&U768::from_u8(2));
        Self { public: to_bytes(generator.pow_bounded_exp(&exponent, EXPONENT_BITS)), exponent }
    }

    /// What we tell the other side.
    pub(super) const fn public(&self) -> &[u8; KEY_LEN] {
        &self.public
    }

    /// The secret shared with whom `theirs` is from; `None` if it is no public value of the exchange.
    ///
    /// 0, 1, -1 and what is not below the prime are refused: with them anybody would know the secret.
    pub(super) fn secret(&self, theirs: &[u8; KEY_LEN]) -> Option<Secret> {
        let theirs = U768::from_be_slice(theirs);
        let minus_one = Prime::PARAMS.modulus().as_ref().wrapping_sub(&U768::ONE);
        if theirs <= U768::ONE || theirs >= minus_one {
            return None;
        }
        let secret = Residue::new(&theirs).pow_bounded_exp(&self.exponent, EXPONENT_BITS);
        Some(Secret(to_bytes(secret)))
    }
}

fn to_bytes(number: Residue) -> [u8; KEY_LEN] {
    let mut bytes = [0; KEY_LEN];
    bytes.copy_from_slice(number.retrieve().to_be_bytes().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::tests::reference;
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    /// 2^159 and a little more.
    fn exponent(low: u16) -> [u8; 20] {
        let mut exponent = [0; 20];
        exponent[0] = 0x80;
        exponent[18..].copy_from_slice(&low.to_be_bytes());
        exponent
    }

    /// Computed with Python's integers.
    #[test]
    fn a_known_exchange() {
        let ours =
            KeyPair::from_exponent(&core::array::from_fn(|at| u8::try_from(at + 1).unwrap()));
        let theirs = KeyPair::from_exponent(b"samara-responder-key");
        assert_eq!(
            HEXLOWER.encode(ours.public()),
            "96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556b0918db2b4c658e02a87f7e5fb14b18a\
             553e084cbf3dad2d30f16596ccb982d406258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693"
        );
        let secret = "48097e618db7371d7d896b10e1ce67e631a362cf32b74c9112f37b22f4fa8781f57406bd0584636fbc7f5191dcb3a871\
                      722a4afbbeaffa08ff5185727ccdcd0584438716c46c5a6a064f505d28c195800faa207a25444ee0fdb7a7a82455c73e";
        for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
            assert_eq!(HEXLOWER.encode(&one.secret(other.public()).unwrap().0), secret);
        }
    }

    #[test]
    fn leading_zeros_are_kept() {
        let (small_public, small_secret) = (exponent(289), exponent(709));
        assert_eq!(KeyPair::from_exponent(&small_public).public()[..4], [0, 0xf7, 0x27, 0xa4]);
        let ours =
            KeyPair::from_exponent(&core::array::from_fn(|at| u8::try_from(at + 1).unwrap()));
        let theirs = KeyPair::from_exponent(&small_secret);
        assert_eq!(ours.secret(theirs.public()).unwrap().0[..4], [0, 0xa5, 0x33, 0xa6]);
    }

    #[test]
    fn values_that_give_the_secret_away_are_refused() {
        let keys = KeyPair::from_exponent(&exponent(1));
        let prime: [u8; KEY_LEN] =
            Prime::PARAMS.modulus().as_ref().to_be_bytes().as_ref().try_into().unwrap();
        let small = |value| {
            let mut bytes = [0; KEY_LEN];
            bytes[KEY_LEN - 1] = value;
            bytes
        };
        let below = |less: u8| {
            let mut bytes = prime;
            bytes[KEY_LEN - 1] -= less;
            bytes
        };
        for refused in [small(0), small(1), below(1), prime, [0xff; KEY_LEN]] {
            assert!(keys.secret(&refused).is_none(), "{refused:x?}");
        }
        for taken in [small(2), below(2)] {
            assert!(keys.secret(&taken).is_some());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn agrees_with_long_multiplication(one in any::<[u8; 20]>(), other in any::<[u8; 20]>()) {
            let (one, other) = (KeyPair::from_exponent(&one), (KeyPair::from_exponent(&other), other));
            prop_assert_eq!(*other.0.public(), reference::public(&other.1));
            prop_assert_eq!(
                one.secret(other.0.public()).unwrap().0,
                reference::power(one.public(), &other.1)
            );
        }
    }
}
