//! Which instructions there are, and what is done with them.

#![expect(unsafe_code, reason = "calls of what a processor may lack")]

use crate::algorithm::{Algorithm, Block, Sha1, Sha256};
use std::fmt;

/// Puts blocks of one message into its state.
pub(crate) type One<S> = fn(&mut S, &[Block]);

/// Puts as many blocks of each of `N` messages into their states. All slices are of one length.
///
/// Unsafe to call where the processor lacks the instructions.
pub(crate) type Many<S, const N: usize> = unsafe fn(&mut [S; N], [&[Block]; N]);

/// A way to compute a hash on this machine. Only made where the processor can do what it holds.
#[derive(Clone, Copy)]
pub struct Kernels<A: Algorithm> {
    name: &'static str,
    one: One<A::State>,
    two: Option<Many<A::State, 2>>,
    four: Option<Many<A::State, 4>>,
    eight: Option<Many<A::State, 8>>,
}

impl<A: Algorithm> fmt::Debug for Kernels<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} lanes)", self.name, self.lanes())
    }
}

impl<A: Algorithm> Kernels<A> {
    pub(crate) fn one_by_one(name: &'static str, one: One<A::State>) -> Self {
        Self { name, one, two: None, four: None, eight: None }
    }

    /// What it uses, such as `sha-ni`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Messages it takes at once.
    #[must_use]
    pub const fn lanes(&self) -> usize {
        match (self.eight, self.four, self.two) {
            (Some(_), ..) => 8,
            (_, Some(_), _) => 4,
            (.., Some(_)) => 2,
            _ => 1,
        }
    }

    pub(crate) fn one(&self, state: &mut A::State, blocks: &[Block]) {
        if !blocks.is_empty() {
            (self.one)(state, blocks);
        }
    }

    /// Puts as many blocks of each message into its state, however many messages there are: `states` and `data` are as long,
    /// and all of `data` is of one length.
    pub(crate) fn all(&self, mut states: &mut [A::State], mut data: &[&[Block]]) {
        assert_eq!(states.len(), data.len(), "a state for each message");
        assert!(data.windows(2).all(|two| two[0].len() == two[1].len()), "as many blocks of each");
        while let ([_, ..], &[first, ..]) = (&mut *states, data) {
            let taken = if self.eight.is_some() && states.len() > 2 {
                self.eight(states, data)
            } else if let (Some(four), Some((now, _)), Some((blocks, _))) =
                (self.four, states.split_first_chunk_mut::<4>(), data.split_first_chunk::<4>())
            {
                // SAFETY: kernels are only made where the processor can do what they hold.
                unsafe { four(now, *blocks) };
                4
            } else if let (Some(two), Some((now, _)), Some((blocks, _))) =
                (self.two, states.split_first_chunk_mut::<2>(), data.split_first_chunk::<2>())
            {
                // SAFETY: as above.
                unsafe { two(now, *blocks) };
                2
            } else {
                (self.one)(&mut states[0], first);
                1
            };
            states = &mut states[taken..];
            data = &data[taken..];
        }
    }

    /// Up to eight messages; lanes that are not needed go through the motions.
    fn eight(&self, states: &mut [A::State], data: &[&[Block]]) -> usize {
        let Some(kernel) = self.eight else { return 0 };
        let taken = states.len().min(8);
        let mut all = [states[0]; 8];
        all[..taken].copy_from_slice(&states[..taken]);
        let mut blocks = [data[0]; 8];
        blocks[..taken].copy_from_slice(&data[..taken]);
        // SAFETY: kernels are only made where the processor can do what they hold.
        unsafe { kernel(&mut all, blocks) };
        states[..taken].copy_from_slice(&all[..taken]);
        taken
    }
}

/// The last is the best.
pub(crate) fn best<A: Algorithm>(kernels: Vec<Kernels<A>>) -> Kernels<A> {
    kernels.into_iter().next_back().unwrap_or_else(A::portable)
}

/// All ways for SHA-1, from the slowest to the fastest.
pub(crate) fn sha1() -> Vec<Kernels<Sha1>> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
    let mut all = vec![Sha1::portable()];
    #[cfg(target_arch = "x86_64")]
    {
        use crate::x86::{avx2, has_avx2, has_sha, sha_ni};
        if has_avx2() {
            let eight: Many<_, 8> = avx2::sha1;
            all.push(Kernels { name: "avx2", eight: Some(eight), ..Sha1::portable() });
        }
        if has_sha() {
            let (two, four): (Many<_, 2>, Many<_, 4>) = (sha_ni::sha1, sha_ni::sha1);
            let base = Sha1::portable();
            all.push(Kernels { name: "sha-ni", two: Some(two), four: Some(four), ..base });
        }
    }
    all
}

/// All ways for SHA-256, from the slowest to the fastest.
pub(crate) fn sha256() -> Vec<Kernels<Sha256>> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
    let mut all = vec![Sha256::portable()];
    #[cfg(target_arch = "x86_64")]
    {
        use crate::x86::{avx2, has_avx2, has_sha, sha_ni};
        if has_avx2() {
            let eight: Many<_, 8> = avx2::sha256;
            all.push(Kernels { name: "avx2", eight: Some(eight), ..Sha256::portable() });
        }
        if has_sha() {
            let (two, four): (Many<_, 2>, Many<_, 4>) = (sha_ni::sha256, sha_ni::sha256);
            let base = Sha256::portable();
            all.push(Kernels { name: "sha-ni", two: Some(two), four: Some(four), ..base });
        }
    }
    all
}
