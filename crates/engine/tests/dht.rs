//! Sessions that find each other by the DHT alone, on loopback. Nothing here asks a public node.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod support;

use samara_engine::dht::generate_key;
use samara_engine::wire::id::WireHash;
use samara_engine::wire::krpc::{
    AnnouncedPort, Body, Item, Method, NodeId, Packet, Query, TransactionId, Want,
    immutable_target, mutable_target, pointed_torrent, pointer_value,
};
use samara_engine::wire::magnet::Magnet;
use samara_engine::{
    AddTorrent, DhtConfig, DhtHandle, DhtStatus, Existing, ResolveConfig, Session, SessionConfig,
    State,
};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;
use support::fake::{Fake, fake, has_metadata, link, resolve};
use support::{Sample, addr, config, run, until};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session that joins the DHT by these nodes.
fn node(routers: &[SocketAddr], state_dir: Option<&Path>) -> Session {
    let routers = routers.iter().map(ToString::to_string).collect();
    let dht = Some(DhtConfig { routers, ..DhtConfig::default() });
    Session::start(SessionConfig { dht, ..config(state_dir) }).unwrap()
}

fn handle(session: &Session) -> DhtHandle {
    session.dht().unwrap()
}

/// Waits for a status of the DHT.
async fn dht_until(session: &Session, accept: impl FnMut(&DhtStatus) -> bool) -> DhtStatus {
    let waiting = async { handle(session).wait_until(accept).await.unwrap() };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the DHT comes to it")
}

/// So many sessions, all joined through the first.
async fn network(count: usize) -> Vec<Session> {
    let mut sessions = vec![node(&[], None)];
    for _ in 1..count {
        sessions.push(node(&[addr(&sessions[0])], None));
    }
    for session in &sessions {
        dht_until(session, |status| status.is_joined()).await;
    }
    sessions
}

async fn shut_down(sessions: Vec<Session>) {
    for session in sessions {
        session.shutdown().await;
    }
}

#[test]
fn a_magnet_link_without_trackers_is_found_by_the_dht_and_downloaded() {
    run(async {
        let sample = Sample::single(300_000, 16 * 1024);
        let sessions = network(8).await;
        let seed = AddTorrent { existing: Existing::Check, ..sample.add(sample.dir.path(), &[]) };
        let torrent = sessions[3].add(seed).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;

        // It begins before it has joined, and before it is sure that the seed is announced.
        let leech = node(&[addr(&sessions[0])], None);
        let magnet = Magnet::new(sample.metainfo.info.hashes());
        let resolve = ResolveConfig { timeout: PATIENCE, ..ResolveConfig::default() };
        let mut resolving = leech.resolve(magnet, resolve);
        let found = resolving.outcome().await.unwrap();
        assert_eq!(found.metainfo.info.hashes(), sample.metainfo.info.hashes());
        assert!(resolving.status().dht_nodes.is_some_and(|nodes| nodes > 0));

        let dir = tempfile::tempdir().unwrap();
        let add = AddTorrent { peers: found.peers, ..AddTorrent::new(found.metainfo, dir.path()) };
        let torrent = leech.add(add).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());

        // Whoever asks is told of one of them: they have one address in common.
        let hash = sample.metainfo.info.hashes().wire();
        let peers = handle(&sessions[6]).peers(hash).await.unwrap();
        let both = [addr(&sessions[3]), addr(&leech)];
        assert!(!peers.is_empty() && peers.iter().all(|peer| both.contains(peer)), "{peers:?}");
        let scrape = handle(&sessions[6]).scrape(hash).await.unwrap();
        assert!(scrape.seeds + scrape.peers >= 1, "{scrape:?}");
        let sampled = handle(&sessions[1]).sample(handle_id(&sessions[0]).await).await.unwrap();
        assert!(sampled.contains(&hash), "{sampled:?}");

        leech.shutdown().await;
        shut_down(sessions).await;
    });
}

async fn handle_id(session: &Session) -> NodeId {
    handle(session).status().await.unwrap().v4.unwrap().id
}

