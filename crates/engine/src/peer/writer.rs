//! Writing: flushes messages, pulls blocks out of the core while the socket takes them.

use super::out_queue::MAX_SLICES;
use super::{Payload, Peer};
use crate::command::{DiskDone, ShardCommand};
use crate::shell::{Live, TorrentShell};
use samara_wire::id::{BLOCK_LEN, BlockRef};
use samara_wire::time::Instant;
use std::io::{self, IoSlice};
use std::rc::Rc;

/// Blocks are pulled while less than this waits to be sent to a peer, in bytes; one block of at most 128 KiB may
/// go beyond.
const LOW_WATER: usize = 256 * 1024;

/// The same while block buffers are scarce: many peers that are slow to take what they asked for must not have
/// them all.
const LOW_WATER_SCARCE: usize = 32 * 1024;

/// Written in one go before other peers have their turn, in bytes.
const BUDGET: usize = 512 * 1024;

/// Writes what there is to write, until the socket has no room or the budget is spent. True in the latter case:
/// there is more to be done at once.
pub(crate) fn pump(shell: &TorrentShell, live: &mut Live, peer: &Rc<Peer>, now: Instant) -> bool {
    peer.dirty.set(false);
    let mut budget = BUDGET;
    loop {
        if peer.closed.get() || peer.out.borrow().blocked {
            return false;
        }
        if let Err(error) = peer.stream.flush() {
            return unwritable(peer, &error);
        }
        fill(shell, live, peer, now);
        if peer.out.borrow().is_empty() && !peer.stream.has_unsent() {
            return false;
        }
        if budget == 0 {
            return true;
        }
        match write_once(live, peer, now) {
            Ok(written) => {
                shell.env.shared.limit_up.take(written);
                budget = budget.saturating_sub(written);
            }
            Err(error) => return unwritable(peer, &error),
        }
    }
}

/// Waits for room, or gives the connection up. False: there is nothing to be done now.
fn unwritable(peer: &Peer, error: &io::Error) -> bool {
    if error.kind() == io::ErrorKind::WouldBlock {
        peer.out.borrow_mut().blocked = true;
        // Its task may be waiting for something else.
        peer.wake.notify_one();
    } else {
        tracing::debug!(addr = %peer.addr, %error, "write failed");
        peer.close();
    }
    false
}

/// One system call for as much as fits into it.
fn write_once(live: &mut Live, peer: &Peer, now: Instant) -> io::Result<usize> {
    let mut out = peer.out.borrow_mut();
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let count = out.slices(&mut slices);
    let written = peer.stream.try_write_vectored(&slices[..count])?;
    let (core, key) = (&mut live.core, peer.key);
    out.advance(written.bytes, |block| core.handle_served(now, key, block));
    if written.full {
        out.blocked = true;
        // Its task may be waiting for something else.
        peer.wake.notify_one();
    }
    Ok(written.bytes)
}

/// Pulls blocks out of the core and reads them, while there is room and the upload limit allows.
fn fill(shell: &TorrentShell, live: &mut Live, peer: &Rc<Peer>, now: Instant) {
    let shared = &shell.env.shared;
    loop {
        let scarce = shared.disk.pool().free_bytes() < shared.config.buffer_bytes as u64 / 2;
        let low_water = if scarce { LOW_WATER_SCARCE } else { LOW_WATER };
        {
            let out = peer.out.borrow();
            if !out.serving || out.pending_bytes() + out.control_bytes() >= low_water {
                return;
            }
        }
        let throttled = shared.limit_up.delay().is_some();
        let was = std::mem::replace(&mut peer.out.borrow_mut().throttled, throttled);
        if throttled {
            if !was {
                // Its task has to wait for the limiter now.
                peer.wake.notify_one();
            }
            return;
        }
        let metadata = live.core.poll_metadata(now, peer.key);
        if let Some(message) = metadata.or_else(|| live.core.poll_hashes(now, peer.key)) {
            peer.send(&message);
            continue;
        }
        let Some(block) = live.core.poll_serve(peer.key) else {
            peer.out.borrow_mut().serving = false;
            return;
        };
        match read_resident(shell, block) {
            Ok(Some(payload)) => peer.out.borrow_mut().push_block(block, payload),
            Ok(None) => read_later(shell, peer, block),
            Err(error) => {
                tracing::warn!(torrent = %shell.shared.hashes.wire(), piece = %block.piece, %error,
                    "a piece cannot be read any more");
                live.core.handle_serve_failed(now, peer.key, block, &mut live.out);
            }
        }
    }
}

/// The block if the page cache has it.
fn read_resident(
    shell: &TorrentShell,
    block: BlockRef,
) -> Result<Option<Payload>, samara_disk::StorageError> {
    if block.len <= BLOCK_LEN {
        let len = block.len as usize;
        let mut buf = shell.env.shared.disk.pool().take();
        let resident = shell.store.try_read(block, &mut buf.as_mut_slice()[..len])?;
        buf.set_len(len);
        Ok(resident.then_some(Payload::Buf(buf)))
    } else {
        let mut vec = vec![0; block.len as usize];
        let resident = shell.store.try_read(block, &mut vec)?;
        Ok(resident.then_some(Payload::Vec(vec)))
    }
}

/// Has a disk thread read the block; it comes back as [`DiskDone::Read`].
fn read_later(shell: &TorrentShell, peer: &Peer, block: BlockRef) {
    peer.out.borrow_mut().reading += block.len as usize;
    let (shard, id, key) = (shell.env.tx.clone(), shell.shared.id, peer.key);
    let reply = move |result| {
        // Fails only if the shard has ended, and the peer with it.
        let _ = shard.send(ShardCommand::Disk(id, DiskDone::Read(key, block, result)));
    };
    shell.store.read(block, Box::new(reply));
}
