//! Owns the nodes: gives them datagrams, time and addresses, and carries out what they want.
//!
//! All of it is on the first shard's thread, so nothing here is locked: [`State`] is borrowed for one input at a time and never
//! while anything waits. After each input, what the nodes said is dealt with until they have no more to say.
//!
//! Torrents are announced with the port that peers reach by TCP, said outright: the source port of our datagrams, which
//! `implied_port` would have nodes take, is another one behind many NATs, and nothing accepts connections there.
//!
//! By way of a proxy nobody reaches us by TCP, and by uTP at the port that our datagrams come from, if the proxy lets them: that is
//! what is announced then, and without uTP nothing. The node lives in IPv4 alone, as it is not known whether a proxy has the other
//! family, and it has an id and a table of its own ([`keep`]).

use super::asks::{Asks, Request};
use super::calls::Calls;
use super::names::{Lookup, Names, split};
use super::seekers::Seekers;
use super::{DhtNodeStatus, DhtStatus, calls, keep, random_seed};
use crate::config::DhtConfig as Chosen;
use crate::discovery::FinderCommand;
use crate::shard::ShardEnv;
use crate::shared::Shared;
use crate::udp::{Receiver, Receivers, Sockets, Via};
use samara_dht::{Dht, DhtConfig, Effect, Event, Family, LookupId, Outbox, SavedTable};
use samara_swarm::torrent::PeerSource;
use samara_wire::id::WireHash;
use samara_wire::krpc::{AnnouncedPort, NodeInfo};
use samara_wire::time::{Duration, Instant};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::slice::Chunks;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_blocking;

/// With fewer nodes than this, a network is not yet joined well, and routers are asked.
const FEW: usize = 8;

/// With as many, nobody who may be a node is asked any more.
const PLENTY: usize = 64;

/// Time that what is known has to answer before routers are looked up: without, and with a table of an earlier run.
const GRACE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));

/// Pause before routers are looked up again, doubled each time.
const ROUTER_PAUSE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(300));

/// Nodes asked at the start whether they are there.
const MAX_FIRST: usize = 100;

/// Time between two saves of the tables.
const SAVE_INTERVAL: Duration = Duration::from_secs(300);

/// Repeated look-ups for torrents under way at a time, in each network.
const MAX_REPEATED: usize = 4;

/// The same in all, those counted that wait for a network to be joined.
const MAX_BESIDE: usize = 32;

/// Time between two exchanges of nodes between the two networks (BEP 32).
const EXCHANGE_INTERVAL: Duration = Duration::from_secs(60);

/// Nodes heeded of those that one answer names in the other network.
const MAX_OTHERS: usize = 8;

/// What a driver reads.
pub(crate) struct Inputs {
    pub(crate) commands: mpsc::UnboundedReceiver<FinderCommand>,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) sockets: Rc<Sockets>,
    /// Where its datagrams are asked for.
    pub(crate) receivers: Rc<Receivers>,
    pub(crate) lookup: Lookup,
}

/// See the module's head.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    state: RefCell<State>,
    /// A deadline may have changed.
    wake: Notify,
}

struct State {
    shared: Arc<Shared>,
    sockets: Rc<Sockets>,
    nodes: Vec<Node>,
    out: Outbox,
    /// What nodes said, by their index, that is yet to be dealt with.
    events: VecDeque<(usize, Event)>,
    seekers: Seekers,
    /// Repeated look-ups under way.
    repeated: BTreeSet<(usize, LookupId)>,
    asks: Asks,
    /// Who waits for another status than this one.
    watchers: Vec<(Box<DhtStatus>, oneshot::Sender<DhtStatus>)>,
    /// Names to be looked up.
    names: Vec<(String, u16)>,
    /// Names that are called by way of a proxy.
    calls: Calls,
    /// Routers that are names, and when they are looked up next.
    routers: Vec<(String, u16)>,
    routers_at: Option<Instant>,
    router_pause: Duration,
    save_at: Option<Instant>,
    /// The port that torrents were last announced with.
    announced_port: Option<AnnouncedPort>,
    /// When each node is told whom the other one knows, if there are two.
    exchange_at: Option<Instant>,
}

