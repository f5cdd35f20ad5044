//! Local service discovery (BEP 14): peers on the same network, without tracker or DHT.
//!
//! What is sought is announced to a multicast group ([`schedule`] says when), and who announces the same is a peer
//! ([`hearing`] says what is believed). One side's announce is enough: whoever hears it dials, so that a newcomer is found
//! at once by those who announced long ago.
//!
//! Nothing here is needed for anything else: without interfaces, without multicast, or with the port taken, there is a
//! line in the debug log and no local peers. Sockets are opened when the first torrent is sought, so a session that
//! has only private torrents never makes a sound.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
mod hearing;
mod network;
mod schedule;

use crate::discovery::FinderCommand;
use crate::shard::ShardEnv;
use crate::tracker::unguessable;
use hearing::{Hearing, Ignored};
use network::{Place, Situation};
use samara_swarm::torrent::PeerSource;
use samara_wire::id::WireHash;
use samara_wire::lsd::{LocalAnnounce, MAX_DATAGRAM};
use schedule::Schedule;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Before an ear or a mouth that could not be opened is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Datagrams heard that may wait; more stay with the system, which drops what is too much.
const MAX_WAITING: usize = 64;

/// After an error that may last. It is not one of a single datagram: they cause none.
const EAR_PAUSE: Duration = Duration::from_secs(1);

/// Announces what is sought and tells of who is heard, until the session ends.
pub(crate) async fn run(env: Rc<ShardEnv>, mut commands: mpsc::UnboundedReceiver<FinderCommand>) {
    let (tell, mut told) = mpsc::channel(MAX_WAITING);
    let mut network = env.shared.network.subscribe();
    let mut local = Local::new(env, tell);
    let mut look_at = Instant::now();
    loop {
        let clock = local.env.shared.clock;
        let open_at = clock.to_tokio(local.hearing.open_at());
        let is_open = open_at <= Instant::now();
        let announce_at = local.next_announce().map(|at| clock.to_tokio(at));
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => local.on_command(command),
                None => return,
            },
            Some((from, datagram)) = told.recv(), if is_open => local.on_heard(from, &datagram),
            () = sleep_until(open_at), if !is_open => {}
            () = sleep_until(announce_at.unwrap_or(look_at)), if announce_at.is_some() => {
                local.announce();
            }
            // Fails only when the session is gone.
            Ok(()) = network.changed() => look_at = Instant::now(),
            () = sleep_until(look_at), if !local.schedule.is_empty() => {
                local.look(&network.borrow_and_update().clone());
                look_at = Instant::now() + RETRY_INTERVAL;
            }
        }
    }
}

struct Local {
    env: Rc<ShardEnv>,
    schedule: Schedule,
    hearing: Hearing,
    /// By which our own datagrams are known.
    cookie: String,
    situation: Situation,
    mouths: BTreeMap<Place, std::net::UdpSocket>,
    /// Places that had a mouth, those of them that are still there.
    known: BTreeSet<Place>,
    /// One for each interface and family.
    ears: BTreeMap<(u32, bool), AbortHandle>,
    tasks: JoinSet<()>,
    tell: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    /// What was ignored at the last look.
    ignored: Ignored,
}

impl Local {
    fn new(env: Rc<ShardEnv>, tell: mpsc::Sender<(SocketAddr, Vec<u8>)>) -> Self {
        let cookie = format!("{:016x}", unguessable());
        Self {
            env,
            schedule: Schedule::new(unguessable()),
            hearing: Hearing::new(cookie.clone()),
            cookie,
            situation: Situation::default(),
            mouths: BTreeMap::new(),
            known: BTreeSet::new(),
            ears: BTreeMap::new(),
            tasks: JoinSet::new(),
            tell,
            ignored: Ignored::default(),
        }
    }

    fn on_command(&mut self, command: FinderCommand) {
        let now = self.env.now();
        match command {
            FinderCommand::Seek { hash, .. } => {
                self.schedule.seek(now, hash);
                self.hearing.forget(&hash);
            }
            FinderCommand::Withdraw(hash) => self.schedule.withdraw(now, &hash),
            FinderCommand::Names(_) | FinderCommand::Node(_) => {}
            // Our places on the local network are watched besides.
            FinderCommand::Outside(_) | FinderCommand::Moved => {}
        }
    }

