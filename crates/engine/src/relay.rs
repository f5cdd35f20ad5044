//! Datagrams by way of a SOCKS5 proxy: keeps an association with it, and the sockets that go by it.
//!
//! Above the socket nobody knows of it: the DHT and uTP send and receive as ever ([`crate::udp`]), and UDP trackers are asked from
//! any thread ([`Carrier`]). While there is no association there is no socket, so nothing is sent: when the connection to the
//! proxy ends, the socket is shut in the same step, and another attempt is made after a pause, longer each time.
//!
//! A proxy that refuses is said once in the log, and asked again at long intervals, for its rules may change.

use crate::listen::tell_shards;
use crate::network::{Association, Binding, Proxy, ProxyError, Situation};
use crate::shard::ShardEnv;
use crate::udp::{Carriage, Carrier, Socket, Sockets, read_alone};
use samara_wire::proxy::Socks5Error;
use std::io;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Time for the proxy to agree to a relay.
const ASSOCIATE_TIMEOUT: Duration = Duration::from_secs(20);

/// Pauses after a failure: the first, and the longest of those that double.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// After an association that stood for so long, the next pause is the first again.
const STABLE: Duration = Duration::from_secs(60);

/// Pause after a proxy has said no.
const REFUSED_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Keeps the association of a session, for as long as the shard lives. Where the network has changed, begins anew and tells the
/// shards.
pub(crate) async fn run(env: Rc<ShardEnv>, mut binding: Arc<Binding>, sockets: Rc<Sockets>) {
    let mut network = env.shared.network.subscribe();
    loop {
        tokio::select! {
            () = carry(&env, &binding, &sockets) => {}
            changed = other_than(&mut network, &binding) => match changed {
                Some(now) => binding = now,
                None => return,
            },
        }
        // What went by the old one has ended with it.
        tell_shards(&env, Some(&binding));
        if !binding.is_away() {
            tell_shards(&env, None);
        }
    }
}

/// The next binding that is not `binding`; `None` when the session is gone.
async fn other_than(
    network: &mut watch::Receiver<Arc<Situation>>,
    binding: &Binding,
) -> Option<Arc<Binding>> {
    loop {
        network.changed().await.ok()?;
        let now = Arc::clone(&network.borrow_and_update().binding);
        if *now != *binding {
            return Some(now);
        }
    }
}

/// Has the sockets of a session go by an association, if the proxy is to carry datagrams. Never ends.
async fn carry(env: &ShardEnv, binding: &Binding, sockets: &Rc<Sockets>) {
    let (Some(proxy), Some(carrier)) = (binding.proxy(), &env.shared.carrier) else {
        return std::future::pending().await;
    };
    let open = |datagrams| {
        let closing = Closing { env, sockets };
        let socket = sockets.open_relayed(datagrams)?;
        env.shared.hubs.open(sockets)?;
        Ok((socket, closing))
    };
    hold(proxy, binding, carrier, open).await;
}

/// Closes what goes by the sockets, and them, when dropped.
struct Closing<'a> {
    env: &'a ShardEnv,
    sockets: &'a Sockets,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.env.shared.hubs.close();
        self.sockets.close();
    }
}

/// An association for UDP trackers alone, where there is no session; ends when dropped.
#[derive(Debug)]
pub(crate) struct Alone(AbortHandle);

impl Alone {
    /// Begins to keep one, on the runtime this is called on.
    pub(crate) fn begin(binding: &Binding, carrier: &Arc<Carrier>) -> Option<Self> {
        let (binding, carrier) = (binding.clone(), Arc::clone(carrier));
        let proxy = Arc::clone(binding.proxy()?);
        let task = tokio::spawn(async move {
            let open = |datagrams| {
                let socket = Arc::new(Socket::relayed(datagrams)?);
                let reading = read_alone(&socket, &carrier)?;
                Ok((socket, Self(reading)))
            };
            hold(&proxy, &binding, &carrier, open).await;
        });
        Some(Self(task.abort_handle()))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps an association. `open` gives what datagrams go by, and what closes that when dropped. Never ends.
async fn hold<C>(
    proxy: &Proxy,
    binding: &Binding,
    carrier: &Carrier,
    open: impl Fn(UdpSocket) -> io::Result<(Arc<Socket>, C)>,
) {
    if binding.is_away() {
        carrier.set(Carriage::Lost(format!("{binding} is away").into()));
        return std::future::pending().await;
    }
    let (mut pause, mut said) = (Duration::ZERO, false);
    loop {
        let associated = timeout(ASSOCIATE_TIMEOUT, proxy.associate(binding)).await;
        let associated = associated.unwrap_or_else(|elapsed| Err(proxy.lost(elapsed.into())));
        pause = match associated {
            Ok(association) => {
                said = false;
                let stood = stand(proxy, carrier, association, &open).await;
                pause_after(pause, stood)
            }
            Err(ProxyError::Socks(error @ Socks5Error::Refused(_))) => {
                let why = format!("{} carries no datagrams: {error}", proxy.url());
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!("{why}; so there is no uTP, no DHT and no UDP tracker");
                }
                carrier.set(Carriage::Refused(why.into()));
                REFUSED_PAUSE
            }
            Err(error) => {
                carrier.set(Carriage::Lost(error.to_string().into()));
                pause_after(pause, Duration::ZERO)
            }
        };
        sleep(pause).await;
    }
}

/// The pause after one that was `last`, and an association that stood for so long.
fn pause_after(last: Duration, stood: Duration) -> Duration {
    if stood >= STABLE { PAUSE.0 } else { (last * 2).clamp(PAUSE.0, PAUSE.1) }
}

/// Has datagrams go by `association` until it ends; gives how long it stood.
async fn stand<C>(
    proxy: &Proxy,
    carrier: &Carrier,
    association: Association,
    open: &impl Fn(UdpSocket) -> io::Result<(Arc<Socket>, C)>,
) -> Duration {
    let began = Instant::now();
    let (datagrams, control) = association.into_parts();
    let (socket, closing) = match open(datagrams) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, "no datagrams by way of the proxy");
            carrier.set(Carriage::Lost(error.to_string().into()));
            return began.elapsed();
        }
    };
    tracing::info!("datagrams go by way of the proxy {}", proxy.url());
    carrier.set(Carriage::Open(Arc::clone(&socket)));
    let standing = Standing { proxy, carrier, socket, _closing: closing };
    let error = control.ended().await;
    tracing::warn!(%error, "the proxy {} carries datagrams no more; none is sent until it does", proxy.url());
    drop(standing);
    began.elapsed()
}

/// Ends what goes by an association, when dropped: first of all nothing more is sent.
struct Standing<'a, C> {
    proxy: &'a Proxy,
    carrier: &'a Carrier,
    socket: Arc<Socket>,
    _closing: C,
}

impl<C> Drop for Standing<'_, C> {
    fn drop(&mut self) {
        self.socket.shut();
        let why = format!("{} has closed the relay for datagrams", self.proxy.url());
        self.carrier.set(Carriage::Lost(why.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_an_association_has_stood_for_a_while() {
        let after = |last: u64, stood: u64| {
            pause_after(Duration::from_secs(last), Duration::from_secs(stood)).as_secs()
        };
        assert_eq!(
            [after(0, 0), after(1, 0), after(2, 59), after(40, 0), after(60, 0)],
            [1, 2, 4, 60, 60]
        );
        assert_eq!(after(60, 60), 1);
    }
}
