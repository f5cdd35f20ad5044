//! A shard: one thread with an event loop that owns some of the session's torrents.
//!
//! Nothing on it blocks and nothing of it is shared with other shards but what [`crate::shared`] holds.

use crate::command::{ShardCommand, TorrentId};
use crate::dht;
use crate::discovery::{self, FinderInputs};
use crate::greet::Incoming;
use crate::limits;
use crate::listen::{self, Listeners};
use crate::mapping::{self, Mappers};
use crate::network;
use crate::network::Move;
use crate::peer::{MAX_AHEAD, STAGING};
use crate::resolve;
use crate::session::random_peer_id;
use crate::shared::Shared;
use crate::shell::TorrentShell;
use crate::timers::{self, Timers};
use crate::torrent::TorrentShared;
use crate::tracker::TrackerClient;
use crate::udp::{Receivers, Sockets};
use crate::utp::{self, Arrival};
use samara_disk::BlockBuf;
use samara_wire::time::Instant;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};

/// Threads for the few calls that block: resume data, name look-ups.
const MAX_BLOCKING_THREADS: usize = 8;

/// Torrents that look at a time for what is there.
const MAX_STARTS: usize = 32;

/// Time for all torrents to stop in.
const STOP_TIMEOUT: Duration = Duration::from_millis(1800);

/// What the tasks of a shard share.
pub(crate) struct ShardEnv {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tx: mpsc::UnboundedSender<ShardCommand>,
    /// Block buffers for reading ahead; see `peer::reader`.
    pub(crate) spares: Cell<Vec<BlockBuf>>,
    /// Where bytes are read to that are decoded at once.
    staging: Cell<Vec<u8>>,
    torrents: RefCell<BTreeMap<TorrentId, Rc<TorrentShell>>>,
    /// When the torrents want to be called.
    pub(crate) timers: Timers,
    /// Places for torrents that look for what is there: thousands added together would crowd out all else.
    pub(crate) starts: Semaphore,
    /// Made with the first announce, as it is not light, and anew when the network has changed.
    pub(crate) trackers: RefCell<Option<TrackerClient>>,
    /// Of the first shard, once it runs.
    pub(crate) dht: OnceCell<Rc<dht::Driver>>,
    /// Of the first shard, if gateways are asked for a port.
    mappers: RefCell<Option<Mappers>>,
    /// Tells connections that wait for block buffers that some may be free.
    pub(crate) relief: Notify,
    /// Writes to the state directory that nobody waits for but the end.
    chores: RefCell<Vec<JoinHandle<()>>>,
    /// All torrents have stopped.
    ended: Notify,
}

/// What one shard does for all.
pub(crate) struct ShardInputs {
    pub(crate) listeners: Listeners,
    /// Connections that peers open by uTP.
    pub(crate) arrivals: mpsc::UnboundedReceiver<Arrival>,
    pub(crate) finders: FinderInputs,
    pub(crate) dht_requests: mpsc::UnboundedReceiver<dht::Request>,
    pub(crate) lookup: dht::Lookup,
}

/// Starts a shard's thread; it ends when told to shut down.
pub(crate) fn spawn(
    index: usize,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<ShardCommand>,
    inputs: Option<ShardInputs>,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(2))
        .build()?;
    thread::Builder::new().name(format!("samara-net-{index}")).spawn(move || {
        let tx = shared.shards[index].clone();
        let env = Rc::new(ShardEnv {
            index,
            shared,
            tx,
            spares: Cell::default(),
            staging: Cell::default(),
            torrents: RefCell::default(),
            timers: Timers::default(),
            starts: Semaphore::new(MAX_STARTS),
            trackers: RefCell::default(),
            dht: OnceCell::new(),
            mappers: RefCell::default(),
            relief: Notify::new(),
            chores: RefCell::default(),
            ended: Notify::new(),
        });
        LocalSet::new().block_on(&runtime, run(env, commands, inputs));
        // A name look-up that hangs must not hold up the end.
        runtime.shutdown_background();
    })
}

