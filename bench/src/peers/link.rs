//! One connection of a synthetic peer, non-blocking.

use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::net::TcpStream;

/// Room for messages that are read and not yet understood, in bytes: the bitfield of the largest torrent we make fits.
const INBOX: usize = 64 << 10;

/// A connection with an inbox and an outbox.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    inbox: Box<[u8]>,
    filled: usize,
    outbox: Vec<u8>,
    sent: usize,
    wants_to_write: bool,
}

impl Link {
    /// Takes a connected stream and watches it; events carry `key`.
    pub(super) fn new(stream: TcpStream, poll: &OwnedFd, key: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll::add(poll, &stream, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
        Ok(Self {
            stream,
            inbox: vec![0; INBOX].into(),
            filled: 0,
            outbox: Vec::new(),
            sent: 0,
            wants_to_write: false,
        })
    }

    /// What has been read.
    pub(super) fn inbox(&self) -> &[u8] {
        &self.inbox[..self.filled]
    }

    /// Drops the first `n` bytes of the inbox.
    pub(super) fn consume(&mut self, n: usize) {
        self.inbox.copy_within(n..self.filled, 0);
        self.filled -= n;
    }

    /// Where messages to be sent are appended.
    pub(super) fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// Reads until the inbox holds `limit` bytes at most. False if nothing came.
    pub(super) fn fill(&mut self, limit: usize) -> io::Result<bool> {
        let limit = limit.min(self.inbox.len());
        if self.filled >= limit {
            return Err(io::Error::other("a message longer than any we know"));
        }
        let room = &mut self.inbox[self.filled..limit];
        let Some(n) = arrived(rustix::net::recv(&self.stream, room, RecvFlags::empty()))? else {
            return Ok(false);
        };
        self.filled += n;
        Ok(true)
    }

    /// Drops the next `len` bytes of the stream, as many of them as are there, in the kernel: TCP with this flag leaves `nowhere` alone.
    /// Says how many those were.
    pub(super) fn discard(&mut self, len: usize, nowhere: &mut [u8]) -> io::Result<usize> {
        let len = len.min(nowhere.len());
        let got = rustix::net::recv(&self.stream, &mut nowhere[..len], RecvFlags::TRUNC);
        Ok(arrived(got)?.unwrap_or(0))
    }

    /// Writes the outbox; true when it is empty. With `more`, payload follows, and the kernel waits for it to fill the segment.
    pub(super) fn flush(&mut self, more: bool) -> io::Result<bool> {
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, more);
        while self.sent < self.outbox.len() {
            match rustix::net::send(&self.stream, &self.outbox[self.sent..], flags) {
                Ok(n) => self.sent += n,
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.outbox.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Whether room in the stream is worth an event, which is so while something is left to write.
    pub(super) fn wants_to_write(
        &mut self,
        wants: bool,
        poll: &OwnedFd,
        key: u64,
    ) -> io::Result<()> {
        if wants == self.wants_to_write {
            return Ok(());
        }
        self.wants_to_write = wants;
        let mut events = epoll::EventFlags::IN;
        events.set(epoll::EventFlags::OUT, wants);
        Ok(epoll::modify(poll, &self.stream, epoll::EventData::new_u64(key), events)?)
    }
}

/// How many bytes came; `None` if none is there, an error if none will come any more.
fn arrived(result: rustix::io::Result<(usize, usize)>) -> io::Result<Option<usize>> {
    match result {
        Ok((_, 0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok((_, n)) => Ok(Some(n)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
