//! The shell of each node: gives its torrent inputs and carries out what it wants.

use super::config::NodeId;
use super::node::{Held, Node, digest_of, is_good};
use super::world::{Happening, World};
use crate::adversary::Serve;
use samara_swarm::torrent::{BlockDigests, PeerKey};
use samara_swarm::{Effect, Event, Outbox};
use samara_wire::id::PieceIndex;
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

impl World {
    /// Gives a living node an input, then carries out what it wants.
    pub(super) fn with(&mut self, id: NodeId, input: impl FnOnce(&mut Node, Instant, &mut Outbox)) {
        let mut out = std::mem::take(&mut self.outbox);
        let node = &mut self.nodes[id.at()];
        if node.alive {
            input(node, Instant::from_micros(self.now), &mut out);
            for effect in out.drain() {
                self.carry_out(id, effect);
            }
            self.arm_timer(id);
        }
        self.outbox = out;
    }

    pub(super) fn arm_timer(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.at()];
        let Some(at) = node.torrent.next_timeout() else { return };
        let at = at.as_micros().max(self.now + 1);
        if node.timer.is_none_or(|armed| at < armed) {
            node.timer = Some(at);
            self.queue.push(at, Happening::Timer(id));
        }
    }

    pub(super) fn carry_out(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Send(key, message) => {
                let message = match &mut self.nodes[id.at()].adversary {
                    Some(adversary) => adversary.send(message),
                    None => Some(message),
                };
                if let Some(message) = message {
                    self.send(id, key, message);
                }
            }
            Effect::ServeReady(key) => self.queue_for_serving(id, key),
            Effect::Disconnect(key, _) => self.close(id, key),
            Effect::Dial(to) => self.dial(id, to),
            Effect::Announce(announce) => self.announce(id, announce),
            Effect::VerifyPiece { piece, want_digests } => {
                let bytes = u64::from(self.layout.len_of(piece));
                let node = &mut self.nodes[id.at()];
                let at = node.disk.write(self.now, bytes);
                let epoch = node.epoch;
                let written = Happening::Written { node: id, piece, epoch, want_digests };
                self.queue.push(at, written);
            }
            Effect::Seek { seed } => {
                self.store(id);
                self.seek(id, seed);
            }
            Effect::Withdraw => self.withdraw(id),
            Effect::DhtNode(addr) => self.try_dht_node(id, addr),
            Effect::Punch(to) => self.utp_dial(id, to, true),
            Effect::Event(event) => self.on_event(id, &event),
        }
    }

    fn on_event(&mut self, id: NodeId, event: &Event) {
        match event {
            Event::Complete => self.on_complete(id),
            Event::PeerBanned(addr) => {
                let banned = &mut self.nodes[id.at()].banned;
                if banned.iter().all(|known| known.ip() != addr.ip()) {
                    banned.push(*addr);
                }
                self.check_ban(id, *addr);
            }
            _ => {}
        }
    }

    fn on_complete(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.at()];
        let honest = node.is_honest();
        // After a crash it may come to have all a second time: the first counts.
        let first = node.completed_at.is_none();
        node.completed_at.get_or_insert(self.now);
        if let Some(after) = node.config.leaves {
            self.leave_later(id, after);
        }
        if honest {
            self.waiting = self.waiting.saturating_sub(1);
            if first {
                self.note_completed();
            }
        }
    }

    fn queue_for_serving(&mut self, id: NodeId, key: PeerKey) {
        if self.packets.is_some() {
            return self.serve_stream(id, key);
        }
        let node = &mut self.nodes[id.at()];
        let Some(link) = node.link_mut(key) else { return };
        if std::mem::replace(&mut link.waits, true) {
            return;
        }
        node.ring.push_back(key);
        if !std::mem::replace(&mut node.pumping, true) {
            let at = (node.up.free_at() / 1_000).max(self.now);
            self.queue.push(at, Happening::Pump(id));
        }
    }

    /// Sends one block of what is queued, of each peer in turn; comes again when the uplink is free.
    pub(super) fn pump(&mut self, id: NodeId) {
        let now = Instant::from_micros(self.now);
        loop {
            let node = &mut self.nodes[id.at()];
            if !node.alive || !node.pumping {
                return;
            }
            let free_at = node.up.free_at() / 1_000;
            if free_at > self.now {
                self.queue.push(free_at, Happening::Pump(id));
                return;
            }
            let Some(key) = node.ring.pop_front() else {
                node.pumping = false;
                return;
            };
            let mut answers = Vec::new();
            answers.extend(std::iter::from_fn(|| node.torrent.poll_metadata(now, key)));
            answers.extend(std::iter::from_fn(|| node.torrent.poll_hashes(now, key)));
            let Some(block) = node.torrent.poll_serve(key) else {
                if let Some(link) = node.link_mut(key) {
                    link.waits = false;
                }
                self.send_all(id, key, answers);
                continue;
            };
            node.ring.push_back(key);
            let serve = node.adversary.as_mut().map_or(Serve::Right, |a| a.serve(block));
            if !matches!(serve, Serve::Withheld | Serve::Dripped) {
                node.torrent.handle_served(now, key, block);
            }
            self.send_all(id, key, answers);
            self.check_served(id, block);
            self.send_block(id, key, block, serve);
        }
    }

    fn send_all(&mut self, id: NodeId, key: PeerKey, messages: Vec<Message>) {
        for message in messages {
            self.send(id, key, message);
        }
    }

    /// The disk has hashed a piece, and written it if it was good.
    pub(super) fn on_written(
        &mut self,
        id: NodeId,
        epoch: u16,
        piece: PieceIndex,
        want_digests: bool,
    ) {
        let fails = self.nodes[id.at()].disk.config.fails_one_in;
        let fails = self.one_in(fails);
        let node = &mut self.nodes[id.at()];
        if node.epoch != epoch || !node.alive {
            return;
        }
        let Some(held) = node.held[piece.as_usize()].take() else {
            return self.breaks(id, "a piece is to be verified of which no block is here");
        };
        if held.count != held.contents.len() {
            return self.breaks(id, "a piece is to be verified that has holes");
        }
        let bytes = u64::from(self.layout.len_of(piece));
        node.ledger.held -= bytes;
        let good = is_good(&held);
        if !good {
            node.ledger.corrupt += bytes;
            let digests = digests(piece, &held);
            self.with(id, |node, now, out| {
                node.torrent.handle_piece_failed(now, piece, &digests, out);
            });
        } else if fails {
            node.ledger.lost += bytes;
            self.with(id, |node, now, out| node.torrent.handle_write_failed(now, piece, out));
        } else {
            node.ledger.verified += bytes;
            node.disk.on_written(self.now, piece);
            let digests = want_digests.then(|| digests(piece, &held));
            self.note_verified(id, piece);
            self.with(id, |node, now, out| {
                node.torrent.handle_piece_verified(now, piece, digests, out);
            });
        }
        self.give_credit(id);
    }

    /// Tells how many bytes of block buffers are free.
    pub(super) fn give_credit(&mut self, id: NodeId) {
        self.with(id, |node, now, out| {
            let free = node.disk.config.buffers.saturating_sub(node.ledger.held);
            node.torrent.handle_write_credit(now, free, out);
        });
    }

    /// Notes how pieces have spread.
    pub(super) fn sample(&mut self) {
        let begin = self.record.begin;
        self.record.sample(self.now.saturating_sub(begin));
    }
}

fn digests(piece: PieceIndex, held: &Held) -> BlockDigests {
    let of = |(index, content): (usize, &Option<u64>)| {
        digest_of(piece, index, content.unwrap_or(u64::MAX))
    };
    held.contents.iter().enumerate().map(of).collect()
}
