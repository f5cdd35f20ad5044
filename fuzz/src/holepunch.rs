//! Hole punching (BEP 55): whom a torrent brings together, and where it lets itself be sent.

use crate::Script;
use crate::messages;
use samara_swarm::peer_list::is_local;
use samara_swarm::torrent::{Direction, NewPeer, PeerKey, PeerSource};
use samara_swarm::{Effect, Outbox, Torrent, TorrentConfig};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{InfoHashV1, InfoHashes, PeerId};
use samara_wire::layout::PieceLayout;
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::handshake::Reserved;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_holepunch::HolepunchMessage;
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The ids under which the torrent wants `ut_pex` and `ut_holepunch`, and our peers want the latter.
const PEX: u8 = 1;
const OURS: u8 = 4;
const THEIRS: u8 = 11;

/// Messages of one peer that may be heeded in a minute.
const HEEDED_A_MINUTE: usize = 24;

struct FakePeer {
    addr: SocketAddr,
    supports: bool,
    /// When its messages had an effect.
    heeded: Vec<Instant>,
}

struct World {
    torrent: Torrent,
    now: Instant,
    out: Outbox,
    peers: BTreeMap<PeerKey, FakePeer>,
    dialling: Vec<SocketAddr>,
    asked: BTreeMap<SocketAddr, Instant>,
}

