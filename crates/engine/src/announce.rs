//! Announces to trackers, as the cores ask for them.

use crate::shard::ShardEnv;
use crate::tracker::gate::{Turn, Urgency};
use crate::tracker::{Announced, TrackerClient, TrackerError, urgency_of};
use samara_wire::tracker::{AnnounceEvent, AnnounceRequest};
use std::time::Duration;

/// How long a tracker that was told over one address family what may be the last of us is waited for over the other.
const BOTH_TOLD: Duration = Duration::from_secs(2);

impl ShardEnv {
    /// This shard's connections to trackers.
    pub(crate) fn trackers(&self) -> TrackerClient {
        let binding = self.shared.network.binding();
        let mut trackers = self.trackers.borrow_mut();
        // Connections from addresses that are gone, or at an interface that came anew, are of no use.
        if let Some(client) = trackers.as_ref().filter(|client| *client.binding() == binding) {
            return client.clone();
        }
        let client = TrackerClient::with_gate(
            binding,
            self.shared.announces.clone(),
            self.shared.carrier.clone(),
            Some(self.shared.port()),
        );
        trackers.insert(client).clone()
    }

    /// Makes one announce of a torrent that is just being added, when its turn has come.
    pub(crate) async fn announce(
        &self,
        url: &str,
        request: &AnnounceRequest,
        timeout: Duration,
    ) -> Result<Announced, TrackerError> {
        let turn = self.trackers().turn(url, urgency(request.event, true)).await?;
        self.announce_in_turn(turn, url, request, timeout).await
    }

    /// Makes one announce whose turn has come; gives the first answer, and what may bring the second.
    pub(crate) async fn announce_in_turn(
        &self,
        turn: Turn,
        url: &str,
        request: &AnnounceRequest,
        timeout: Duration,
    ) -> Result<Announced, TrackerError> {
        let mut announced = self.trackers().announce_in_turn(turn, url, request, timeout).await?;
        // The program may end when these are answered, so both are.
        if matches!(request.event, AnnounceEvent::Stopped | AnnounceEvent::Completed)
            && let Some(other) = announced.other.take()
        {
            // Late is as good as never: the tracker forgets us by itself.
            let _ = tokio::time::timeout(BOTH_TOLD, other.answer()).await;
        }
        Ok(announced)
    }
}

/// How soon an announce is wanted; `new`: its torrent was just added.
pub(crate) const fn urgency(event: AnnounceEvent, new: bool) -> Urgency {
    match event {
        AnnounceEvent::Started if new => Urgency::Fresh,
        event => urgency_of(event),
    }
}