struct Node {
    dht: Dht,
    family: Family,
    joined: bool,
    /// Known from the start: those of an earlier run, and routers that are addresses.
    first: Vec<SocketAddr>,
}

/// Something for the nodes.
enum Input {
    Command(FinderCommand),
    Request(Request),
    /// Nodes may be there.
    Endpoints(Vec<SocketAddr>),
    /// Time has passed, perhaps.
    Time,
    /// The network is there again.
    Return,
}

/// Runs the nodes for as long as the shard lives.
pub(crate) async fn run(env: Rc<ShardEnv>, inputs: Inputs) {
    let Inputs { mut commands, mut requests, sockets, receivers, lookup } = inputs;
    let Some(chosen) = &env.shared.config.dht else { return };
    let saved = keep::load_both(&env.shared).await;
    let driver = match Driver::new(&env.shared, &sockets, chosen, saved) {
        Ok(driver) => Rc::new(driver),
        Err(error) => return tracing::error!(%error, "the DHT cannot be started"),
    };
    // Both are set once: here.
    let _ = receivers.krpc.set(Rc::clone(&driver) as Rc<dyn Receiver>);
    let _ = env.dht.set(Rc::clone(&driver));
    let mut names = Names::new(lookup);
    let mut open = driver.state.borrow().sockets.watch();
    let (mut was_away, mut started) = (false, false);
    loop {
        // Without sockets nothing is asked, so that nobody is taken for gone because of it.
        let is_away = !*open.borrow_and_update();
        let returns = std::mem::replace(&mut was_away, is_away) && !is_away;
        if !is_away && !std::mem::replace(&mut started, true) {
            driver.start();
        } else if returns {
            driver.handle(Input::Return);
        }
        if !is_away {
            driver.find_named(&mut names);
        }
        let deadline = driver.state.borrow().next_timeout(env.now());
        let input = tokio::select! {
            Some(command) = commands.recv(), if started => Input::Command(command),
            Some(request) = requests.recv() => Input::Request(request),
            addrs = names.next() => Input::Endpoints(addrs),
            () = driver.wake.notified(), if !is_away => Input::Time,
            () = tokio::time::sleep_until(env.shared.clock.to_tokio(deadline)), if !is_away => {
                Input::Time
            }
            // Does not fail while we have the sockets.
            Ok(()) = open.changed() => continue,
        };
        driver.handle(input);
        if driver.state.borrow_mut().is_save_due(env.now()) {
            let driver = Rc::clone(&driver);
            tokio::task::spawn_local(async move { driver.save().await });
        }
    }
}

