//! Downloads what a link names and says how long each step took: `magnet LINK DIR [PEER]...`

use samara_engine::wire::magnet::Magnet;
use samara_engine::{AddTorrent, ResolveConfig, Session, SessionConfig, State};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(link), Some(dir)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: magnet LINK DIR [PEER]...");
    };
    let magnet: Magnet = link.parse()?;
    let peers = args.map(|peer| peer.parse()).collect::<Result<Vec<_>, _>>()?;

    let session = Session::start(SessionConfig::default())?;
    println!("begins at {:.6} s", SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64());
    let begun = Instant::now();
    let config = ResolveConfig { peers, stay: true, ..ResolveConfig::default() };
    let mut resolving = session.resolve(magnet, config);
    let found = resolving.outcome().await?;
    println!("metadata after {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    let add = AddTorrent { peers: found.peers, ..AddTorrent::new(found.metainfo, dir) };
    let torrent = session.add(add).await?;
    torrent.wait_until(|status| status.state == State::Seeding).await;
    println!("complete after {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    session.shutdown().await;
    Ok(())
}
