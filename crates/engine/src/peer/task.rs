//! The task of one connection: waits for whatever can move it on, and lets it move.

use super::Peer;
use super::reader::{Readable, Reader};
use crate::limits::Meters;
use crate::shell::TorrentShell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// While block buffers are exhausted, whether there are some again is looked at this often at least.
const SHORTAGE_CHECK: Duration = Duration::from_millis(50);

/// Drives `peer` until either side closes the connection.
pub(crate) async fn run(shell: Rc<TorrentShell>, peer: Rc<Peer>) {
    let mut reader = Reader::new(shell.layout().count());
    let mut more = false;
    // Whether the socket may hold something.
    let mut unread = false;
    while !peer.closed.get() {
        if more {
            // Its budget is spent: everybody else on this thread has a turn.
            tokio::task::yield_now().await;
        } else if let Err(error) = wait(&shell, &peer, &mut unread).await {
            tracing::debug!(addr = %peer.addr, %error, "connection ends");
            break;
        }
        more = peer.has_output() && shell.pump_peer(&peer);
        if peer.closed.get() || shell.env.out_of_buffers() {
            continue;
        }
        let down = &peer.meters.down;
        let granted = match down.binds() {
            false => Some(usize::MAX),
            // Nobody takes a turn who may have nothing to read.
            true => unread.then(|| down.ask(shell.env.now(), 0)).flatten(),
        };
        let Some(granted) = granted else { continue };
        match reader.read(&shell, &peer, granted) {
            Ok(Readable::Drained) => {
                unread = false;
                down.give_back();
            }
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
async fn wait(shell: &TorrentShell, peer: &Peer, unread: &mut bool) -> std::io::Result<()> {
    let Meters { down, up } = &peer.meters;
    let short = shell.env.out_of_buffers();
    let read_turn = down.next_turn();
    let blocked = peer.out.borrow().blocked;
    // What is not possible anyway needs no turn.
    let turns = [read_turn.filter(|_| !short), up.next_turn().filter(|_| !blocked)];
    let turn = turns.into_iter().flatten().min().map(|at| shell.env.shared.clock.to_tokio(at));
    // Other shards do not tell when they free buffers.
    let check = short.then(|| Instant::now() + SHORTAGE_CHECK);
    let pause = turn.into_iter().chain(check).min();
    tokio::select! {
        ready = peer.stream.readable(), if !short && read_turn.is_none() => {
            *unread = true;
            ready
        }
        ready = peer.stream.writable(), if blocked => {
            peer.out.borrow_mut().blocked = false;
            ready
        }
        () = peer.wake.notified() => Ok(()),
        () = shell.env.relief.notified(), if short => Ok(()),
        () = peer.meters.sleep(pause.unwrap_or_else(Instant::now)), if pause.is_some() => Ok(()),
    }
}
