//! A proxy on loopback that speaks SOCKS5 and HTTP, and tells whom it was asked for. One with a [`Relay`] carries datagrams, too.
//!
//! Names lead to this machine, whatever they are, so that a name that is found was resolved by the proxy.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;

pub(crate) const USER: &str = "me";
pub(crate) const PASSWORD: &str = "s3cret";

/// What a proxy does with whom it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Connects.
    Open,
    /// The same, for whoever knows user and password.
    Guarded,
    /// Refuses.
    Refusing,
}

pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    /// Whom it was asked for, as HOST:PORT.
    pub(crate) asked: mpsc::UnboundedReceiver<String>,
    /// Each time that it was asked to carry datagrams: whether it does.
    pub(crate) associated: mpsc::UnboundedReceiver<bool>,
    state: Arc<Mutex<State>>,
    relay: Option<Arc<Relay>>,
}

/// Carries datagrams between one client and the world.
pub(crate) struct Relay {
    /// Towards the client.
    pub(crate) inner: UdpSocket,
    /// Towards the world.
    outer: UdpSocket,
    /// Where it claims to be.
    told: SocketAddr,
    /// Whether its proxy hangs up on who wants datagrams carried.
    pub(crate) is_away: AtomicBool,
    client: Mutex<Option<SocketAddr>>,
    /// To whom datagrams went, as HOST:PORT, and how many.
    sent: Mutex<(BTreeSet<String>, usize)>,
}

impl Relay {
    /// A relay that claims to be at `told`, with its own port where that is 0.
    pub(crate) fn new(told: &str) -> Arc<Self> {
        let inner = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // Elsewhere than on Linux 127.0.0.1 alone is an address of the machine.
        let outer = UdpSocket::bind("127.0.0.2:0").or_else(|_| UdpSocket::bind("127.0.0.1:0"));
        let outer = outer.unwrap();
        let mut told: SocketAddr = told.parse().unwrap();
        if told.port() == 0 {
            told.set_port(inner.local_addr().unwrap().port());
        }
        let (client, sent) = (Mutex::default(), Mutex::default());
        Arc::new(Self { inner, outer, told, is_away: AtomicBool::new(false), client, sent })
    }

    /// Where its datagrams come from for the world.
    pub(crate) fn outside(&self) -> SocketAddr {
        self.outer.local_addr().unwrap()
    }

    /// Whether a datagram went to this HOST:PORT.
    pub(crate) fn has_sent_to(&self, host: &str) -> bool {
        self.sent.lock().unwrap().0.contains(host)
    }

    /// How many datagrams of the client it has carried, now that all are that were sent before.
    pub(crate) fn carried(&self) -> usize {
        // One of our own goes behind them.
        let last = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        last.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let datagram = wrapped(last.local_addr().unwrap(), b"last");
        last.send_to(&datagram, self.inner.local_addr().unwrap()).unwrap();
        last.recv_from(&mut [0; 9]).unwrap();
        let mut sent = self.sent.lock().unwrap();
        sent.1 -= 1;
        sent.1
    }

    /// Carries both ways from now on.
    pub(crate) fn carry(self: &Arc<Self>) {
        for carry in [Self::outwards, Self::inwards] {
            let relay = Arc::clone(self);
            thread::spawn(move || {
                let mut bytes = [0; 2048];
                loop {
                    carry(&relay, &mut bytes);
                }
            });
        }
    }

    fn outwards(&self, bytes: &mut [u8]) {
        let Ok((len, from)) = self.inner.recv_from(bytes) else { return };
        *self.client.lock().unwrap() = Some(from);
        let (to, payload) = opened(&bytes[..len]);
        let (host, port) = to.rsplit_once(':').unwrap();
        let addr = (host.parse().unwrap_or(Ipv4Addr::LOCALHOST), port.parse().unwrap());
        let mut sent = self.sent.lock().unwrap();
        sent.0.insert(to.clone());
        sent.1 += 1;
        let _ = self.outer.send_to(payload, addr);
    }

    fn inwards(&self, bytes: &mut [u8]) {
        let Ok((len, from)) = self.outer.recv_from(bytes) else { return };
        let client = *self.client.lock().unwrap();
        if let Some(client) = client {
            let _ = self.inner.send_to(&wrapped(from, &bytes[..len]), client);
        }
    }

