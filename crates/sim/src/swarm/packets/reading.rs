//! From streams to torrents: handshakes, messages and blocks as they come, in whatever pieces.

use super::payload;
use super::stream::{Incoming, Stage};
use crate::swarm::config::NodeId;
use crate::swarm::conn::{self, Item};
use crate::swarm::node::Link;
use crate::swarm::world::World;
use samara_swarm::torrent::{BlockVerdict, PeerKey};
use samara_utp::{ConnectionKey, StreamError};
use samara_wire::id::BlockRef;
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::handshake::{HANDSHAKE_LEN, Handshake};
use samara_wire::peer::message::Message;

/// Read at a time, in bytes.
const READ: usize = 64 << 10;

/// What a stream holds next.
enum Step {
    Handshake(Handshake),
    Message(Message),
    BlockBegins(BlockRef),
    /// So many bytes of a block.
    Progress(u32),
    BlockEnds(Incoming),
    /// Bytes that are nothing.
    Bad,
}

impl World {
    /// Takes out of a stream what there is, and tells the torrent.
    pub(super) fn read_stream(&mut self, id: NodeId, key: ConnectionKey) {
        let Some(packets) = &mut self.packets else { return };
        let mut scratch = std::mem::take(&mut packets.scratch);
        scratch.resize(READ, 0);
        let ended = loop {
            let now = self.now;
            let Some(host) = self.packets.as_mut().and_then(|packets| packets.host(id)) else {
                break false;
            };
            let local = host.local(now);
            let Some(stream) = host.streams.get_mut(&key) else { break false };
            if matches!(stream.stage, Stage::Spare(_)) {
                break false;
            }
            match host.endpoint.read(local, key, &mut scratch) {
                Ok(0) => break true,
                Ok(read) => stream.inbox.extend_from_slice(&scratch[..read]),
                Err(StreamError::WouldBlock) => break false,
                Err(_) => break true,
            }
            while let Some(step) = self.next_step(id, key) {
                self.take_step(id, key, step);
            }
        };
        if let Some(packets) = &mut self.packets {
            packets.scratch = scratch;
            // The peer may have to be told that there is room again.
            packets.mark(id);
        }
        if ended {
            self.stream_ended(id, key);
        }
    }

    /// The next thing in what was read. Nothing if more must come first, or the connection is no more.
    fn next_step(&mut self, id: NodeId, key: ConnectionKey) -> Option<Step> {
        let pieces = self.layout.count();
        let stream = self.packets.as_mut()?.host(id)?.streams.get_mut(&key)?;
        match stream.stage {
            Stage::Opening | Stage::Spare(_) => return None,
            Stage::Greeting => {
                let bytes: Vec<u8> = stream.inbox.get(..HANDSHAKE_LEN)?.into();
                stream.inbox.drain(..HANDSHAKE_LEN);
                return Some(Handshake::parse(&bytes).map_or(Step::Bad, Step::Handshake));
            }
            Stage::Open(_) => {}
        }
        if let Some(incoming) = &mut stream.incoming {
            let lacking = incoming.block.len as usize - incoming.bytes.len();
            if lacking == 0 {
                return stream.incoming.take().map(Step::BlockEnds);
            }
            let part = lacking.min(stream.inbox.len());
            incoming.bytes.extend(stream.inbox.drain(..part));
            return (part > 0).then(|| Step::Progress(u32::try_from(part).unwrap_or(u32::MAX)));
        }
        loop {
            let decoded = FrameDecoder::new(Some(pieces)).decode(&stream.inbox);
            let Ok(decoded) = decoded else { return Some(Step::Bad) };
            let Decoded::Frame { frame, consumed } = decoded else { return None };
            stream.inbox.drain(..consumed);
            match frame {
                Frame::Message(message) => return Some(Step::Message(message)),
                Frame::PieceHeader(block) => return Some(Step::BlockBegins(block)),
                Frame::Unknown(_) => {}
            }
        }
    }

