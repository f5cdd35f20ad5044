//! A proxy on loopback that speaks SOCKS5 and HTTP, and tells whom it was asked for.
//!
//! Names lead to this machine, whatever they are, so that a name that is found was resolved by the proxy.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
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
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// All streams, either side.
    streams: Vec<TcpStream>,
    /// The addresses that it connected from.
    sources: BTreeSet<SocketAddr>,
}

impl Proxy {
    pub(crate) fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (tell, shared) = (tell.clone(), Arc::clone(&shared));
                thread::spawn(move || serve(stream.unwrap(), manner, &tell, &shared));
            }
        });
        Self { addr, asked, state }
    }

    /// Closes all streams, as a proxy that dies and comes back.
    pub(crate) fn drop_all(&self) {
        for stream in self.state.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether it has connected from this address.
    pub(crate) fn was_at(&self, addr: SocketAddr) -> bool {
        self.state.lock().unwrap().sources.contains(&addr)
    }
}

fn serve(
    mut client: TcpStream,
    manner: Manner,
    tell: &mpsc::UnboundedSender<String>,
    state: &Mutex<State>,
) -> Option<()> {
    let mut first = [0];
    client.read_exact(&mut first).ok()?;
    let is_socks = first[0] == 5;
    let target = if is_socks { socks(&mut client, manner) } else { http(&mut client, manner) };
    let target = target.ok().flatten()?;
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

/// The rest of what SOCKS5 says; gives the target.
fn socks(client: &mut TcpStream, manner: Manner) -> io::Result<Option<String>> {
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
    assert_eq!(head[..3], [5, 1, 0], "a stream is all that is asked for");
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
    Ok(Some(format!("{host}:{}", u16::from_be_bytes(port))))
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
