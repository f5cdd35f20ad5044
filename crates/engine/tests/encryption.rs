//! Encrypted connections between sessions, and to peers that do not encrypt.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::wire::mse::Policy;
use samara_engine::{AddTorrent, Existing, Session, SessionConfig, State};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use support::{Sample, addr, config, run, until};

const NAME: &[u8] = b"BitTorrent protocol";

fn session(encryption: Policy) -> Session {
    Session::start(SessionConfig { encryption, ..config(None) }).unwrap()
}

async fn seed(sample: &Sample, encryption: Policy) -> Session {
    let session = session(encryption);
    let add = AddTorrent { existing: Existing::Trust, ..sample.add(sample.dir.path(), &[]) };
    let torrent = session.add(add).await.unwrap();
    until(&torrent, |s| s.state == State::Seeding).await;
    session
}

/// All that passes through a relay.
#[derive(Clone, Default)]
struct Wiretap(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    connections: usize,
    /// Directions of connections that ended.
    ended: usize,
    there: Vec<u8>,
    back: Vec<u8>,
}

impl Wiretap {
    fn shows(&self, needle: &[u8]) -> bool {
        let heard = self.heard();
        [&heard.there, &heard.back]
            .iter()
            .any(|bytes| bytes.windows(needle.len()).any(|w| w == needle))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.0.lock().unwrap()
    }

    fn connections(&self) -> usize {
        self.heard().connections
    }

    /// Waits for the end of a connection.
    fn until_ended(&self) {
        drop(self.0.1.wait_while(self.heard(), |heard| heard.ended < 2).unwrap());
    }

    /// Relays to `target`; ends with the test.
    fn relay(&self, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let tap = self.clone();
        std::thread::spawn(move || {
            for dialled in listener.incoming().flatten() {
                let Ok(target) = TcpStream::connect(target) else { continue };
                tap.heard().connections += 1;
                let back = (target.try_clone().unwrap(), dialled.try_clone().unwrap());
                let (one, other) = (tap.clone(), tap.clone());
                std::thread::spawn(move || one.copy(dialled, target, true));
                std::thread::spawn(move || other.copy(back.0, back.1, false));
            }
        });
        local
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, there: bool) {
        let mut buf = [0; 16 << 10];
        while let Ok(len @ 1..) = from.read(&mut buf) {
            let mut heard = self.heard();
            let Heard { there: forth, back, .. } = &mut *heard;
            if there { forth } else { back }.extend(&buf[..len]);
            drop(heard);
            if to.write_all(&buf[..len]).is_err() {
                break;
            }
        }
        // An error says that it is closed already.
        let _ = to.shutdown(Shutdown::Write);
        self.heard().ended += 1;
        self.0.1.notify_all();
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn every_two_policies_that_can_agree_do() {
    use Policy::{Allow, Off, Prefer, Require};
    run(async {
        let sample = Sample::single(300_000, 16 << 10);
        let payload = &sample.bytes()[1000..1100];
        for theirs in [Off, Allow, Prefer, Require] {
            let seed = seed(&sample, theirs).await;
            for ours in [Off, Allow, Prefer, Require] {
                if [ours, theirs].contains(&Off) && [ours, theirs].contains(&Require) {
                    continue;
                }
                let tap = Wiretap::default();
                let leech = session(ours);
                let dir = tempfile::tempdir().unwrap();
                let peers = [tap.relay(addr(&seed))];
                let torrent = leech.add(sample.add(dir.path(), &peers)).await.unwrap();
                until(&torrent, |s| s.state == State::Seeding).await;
                leech.shutdown().await;
                sample.assert_same(dir.path());

                let required = [ours, theirs].contains(&Require);
                let dials_plain = matches!(ours, Off | Allow);
                // Where a first attempt fails, another connection follows.
                let refused = matches!((ours, theirs), (Prefer, Off) | (Allow, Require));
                assert_eq!(tap.connections(), 1 + usize::from(refused), "{ours:?} to {theirs:?}");
                let named = contains(&tap.heard().there, NAME);
                assert_eq!(named, dials_plain || theirs == Off, "{ours:?} to {theirs:?}");
                // Encryption that nobody requires ends with the handshake of the one who dials: the rest is as fast as ever.
                assert_eq!(tap.shows(payload), !required, "{ours:?} to {theirs:?}");
            }
            seed.shutdown().await;
        }
    });
}

#[test]
fn who_requires_encryption_exchanges_nothing_with_who_refuses_it() {
    run(async {
        let sample = Sample::single(100_000, 16 << 10);
        for (ours, theirs) in [(Policy::Require, Policy::Off), (Policy::Off, Policy::Require)] {
            let seed = seed(&sample, theirs).await;
            let tap = Wiretap::default();
            let leech = session(ours);
            let dir = tempfile::tempdir().unwrap();
            let add = sample.add(dir.path(), &[tap.relay(addr(&seed))]);
            let torrent = leech.add(add).await.unwrap();
            tap.until_ended();
            assert_eq!(
                (tap.connections(), tap.heard().back.len()),
                (1, 0),
                "{ours:?} was answered"
            );
            assert_eq!(tap.shows(NAME), ours == Policy::Off);
            assert_eq!(torrent.status().stats.have_bytes, 0);
            leech.shutdown().await;
            seed.shutdown().await;
        }
    });
}

#[test]
fn of_several_torrents_on_one_port_the_one_that_is_meant_is_served() {
    run(async {
        let samples = [Sample::single(200_000, 16 << 10), Sample::single(210_000, 32 << 10)];
        let seed = session(Policy::Require);
        for sample in &samples {
            let torrent = seed.add(sample.add(sample.dir.path(), &[])).await.unwrap();
            until(&torrent, |s| s.state == State::Seeding).await;
        }
        let leech = session(Policy::Require);
        for sample in &samples {
            let dir = tempfile::tempdir().unwrap();
            let torrent = leech.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
            until(&torrent, |s| s.state == State::Seeding).await;
            sample.assert_same(dir.path());
        }
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_link_is_resolved_and_its_torrent_fetched_with_nothing_but_encryption() {
    run(async {
        let sample = Sample::single(300_000, 16 << 10);
        let seed = seed(&sample, Policy::Require).await;
        let tap = Wiretap::default();
        let leech = session(Policy::Require);
        let link = support::fake::link(&sample, &[tap.relay(addr(&seed))]);
        let resolved = support::fake::resolve(&leech, link, 30).await.unwrap();
        assert_eq!(resolved.metainfo.info.hashes(), sample.metainfo.info.hashes());
        assert!(!tap.shows(NAME) && !tap.shows(b"ut_metadata"));
        leech.shutdown().await;
        seed.shutdown().await;
    });
}
