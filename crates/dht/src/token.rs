//! Write tokens: who may store something here (BEP 5).
//!
//! A token proves that its holder received a datagram at its address within the last ten minutes, for this
//! target. It is the start of a SHA-1 over a secret, the address and the target; the secret changes every five
//! minutes and the one before it is still honoured. Nothing is remembered for a token that is given.

use crate::rng::Rng;
use core::net::IpAddr;
use samara_wire::krpc::{NodeId, Token};
use samara_wire::time::{Duration, Instant};
use sha1::{Digest, Sha1};

/// Life of a secret; a token is good for one to two of these.
pub const ROTATION: Duration = Duration::from_secs(5 * 60);

/// Bytes of our tokens.
const LEN: usize = 6;

/// Gives and checks tokens.
#[derive(Debug)]
pub struct Tokens {
    current: [u8; 20],
    previous: [u8; 20],
    rotated: Instant,
}

impl Tokens {
    /// New secrets.
    pub fn new(now: Instant, rng: &mut Rng) -> Self {
        Self { current: rng.next_20(), previous: rng.next_20(), rotated: now }
    }

    /// Changes the secret if it is time. After a long silence both are changed.
    pub fn rotate(&mut self, now: Instant, rng: &mut Rng) {
        let age = now - self.rotated;
        if age < ROTATION {
            return;
        }
        self.previous = if age < ROTATION * 2 { self.current } else { rng.next_20() };
        self.current = rng.next_20();
        self.rotated = now;
    }

    /// The token with which `ip` may store something at `target`.
    #[must_use]
    pub fn give(&self, ip: IpAddr, target: &NodeId) -> Token {
        make(&self.current, ip, target)
    }

    /// Whether `token` was given to `ip` for `target`, not too long ago.
    #[must_use]
    pub fn check(&self, token: &Token, ip: IpAddr, target: &NodeId) -> bool {
        *token == make(&self.current, ip, target) || *token == make(&self.previous, ip, target)
    }
}

fn make(secret: &[u8; 20], ip: IpAddr, target: &NodeId) -> Token {
    let hash = Sha1::new().chain_update(secret).chain_update(target.0);
    let hash = match ip {
        IpAddr::V4(ip) => hash.chain_update(ip.octets()),
        IpAddr::V6(ip) => hash.chain_update(ip.octets()),
    };
    Token::new(&hash.finalize()[..LEN]).expect("six bytes are neither none nor too many")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_address_one_target_and_ten_minutes() {
        let mut rng = Rng::new([3; 32]);
        let start = Instant::from_secs(1000);
        let mut tokens = Tokens::new(start, &mut rng);
        let (ip, other) = (IpAddr::from([1, 2, 3, 4]), IpAddr::from([1, 2, 3, 5]));
        let (target, elsewhere) = (NodeId([1; 20]), NodeId([2; 20]));
        let token = tokens.give(ip, &target);
        assert!(tokens.check(&token, ip, &target));
        assert!(!tokens.check(&token, other, &target) && !tokens.check(&token, ip, &elsewhere));
        assert!(!tokens.check(&Token::new(&[0; LEN]).unwrap(), ip, &target));
        tokens.rotate(start + ROTATION, &mut rng);
        assert!(tokens.check(&token, ip, &target), "the secret before is honoured");
        assert_ne!(tokens.give(ip, &target), token);
        tokens.rotate(start + ROTATION * 2, &mut rng);
        assert!(!tokens.check(&token, ip, &target));
        let token = tokens.give(ip, &target);
        tokens.rotate(start + ROTATION * 20, &mut rng);
        assert!(!tokens.check(&token, ip, &target), "a long silence ends them all");
    }
}
