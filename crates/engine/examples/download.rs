//! Downloads a torrent and says how far it is: `download FILE.torrent DIR [PEER]...`

use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{AddTorrent, Session, SessionConfig, State};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(dir)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: download FILE.torrent DIR [PEER]...");
    };
    let metainfo = Metainfo::parse(&std::fs::read(file)?)?;
    let peers = args.map(|peer| peer.parse()).collect::<Result<_, _>>()?;

    let session = Session::start(SessionConfig::default())?;
    let torrent = session.add(AddTorrent { peers, ..AddTorrent::new(metainfo, dir) }).await?;
    loop {
        let done = torrent.wait_until(|status| status.state == State::Seeding);
        let done = tokio::time::timeout(Duration::from_secs(1), done).await.is_ok();
        let status = torrent.status();
        let (have, wanted) = (status.stats.wanted_have_bytes, status.stats.wanted_bytes);
        println!(
            "{:?}: {have} of {wanted} bytes, {} bytes/s from {} peers",
            status.state, status.stats.down_rate, status.stats.peers
        );
        if done {
            break;
        }
    }
    session.shutdown().await;
    Ok(())
}
