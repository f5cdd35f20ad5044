//! What is fetched of a link: first the info dictionary, then, where they are needed, the piece layers (BEP 9, 52).
//!
//! Hides from the driver which of the two cores is at work.

use samara_swarm::metadata::{
    FetchEffect, FetchFault, FetchKey, FetchStatus, LayerFetch, MetadataFetch, PieceLayers,
};
use samara_wire::metainfo::merkle::Hash;
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::hashes::HashRequest;
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

/// The core at work, with the effects that are yet to be carried out.
pub(super) enum Work {
    Metadata(MetadataFetch, Vec<FetchEffect>),
    Layers(LayerFetch, Vec<FetchEffect<PieceLayers>>),
}

/// What the work has led to.
pub(super) enum Fetched {
    Metadata(Vec<u8>),
    Layers(PieceLayers),
}

/// One thing the driver is to do.
pub(super) enum Wish {
    Send(FetchKey, Message),
    Drop(FetchKey, FetchFault),
    Done(Fetched),
}

impl From<MetadataFetch> for Work {
    fn from(fetch: MetadataFetch) -> Self {
        Self::Metadata(fetch, Vec::new())
    }
}

impl From<LayerFetch> for Work {
    fn from(fetch: LayerFetch) -> Self {
        Self::Layers(fetch, Vec::new())
    }
}

impl Work {
    /// The handshake with a peer is done, which knows the torrent by the name it has now.
    pub(super) fn handle_connected(&mut self, now: Instant, key: FetchKey) {
        if let Self::Layers(fetch, out) = self {
            fetch.handle_connected(now, key, out);
        }
    }

    pub(super) fn handle_extensions(
        &mut self,
        now: Instant,
        key: FetchKey,
        said: &ExtensionHandshake,
    ) {
        if let Self::Metadata(fetch, out) = self {
            fetch.handle_extensions(now, key, said, out);
        }
    }

    pub(super) fn handle_metadata(&mut self, now: Instant, key: FetchKey, payload: &[u8]) {
        if let Self::Metadata(fetch, out) = self {
            fetch.handle_message(now, key, payload, out);
        }
    }

    pub(super) fn handle_hashes(
        &mut self,
        now: Instant,
        key: FetchKey,
        request: &HashRequest,
        hashes: &[Hash],
    ) {
        if let Self::Layers(fetch, out) = self {
            fetch.handle_hashes(now, key, request, hashes, out);
        }
    }

    pub(super) fn handle_reject(&mut self, now: Instant, key: FetchKey, request: &HashRequest) {
        if let Self::Layers(fetch, out) = self {
            fetch.handle_reject(now, key, request, out);
        }
    }

    pub(super) fn handle_disconnected(&mut self, now: Instant, key: FetchKey) {
        match self {
            Self::Metadata(fetch, out) => fetch.handle_disconnected(now, key, out),
            Self::Layers(fetch, out) => fetch.handle_disconnected(now, key, out),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Metadata(fetch, out) => fetch.handle_timeout(now, out),
            Self::Layers(fetch, out) => fetch.handle_timeout(now, out),
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Metadata(fetch, _) => fetch.next_timeout(),
            Self::Layers(fetch, _) => fetch.next_timeout(),
        }
    }

    /// What the core wants done, in order.
    pub(super) fn take_wishes(&mut self) -> Vec<Wish> {
        match self {
            Self::Metadata(_, out) => wishes(out, Fetched::Metadata),
            Self::Layers(_, out) => wishes(out, Fetched::Layers),
        }
    }

    /// How far the info dictionary is. Nothing of it is said once the layers are fetched.
    pub(super) fn metadata_status(&self) -> FetchStatus {
        match self {
            Self::Metadata(fetch, _) => fetch.status(),
            Self::Layers(..) => FetchStatus::default(),
        }
    }

    /// Parts of the piece layers that are here, and all of them; `None` while the info dictionary is fetched.
    pub(super) fn layer_progress(&self) -> Option<(usize, usize)> {
        match self {
            Self::Metadata(..) => None,
            Self::Layers(fetch, _) => Some(fetch.progress()),
        }
    }
}

fn wishes<T>(effects: &mut Vec<FetchEffect<T>>, found: fn(T) -> Fetched) -> Vec<Wish> {
    let wish = |effect| match effect {
        FetchEffect::Send(key, message) => Wish::Send(key, message),
        FetchEffect::Drop(key, fault) => Wish::Drop(key, fault),
        FetchEffect::Done(what) => Wish::Done(found(what)),
    };
    effects.drain(..).map(wish).collect()
}
