//! The proxy that everything goes through: a connection to it, what is said first, and then the stream.
//!
//! A proxy that fails is an error and nothing else: there is no other way.

use super::binding::{Binding, connect_tcp};
use samara_wire::proxy::{
    Bound, Command, HttpConnect, HttpConnectError, Progress, ProxyUrl, Scheme, Socks5, Socks5Error,
    Target,
};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Read at a time, in bytes.
const READ: usize = 512;

/// Why there is no stream through the proxy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// Nobody is there.
    #[error("the proxy {0} cannot be reached: {1}")]
    Unreachable(String, #[source] io::Error),
    /// It closed the connection instead of answering.
    #[error("the proxy {0} hung up: {1}")]
    Lost(String, #[source] io::Error),
    /// SOCKS5 went wrong.
    #[error(transparent)]
    Socks(#[from] Socks5Error),
    /// HTTP went wrong.
    #[error(transparent)]
    Http(#[from] HttpConnectError),
    /// It agrees to carry datagrams and does not say where it takes them.
    #[error("the proxy {0} names no port for datagrams")]
    NoRelay(String),
    /// What nobody does that is dialled for BitTorrent: the bytes would be lost.
    #[error("who was dialled through the proxy spoke first")]
    SpokeFirst,
}

impl ProxyError {
    /// Whether the proxy itself is to blame, so that nothing at all gets through.
    fn is_of_proxy(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Lost(..) => true,
            Self::Socks(error) => !matches!(error, Socks5Error::Refused(_)),
            Self::Http(error) => !matches!(error, HttpConnectError::Refused(..)),
            Self::NoRelay(_) | Self::SpokeFirst => false,
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Proxy {
    url: ProxyUrl,
    /// Whether it is asked to carry datagrams, too.
    datagrams: bool,
    /// Whether it failed when it was last asked, which the log was told of.
    failed: AtomicBool,
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, self.datagrams) == (&other.url, other.datagrams)
    }
}

impl Eq for Proxy {}

impl Proxy {
    /// `datagrams`: whether it is to carry them, too, if it can.
    pub(crate) const fn new(url: ProxyUrl, datagrams: bool) -> Self {
        let datagrams = datagrams && url.scheme.carries_datagrams();
        Self { url, datagrams, failed: AtomicBool::new(false) }
    }

    /// Whether it is asked to carry datagrams.
    pub(crate) const fn carries_datagrams(&self) -> bool {
        self.datagrams
    }

    pub(crate) const fn url(&self) -> &ProxyUrl {
        &self.url
    }

    /// Opens a stream to `target`, from where `binding` allows it. The caller bounds the time.
    pub(crate) async fn connect(
        &self,
        target: Target,
        binding: &Binding,
    ) -> Result<TcpStream, ProxyError> {
        let opened = self.open(target, binding).await;
        self.tell(opened.as_ref().err());
        let (stream, received) = opened?;
        if received.is_empty() { Ok(stream) } else { Err(ProxyError::SpokeFirst) }
    }

    /// Whether the proxy is there and takes our user and password: has it connect to itself, which it may refuse.
    pub(crate) async fn check(&self, binding: &Binding) -> Result<(), ProxyError> {
        match self.open(self.url.at.clone(), binding).await {
            Err(error) if error.is_of_proxy() => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives the stream, and what has come of it already.
    async fn open(
        &self,
        target: Target,
        binding: &Binding,
    ) -> Result<(TcpStream, Vec<u8>), ProxyError> {
        let mut stream = self.reached(binding).await?;
        let received = match self.url.scheme {
            Scheme::Socks5 | Scheme::Socks5h => {
                self.negotiate(&mut stream, Command::Connect, target).await?.received
            }
            Scheme::Http => {
                let mut out = Vec::new();
                let credentials = self.url.credentials.as_ref();
                let mut http = HttpConnect::new(&target, credentials, &mut out);
                let step = |bytes: &[u8], _: &mut _| Ok(http.handle_bytes(bytes)?);
                self.talk(&mut stream, out, step).await?.received
            }
        };
        Ok((stream, received))
    }

    /// A connection to the proxy itself.
    pub(super) async fn reached(&self, binding: &Binding) -> Result<TcpStream, ProxyError> {
        let reached = self.reach(binding).await;
        reached.map_err(|error| ProxyError::Unreachable(self.url.to_string(), error))
    }

    /// Asks for something by SOCKS5.
    pub(super) async fn negotiate(
        &self,
        stream: &mut TcpStream,
        command: Command,
        target: Target,
    ) -> Result<Bound, ProxyError> {
        let (credentials, mut out) = (self.url.credentials.clone(), Vec::new());
        let mut socks = Socks5::new(command, target, credentials, &mut out);
        let step = |bytes: &[u8], out: &mut _| Ok(socks.handle_bytes(bytes, out)?);
        self.talk(stream, out, step).await
    }

    /// Connects to the proxy itself. Its name is the one name that is looked up here.
    async fn reach(&self, binding: &Binding) -> io::Result<TcpStream> {
        let addrs = match &self.url.at {
            Target::Address(addr) => vec![*addr],
            // While the interface is away no name is looked up either.
            Target::Name(name, port) if !binding.is_away() => {
                tokio::net::lookup_host((name.as_str(), *port)).await?.collect()
            }
            Target::Name(..) => Vec::new(),
        };
        let mut outcome = io::Error::other("no address");
        for addr in addrs {
            let connected = match binding.source_to_proxy(addr.is_ipv4()) {
                Ok(source) => connect_tcp(addr, source).await,
                Err(error) => Err(error.into()),
            };
            match connected {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => outcome = error,
            }
        }
        Err(outcome)
    }

    /// Sends `out` and what `step` adds to it, and gives it what comes, until it has what it wants.
    async fn talk<T>(
        &self,
        stream: &mut TcpStream,
        mut out: Vec<u8>,
        mut step: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Progress<T>, ProxyError>,
    ) -> Result<T, ProxyError> {
        let mut bytes = [0; READ];
        loop {
            stream.write_all(&out).await.map_err(|error| self.lost(error))?;
            out.clear();
            let len = stream.read(&mut bytes).await.map_err(|error| self.lost(error))?;
            if len == 0 {
                return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Progress::Open(opened) = step(&bytes[..len], &mut out)? {
                return Ok(opened);
            }
        }
    }

    pub(crate) fn lost(&self, error: io::Error) -> ProxyError {
        ProxyError::Lost(self.url.to_string(), error)
    }

    /// Tells the log when the proxy begins to fail, and when it works again.
    pub(super) fn tell(&self, error: Option<&ProxyError>) {
        let error = error.filter(|error| error.is_of_proxy());
        let failed = self.failed.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !failed => {
                tracing::warn!("{error}; nothing is sent beside it");
            }
            None if failed => tracing::info!("the proxy {} works again", self.url),
            _ => {}
        }
    }
}
