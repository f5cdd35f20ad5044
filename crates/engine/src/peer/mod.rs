//! One connection: the task that drives it, reading, and writing.
//!
//! A [`Peer`] is shared by its task and its torrent on one thread. The torrent appends to its [`OutQueue`]
//! and flushes it; the task reads, and takes up a write where the socket had no room.

mod out_queue;
mod reader;
mod task;
mod writer;

pub(crate) use reader::{MAX_AHEAD, STAGING};
pub(crate) use task::run;
pub(crate) use writer::pump;

use crate::connections::Place;
use crate::limits::Meters;
use crate::stream::PeerStream;
use out_queue::OutQueue;
use samara_disk::BlockBytes;
use samara_swarm::PeerKey;
use samara_wire::id::BlockRef;
use samara_wire::peer::message::Message;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use tokio::sync::Notify;

/// A connection whose handshake is done and which the core has admitted.
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) addr: SocketAddr,
    stream: PeerStream,
    out: RefCell<OutQueue>,
    /// Its turns under the rate limits.
    meters: Meters,
    /// Wakes the task: there is something to write, or the connection is to be closed.
    wake: Notify,
    closed: Cell<bool>,
    /// In the list of peers to be flushed.
    dirty: Cell<bool>,
    /// Its place among the connections of the session.
    _place: Place,
}

impl Peer {
    pub(crate) fn new(
        key: PeerKey,
        addr: SocketAddr,
        stream: PeerStream,
        place: Place,
        meters: Meters,
        greeting: &[u8],
    ) -> Self {
        Self {
            key,
            addr,
            stream,
            out: RefCell::new(OutQueue::new(greeting)),
            meters,
            wake: Notify::new(),
            closed: Cell::new(false),
            dirty: Cell::new(false),
            _place: place,
        }
    }

    /// Appends a message; goes out with the next flush.
    pub(crate) fn send(&self, message: &Message) {
        self.out.borrow_mut().push_message(message);
    }

    /// There are blocks to be pulled out of the core.
    pub(crate) fn serve_ready(&self) {
        self.out.borrow_mut().serving = true;
    }

    /// A disk thread has read a block, or failed to.
    pub(crate) fn block_read(&self, block: BlockRef, bytes: Option<BlockBytes>) {
        self.out.borrow_mut().block_read(block, bytes);
    }

    /// Whether a flush might find something to do.
    pub(crate) fn has_output(&self) -> bool {
        let out = self.out.borrow();
        !out.blocked && (out.serving || !out.is_idle() || self.stream.has_unsent())
    }

    /// Has its task take up what another's budget left undone.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Marks it as to be flushed; true if it was not yet.
    pub(crate) fn mark_dirty(&self) -> bool {
        !self.dirty.replace(true)
    }

    /// Our own address on this connection.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        self.stream.local_ip()
    }

    /// Has the task end and the connection close.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.wake.notify_one();
    }
}
