//! Giving the info dictionary to peers that have only the info-hash (BEP 9).
//!
//! Requests wait in a queue of their peer and are pulled like blocks, as its stream has room, so that a peer which asks
//! and does not read costs nothing. A private torrent's metadata is not given, nor is the extension offered: who is
//! to have it got it from the tracker's site.

use super::{PeerKey, Torrent};
use crate::outbox::{Effect, Outbox};
use samara_wire::metainfo::Info;
use samara_wire::peer::extension::MAX_METADATA_LEN;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_metadata::{METADATA_PIECE_LEN, MetadataMessage, pieces_of};
use samara_wire::time::Instant;

/// The id under which we want `ut_metadata` messages.
pub(super) const UT_METADATA_ID: u8 = 2;

/// Requests of one peer that may wait.
const MAX_QUEUED: usize = 64;

/// How often a peer may have the whole on one connection: lost interest and second thoughts are honest, more is not.
const MAX_COPIES: u32 = 4;

impl Torrent {
    /// The info dictionary of this torrent, to be given to those who ask. To be called before the start.
    ///
    /// # Panics
    /// If it is another torrent's.
    pub fn set_metadata(&mut self, info: Info) {
        assert_eq!(info.hashes(), self.hashes, "metadata of another torrent");
        self.metadata = Some(info);
    }

    /// The next piece of metadata to send to `key`. To be pulled before [`Torrent::poll_serve`], and like it.
    pub fn poll_metadata(&mut self, now: Instant, key: PeerKey) -> Option<Message> {
        let peer = self.peers.get_mut(key)?;
        let raw = self.metadata.as_ref()?.raw();
        let piece = peer.metadata_queue.pop_front()?;
        let begin = (piece * METADATA_PIECE_LEN) as usize;
        let end = raw.len().min(begin + METADATA_PIECE_LEN as usize);
        peer.last_sent = now;
        let total_len = u32::try_from(raw.len()).ok();
        let data = MetadataMessage::Data { piece, total_len, payload: &raw[begin..end] };
        Some(Message::Extended { id: peer.metadata_id, payload: data.encode().into() })
    }

    /// Length of the metadata that is given to others.
    pub(super) fn metadata_len(&self) -> Option<u32> {
        let info = self.metadata.as_ref().filter(|_| !self.config.private)?;
        u32::try_from(info.raw().len()).ok().filter(|len| *len <= MAX_METADATA_LEN)
    }

    /// A message of `ut_metadata`. We ask for nothing, so that only requests mean anything.
    pub(super) fn on_metadata(&mut self, key: PeerKey, payload: &[u8], out: &mut Outbox) {
        let Some(count) = self.metadata_len().map(pieces_of) else { return };
        let Some(peer) = self.peers.get_mut(key).filter(|p| p.metadata_id != 0) else { return };
        let Ok(MetadataMessage::Request { piece }) = MetadataMessage::parse(payload) else {
            return;
        };
        let fair = peer.metadata_given < count.saturating_mul(MAX_COPIES);
        if piece < count && fair && peer.metadata_queue.len() < MAX_QUEUED {
            peer.metadata_given += 1;
            peer.metadata_queue.push_back(piece);
            out.push(Effect::ServeReady(key));
        } else {
            let reject = MetadataMessage::Reject { piece }.encode().into();
            out.push(Effect::Send(
                key,
                Message::Extended { id: peer.metadata_id, payload: reject },
            ));
        }
    }
}
