//! The list of known addresses, whoever names them: bounds, bans, and whom it lets be dialled.

use crate::Script;
use crate::messages;
use samara_swarm::peer_list::{PeerList, PeerListConfig, Subnet, is_local};
use samara_swarm::torrent::PeerSource;
use samara_wire::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

const CONFIG: PeerListConfig = PeerListConfig { max_addrs: 24, max_per_subnet: 3 };

struct World {
    list: PeerList,
    now: Instant,
    dialling: BTreeSet<SocketAddr>,
    connected: BTreeSet<SocketAddr>,
    own: BTreeSet<SocketAddr>,
}

/// Reads `input` as what was learned, and what became of dials and connections.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut world = World {
        list: PeerList::new(CONFIG, script.long()),
        now: Instant::from_secs(1000),
        dialling: BTreeSet::new(),
        connected: BTreeSet::new(),
        own: BTreeSet::new(),
    };
    while !script.is_done() {
        world.step(&mut script);
        assert!(world.list.len() <= CONFIG.max_addrs);
    }
    world.forget();
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        let now = self.now;
        match script.below(16) {
            0..4 => self.learn(script),
            4..7 => self.dial(script),
            7 => {
                if let Some(addr) = some(&self.dialling, script) {
                    self.dialling.remove(&addr);
                    self.list.on_failed(now, addr);
                }
            }
            8 | 9 => {
                if let Some(addr) = some(&self.dialling, script) {
                    self.dialling.remove(&addr);
                    // One who dialled us meanwhile is not met twice.
                    if self.connected.insert(addr) {
                        self.list.on_connected(now, addr, true);
                    } else {
                        self.list.on_failed(now, addr);
                    }
                }
            }
            10 => {
                let addr = messages::address(script);
                if addr.port() != 0 && self.list.admits(addr) && !self.dialling.contains(&addr) {
                    self.connected.insert(addr);
                    self.list.on_connected(now, addr, false);
                }
            }
            11 => {
                if let Some(addr) = some(&self.connected, script) {
                    self.connected.remove(&addr);
                    self.list.on_disconnected(now, addr, script.flag());
                }
            }
            12 => {
                if let Some(addr) = some(&self.connected, script) {
                    match script.flag() {
                        true => self.list.on_listen_port(now, addr, script.short()),
                        false => self.list.set_upload_only(now, addr, script.flag()),
                    }
                }
            }
            13 => self.now += Duration::from_secs(script.byte().into()),
            14 => self.list.set_seeding(now, script.flag()),
            _ => self.exclude(script),
        }
    }

    fn learn(&mut self, script: &mut Script<'_>) {
        let source = script.pick(&[
            PeerSource::User,
            PeerSource::Tracker,
            PeerSource::Incoming,
            PeerSource::Pex,
            PeerSource::Dht,
            PeerSource::Local,
        ]);
        let addr = messages::address(script);
        let before = self.list.len();
        if self.list.add(self.now, addr, source) {
            assert!(!self.list.is_banned(addr) && addr.port() != 0 && !self.own.contains(&addr));
            assert!(self.list.len() <= before + 1);
            assert!(!self.list.add(self.now, addr, source), "new twice");
        }
    }

    fn dial(&mut self, script: &mut Script<'_>) {
        let wanted = script.below(8);
        let chosen = self.list.next_to_dial(self.now, wanted);
        assert!(chosen.len() <= wanted);
        for addr in chosen {
            assert!(!self.list.is_banned(addr) && !self.own.contains(&addr), "{addr} is excluded");
            assert!(!addr.ip().is_unspecified() && !addr.ip().is_multicast() && addr.port() != 0);
            assert!(self.dialling.insert(addr), "{addr} is being dialled");
            if !is_local(addr.ip()) {
                let subnet = Subnet::of(addr.ip());
                let here = |addrs: &BTreeSet<SocketAddr>| {
                    addrs.iter().filter(|a| Subnet::of(a.ip()) == subnet).count()
                };
                let taken = here(&self.dialling) + here(&self.connected);
                assert!(taken <= CONFIG.max_per_subnet, "{taken} in one network");
            }
        }
    }

    fn exclude(&mut self, script: &mut Script<'_>) {
        let addr = messages::address(script);
        match script.below(3) {
            0 => {
                self.list.ban(addr);
                assert!(self.list.is_banned(addr) && !self.list.admits(addr));
            }
            1 => {
                self.list.add_own(addr);
                self.own = BTreeSet::from([addr]);
            }
            _ => self.list.set_external(self.now, addr),
        }
        // What is excluded may be on its way already, and is forgotten.
        self.dialling.retain(|a| !self.list.is_banned(*a) && *a != addr);
    }

    /// When all is over every network has room again.
    fn forget(mut self) {
        for addr in std::mem::take(&mut self.dialling) {
            self.list.on_failed(self.now, addr);
        }
        let connected = std::mem::take(&mut self.connected);
        let mut of_subnet: BTreeMap<Subnet, SocketAddr> = BTreeMap::new();
        for addr in connected {
            self.list.on_disconnected(self.now, addr, true);
            of_subnet.insert(Subnet::of(addr.ip()), addr);
        }
        for addr in of_subnet.into_values() {
            assert!(self.list.admits(addr) || self.list.is_banned(addr), "{addr} leaves no room");
        }
    }
}

fn some(addrs: &BTreeSet<SocketAddr>, script: &mut Script<'_>) -> Option<SocketAddr> {
    let at = script.below(addrs.len().max(1));
    addrs.iter().nth(at).copied()
}
