//! Reading: payload goes from the socket straight into block buffers, everything else through a small buffer.
//!
//! One `readv` scatters what the socket holds over
//!
//! ```text
//! [rest of the payload at hand] [13-byte header] [block buffer] [13-byte header] [block buffer] ...
//! ```
//!
//! on the guess that what follows a full block is another full block, whichever it may be: block buffers
//! belong to no block before the header is read. The more blocks came in a row, the further the guess
//! reaches. Where it is wrong, the bytes are copied to where they belong; no guess is needed for being right,
//! only for being fast.

use super::Peer;
use crate::shell::{Live, TorrentShell};
use crate::stream::Read;
use samara_disk::BlockBuf;
use samara_swarm::torrent::BlockVerdict;
use samara_wire::id::{BLOCK_LEN, BlockRef};
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder, MAX_FRAME_LEN};
use samara_wire::peer::message::PIECE_HEADER_LEN;
use samara_wire::time::Instant;
use std::io::{self, IoSliceMut};
use std::rc::Rc;

/// Read in one go before other peers have their turn, in bytes.
const BUDGET: usize = 512 * 1024;

/// Room for headers and messages, in bytes. Grows for a longer message, as its bytes arrive.
pub(crate) const STAGING: usize = 4096;

/// Asked for behind a payload when no further block is expected: a few headers, so that little payload has
/// to be copied.
const TAIL: usize = 128;

/// Blocks that one system call may bring beyond the one at hand.
pub(crate) const MAX_AHEAD: usize = 16;

const BLOCK: usize = BLOCK_LEN as usize;

/// Whether reading again is of use.
pub(super) enum Readable {
    /// The socket was emptied.
    Drained,
    /// The budget was spent first.
    MaybeMore,
}

/// The inbound half of a connection.
pub(super) struct Reader {
    decoder: FrameDecoder,
    /// Bytes `start..end` are read and not decoded. Where there are none, the buffer is the shard's, and here only during a
    /// read: most peers are silent most of the time.
    staging: Vec<u8>,
    start: usize,
    end: usize,
    body: Body,
    /// Full blocks that came one right after another.
    streak: usize,
    /// Where the headers of expected blocks go.
    heads: [[u8; PIECE_HEADER_LEN]; MAX_AHEAD],
    /// Payload bytes of the present read, for rates.
    payload: usize,
}

/// What the stream is in the middle of.
enum Body {
    /// Between messages, or in a message that is not a block.
    None,
    /// In the payload of a wanted block.
    Block { block: BlockRef, buf: BlockBuf, filled: usize },
    /// In a payload that nobody wants.
    Discard { left: usize },
}

/// What decoding needs beside the reader.
struct Cx<'a> {
    live: &'a mut Live,
    shell: &'a TorrentShell,
    peer: &'a Peer,
    now: Instant,
}

impl Reader {
    pub(super) fn new(pieces: u32) -> Self {
        Self {
            decoder: FrameDecoder::new(Some(pieces)),
            staging: Vec::new(),
            start: 0,
            end: 0,
            body: Body::None,
            streak: 0,
            heads: [[0; PIECE_HEADER_LEN]; MAX_AHEAD],
            payload: 0,
        }
    }

