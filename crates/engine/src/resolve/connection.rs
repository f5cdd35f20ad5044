//! One connection to a peer that may have what is sought: handshake, extension handshake, then messages both ways.
//!
//! The fast extension is not offered, so that we need not say that we have nothing. Whatever the peer says of the
//! torrent's data is passed over. What it can make us keep is one frame.

use crate::dial::{Met, dial};
use crate::greet::Incoming;
use crate::limits::{Meters, RateLimits, TorrentLimits};
use crate::shard::ShardEnv;
use crate::stream::PeerStream;
use samara_swarm::metadata::{FetchKey, UT_METADATA_ID};
use samara_swarm::pex::UT_PEX_ID;
use samara_wire::id::{InfoHashes, PeerId, WireHash};
use samara_wire::metainfo::merkle::Hash;
use samara_wire::peer::extension::{ExtensionHandshake, HANDSHAKE_ID};
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::handshake::{Handshake, Reserved};
use samara_wire::peer::hashes::HashRequest;
use samara_wire::peer::message::Message;
use samara_wire::peer::{ut_metadata, ut_pex};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A connected peer has this long to introduce itself.
const INTRODUCTION: Duration = Duration::from_secs(15);

/// A peer that takes nothing for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Read at a time, in bytes.
const READ: usize = 16 << 10;

/// What a connection has to tell.
pub(super) enum Said {
    /// The handshake is done. The hash is that by which the peer calls the torrent.
    Connected(PeerId, WireHash),
    /// What the peer can do; nothing, if it does not speak the extension protocol.
    Extensions(Box<ExtensionHandshake>),
    /// A message of `ut_metadata`.
    Metadata(Box<[u8]>),
    /// A message of `ut_pex`.
    Pex(Box<[u8]>),
    /// Part of a hash tree (BEP 52).
    Hashes { request: Box<HashRequest>, hashes: Box<[Hash]> },
    /// It does not give part of a hash tree.
    HashReject(Box<HashRequest>),
    /// It asks for part of a hash tree, of which we have none.
    HashRequest(Box<HashRequest>),
    /// The connection ended, or did not come about.
    Gone,
}

/// How a connection comes about.
pub(super) enum Way {
    Dial,
    /// They dialled us; their handshake is here.
    Accept(Box<Incoming>),
}

/// What one connection needs.
pub(super) struct Connection {
    pub(super) env: Rc<ShardEnv>,
    pub(super) key: FetchKey,
    pub(super) addr: SocketAddr,
    pub(super) hash: WireHash,
    /// The torrent, as far as it is known.
    pub(super) hashes: InfoHashes,
    pub(super) way: Way,
    /// Waits when the driver is busy, and so does then the peer.
    pub(super) tell: mpsc::Sender<(FetchKey, Said)>,
    /// Bounded by use: a few requests, and a refusal for each of the peer's, which is read no faster than answered.
    pub(super) send: mpsc::UnboundedReceiver<Message>,
}

