//! The connections of an endpoint: by place, and by address and id.

use super::ConnectionKey;
use crate::connection::Connection;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::time::Instant;
use samara_wire::utp::ConnectionId;

/// Places, some of them free.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
    by_id: BTreeMap<(SocketAddr, ConnectionId), usize>,
    /// What was found last: datagrams of one connection come together.
    last: Option<((SocketAddr, ConnectionId), usize)>,
    next_generation: u64,
}

struct Slot {
    generation: u64,
    connection: Option<Box<Connection>>,
    /// It stands in the queue of those that may have something to be sent.
    ready: bool,
    /// Its entry among the time-outs.
    timer: Option<Instant>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn contains(&self, peer: SocketAddr, id: ConnectionId) -> bool {
        self.by_id.contains_key(&(peer, id))
    }

    pub(super) fn insert(&mut self, connection: Connection) -> ConnectionKey {
        let generation = self.next_generation;
        self.next_generation += 1;
        let id = (connection.peer, connection.receive_id);
        let connection = Some(Box::new(connection));
        let index = if let Some(index) = self.free.pop() {
            // Where it stood in the queue, the next one may stand.
            let slot = &mut self.slots[index];
            *slot = Slot { generation, connection, ready: slot.ready, timer: None };
            index
        } else {
            self.slots.push(Slot { generation, connection, ready: false, timer: None });
            self.slots.len() - 1
        };
        self.by_id.insert(id, index);
        ConnectionKey { index, generation }
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Box<Connection>> {
        let slot = &mut self.slots[index];
        let connection = slot.connection.take()?;
        slot.timer = None;
        self.free.push(index);
        self.by_id.remove(&(connection.peer, connection.receive_id));
        self.last = None;
        Some(connection)
    }

    pub(super) fn find(&mut self, peer: SocketAddr, id: ConnectionId) -> Option<usize> {
        let wanted = (peer, id);
        if let Some((last, index)) = self.last
            && last == wanted
        {
            return Some(index);
        }
        let index = *self.by_id.get(&wanted)?;
        self.last = Some((wanted, index));
        Some(index)
    }

    pub(super) fn get(&self, key: ConnectionKey) -> Option<&Connection> {
        let slot = self.slots.get(key.index).filter(|slot| slot.generation == key.generation)?;
        slot.connection.as_deref()
    }

    pub(super) fn get_owned_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(key.index)?;
        if slot.generation == key.generation { slot.connection.as_deref_mut() } else { None }
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Connection> {
        self.slots.get_mut(index)?.connection.as_deref_mut()
    }

    /// The key of the connection at a place.
    pub(super) fn key(&self, index: usize) -> Option<ConnectionKey> {
        let slot = self.slots.get(index)?;
        slot.connection.as_ref().map(|_| ConnectionKey { index, generation: slot.generation })
    }

    pub(super) fn timer(&self, index: usize) -> Option<Instant> {
        self.slots.get(index).and_then(|slot| slot.timer)
    }

    pub(super) fn set_timer(&mut self, index: usize, at: Option<Instant>) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.timer = at;
        }
    }

    /// Notes whether a place stands in the queue; true if that is new.
    pub(super) fn set_ready(&mut self, index: usize, ready: bool) -> bool {
        self.slots
            .get_mut(index)
            .is_some_and(|slot| core::mem::replace(&mut slot.ready, ready) != ready)
    }
}