#[test]
fn items_of_both_kinds_are_put_and_got() {
    run(async {
        let sessions = network(6).await;
        let (putter, getter) = (handle(&sessions[2]), handle(&sessions[5]));

        let value = b"12:Hello World!".to_vec();
        let item = Item { value: value.clone(), signed: None };
        let stored = putter.put(item.clone(), Vec::new(), None).await.unwrap();
        assert!(stored >= 1);
        let got = getter.get(immutable_target(&value), Vec::new()).await.unwrap();
        assert_eq!(got, Some(item));

        let (key, _) = generate_key().unwrap();
        let target = mutable_target(&key.public(), b"salt");
        for seq in [1, 2] {
            let hash = WireHash([u8::try_from(seq).unwrap(); 20]);
            let item = key.sign(b"salt", seq, &pointer_value(hash));
            assert!(putter.put(item, b"salt".to_vec(), None).await.unwrap() >= 1);
            let got = getter.get(target, b"salt".to_vec()).await.unwrap().unwrap();
            assert_eq!(got.signed.unwrap().seq, seq);
            assert_eq!(pointed_torrent(&got.value), Some(hash));
        }
        // Not where the stored one has another number.
        let third = key.sign(b"salt", 3, b"i3e");
        assert_eq!(putter.put(third, b"salt".to_vec(), Some(1)).await.unwrap(), 0);
        let nothing = getter.get(mutable_target(&key.public(), b""), Vec::new()).await.unwrap();
        assert_eq!(nothing, None);
        let too_long = Item { value: vec![b'i'; 2000], signed: None };
        assert!(putter.put(too_long, Vec::new(), None).await.is_err());
        shut_down(sessions).await;
    });
}

/// Reads all datagrams that came to `router`, none of which may name `hash`. Gives how many there were.
fn heard_without(router: &UdpSocket, hash: WireHash) -> usize {
    let (mut datagrams, mut buffer) = (0, [0; 2048]);
    while let Ok((len, from)) = router.recv_from(&mut buffer) {
        datagrams += 1;
        let named = buffer[..len].windows(20).any(|bytes| bytes == hash.0);
        assert!(!named, "{from} named a private torrent");
    }
    datagrams
}

#[test]
fn of_a_private_torrent_nobody_is_asked() {
    run(async {
        // Everybody's router, which answers nothing and only listens.
        let router = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        router.set_nonblocking(true).unwrap();
        let at = router.local_addr().unwrap();
        let (private, public) = (Sample::private(100_000), Sample::single(50_000, 16 * 1024));
        let hash = |sample: &Sample| sample.metainfo.info.hashes().wire();
        let hub = node(&[at], None);
        let seed = node(&[at, addr(&hub)], None);
        let leech = node(&[at, addr(&hub)], None);
        let sessions = vec![hub, seed, leech];
        for session in &sessions {
            dht_until(session, |status| status.is_joined()).await;
        }
        let mut added = Vec::new();
        for sample in [&private, &public] {
            let add = sample.add(sample.dir.path(), &[]);
            let add = AddTorrent { existing: Existing::Check, ..add };
            added.push(sessions[1].add(add).await.unwrap());
        }
        for torrent in &added {
            until(torrent, |s| s.state == State::Seeding).await;
        }
        // A leech of the private one that is told of the seed downloads, and asks as little.
        let dir = tempfile::tempdir().unwrap();
        let add = private.add(dir.path(), &[addr(&sessions[1])]);
        let torrent = sessions[2].add(add).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        private.assert_same(dir.path());
        // The public one, added later, is announced: so the private one would have been.
        let asker = handle(&sessions[0]);
        let found = async { while asker.peers(hash(&public)).await.unwrap().is_empty() {} };
        tokio::time::timeout(PATIENCE, found).await.expect("the public torrent is announced");
        for (session, announced) in sessions.iter().zip([0, 1, 0]) {
            assert_eq!(handle(session).status().await.unwrap().announced, announced);
        }
        assert!(heard_without(&router, hash(&private)) > 0);
        let peers = asker.peers(hash(&private)).await.unwrap();
        assert!(peers.is_empty(), "{peers:?}");
        shut_down(sessions).await;
    });
}