impl Driver {
    fn new(
        shared: &Arc<Shared>,
        sockets: &Rc<Sockets>,
        chosen: &Chosen,
        saved: [Option<SavedTable>; 2],
    ) -> std::io::Result<Self> {
        let now = shared.clock.now();
        let (addrs, names) = split(&chosen.routers);
        // At an interface, addresses come and go.
        let has_family = |v4| match shared.carrier {
            Some(_) => v4,
            None => sockets.has_family(v4) || shared.network.is_at_interface(),
        };
        let both = has_family(true) && has_family(false);
        let mut nodes = Vec::new();
        let knows_some = saved.iter().flatten().any(|saved| !saved.nodes.is_empty());
        for (family, saved) in [Family::V4, Family::V6].into_iter().zip(saved) {
            if !has_family(family == Family::V4) {
                continue;
            }
            let routers: Vec<_> =
                addrs.iter().filter(|addr| family.is_of(addr.ip())).copied().collect();
            let known = saved.iter().flat_map(|saved| &saved.nodes).map(|node| node.addr);
            let first = routers.iter().copied().chain(known).take(MAX_FIRST).collect();
            let config = DhtConfig {
                saved,
                routers,
                read_only: chosen.read_only,
                want_other_family: both,
                ..DhtConfig::new(family, random_seed()?)
            };
            nodes.push(Node { dht: Dht::new(now, config), family, joined: false, first });
        }
        let grace = if knows_some { GRACE.1 } else { GRACE.0 };
        let state = State {
            shared: Arc::clone(shared),
            sockets: Rc::clone(sockets),
            nodes,
            out: Outbox::new(),
            events: VecDeque::new(),
            seekers: Seekers::default(),
            repeated: BTreeSet::new(),
            asks: Asks::default(),
            watchers: Vec::new(),
            names: Vec::new(),
            calls: Calls::default(),
            routers_at: (!names.is_empty()).then(|| now + grace),
            routers: names,
            announced_port: announced_port(shared),
            router_pause: ROUTER_PAUSE.0,
            exchange_at: both.then(|| now + EXCHANGE_INTERVAL),
            save_at: shared.config.state_dir.as_ref().map(|_| now + SAVE_INTERVAL),
        };
        Ok(Self { shared: Arc::clone(shared), state: RefCell::new(state), wake: Notify::new() })
    }

    fn start(&self) {
        let (mut state, now) = (self.state.borrow_mut(), self.shared.clock.now());
        for index in 0..state.nodes.len() {
            let Node { dht, family, .. } = &state.nodes[index];
            tracing::debug!(id = %dht.id(), ?family, "a node of the DHT starts");
            state.act(index, None, |dht, out| dht.handle_start(now, out));
            // All at once: a walk would wait for each that is gone.
            let first = std::mem::take(&mut state.nodes[index].first);
            state.act(index, None, |dht, out| dht.handle_endpoints(now, &first, out));
        }
        state.settle(now);
    }

    fn handle(&self, input: Input) {
        let (mut state, now) = (self.state.borrow_mut(), self.shared.clock.now());
        match input {
            Input::Command(command) => state.on_command(now, command),
            Input::Request(Request::Status(reply)) => {
                // Fails only if nobody waits.
                let _ = reply.send(state.status());
            }
            Input::Request(Request::Change(known, reply)) => state.watchers.push((known, reply)),
            Input::Request(Request::Ask(ask)) => state.asks.add(now, ask),
            Input::Endpoints(addrs) => state.try_endpoints(now, &addrs),
            Input::Time => state.on_time(now),
            Input::Return => state.on_return(now),
        }
        state.settle(now);
    }

    /// Has names of nodes looked up, or called where that is a proxy's to do.
    fn find_named(&self, names: &mut Names) {
        let (mut state, now) = (self.state.borrow_mut(), self.shared.clock.now());
        let wanted = std::mem::take(&mut state.names).into_iter();
        if self.shared.carrier.is_none() {
            return wanted.for_each(|(host, port)| names.look_up(host, port));
        }
        wanted.for_each(|(host, port)| state.calls.add(now, &host, port, calls::number()));
        let Some(id) = state.nodes.first().map(|node| node.dht.id()) else { return };
        let read_only = self.shared.config.dht.as_ref().is_some_and(|chosen| chosen.read_only);
        for (to, datagram) in state.calls.poll(now, id, read_only) {
            state.sockets.send_by_relay(&to, &datagram);
        }
    }

    /// Writes the tables to the state directory, if there is one.
    pub(crate) async fn save(&self) {
        let Some(dir) = self.shared.config.state_dir.clone() else { return };
        let tables = self.state.borrow().tables(self.shared.clock.now());
        let proxied = self.shared.carrier.is_some();
        let writing = spawn_blocking(move || {
            for (family, table) in tables {
                keep::save(&dir, family, proxied, &table);
            }
        });
        // An error is a panic in there, reported when it happened.
        let _ = writing.await;
    }
}

