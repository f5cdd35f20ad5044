//! Streams over real sockets.

use super::*;
use crate::network::Source;
use crate::udp;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr};

/// A side of its own: socket, endpoint, and what peers open.
struct Side {
    addr: SocketAddr,
    hubs: Rc<Hubs>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    /// Its readers end with it.
    _sockets: Sockets,
}

/// Gives datagrams to the endpoints, as [`Inlet`] does in a session.
struct Direct(Rc<Hubs>);

impl Receiver for Direct {
    fn receive(&self, via: Via, from: SocketAddr, datagrams: Chunks<'_, u8>) {
        self.0.at(via).inspect(|hub| hub.receive(from, datagrams));
    }

    fn batch_done(&self, via: Via) {
        self.0.at(via).inspect(|hub| hub.flush());
    }
}

fn side() -> Side {
    let socket = udp::bind(&Source::from(IpAddr::from(Ipv4Addr::LOCALHOST)), 0).unwrap();
    let addr = socket.local_addr().unwrap();
    let (hubs, arrivals) = Hubs::new(true, Clock::new());
    let hubs = Rc::new(hubs);
    let receivers = Rc::<Receivers>::default();
    assert!(receivers.utp.set(Rc::new(Direct(Rc::clone(&hubs)))).is_ok());
    let sockets = Sockets::new(receivers);
    sockets.open(vec![socket]).unwrap();
    hubs.open(&sockets).unwrap();
    Side { addr, hubs, arrivals, _sockets: sockets }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

async fn write_all(stream: &UtpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        stream.writable().await;
        match stream.try_write_vectored(&[IoSlice::new(bytes)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

async fn read_all(stream: &UtpStream) -> Vec<u8> {
    let (mut all, mut one, mut two) = (Vec::new(), vec![0; 1000], vec![0; 30_000]);
    loop {
        stream.readable().await;
        let mut slices = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        match stream.try_read_vectored(&mut slices) {
            Ok(0) => return all,
            Ok(read) => {
                all.extend(&one[..read.min(1000)]);
                all.extend(&two[..read.saturating_sub(1000)]);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn bytes_travel_both_ways_and_then_the_end() {
    run(async {
        let (a, mut b) = (side(), side());
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let ours = a.hubs.connect(b.addr).await.unwrap();
        let there = async {
            write_all(&ours, &bytes).await;
            let back = read_all(&ours).await;
            assert_eq!(back, b"thanks");
            drop(ours);
        };
        let here = async {
            let Arrival { stream, addr } = b.arrivals.recv().await.unwrap();
            assert_eq!(addr, a.addr);
            let mut got = vec![0; bytes.len()];
            let mut at = 0;
            while at < got.len() {
                stream.readable().await;
                if let Ok(read) = stream.try_read_vectored(&mut [IoSliceMut::new(&mut got[at..])]) {
                    at += read;
                }
            }
            assert!(got == bytes);
            write_all(&stream, b"thanks").await;
        };
        tokio::join!(there, here);
    });
}

#[test]
fn what_is_closed_ends_and_a_network_that_is_gone_ends_all() {
    run(async {
        let (a, mut b) = (side(), side());
        let ours = a.hubs.connect(b.addr).await.unwrap();
        write_all(&ours, b"hello").await;
        let Arrival { stream, .. } = b.arrivals.recv().await.unwrap();
        drop(stream);
        assert_eq!(read_all(&ours).await, b"");
        // Where the network is gone, streams end, and none begins.
        let ours = a.hubs.connect(b.addr).await.unwrap();
        a.hubs.close();
        ours.readable().await;
        assert!(ours.try_write_vectored(&[IoSlice::new(b"x")]).is_err());
        assert!(a.hubs.connect(b.addr).await.is_err());
    });
}
