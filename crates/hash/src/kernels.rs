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
    eight: Option<Many<A::State, 8>>,
    sixteen: Option<Many<A::State, 16>>,
    /// So many messages make the use of eight lanes, and of sixteen, worth it: lanes that are not needed cost as much as
    /// the others.
    worth: (usize, usize),
}

impl<A: Algorithm> fmt::Debug for Kernels<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} lanes)", self.name, self.lanes())
    }
}

impl<A: Algorithm> Kernels<A> {
    pub(crate) fn one_by_one(name: &'static str, one: One<A::State>) -> Self {
        Self { name, one, two: None, eight: None, sixteen: None, worth: (3, 11) }
    }

    /// What it uses, such as `sha-ni`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Messages it takes at once.
    #[must_use]
    pub const fn lanes(&self) -> usize {
        match (self.sixteen, self.eight, self.two) {
            (Some(_), ..) => 16,
            (_, Some(_), _) => 8,
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
        while !states.is_empty() {
            let count = states.len();
            let taken = match self {
                Self { sixteen: Some(kernel), .. } if count >= self.worth.1 => {
                    run(*kernel, states, data)
                }
                Self { eight: Some(kernel), .. } if count >= self.worth.0 => {
                    run(*kernel, states, data)
                }
                Self { two: Some(kernel), .. } if count >= 2 => run(*kernel, states, data),
                _ => {
                    (self.one)(&mut states[0], data[0]);
                    1
                }
            };
            states = &mut states[taken..];
            data = &data[taken..];
        }
    }
}

/// Runs `kernel` on the first messages. Lanes for which there is none go through the motions.
fn run<S: Copy, const N: usize>(kernel: Many<S, N>, states: &mut [S], data: &[&[Block]]) -> usize {
    let taken = states.len().min(N);
    let mut all = [states[0]; N];
    all[..taken].copy_from_slice(&states[..taken]);
    let mut blocks = [data[0]; N];
    blocks[..taken].copy_from_slice(&data[..taken]);
    // SAFETY: kernels are only made where the processor can do what they hold.
    unsafe { kernel(&mut all, blocks) };
    states[..taken].copy_from_slice(&all[..taken]);
    taken
}

/// The last is the best.
pub(crate) fn best<A: Algorithm>(kernels: Vec<Kernels<A>>) -> Kernels<A> {
    kernels.into_iter().next_back().unwrap_or_else(A::portable)
}

/// All ways for `$hash`, from the slowest to the fastest. Beside the SHA instructions, vectors of eight words are worth it from
/// `$eight` messages on, and those of sixteen from `$sixteen` on (measured; see `benches/lanes.rs`).
macro_rules! ways {
    ($hash:ident, $name:ident, $eight:expr, $sixteen:expr) => {
        pub(crate) fn $name() -> Vec<Kernels<$hash>> {
            #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
            let mut all = vec![$hash::portable()];
            #[cfg(target_arch = "x86_64")]
            {
                use crate::x86::{self, avx2, avx512, avx512vl, sha_ni};
                let none = $hash::portable();
                let two: Many<_, 2> = sha_ni::$name;
                let sha = Kernels { name: "sha-ni", two: Some(two), ..none };
                let (eight, eight_vl): (Many<_, 8>, Many<_, 8>) = (avx2::$name, avx512vl::$name);
                let sixteen: Many<_, 16> = avx512::$name;
                if x86::has_avx2() {
                    all.push(Kernels { name: "avx2", eight: Some(eight), ..none });
                }
                if x86::has_sha() {
                    all.push(sha);
                }
                if x86::has_avx512() {
                    let (eight, sixteen) = (Some(eight_vl), Some(sixteen));
                    let vectors = Kernels { name: "avx-512", eight, sixteen, ..none };
                    all.push(vectors);
                    if x86::has_sha() {
                        let (name, worth) = ("sha-ni and avx-512", ($eight, $sixteen));
                        all.push(Kernels { name, two: Some(two), worth, ..vectors });
                    }
                }
            }
            all
        }
    };
}

ways!(Sha1, sha1, 6, 11);
ways!(Sha256, sha256, usize::MAX, 13);
