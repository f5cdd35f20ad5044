//! The filters by which a swarm is counted without naming anybody (BEP 33).

use alloc::boxed::Box;
use core::fmt;
use core::net::IpAddr;
use sha1::{Digest, Sha1};

/// Bytes of a filter.
const LEN: usize = 256;
/// Bits of a filter.
const BITS: u16 = 2048;

/// A set of IP addresses, of which only the size can be told: 2,048 bits, two for each address.
///
/// The estimate is good up to some 6,000 addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct BloomFilter(Box<[u8; LEN]>);

impl Default for BloomFilter {
    fn default() -> Self {
        Self(Box::new([0; LEN]))
    }
}

impl BloomFilter {
    /// The filter of these 256 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Box::new(<[u8; LEN]>::try_from(bytes).ok()?)))
    }

    /// Its 256 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    /// Adds `ip`.
    pub fn insert(&mut self, ip: IpAddr) {
        for (byte, mask) in bits_of(ip) {
            self.0[byte] |= mask;
        }
    }

    /// Whether `ip` was added, or others that together look the same.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        bits_of(ip).into_iter().all(|(byte, mask)| self.0[byte] & mask != 0)
    }

    /// Adds all that `other` holds.
    pub fn union(&mut self, other: &Self) {
        for (to, from) in self.0.iter_mut().zip(other.0.iter()) {
            *to |= from;
        }
    }

    /// About how many addresses were added.
    #[must_use]
    pub fn estimate(&self) -> f64 {
        let bits = f64::from(BITS);
        let zeros: u32 = self.0.iter().map(|byte| byte.count_zeros()).sum();
        let zeros = f64::from(zeros.clamp(1, u32::from(BITS) - 1));
        if self.0.iter().all(|&byte| byte == 0) {
            return 0.0;
        }
        ln(bits / zeros) / (2.0 * ln(bits / (bits - 1.0)))
    }
}

/// The two bits of `ip`, each by its byte and its place there.
fn bits_of(ip: IpAddr) -> [(usize, u8); 2] {
    let hash = match ip {
        IpAddr::V4(ip) => Sha1::digest(ip.octets()),
        IpAddr::V6(ip) => Sha1::digest(ip.octets()),
    };
    [[hash[0], hash[1]], [hash[2], hash[3]]].map(|pair| {
        let bit = u16::from_le_bytes(pair) % BITS;
        (usize::from(bit / 8), 1 << (bit % 8))
    })
}

/// The natural logarithm of `x`, at least 1; `core` has none.
fn ln(mut x: f64) -> f64 {
    let mut whole = 0.0;
    while x >= 2.0 {
        x /= 2.0;
        whole += core::f64::consts::LN_2;
    }
    // ln x = 2 artanh((x - 1) / (x + 1)), and the quotient is at most a third.
    let t = (x - 1.0) / (x + 1.0);
    let (mut sum, mut power, mut n) = (0.0, t, 1.0);
    while n < 40.0 {
        sum += power / n;
        power *= t * t;
        n += 2.0;
    }
    whole + 2.0 * sum
}

impl fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BloomFilter(about {:.0})", self.estimate())
    }
}
