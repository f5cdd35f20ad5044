//! The other side of a negotiation, written by the book and as simply as can be: long multiplication, RC4 byte by byte, and
//! messages put together by hand, so that they can be wrong in any way.

use sha1::{Digest, Sha1};
use std::vec::Vec;

const PRIME: &[u8; 192] = b"ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563";

/// A number of up to 800 bits, lowest word first.
type Number = [u32; 25];

fn read(bytes: &[u8]) -> Number {
    let mut number = [0; 25];
    for (at, byte) in bytes.iter().rev().enumerate() {
        number[at / 4] |= u32::from(*byte) << (8 * (at % 4));
    }
    number
}

fn less(a: &Number, b: &Number) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

#[allow(clippy::cast_possible_truncation, reason = "the low word is meant")]
fn add(a: &Number, b: &Number) -> Number {
    let mut carry = 0;
    core::array::from_fn(|at| {
        carry += u64::from(a[at]) + u64::from(b[at]);
        let word = carry as u32;
        carry >>= 32;
        word
    })
}

fn subtract(a: &Number, b: &Number) -> Number {
    let inverse = b.map(|word| !word);
    let mut one = [0; 25];
    one[0] = 1;
    add(a, &add(&inverse, &one))
}

fn multiply(a: &Number, b: &Number, prime: &Number) -> Number {
    let reduced = |number: Number| {
        if less(&number, prime) { number } else { subtract(&number, prime) }
    };
    let mut product = [0; 25];
    for bit in (0..768).rev() {
        product = reduced(add(&product, &product));
        if b[bit / 32] >> (bit % 32) & 1 == 1 {
            product = reduced(add(&product, a));
        }
    }
    product
}

/// `base` to the `exponent`, modulo the prime.
pub(in super::super) fn power(base: &[u8; 96], exponent: &[u8; 20]) -> [u8; 96] {
    let prime = read(&data_encoding::HEXLOWER.decode(PRIME).unwrap());
    let base = read(base);
    let mut result = read(&[1]);
    for bit in 0..160 {
        result = multiply(&result, &result, &prime);
        if exponent[bit / 8] << (bit % 8) & 0x80 != 0 {
            result = multiply(&result, &base, &prime);
        }
    }
    core::array::from_fn(|at| result[(95 - at) / 4].to_be_bytes()[at % 4])
}

/// 2 to the `exponent`.
pub(in super::super) fn public(exponent: &[u8; 20]) -> [u8; 96] {
    let mut two = [0; 96];
    two[95] = 2;
    power(&two, exponent)
}

/// RC4 by the book, behind the first 1,024 bytes.
pub(in super::super) struct Rc4 {
    table: Vec<u8>,
    i: u8,
    j: u8,
}

impl Rc4 {
    pub(in super::super) fn new(key: &[u8]) -> Self {
        let mut table: Vec<u8> = (0..=255).collect();
        let mut j = 0_u8;
        for i in 0..256 {
            j = j.wrapping_add(table[i]).wrapping_add(key[i % key.len()]);
            table.swap(i, j.into());
        }
        let mut rc4 = Self { table, i: 0, j: 0 };
        rc4.apply(&[0; 1024]);
        rc4
    }

    pub(in super::super) fn apply(&mut self, bytes: &[u8]) -> Vec<u8> {
        let step = |byte: &u8| {
            self.i = self.i.wrapping_add(1);
            self.j = self.j.wrapping_add(self.table[usize::from(self.i)]);
            self.table.swap(self.i.into(), self.j.into());
            let sum = self.table[usize::from(self.i)].wrapping_add(self.table[usize::from(self.j)]);
            byte ^ self.table[usize::from(sum)]
        };
        bytes.iter().map(step).collect()
    }
}

pub(super) fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    Sha1::digest(parts.concat()).into()
}

/// What both sides derive: the secret, A's stream and B's.
pub(super) struct Shared {
    pub(super) secret: [u8; 96],
    pub(super) skey: [u8; 20],
    pub(super) from_a: Rc4,
    pub(super) from_b: Rc4,
}

impl Shared {
    pub(super) fn new(theirs: &[u8; 96], exponent: &[u8; 20], skey: [u8; 20]) -> Self {
        let secret = power(theirs, exponent);
        let stream = |label: &[u8]| Rc4::new(&sha1(&[label, &secret, &skey]));
        Self { secret, skey, from_a: stream(b"keyA"), from_b: stream(b"keyB") }
    }

    /// Both hashes that begin A's second message.
    pub(super) fn hashes(&self) -> Vec<u8> {
        let req2 = sha1(&[b"req2", &self.skey]);
        let req3 = sha1(&[b"req3", &self.secret]);
        let hidden = req2.iter().zip(req3).map(|(a, b)| a ^ b);
        sha1(&[b"req1", &self.secret]).into_iter().chain(hidden).collect()
    }
}
