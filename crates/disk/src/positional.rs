//! Reads and writes at an offset, and allocation: the system calls under a directory's files.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};

/// Buffers in one system call at most (`IOV_MAX`).
#[cfg(target_os = "linux")]
const MAX_BUFS: usize = 1024;

/// Reads at most as many bytes as `buf` has; 0 at the end of the file.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

/// Writes at least one byte of `bufs`, unless they are empty.
#[cfg(target_os = "linux")]
pub(crate) fn write_at(file: &File, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(rustix::io::pwritev(file, &bufs[..bufs.len().min(MAX_BUFS)], offset)?)
}

#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn write_at(file: &File, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| b);
    std::os::unix::fs::FileExt::write_at(file, first, offset)
}

#[cfg(windows)]
pub(crate) fn write_at(file: &File, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| b);
    std::os::windows::fs::FileExt::seek_write(file, first, offset)
}

/// Writes all of `bytes`.
pub(crate) fn write_all_at(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write_at(file, offset, &[IoSlice::new(bytes)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                offset += n as u64;
                bytes = &bytes[n..];
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads into `bufs` as much as the page cache has from `offset` on. 0 also if the system cannot tell, or on an error.
#[cfg(target_os = "linux")]
pub(crate) fn try_read_at(file: &File, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> usize {
    use rustix::io::{ReadWriteFlags, preadv2};
    let count = bufs.len().min(MAX_BUFS);
    preadv2(file, &mut bufs[..count], offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn try_read_at(_: &File, _: u64, _: &mut [IoSliceMut<'_>]) -> usize {
    0
}

/// Bytes of one request to read ahead: Linux ignores what is beyond a device's read-ahead window, which has 128 KiB unless
/// somebody changed that.
#[cfg(target_os = "linux")]
const AHEAD: u64 = 128 * 1024;

/// Has the system read ahead, without waiting for it. An advice: where it cannot be taken, nothing happens.
#[cfg(target_os = "linux")]
pub(crate) fn will_read(file: &File, offset: u64, len: u64) {
    let end = offset.saturating_add(len);
    let mut at = offset;
    while let Some(now) = std::num::NonZeroU64::new(end.saturating_sub(at).min(AHEAD)) {
        if rustix::fs::fadvise(file, at, Some(now), rustix::fs::Advice::WillNeed).is_err() {
            return;
        }
        at += now.get();
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn will_read(_: &File, _: u64, _: u64) {}

/// Whether the file has bytes of its own in this range, and not just a hole. True where the system cannot tell.
#[cfg(target_os = "linux")]
pub(crate) fn has_data(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(at) => Ok(at < offset.saturating_add(len)),
        Err(Errno::NXIO) => Ok(false),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn has_data(_: &File, _: u64, _: u64) -> io::Result<bool> {
    Ok(true)
}

/// Forgets what is in memory of the file and need not be written, so that what is read is what is on disk. An advice.
#[cfg(target_os = "linux")]
pub(crate) fn forget_cached(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn forget_cached(_: &File) {}

/// Allocates a file in full. That the file system cannot is no error: the file then fills as it is written.
#[cfg(target_os = "linux")]
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn allocate(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}
