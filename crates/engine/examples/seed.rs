//! Checks what is there and seeds it until Ctrl-C: `seed FILE.torrent DIR [PORT]`

use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{AddTorrent, Existing, Session, SessionConfig, State};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(dir)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: seed FILE.torrent DIR [PORT]");
    };
    let metainfo = Metainfo::parse(&std::fs::read(file)?)?;
    let port = args.next().map_or(Ok(0), |port| port.parse())?;

    let session = Session::start(SessionConfig { port, ..SessionConfig::default() })?;
    let add = AddTorrent { existing: Existing::Check, ..AddTorrent::new(metainfo, dir) };
    let torrent = session.add(add).await?;
    let status = torrent.wait_until(|status| status.state != State::Checking).await;
    println!("{:?} on port {}", status.state, session.port());

    tokio::signal::ctrl_c().await?;
    session.shutdown().await;
    println!("{} bytes sent", torrent.status().stats.uploaded);
    Ok(())
}