    /// The next datagram of the client, for whom it is, and where the client is. For tests that play the relay themselves.
    pub(crate) fn next(&self) -> (SocketAddr, String, Vec<u8>) {
        self.inner.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut bytes = [0; 2048];
        let (len, from) = self.inner.recv_from(&mut bytes).unwrap();
        let (to, payload) = opened(&bytes[..len]);
        (from, to, payload.to_vec())
    }
}

/// For whom a datagram of a client is, as HOST:PORT, and what it is.
fn opened(datagram: &[u8]) -> (String, &[u8]) {
    assert_eq!(datagram[..3], [0; 3], "whole datagrams are all that is sent");
    let (host, end) = match datagram[3] {
        1 => (Ipv4Addr::from(<[u8; 4]>::try_from(&datagram[4..8]).unwrap()).to_string(), 8),
        3 => {
            let end = 5 + usize::from(datagram[4]);
            (String::from_utf8(datagram[5..end].to_vec()).unwrap(), end)
        }
        kind => panic!("address of kind {kind}"),
    };
    let port = u16::from_be_bytes([datagram[end], datagram[end + 1]]);
    (format!("{host}:{port}"), &datagram[end + 2..])
}

/// A datagram for a client.
pub(crate) fn wrapped(from: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let SocketAddr::V4(from) = from else { panic!("IPv4 is all there is") };
    [&[0, 0, 0, 1][..], &from.ip().octets(), &from.port().to_be_bytes(), payload].concat()
}

#[derive(Default)]
struct State {
    /// All streams, either side.
    streams: Vec<TcpStream>,
    /// The addresses that it connected from.
    sources: BTreeSet<SocketAddr>,
}

impl Proxy {
    /// One that carries no datagrams.
    pub(crate) fn new(manner: Manner) -> Self {
        Self::with(manner, None)
    }

    /// One that carries datagrams by a relay of its own.
    pub(crate) fn carrying(manner: Manner) -> (Self, Arc<Relay>) {
        let relay = Relay::new("0.0.0.0:0");
        relay.carry();
        (Self::with(manner, Some(Arc::clone(&relay))), relay)
    }

    /// One that sends to `relay` who wants datagrams carried.
    pub(crate) fn with(manner: Manner, relay: Option<Arc<Relay>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let (tell_associated, associated) = mpsc::unbounded_channel();
        let state = Arc::<Mutex<State>>::default();
        let (shared, its_relay) = (Arc::clone(&state), relay.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (tell, shared) = (tell.clone(), Arc::clone(&shared));
                let (associated, relay) = (tell_associated.clone(), its_relay.clone());
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    match ask(&mut stream, manner)? {
                        Asked::Stream(target, is_socks) => {
                            serve(stream, manner, target, is_socks, &tell, &shared)
                        }
                        Asked::Relay => associate(stream, relay.as_deref(), &associated, &shared),
                    }
                });
            }
        });
        Self { addr, asked, associated, state, relay }
    }

    /// Whether it has connected from this address, or its relay has sent from there.
    pub(crate) fn was_at(&self, addr: SocketAddr) -> bool {
        let relayed = self.relay.as_ref().is_some_and(|relay| relay.outside() == addr);
        relayed || self.state.lock().unwrap().sources.contains(&addr)
    }

    /// Closes all streams, as a proxy that dies and comes back.
    pub(crate) fn drop_all(&self) {
        for stream in self.state.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What a client wants.
enum Asked {
    /// A stream to HOST:PORT, by SOCKS5 or not.
    Stream(String, bool),
    /// Datagrams carried.
    Relay,
}

/// Hears what a client wants.
fn ask(client: &mut TcpStream, manner: Manner) -> Option<Asked> {
    let mut first = [0];
    client.read_exact(&mut first).ok()?;
    match first[0] {
        5 => socks(client, manner).ok().flatten(),
        _ => Some(Asked::Stream(http(client, manner).ok().flatten()?, false)),
    }
}

/// Says where the relay is, and keeps the connection as long as the client does.
fn associate(
    mut client: TcpStream,
    relay: Option<&Relay>,
    tell: &mpsc::UnboundedSender<bool>,
    state: &Mutex<State>,
) -> Option<()> {
    if relay.is_some_and(|relay| relay.is_away.load(Ordering::Relaxed)) {
        let _ = tell.send(false);
        return None;
    }
    let mut answer = vec![5, if relay.is_some() { 0 } else { 7 }, 0, 1];
    let told = relay.map_or((Ipv4Addr::UNSPECIFIED, 0).into(), |relay| relay.told);
    let SocketAddr::V4(told) = told else { panic!("IPv4 is all there is") };
    answer.extend(told.ip().octets());
    answer.extend(told.port().to_be_bytes());
    state.lock().unwrap().streams.push(client.try_clone().unwrap());
    client.write_all(&answer).ok()?;
    // Fails when the test has ended.
    let _ = tell.send(relay.is_some());
    if relay.is_some() {
        let _ = client.read(&mut [0]);
    }
    let _ = client.shutdown(Shutdown::Both);
    Some(())
}

fn serve(
    mut client: TcpStream,
    manner: Manner,
    target: String,
    is_socks: bool,
    tell: &mpsc::UnboundedSender<String>,
    state: &Mutex<State>,
) -> Option<()> {
    // Fails when the test has ended.
    let _ = tell.send(target.clone());
    let (host, port) = target.rsplit_once(':').unwrap();
    let ip = host.parse().unwrap_or(Ipv4Addr::LOCALHOST);
    let upstream = match manner {
        Manner::Refusing => None,
        _ => TcpStream::connect((ip, port.parse().unwrap())).ok(),
    };
    let answer: &[u8] = match (is_socks, upstream.is_some()) {
        (true, true) => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        (true, false) => &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0],
        (false, true) => b"HTTP/1.1 200 Connection established\r\n\r\n",
        (false, false) => b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    };
    if let Some(upstream) = &upstream {
        let mut state = state.lock().unwrap();
        state.sources.insert(upstream.local_addr().unwrap());
        state.streams.extend([client.try_clone().unwrap(), upstream.try_clone().unwrap()]);
    }
    client.write_all(answer).ok()?;
    let upstream = upstream?;
    let (mut from, mut to) = (upstream.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || pipe(&mut from, &mut to));
    pipe(&mut client, &mut { upstream });
    Some(())
}

