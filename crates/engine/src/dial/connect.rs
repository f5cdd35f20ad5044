//! A stream to a peer: by whichever transport comes about first.

use super::transports::{HEAD_START, Transport};
use crate::network::Binding;
use crate::stream::PeerStream;
use crate::utp::Hubs;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Time for a connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for uTP where TCP was refused, and four times as long as that took.
const REFUSED_PATIENCE: Duration = Duration::from_millis(500);

/// Where to, and by which means.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) addr: SocketAddr,
    /// From where to connect by TCP, or by way of whom.
    pub(super) binding: &'a Binding,
    pub(super) hubs: Option<&'a Hubs>,
}

/// Connects by the transports of `order`, the second of them a little later than the first. Gives the one that was first to
/// come about, too.
pub(super) async fn connect(
    route: Route<'_>,
    order: &[Transport],
) -> io::Result<(PeerStream, Transport)> {
    let none = || io::Error::other("neither TCP nor uTP may be used");
    let (&first, second) = order.split_first().ok_or_else(none)?;
    let Some(&second) = second.first() else { return by(route, first).await };
    let began = Instant::now();
    let mut one = pin!(by(route, first));
    tokio::select! {
        result = &mut one => match result {
            Ok(connected) => return Ok(connected),
            Err(error) => return after(&error, began.elapsed(), by(route, second)).await,
        },
        () = sleep(HEAD_START) => {}
    }
    let mut other = pin!(by(route, second));
    tokio::select! {
        result = &mut one => match result {
            Ok(connected) => Ok(connected),
            Err(error) => after(&error, began.elapsed(), other).await,
        },
        result = &mut other => match result {
            Ok(connected) => Ok(connected),
            Err(error) => after(&error, began.elapsed(), one).await,
        },
    }
}

/// Waits for the one transport after the other has failed. Where a machine has refused TCP it is there, and answers
/// uTP as fast if at all.
async fn after(
    failed: &io::Error,
    took: Duration,
    other: impl Future<Output = io::Result<(PeerStream, Transport)>>,
) -> io::Result<(PeerStream, Transport)> {
    if failed.kind() == io::ErrorKind::ConnectionRefused {
        timeout(REFUSED_PATIENCE + took * 4, other).await?
    } else {
        other.await
    }
}

async fn by(route: Route<'_>, transport: Transport) -> io::Result<(PeerStream, Transport)> {
    let stream = match transport {
        Transport::Tcp => timeout(CONNECT_TIMEOUT, tcp(route)).await??,
        Transport::Utp => {
            let hubs = route.hubs.ok_or_else(|| io::Error::other("no uTP here"))?;
            timeout(CONNECT_TIMEOUT, hubs.connect(route.addr)).await??.into()
        }
    };
    Ok((stream, transport))
}

async fn tcp(Route { addr, binding, .. }: Route<'_>) -> io::Result<PeerStream> {
    let stream = binding.connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream.into())
}
