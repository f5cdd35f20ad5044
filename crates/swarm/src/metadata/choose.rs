//! Whom to ask for what: places of groups, turns of peers that are asked alone, requests.

use super::{Assembly, FetchEffect, FetchKey, Group, MAX_ALONE, MAX_GROUPS, MetadataFetch, Peer};
use alloc::vec::Vec;
use core::cmp::Reverse;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_metadata::MetadataMessage;
use samara_wire::time::{Duration, Instant};

/// Pieces asked of one peer at a time: 128 KiB, which is less than a libtorrent has in its send buffer before it refuses.
const PIPELINE: usize = 8;

/// Peers asked for the same piece at a time.
const MAX_ASKERS: u8 = 2;

/// Time that a group, or a peer asked alone, has in any case; and bytes for which it has a second more.
const TURN: Duration = Duration::from_secs(20);
const TURN_RATE: u32 = 64 << 10;

fn turn(len: u32) -> Duration {
    TURN + Duration::from_secs(u64::from(len / TURN_RATE))
}

impl MetadataFetch {
    /// Gives places to groups and asks for what is missing.
    pub(super) fn drive(&mut self, now: Instant, out: &mut Vec<FetchEffect>) {
        if self.done {
            return;
        }
        for peer in self.peers.values_mut() {
            peer.paused_until = peer.paused_until.filter(|until| *until > now);
        }
        self.place_groups(now);
        self.place_alone(now);
        let placed: Vec<u32> =
            self.groups.iter().filter(|(_, g)| g.since.is_some()).map(|(len, _)| *len).collect();
        for len in placed {
            self.ask_group(now, len, out);
        }
        let alone: Vec<FetchKey> =
            self.peers.iter().filter(|(_, p)| p.alone.is_some()).map(|(key, _)| *key).collect();
        for key in alone {
            self.ask_alone(now, key, out);
        }
    }

    /// When a group has to make room for others that wait.
    pub(super) fn group_deadline(&self, len: u32, group: &Group) -> Option<Instant> {
        let waiting = self.groups.values().any(|other| other.since.is_none());
        group.since.filter(|_| waiting).map(|since| since + turn(len))
    }

    /// When a peer that is asked alone has to make room for others that wait.
    pub(super) fn alone_deadline(&self, peer: &Peer) -> Option<Instant> {
        let since = peer.alone.as_ref()?.0;
        self.peers.values().any(|p| self.may_be_alone(p)).then(|| since + turn(peer.len))
    }

    /// Whether a peer waits to be asked alone.
    fn may_be_alone(&self, peer: &Peer) -> bool {
        let group = self.groups.get(&peer.len);
        let distrusted = group.is_some_and(|g| g.distrusted && g.since.is_some());
        distrusted && peer.alone.is_none()
    }

    /// Those with the fewest turns before, then those with the most peers, have the places.
    fn place_groups(&mut self, now: Instant) {
        let peers = &self.peers;
        let size = |len: u32| peers.values().filter(|peer| peer.len == len).count();
        self.groups.retain(|len, _| size(*len) > 0);
        if self.groups.values().any(|group| group.since.is_none()) {
            for (len, group) in &mut self.groups {
                if group.since.is_some_and(|since| since + turn(*len) <= now) {
                    (group.since, group.shared) = (None, None);
                    group.turns += 1;
                    for peer in self.peers.values_mut().filter(|peer| peer.len == *len) {
                        peer.alone = None;
                        peer.asked.clear();
                    }
                }
            }
        }
        let size = |len: u32| self.peers.values().filter(|peer| peer.len == len).count();
        while self.groups.values().filter(|g| g.since.is_some()).count() < MAX_GROUPS {
            let waiting = self.groups.iter_mut().filter(|(_, group)| group.since.is_none());
            let best = waiting.min_by_key(|(len, g)| (g.turns, Reverse(size(**len)), **len));
            let Some((len, group)) = best else { return };
            group.since = Some(now);
            group.shared = (!group.distrusted).then(|| Assembly::new(*len));
        }
    }

    /// Gives the peers of distrusted groups their turns.
    fn place_alone(&mut self, now: Instant) {
        let late: Vec<FetchKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| self.alone_deadline(peer).is_some_and(|at| at <= now))
            .map(|(key, _)| *key)
            .collect();
        for (_, peer) in self.peers.iter_mut().filter(|(key, _)| late.contains(key)) {
            peer.alone = None;
            peer.asked.clear();
            peer.turns += 1;
        }
        while self.peers.values().filter(|p| p.alone.is_some()).count() < MAX_ALONE {
            let waiting = self.peers.iter().filter(|(_, peer)| self.may_be_alone(peer));
            let Some((_, key)) = waiting.map(|(key, peer)| (peer.turns, *key)).min() else {
                return;
            };
            let Some(peer) = self.peers.get_mut(&key) else { return };
            peer.alone = Some((now, Assembly::new(peer.len)));
        }
    }

    fn ask_group(&mut self, now: Instant, len: u32, out: &mut Vec<FetchEffect>) {
        let Some(shared) = self.groups.get(&len).and_then(|group| group.shared.as_ref()) else {
            return;
        };
        let mut askers = alloc::vec![0u8; shared.count()];
        for (piece, _) in self.peers.values().filter(|p| p.len == len).flat_map(|p| &p.asked) {
            askers[*piece as usize] += 1;
        }
        // One piece for each in turn, so that the first does not have them all.
        let mut news = true;
        while news {
            news = false;
            let ready = |peer: &Peer| {
                peer.len == len && peer.paused_until.is_none() && peer.asked.len() < PIPELINE
            };
            for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| ready(peer)) {
                let pieces = (0u32..).zip(&askers);
                let fit = pieces.filter(|(piece, askers)| {
                    let asked = peer.asked.iter().any(|(asked, _)| asked == piece);
                    shared.lacks(*piece) && **askers < MAX_ASKERS && !asked
                });
                let Some((piece, _)) = fit.min_by_key(|(piece, askers)| (**askers, *piece)) else {
                    continue;
                };
                askers[piece as usize] += 1;
                self.asked.insert(*key);
                out.push(request(now, *key, peer, piece));
                news = true;
            }
        }
    }

    fn ask_alone(&mut self, now: Instant, key: FetchKey, out: &mut Vec<FetchEffect>) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.paused_until.is_none()) else {
            return;
        };
        let Some((_, alone)) = &peer.alone else { return };
        let asked = |piece: &u32| peer.asked.iter().any(|(asked, _)| asked == piece);
        let count = u32::try_from(alone.count()).unwrap_or(u32::MAX);
        let missing = (0..count).filter(|piece| alone.lacks(*piece) && !asked(piece));
        let room = PIPELINE.saturating_sub(peer.asked.len());
        let pieces: Vec<u32> = missing.take(room).collect();
        for piece in pieces {
            self.asked.insert(key);
            out.push(request(now, key, peer, piece));
        }
    }
}

/// Asks `peer` for `piece`.
fn request(now: Instant, key: FetchKey, peer: &mut Peer, piece: u32) -> FetchEffect {
    peer.asked.push((piece, now));
    let payload = MetadataMessage::Request { piece }.encode().into();
    FetchEffect::Send(key, Message::Extended { id: peer.id, payload })
}