/// Reads `input` as what peers say and what becomes of dials.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let layout = PieceLayout::contiguous(10 * 16384, 16384);
    let hashes = InfoHashes::v1_only(InfoHashV1([9; 20]));
    let now = Instant::from_secs(1000);
    let config = TorrentConfig { holepunch: true, max_peers: 12, ..TorrentConfig::default() };
    let torrent = Torrent::new(now, config, hashes, layout, Bitfield::empty(10));
    let mut world = World {
        torrent,
        now,
        out: Outbox::new(),
        peers: BTreeMap::new(),
        dialling: Vec::new(),
        asked: BTreeMap::new(),
    };
    world.torrent.handle_start(now, &mut world.out);
    for _ in 0..400 {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
    }
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(8) {
            0 => self.connect(script),
            1 => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 50);
                self.torrent.handle_timeout(self.now, &mut self.out);
                self.look(None);
            }
            2 => {
                let payload = messages::pex(script).into();
                self.say(script, Message::Extended { id: PEX, payload });
            }
            3 => self.dial_failed(script),
            4 => {
                let addr = messages::address(script);
                self.torrent.handle_peers(self.now, PeerSource::Dht, &[addr], &mut self.out);
                self.look(None);
            }
            5 => {
                let message = messages::extended(script);
                self.say(script, message);
            }
            _ => {
                let addr = self.address(script);
                let message = match script.flag() {
                    true => HolepunchMessage::Rendezvous(addr),
                    false => HolepunchMessage::Connect(addr),
                };
                self.say(script, Message::Extended { id: OURS, payload: message.encode().into() });
            }
        }
    }

    /// One of a peer's, or any.
    fn address(&self, script: &mut Script<'_>) -> SocketAddr {
        let known = self.peers.values().nth(script.below(16)).map(|peer| peer.addr);
        known.unwrap_or_else(|| messages::address(script))
    }

    fn connect(&mut self, script: &mut Script<'_>) {
        let [how, id] = script.array();
        let addr = messages::address(script);
        let new = NewPeer {
            addr,
            direction: Direction::Incoming,
            utp: how & 1 == 1,
            peer_id: PeerId([id; 20]),
            reserved: Reserved::OURS,
        };
        if let Ok(key) = self.torrent.handle_peer_connected(self.now, new, &mut self.out) {
            self.peers.insert(key, FakePeer { addr, supports: false, heeded: Vec::new() });
            self.look(None);
            let extensions =
                vec![("ut_holepunch".to_owned(), if how & 2 == 0 { THEIRS } else { 0 })];
            let port = (how & 4 == 0).then_some(7000);
            let said = ExtensionHandshake { extensions, port, ..ExtensionHandshake::default() };
            self.hear(key, Message::Extended { id: 0, payload: said.encode().into() });
        } else {
            self.look(None);
        }
    }

    fn say(&mut self, script: &mut Script<'_>, message: Message) {
        let at = script.below(16);
        if let Some(key) = self.peers.keys().nth(at % self.peers.len().max(1)).copied() {
            self.hear(key, message);
        }
    }

    fn hear(&mut self, key: PeerKey, message: Message) {
        if let (Message::Extended { id: 0, payload }, Some(peer)) =
            (&message, self.peers.get_mut(&key))
            && let Ok(said) = ExtensionHandshake::parse(payload)
            && let Some(id) = said.id_of("ut_holepunch").or_else(|| {
                let off =
                    said.extensions.iter().any(|(name, id)| name == "ut_holepunch" && *id == 0);
                off.then_some(0)
            })
        {
            peer.supports = id != 0;
        }
        let punches = matches!(&message, Message::Extended { id: OURS, .. });
        if let Message::Extended { id: OURS, payload } = &message
            && let Ok(HolepunchMessage::Error(addr, _)) = HolepunchMessage::parse(payload)
        {
            // Whoever was asked cannot help: somebody else may be asked at once.
            self.asked.remove(&addr);
        }
        self.torrent.handle_message(self.now, key, message, &mut self.out);
        self.look(Some((key, punches)));
    }

    fn dial_failed(&mut self, script: &mut Script<'_>) {
        if !self.dialling.is_empty() {
            let at = script.below(self.dialling.len());
            let addr = self.dialling.swap_remove(at);
            self.torrent.handle_dial_failed(self.now, addr, &mut self.out);
            self.look(None);
        }
    }

    /// Looks at what comes of an input; of which peer's word it comes, and whether that was of `ut_holepunch`.
    fn look(&mut self, cause: Option<(PeerKey, bool)>) {
        let effects: Vec<Effect> = self.out.drain().collect();
        let mut had_effect = false;
        for effect in effects {
            match effect {
                Effect::Punch(addr) => {
                    let (by, _) = cause.expect("somebody said so");
                    let from = self.peers[&by].addr;
                    assert!(
                        !is_near(addr.ip()) || is_local(from.ip()),
                        "{from} sends us to {addr}"
                    );
                    assert!(addr.port() != 0 && self.peers.values().all(|peer| peer.addr != addr));
                    had_effect = true;
                    self.dialling.push(addr);
                }
                Effect::Dial(addr) => self.dialling.push(addr),
                Effect::Disconnect(key, _) => {
                    self.peers.remove(&key);
                }
                Effect::Send(key, Message::Extended { payload, id }) if id != 0 => {
                    had_effect |= self.told(key, &payload, cause);
                }
                _ => {}
            }
        }
        if let Some((by, true)) = cause.filter(|_| had_effect)
            && let Some(peer) = self.peers.get_mut(&by)
        {
            peer.heeded.retain(|at| self.now.since(*at) < Duration::from_secs(30));
            peer.heeded.push(self.now);
            // The window moves in steps, so that two may meet.
            assert!(peer.heeded.len() <= 2 * HEEDED_A_MINUTE, "a flood is heeded");
        }
    }

    /// A message of an extension goes out. Whether it is one of `ut_holepunch`.
    fn told(&mut self, key: PeerKey, payload: &[u8], cause: Option<(PeerKey, bool)>) -> bool {
        let Ok(message) = HolepunchMessage::parse(payload) else { return false };
        if !self.peers.get(&key).is_some_and(|peer| peer.supports) {
            return false;
        }
        match message {
            HolepunchMessage::Rendezvous(addr) => {
                let before = self.asked.insert(addr, self.now);
                let again = before.map(|at| self.now.since(at));
                assert!(again.is_none_or(|pause| pause >= Duration::from_secs(120)), "{again:?}");
                false
            }
            HolepunchMessage::Connect(_) | HolepunchMessage::Error(..) => {
                assert!(cause.is_some_and(|(_, punches)| punches), "unasked: {message:?}");
                true
            }
        }
    }
}

/// Whether an address is of a network of one's own, as plainly as it can be said.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}
