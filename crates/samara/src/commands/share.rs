//! `samara share`: create, track and seed, and say what to type elsewhere.

use super::create::{self, CREATED_BY};
use super::job::{Goal, Job};
use super::{Context, drive, magnet, runtime, session};
use crate::args::ShareArgs;
use crate::exit::{Exit, Failure, said};
use crate::output::{Output, clean};
use crate::settings::Settings;
use crate::signals::Signals;
use samara_engine::create::{CreateConfig, Created};
use samara_engine::tracker_server::{TrackerServer, TrackerServerConfig};
use samara_engine::{AddTorrent, Existing};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The port trackers usually have; another is taken if it is in use and none was asked for.
const USUAL_TRACKER_PORT: u16 = 6969;

/// Peers of a small private tracker may ask often: newcomers then find each other at once.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(120);

/// A path to be shared.
struct Shared {
    created: Created,
    /// The directory that holds it.
    dir: PathBuf,
    /// Name of its `.torrent` on the tracker.
    file_name: String,
}

/// Shares until told to stop.
pub(crate) fn run(args: &ShareArgs, context: &Context) -> Result<Exit, Failure> {
    let (out, settings) = (context.out, &context.loaded.settings);
    if settings.proxy.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "nobody could come through a proxy to what is shared",
        )
        .hint("share without one: --proxy none"));
    }
    let bind = session::bind(&args.network.bind, settings);
    let addresses = session::addresses(bind)?;
    let host = match &args.host {
        Some(host) => bracketed(host),
        None if bind.is_empty() => bracketed(&local_address().to_string()),
        None => bracketed(&addresses[0].to_string()),
    };
    let port = free_port(addresses[0], args.tracker_port)?;
    let base = format!("{host}:{port}");
    let mut shared = Vec::new();
    let mut names = BTreeSet::new();
    for path in &args.paths {
        shared.push(prepare(path, &base, &mut names, out)?);
    }
    save(args, &shared)?;
    let tracker = TrackerServer::start(TrackerServerConfig {
        bind: addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
        interval: ANNOUNCE_INTERVAL,
        allow: shared.iter().map(|s| s.created.metainfo.info.hashes().wire()).collect(),
        files: shared.iter().map(|s| (s.file_name.clone(), s.created.bytes.clone())).collect(),
    })
    .map_err(|e| no_tracker(port, &e))?;
    let ended = runtime()?.block_on(seed(args, settings, &shared, &base, out));
    tracker.shutdown();
    ended
}

async fn seed(
    args: &ShareArgs,
    settings: &Settings,
    shared: &[Shared],
    base: &str,
    out: Output,
) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let session = session::start(&args.network, settings, false, out).await?;
    let mut jobs = Vec::new();
    for one in shared {
        let metainfo = &one.created.metainfo;
        // Hashed a moment ago.
        let add = AddTorrent {
            existing: Existing::Trust,
            upload_only: true,
            ..AddTorrent::new(metainfo.clone(), &one.dir)
        };
        let torrent = session.add(add).await.map_err(|e| session::not_added(&metainfo.info, &e))?;
        jobs.push(Job::new(torrent, None, Goal::Forever));
    }
    let torrents: Vec<_> = jobs.iter().map(|job| job.torrent.clone()).collect();
    session::announce(&session, &torrents, out)?;
    for one in shared {
        tell(one, base, out)?;
    }
    out.note(out.err_style.dim("Sharing until Ctrl-C."));
    drive::run(&session, &mut jobs, None, &mut signals, out).await
}

/// Creates the torrent of one path.
fn prepare(
    path: &Path,
    base: &str,
    names: &mut BTreeSet<String>,
    out: Output,
) -> Result<Shared, Failure> {
    let full =
        path.canonicalize().map_err(|e| Failure { hint: None, ..Failure::io("read", path, &e) })?;
    let no_parent = || Failure::new(Exit::Usage, "the root directory cannot be shared");
    let dir = full.parent().ok_or_else(no_parent)?.to_owned();
    let config = CreateConfig {
        trackers: vec![format!("http://{base}/announce"), format!("udp://{base}/announce")],
        created_by: Some(CREATED_BY.to_owned()),
        ..CreateConfig::default()
    };
    let created = create::hash(&full, &config, out)?;
    let plain = url_name(created.metainfo.info.name());
    let file_name = (1u32..)
        .map(|n| if n == 1 { format!("{plain}.torrent") } else { format!("{plain}-{n}.torrent") })
        .find(|name| names.insert(name.clone()))
        .expect("the numbers do not run out");
    Ok(Shared { created, dir, file_name })
}

