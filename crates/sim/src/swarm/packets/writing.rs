//! From torrents into streams, and from endpoints onto the wire.
//!
//! Nothing is written while an event is dealt with: what was said is kept, and at the event's end every node that has something to
//! send does so. So a connection may end in the middle of anything.

use super::Due;
use super::ledger::Written;
use super::stream::Stage;
use super::wire::Place;
use crate::adversary::Serve;
use crate::swarm::config::NodeId;
use crate::swarm::network::{DRIP, content_of};
use crate::swarm::world::{Happening, World};
use samara_swarm::torrent::PeerKey;
use samara_utp::ConnectionKey;
use samara_wire::id::BlockRef;
use samara_wire::peer::message::{Message, encode_piece_header};
use samara_wire::time::Instant;

/// Bytes that are no message: one that long nobody reads.
const GARBAGE: [u8; 16] = [0xff; 16];

impl World {
    /// A message goes out to the peer that `from` knows by `key`.
    pub(in crate::swarm) fn say(&mut self, from: NodeId, key: PeerKey, message: &Message) {
        self.on_stream(from, key, |stream| stream.push_message(message));
    }

    /// Bytes go out that are no message.
    pub(in crate::swarm) fn say_garbage(&mut self, from: NodeId, key: PeerKey) {
        self.on_stream(from, key, |stream| stream.push_bytes(&GARBAGE));
    }

    /// A peer has something to be served.
    pub(in crate::swarm) fn serve_stream(&mut self, from: NodeId, key: PeerKey) {
        self.on_stream(from, key, |stream| stream.serving = true);
    }

    fn on_stream(
        &mut self,
        id: NodeId,
        peer: PeerKey,
        act: impl FnOnce(&mut super::stream::Stream),
    ) {
        let Some(link) = self.nodes[id.at()].link(peer).copied() else { return };
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.host(id) else { return };
        let Some(key) = host.by_conn.get(&link.conn.index).copied() else { return };
        if let Some(stream) = host.streams.get_mut(&key) {
            act(stream);
        }
        host.mark(key);
        packets.mark(id);
    }

    /// The event is over: all that is to be sent goes out.
    pub(in crate::swarm) fn flush(&mut self) {
        while let Some(id) = self.packets.as_mut().and_then(|packets| packets.dirty.pop()) {
            let Some(host) = self.packets.as_mut().and_then(|packets| packets.host(id)) else {
                continue;
            };
            host.marked = false;
            if std::mem::take(&mut host.offers) {
                self.offer_spares(id);
            }
            while let Some(key) = self.next_writable(id) {
                self.write_stream(id, key);
            }
            self.transmit(id);
            self.arm_endpoint(id);
        }
    }

    fn next_writable(&mut self, id: NodeId) -> Option<ConnectionKey> {
        let host = self.packets.as_mut()?.host(id)?;
        let key = host.writable.pop()?;
        if let Some(stream) = host.streams.get_mut(&key) {
            stream.marked = false;
        }
        Some(key)
    }

    /// Writes into a stream until it takes no more or there is no more.
    fn write_stream(&mut self, id: NodeId, key: ConnectionKey) {
        let now = Instant::from_micros(self.now);
        loop {
            let Some(host) = self.packets.as_mut().and_then(|packets| packets.host(id)) else {
                return;
            };
            let Some(stream) = host.streams.get_mut(&key) else { return };
            let opening = matches!(stream.stage, Stage::Opening);
            if opening || !stream.write_on(&mut host.endpoint, key) {
                return;
            }
            let Some(peer) = stream.peer().filter(|_| stream.serving) else { return };
            let node = &mut self.nodes[id.at()];
            let mut answers = Vec::new();
            answers.extend(std::iter::from_fn(|| node.torrent.poll_metadata(now, peer)));
            answers.extend(std::iter::from_fn(|| node.torrent.poll_hashes(now, peer)));
            if !answers.is_empty() {
                answers.iter().for_each(|answer| stream.push_message(answer));
                continue;
            }
            let Some(block) = node.torrent.upcoming(peer).next() else {
                stream.serving = false;
                return;
            };
            let (serve, written) = match &mut node.adversary {
                Some(adversary) => (adversary.serve(block), 0),
                // It is begun when the stream takes its first byte.
                None => match host.endpoint.write(key, &encode_piece_header(block)) {
                    Ok(written) if written > 0 => (Serve::Right, written),
                    _ => return,
                },
            };
            let begun = node.torrent.poll_serve(peer);
            debug_assert_eq!(begun, Some(block), "the head of the queue");
            if !matches!(serve, Serve::Withheld | Serve::Dripped) {
                node.torrent.handle_served(now, peer, block);
            }
            self.check_served(id, block);
            self.begin_block(id, key, block, serve, written);
        }
    }

    fn begin_block(
        &mut self,
        id: NodeId,
        key: ConnectionKey,
        block: BlockRef,
        serve: Serve,
        written: usize,
    ) {
        let Some(content) = content_of(id, serve) else { return };
        let (drips, now) = (serve == Serve::Dripped, self.now);
        let Some(packets) = &mut self.packets else { return };
        let Some(Some(host)) = packets.hosts.get_mut(id.at()) else { return };
        let Some(stream) = host.streams.get_mut(&key) else { return };
        stream.begin(block, content, written, drips);
        let number = stream.number;
        let heard = packets.blocks.written(number, Written { block, content, drips });
        if drips {
            let drip = Due::Drip { stream: number, node: id };
            return self.queue.push(now + DRIP, Happening::Packet(drip));
        }
        let bytes = u64::from(block.len);
        let node = &mut self.nodes[id.at()];
        node.ledger.sent += bytes;
        let (honest, seed) = (node.is_honest(), node.config.seed);
        self.record.sent(bytes, honest, seed);
        if !heard {
            self.record.dropped += bytes;
        }
    }

    fn transmit(&mut self, id: NodeId) {
        let now = self.now;
        let Some(host) = self.packets.as_mut().and_then(|packets| packets.host(id)) else { return };
        let (local, mut sent) = (host.local(now), Vec::new());
        while let Some(transmit) = host.endpoint.poll_transmit(local, 44) {
            let parts = transmit.contents.chunks(transmit.segment);
            sent.extend(parts.map(|part| (transmit.to, part.to_vec())));
        }
        for (to, bytes) in sent {
            self.cast(Place::Node(id), to, bytes);
        }
    }
}
