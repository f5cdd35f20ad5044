//! The beginning of a torrent: finds out what is there, and starts the core.
//!
//! Data is trusted where resume data vouches for it and the file is the one it speaks of; other data that is
//! there is hashed. Nothing is written before that is known.

use super::life::{Life, PUBLISH_INTERVAL};
use super::plan::Plan;
use super::{Live, Options, TorrentShell};
use crate::config::{AddTorrent, Existing};
use crate::listen;
use crate::resume::ResumeData;
use crate::shard::ShardEnv;
use crate::timers::Armed;
use crate::torrent::TorrentShared;
use samara_disk::{CheckOutcome, StorageError};
use samara_swarm::{Outbox, Torrent, TorrentConfig};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{FileIndex, PieceIndex};
use samara_wire::time::Duration;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::sleep;

/// How long a torrent that looks for what is there holds up others.
const TURN: Duration = Duration::from_millis(250);

/// Priority of pieces that are wanted like all others.
const NORMAL: u8 = 4;

/// What is known to be on disk.
pub(super) struct Found {
    have: Bitfield,
    partial: Vec<(PieceIndex, Bitfield)>,
    /// Whether resume data says just that, or none is to be kept.
    recorded: bool,
    /// What the record claims, be it true or not.
    claimed: Bitfield,
    /// Whether there is a record, and whether it says that nothing was written after it.
    record: Option<bool>,
}

impl TorrentShell {
    /// Makes the shell of a torrent and sets it going.
    pub(crate) fn start(
        env: &Rc<ShardEnv>,
        add: AddTorrent,
        shared: Arc<TorrentShared>,
    ) -> Rc<Self> {
        let info = add.metainfo.info;
        let disk = &env.shared.disk;
        let store = match add.storage {
            Some(storage) => disk.open_with(info, storage.0),
            None => disk.open(info, add.dir),
        };
        let options = Options {
            files: add.files,
            sequential: add.sequential,
            super_seeding: add.super_seeding,
            upload_only: add.upload_only,
            existing: add.existing,
            announce: add.announce,
            seek: add.seek,
        };
        let life = RefCell::new(Life::new(add.paused, add.peers));
        let (env, live) = (Rc::clone(env), RefCell::new(None));
        let (armed, changed) = (Armed::default(), Notify::new());
        let record_turn = OnceCell::new();
        let shell =
            Rc::new(Self { env, shared, store, options, live, life, armed, changed, record_turn });
        let binding = shell.env.shared.network.binding();
        if binding.is_away() {
            shell.life.borrow_mut().offline = Some(listen::away(&binding));
        }
        let starting = Rc::clone(&shell);
        spawn_local(async move { starting.begin().await });
        shell
    }

    /// Looks until it is known what is there, prepares the files, starts the core.
    async fn begin(self: Rc<Self>) {
        let found = loop {
            match self.look_in_turn().await {
                Ok(found) => break found,
                Err(error) => self.pause_for(&error).await,
            }
            if self.life.borrow().stopping {
                return;
            }
        };
        while self.options.existing != Existing::Trust && !self.life.borrow().stopping {
            let wanted = self.wanted_files();
            match job(|reply| self.store.prepare(wanted, reply)).await {
                // Data that is all there may well stand where nothing can be created.
                Err(error) if !found.have.is_full() => self.pause_for(&error).await,
                Ok(()) | Err(_) => break,
            }
        }
        self.open_record(&found).await;
        if !self.life.borrow().stopping {
            self.go_live(found);
        }
    }

    /// Before anything is written, the record must not say any more that nothing was written after it.
    async fn open_record(&self, found: &Found) {
        let Some(ended) = found.record.filter(|_| !found.have.is_full()) else { return };
        self.life.borrow_mut().record_open = true;
        if let Some(record) = self.record().filter(|_| ended) {
            let _turn = self.record_turn().lock().await;
            let opened = spawn_blocking(move || record.amend(|data| data.ended = false)).await;
            if let Ok(Err(error)) = opened {
                // As long as nothing can be written there, no other record comes either, and this one claims what is durable.
                tracing::warn!(torrent = %self.shared.hashes.wire(), %error, "cannot write resume data");
            }
        }
    }

    /// Tells of trouble and waits until it is time to try again.
    pub(super) async fn pause_for(&self, error: &StorageError) {
        self.fail(error);
        self.publish_now();
        let wait = self.life.borrow().retry_at.map(|at| self.env.shared.clock.to_tokio(at));
        if let Some(at) = wait {
            tokio::time::sleep_until(at).await;
        }
        self.life.borrow_mut().retry_at = None;
    }

    /// Finds out what is there, with few others at a time.
    async fn look_in_turn(self: &Rc<Self>) -> Result<Found, StorageError> {
        let turn = self.env.starts.acquire().await;
        // In a box, so that the thousands that may wait for their turn hold little.
        let mut look = Box::pin(self.look());
        tokio::select! {
            found = &mut look => return found,
            // It checks, or its device stalls: that is no reason for others to wait.
            () = sleep(TURN) => drop(turn),
        }
        look.await
    }

