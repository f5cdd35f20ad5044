//! Dialling: connect, shake hands, and hand the connection to its torrent.

use crate::listen::{HANDSHAKE_TIMEOUT, read_handshake};
use crate::shared::Shared;
use crate::shell::{Newcomer, TorrentShell};
use crate::stream::PeerStream;
use samara_swarm::torrent::Direction;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::peer::handshake::{Handshake, Reserved};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// Time for a connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Dials `addr` for a torrent and tells it what came of it.
pub(crate) async fn run(shell: Rc<TorrentShell>, addr: SocketAddr) {
    match dial(&shell, addr).await {
        Ok(newcomer) => shell.handle_newcomer(newcomer),
        Err(error) => {
            tracing::debug!(%addr, %error, "dial failed");
            shell.dial_failed(addr);
        }
    }
}

async fn dial(shell: &TorrentShell, addr: SocketAddr) -> io::Result<Newcomer> {
    let shared = &shell.env.shared;
    // The semaphore lives as long as the session and is never closed.
    let half_open = shared.half_open.acquire().await.map_err(io::Error::other)?;
    let place = Arc::clone(&shared.connections)
        .try_acquire_owned()
        .map_err(|_| io::Error::other("all connections in use"))?;
    let from = bind_address(shared, addr)?;
    let stream = connect(addr, from, CONNECT_TIMEOUT).await?;
    let ours = shell.handshake(shell.shared.hashes.wire());
    let meant = |hash: &WireHash| shell.shared.hashes.matches(hash);
    let theirs = timeout(HANDSHAKE_TIMEOUT, exchange(&stream, &ours, meant)).await??;
    drop(half_open);
    Ok(Newcomer {
        stream,
        addr,
        direction: Direction::Outgoing,
        peer_id: theirs.peer_id,
        reserved: theirs.reserved,
        place,
        greeting: Vec::new(),
    })
}

fn bind_address(shared: &Shared, to: SocketAddr) -> io::Result<Option<IpAddr>> {
    shared.bind_for(to).map_err(|_| io::Error::other("no address of its family to connect from"))
}

/// Connects to `addr`, from `from` if given.
pub(crate) async fn connect(
    addr: SocketAddr,
    from: Option<IpAddr>,
    limit: Duration,
) -> io::Result<PeerStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = from {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    let stream = timeout(limit, socket.connect(addr)).await??;
    stream.set_nodelay(true)?;
    Ok(PeerStream::Tcp(stream))
}

/// Sends our handshake and reads theirs, which must name the same torrent. `meant` says whether a hash does: that of a
/// hybrid may be the other than ours, which libtorrent does where it has met somebody at our address by that.
pub(crate) async fn exchange(
    stream: &PeerStream,
    ours: &Handshake,
    meant: impl Fn(&WireHash) -> bool,
) -> io::Result<Handshake> {
    stream.write_all(&ours.encode()).await?;
    let theirs = read_handshake(stream).await?;
    if !meant(&theirs.info_hash) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it answers for another torrent"));
    }
    Ok(theirs)
}

/// Our handshake for the torrent that the other end calls `hash`.
pub(crate) fn our_handshake(hash: WireHash, peer_id: PeerId) -> Handshake {
    Handshake { reserved: Reserved::OURS, info_hash: hash, peer_id }
}
