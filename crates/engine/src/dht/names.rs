//! Looks up the names of nodes: of routers, and of a torrent's `nodes`.
//!
//! The system's look-up blocks for as long as it likes and cannot be called off, so it has threads of the runtime's pool: at
//! most [`AT_A_TIME`], however long each takes, so that others find one. Nobody waits for a look-up that hangs.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

/// Look-ups at a time.
const AT_A_TIME: usize = 2;

/// Names that wait, those being looked up counted. More are not heeded.
const MAX_WAITING: usize = 64;

/// Addresses taken of one name.
const MAX_ADDRS: usize = 8;

/// After this nobody cares any more.
const TIME: Duration = Duration::from_secs(10);

/// Routers that are addresses, and those that are names.
pub(super) fn split(routers: &[String]) -> (Vec<SocketAddr>, Vec<(String, u16)>) {
    let (mut addrs, mut names) = (Vec::new(), Vec::new());
    for router in routers {
        let name = router.rsplit_once(':').map(|(host, port)| (host, port.parse()));
        match (router.parse(), name) {
            (Ok(addr), _) => addrs.push(addr),
            (_, Some((host, Ok(port)))) if !host.is_empty() => names.push((host.to_owned(), port)),
            _ => tracing::warn!(router, "no HOST:PORT; not asked"),
        }
    }
    (addrs, names)
}

/// Gives the addresses of a name. Blocks.
pub(crate) type Lookup = Arc<dyn Fn(&str, u16) -> Vec<SocketAddr> + Send + Sync>;

/// What the system knows.
pub(crate) fn system_lookup() -> Lookup {
    Arc::new(|host, port| match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(error) => {
            tracing::debug!(host, %error, "no address");
            Vec::new()
        }
    })
}

/// Look-ups under way.
pub(super) struct Names {
    lookup: Lookup,
    places: Arc<Semaphore>,
    running: JoinSet<Vec<SocketAddr>>,
}

impl Names {
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, places: Arc::new(Semaphore::new(AT_A_TIME)), running: JoinSet::new() }
    }

    /// Begins to look up a name, which may be an address.
    pub(super) fn look_up(&mut self, host: String, port: u16) {
        if self.running.len() >= MAX_WAITING {
            return tracing::debug!(host, "too many names at a time");
        }
        let (lookup, places) = (Arc::clone(&self.lookup), Arc::clone(&self.places));
        self.running.spawn_local(async move {
            if let Ok(ip) = host.parse() {
                return vec![SocketAddr::new(ip, port)];
            }
            let found = tokio::time::timeout(TIME, by_system(lookup, places, host, port)).await;
            found.unwrap_or_default()
        });
    }

    /// The addresses of a name, when there are some.
    pub(super) async fn next(&mut self) -> Vec<SocketAddr> {
        match self.running.join_next().await {
            // An error is a panic, reported when it happened.
            Some(found) => found.unwrap_or_default(),
            None => std::future::pending().await,
        }
    }
}

async fn by_system(
    lookup: Lookup,
    places: Arc<Semaphore>,
    host: String,
    port: u16,
) -> Vec<SocketAddr> {
    // The semaphore is never closed.
    let Ok(place) = places.acquire_owned().await else { return Vec::new() };
    let (done, wait) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let mut found = lookup(&host, port);
        found.truncate(MAX_ADDRS);
        drop(place);
        // Fails only if nobody waits any more.
        let _ = done.send(found);
    });
    wait.await.unwrap_or_default()
}
