//! Peers that a test plays itself, over the wire, and links that name them.
#![allow(dead_code, clippy::unwrap_used, reason = "test code; each test file uses its part")]

use super::Sample;
use samara_engine::wire::id::WireHash;
use samara_engine::wire::magnet::{Magnet, PeerHint};
use samara_engine::wire::peer::extension::ExtensionHandshake;
use samara_engine::wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_engine::wire::peer::message::Message;
use samara_engine::wire::peer::ut_metadata::MetadataMessage;
use samara_engine::wire::peer::ut_pex::{PexFlags, PexMessage};
use samara_engine::{ResolveConfig, ResolveError, Resolved, Session};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// The link to a sample, naming peers.
pub(crate) fn link(sample: &Sample, peers: &[SocketAddr]) -> Magnet {
    let mut magnet = Magnet::new(sample.metainfo.info.hashes());
    let hint = |addr: &SocketAddr| PeerHint { host: addr.ip().to_string(), port: addr.port() };
    magnet.peers = peers.iter().map(hint).collect();
    magnet
}

/// What comes of a link within this time.
pub(crate) async fn resolve(
    session: &Session,
    magnet: Magnet,
    seconds: u64,
) -> Result<Resolved, ResolveError> {
    let timeout = Duration::from_secs(seconds);
    let config = ResolveConfig { timeout, ..ResolveConfig::default() };
    session.resolve(magnet, config).outcome().await
}

/// Says that it has metadata of this length, under the id 7.
pub(crate) fn has_metadata(len: u32) -> ExtensionHandshake {
    ExtensionHandshake {
        extensions: vec![("ut_metadata".to_owned(), 7)],
        metadata_len: Some(len),
        ..ExtensionHandshake::default()
    }
}

/// A peer that is met once, and then plays its part.
pub(crate) fn fake(
    play: impl FnOnce(TcpStream) -> std::io::Result<()> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // It ends when the other side has enough of it.
        let _ = play(stream);
    });
    local
}

/// The test's end of a connection that samara made.
pub(crate) struct Fake {
    stream: TcpStream,
    buf: Vec<u8>,
}

impl Fake {
    /// Shakes hands both ways, calling the torrent `hash` or what the other end does.
    pub(crate) fn meet(
        mut stream: TcpStream,
        said: &ExtensionHandshake,
        hash: Option<WireHash>,
    ) -> std::io::Result<Self> {
        let mut handshake = [0; 68];
        stream.read_exact(&mut handshake)?;
        if let Some(hash) = hash {
            handshake[28..48].copy_from_slice(&hash.0);
        }
        handshake[48..].copy_from_slice(b"-XX0000-abcdefghijkl");
        // Each is somebody else.
        handshake[66..].copy_from_slice(&stream.local_addr()?.port().to_be_bytes());
        stream.write_all(&handshake)?;
        let mut fake = Self { stream, buf: Vec::new() };
        fake.say(&Message::Extended { id: 0, payload: said.encode().into() })?;
        Ok(fake)
    }

    /// Answers a request for metadata; tells what it was if it was another.
    pub(crate) fn give(&mut self, raw: &[u8]) -> std::io::Result<Option<Message>> {
        let message = self.hear()?;
        let Message::Extended { id: 7, payload } = &message else { return Ok(Some(message)) };
        if let Ok(MetadataMessage::Request { piece }) = MetadataMessage::parse(payload) {
            let payload = raw.chunks(16 * 1024).nth(piece as usize).unwrap();
            let total_len = u32::try_from(raw.len()).ok();
            let data = MetadataMessage::Data { piece, total_len, payload };
            self.say(&Message::Extended { id: 2, payload: data.encode().into() })?;
        }
        Ok(None)
    }

    pub(crate) fn say(&mut self, message: &Message) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_all(&bytes)
    }

    /// The next message; an error when the other side has enough.
    pub(crate) fn hear(&mut self) -> std::io::Result<Message> {
        loop {
            let decoded = FrameDecoder::new(None).decode(&self.buf);
            match decoded.map_err(std::io::Error::other)? {
                Decoded::Frame { frame, consumed } => {
                    self.buf.drain(..consumed);
                    if let Frame::Message(message) = frame {
                        return Ok(message);
                    }
                }
                Decoded::NeedMore(_) => {
                    let mut more = [0; 4096];
                    let n = self.stream.read(&mut more)?;
                    if n == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                    self.buf.extend_from_slice(&more[..n]);
                }
            }
        }
    }
}

/// A peer that has no metadata, and names `named` by peer exchange this many times, at once; tells when it is left.
pub(crate) fn gossip(
    named: SocketAddr,
    times: usize,
) -> (SocketAddr, std::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let (left, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let said = ExtensionHandshake {
            extensions: vec![("ut_pex".to_owned(), 9)],
            ..ExtensionHandshake::default()
        };
        let mut peer = Fake::meet(stream, &said, None).unwrap();
        let added = vec![(named, PexFlags::default())];
        let payload = PexMessage { added, dropped: Vec::new() }.encode();
        for _ in 0..times {
            // Fails when the other side has enough of it, which is what the end of hearing tells too.
            let _ = peer.say(&Message::Extended { id: 1, payload: payload.clone().into() });
        }
        while peer.hear().is_ok() {}
        // Fails only if the test is over.
        let _ = left.send(());
    });
    (local, wait)
}