    fn on_heard(&mut self, from: SocketAddr, datagram: &[u8]) {
        let now = self.env.now();
        let sought = |hash: &WireHash| self.schedule.contains(hash);
        let Some(heard) = self.hearing.hear(now, from, datagram, sought) else { return };
        for hash in heard.hashes {
            tracing::debug!(peer = %heard.peer, %hash, "found on the local network");
            self.env.shared.discovery.found(&hash, PeerSource::Local, &[heard.peer]);
        }
    }

    /// When to announce. Never while there is no way to.
    fn next_announce(&self) -> Option<samara_wire::time::Instant> {
        self.schedule.next_timeout().filter(|_| !self.mouths.is_empty())
    }

    fn announce(&mut self) {
        let Some(hashes) = self.schedule.poll(self.env.now()) else { return };
        let (port, cookie) = (self.env.shared.port(), Some(self.cookie.clone()));
        let announce = LocalAnnounce { port, hashes, cookie };
        tracing::debug!(torrents = announce.hashes.len(), "announcing on the local network");
        self.mouths.retain(|place, mouth| {
            let group = network::group(place.ip);
            match mouth.send_to(&announce.encode(group), group) {
                Ok(_) => true,
                // Lost, as any datagram may be.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
                Err(error) => {
                    tracing::debug!(ip = %place.ip, %error, "cannot announce from here");
                    false
                }
            }
        });
    }

    /// Sees where we are on the network, and opens and closes sockets accordingly.
    fn look(&mut self, seen: &crate::network::Situation) {
        let situation = Situation::of(&seen.interfaces, &seen.binding);
        let old = std::mem::replace(&mut self.situation, situation);
        if old != self.situation {
            tracing::debug!(places = ?self.situation.places, "where local peers may be found");
            self.hearing.set_subnets(self.situation.subnets.clone());
        }
        self.open_and_close();
        let ignored = self.hearing.ignored;
        if std::mem::replace(&mut self.ignored, ignored) != ignored {
            tracing::debug!(?ignored, "heard in vain on the local network");
        }
    }

    fn open_and_close(&mut self) {
        let places = &self.situation.places;
        self.mouths.retain(|place, _| places.contains(place));
        self.known.retain(|place| places.contains(place));
        let ear_of = |place: &Place| (place.interface, place.ip.is_ipv6());
        self.ears.retain(|ear, task| {
            let stays = places.iter().any(|place| ear_of(place) == *ear) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        while self.tasks.try_join_next().is_some() {}
        let mut is_news = false;
        for &place in places {
            if !self.ears.contains_key(&ear_of(&place)) {
                let ear = network::ear(place).and_then(UdpSocket::from_std);
                match ear {
                    Ok(ear) => {
                        let task = self.tasks.spawn_local(listen(ear, self.tell.clone()));
                        self.ears.insert(ear_of(&place), task);
                    }
                    Err(error) => tracing::debug!(?place, %error, "cannot hear local peers"),
                }
            }
            if let Entry::Vacant(empty) = self.mouths.entry(place) {
                match network::mouth(place) {
                    Ok(mouth) => {
                        empty.insert(mouth);
                        let is_new = self.known.insert(place);
                        // Links without a network of their own come and go with each container of this machine.
                        is_news |=
                            is_new && (self.known.len() == 1 || !network::is_link_local(place.ip));
                    }
                    Err(error) => tracing::debug!(?place, %error, "cannot announce from here"),
                }
            }
        }
        if is_news {
            self.schedule.renew(self.env.now());
        }
    }
}

/// Passes on what one ear hears.
async fn listen(ear: UdpSocket, tell: mpsc::Sender<(SocketAddr, Vec<u8>)>) {
    // A byte more, so that what is too long is seen to be.
    let mut buffer = [0; MAX_DATAGRAM + 1];
    loop {
        match ear.recv_from(&mut buffer).await {
            Ok((len, from)) => {
                if tell.send((from, buffer[..len].to_vec())).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot hear local peers");
                tokio::time::sleep(EAR_PAUSE).await;
            }
        }
    }
}
