//! The UDP side. What is sent to an address that has not proved itself is never longer than what it sent.

use super::Shared;
use super::cookie::Cookies;
use samara_wire::time::Instant;
use samara_wire::tracker::ScrapeStats;
use samara_wire::tracker::udp::{Family, Request, Response, TransactionId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// Longest datagram that is read. Requests with a long URL (BEP 41) have a few hundred bytes.
const MAX_REQUEST: usize = 2048;

/// Longest answer, in bytes: fits a frame on any path, IPv6 tunnels included.
const MAX_ANSWER: usize = 1200;

/// Serves one socket for ever.
pub(super) async fn listen(shared: Arc<Shared>, socket: UdpSocket) {
    let cookies = Cookies::default();
    let (mut received, mut answer) = (vec![0; MAX_REQUEST], Vec::new());
    loop {
        let (len, from) = match socket.recv_from(&mut received).await {
            Ok(datagram) => datagram,
            Err(error) => {
                // Such as the report that an earlier answer found nobody; not worth stopping for.
                tracing::debug!(%error, "UDP tracker");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        answer.clear();
        respond(&shared, &cookies, shared.now(), from, &received[..len], &mut answer);
        if !answer.is_empty()
            && let Err(error) = socket.send_to(&answer, from).await
        {
            tracing::debug!(%from, %error, "UDP tracker cannot answer");
        }
    }
}

/// Appends the answer to `datagram` to `out`; nothing if it deserves none.
pub(super) fn respond(
    shared: &Shared,
    cookies: &Cookies,
    now: Instant,
    from: SocketAddr,
    datagram: &[u8],
    out: &mut Vec<u8>,
) {
    let Ok(request) = Request::parse(datagram) else { return };
    let family = if from.is_ipv4() { Family::V4 } else { Family::V6 };
    let (transaction, response) = match request {
        Request::Connect { transaction } => {
            (transaction, Response::Connect(cookies.issue(now, from.ip())))
        }
        Request::Announce { connection, transaction, .. }
        | Request::Scrape { connection, transaction, .. }
            if !cookies.accepts(now, from.ip(), connection) =>
        {
            return expired(transaction, datagram.len(), family, out);
        }
        Request::Announce { transaction, mut announce, .. } => {
            announce.num_want = announce.num_want.min(max_peers(family));
            let answer = shared.store().announce(now, from.ip(), &announce, Some(family));
            let response = match answer {
                Ok(answer) => Response::Announce(answer.response),
                Err(refusal) => Response::Error(refusal.to_string()),
            };
            (transaction, response)
        }
        Request::Scrape { transaction, hashes, .. } => {
            let known = shared.store().scrape(now, &hashes);
            let stats_of = |hash| {
                let found = known.iter().find(|(known, _)| known == hash);
                found.map_or_else(ScrapeStats::default, |(_, stats)| *stats)
            };
            (transaction, Response::Scrape(hashes.iter().map(stats_of).collect()))
        }
    };
    response.encode(transaction, family, out);
}

/// Says that a connection id is not good, unless that would be longer than what was asked.
fn expired(transaction: TransactionId, asked: usize, family: Family, out: &mut Vec<u8>) {
    Response::Error("connection id expired".into()).encode(transaction, family, out);
    if out.len() > asked {
        out.clear();
    }
}

/// Peers that fit in an answer.
fn max_peers(family: Family) -> u32 {
    let peer = match family {
        Family::V4 => 6,
        Family::V6 => 18,
    };
    u32::try_from((MAX_ANSWER - 20) / peer).unwrap_or(0)
}