    /// Reads what the socket has, up to a budget and to `granted` bytes, and tells the core.
    pub(super) fn read(
        &mut self,
        shell: &Rc<TorrentShell>,
        peer: &Rc<Peer>,
        granted: usize,
    ) -> io::Result<Readable> {
        if self.staging.is_empty() {
            self.staging = shell.env.take_staging();
        }
        let outcome = self.read_and_tell(shell, peer, BUDGET.min(granted));
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            shell.env.give_staging(std::mem::take(&mut self.staging));
        }
        outcome
    }

    fn read_and_tell(
        &mut self,
        shell: &Rc<TorrentShell>,
        peer: &Rc<Peer>,
        mut budget: usize,
    ) -> io::Result<Readable> {
        let spent = shell.with_live(|live, now| {
            let mut cx = Cx { live, shell, peer, now };
            while budget > 0 && !peer.closed.get() {
                let Read { bytes: read, drained } = match self.read_once(&mut cx, budget) {
                    Ok(outcome) => outcome,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Readable::Drained);
                    }
                    Err(error) => return Err(error),
                };
                peer.meters.down.moved(read);
                if drained {
                    return Ok(Readable::Drained);
                }
                budget = budget.saturating_sub(read);
            }
            Ok(Readable::MaybeMore)
        });
        spent.unwrap_or(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    /// One system call, and what it brought.
    fn read_once(&mut self, cx: &mut Cx<'_>, limit: usize) -> io::Result<Read> {
        self.payload = 0;
        let ahead = if limit < 2 * BLOCK || matches!(self.body, Body::Discard { .. }) {
            0
        } else {
            self.streak.min(MAX_AHEAD).min(limit / BLOCK - 1)
        };
        let read = if ahead > 0 && self.end - self.start < PIECE_HEADER_LEN {
            self.read_ahead(cx, ahead)?
        } else {
            self.read_near(cx, limit)?
        };
        if self.payload > 0 {
            let bytes = u32::try_from(self.payload).unwrap_or(u32::MAX);
            cx.live.core.handle_progress(cx.now, cx.peer.key, bytes);
        }
        Ok(read)
    }

    /// Reads the rest of the payload at hand and a little more, or messages.
    fn read_near(&mut self, cx: &mut Cx<'_>, limit: usize) -> io::Result<Read> {
        let mut spare = None;
        let body: &mut [u8] = match &mut self.body {
            Body::None => &mut [],
            Body::Block { block, buf, filled } => {
                &mut buf.as_mut_slice()[*filled..block.len as usize]
            }
            Body::Discard { left } => {
                let len = (*left).min(BLOCK);
                &mut spare.insert(cx.shell.env.take_spare()).as_mut_slice()[..len]
            }
        };
        let rest = body.len();
        let room = if rest > 0 { TAIL } else { self.staging.len() - self.end };
        let body = &mut body[..rest.min(limit)];
        let room = if rest < limit { room.min(limit - rest) } else { 0 };
        let tail = &mut self.staging[self.end..self.end + room];
        let read = receive(cx.peer, &mut [IoSliceMut::new(body), IoSliceMut::new(tail)])?;
        if let Some(spare) = spare {
            cx.shell.env.give_spare(spare);
        }
        let of_body = read.bytes.min(rest);
        self.end += read.bytes - of_body;
        self.advance_body(cx, of_body);
        self.decode(cx)?;
        Ok(read)
    }

    /// Reads over the payload at hand and `ahead` expected blocks.
    fn read_ahead(&mut self, cx: &mut Cx<'_>, ahead: usize) -> io::Result<Read> {
        let mut spares = cx.shell.env.spares.take();
        spares.resize_with(ahead.max(spares.len()), || cx.shell.env.shared.disk.pool().take());
        // The beginning of a header may be here already.
        let staged = self.end - self.start;
        self.heads[0][..staged].copy_from_slice(&self.staging[self.start..self.end]);
        let body: &mut [u8] = match &mut self.body {
            Body::Block { block, buf, filled } => {
                &mut buf.as_mut_slice()[*filled..block.len as usize]
            }
            Body::None | Body::Discard { .. } => &mut [],
        };
        let rest = body.len();
        let mut slices: [IoSliceMut<'_>; 1 + 2 * MAX_AHEAD] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        slices[0] = IoSliceMut::new(body);
        let heads = self.heads.iter_mut().zip(&mut spares).take(ahead).enumerate();
        for (i, (head, spare)) in heads {
            let from = if i == 0 { staged } else { 0 };
            slices[1 + 2 * i] = IoSliceMut::new(&mut head[from..]);
            slices[2 + 2 * i] = IoSliceMut::new(spare.as_mut_slice());
        }
        let read = match receive(cx.peer, &mut slices[..1 + 2 * ahead]) {
            Ok(read) => read,
            Err(error) => {
                cx.shell.env.spares.replace(spares);
                return Err(error);
            }
        };
        (self.start, self.end) = (0, 0);
        let of_body = read.bytes.min(rest);
        self.advance_body(cx, of_body);
        self.sort(cx, staged + read.bytes - of_body, &mut spares);
        cx.shell.env.spares.replace(spares);
        self.decode(cx)?;
        Ok(read)
    }

    /// Puts `len` bytes that were scattered over headers and block buffers where they belong.
    fn sort(&mut self, cx: &mut Cx<'_>, mut len: usize, spares: &mut [BlockBuf]) {
        let mut at = 0;
        while len >= PIECE_HEADER_LEN && at < spares.len() {
            let after_header = len - PIECE_HEADER_LEN;
            let Ok(Decoded::Frame { frame: Frame::PieceHeader(block), .. }) =
                self.decoder.decode(&self.heads[at])
            else {
                break;
            };
            if block.len != BLOCK_LEN {
                break;
            }
            self.streak = (self.streak + 1).min(MAX_AHEAD);
            let filled = after_header.min(BLOCK);
            match self.judge(cx, block) {
                BlockVerdict::Wanted => {
                    let fresh = cx.shell.env.shared.disk.pool().take();
                    let mut buf = std::mem::replace(&mut spares[at], fresh);
                    buf.set_len(BLOCK);
                    self.body = Body::Block { block, buf, filled: 0 };
                }
                BlockVerdict::Unwanted | BlockVerdict::Fault => {
                    self.body = Body::Discard { left: BLOCK };
                }
            }
            self.advance_body(cx, filled);
            len = after_header - filled;
            at += 1;
        }
        if len > 0 {
            self.unread(at, len, &spares[at..]);
        }
    }

    /// Puts `len` bytes, scattered from header `at` on, one after another: the guess was wrong.
    fn unread(&mut self, at: usize, mut len: usize, spares: &[BlockBuf]) {
        if self.staging.len() < len {
            self.staging.resize(len, 0);
        }
        for (head, spare) in self.heads[at..].iter().zip(spares) {
            for part in [&head[..], spare.as_slice()] {
                let take = part.len().min(len);
                self.staging[self.end..self.end + take].copy_from_slice(&part[..take]);
                self.end += take;
                len -= take;
            }
        }
        debug_assert_eq!(len, 0, "more bytes than places");
    }

    /// Decodes all that is staged.
    fn decode(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        loop {
            let staged = &self.staging[self.start..self.end];
            match &mut self.body {
                Body::None => match self.decoder.decode(staged).map_err(invalid)? {
                    Decoded::Frame { frame, consumed } => {
                        self.start += consumed;
                        self.on_frame(cx, frame);
                    }
                    Decoded::NeedMore(needed) => {
                        self.make_room(needed);
                        return Ok(());
                    }
                },
                Body::Block { .. } | Body::Discard { .. } if staged.is_empty() => {
                    (self.start, self.end) = (0, 0);
                    return Ok(());
                }
                Body::Block { block, buf, filled } => {
                    let len = (block.len as usize - *filled).min(staged.len());
                    buf.as_mut_slice()[*filled..*filled + len].copy_from_slice(&staged[..len]);
                    self.start += len;
                    self.advance_body(cx, len);
                }
                Body::Discard { left } => {
                    let len = (*left).min(staged.len());
                    self.start += len;
                    self.advance_body(cx, len);
                }
            }
        }
    }

    fn on_frame(&mut self, cx: &mut Cx<'_>, frame: Frame) {
        match frame {
            Frame::PieceHeader(block) => {
                let full = block.len == BLOCK_LEN;
                self.streak = if full { (self.streak + 1).min(MAX_AHEAD) } else { 0 };
                self.body = match self.judge(cx, block) {
                    BlockVerdict::Wanted => {
                        let mut buf = cx.shell.env.shared.disk.pool().take();
                        buf.set_len(block.len as usize);
                        Body::Block { block, buf, filled: 0 }
                    }
                    BlockVerdict::Unwanted | BlockVerdict::Fault => {
                        Body::Discard { left: block.len as usize }
                    }
                };
            }
            Frame::Message(message) => {
                self.streak = 0;
                cx.live.core.handle_message(cx.now, cx.peer.key, message, &mut cx.live.out);
            }
            Frame::Unknown(id) => tracing::trace!(addr = %cx.peer.addr, id, "unknown message"),
        }
    }

    fn judge(&self, cx: &mut Cx<'_>, block: BlockRef) -> BlockVerdict {
        let live = &mut *cx.live;
        let verdict = live.core.handle_block_header(cx.now, cx.peer.key, block, &mut live.out);
        // We never ask for longer blocks; a block buffer would not hold one.
        if block.len > BLOCK_LEN { BlockVerdict::Unwanted } else { verdict }
    }

    /// Notes that `n` more bytes of the payload are where they belong.
    fn advance_body(&mut self, cx: &mut Cx<'_>, n: usize) {
        self.payload += n;
        match &mut self.body {
            Body::None => debug_assert_eq!(n, 0, "payload outside a block"),
            Body::Discard { left } => {
                *left -= n;
                if *left == 0 {
                    self.body = Body::None;
                }
            }
            Body::Block { block, filled, .. } => {
                *filled += n;
                if *filled == block.len as usize
                    && let Body::Block { block, buf, .. } =
                        std::mem::replace(&mut self.body, Body::None)
                {
                    let live = &mut *cx.live;
                    if live.core.handle_block(cx.now, cx.peer.key, block, &mut live.out) {
                        live.pieces.put(block, buf, cx.now);
                    }
                }
            }
        }
    }

    /// Makes room for a message of `needed` bytes in all, of which some are staged. The buffer at most
    /// doubles at a time, so its size follows what was in fact sent.
    fn make_room(&mut self, needed: usize) {
        debug_assert!(needed <= MAX_FRAME_LEN, "the decoder bounds every message");
        self.staging.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let len = needed.min(2 * self.staging.len()).max(STAGING);
        if len > self.staging.len() {
            self.staging.resize(len, 0);
        } else if self.end <= STAGING && needed <= STAGING && self.staging.len() > STAGING {
            self.staging.truncate(STAGING);
            self.staging.shrink_to_fit();
        }
    }
}

/// Reads without waiting. The end of the stream is an error like any other end of a connection.
fn receive(peer: &Peer, slices: &mut [IoSliceMut<'_>]) -> io::Result<Read> {
    match peer.stream.try_read_vectored(slices)? {
        Read { bytes: 0, .. } => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}

fn invalid(error: samara_wire::peer::frame::FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