impl Receiver for Driver {
    fn receive(&self, via: Via, from: SocketAddr, datagrams: Chunks<'_, u8>) {
        let (mut state, now) = (self.state.borrow_mut(), self.shared.clock.now());
        let of = |node: &Node| node.family.is_of(from.ip());
        let Some(index) = state.nodes.iter().position(of) else { return };
        for datagram in datagrams {
            if state.calls.is_answer(datagram) {
                state.try_endpoints(now, &[from]);
            }
            let came = Some((via, from));
            state.act(index, came, |dht, out| dht.handle_packet(now, from, datagram, out));
            state.settle(now);
        }
    }

    fn batch_done(&self, _via: Via) {
        self.wake.notify_one();
    }
}

/// Where peers reach us, as nodes are told; `None` if they cannot.
fn announced_port(shared: &Shared) -> Option<AnnouncedPort> {
    match shared.carrier {
        Some(_) => shared.config.utp.then_some(AnnouncedPort::Implied),
        None => Some(AnnouncedPort::Explicit(shared.outer_port())),
    }
}

impl State {
    /// Has the node of this index do something, sends what it wants sent, and keeps what it says. An answer leaves by the
    /// socket that the question came by: from another address it would not be known for one.
    fn act<T>(
        &mut self,
        index: usize,
        came: Option<(Via, SocketAddr)>,
        what: impl FnOnce(&mut Dht, &mut Outbox) -> T,
    ) -> T {
        let result = what(&mut self.nodes[index].dht, &mut self.out);
        for effect in self.out.drain() {
            match effect {
                Effect::Send(to, datagram) => {
                    let via = came.filter(|(_, from)| *from == to).map(|(via, _)| via);
                    self.sockets.send(via, to, &datagram);
                }
                Effect::Event(event) => self.events.push_back((index, event)),
            }
        }
        result
    }

    /// Deals with what nodes said until they say no more.
    fn settle(&mut self, now: Instant) {
        self.begin_asks(now);
        while let Some((index, event)) = self.events.pop_front() {
            self.on_event(now, index, event);
            self.begin_asks(now);
        }
        let count: usize = self.nodes.iter().map(|node| node.dht.node_count()).sum();
        self.shared.dht_nodes.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.tell_watchers();
    }

    fn tell_watchers(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let status = self.status();
        for (_, reply) in self.watchers.extract_if(.., |(known, _)| **known != status) {
            // Fails only if nobody waits any more.
            let _ = reply.send(status.clone());
        }
        self.watchers.retain(|(_, reply)| !reply.is_closed());
    }

    fn on_command(&mut self, now: Instant, command: FinderCommand) {
        match command {
            FinderCommand::Seek { hash, seed } => {
                self.seekers.seek(now, hash, seed);
                for index in 0..self.nodes.len() {
                    let port = self.port_of(index);
                    if let Some(port) = port {
                        self.act(index, None, |dht, out| dht.announce(now, hash, port, seed, out));
                    }
                    if !seed && (!self.nodes[index].joined || port.is_none()) {
                        // The announce waits until the network is joined; who wants peers does not.
                        self.repeat(now, index, hash);
                    }
                }
            }
            FinderCommand::Withdraw(hash) => {
                self.seekers.withdraw(&hash);
                self.nodes.iter_mut().for_each(|node| node.dht.withdraw(&hash));
            }
            FinderCommand::Names(names) => {
                if self.nodes.iter().any(|node| node.dht.node_count() < PLENTY) {
                    self.names.extend(names);
                }
            }
            FinderCommand::Node(addr) => self.try_endpoints(now, &[addr]),
            FinderCommand::Outside(ip) => self.on_outside(now, ip),
            FinderCommand::Moved => {
                for index in 0..self.nodes.len() {
                    self.act(index, None, |dht, _| dht.handle_moved(now));
                }
                self.on_return(now);
            }
        }
    }

    /// The port by which peers reach us over the family of a node, if they do: what a gateway gave is for IPv4.
    fn port_of(&self, index: usize) -> Option<AnnouncedPort> {
        let port = self.announced_port?;
        let translated = port == AnnouncedPort::Implied || self.nodes[index].family == Family::V4;
        Some(if translated { port } else { AnnouncedPort::Explicit(self.shared.port()) })
    }