async fn run(
    env: Rc<ShardEnv>,
    mut commands: mpsc::UnboundedReceiver<ShardCommand>,
    inputs: Option<ShardInputs>,
) {
    tokio::task::spawn_local(timers::run(Rc::clone(&env)));
    if let Some(inputs) = inputs {
        begin(&env, inputs);
    }
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => handle(&env, command),
                None => break,
            },
            () = env.ended.notified() => break,
        }
    }
    if env.index == 0 {
        env.shared.hubs.close();
    }
    // Each of them holds the shard.
    env.torrents.take();
}

/// Begins what one shard does for all.
fn begin(env: &Rc<ShardEnv>, inputs: ShardInputs) {
    let ShardInputs { mut listeners, arrivals, mut finders, dht_requests: requests, lookup } =
        inputs;
    let receivers = Rc::<Receivers>::default();
    let sockets = Rc::new(Sockets::new(Rc::clone(&receivers)));
    if let Some(carrier) = &env.shared.carrier {
        // Set once: here.
        let _ = receivers.trackers.set(Arc::clone(carrier));
    }
    let datagrams = std::mem::take(&mut listeners.datagrams);
    if let Err(error) = utp::begin(&env.shared, &receivers, &sockets, datagrams) {
        tracing::error!(%error, "nothing is sent or received by UDP");
    }
    tokio::task::spawn_local(network::run(Rc::clone(env)));
    tokio::task::spawn_local(listen::run(Rc::clone(env), listeners, Rc::clone(&sockets), arrivals));
    *env.mappers.borrow_mut() = mapping::start(env);
    if let Some(commands) = finders.dht.take() {
        let inputs = dht::Inputs { commands, requests, sockets, receivers, lookup };
        tokio::task::spawn_local(dht::run(Rc::clone(env), inputs));
    }
    discovery::run(env, finders);
    tokio::task::spawn_local(limits::run(Arc::clone(&env.shared.limits)));
}

fn handle(env: &Rc<ShardEnv>, command: ShardCommand) {
    match command {
        ShardCommand::Add(add, shared) => {
            let id = shared.id;
            let shell = TorrentShell::start(env, *add, shared);
            env.torrents.borrow_mut().insert(id, shell);
        }
        ShardCommand::Torrent(id, command) => {
            if let Some(shell) = env.torrent(id) {
                shell.handle_command(command);
            }
        }
        ShardCommand::Disk(id, done) => {
            if let Some(shell) = env.torrent(id) {
                shell.handle_disk(done);
            }
        }
        ShardCommand::Incoming(id, incoming) => env.accept(id, incoming),
        ShardCommand::Resolve(job) => {
            tokio::task::spawn_local(resolve::run(Rc::clone(env), *job));
        }
        ShardCommand::Outside(ip) => env.each(|shell| shell.handle_outside(ip)),
        ShardCommand::Network(lost) => env.each(|shell| shell.handle_network(lost.clone())),
        ShardCommand::Moved(moved) => {
            // Connections to trackers, and what they know us by there, are those of the old address.
            env.trackers.take();
            env.each(|shell| shell.handle_moved(&moved));
        }
        ShardCommand::FilterChanged => env.each(|shell| shell.leave_blocked()),
        ShardCommand::Shutdown(done) => {
            tokio::task::spawn_local(stop_all(Rc::clone(env), done));
        }
    }
}

/// Stops all torrents, then ends the shard.
async fn stop_all(env: Rc<ShardEnv>, done: oneshot::Sender<()>) {
    let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
    let shells: Vec<_> = env.torrents.borrow().values().cloned().collect();
    let mut stopping: Vec<_> = shells
        .into_iter()
        .map(|shell| tokio::task::spawn_local(async move { shell.stop(deadline).await }))
        .collect();
    if let Some(dht) = env.dht.get().cloned() {
        stopping.push(tokio::task::spawn_local(async move { dht.save().await }));
    }
    stopping.append(&mut env.chores.take());
    if let Some(mappers) = env.mappers.take() {
        stopping.push(tokio::task::spawn_local(mappers.stop()));
    }
    for stop in &mut stopping {
        // An error is a panic, reported when it happened.
        let _ = tokio::time::timeout_at(deadline, stop).await;
    }
    // Fails only if nobody waits: the last handle was dropped.
    let _ = done.send(());
    env.ended.notify_one();
}

