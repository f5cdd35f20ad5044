//! Dialling: connect, encrypt if wanted, shake hands, and hand the connection to its torrent.

mod connect;
mod manners;
mod meet;
mod transports;

pub(crate) use manners::Manners;
pub(crate) use meet::{Destination, MeetError, meet, seed};
use transports::Transport;
pub(crate) use transports::Transports;

use crate::connections::Place;
use crate::shared::Shared;
use crate::shell::{Newcomer, TorrentShell};
use crate::stream::PeerStream;
use samara_swarm::torrent::Direction;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::peer::handshake::{Handshake, Reserved};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// A peer after both handshakes.
pub(crate) struct Met {
    pub(crate) stream: PeerStream,
    pub(crate) theirs: Handshake,
    /// Its place among the connections of the session.
    pub(crate) place: Place,
}

/// Time after which a dial is so slow that help is looked for: longer than a peer that is there takes to answer, shorter than
/// one that is not takes to be given up.
const SLOW: Duration = Duration::from_secs(3);

/// Connections that are begun from both ends at a time, over all torrents.
pub(crate) const MAX_PUNCHES: usize = 32;

/// Dials `addr` for a torrent and tells it what came of it.
pub(crate) async fn run(shell: Rc<TorrentShell>, addr: SocketAddr) {
    let ours = shell.handshake(shell.shared.hashes.wire());
    let meant = |hash: &WireHash| shell.shared.hashes.matches(hash);
    let slow = || shell.dial_slow(addr);
    match dial(&shell.env.shared, addr, &ours, meant, slow).await {
        Ok(met) => shell.handle_newcomer(newcomer(addr, met)),
        Err(error) => {
            tracing::debug!(%addr, %error, "dial failed");
            shell.dial_failed(addr);
        }
    }
}

/// Begins a uTP connection to `addr`, which does the same now, and tells the torrent what came of it. Its moment passes, so it does
/// not wait for a turn among the dials.
pub(crate) async fn punch(shell: Rc<TorrentShell>, addr: SocketAddr) {
    tracing::debug!(%addr, "begins a connection that the other end begins, too");
    let shared = &shell.env.shared;
    let ours = shell.handshake(shell.shared.hashes.wire());
    let meant = |hash: &WireHash| shell.shared.hashes.matches(hash);
    let met = match shared.punches.try_acquire() {
        Ok(_turn) => dial_by(shared, addr, vec![Transport::Utp], &ours, meant).await,
        Err(_) => Err(io::Error::other("too many at a time")),
    };
    match met {
        Ok(met) => shell.handle_newcomer(newcomer(addr, met)),
        Err(error) => {
            tracing::debug!(%addr, %error, "no connection came of it");
            shell.punch_failed(addr);
        }
    }
}

fn newcomer(addr: SocketAddr, met: Met) -> Newcomer {
    let Met { stream, theirs, place } = met;
    Newcomer {
        stream,
        addr,
        direction: Direction::Outgoing,
        peer_id: theirs.peer_id,
        reserved: theirs.reserved,
        place,
        greeting: Vec::new(),
    }
}

/// Dials a peer for a session, in its turn. `meant` says whether a hash names the torrent: that of a hybrid may be the
/// other than ours, which libtorrent does where it has met somebody at our address by that. Calls `slow` if it takes long.
pub(crate) async fn dial(
    shared: &Shared,
    addr: SocketAddr,
    ours: &Handshake,
    meant: impl Fn(&WireHash) -> bool,
    slow: impl FnOnce(),
) -> io::Result<Met> {
    // The semaphore lives as long as the session and is never closed.
    let _turn = shared.half_open.acquire().await.map_err(io::Error::other)?;
    let mut met = pin!(dial_by(shared, addr, shared.transports.order(addr), ours, meant));
    if let Ok(met) = timeout(SLOW, &mut met).await {
        return met;
    }
    slow();
    met.await
}

async fn dial_by(
    shared: &Shared,
    addr: SocketAddr,
    transports: Vec<Transport>,
    ours: &Handshake,
    meant: impl Fn(&WireHash) -> bool,
) -> io::Result<Met> {
    if shared.ip_filter.blocks(addr.ip()) {
        return Err(io::Error::other("the IP filter blocks it"));
    }
    let place = shared.place(addr.ip()).map_err(io::Error::other)?;
    let binding = shared.network.binding();
    let policy = shared.config.encryption;
    let attempts = shared.manners.attempts(policy, addr);
    let hubs = Some(&shared.hubs);
    let to = Destination { addr, binding, transports, hubs, policy, attempts };
    let (stream, theirs, worked) = meet(&to, ours, meant).await.map_err(io::Error::other)?;
    tracing::debug!(%addr, ?worked, "met");
    shared.manners.note(policy, addr, worked.attempt);
    shared.transports.note(addr, worked.transport);
    Ok(Met { stream, theirs, place })
}

/// Our handshake for the torrent that the other end calls `hash`.
pub(crate) fn our_handshake(hash: WireHash, peer_id: PeerId) -> Handshake {
    Handshake { reserved: Reserved::OURS, info_hash: hash, peer_id }
}
