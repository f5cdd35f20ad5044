//! Those who unchoke and serve nothing, or as good as nothing.

use super::{Adversary, Serve};
use samara_wire::id::BlockRef;

/// Serves nothing and says nothing.
#[derive(Debug)]
pub(super) struct Silent;

impl Adversary for Silent {
    fn serve(&mut self, _block: BlockRef) -> Serve {
        Serve::Withheld
    }
}

/// Serves a byte a second, so that it is never silent.
#[derive(Debug)]
pub(super) struct Drip;

impl Adversary for Drip {
    fn serve(&mut self, _block: BlockRef) -> Serve {
        Serve::Dripped
    }
}
