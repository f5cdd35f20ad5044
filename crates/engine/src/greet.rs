//! Who dials us says, plainly or encrypted, which torrent it wants, and is handed to the shard of that torrent, or to the
//! link that is being resolved to it.
//!
//! Until then it can make us read and keep 68 bytes if it does not encrypt, 628 and what encrypting takes if it does, and
//! compute one key exchange, whose time has a budget ([`crate::exchanges`]).

use crate::connections::Place;
use crate::dial::seed;
use crate::listen::Admission;
use crate::shard::ShardEnv;
use crate::shared::Shared;
use crate::stream::{Detached, PeerStream};
use samara_wire::mse::{Progress, Responder};
use samara_wire::peer::handshake::{HANDSHAKE_LEN, Handshake};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Time for a whole handshake, the negotiation of encryption included.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Read at a time while encryption is negotiated, in bytes.
const READ: usize = 1024;

/// A peer that dialled us and has shown its handshake.
pub(crate) struct Incoming {
    pub(crate) stream: Detached,
    pub(crate) addr: SocketAddr,
    pub(crate) handshake: Handshake,
    /// Its place among the connections of the session.
    pub(crate) place: Place,
}

/// Reads a newcomer's handshake and passes it on.
pub(crate) async fn greet(
    env: Rc<ShardEnv>,
    mut stream: PeerStream,
    addr: SocketAddr,
    admission: Admission,
) {
    let heard = hear(&env.shared, &mut stream, &admission);
    let handshake = match timeout(HANDSHAKE_TIMEOUT, heard).await {
        Ok(Ok(handshake)) => handshake,
        Ok(Err(error)) => return tracing::debug!(%addr, %error, "no handshake"),
        Err(_) => return tracing::debug!(%addr, "handshake too slow"),
    };
    drop(admission);
    let torrent = env.shared.find(&handshake.info_hash);
    if torrent.is_none() && !env.shared.doors.is_open(&handshake.info_hash) {
        return tracing::debug!(%addr, hash = %handshake.info_hash, "peer asks for a torrent not here");
    }
    let place = match env.shared.place(addr.ip()) {
        Ok(place) => place,
        Err(full) => return tracing::debug!(%addr, %full, "peer turned away"),
    };
    let Ok(stream) = stream.detach() else { return };
    let incoming = Incoming { stream, addr, handshake, place };
    match torrent {
        Some(torrent) => env.hand_over(&torrent, incoming),
        None => env.shared.doors.enter(incoming),
    }
}

/// Reads the handshake, after negotiating encryption if that is what comes.
async fn hear(
    shared: &Shared,
    stream: &mut PeerStream,
    admission: &Admission,
) -> io::Result<Handshake> {
    let policy = shared.config.encryption;
    let mut negotiation = Responder::new(policy, policy.methods(), seed());
    let (mut out, mut arrived) = (Vec::new(), Vec::new());
    loop {
        arrived.clear();
        if stream.read_some(&mut arrived, READ).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let computes = negotiation.would_compute(&arrived);
        if computes {
            let turn = admission.reserve_exchange(shared.clock.now());
            let turn = turn.ok_or_else(|| io::Error::other("too many key exchanges at a time"))?;
            tokio::time::sleep_until(shared.clock.to_tokio(turn)).await;
        }
        let began = Instant::now();
        let progress = negotiation.handle_bytes(&arrived, |skey| shared.find_skey(skey), &mut out);
        if computes {
            admission.exchanged(began.elapsed());
        }
        let progress = progress.map_err(io::Error::other)?;
        stream.write_all(&out).await?;
        out.clear();
        match progress {
            Progress::Pending => {}
            Progress::Plain(received) => {
                stream.give_back(received);
                return read_handshake(stream).await;
            }
            Progress::Established(established) => {
                stream.seal(established.session, established.received);
                let theirs = read_handshake(stream).await?;
                // Who knows one torrent of ours does not thereby know another.
                return match theirs.info_hash == established.info_hash {
                    true => Ok(theirs),
                    false => Err(io::Error::other("two torrents named")),
                };
            }
        }
    }
}

/// Reads exactly one handshake, giving up at the first wrong byte.
pub(crate) async fn read_handshake(stream: &PeerStream) -> io::Result<Handshake> {
    use samara_wire::peer::handshake::HandshakeError::Short;
    let mut bytes = [0; HANDSHAKE_LEN];
    let mut filled = 0;
    loop {
        stream.readable().await?;
        match stream.try_read_vectored(&mut [IoSliceMut::new(&mut bytes[filled..])]) {
            Ok(read) if read.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read.bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        match Handshake::parse(&bytes[..filled]) {
            Ok(handshake) => return Ok(handshake),
            Err(Short(_)) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}
