//! One piece from one peer: a short conversation, without a session or the state of a torrent.
//!
//! The fast extension is not offered, so that a peer says what it has with a plain bitfield and answers or drops
//! requests as BEP 3 has it. What a peer can make us keep is one frame and the blocks we asked for.

use super::{ProbeError, READ};
use crate::dial::{Destination, MeetError, meet};
use crate::network::{Binding, Egress};
use crate::stream::PeerStream;
use samara_disk::PieceHasher;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex, WireHash};
use samara_wire::metainfo::Info;
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::handshake::{Handshake, Reserved};
use samara_wire::peer::message::Message;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Requests under way at once.
const PIPELINE: usize = 32;

/// Peers asked for a piece at the same time.
const PEERS_AT_ONCE: usize = 8;

/// Fetches one piece from whichever of `peers` gives it first, and verifies it. Connects as `egress` has it.
///
/// # Errors
/// If the piece does not exist, or none of the peers gives it in time.
pub async fn fetch_piece(
    peers: &[SocketAddr],
    info: &Info,
    piece: PieceIndex,
    egress: &Egress,
    timeout: Duration,
) -> Result<Vec<u8>, ProbeError> {
    let binding = Arc::new(Binding::now(egress));
    let len = info.layout().len_of(piece);
    if len == 0 {
        let count = info.layout().count();
        return Err(ProbeError(format!(
            "there is no piece {piece}: the torrent has {count}, from 0"
        )));
    }
    let attempts = async {
        let mut waiting = peers.iter().copied();
        let mut running = JoinSet::new();
        let mut last = None;
        loop {
            for addr in waiting.by_ref().take(PEERS_AT_ONCE.saturating_sub(running.len())) {
                let (info, binding) = (info.clone(), Arc::clone(&binding));
                running.spawn(async move {
                    from_peer(addr, &info, piece, binding)
                        .await
                        .map_err(|e| ProbeError(format!("{addr}: {e}")))
                });
            }
            match running.join_next().await {
                None => return Err(last.unwrap_or_else(|| ProbeError("no peer is known".into()))),
                Some(Ok(Ok(bytes))) => return Ok(bytes),
                Some(Ok(Err(e))) => last = Some(e),
                Some(Err(e)) => last = Some(ProbeError(e.to_string())),
            }
        }
    };
    within(timeout, attempts).await
}

async fn from_peer(
    addr: SocketAddr,
    info: &Info,
    piece: PieceIndex,
    binding: Arc<Binding>,
) -> Result<Vec<u8>, ProbeError> {
    let layout = info.layout();
    let expected = info.piece_hash(piece);
    let expected =
        expected.ok_or_else(|| ProbeError("the hash of the piece is not known".into()))?;
    let mut peer = Conversation::open(addr, binding, info.hashes().wire(), layout.count()).await?;
    peer.send(&Message::Interested).await?;
    let mut bytes = vec![0; layout.len_of(piece) as usize];
    let mut missing: BTreeSet<u32> = (0..layout.blocks_in(piece)).collect();
    let mut asked = BTreeSet::new();
    let mut choked = true;
    while !missing.is_empty() || !asked.is_empty() {
        while !choked && asked.len() < PIPELINE {
            let Some(index) = missing.pop_first() else { break };
            let block = layout.block(piece, index).expect("below the number of blocks");
            peer.send(&Message::Request(block)).await?;
            asked.insert(index);
        }
        match peer.next().await? {
            Frame::Message(Message::Unchoke) => choked = false,
            Frame::Message(Message::Choke) => {
                // Discards what was asked for (BEP 3).
                choked = true;
                missing.append(&mut asked);
            }
            Frame::Message(Message::Bitfield(set)) => {
                let set = Bitfield::from_bytes(&set, layout.count());
                let set = set.map_err(|e| ProbeError(e.to_string()))?;
                // An empty bitfield may be followed by single announcements.
                if !set.is_empty() && !set.has(piece) {
                    return Err(ProbeError("the peer does not have the piece".into()));
                }
            }
            Frame::PieceHeader(block) => {
                let index = layout.block_index(&block).filter(|_| block.piece == piece);
                match index.filter(|index| asked.remove(index) || missing.remove(index)) {
                    Some(_) => peer.payload(place(&mut bytes, block)).await?,
                    None => {
                        return Err(ProbeError(
                            "the peer sent a block that was not asked for".into(),
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    let mut hasher = PieceHasher::new(expected);
    hasher.update(&bytes);
    match hasher.matches() {
        true => Ok(bytes),
        false => Err(ProbeError("the peer sent a piece that does not match its hash".into())),
    }
}

/// Where a block that is one of ours stands in its piece.
fn place(piece: &mut [u8], block: BlockRef) -> &mut [u8] {
    debug_assert!(block.len <= BLOCK_LEN);
    &mut piece[block.begin as usize..][..block.len as usize]
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(ProbeError(format!("no answer within {} s", limit.as_secs_f32()))),
    }
}

/// A connection whose handshake is done.
struct Conversation {
    stream: PeerStream,
    decoder: FrameDecoder,
    /// Received and not yet decoded; at most one frame and what came with it.
    buf: Vec<u8>,
}

impl Conversation {
    async fn open(
        addr: SocketAddr,
        binding: Arc<Binding>,
        hash: WireHash,
        pieces: u32,
    ) -> Result<Self, ProbeError> {
        let reserved = Reserved::default();
        let ours =
            Handshake { reserved, info_hash: hash, peer_id: crate::session::random_peer_id() };
        let met = meet(&Destination::anyhow(addr, binding), &ours, |named| *named == hash).await;
        let (stream, ..) = met.map_err(|error| match error {
            MeetError::Handshake(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => ProbeError(
                "the peer hung up instead of shaking hands: it may not have this torrent".into(),
            ),
            error => ProbeError(error.to_string()),
        })?;
        Ok(Self { stream, decoder: FrameDecoder::new(Some(pieces)), buf: Vec::new() })
    }

    async fn send(&mut self, message: &Message) -> Result<(), ProbeError> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes).await.map_err(hung_up)
    }

    /// The next frame. Safe to cancel: what was read stays in the buffer.
    async fn next(&mut self) -> Result<Frame, ProbeError> {
        loop {
            let decoded = self.decoder.decode(&self.buf);
            match decoded.map_err(|e| ProbeError(format!("the peer sent {e}")))? {
                Decoded::Frame { frame, consumed } => {
                    self.buf.drain(..consumed);
                    return Ok(frame);
                }
                Decoded::NeedMore(_) => {}
            }
            if self.stream.read_some(&mut self.buf, READ).await.map_err(hung_up)? == 0 {
                return Err(ProbeError("the peer hung up".into()));
            }
        }
    }

    /// The payload behind a piece header.
    async fn payload(&mut self, into: &mut [u8]) -> Result<(), ProbeError> {
        while self.buf.len() < into.len() {
            let room = into.len() - self.buf.len();
            if self.stream.read_some(&mut self.buf, room).await.map_err(hung_up)? == 0 {
                return Err(ProbeError("the peer hung up".into()));
            }
        }
        into.copy_from_slice(&self.buf[..into.len()]);
        self.buf.drain(..into.len());
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn hung_up(e: std::io::Error) -> ProbeError {
    ProbeError(format!("the peer hung up: {e}"))
}
