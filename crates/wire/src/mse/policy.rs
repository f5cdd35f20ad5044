//! What we want of encryption: which connections are encrypted, and with what.

/// Which connections are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// None: who begins with encryption is refused.
    Off,
    /// Those whose other side wants it, and those to peers that do not answer without.
    #[default]
    Allow,
    /// All that can be: peers are dialled with encryption first, without it if that fails.
    Prefer,
    /// All: who begins without is refused.
    Require,
}

/// One way to begin a connection that we dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// With the BitTorrent handshake.
    Plain,
    /// With MSE.
    Encrypted,
}

/// What carries the stream once the negotiation is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Nothing: only the negotiation and the initial payload were encrypted. The stream is as fast as any.
    Plaintext,
    /// RC4, each direction with a key of its own.
    Rc4,
}

/// The methods that are offered or accepted, in order of preference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Methods {
    first: Method,
    second: Option<Method>,
}

impl Policy {
    /// How a peer is dialled: the first way, and if the peer closes the connection without an answer, the next.
    #[must_use]
    pub const fn attempts(self) -> &'static [Attempt] {
        match self {
            Self::Off => &[Attempt::Plain],
            Self::Allow => &[Attempt::Plain, Attempt::Encrypted],
            Self::Prefer => &[Attempt::Encrypted, Attempt::Plain],
            Self::Require => &[Attempt::Encrypted],
        }
    }

    /// Whether a peer that begins with the BitTorrent handshake is let in.
    #[must_use]
    pub const fn lets_plain_in(self) -> bool {
        !matches!(self, Self::Require)
    }

    /// Whether a peer that begins with MSE is let in.
    #[must_use]
    pub const fn lets_encrypted_in(self) -> bool {
        !matches!(self, Self::Off)
    }

    /// The methods that go with this policy. What providers look at is how a connection begins, and that is hidden by either;
    /// the one that costs nothing is taken where there is a choice. [`Policy::Require`] means all of the stream.
    #[must_use]
    pub const fn methods(self) -> Methods {
        match self {
            Self::Off | Self::Allow | Self::Prefer => Methods::both(Method::Plaintext),
            Self::Require => Methods::only(Method::Rc4),
        }
    }
}

impl Method {
    /// Its bit in `crypto_provide` and `crypto_select`.
    const fn bit(self) -> u32 {
        match self {
            Self::Plaintext => 1,
            Self::Rc4 => 2,
        }
    }
}

impl Methods {
    /// One method and no other.
    #[must_use]
    pub const fn only(method: Method) -> Self {
        Self { first: method, second: None }
    }

    /// Both, `first` where there is a choice.
    #[must_use]
    pub const fn both(first: Method) -> Self {
        let second = match first {
            Method::Plaintext => Method::Rc4,
            Method::Rc4 => Method::Plaintext,
        };
        Self { first, second: Some(second) }
    }

    fn iter(self) -> impl Iterator<Item = Method> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// As `crypto_provide`.
    pub(super) fn to_bits(self) -> u32 {
        self.iter().fold(0, |bits, method| bits | method.bit())
    }

    /// The one that we take of those offered in `crypto_provide`.
    pub(super) fn choose(self, offered: u32) -> Option<Method> {
        self.iter().find(|method| offered & method.bit() != 0)
    }

    /// The one that `crypto_select` says was taken; `None` if it is not one of ours, or more than one.
    pub(super) fn taken(self, selected: u32) -> Option<Method> {
        self.iter().find(|method| selected == method.bit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_the_first_of_ours_that_is_offered() {
        let (plain, rc4) = (Method::Plaintext, Method::Rc4);
        for (ours, offered, choice) in [
            (Methods::both(plain), 0b11, Some(plain)),
            (Methods::both(rc4), 0b11, Some(rc4)),
            (Methods::both(plain), 0b10, Some(rc4)),
            (Methods::both(rc4), 0b01, Some(plain)),
            (Methods::only(rc4), 0b11, Some(rc4)),
            (Methods::only(rc4), 0b01, None),
            (Methods::only(plain), 0b10, None),
            (Methods::both(rc4), 0xffff_fff0, None),
            (Methods::both(rc4), 0xffff_fff1, Some(plain)),
        ] {
            assert_eq!(ours.choose(offered), choice, "{ours:?} of {offered:#b}");
        }
    }

    #[test]
    fn a_selection_is_one_method_that_was_offered() {
        let both = Methods::both(Method::Plaintext);
        assert_eq!(
            [1, 2].map(|bits| both.taken(bits)),
            [Some(Method::Plaintext), Some(Method::Rc4)]
        );
        assert!([0, 3, 4, 0x8000_0001].iter().all(|bits| both.taken(*bits).is_none()));
        assert_eq!(Methods::only(Method::Rc4).taken(1), None);
        assert_eq!((both.to_bits(), Methods::only(Method::Rc4).to_bits()), (3, 2));
    }

    #[test]
    fn what_is_refused_is_not_dialled_either() {
        for policy in [Policy::Off, Policy::Allow, Policy::Prefer, Policy::Require] {
            let dialled = policy.attempts();
            assert_eq!(dialled.contains(&Attempt::Plain), policy.lets_plain_in());
            assert_eq!(dialled.contains(&Attempt::Encrypted), policy.lets_encrypted_in());
        }
        assert_eq!(Policy::Require.methods().to_bits(), 2);
    }
}
