//! Announces to trackers, as the cores ask for them.

use crate::shard::ShardEnv;
use crate::tracker::{TrackerClient, TrackerError};
use samara_wire::tracker::{AnnounceRequest, AnnounceResponse};
use std::time::Duration;

impl ShardEnv {
    /// Makes one announce.
    pub(crate) async fn announce(
        &self,
        url: &str,
        request: &AnnounceRequest,
        timeout: Duration,
    ) -> Result<AnnounceResponse, TrackerError> {
        let client = self.trackers.get_or_init(|| TrackerClient::new(&self.shared.config.bind));
        client.announce(url, request, timeout).await
    }
}
