use super::*;
use crate::network::Source;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use tokio::sync::Notify;

#[derive(Default)]
struct Heard {
    datagrams: RefCell<Vec<(SocketAddr, Vec<u8>)>>,
    came: Notify,
}

impl Receiver for Heard {
    fn receive(&self, _via: Via, from: SocketAddr, datagrams: Chunks<'_, u8>) {
        self.datagrams.borrow_mut().extend(datagrams.map(|datagram| (from, datagram.to_vec())));
    }

    fn batch_done(&self, _via: Via) {
        self.came.notify_one();
    }
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = bind(&Source::from(IpAddr::from(Ipv4Addr::LOCALHOST)), 0).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

#[test]
fn what_is_of_no_known_kind_is_passed_over() {
    for (datagram, kind) in [
        (&b"d1:ad2:id20:"[..], Kind::Krpc),
        (b"", Kind::Unknown),
        (b"\x01\x00", Kind::Utp),
        (b"\x41\x00", Kind::Utp),
        (b"\x51\x00", Kind::Unknown),
        (b"\x00\x00\x00\x01", Kind::Unknown),
    ] {
        assert_eq!(Kind::of(datagram), kind);
    }
}

#[test]
fn datagrams_arrive_though_nobody_took_those_sent_before() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (ours, addr) = socket();
        let (theirs, from) = socket();
        let (gone, nobody) = socket();
        drop(gone);
        let receivers = Rc::<Receivers>::default();
        let sockets = Sockets::new(Rc::clone(&receivers));
        sockets.open(vec![ours]).unwrap();
        assert!(sockets.has_family(true) && !sockets.has_family(false));
        let heard = Rc::new(Heard::default());
        assert!(receivers.krpc.set(Rc::clone(&heard) as Rc<dyn Receiver>).is_ok());
        for _ in 0..2 {
            sockets.send(None, nobody, b"de");
            // No socket has this family, and no route may go there: neither matters.
            sockets.send(None, "[2001:db8::1]:9".parse().unwrap(), b"de");
            sockets.send(None, "192.0.2.1:9".parse().unwrap(), b"de");
        }
        let count = 128;
        theirs.send_to(b"\x41not for the DHT", addr).unwrap();
        for n in 0..count {
            theirs.send_to(format!("d{n}").as_bytes(), addr).unwrap();
        }
        while heard.datagrams.borrow().len() < count {
            heard.came.notified().await;
        }
        let expected: Vec<_> = (0..count).map(|n| (from, format!("d{n}").into_bytes())).collect();
        assert_eq!(*heard.datagrams.borrow(), expected);
    });
}
