//! A tracker that names the seeds of the transfer under way, by HTTP: the one way that every client knows.

use crate::network::Network;
use anyhow::{Context, Result};
use samara_wire::bencode::Encoder;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest request that is listened to, in bytes.
const MAX_REQUEST: usize = 16 << 10;

/// A tracker at work until the program ends.
pub(crate) struct Tracker {
    /// The URL for torrents.
    pub(crate) announce: String,
    peers: Arc<Mutex<Vec<SocketAddrV4>>>,
}

impl Tracker {
    /// Starts it.
    pub(crate) fn start(network: Network) -> Result<Self> {
        let listener =
            TcpListener::bind((network.ours(), 0)).context("our tracker cannot listen")?;
        let announce = format!("http://{}/announce", listener.local_addr()?);
        let peers = Arc::<Mutex<Vec<SocketAddrV4>>>::default();
        let named = Arc::clone(&peers);
        std::thread::Builder::new().name("tracker".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let peers = named.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // A client that goes away in the middle will ask again if it wants to know.
                let _ = answer(stream, &peers);
            }
        })?;
        Ok(Self { announce, peers })
    }

    /// From now on names these peers to whoever asks.
    pub(crate) fn name(&self, peers: &[SocketAddrV4]) {
        *self.peers.lock().unwrap_or_else(PoisonError::into_inner) = peers.to_vec();
    }
}

/// Every request is an announce to us.
fn answer(mut stream: TcpStream, peers: &[SocketAddrV4]) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            _ if request.len() > MAX_REQUEST => return Ok(()),
            n => request.extend_from_slice(&part[..n]),
        }
    }
    let compact: Vec<u8> = peers
        .iter()
        .flat_map(|peer| peer.ip().octets().into_iter().chain(peer.port().to_be_bytes()))
        .collect();
    let body = Encoder::dict_bytes(|d| {
        d.int(b"complete", i64::try_from(peers.len()).unwrap_or(0));
        d.int(b"incomplete", 0);
        d.int(b"interval", 1800);
        d.bytes(b"peers", &compact);
    });
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat())
}
