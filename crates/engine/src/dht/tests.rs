use super::*;
use crate::config::{DhtConfig, SessionConfig};
use crate::resume::Keeping;
use crate::session::Session;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::{Duration, Instant};

fn config(routers: &[&str]) -> SessionConfig {
    SessionConfig {
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        dht: Some(DhtConfig {
            routers: routers.iter().map(|r| (*r).to_owned()).collect(),
            ..DhtConfig::default()
        }),
        local_discovery: false,
        ..SessionConfig::default()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_name_that_is_never_looked_up_holds_up_neither_start_nor_end() {
    let (begun, began) = std_mpsc::channel();
    let begun = Mutex::new(begun);
    let hangs: Lookup = Arc::new(move |_, _| {
        let _ = begun.lock().unwrap().send(());
        loop {
            std::thread::park();
        }
    });
    let state = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("never-{n}.invalid:1")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let config = SessionConfig { state_dir: Some(state.path().to_owned()), ..config(&names) };
    let session = Session::start_with(config, hangs, Keeping::default()).unwrap();
    began.recv_timeout(Duration::from_secs(20)).unwrap();
    block_on(async {
        // The node itself is not held up either.
        let status = session.dht().unwrap().status().await.unwrap();
        assert!(status.v4.is_some() && !status.is_joined());
        let asked = Instant::now();
        session.shutdown().await;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    });
}

#[test]
fn routers_that_are_names_are_looked_up_and_asked() {
    let router = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    router.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let at = router.local_addr().unwrap();
    let finds: Lookup = Arc::new(move |host, port| {
        assert_eq!((host, port), ("router.invalid", 7));
        vec![at]
    });
    let session = Session::start_with(
        config(&["router.invalid:7", "no endpoint"]),
        finds,
        Keeping::default(),
    )
    .unwrap();
    let mut buffer = [0; 1500];
    let (len, from) = router.recv_from(&mut buffer).unwrap();
    assert!(buffer[..len].starts_with(b"d") && from.port() == session.port());
    block_on(session.shutdown());
}

#[test]
fn a_random_key_is_like_no_other() {
    let ((one, seed), (two, _)) = (generate_key().unwrap(), generate_key().unwrap());
    assert_ne!(one.public(), two.public());
    assert_eq!(SecretKey::from_seed(&seed).public(), one.public());
}
