//! What holds between any two inputs, for tests and fuzz targets.

use super::Torrent;
use super::crowd::Crowd;
use super::peer::MAX_SERVE_QUEUE;

impl Torrent {
    /// Checks the invariants of the module's head, and the bounds of what is kept for a peer.
    ///
    /// # Panics
    /// If one does not hold.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        let mut outstanding = 0;
        for peer in self.peers.iter() {
            let useful = peer.has.iter().filter(|p| self.picker.wants(*p)).count();
            assert_eq!(peer.useful as usize, useful, "useful pieces of {:?}", peer.key);
            assert_eq!(peer.interested_by_us, useful > 0);
            for request in &peer.outstanding {
                outstanding += u64::from(request.block.len);
                let mut asked = self.picker.requesters(&request.block);
                assert!(asked.any(|key| key == peer.key), "{request:?} unknown to the picker");
            }
            assert!(peer.serve_queue.len() <= MAX_SERVE_QUEUE);
            for block in &peer.serve_queue {
                assert!(self.have.has(block.piece), "{block:?} is not here");
                assert!(peer.may_be_served(block), "{block:?} for one who is choked");
            }
        }
        assert_eq!(self.outstanding_bytes, outstanding);
        assert_eq!(self.crowd, Crowd::of(self.peers.iter()));
        self.check_pex_due();
    }
}