    /// A gateway has told our address, or has given another port.
    fn on_outside(&mut self, now: Instant, ip: Option<IpAddr>) {
        for index in 0..self.nodes.len() {
            if let Some(ip) = ip {
                self.act(index, None, |dht, out| dht.handle_external_ip(now, ip, out));
            }
        }
        let port = announced_port(&self.shared);
        if std::mem::replace(&mut self.announced_port, port) == port {
            return;
        }
        for (hash, seed) in self.seekers.all() {
            for index in 0..self.nodes.len() {
                if let Some(port) = self.port_of(index) {
                    self.act(index, None, |dht, out| dht.announce(now, hash, port, seed, out));
                }
            }
        }
    }

    /// There is a network again after there was none: others are asked whether they are there.
    fn on_return(&mut self, now: Instant) {
        self.routers_at = Some(now);
        self.router_pause = ROUTER_PAUSE.0;
        let routers = self.shared.config.dht.as_ref().map(|chosen| split(&chosen.routers).0);
        let routers = routers.unwrap_or_default();
        for index in 0..self.nodes.len() {
            let known = self.nodes[index].dht.save(now).nodes.into_iter().map(|node| node.addr);
            let addrs: Vec<_> = routers.iter().copied().chain(known).take(MAX_FIRST).collect();
            self.act(index, None, |dht, out| dht.handle_endpoints(now, &addrs, out));
        }
    }

