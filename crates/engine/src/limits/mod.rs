//! Rate limits of a session and its torrents, shared by all threads.
//!
//! What a limit is and whose turn comes when is decided in [`samara_swarm::limits`]. Here are the limits that there are,
//! and the [`Meter`]s by which a connection asks for its turns: it is under the limit of the session and under that of its
//! torrent, or, if it is one of the local network, under none.
//!
//! Where nothing is limited a meter costs one relaxed load, of a count of changes that tells when to look again.

mod hours;
mod meter;
#[cfg(test)]
mod tests;

pub use hours::AlternativeLimits;
pub(crate) use hours::run;
pub(crate) use meter::{Meter, Meters};

use crate::clock::Clock;
use crate::config::SessionConfig;
use hours::{Minute, Wanted};
use samara_swarm::limits::Limit;
use samara_swarm::peer_list::is_local;
use samara_wire::time::Instant;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Limits in bytes per second, each way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateLimits {
    /// Received. `None`: no limit.
    pub down: Option<u64>,
    /// Sent. `None`: no limit.
    pub up: Option<u64>,
}

/// The limits of a session.
pub(crate) struct SessionLimits {
    all: Pair,
    /// Whether peers of the local network are limited, too.
    local: bool,
    /// Whether headers of IP and TCP count.
    overhead: bool,
    clock: Clock,
    wanted: Mutex<Wanted>,
    /// Counts changes of any limit, be it a torrent's.
    changes: AtomicU64,
    /// Tells those who wait for their turn.
    changed: Notify,
}

/// The limits of a torrent, and those of its session.
pub(crate) struct TorrentLimits {
    session: Arc<SessionLimits>,
    own: Pair,
}

/// A limit for each way.
struct Pair {
    down: Mutex<Limit>,
    up: Mutex<Limit>,
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Down,
    Up,
}

impl SessionLimits {
    pub(crate) fn new(config: &SessionConfig, clock: Clock) -> Arc<Self> {
        let wanted = Wanted { usual: config.limits, alternative: config.alternative_limits };
        Arc::new(Self {
            all: Pair::new(wanted.at(Minute::now())),
            local: config.limit_local,
            overhead: config.limit_overhead,
            clock,
            wanted: Mutex::new(wanted),
            changes: AtomicU64::new(0),
            changed: Notify::new(),
        })
    }

    /// The limits that hold now.
    pub(crate) fn get(&self) -> RateLimits {
        self.all.get()
    }

    /// Changes what is wanted, and has what follows from it hold at once.
    fn change(&self, minute: Minute, how: impl FnOnce(&mut Wanted)) {
        let mut wanted = lock(&self.wanted);
        how(&mut wanted);
        let limits = wanted.at(minute);
        if limits != self.all.get() {
            self.all.set(self.clock.now(), limits);
            self.tell();
            tracing::info!(?limits, "the limits of the session are others now");
        }
    }

    /// Sets the limits that hold where no alternative ones do.
    pub(crate) fn set(&self, limits: RateLimits) {
        self.change(Minute::now(), |wanted| wanted.usual = limits);
    }

    /// Sets those that hold at some hours.
    pub(crate) fn set_alternative(&self, alternative: Option<AlternativeLimits>) {
        self.change(Minute::now(), |wanted| wanted.alternative = alternative);
        // Whoever looks at the clock may have had no reason to.
        self.tell();
    }

    /// Has all meters look again.
    fn tell(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }
}

impl TorrentLimits {
    pub(crate) fn new(session: &Arc<SessionLimits>, limits: RateLimits) -> Arc<Self> {
        Arc::new(Self { session: Arc::clone(session), own: Pair::new(limits) })
    }

    pub(crate) fn get(&self) -> RateLimits {
        self.own.get()
    }

    /// Changes the torrent's own limits at once.
    pub(crate) fn set(&self, limits: RateLimits) {
        self.own.set(self.session.clock.now(), limits);
        self.session.tell();
    }

    /// For a connection with a peer of the torrent at `ip`.
    pub(crate) fn meters(self: &Arc<Self>, ip: IpAddr) -> Meters {
        let exempt = is_local(ip) && !self.session.local;
        let limits = (!exempt).then(|| Arc::clone(self));
        Meters {
            down: Meter::new(limits.clone(), Way::Down, ip),
            up: Meter::new(limits, Way::Up, ip),
        }
    }

    /// What a connection is under.
    fn of(&self, way: Way) -> [&Mutex<Limit>; 2] {
        [self.session.all.of(way), self.own.of(way)]
    }
}

impl Pair {
    fn new(RateLimits { down, up }: RateLimits) -> Self {
        Self { down: Mutex::new(Limit::new(down)), up: Mutex::new(Limit::new(up)) }
    }

    fn get(&self) -> RateLimits {
        RateLimits { down: lock(&self.down).rate(), up: lock(&self.up).rate() }
    }

    fn set(&self, now: Instant, RateLimits { down, up }: RateLimits) {
        lock(&self.down).set_rate(now, down);
        lock(&self.up).set_rate(now, up);
    }

    fn of(&self, way: Way) -> &Mutex<Limit> {
        match way {
            Way::Down => &self.down,
            Way::Up => &self.up,
        }
    }
}

/// Held for a sum at a time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