    fn take_step(&mut self, id: NodeId, key: ConnectionKey, step: Step) {
        if let Step::Handshake(handshake) = &step {
            return self.greeted(id, key, handshake);
        }
        let stream = self.packets.as_mut().and_then(|p| p.host(id)?.streams.get_mut(&key));
        let Some((peer, other)) = stream.map(|stream| (stream.peer(), stream.other)) else {
            return;
        };
        let link = peer.and_then(|peer| self.nodes[id.at()].link(peer).copied());
        let Some(Link { conn, end, key: peer, .. }) = link else {
            return self.stream_ended(id, key);
        };
        match step {
            Step::Message(message) => self.hand_over(conn, end, Item::Message(message)),
            Step::BlockBegins(block) => self.on_block_begins(id, key, peer, block),
            Step::Progress(bytes) => {
                let wants = |p: &mut super::Packets| {
                    let incoming = p.host(id)?.streams.get(&key)?.incoming.as_ref()?;
                    incoming.wanted.then_some(())
                };
                if self.packets.as_mut().is_some_and(|p| wants(p).is_some()) {
                    self.with(id, |node, now, _| node.torrent.handle_progress(now, peer, bytes));
                }
            }
            Step::BlockEnds(incoming) => self.on_block_ends(id, peer, other, &incoming),
            Step::Bad | Step::Handshake(_) => self.hand_over(conn, end, Item::Garbage),
        }
    }

    fn on_block_begins(&mut self, id: NodeId, key: ConnectionKey, peer: PeerKey, block: BlockRef) {
        let item =
            Item::Block { block, content: conn::RIGHT, begin: 0, stage: conn::Stage::Travelling };
        let heard = self.nodes[id.at()].adversary.as_mut().is_none_or(|a| a.hears(&item));
        let (mut wanted, bytes) = (false, u64::from(block.len));
        self.with(id, |node, now, out| {
            if !heard {
                return;
            }
            match node.torrent.handle_block_header(now, peer, block, out) {
                BlockVerdict::Wanted => wanted = true,
                BlockVerdict::Unwanted => {
                    node.ledger.received += bytes;
                    node.ledger.wasted += bytes;
                }
                BlockVerdict::Fault => {}
            }
        });
        let stream = self.packets.as_mut().and_then(|p| p.host(id)?.streams.get_mut(&key));
        if let Some(stream) = stream {
            let bytes = Vec::with_capacity(block.len as usize);
            stream.incoming = Some(Incoming { block, wanted, bytes });
        }
    }

    fn on_block_ends(
        &mut self,
        id: NodeId,
        peer: PeerKey,
        other: Option<u32>,
        incoming: &Incoming,
    ) {
        let Incoming { block, wanted, bytes: ref read } = *incoming;
        let bytes = u64::from(block.len);
        let ledger = self.packets.as_mut().map(|packets| &mut packets.blocks);
        let written = other.and_then(|other| ledger?.arrived(other));
        let content = written.and_then(|written| payload::read(block, read, written.content));
        let same = written
            .is_some_and(|written| written.block == block && Some(written.content) == content);
        let Some(content) = content.filter(|_| same) else {
            return self.breaks(id, format!("a stream gave {block:?} where {written:?} was sent"));
        };
        if written.is_some_and(|written| written.drips) {
            self.record.all_sent += bytes;
        }
        self.record.delivered += bytes;
        self.digest.item(&Item::Block { block, content, begin: 0, stage: conn::Stage::Travelling });
        let link = self.nodes[id.at()].link(peer).map(|link| (link.conn, link.end));
        if let Some(conn) = link.and_then(|(conn, _)| self.conns.get_mut(conn)) {
            let end = &mut conn.ends[0];
            end.asked = end.asked.saturating_sub(1);
            end.asked_since = self.now;
        }
        if wanted {
            let (index, of) = (self.layout.block_index(&block), self.layout.blocks_in(block.piece));
            self.with(id, |node, now, out| {
                node.ledger.received += bytes;
                let kept = node.torrent.handle_block(now, peer, block, out);
                if let Some(index) = index.filter(|_| kept) {
                    node.ledger.held += bytes;
                    node.hold(block.piece, index, of, content);
                } else {
                    node.ledger.wasted += bytes;
                }
            });
        }
        if self.one_in(self.config.breaks_one_in) {
            self.close(id, peer);
            self.with(id, |node, now, out| node.torrent.handle_disconnected(now, peer, out));
        }
    }
}