impl ShardEnv {
    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// Tells all shards, and what finds peers, that we are at other addresses than before.
    pub(crate) fn tell_moved(&self, moved: Move) {
        tracing::info!(gone = ?moved.gone, announce = moved.announce, "our addresses have changed");
        if moved.announce {
            self.shared.discovery.moved();
        }
        if !moved.gone.is_empty() {
            // Peers may go on believing in the connections that are lost, and would take us for a second one of the same name.
            self.shared.set_peer_id(random_peer_id());
        }
        let moved = Arc::new(moved);
        for shard in &self.shared.shards {
            // Fails only at the end.
            let _ = shard.send(ShardCommand::Moved(Arc::clone(&moved)));
        }
    }

    fn each(&self, tell: impl Fn(&Rc<TorrentShell>)) {
        let shells: Vec<_> = self.torrents.borrow().values().cloned().collect();
        shells.iter().for_each(tell);
    }

    pub(crate) fn torrent(&self, id: TorrentId) -> Option<Rc<TorrentShell>> {
        self.torrents.borrow().get(&id).cloned()
    }

    /// Has `work`, which blocks for a moment, done beside the loop. The end of the session waits for it.
    pub(crate) fn do_beside(&self, work: impl FnOnce() + Send + 'static) {
        let mut chores = self.chores.borrow_mut();
        chores.retain(|chore| !chore.is_finished());
        chores.push(tokio::task::spawn_blocking(work));
    }

    /// Forgets a torrent that has stopped.
    pub(crate) fn forget(&self, id: TorrentId) {
        self.torrents.borrow_mut().remove(&id);
    }

    /// Gives a newcomer to the shard of the torrent it named.
    pub(crate) fn hand_over(&self, torrent: &TorrentShared, incoming: Incoming) {
        if torrent.shard_index == self.index {
            self.accept(torrent.id, incoming);
        } else {
            // Fails only at shutdown; the connection closes.
            let _ = torrent.shard.send(ShardCommand::Incoming(torrent.id, incoming));
        }
    }

    fn accept(&self, id: TorrentId, incoming: Incoming) {
        if let Some(shell) = self.torrent(id) {
            shell.handle_incoming(incoming);
        }
    }

    /// Whether block buffers are exhausted. Then nothing more is read: with little delay, even the one or two
    /// blocks that every peer is always asked for come faster than a disk writes.
    pub(crate) fn out_of_buffers(&self) -> bool {
        self.shared.disk.pool().free_bytes() == 0
    }

    /// A block buffer whose content means nothing, to be given back soon.
    pub(crate) fn take_spare(&self) -> BlockBuf {
        let mut spares = self.spares.take();
        let spare = spares.pop().unwrap_or_else(|| self.shared.disk.pool().take());
        self.spares.set(spares);
        spare
    }

    /// [`STAGING`] bytes whose content means nothing, to be given back soon.
    pub(crate) fn take_staging(&self) -> Vec<u8> {
        let mut staging = self.staging.take();
        staging.resize(STAGING, 0);
        staging
    }

    pub(crate) fn give_staging(&self, staging: Vec<u8>) {
        // One that has grown for a long message goes.
        if staging.len() == STAGING {
            self.staging.set(staging);
        }
    }

    pub(crate) fn give_spare(&self, spare: BlockBuf) {
        let mut spares = self.spares.take();
        spares.push(spare);
        spares.truncate(MAX_AHEAD);
        self.spares.set(spares);
    }
}
