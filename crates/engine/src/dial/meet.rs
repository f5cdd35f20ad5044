//! One peer, from the first packet to both handshakes.

use super::connect::{Route, connect};
use super::transports::Transport;
use crate::greet::{HANDSHAKE_TIMEOUT, read_handshake};
use crate::network::Binding;
use crate::stream::PeerStream;
use crate::tracker::unguessable;
use crate::utp::Hubs;
use samara_wire::id::WireHash;
use samara_wire::mse::{Attempt, Initiator, Policy, Progress};
use samara_wire::peer::handshake::Handshake;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// Read at a time while encryption is negotiated, in bytes.
const READ: usize = 1024;

/// Whom to meet, and how.
pub(crate) struct Destination<'a> {
    pub(crate) addr: SocketAddr,
    /// From where to connect by TCP, or by way of whom.
    pub(crate) binding: Arc<Binding>,
    /// What may carry the stream, in the order in which it is tried.
    pub(crate) transports: Vec<Transport>,
    /// What uTP goes by.
    pub(crate) hubs: Option<&'a Hubs>,
    pub(crate) policy: Policy,
    /// The ways to begin, one after the other.
    pub(crate) attempts: Vec<Attempt>,
}

/// How a peer was met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worked {
    pub(crate) transport: Transport,
    pub(crate) attempt: Attempt,
}

/// Why there is no connection to a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeetError {
    /// Nobody is there.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The peer hung up or talks otherwise.
    #[error("no handshake: {0}")]
    Handshake(#[source] io::Error),
    /// It names another torrent than was asked for.
    #[error("it answers for another torrent")]
    OtherTorrent,
}

/// Connects and shakes hands. `meant` says whether a hash names the torrent. Gives what worked, too.
pub(crate) async fn meet(
    to: &Destination<'_>,
    ours: &Handshake,
    meant: impl Fn(&WireHash) -> bool,
) -> Result<(PeerStream, Handshake, Worked), MeetError> {
    let mut outcome = io::ErrorKind::Unsupported.into();
    let route = Route { addr: to.addr, binding: &to.binding, hubs: to.hubs };
    let mut transports = to.transports.clone();
    let tries = to.attempts.len().max(transports.len());
    for &attempt in to.attempts.iter().cycle().take(tries) {
        let connected = connect(route, &transports).await;
        let (mut stream, transport) = connected.map_err(MeetError::Connect)?;
        let shaken = timeout(HANDSHAKE_TIMEOUT, shake(&mut stream, to.policy, attempt, ours));
        // Who does not answer at all would not answer otherwise either.
        match shaken.await.map_err(|elapsed| MeetError::Handshake(elapsed.into()))? {
            Ok(theirs) if !meant(&theirs.info_hash) => return Err(MeetError::OtherTorrent),
            Ok(theirs) => return Ok((stream, theirs, Worked { transport, attempt })),
            Err(error) => {
                tracing::debug!(addr = %to.addr, ?attempt, ?transport, %error, "no handshake");
                outcome = error;
                // Some take connections by a transport only to close them.
                transports.sort_by_key(|other| *other == transport);
            }
        }
    }
    Err(MeetError::Handshake(outcome))
}

impl Destination<'_> {
    /// A peer for which no settings of a session count.
    pub(crate) fn anyhow(addr: SocketAddr, binding: Arc<Binding>) -> Self {
        let policy = Policy::default();
        Self {
            addr,
            binding,
            transports: vec![Transport::Tcp],
            hubs: None,
            policy,
            attempts: policy.attempts().to_vec(),
        }
    }
}

/// Sends our handshake, in the way that is attempted, and reads theirs.
async fn shake(
    stream: &mut PeerStream,
    policy: Policy,
    attempt: Attempt,
    ours: &Handshake,
) -> io::Result<Handshake> {
    match attempt {
        Attempt::Plain => stream.write_all(&ours.encode()).await?,
        Attempt::Encrypted => encrypt(stream, policy, ours).await?,
    }
    read_handshake(stream).await
}

/// Negotiates encryption. Our handshake goes with it.
async fn encrypt(stream: &mut PeerStream, policy: Policy, ours: &Handshake) -> io::Result<()> {
    let (mut out, mut arrived) = (Vec::new(), Vec::new());
    let (hash, payload, methods) = (ours.info_hash, ours.encode(), policy.methods());
    let mut negotiation = Initiator::new(hash, methods, &payload, seed(), &mut out);
    loop {
        stream.write_all(&out).await?;
        out.clear();
        arrived.clear();
        if stream.read_some(&mut arrived, READ).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match negotiation.handle_bytes(&arrived, &mut out).map_err(io::Error::other)? {
            Progress::Pending => {}
            Progress::Plain(_) => return Err(io::Error::other("it does not encrypt")),
            Progress::Established(established) => {
                stream.write_all(&out).await?;
                stream.seal(established.session, established.received);
                return Ok(());
            }
        }
    }
}

/// For the secrets of one negotiation.
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for part in seed.chunks_exact_mut(8) {
        part.copy_from_slice(&unguessable().to_ne_bytes());
    }
    seed
}
