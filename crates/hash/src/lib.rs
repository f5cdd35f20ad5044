//! SHA-1 and SHA-256 of several independent messages at once.
//!
//! The SHA instructions of a processor take several cycles to give a result and can begin another one long before; the hash of one
//! message is one chain of such steps. Two messages at once fill the gaps. The vector units do not know SHA, but eight or
//! sixteen messages fit side by side in them, which beats even the SHA instructions where there are as many. A client that
//! checks, downloads or makes torrents has many pieces and blocks to hash, so it can have this.
//!
//! ```
//! let pieces: [&[&[u8]]; 2] = [&[b"abc"], &[b"a", b"bc"]];
//! let digests = samara_hash::digest_all::<samara_hash::Sha1>(&pieces);
//! assert_eq!(digests[0], digests[1]);
//! ```
//!
//! [`Stream`] is one message that comes in parts, [`update_all`] takes parts of many, [`digest_all`] takes whole
//! messages. What the processor can do is found out once, at run time. This is the one place in the workspace with SIMD;
//! every kernel is compared with the portable one over messages of any length and alignment.
//!
//! | file | does |
//! | --- | --- |
//! | `algorithm` | what SHA-1 and SHA-256 have in common |
//! | `stream` | one message in parts |
//! | `many` | puts messages into lanes |
//! | `kernels` | which instructions are there |
//! | `x86` | SHA instructions, AVX2, AVX-512 |

mod algorithm;
mod kernels;
mod many;
mod stream;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use algorithm::{Algorithm, Sha1, Sha256};
pub use kernels::Kernels;
pub use many::{Part, digest_all, update_all};
pub use stream::Stream;
