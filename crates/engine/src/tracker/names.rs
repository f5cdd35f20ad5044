//! Looks up names, each once for many announces.
//!
//! Ten thousand torrents of one tracker need one look-up, not ten thousand on the few threads that may block. What was
//! found is good for a minute, that nothing was found for ten seconds. At most [`MAX_NAMES`] are kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Names remembered.
const MAX_NAMES: usize = 512;

/// Addresses taken of one name.
const MAX_ADDRESSES: usize = 16;

const FOUND_LIFE: Duration = Duration::from_secs(60);
const MISSING_LIFE: Duration = Duration::from_secs(10);

type Found = Arc<OnceCell<Vec<IpAddr>>>;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Mutex<HashMap<String, (Instant, Found)>>,
}

impl Names {
    /// The addresses of `host`, a name or an address; none if there are none.
    pub(super) async fn lookup(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
            return vec![ip];
        }
        // Whoever asks while it is being looked up waits for the same answer.
        self.cell(host).get_or_init(|| ask(host)).await.clone()
    }

    fn cell(&self, host: &str) -> Found {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_NAMES {
            known.retain(|_, entry| is_good(entry));
        }
        if let Some(entry) = known.get(host).filter(|entry| is_good(entry)) {
            return entry.1.clone();
        }
        let found = Found::default();
        if known.len() < MAX_NAMES {
            known.insert(host.to_owned(), (Instant::now(), found.clone()));
        }
        found
    }

    /// Has `host` resolve to `addrs`, for ever.
    #[cfg(test)]
    pub(super) fn set(&self, host: &str, addrs: &[IpAddr]) {
        let found = Arc::new(OnceCell::new_with(Some(addrs.to_vec())));
        let for_ever = Instant::now() + Duration::from_secs(1 << 30);
        self.known.lock().unwrap().insert(host.to_owned(), (for_ever, found));
    }
}

/// Whether what was found, or is being looked up, may still be used.
fn is_good((since, found): &(Instant, Found)) -> bool {
    let missing = found.get().is_some_and(Vec::is_empty);
    since.elapsed() < if missing { MISSING_LIFE } else { FOUND_LIFE }
}

async fn ask(host: &str) -> Vec<IpAddr> {
    let mut addrs = Vec::new();
    match tokio::net::lookup_host((host, 0)).await {
        // Some systems name an address once for each kind of socket.
        Ok(found) => found.take(4 * MAX_ADDRESSES).map(|addr| addr.ip()).for_each(|ip| {
            if addrs.len() < MAX_ADDRESSES && !addrs.contains(&ip) {
                addrs.push(ip);
            }
        }),
        Err(error) => tracing::debug!(host, %error, "no address"),
    }
    addrs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_once_and_again_when_it_is_old() {
        let names = Names::default();
        let ip = "192.0.2.7".parse().unwrap();
        assert_eq!(names.lookup("192.0.2.7").await, [ip]);
        assert_eq!(names.lookup("[2001:db8::1]").await, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        assert!(names.known.lock().unwrap().is_empty(), "an address needs no look-up");
        let cell = names.cell("tracker.test");
        let asked = cell.get_or_init(async || vec![ip]).await;
        assert_eq!(*asked, [ip]);
        tokio::time::advance(FOUND_LIFE / 2).await;
        assert!(names.cell("tracker.test").initialized());
        tokio::time::advance(FOUND_LIFE).await;
        assert!(!names.cell("tracker.test").initialized());
        names.cell("missing.test").get_or_init(async || Vec::new()).await;
        tokio::time::advance(MISSING_LIFE).await;
        assert!(!names.cell("missing.test").initialized());
    }

    #[tokio::test]
    async fn names_are_bounded() {
        let names = Names::default();
        for i in 0..2 * MAX_NAMES {
            names.cell(&format!("{i}.test"));
        }
        assert_eq!(names.known.lock().unwrap().len(), MAX_NAMES);
    }
}
