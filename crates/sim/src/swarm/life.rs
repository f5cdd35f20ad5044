//! Coming and going: starts, departures, crashes and restarts, partitions; and what adversaries do of their own accord.

use super::config::NodeId;
use super::disk::Crash;
use super::world::{Happening, World, micros};
use crate::adversary::{Deed, Scene};
use samara_swarm::torrent::PeerKey;
use samara_wire::time::{Duration, Instant};

/// Peers that an adversary dials at a time.
const DIALLED_AT_ONCE: usize = 200;

/// Something that was arranged beforehand.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    Leave {
        node: NodeId,
        epoch: u16,
    },
    Crash {
        node: NodeId,
        how: Crash,
    },
    Restart(NodeId),
    /// These are cut off for so long.
    Partition {
        far: Vec<NodeId>,
        lasts: Duration,
    },
}

impl World {
    /// Has a node leave `after` now: it says goodbye, and nobody waits for it any more.
    pub fn leave_later(&mut self, node: NodeId, after: Duration) {
        let epoch = self.nodes[node.at()].epoch;
        self.arrange(after, Turn::Leave { node, epoch });
    }

    /// Has a node crash `after` now and start again, with what its disk has, `down` later.
    pub fn crash_later(&mut self, node: NodeId, after: Duration, how: Crash, down: Duration) {
        self.arrange(after, Turn::Crash { node, how });
        self.arrange(after + down, Turn::Restart(node));
    }

    /// Has some nodes cut off from all others and from the tracker, `after` now and for so long.
    pub fn partition_later(&mut self, far: &[NodeId], after: Duration, lasts: Duration) {
        self.arrange(after, Turn::Partition { far: far.to_vec(), lasts });
    }

    fn arrange(&mut self, after: Duration, turn: Turn) {
        let index = u32::try_from(self.turns.len()).expect("arranged by hand");
        self.turns.push(turn);
        self.queue.push(self.now + micros(after), Happening::Turn(index));
    }

    pub(super) fn on_turn(&mut self, index: u32) {
        match self.turns[index as usize].clone() {
            Turn::Leave { node, epoch } => {
                if self.nodes[node.at()].alive && self.nodes[node.at()].epoch == epoch {
                    self.leave(node);
                }
            }
            Turn::Crash { node, how } => self.crash(node, how),
            Turn::Restart(node) => self.restart(node),
            Turn::Partition { far, lasts } => {
                self.nodes.iter_mut().for_each(|node| node.far = false);
                far.iter().for_each(|id| self.nodes[id.at()].far = true);
                self.partition_until = Some(self.now + micros(lasts));
            }
        }
    }

    pub(super) fn on_start(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.at()];
        node.alive = true;
        node.started_at.get_or_insert(self.now);
        let first_act = node.adversary.as_ref().and_then(|a| a.every());
        self.note_started(id);
        self.raise_host(id);
        self.join_dht(id);
        self.give_credit(id);
        self.with(id, |node, now, out| node.torrent.handle_start(now, out));
        if let Some(every) = first_act {
            self.queue.push(self.now + micros(every), Happening::Act(id));
        }
    }

    /// Stops as the program does: closes its connections and tells the tracker.
    fn leave(&mut self, id: NodeId) {
        let node = &self.nodes[id.at()];
        if node.is_honest() && !node.is_complete() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        self.with(id, |node, now, out| node.torrent.handle_stop(now, out));
        self.note_left(id);
        self.nodes[id.at()].left = true;
        self.end_life(id, Crash::Killed);
    }

    fn crash(&mut self, id: NodeId, how: Crash) {
        let node = &mut self.nodes[id.at()];
        if !node.alive {
            return;
        }
        let before = node.disk.written.clone();
        let after = node.disk.crash(self.now, how);
        let was_complete = before.is_full();
        self.note_lost(id, before.iter_difference(&after));
        if was_complete && !after.is_full() && self.nodes[id.at()].is_honest() {
            self.waiting += 1;
        }
        self.end_life(id, how);
    }

    /// The process is gone, with its connections if the machine still runs.
    fn end_life(&mut self, id: NodeId, how: Crash) {
        if !self.nodes[id.at()].left {
            self.fell_host(id);
        }
        self.leave_dht(id);
        if how == Crash::Killed {
            for key in self.keys_of(id) {
                self.close(id, key);
            }
        }
        self.nodes[id.at()].forget();
    }

    fn restart(&mut self, id: NodeId) {
        if self.nodes[id.at()].alive || self.nodes[id.at()].left {
            return;
        }
        let now = Instant::from_micros(self.now);
        self.nodes[id.at()].revive(id, now, &self.config);
        self.on_start(id);
    }

    pub(super) fn keys_of(&self, id: NodeId) -> Vec<PeerKey> {
        self.nodes[id.at()].links.iter().flatten().map(|link| link.key).collect()
    }

    /// An adversary does what it does.
    pub(super) fn on_act(&mut self, id: NodeId) {
        if !self.nodes[id.at()].alive {
            return;
        }
        let peers = self.keys_of(id);
        let Some(adversary) = self.nodes[id.at()].adversary.as_mut() else { return };
        let (rng, layout) = (&mut self.rng, &self.layout);
        let mut scene = Scene { rng, layout, peers: &peers, deeds: Vec::new() };
        adversary.act(&mut scene);
        let (deeds, every) = (scene.deeds, adversary.every());
        for deed in deeds {
            match deed {
                Deed::Send(key, message) => self.send(id, key, message),
                Deed::Garbage(key) => self.send_garbage(id, key),
                Deed::Close(key) => {
                    self.close(id, key);
                    self.with(id, |node, now, out| node.torrent.handle_disconnected(now, key, out));
                }
                Deed::DialAll => {
                    for addr in self.some_of(id, DIALLED_AT_ONCE) {
                        self.dial(id, addr);
                    }
                }
            }
        }
        if let Some(every) = every {
            self.queue.push(self.now + micros(every), Happening::Act(id));
        }
    }
}
