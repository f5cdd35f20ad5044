//! One magnet link from beginning to end: what is kept of it, what is fetched, what comes of it.

use super::driver::{Driver, LOOK_UP, look_up, tiers};
use super::{Job, ResolveError, Resolved, cache};
use crate::shard::ShardEnv;
use samara_wire::magnet::Magnet;
use samara_wire::metainfo::{Info, Metainfo, MetainfoError};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use tokio::task::{spawn_blocking, spawn_local};

/// Resolves a link and tells what came of it. Ends early when nobody waits any more.
pub(crate) async fn run(env: Rc<ShardEnv>, job: Job) {
    let Job { magnet, config, status, mut outcome } = job;
    let kept = match load(&env, &magnet, config.layers).await.transpose() {
        Ok(kept) => kept,
        Err(error) => {
            // Fails only if nobody waits.
            let _ = outcome.send(Err(error.into()));
            return;
        }
    };
    if let Some(info) = kept.as_ref().filter(|info| !lacks_layers(info, config.layers)) {
        // Nobody was met, so that those whom the link names are still to be tried.
        let binding = env.shared.network.binding();
        let looked_up = tokio::time::timeout(LOOK_UP, look_up(&magnet.peers, &binding)).await;
        let peers = looked_up.unwrap_or_default();
        let _ = outcome.send(Ok(resolved(&magnet, info.clone(), peers, true)));
        return;
    }
    let named = !(magnet.trackers.is_empty() && magnet.peers.is_empty() && config.peers.is_empty());
    if !named && !env.shared.has_finders().await {
        let _ = outcome.send(Err(ResolveError::NobodyToAsk));
        return;
    }
    let timeout = config.timeout;
    let mut driver = Driver::new(Rc::clone(&env), &magnet, &config);
    let found = tokio::select! {
        info = driver.fetch(&magnet, kept, config.layers, &status) => Some(info),
        () = tokio::time::sleep(timeout) => None,
        () = outcome.closed() => {
            spawn_local(driver.goodbye());
            return;
        }
    };
    let last = driver.status();
    status.send_replace(last.clone());
    let peers = driver.take_peers();
    if config.stay && matches!(found, Some(Ok(_))) {
        driver.make_way().await;
    } else {
        driver.goodbye().await;
    }
    let _ = outcome.send(match found {
        Some(info) => info.map(|info| resolved(&magnet, info, peers, false)),
        None => Err(ResolveError::Timeout { timeout, status: Box::new(last) }),
    });
}

/// Whether piece layers are to be fetched: a v2 torrent cannot be checked without, a hybrid one cannot be written to a
/// file.
pub(super) fn lacks_layers(info: &Info, wanted: bool) -> bool {
    !info.has_piece_layers() && (wanted || !info.has_all_hashes())
}

/// What is kept of the torrent: its info dictionary, and its piece layers if they are needed and there.
async fn load(
    env: &ShardEnv,
    magnet: &Magnet,
    layers: bool,
) -> Option<Result<Info, MetainfoError>> {
    let (dir, hashes) = (env.shared.config.state_dir.clone()?, magnet.hashes);
    let load = move || {
        let raw = cache::load(&dir, &hashes)?;
        let info = Info::parse(&raw);
        let whole = info.as_ref().ok().filter(|info| lacks_layers(info, layers));
        let whole = whole.and_then(|info| cache::load_layers(&dir, info));
        Some(whole.map_or(info, Ok))
    };
    // An error is a panic in there, reported when it happened.
    spawn_blocking(load).await.ok().flatten()
}

/// Has `work` done with the state directory, if there is one. The download does not wait for it.
pub(super) fn keep(env: &ShardEnv, work: impl FnOnce(&Path) + Send + 'static) {
    if let Some(dir) = env.shared.config.state_dir.clone() {
        env.do_beside(move || work(&dir));
    }
}

/// The torrent, from its info dictionary and the hints of the link.
fn resolved(magnet: &Magnet, info: Info, peers: Vec<SocketAddr>, from_cache: bool) -> Resolved {
    let metainfo = Metainfo {
        info,
        trackers: tiers(magnet),
        web_seeds: magnet.web_seeds.clone(),
        http_seeds: Vec::new(),
        nodes: Vec::new(),
        creation_date: None,
        created_by: None,
        comment: None,
    };
    Resolved { metainfo, peers, from_cache }
}
