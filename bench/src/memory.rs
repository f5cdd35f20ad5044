//! The same memory for everybody.
//!
//! A virtual machine gives memory that is free back to its host, in large pieces, and has to have each page of it from there again when it
//! is next written to. That can cost more than what is then written, and whoever comes right after somebody that has just freed a lot is
//! spared it: the figures would be those of the predecessor. So before each turn as much memory as it may need is taken, and
//! freed but for a page here and there: what lies between is too small to be given back, and everybody finds pages that the machine has.

use anyhow::Result;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
use std::fs::File;
use std::io::Write;

/// One page of so many bytes is kept: as many as systems give back at a time. Half of it stays in one piece, for file systems that want
/// large ones.
const STRIDE: usize = 2 << 20;

/// The smallest page there is, in bytes.
const PAGE: u64 = 4096;

/// Keeps memory from going back to the host, as long as it lives.
pub(crate) struct Warm(#[allow(dead_code, reason = "holds the pages that are kept")] File);

impl Warm {
    /// Takes `bytes` of memory and frees nearly all of it.
    ///
    /// # Errors
    /// If there is not so much.
    pub(crate) fn up(bytes: u64) -> Result<Self> {
        let mut file = File::from(memfd_create("samara-bench", MemfdFlags::CLOEXEC)?);
        let zeros = vec![0; STRIDE];
        let stride = STRIDE as u64;
        let strides = bytes.div_ceil(stride);
        for _ in 0..strides {
            file.write_all(&zeros)?;
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for i in 0..strides {
            fallocate(&file, punch, i * stride + PAGE, stride - PAGE)?;
        }
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_page_of_each_stride_is_kept() {
        let Warm(file) = Warm::up(10 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().blocks() * 512, 5 * PAGE);
    }
}
