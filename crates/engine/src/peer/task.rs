//! The task of one connection: waits for whatever can move it on, and lets it move.

use super::Peer;
use super::reader::{Readable, Reader};
use crate::shell::TorrentShell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;

/// While block buffers are exhausted, whether there are some again is looked at this often at least.
const SHORTAGE_CHECK: Duration = Duration::from_millis(50);

/// Drives `peer` until either side closes the connection.
pub(crate) async fn run(shell: Rc<TorrentShell>, peer: Rc<Peer>) {
    let mut reader = Reader::new(shell.layout().count());
    let mut more = false;
    while !peer.closed.get() {
        if more {
            // Its budget is spent: everybody else on this thread has a turn.
            tokio::task::yield_now().await;
        } else if let Err(error) = wait(&shell, &peer).await {
            tracing::debug!(addr = %peer.addr, %error, "connection ends");
            break;
        }
        more = peer.has_output() && shell.pump_peer(&peer);
        let held_up = shell.env.out_of_buffers() || shell.env.shared.limit_down.delay().is_some();
        if peer.closed.get() || held_up {
            continue;
        }
        match reader.read(&shell, &peer) {
            Ok(Readable::Drained) => {}
            Ok(Readable::MaybeMore) => more = true,
            Err(error) => {
                tracing::debug!(addr = %peer.addr, %error, "connection ends");
                break;
            }
        }
    }
    shell.peer_gone(&peer);
}

/// Waits until there is something to do. Being woken for nothing does no harm.
async fn wait(shell: &TorrentShell, peer: &Peer) -> std::io::Result<()> {
    let shared = &shell.env.shared;
    let short = shell.env.out_of_buffers();
    // Other shards do not tell when they free buffers.
    let read_delay = if short { Some(SHORTAGE_CHECK) } else { shared.limit_down.delay() };
    let (blocked, throttled) = {
        let out = peer.out.borrow();
        (out.blocked, out.throttled)
    };
    let write_delay = throttled.then(|| shared.limit_up.delay().unwrap_or_default());
    tokio::select! {
        ready = peer.stream.readable(), if read_delay.is_none() => ready,
        ready = peer.stream.writable(), if blocked => {
            peer.out.borrow_mut().blocked = false;
            ready
        }
        () = peer.wake.notified() => Ok(()),
        () = shell.env.relief.notified(), if short => Ok(()),
        () = sleep(read_delay.unwrap_or(Duration::MAX)), if read_delay.is_some() => Ok(()),
        () = sleep(write_delay.unwrap_or(Duration::MAX)), if write_delay.is_some() => Ok(()),
    }
}