/// Announces to the node at `node` that a peer of `hash` is at this port of ours, as anybody may.
fn announce(node: SocketAddr, hash: WireHash, port: u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = |method| {
        let query = Query { id: NodeId([7; 20]), want: Want::default(), method };
        let packet = Packet {
            transaction: TransactionId::new(b"a").unwrap(),
            client: None,
            read_only: true,
            your_addr: None,
            body: Body::Query(query),
        };
        socket.send_to(&packet.encode(), node).unwrap();
        let mut buffer = [0; 2048];
        let len = socket.recv(&mut buffer).unwrap();
        match Packet::parse(&buffer[..len]).unwrap().body {
            Body::Response(response) => response,
            other => panic!("{other:?}"),
        }
    };
    let asked = ask(Method::GetPeers { info_hash: hash, no_seeds: false, scrape: false });
    let (token, port) = (asked.token.unwrap(), AnnouncedPort::Explicit(port));
    ask(Method::AnnouncePeer { info_hash: hash, port, token, seed: true });
}

#[test]
fn peers_from_the_dht_are_not_kept_once_the_metadata_says_private() {
    run(async {
        let sample = Sample::private(100_000);
        let (hash, raw) =
            (sample.metainfo.info.hashes().wire(), sample.metainfo.info.raw().to_vec());
        let len = u32::try_from(raw.len()).unwrap();
        let sessions = network(2).await;
        for is_named in [false, true] {
            let raw = raw.clone();
            let giver = fake(move |stream| {
                let mut peer = Fake::meet(stream, &has_metadata(len), None)?;
                loop {
                    peer.give(&raw)?;
                }
            });
            announce(addr(&sessions[0]), hash, giver.port());
            let leech = node(&[addr(&sessions[0])], None);
            let named = if is_named { vec![giver] } else { Vec::new() };
            let found = resolve(&leech, link(&sample, &named), 60).await.unwrap();
            assert!(found.metainfo.info.is_private());
            assert_eq!(found.peers, named);
            dht_until(&leech, |status| status.announced == 0).await;
            leech.shutdown().await;
        }
        shut_down(sessions).await;
    });
}

#[test]
fn the_table_survives_a_restart_and_damage_does_not_matter() {
    run(async {
        let state = tempfile::tempdir().unwrap();
        let sessions = network(3).await;
        let first = node(&[addr(&sessions[0])], Some(state.path()));
        dht_until(&first, |status| status.nodes() >= 3).await;
        let id = handle_id(&first).await;
        first.shutdown().await;

        // Nobody is named: who is known, is known from the file.
        let again = node(&[], Some(state.path()));
        dht_until(&again, |status| status.is_joined() && status.nodes() >= 3).await;
        assert_eq!(handle_id(&again).await, id);
        again.shutdown().await;

        let table = state.path().join("dht4.table");
        std::fs::write(&table, b"samara dht table 1\nnonsense").unwrap();
        let fresh = node(&[addr(&sessions[0])], Some(state.path()));
        dht_until(&fresh, |status| status.is_joined()).await;
        assert_ne!(handle_id(&fresh).await, id);
        assert!(table.with_extension("table.damaged").exists());
        fresh.shutdown().await;
        assert!(table.exists());
        shut_down(sessions).await;
    });
}

#[test]
fn a_session_without_the_dht_and_utp_has_no_udp_socket() {
    run(async {
        let session = Session::start(SessionConfig { utp: false, ..config(None) }).unwrap();
        assert!(session.dht().is_none());
        assert!(UdpSocket::bind(addr(&session)).is_ok());
        session.shutdown().await;
        let session = node(&[], None);
        assert!(UdpSocket::bind(addr(&session)).is_err());
        // Nobody is there to be asked, and that is said in the end; here, nobody waits for it.
        let dht = handle(&session);
        let asked = tokio::time::timeout(Duration::from_millis(20), dht.peers(WireHash([1; 20])));
        assert!(asked.await.is_err());
        session.shutdown().await;
    });
}
