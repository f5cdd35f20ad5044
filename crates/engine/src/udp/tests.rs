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
        (b"\x00\x00\x00\x01\x07", Kind::Tracker),
        (b"\x00\x00\x00\x04\x07", Kind::Unknown),
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

#[test]
fn by_a_relay_each_datagram_has_its_header_and_none_is_sent_once_it_is_shut() {
    let (relay, at) = socket();
    relay.set_nonblocking(false).unwrap();
    relay.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (ours, _) = socket();
    ours.connect(at).unwrap();
    let socket = Socket::relayed(ours).unwrap();
    assert!(socket.carries(true) && socket.carries(false) && socket.max_segments() == 1);
    let [v4, v6] = socket.lengths((548, 1472), (1232, 1452));
    assert_eq!((v4, v6), ((538, 1462), (526, 1450)));
    let next = || {
        let mut bytes = [0; 100];
        let (len, _) = relay.recv_from(&mut bytes).unwrap();
        bytes[..len].to_vec()
    };
    let (peer, mapped) = ("192.0.2.1:7", "[::ffff:192.0.2.1]:7");
    for to in [peer, mapped] {
        socket.send(to.parse().unwrap(), b"de").unwrap();
        assert_eq!(next(), b"\0\0\0\x01\xc0\0\x02\x01\0\x07de");
    }
    socket.send_by_relay(&Target::new("a.example", 7).unwrap(), b"de").unwrap();
    assert_eq!(next(), b"\0\0\0\x03\x09a.example\0\x07de");
    socket.send_many(peer.parse().unwrap(), b"abcde", 2).unwrap();
    for part in [&b"ab"[..], b"cd", b"e"] {
        assert_eq!(next(), [b"\0\0\0\x01\xc0\0\x02\x01\0\x07", part].concat());
    }
    socket.shut();
    assert!(socket.send(peer.parse().unwrap(), b"de").is_err());
    relay.set_nonblocking(true).unwrap();
    assert!(relay.recv_from(&mut [0; 9]).is_err());
    // One that leads to no relay never sends to hosts by name.
    let straight =
        Socket::new(bind(&Source::from(IpAddr::from(Ipv4Addr::LOCALHOST)), 0).unwrap()).unwrap();
    assert!(straight.send_by_relay(&Target::new("a.example", 7).unwrap(), b"de").is_err());
}

#[test]
fn what_a_relay_gives_is_from_where_its_header_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let ((relay, at), (ours, to), (stranger, _)) = (socket(), socket(), socket());
        // It comes before the socket is connected.
        stranger.send_to(b"\0\0\0\x01\xc0\0\x02\x09\0\x07dstranger", to).unwrap();
        ours.connect(at).unwrap();
        let receivers = Rc::<Receivers>::default();
        let sockets = Sockets::new(Rc::clone(&receivers));
        let mut open = sockets.watch();
        assert!(!*open.borrow_and_update());
        sockets.open_relayed(ours).unwrap();
        assert!(*open.borrow_and_update() && sockets.has_family(true) && sockets.has_family(false));
        let heard = Rc::new(Heard::default());
        assert!(receivers.krpc.set(Rc::clone(&heard) as Rc<dyn Receiver>).is_ok());
        for datagram in [
            &b"\0\0\x01\x01\xc0\0\x02\x01\0\x07dpart"[..],
            b"\0\0\0\x01\xc0\0",
            b"dnone",
            b"\0\0\0\x01\xc0\0\x02\x01\0\0dport",
            b"\0\0\0\x03\x09a.example\0\x07dname",
            b"\0\0\0\x01\xc0\0\x02\x01\0\x07done",
            b"\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x02\0\x07dtwo",
        ] {
            relay.send_to(datagram, to).unwrap();
        }
        while heard.datagrams.borrow().len() < 2 {
            heard.came.notified().await;
        }
        let from = |text: &str| text.parse::<SocketAddr>().unwrap();
        let expected =
            [(from("192.0.2.1:7"), b"done".to_vec()), (from("192.0.2.2:7"), b"dtwo".to_vec())];
        assert_eq!(*heard.datagrams.borrow(), expected);
        sockets.close();
        assert!(!*open.borrow_and_update());
    });
}
