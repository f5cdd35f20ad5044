//! What is taken out of an answer: peers, an item, samples.

use super::{Goal, Job, MAX_PEERS};
use crate::lookup::LookupId;
use crate::outbox::{Event, Outbox};
use crate::signature::belongs;
use alloc::vec::Vec;
use samara_wire::id::WireHash;
use samara_wire::krpc::{Item, Response};

impl Job {
    /// Takes what was looked for out of an answer. Whether there was any.
    pub(super) fn take_findings(
        &mut self,
        id: LookupId,
        response: Response,
        out: &mut Outbox,
    ) -> bool {
        match &mut self.goal {
            Goal::Peers { info_hash, .. } | Goal::Announce { info_hash, .. } => {
                let info_hash = *info_hash;
                self.take_peers(id, info_hash, response, out)
            }
            Goal::Get { salt } => {
                let target = self.lookup.target();
                let Some(item) = response.item.filter(|item| belongs(item, &target, salt)) else {
                    return false;
                };
                let seq = item.signed.map_or(-1, |signed| signed.seq);
                if self.found_seq.is_none_or(|found| found < seq) {
                    self.found_seq = Some(seq);
                    out.event(Event::ItemFound { lookup: id, item });
                }
                true
            }
            Goal::Samples => {
                let Some(samples) = response.samples.filter(|s| !s.hashes.is_empty()) else {
                    return false;
                };
                out.event(Event::SamplesFound { lookup: id, hashes: samples.hashes });
                true
            }
            Goal::Put { item: ours, salt, .. } => {
                let seq = ours.signed.map(|signed| signed.seq).max(self.found_seq);
                let newer = response.item.filter(|item| seq.is_some() && is_newer(item, seq));
                let target = self.lookup.target();
                let Some(item) = newer.filter(|item| belongs(item, &target, salt)) else {
                    return false;
                };
                self.found_seq = item.signed.map(|signed| signed.seq);
                out.event(Event::ItemFound { lookup: id, item });
                true
            }
            Goal::Watch { salt, known, item: newest, .. } => {
                let newer = response.item.filter(|item| is_newer(item, *known));
                let target = self.lookup.target();
                let Some(item) = newer.filter(|item| belongs(item, &target, salt)) else {
                    return false;
                };
                *known = item.signed.map(|signed| signed.seq);
                *newest = Some(item.clone());
                out.event(Event::ItemFound { lookup: id, item });
                true
            }
            Goal::Nodes { .. } => false,
        }
    }

    fn take_peers(
        &mut self,
        id: LookupId,
        info_hash: WireHash,
        response: Response,
        out: &mut Outbox,
    ) -> bool {
        if let Some(scrape) = &response.scrape {
            self.scrape.seeds.union(&scrape.seeds);
            self.scrape.peers.union(&scrape.peers);
        }
        let filtered = response.scrape.is_some();
        let values = response.values.unwrap_or_default();
        let any = !values.is_empty();
        let mut peers = Vec::new();
        for peer in values {
            if self.peers.len() < MAX_PEERS && self.peers.insert(peer) {
                peers.push(peer);
            }
        }
        if !peers.is_empty() {
            out.event(Event::PeersFound { lookup: id, info_hash, peers });
        }
        any || filtered
    }
}

/// Whether `item` is a mutable one with a higher number than `known`.
fn is_newer(item: &Item, known: Option<i64>) -> bool {
    item.signed.is_some_and(|signed| Some(signed.seq) > known)
}
