//! SHA-1 and SHA-256 of several independent messages at once.
//!
//! The SHA instructions of a processor take several cycles to give a result and can begin another one long before; the hash of one
//! message is one chain of such steps. Two or four messages at once fill the gaps. The vector units do not know SHA, but eight or
//! sixteen messages fit side by side in them, which on some processors beats even the SHA instructions where there are as many. A
//! client that checks, downloads or makes torrents has many pieces and blocks to hash, so it can have this.
//!
//! ```
//! let pieces: [&[&[u8]]; 2] = [&[b"abc"], &[b"a", b"bc"]];
//! let digests = samara_hash::digest_all::<samara_hash::Sha1>(&pieces);
//! assert_eq!(digests[0], digests[1]);
//! ```
//!
//! [`Stream`] is one message that comes in parts, [`update_all`] takes parts of many, [`digest_all`] takes whole
//! messages. What the processor can do, and what of it is the fastest for how many messages, is found out once, at run
//! time. This is the one place in the workspace with SIMD; every kernel is compared with RustCrypto's over messages of any
//! length and alignment.
//!
//! | file | does |
//! | --- | --- |
//! | `algorithm` | what SHA-1 and SHA-256 have in common |
//! | `stream` | one message in parts |
//! | `many` | puts messages into lanes |
//! | `kernels` | which way is taken for how many messages |
//! | `calibrate` | how long each way takes here |
//! | `x86`, `aarch64` | what the processors have: SHA instructions, AVX2, AVX-512 |

mod algorithm;
mod calibrate;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod constants;
mod kernels;
mod many;
#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod native;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod native {
    //! A processor of which nothing is known.
    use crate::algorithm::Algorithm;
    use crate::kernels::Way;

    pub(crate) const fn sha1<A: Algorithm>() -> Vec<Way<A>> {
        Vec::new()
    }

    pub(crate) use sha1 as sha256;
}
#[cfg(target_arch = "x86_64")]
#[path = "x86/mod.rs"]
mod native;
mod stream;

pub use algorithm::{Algorithm, Sha1, Sha256};
pub use kernels::Kernels;
pub use many::{Part, digest_all, update_all};
pub use stream::Stream;
