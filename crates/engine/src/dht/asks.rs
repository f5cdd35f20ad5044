//! What users of a [`super::DhtHandle`] asked for: each ask is a look-up in every network that was joined.

use super::{DhtError, DhtScrape, DhtStatus};
use samara_dht::{Dht, Event, LookupId, LookupOutcome, Outbox};
use samara_wire::id::WireHash;
use samara_wire::krpc::{Item, NodeId};
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// Asks at a time.
const MAX_ASKS: usize = 64;

/// Time for an ask, joining included.
const TIME: Duration = Duration::from_secs(60);

/// Peers, and info-hashes, that are kept of one ask.
const MAX_FOUND: usize = 4000;

/// To the driver.
pub(crate) enum Request {
    Status(oneshot::Sender<DhtStatus>),
    /// The status, once it is another than this one.
    Change(Box<DhtStatus>, oneshot::Sender<DhtStatus>),
    Ask(Ask),
}

/// Something that is wanted, and who wants it.
pub(crate) struct Ask {
    pub(super) want: Want,
    pub(super) reply: oneshot::Sender<Result<Findings, DhtError>>,
}

/// What is wanted.
pub(super) enum Want {
    Get { target: NodeId, salt: Vec<u8> },
    Put { item: Item, salt: Vec<u8>, cas: Option<i64> },
    Peers(WireHash),
    Scrape(WireHash),
    Sample(NodeId),
}

/// What was found.
#[derive(Clone, Default, Debug)]
pub(super) struct Findings {
    pub(super) item: Option<Item>,
    pub(super) stored: u32,
    pub(super) peers: BTreeSet<SocketAddr>,
    pub(super) hashes: BTreeSet<WireHash>,
    swarm: (f64, f64),
}

impl Findings {
    /// The estimates of both networks together.
    pub(super) fn scrape(&self) -> DhtScrape {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it saturates, and these are estimates"
        )]
        let whole = |n: f64| n.max(0.0).round() as u64;
        DhtScrape { seeds: whole(self.swarm.0), peers: whole(self.swarm.1) }
    }

    fn take_item(&mut self, item: Item) {
        let seq = |item: &Item| item.signed.map(|signed| signed.seq);
        if self.item.as_ref().is_none_or(|known| seq(known) < seq(&item)) {
            self.item = Some(item);
        }
    }

    fn take_outcome(&mut self, outcome: &LookupOutcome) {
        self.stored += outcome.stored;
        let (seeds, peers) = outcome.swarm.unwrap_or_default();
        self.swarm = (self.swarm.0 + seeds, self.swarm.1 + peers);
    }
}

/// All asks under way, and those that wait for the network to be joined.
#[derive(Default)]
pub(super) struct Asks(Vec<Open>);

pub(super) struct Open {
    ask: Ask,
    deadline: Instant,
    /// Its look-ups, each by the index of its node; `None` before it has begun.
    lookups: Option<Vec<(usize, LookupId)>>,
    found: Findings,
}

impl Asks {
    pub(super) fn add(&mut self, now: Instant, ask: Ask) {
        self.0.retain(|open| !open.ask.reply.is_closed());
        if self.0.len() >= MAX_ASKS {
            // Fails only if nobody waits.
            let _ = ask.reply.send(Err(DhtError::Busy));
            return;
        }
        let found = Findings::default();
        self.0.push(Open { ask, deadline: now + TIME, lookups: None, found });
    }

    /// Takes out all that have not begun, to be begun and given back.
    pub(super) fn take_waiting(&mut self) -> Vec<Open> {
        self.0.extract_if(.., |open| open.lookups.is_none()).collect()
    }

    /// Takes it (back).
    pub(super) fn put_back(&mut self, open: Open) {
        self.0.push(open);
    }

    /// Whether some wait for the network to be joined.
    pub(super) fn any_waits(&self) -> bool {
        self.0.iter().any(|open| open.lookups.is_none())
    }

    /// Look-ups under way.
    pub(super) fn lookups(&self) -> usize {
        self.0.iter().map(|open| open.lookups.as_ref().map_or(0, Vec::len)).sum()
    }

    /// Something was found, or has ended, at the node of this index.
    pub(super) fn on_event(&mut self, index: usize, event: &Event) {
        let (Event::PeersFound { lookup, .. }
        | Event::ItemFound { lookup, .. }
        | Event::SamplesFound { lookup, .. }
        | Event::LookupDone { lookup, .. }) = event
        else {
            return;
        };
        let is_of = |open: &Open| {
            open.lookups.as_ref().is_some_and(|lookups| lookups.contains(&(index, *lookup)))
        };
        let Some(at) = self.0.iter().position(is_of) else { return };
        let open = &mut self.0[at];
        match event {
            Event::PeersFound { peers, .. } => {
                let room = MAX_FOUND.saturating_sub(open.found.peers.len());
                open.found.peers.extend(peers.iter().take(room));
            }
            Event::SamplesFound { hashes, .. } => {
                let room = MAX_FOUND.saturating_sub(open.found.hashes.len());
                open.found.hashes.extend(hashes.iter().take(room));
            }
            Event::ItemFound { item, .. } => open.found.take_item(Item::clone(item)),
            Event::LookupDone { outcome, .. } => {
                open.found.take_outcome(outcome);
                if let Some(lookups) = &mut open.lookups {
                    lookups.retain(|one| *one != (index, *lookup));
                }
            }
            _ => {}
        }
        // There is but one immutable item.
        let has_all = open.found.item.as_ref().is_some_and(|item| item.signed.is_none());
        if has_all || open.lookups.as_ref().is_some_and(Vec::is_empty) {
            let open = self.0.swap_remove(at);
            let found = open.found.clone();
            open.end(Ok(found));
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|open| open.deadline).min()
    }

    /// Ends those whose time is up.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(at) = self.0.iter().position(|open| open.deadline <= now) {
            let open = self.0.swap_remove(at);
            let begun = open.lookups.is_some();
            let found = open.found.clone();
            open.end(begun.then_some(found).ok_or(DhtError::NotJoined));
        }
    }
}

impl Open {
    /// Begins its look-up at the node of this index.
    pub(super) fn begin(
        &mut self,
        index: usize,
        dht: &mut Dht,
        now: Instant,
        out: &mut Outbox,
    ) -> Result<(), DhtError> {
        let lookup = self.ask.want.begin(dht, now, out)?;
        self.lookups.get_or_insert_default().push((index, lookup));
        Ok(())
    }

    pub(super) fn end(self, result: Result<Findings, DhtError>) {
        // Fails only if nobody waits.
        let _ = self.ask.reply.send(result);
    }
}

impl Want {
    fn begin(&self, dht: &mut Dht, now: Instant, out: &mut Outbox) -> Result<LookupId, DhtError> {
        Ok(match self {
            Self::Get { target, salt } => dht.get_item(now, *target, salt.clone(), out),
            Self::Put { item, salt, cas } => {
                dht.put_item(now, item.clone(), salt.clone(), *cas, out)?
            }
            Self::Peers(hash) => dht.lookup_peers(now, *hash, out),
            Self::Scrape(hash) => dht.scrape(now, *hash, out),
            Self::Sample(target) => dht.sample_infohashes(now, *target, out),
        })
    }
}