/// A name that needs no quoting in a shell or a URL.
fn url_name(name: &str) -> String {
    let safe: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' })
        .take(80)
        .collect();
    let safe = safe.trim_matches(['-', '.']);
    if safe.is_empty() { "shared".to_owned() } else { safe.to_owned() }
}

/// Says what to type elsewhere.
fn tell(one: &Shared, base: &str, out: Output) -> Result<(), Failure> {
    let metainfo = &one.created.metainfo;
    let url = format!("http://{base}/{}", one.file_name);
    let link = magnet::link(metainfo, false);
    if out.json {
        return out.object(
            "shared",
            json!({
                "name": metainfo.info.name(),
                "info_hash": metainfo.info.hashes().wire().to_string(),
                "url": url,
                "magnet": link,
                "command": format!("samara download {url}"),
            }),
        );
    }
    let style = out.style;
    out.line(format_args!("{}", style.bold(clean(metainfo.info.name()))))?;
    out.line(format_args!("  type there  {}", style.cyan(format_args!("samara download {url}"))))?;
    out.line(format_args!("  or open     {}", clean(&link)))
}

/// Saves the torrents where `-o` says: one as that file, several into that directory.
fn save(args: &ShareArgs, shared: &[Shared]) -> Result<(), Failure> {
    let Some(output) = &args.output else { return Ok(()) };
    for one in shared {
        let path = match output.is_dir() {
            true => output.join(&one.file_name),
            false if shared.len() == 1 => output.clone(),
            false => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("{} is no directory", output.display()),
                )
                .hint("several torrents are saved into a directory"));
            }
        };
        create::write(&path, &one.created.bytes, false)?;
    }
    Ok(())
}

/// The address by which the rest of the network most likely reaches this machine: that of the interface on which
/// packets for elsewhere would leave. Nothing is sent to find out.
fn local_address() -> IpAddr {
    // Addresses reserved for documentation: whatever route there is to the world leads there too.
    let routes = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    routes
        .into_iter()
        .find_map(|(from, to)| {
            let socket = UdpSocket::bind(from).ok()?;
            socket.connect(to).ok()?;
            socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
        })
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// IPv6 addresses stand in brackets before a port.
fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(v6) => format!("[{v6}]"),
        Err(_) => host.to_owned(),
    }
}

/// A port for the tracker. It must be known before the torrent is made, which names it.
fn free_port(any: IpAddr, asked: Option<u16>) -> Result<u16, Failure> {
    let try_port = |port: u16| -> std::io::Result<u16> {
        let tcp = TcpListener::bind((any, port))?;
        let port = tcp.local_addr()?.port();
        UdpSocket::bind((any, port))?;
        Ok(port)
    };
    match asked {
        Some(port) if port != 0 => try_port(port).map_err(|e| no_tracker(port, &e)),
        Some(_) => try_port(0).map_err(|e| no_tracker(0, &e)),
        None => {
            try_port(USUAL_TRACKER_PORT).or_else(|_| try_port(0)).map_err(|e| no_tracker(0, &e))
        }
    }
}

fn no_tracker(port: u16, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Network, format!("cannot start the tracker on port {port}: {}", said(error)))
        .hint("choose another port with --tracker-port, or 0 to let the system choose")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_commands_need_no_quotes() {
        assert_eq!(url_name("My film (2020).mkv"), "My-film--2020-.mkv");
        assert_eq!(url_name("音楽"), "shared");
        assert_eq!(url_name(".."), "shared");
        assert_eq!(bracketed("::1"), "[::1]");
        assert_eq!(bracketed("host.example"), "host.example");
    }
}