    /// Asks who may be a node whether it is there.
    fn try_endpoints(&mut self, now: Instant, addrs: &[SocketAddr]) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].dht.node_count() < PLENTY {
                self.act(index, None, |dht, out| dht.handle_endpoints(now, addrs, out));
            }
        }
    }

    fn on_time(&mut self, now: Instant) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].dht.next_timeout().is_some_and(|at| at <= now) {
                self.act(index, None, |dht, out| dht.handle_timeout(now, out));
            }
        }
        self.asks.handle_timeout(now);
        while self.may_repeat()
            && let Some(hash) = self.seekers.poll(now)
        {
            (0..self.nodes.len()).for_each(|index| self.repeat(now, index, hash));
        }
        if self.exchange_at.is_some_and(|at| at <= now) {
            self.exchange_at = Some(now + EXCHANGE_INTERVAL);
            if let [one, other] = &mut self.nodes[..] {
                one.dht.handle_other_family(now, &other.dht.good_nodes(now));
                other.dht.handle_other_family(now, &one.dht.good_nodes(now));
            }
        }
        if self.routers_at.is_some_and(|at| at <= now) {
            self.routers_at = Some(now + self.router_pause);
            self.router_pause = (self.router_pause * 2).min(ROUTER_PAUSE.1);
            if self.nodes.iter().all(|node| node.dht.node_count() < FEW) {
                tracing::debug!(
                    routers = self.routers.len(),
                    "few nodes are known: asking routers"
                );
                self.names.extend(self.routers.iter().cloned());
            }
        }
    }

    /// Looks for peers, beside what the announces find.
    fn repeat(&mut self, now: Instant, index: usize, hash: WireHash) {
        if self.repeated.len() < MAX_BESIDE {
            let id = self.act(index, None, |dht, out| dht.lookup_peers(now, hash, out));
            self.repeated.insert((index, id));
        }
    }

    fn on_event(&mut self, now: Instant, index: usize, event: Event) {
        self.asks.on_event(index, &event);
        match event {
            Event::PeersFound { info_hash, peers, .. } => {
                tracing::debug!(hash = %info_hash, peers = peers.len(), "peers found in the DHT");
                self.shared.discovery.found(&info_hash, PeerSource::Dht, &peers);
            }
            Event::LookupDone { lookup, outcome } => {
                self.repeated.remove(&(index, lookup));
                self.seekers.found(&WireHash(outcome.target.0), outcome.peers);
                tracing::trace!(?outcome, "a look-up in the DHT has ended");
            }
            Event::Bootstrapped(nodes) => {
                let node = &mut self.nodes[index];
                if !std::mem::replace(&mut node.joined, true) {
                    tracing::info!(nodes, family = ?node.family, id = %node.dht.id(), "joined the DHT");
                }
                self.seekers.joined(now);
            }
            Event::ExternalAddress(ip) => {
                tracing::info!(%ip, "other nodes say that this is our address");
            }
            Event::OtherFamily(nodes) => self.on_other_family(now, index, &nodes),
            Event::ItemFound { .. } | Event::SamplesFound { .. } => {}
        }
    }

    /// The node of this index heard of nodes where the other one lives.
    fn on_other_family(&mut self, now: Instant, index: usize, nodes: &[NodeInfo]) {
        let addrs: Vec<_> = nodes.iter().map(|node| node.addr).take(MAX_OTHERS).collect();
        for other in (0..self.nodes.len()).filter(|&other| other != index) {
            if self.nodes[other].dht.node_count() < FEW {
                self.act(other, None, |dht, out| dht.handle_endpoints(now, &addrs, out));
            }
        }
    }

    /// Begins what was asked for, once somebody is known to ask.
    fn begin_asks(&mut self, now: Instant) {
        let knows_some = |node: &Node| node.dht.node_count() > 0;
        if !self.asks.any_waits() || !self.nodes.iter().any(knows_some) {
            return;
        }
        for mut open in self.asks.take_waiting() {
            let joined = (0..self.nodes.len()).filter(|&i| knows_some(&self.nodes[i]));
            let joined: Vec<_> = joined.collect();
            let begin =
                |&index: &usize| self.act(index, None, |dht, out| open.begin(index, dht, now, out));
            match joined.iter().try_for_each(begin) {
                Ok(()) => self.asks.put_back(open),
                Err(error) => open.end(Err(error)),
            }
        }
    }

    fn may_repeat(&self) -> bool {
        self.repeated.len() < MAX_REPEATED * self.nodes.len()
    }

    /// When [`State::on_time`] is to be called: soon at the earliest, so that nothing can make the loop spin.
    fn next_timeout(&self, now: Instant) -> Instant {
        let nodes = self.nodes.iter().map(|node| node.dht.next_timeout());
        let seekers = self.may_repeat().then(|| self.seekers.next_timeout()).flatten();
        let asks = self.asks.next_timeout();
        let calls = self.calls.next_timeout();
        let own = [seekers, asks, calls, self.routers_at, self.save_at, self.exchange_at];
        let next = nodes.chain(own).flatten().min();
        next.unwrap_or(now + SAVE_INTERVAL).max(now + Duration::from_millis(1))
    }

    fn is_save_due(&mut self, now: Instant) -> bool {
        let due = self.save_at.is_some_and(|at| at <= now);
        if due {
            self.save_at = Some(now + SAVE_INTERVAL);
        }
        due
    }

    /// What is to survive a restart. A table in which nobody is would only replace one that may be worth something.
    fn tables(&self, now: Instant) -> Vec<(Family, SavedTable)> {
        let tables = self.nodes.iter().map(|node| (node.family, node.dht.save(now)));
        tables.filter(|(_, table)| !table.nodes.is_empty()).collect()
    }

    fn status(&self) -> DhtStatus {
        let of = |family| {
            let node = self.nodes.iter().find(|node| node.family == family)?;
            Some(DhtNodeStatus {
                id: node.dht.id(),
                nodes: node.dht.node_count(),
                joined: node.joined,
                external_ip: node.dht.external_ip(),
            })
        };
        DhtStatus {
            v4: of(Family::V4),
            v6: of(Family::V6),
            lookups: self.asks.lookups() + self.repeated.len(),
            announced: self.seekers.len(),
        }
    }
}
