//! Sends blocks that are wrong: every one, or one in so many.

use super::{Adversary, Serve};
use samara_wire::id::BlockRef;

#[derive(Debug)]
pub(super) struct Corrupter {
    one_in: u32,
    served: u64,
}

impl Corrupter {
    pub(super) const fn new(one_in: u32) -> Self {
        Self { one_in, served: 0 }
    }
}

impl Adversary for Corrupter {
    fn serve(&mut self, _block: BlockRef) -> Serve {
        self.served += 1;
        // The first is never right: of a seed that is asked for little there would be nothing to see.
        if (self.served - 1).is_multiple_of(u64::from(self.one_in.max(1))) {
            Serve::Wrong(self.served)
        } else {
            Serve::Right
        }
    }
}