impl Connection {
    /// Runs until either side ends it, and tells of it.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.converse().await {
            tracing::debug!(addr = %self.addr, %error, "nothing from here");
        }
        self.say(Said::Gone).await;
    }

    async fn say(&self, said: Said) {
        // Fails only if the driver is gone.
        let _ = self.tell.send((self.key, said)).await;
    }

    async fn converse(&mut self) -> io::Result<()> {
        let shared = &self.env.shared;
        let reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]);
        let ours = Handshake { reserved, info_hash: self.hash, peer_id: shared.peer_id() };
        let Met { stream, theirs, place: _place } =
            match std::mem::replace(&mut self.way, Way::Dial) {
                Way::Dial => self.dial(&ours).await?,
                Way::Accept(incoming) => accept(*incoming, &ours).await?,
            };
        if theirs.peer_id == shared.peer_id() {
            return Err(io::Error::other("it is ourselves"));
        }
        self.say(Said::Connected(theirs.peer_id, theirs.info_hash)).await;
        if !theirs.reserved.extended() {
            self.say(Said::Extensions(Box::default())).await;
            return Ok(());
        }
        // Under the limits of the session, as there is no torrent yet.
        let limits = TorrentLimits::new(&shared.limits, RateLimits::default());
        let meters = limits.meters(self.addr.ip());
        let introduction = introduction(shared.port_for(self.addr.ip()), self.addr);
        write(&stream, &introduction, &meters).await?;
        self.exchange_messages(stream, &meters).await
    }

    async fn dial(&self, ours: &Handshake) -> io::Result<Met> {
        // Of a link that names a v1 hash nobody knows yet whether there is another; what comes is proven anyway.
        let hashes = self.hashes;
        let meant = |hash: &WireHash| hashes.v2().is_none() || hashes.matches(hash);
        dial(&self.env.shared, self.addr, ours, meant, || {}).await
    }

    async fn exchange_messages(&mut self, stream: PeerStream, meters: &Meters) -> io::Result<()> {
        let decoder = FrameDecoder::new(None);
        let mut buf = Vec::with_capacity(READ);
        let mut introduced = false;
        let deadline = tokio::time::Instant::now() + INTRODUCTION;
        loop {
            match decoder.decode(&buf).map_err(io::Error::other)? {
                Decoded::Frame { frame, consumed } => {
                    buf.drain(..consumed);
                    if let Some(said) = heard(frame)? {
                        introduced |= matches!(said, Said::Extensions(_));
                        self.say(said).await;
                    }
                    continue;
                }
                Decoded::NeedMore(_) => {}
            }
            tokio::select! {
                // What waits is sent before more is read, or a flood of requests would make refusals pile up.
                biased;
                message = self.send.recv() => match message {
                    Some(message) => write(&stream, &message, meters).await?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(deadline), if !introduced => {
                    self.say(Said::Extensions(Box::default())).await;
                    introduced = true;
                }
                read = read(&self.env, &stream, &mut buf, meters) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }
}

/// Answers the handshake of a peer that dialled us.
async fn accept(incoming: Incoming, ours: &Handshake) -> io::Result<Met> {
    let Incoming { stream, handshake, place, .. } = incoming;
    let stream = stream.attach()?;
    timeout(WRITE_TIMEOUT, stream.write_all(&ours.encode())).await??;
    Ok(Met { stream, theirs: handshake, place })
}

/// What a frame means here, if anything.
fn heard(frame: Frame) -> io::Result<Option<Said>> {
    let Frame::Message(message) = frame else {
        return match frame {
            Frame::PieceHeader(_) => Err(io::Error::other("it sent a block nobody asked for")),
            _ => Ok(None),
        };
    };
    Ok(match message {
        Message::Extended { id: HANDSHAKE_ID, payload } => {
            let said = ExtensionHandshake::parse(&payload).map_err(io::Error::other)?;
            Some(Said::Extensions(Box::new(said)))
        }
        Message::Extended { id: UT_METADATA_ID, payload } => Some(Said::Metadata(payload)),
        Message::Extended { id: UT_PEX_ID, payload } => Some(Said::Pex(payload)),
        Message::Hashes { request, hashes } => Some(Said::Hashes { request, hashes }),
        Message::HashReject(request) => Some(Said::HashReject(request)),
        Message::HashRequest(request) => Some(Said::HashRequest(request)),
        _ => None,
    })
}

/// What we say of ourselves.
fn introduction(port: u16, addr: SocketAddr) -> Message {
    let handshake = ExtensionHandshake {
        extensions: vec![
            (ut_metadata::NAME.to_owned(), UT_METADATA_ID),
            (ut_pex::NAME.to_owned(), UT_PEX_ID),
        ],
        client: Some(concat!("samara/", env!("CARGO_PKG_VERSION")).to_owned()),
        port: (port != 0).then_some(port),
        your_ip: Some(addr.ip()),
        ..ExtensionHandshake::default()
    };
    Message::Extended { id: HANDSHAKE_ID, payload: handshake.encode().into() }
}

/// Reads what has come, in its turn. Safe to cancel: a turn that has come is kept.
async fn read(
    env: &ShardEnv,
    stream: &PeerStream,
    buf: &mut Vec<u8>,
    meters: &Meters,
) -> io::Result<usize> {
    stream.readable().await?;
    let room = loop {
        match meters.down.ask(env.now(), 1) {
            Some(room) => break room,
            None => {
                let turn = meters.down.next_turn().unwrap_or_else(|| env.now());
                meters.sleep(env.shared.clock.to_tokio(turn)).await;
            }
        }
    };
    let room = room.clamp(1, READ);
    let len = stream.read_some(buf, room).await?;
    meters.down.moved(len);
    if len < room {
        meters.down.give_back();
    }
    Ok(len)
}

/// Sends a message, which is paid for and does not wait for its turn, as in torrents.
async fn write(stream: &PeerStream, message: &Message, meters: &Meters) -> io::Result<()> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    meters.up.moved(bytes.len());
    timeout(WRITE_TIMEOUT, stream.write_all(&bytes)).await?
}
