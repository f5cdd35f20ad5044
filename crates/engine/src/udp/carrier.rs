//! What stands between the association with a proxy and those who send by it from any thread.
//!
//! The task that keeps the association ([`crate::relay`]) says how it stands; who wants to send asks for the socket.

use super::Socket;
use crate::tracker::Answers;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// How the association stands.
#[derive(Clone, Debug)]
pub(crate) enum Carriage {
    /// It is not known yet.
    Opening,
    /// Datagrams go by this socket.
    Open(Arc<Socket>),
    /// There is none now, for this reason; it is tried again.
    Lost(Arc<str>),
    /// The proxy carries no datagrams.
    Refused(Arc<str>),
}

/// See the module's head.
pub(crate) struct Carrier {
    carriage: watch::Sender<Carriage>,
    /// Who waits for what UDP trackers answer.
    pub(crate) answers: Arc<Answers>,
}

impl Default for Carrier {
    fn default() -> Self {
        Self { carriage: watch::Sender::new(Carriage::Opening), answers: Arc::default() }
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Carrier").field(&*self.carriage.borrow()).finish()
    }
}

impl Carrier {
    pub(crate) fn set(&self, carriage: Carriage) {
        self.carriage.send_replace(carriage);
    }

    /// What to send by, or why there is nothing. Waits while that is not known.
    pub(crate) async fn socket(&self) -> Result<Arc<Socket>, Arc<str>> {
        match self.known().await {
            Carriage::Open(socket) => Ok(socket),
            Carriage::Lost(why) | Carriage::Refused(why) => Err(why),
            Carriage::Opening => Err("it is not known whether the proxy carries datagrams".into()),
        }
    }

    /// Whether the proxy carries no datagrams at all. Waits while that is not known.
    pub(crate) async fn is_refused(&self) -> bool {
        matches!(self.known().await, Carriage::Refused(_))
    }

    async fn known(&self) -> Carriage {
        let mut carriage = self.carriage.subscribe();
        let known = carriage.wait_for(|carriage| !matches!(carriage, Carriage::Opening)).await;
        // Fails only when the sender is gone, which is ours.
        known.map_or(Carriage::Opening, |known| known.clone())
    }
}
