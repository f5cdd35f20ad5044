//! One announce, over one address family or over both (BEP 7).
//!
//! Where a host has addresses of both families and we may use both, both are asked at the same time. The first answer
//! is the answer; the other one adds its peers when it comes, and nothing is amiss if it does not. Only if neither
//! family gives an answer has the announce failed.

use super::error::TrackerFault;
use super::families::other;
use super::gate::{Outcome, Turn};
use super::{Inner, MERGE_TIME};
use reqwest::Url;
use samara_wire::tracker::udp::Family;
use samara_wire::tracker::{AnnounceRequest, AnnounceResponse};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the other family is waited for once one has answered.
const OTHER_TIME: Duration = Duration::from_secs(10);

type Attempt = Pin<Box<dyn Future<Output = Result<AnnounceResponse, TrackerFault>> + Send>>;

/// The first answer to an announce, and the one that may still come.
pub(crate) struct Announced {
    pub(crate) response: AnnounceResponse,
    pub(crate) other: Option<Other>,
}

/// The announce over the other family, under way.
pub(crate) struct Other {
    attempt: Attempt,
    inner: Arc<Inner>,
    host: String,
    family: Family,
    deadline: Instant,
    turn: Turn,
}

impl Announced {
    /// Waits a little for the other family, and adds the peers it names.
    pub(super) async fn merged(self) -> AnnounceResponse {
        let Self { mut response, other } = self;
        if let Some(other) = other
            && let Ok(Some(more)) = tokio::time::timeout(MERGE_TIME, other.answer()).await
        {
            for peer in more.peers {
                if !response.peers.contains(&peer) {
                    response.peers.push(peer);
                }
            }
        }
        response
    }
}

impl Other {
    /// What the tracker says over the other family; `None` if it says nothing of use.
    pub(crate) async fn answer(self) -> Option<AnnounceResponse> {
        let Self { attempt, inner, host, family, deadline, turn } = self;
        let answer = tokio::time::timeout_at(deadline, attempt).await;
        let silent = answer
            .as_ref()
            .map_or(true, |answer| answer.as_ref().is_err_and(TrackerFault::is_silence));
        if silent {
            inner.avoided.avoid(&host, family);
        }
        turn.end(Outcome::Answered);
        match answer {
            Ok(Ok(response)) => Some(response),
            Ok(Err(fault)) => {
                tracing::debug!(%host, ?family, %fault, "no answer over this family");
                None
            }
            Err(_) => None,
        }
    }
}

/// Announces, `turn` being the right to. Ends within `timeout`.
pub(super) async fn announce(
    inner: &Arc<Inner>,
    turn: Turn,
    (target, host): (&Url, &str),
    request: &AnnounceRequest,
    timeout: Duration,
) -> Result<Announced, TrackerFault> {
    let asking = Asking { inner, target, host, request, timeout, end: Instant::now() + timeout };
    let result = asking.run().await;
    let silent = result.as_ref().is_err_and(TrackerFault::is_silence);
    let (response, rest) = match result {
        Ok(answer) => answer,
        Err(fault) => {
            turn.end(if silent { Outcome::Silent } else { Outcome::Answered });
            return Err(fault);
        }
    };
    let Some((family, attempt)) = rest else {
        turn.end(Outcome::Answered);
        return Ok(Announced { response, other: None });
    };
    let deadline = asking.end.min(Instant::now() + OTHER_TIME);
    let (inner, host) = (inner.clone(), host.to_owned());
    Ok(Announced { response, other: Some(Other { attempt, inner, host, family, deadline, turn }) })
}

struct Asking<'a> {
    inner: &'a Arc<Inner>,
    target: &'a Url,
    host: &'a str,
    request: &'a AnnounceRequest,
    timeout: Duration,
    end: Instant,
}

/// An answer, and the attempt over the other family if there is one under way.
type Answer = (AnnounceResponse, Option<(Family, Attempt)>);

impl Asking<'_> {
    async fn run(&self) -> Result<Answer, TrackerFault> {
        let families = tokio::time::timeout_at(self.end, self.inner.families(self.target)).await;
        let families = families.map_err(|_| TrackerFault::Timeout(self.timeout))??;
        if let [only] = families[..] {
            return Ok((self.attempt_over(None, only).await?, None));
        }
        match self.inner.avoided.get(self.host) {
            Some(avoided) => self.one_by_one(avoided).await,
            None => self.both().await,
        }
    }

    /// Over the family that worked, and over the other only if it works no more.
    async fn one_by_one(&self, avoided: Family) -> Result<Answer, TrackerFault> {
        let fault = match self.attempt(other(avoided)).await {
            Err(fault) if fault.is_silence() => fault,
            answer => return Ok((answer?, None)),
        };
        self.inner.avoided.forgive(self.host, avoided);
        match self.attempt(avoided).await {
            Ok(response) => {
                self.inner.avoided.avoid(self.host, other(avoided));
                Ok((response, None))
            }
            Err(second) => Err(fault.telling(second)),
        }
    }

    async fn both(&self) -> Result<Answer, TrackerFault> {
        let (mut v4, mut v6) = (self.attempt(Family::V4), self.attempt(Family::V6));
        let (first, family) = tokio::select! {
            answer = &mut v4 => (answer, Family::V4),
            answer = &mut v6 => (answer, Family::V6),
        };
        let rest = if family == Family::V4 { v6 } else { v4 };
        let fault = match first {
            Ok(response) => return Ok((response, Some((other(family), rest)))),
            Err(fault) => fault,
        };
        match rest.await {
            Ok(response) => {
                if fault.is_silence() {
                    self.inner.avoided.avoid(self.host, family);
                }
                Ok((response, None))
            }
            Err(second) => Err(fault.telling(second)),
        }
    }

    /// One attempt over `family`, within the time.
    fn attempt(&self, family: Family) -> Attempt {
        self.attempt_over(Some(family), family)
    }

    /// One attempt, over `family` alone if that must be said; it will be `over`.
    fn attempt_over(&self, family: Option<Family>, over: Family) -> Attempt {
        let (inner, target) = (self.inner.clone(), self.target.clone());
        let (mut request, end, timeout) = (self.request.clone(), self.end, self.timeout);
        if over == Family::V6 {
            request.port = inner.port_v6.unwrap_or(request.port);
        }
        Box::pin(async move {
            let answer = inner.announce_over(family, &target, &request);
            match tokio::time::timeout_at(end, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(TrackerFault::Timeout(timeout)),
            }
        })
    }
}
