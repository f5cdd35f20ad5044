//! Connections: two streams in which everything arrives in the order in which it was sent.

use super::config::NodeId;
use samara_swarm::torrent::PeerKey;
use samara_wire::id::BlockRef;
use samara_wire::peer::message::Message;
use std::collections::VecDeque;

/// The content of a block that is right. Any other number names one way of being wrong.
pub(super) const RIGHT: u64 = 0;

/// What a stream carries.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A message.
    Message(Message),
    /// A block.
    Block {
        /// Which.
        block: BlockRef,
        /// [`RIGHT`], or in which way it is wrong.
        content: u64,
        /// When its first byte can be at the receiver's link, in nanoseconds.
        begin: u64,
        /// Where it stands on the receiver's side.
        stage: Stage,
    },
    /// Bytes that are no message.
    Garbage,
    /// The other end has closed.
    Closed,
}

/// How far a block has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// On its way to the receiver's link.
    Travelling,
    /// It has its place on the receiver's link.
    Entering,
    /// A byte a second comes of it.
    Dripping {
        /// Whether its header was told.
        begun: bool,
        /// Bytes told of.
        told: u32,
    },
}

/// Names a connection, even after its place is used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ConnId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Items beyond the first for which an empty inbox keeps room.
const ROOM_KEPT: usize = 4;

/// What is under way to one end, each with the time of its arrival in microseconds. Mostly that is nothing, or one message: it has
/// its place here, so that neither memory nor a further look is spent on it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    first: Option<(u64, Item)>,
    rest: VecDeque<(u64, Item)>,
}

impl Inbox {
    pub(super) fn push(&mut self, at: u64, item: Item) {
        if self.first.is_none() {
            self.first = Some((at, item));
        } else {
            self.rest.push_back((at, item));
        }
    }

    pub(super) const fn front_mut(&mut self) -> Option<&mut (u64, Item)> {
        self.first.as_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let next = self.rest.pop_front();
        if next.is_some() && self.rest.is_empty() && self.rest.capacity() > ROOM_KEPT {
            self.rest = VecDeque::new();
        }
        std::mem::replace(&mut self.first, next).map(|(_, item)| item)
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.first.iter().chain(&self.rest).map(|(_, item)| item)
    }
}

/// One end of a connection, and what is under way to it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct End {
    pub(super) node: NodeId,
    /// Which life of the node this belongs to.
    pub(super) epoch: u16,
    /// Whether a delivery is in the queue.
    pub(super) armed: bool,
    /// The peer's name here; none before the handshake and after this end has closed.
    pub(super) key: Option<PeerKey>,
    /// Nothing sent later arrives earlier.
    pub(super) last_arrival: u64,
    pub(super) inbox: Inbox,
    /// Requests of this end that the other has neither served nor rejected.
    pub(super) asked: u32,
    /// When that last fell, or began: in microseconds.
    pub(super) asked_since: u64,
}

impl End {
    pub(super) const fn new(node: NodeId, epoch: u16) -> Self {
        Self {
            node,
            epoch,
            armed: false,
            key: None,
            last_arrival: 0,
            inbox: Inbox { first: None, rest: VecDeque::new() },
            asked: 0,
            asked_since: 0,
        }
    }
}

/// A connection; `ends[0]` dialled.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Conn {
    pub(super) generation: u32,
    /// One way, in microseconds.
    pub(super) delay: u64,
    pub(super) ends: [End; 2],
}

/// All connections, those that ended leaving their places to others.
#[derive(Debug, Default)]
pub(super) struct Conns {
    all: Vec<Conn>,
    free: Vec<u32>,
}

impl Conns {
    pub(super) fn open(&mut self, ends: [End; 2], delay: u64) -> ConnId {
        if let Some(index) = self.free.pop() {
            let conn = &mut self.all[index as usize];
            let generation = conn.generation.wrapping_add(1);
            *conn = Conn { generation, delay, ends };
            return ConnId { index, generation };
        }
        let index = u32::try_from(self.all.len()).expect("connections are far fewer");
        self.all.push(Conn { generation: 0, delay, ends });
        ConnId { index, generation: 0 }
    }

    /// The connection, unless it is over.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.all.get_mut(id.index as usize).filter(|conn| conn.generation == id.generation)
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.all.get(id.index as usize).filter(|conn| conn.generation == id.generation)
    }

    /// Frees the place if neither end is there any more.
    pub(super) fn reap(&mut self, id: ConnId) {
        let Some(conn) = self.get_mut(id) else { return };
        if conn.ends.iter().all(|end| end.key.is_none()) {
            conn.generation = conn.generation.wrapping_add(1);
            for end in &mut conn.ends {
                end.inbox = Inbox::default();
            }
            self.free.push(id.index);
        }
    }

    /// Bytes of blocks that are under way, but for those that drip.
    pub(super) fn under_way(&self) -> u64 {
        let items = self.all.iter().flat_map(|conn| &conn.ends).flat_map(|end| end.inbox.iter());
        let bytes = |item: &Item| match item {
            Item::Block { block, stage: Stage::Travelling | Stage::Entering, .. } => {
                u64::from(block.len)
            }
            _ => 0,
        };
        items.map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::id::PieceIndex;

    #[test]
    fn an_inbox_keeps_the_order_and_gives_its_room_back() {
        let mut inbox = Inbox::default();
        let have = |piece| Item::Message(Message::Have(PieceIndex(piece)));
        for round in 1..50 {
            (0..round).for_each(|piece| inbox.push(u64::from(piece), have(piece)));
            assert_eq!(inbox.len(), round as usize);
            for piece in 0..round {
                assert_eq!(inbox.front_mut().map(|(at, _)| *at), Some(u64::from(piece)));
                let popped = inbox.pop();
                let Some(Item::Message(Message::Have(got))) = popped else { panic!("{popped:?}") };
                assert_eq!(got, PieceIndex(piece));
            }
            assert!(inbox.pop().is_none() && inbox.rest.capacity() <= ROOM_KEPT);
        }
    }
}
