//! Figures for display.

use super::{PeerKey, PeerStats, Torrent, TorrentStats};
use alloc::vec::Vec;
use samara_wire::bitfield::Bitfield;
use samara_wire::time::Instant;

impl Torrent {
    /// Payload bytes per second received, smoothed.
    #[must_use]
    pub fn down_rate(&self, now: Instant) -> u64 {
        self.down.rate(now)
    }

    /// Counters and rates. Cost follows the number of peers, not of pieces, but for a torrent of which only
    /// some files are wanted.
    #[must_use]
    pub fn stats(&self, now: Instant) -> TorrentStats {
        let wanted_bytes = self.picker.wanted_bytes();
        TorrentStats {
            pieces_have: self.have.count(),
            pieces_total: self.layout.count(),
            wanted_bytes,
            wanted_have_bytes: wanted_bytes - self.picker.wanted_bytes_left(),
            have_bytes: self.have_bytes(),
            downloaded: self.counters.downloaded,
            uploaded: self.counters.uploaded,
            wasted: self.counters.wasted,
            corrupt: self.counters.corrupt,
            down_rate: self.down.rate(now),
            up_rate: self.up.rate(now),
            peers: count(self.peers.len()),
            seeds: count(self.peers.iter().filter(|p| p.is_seed()).count()),
            known_peers: count(self.peer_list.len()),
            min_availability: self.picker.min_availability(),
        }
    }

    /// The connected peers, in the order of their slots.
    #[must_use]
    pub fn peer_stats(&self, now: Instant) -> Vec<PeerStats> {
        let stats = |peer: &super::peer::Peer| PeerStats {
            key: peer.key,
            addr: peer.addr,
            peer_id: peer.peer_id,
            client: peer.client.clone(),
            pieces: peer.has.count(),
            down_rate: peer.down.rate(now),
            up_rate: peer.up.rate(now),
            choking_us: peer.choking_us,
            choked_by_us: peer.choked_by_us,
            interested_by_us: peer.interested_by_us,
            interested_in_us: peer.interested_in_us,
        };
        self.peers.iter().map(stats).collect()
    }

    /// Bytes of verified pieces. Every piece but the short ones is of full length, so no scan is needed.
    pub(super) fn have_bytes(&self) -> u64 {
        let nominal = u64::from(self.have.count()) * u64::from(self.layout.piece_len());
        let missing_tails: u64 = self
            .layout
            .short_pieces()
            .iter()
            .filter(|(piece, _)| self.have.has(*piece))
            .map(|&(_, len)| u64::from(self.layout.piece_len() - len))
            .sum();
        nominal - missing_tails
    }

    /// The pieces that a peer has, as far as it told; `None` if it is not connected.
    #[must_use]
    pub fn pieces_of(&self, key: PeerKey) -> Option<&Bitfield> {
        self.peers.get(key).map(|peer| &peer.has)
    }

    /// Number of connected peers.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