    /// Finds out what is there.
    async fn look(self: &Rc<Self>) -> Result<Found, StorageError> {
        let count = self.layout().count();
        if self.options.existing == Existing::Trust {
            // So that changes from now on are noticed. What cannot be looked at shows when it is read.
            let _ = job(|reply| self.store.identities(reply)).await;
            let (have, claimed) = (Bitfield::full(count), Bitfield::empty(count));
            return Ok(Found { have, partial: Vec::new(), recorded: true, claimed, record: None });
        }
        let files = job(|reply| self.store.identities(reply)).await?;
        let resume = self.load_resume().await;
        self.adopt_trackers(resume.as_ref());
        let record = resume.as_ref().map(|resume| resume.ended);
        let claimed = resume.as_ref().map_or_else(|| Bitfield::empty(count), |r| r.have.clone());
        let resume = resume.filter(|_| self.options.existing == Existing::Resume);
        let info = &self.shared.metainfo.info;
        let plan = Plan::new(info, &files, resume.as_ref());
        let Plan { mut have, mut check, unclaimed, partial } = plan;
        if !unclaimed.is_empty() {
            let with_data = job(|reply| self.store.with_data(unclaimed, reply)).await?;
            with_data.iter().for_each(|piece| _ = check.insert(piece));
        }
        let recorded = check.is_empty() && resume.is_some_and(|resume| resume.files == files);
        if !check.is_empty() {
            tracing::debug!(torrent = %self.shared.hashes.wire(), pieces = check.count(), "checking");
            let good = self.check(check).await?.good;
            // It may have been read from memory, and whoever wrote it may have been killed.
            job(|reply| self.store.sync_found(&good, reply)).await?;
            for piece in good.iter() {
                have.insert(piece);
            }
        }
        let partial = partial.into_iter().filter(|(piece, _)| !have.has(*piece)).collect();
        Ok(Found { have, partial, recorded, claimed, record })
    }

    pub(super) async fn check(&self, pieces: Bitfield) -> Result<CheckOutcome, StorageError> {
        let progress = Arc::clone(&self.life.borrow().progress);
        let checked = job(|reply| self.store.check(Some(pieces), progress, reply));
        tokio::pin!(checked);
        loop {
            tokio::select! {
                outcome = &mut checked => return outcome,
                () = sleep(PUBLISH_INTERVAL) => self.publish_now(),
            }
        }
    }

    async fn load_resume(&self) -> Option<ResumeData> {
        let record = self.record()?;
        // An error is a panic in there, reported when it happened; without resume data all is checked.
        spawn_blocking(move || record.load()).await.ok().flatten()
    }

    /// A bit for each file, if not all are wanted.
    fn wanted_files(&self) -> Option<Bitfield> {
        let wanted = self.options.files.as_ref()?;
        let count = self.shared.metainfo.info.files().len();
        let mut set = Bitfield::empty(u32::try_from(count).unwrap_or(u32::MAX));
        for &file in wanted.iter().filter(|&&file| file < count) {
            set.insert(PieceIndex(u32::try_from(file).unwrap_or(u32::MAX)));
        }
        Some(set)
    }

    /// A priority for each piece, if not all files are wanted.
    fn priorities(&self) -> Option<Vec<u8>> {
        let wanted = self.options.files.as_ref()?;
        let info = &self.shared.metainfo.info;
        let mut priorities = vec![0; self.layout().count() as usize];
        for &file in wanted {
            let file = FileIndex(u32::try_from(file).unwrap_or(u32::MAX));
            for piece in info.pieces_of_file(file) {
                priorities[piece as usize] = NORMAL;
            }
        }
        Some(priorities)
    }

    fn core_config(&self) -> TorrentConfig {
        let shared = &self.env.shared;
        let metainfo = &self.shared.metainfo;
        TorrentConfig {
            seed: crate::tracker::unguessable(),
            peer_id: shared.peer_id(),
            key: shared.key,
            listen_port: shared.port(),
            outer_port: Some(shared.outer_port()),
            max_peers: shared.config.max_peers_per_torrent,
            private: metainfo.info.is_private(),
            super_seeding: self.options.super_seeding,
            sequential: self.options.sequential,
            seek: self.options.seek && shared.discovery.has_finders(),
            dht_port: shared.dht_port(),
            holepunch: shared.config.utp,
            trackers: self.tracker_tiers(),
            ..TorrentConfig::default()
        }
    }

    fn go_live(self: &Rc<Self>, found: Found) {
        let now = self.env.now();
        let layout = self.layout().clone();
        let mut core =
            Torrent::new(now, self.core_config(), self.shared.hashes, layout, found.have);
        if let Some(priorities) = self.priorities() {
            // Nobody is connected and nothing is started: all that could come out is that it is complete.
            core.set_priorities(now, &priorities, &mut Outbox::new());
        }
        core.set_metadata(self.shared.metainfo.info.clone());
        let complete = core.is_complete();
        let mut live = Live::new(core, found.claimed);
        for (piece, set) in &found.partial {
            let blocks = set.iter().filter_map(|index| self.layout().block(*piece, index.0));
            blocks.for_each(|block| live.pieces.found(block));
            live.core.handle_partial_found(*piece, set, &mut live.out);
        }
        *self.live.borrow_mut() = Some(live);
        {
            let mut life = self.life.borrow_mut();
            life.checking = false;
            life.renew(now);
            life.recover();
            // What was found was synced, now or by the run before. If that took a check, it is
            // recorded all the same, so that it need not be checked again.
            life.durable = complete;
            if !found.recorded {
                life.save_at = Some(now);
            }
        }
        if !self.life.borrow().paused && self.life.borrow().offline.is_none() {
            self.with_live(|live, now| live.core.handle_start(now, &mut live.out));
        }
        self.take_in_early();
        self.publish_now();
        self.wake();
    }
}

/// Submits a disk job and waits for its outcome.
pub(super) async fn job<T: Send + 'static>(
    submit: impl FnOnce(samara_disk::Reply<Result<T, StorageError>>),
) -> Result<T, StorageError> {
    let (answer, answered) = oneshot::channel();
    submit(Box::new(move |outcome| {
        // Fails only if the torrent has stopped and waits no more.
        let _ = answer.send(outcome);
    }));
    answered.await.unwrap_or_else(|_| {
        let gone = std::io::Error::other("the disk subsystem has ended");
        Err(StorageError::new("reach", &"the storage", &gone))
    })
}