fn pipe(from: &mut TcpStream, to: &mut TcpStream) {
    let _ = io::copy(from, to);
    let _ = to.shutdown(Shutdown::Both);
}

/// The rest of what SOCKS5 says.
fn socks(client: &mut TcpStream, manner: Manner) -> io::Result<Option<Asked>> {
    let methods = counted(client)?;
    if manner == Manner::Guarded {
        if !methods.contains(&2) {
            client.write_all(&[5, 0xff])?;
            return Ok(None);
        }
        client.write_all(&[5, 2])?;
        client.read_exact(&mut [0])?;
        let right = counted(client)? == USER.as_bytes();
        let right = (counted(client)? == PASSWORD.as_bytes()) && right;
        client.write_all(&[1, u8::from(!right)])?;
        if !right {
            return Ok(None);
        }
    } else {
        client.write_all(&[5, 0])?;
    }
    let mut head = [0; 4];
    client.read_exact(&mut head)?;
    assert!(matches!(head[..3], [5, 1 | 3, 0]), "a stream or a relay is all that is asked for");
    let host = match head[3] {
        1 => {
            let mut ip = [0; 4];
            client.read_exact(&mut ip)?;
            Ipv4Addr::from(ip).to_string()
        }
        3 => String::from_utf8(counted(client)?).unwrap(),
        kind => panic!("address of kind {kind}"),
    };
    let mut port = [0; 2];
    client.read_exact(&mut port)?;
    let target = format!("{host}:{}", u16::from_be_bytes(port));
    if head[1] == 3 {
        assert_eq!(target, "0.0.0.0:0", "where the client sends from is for the proxy to see");
        return Ok(Some(Asked::Relay));
    }
    Ok(Some(Asked::Stream(target, true)))
}

/// As many bytes as the first one says.
fn counted(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0];
    client.read_exact(&mut len)?;
    let mut bytes = vec![0; len[0].into()];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The rest of a `CONNECT`; gives the target.
fn http(client: &mut TcpStream, manner: Manner) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    // `me:s3cret` in base64.
    if manner == Manner::Guarded && !head.to_lowercase().contains("basic bwu6cznjcmv0") {
        client.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        )?;
        return Ok(None);
    }
    let target = head.strip_prefix("ONNECT ").and_then(|rest| rest.split(' ').next());
    Ok(Some(target.expect("CONNECT").to_owned()))
}
