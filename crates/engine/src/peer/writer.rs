//! Writing: flushes messages, and serves blocks while the socket takes them.
//!
//! A block is read into buffers and written from there. `sendfile` would save the copy into the buffer, but costs two
//! system calls and one wake-up of the receiver for each 16 KiB, where this way takes two for sixteen blocks: measured,
//! it is dearer (docs/performance.md).

use super::Peer;
use super::out_queue::{MAX_SLICES, OutQueue, Step};
use crate::command::DiskDone;
use crate::shell::{Live, TorrentShell};
use samara_wire::id::{BLOCK_LEN, BlockRef};
use samara_wire::time::Instant;
use std::io::{self, IoSlice};
use std::rc::Rc;

/// Blocks are read while less than this waits to be sent to a peer, in bytes; one block of at most 128 KiB may go
/// beyond.
const LOW_WATER: usize = 256 * 1024;

/// The same while block buffers are scarce: many peers that are slow to take what they asked for must not have
/// them all.
const LOW_WATER_SCARCE: usize = 32 * 1024;

/// Of what a peer asked for beyond that, so much is brought into the page cache once something had to be read from
/// disk, in bytes.
const READ_AHEAD: usize = 2 << 20;

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
        if peer.out.borrow().is_idle() && !peer.stream.has_unsent() {
            return false;
        }
        if budget == 0 {
            return true;
        }
        match write_once(live, peer, now) {
            Ok(written) => {
                peer.meters.up.moved(written);
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
    out.advance(written.bytes, |step| match step {
        Step::Begun(block) => {
            let begun = core.poll_serve(key);
            debug_assert_eq!(begun, Some(block), "what is planned is the head of the queue");
        }
        Step::Served(block) => core.handle_served(now, key, block),
    });
    if written.full {
        out.blocked = true;
        // Its task may be waiting for something else.
        peer.wake.notify_one();
    }
    Ok(written.bytes)
}

/// Has the next blocks of the core's queue at hand, while there is room and the upload limit allows.
fn fill(shell: &TorrentShell, live: &mut Live, peer: &Rc<Peer>, now: Instant) {
    let shared = &shell.env.shared;
    if !peer.out.borrow().serving {
        peer.meters.up.give_back();
        return;
    }
    let granted = peer.meters.up.ask(now, BLOCK_LEN as usize);
    let was = std::mem::replace(&mut peer.out.borrow_mut().throttled, granted.is_none());
    let Some(granted) = granted else {
        if !was {
            // Its task has to wait for its turn now.
            peer.wake.notify_one();
        }
        return;
    };
    let scarce = shared.disk.pool().free_bytes() < shared.config.buffer_bytes as u64 / 2;
    let low_water = if scarce { LOW_WATER_SCARCE } else { LOW_WATER };
    // No more than its turn allows, so that all have their share of a low limit.
    let low_water = low_water.min(granted);
    while peer.out.borrow().pending_bytes() < low_water {
        let metadata = live.core.poll_metadata(now, peer.key);
        let Some(message) = metadata.or_else(|| live.core.poll_hashes(now, peer.key)) else {
            break;
        };
        peer.send(&message);
    }
    let mut out = peer.out.borrow_mut();
    // A peer that asks and takes back, again and again, does not have us read without end.
    let room = if out.reading < LOW_WATER { low_water } else { 0 };
    let new = out.plan(live.core.upcoming(peer.key), room);
    // Behind messages there may be more of metadata or hashes.
    out.serving = live.core.upcoming(peer.key).next().is_some() || out.control_bytes() > 0;
    read(shell, live, peer, &mut out, new);
}

/// Reads blocks from the page cache; has a disk thread read what is not there, as one job, which comes back as
/// [`DiskDone::Read`].
fn read(shell: &TorrentShell, live: &Live, peer: &Peer, out: &mut OutQueue, blocks: Vec<BlockRef>) {
    let mut lacking = Vec::new();
    for (bytes, block) in shell.store.try_read(&blocks).into_iter().zip(blocks) {
        match bytes {
            Some(bytes) => out.put(block, bytes),
            None => lacking.push(block),
        }
    }
    let ahead = match (&lacking[..], out.told_ahead) {
        ([], None) => Vec::new(),
        _ => out.read_ahead(live.core.upcoming(peer.key), READ_AHEAD),
    };
    if lacking.is_empty() && ahead.is_empty() {
        return;
    }
    out.reading += lacking.iter().map(|block| block.len as usize).sum::<usize>();
    let key = peer.key;
    shell.store.read(lacking, &ahead, shell.reply(move |read| DiskDone::Read(key, read)));
}
