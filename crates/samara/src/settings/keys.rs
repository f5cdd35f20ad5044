//! The options of `samara.toml`, one row each.

use super::{Hours, Settings};
use crate::args::{ColorWhen, Encryption, Limit, parse_proxy};
use crate::units;
use clap::ValueEnum;
use samara_engine::{Bind, BindError, MAX_SHARDS};
use std::path::PathBuf;

/// The most connections that can be set.
const MAX_PEERS: usize = 100_000;

/// One option.
pub(crate) struct Key {
    /// Its name in `samara.toml`, and with `SAMARA_` and capitals in the environment.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) doc: &'static str,
    /// A value to begin with, as TOML.
    pub(crate) example: &'static str,
    /// Reads a value as typed.
    pub(crate) set: fn(&mut Settings, &str) -> Result<(), String>,
    /// The value as it would be typed.
    pub(crate) show: fn(&Settings) -> String,
}

/// All options, in the order they are shown.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "output",
        doc: "directory that downloads go into",
        example: "\"~/Downloads\"",
        set: |s, v| path(v).map(|x| s.output = x),
        show: |s| s.output.display().to_string(),
    },
    Key {
        name: "port",
        doc: "port to listen on; 0 lets the system choose",
        example: "6881",
        set: |s, v| v.parse().map_err(|_| format!("`{v}` is not a port")).map(|x| s.port = Some(x)),
        show: |s| s.port.map_or_else(|| "6881, or any".to_owned(), |p| p.to_string()),
    },
    Key {
        name: "bind",
        doc: "addresses or network interfaces to listen on and connect from",
        example: "[\"tun0\"]",
        set: |s, v| binds(v).map(|x| s.bind = x),
        show: |s| match s.bind.is_empty() {
            true => "all".to_owned(),
            false => s.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        },
    },
    Key {
        name: "proxy",
        doc: "send everything through this proxy and nothing beside it: socks5:// or http://USER:PASSWORD@HOST:PORT",
        example: "\"socks5://127.0.0.1:1080\"",
        set: |s, v| parse_proxy(v).map(|x| s.proxy = x.0),
        // Without user and password.
        show: |s| s.proxy.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
    },
    Key {
        name: "proxy-udp",
        doc: "UDP trackers, the DHT and uTP go through a SOCKS5 proxy, if it carries datagrams; without: they are off",
        example: "true",
        set: |s, v| boolean(v).map(|x| s.proxy_udp = x),
        show: |s| s.proxy_udp.to_string(),
    },
    Key {
        name: "dht",
        doc: "find peers of public torrents by the DHT",
        example: "true",
        set: |s, v| boolean(v).map(|x| s.dht = x),
        show: |s| s.dht.to_string(),
    },
    Key {
        name: "dht-nodes",
        doc: "nodes to join the DHT by, as HOST:PORT, instead of the public ones",
        example: "[\"dht.example.org:6881\"]",
        set: |s, v| endpoints(v).map(|x| s.dht_nodes = x),
        show: |s| match s.dht_nodes.is_empty() {
            true => "public".to_owned(),
            false => s.dht_nodes.join(","),
        },
    },
    Key {
        name: "limit-down",
        doc: "bytes per second received at most",
        example: "\"10M\"",
        set: |s, v| units::parse_rate(v).map(|x| s.limit_down = x),
        show: |s| shown_rate(s.limit_down),
    },
    Key {
        name: "limit-up",
        doc: "bytes per second sent at most",
        example: "\"2M\"",
        set: |s, v| units::parse_rate(v).map(|x| s.limit_up = x),
        show: |s| shown_rate(s.limit_up),
    },
    Key {
        name: "limit-local",
        doc: "limit peers on the local network, too",
        example: "false",
        set: |s, v| boolean(v).map(|x| s.limit_local = x),
        show: |s| s.limit_local.to_string(),
    },
    Key {
        name: "limit-overhead",
        doc: "count headers of IP and TCP as bytes received and sent",
        example: "false",
        set: |s, v| boolean(v).map(|x| s.limit_overhead = x),
        show: |s| s.limit_overhead.to_string(),
    },
    Key {
        name: "alt-limit-down",
        doc: "in place of limit-down at the hours of alt-schedule",
        example: "\"1M\"",
        set: |s, v| alternative(v).map(|x| s.alt_limit_down = x),
        show: |s| shown_alternative(s.alt_limit_down),
    },
    Key {
        name: "alt-limit-up",
        doc: "in place of limit-up at the hours of alt-schedule",
        example: "\"100K\"",
        set: |s, v| alternative(v).map(|x| s.alt_limit_up = x),
        show: |s| shown_alternative(s.alt_limit_up),
    },
    Key {
        name: "alt-schedule",
        doc: "when alternative limits hold, by local time: days, and from when to when",
        example: "\"mon-fri 08:00-18:00\"",
        set: |s, v| Hours::option(v).map(|x| s.alt_schedule = x),
        show: |s| s.alt_schedule.as_ref().map_or_else(|| "never".to_owned(), Hours::to_string),
    },
    Key {
        name: "max-peers",
        doc: "connections at most",
        example: "500",
        set: |s, v| number(v, MAX_PEERS).map(|x| s.max_peers = x),
        show: |s| s.max_peers.to_string(),
    },
    Key {
        name: "max-peers-per-torrent",
        doc: "connections of one torrent at most",
        example: "100",
        set: |s, v| number(v, MAX_PEERS).map(|x| s.max_peers_per_torrent = x),
        show: |s| s.max_peers_per_torrent.to_string(),
    },
    Key {
        name: "max-half-open",
        doc: "connections being set up at most",
        example: "50",
        set: |s, v| number(v, MAX_PEERS).map(|x| s.max_half_open = x),
        show: |s| s.max_half_open.to_string(),
    },
    Key {
        name: "ip-filter",
        doc: "lists of addresses that no peer may have: eMule .dat, PeerGuardian .p2p, CIDR; also gzipped",
        example: "[]",
        set: |s, v| files(v).map(|x| s.ip_filter = x),
        show: |s| match s.ip_filter.is_empty() {
            true => "none".to_owned(),
            false => {
                s.ip_filter.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(",")
            }
        },
    },
    Key {
        name: "encryption",
        doc: "which connections are encrypted: off, allow, prefer or require",
        example: "\"prefer\"",
        set: |s, v| {
            Encryption::from_str(v, true)
                .map(|x| s.encryption = x)
                .map_err(|_| format!("`{v}` is not off, allow, prefer or require"))
        },
        show: |s| format!("{:?}", s.encryption).to_lowercase(),
    },
    Key {
        name: "network-threads",
        doc: "threads that serve connections; each torrent is on one of them",
        example: "1",
        set: |s, v| number(v, MAX_SHARDS).map(|x| s.network_threads = x),
        show: |s| s.network_threads.to_string(),
    },
    Key {
        name: "tcp",
        doc: "speak with peers by TCP",
        example: "true",
        set: |s, v| boolean(v).map(|x| s.tcp = x),
        show: |s| s.tcp.to_string(),
    },
    Key {
        name: "utp",
        doc: "speak with peers by uTP, which gives way to other traffic",
        example: "true",
        set: |s, v| boolean(v).map(|x| s.utp = x),
        show: |s| s.utp.to_string(),
    },
    Key {
        name: "lsd",
        doc: "find peers of public torrents on the local network, and be found there",
        example: "true",
        set: |s, v| boolean(v).map(|x| s.lsd = x),
        show: |s| s.lsd.to_string(),
    },
    Key {
        name: "port-mapping",
        doc: "ask the router to let peers connect: PCP, NAT-PMP, UPnP",
        example: "true",
        set: |s, v| boolean(v).map(|x| s.port_mapping = x),
        show: |s| s.port_mapping.to_string(),
    },
    Key {
        name: "state-dir",
        doc: "directory for resume data",
        example: "\"~/.local/state/samara\"",
        set: |s, v| path(v).map(|x| s.state_dir = Some(x)),
        show: |s| {
            s.state_dir.as_ref().map_or_else(|| "none".to_owned(), |d| d.display().to_string())
        },
    },
    Key {
        name: "preallocate",
        doc: "reserve the whole space of a download first",
        example: "false",
        set: |s, v| boolean(v).map(|x| s.preallocate = x),
        show: |s| s.preallocate.to_string(),
    },
    Key {
        name: "sequential",
        doc: "fetch pieces in order",
        example: "false",
        set: |s, v| boolean(v).map(|x| s.sequential = x),
        show: |s| s.sequential.to_string(),
    },
    Key {
        name: "seed-ratio",
        doc: "seed a finished download up to this ratio",
        example: "1.0",
        set: |s, v| units::parse_ratio(v).map(|x| s.seed_ratio = Some(x)),
        show: |s| s.seed_ratio.map_or_else(|| "no seeding".to_owned(), |r| r.to_string()),
    },
    Key {
        name: "seed-time",
        doc: "seed a finished download for this long",
        example: "\"2h\"",
        set: |s, v| units::parse_duration(v).map(|x| s.seed_time = Some(x)),
        show: |s| s.seed_time.map_or_else(|| "no seeding".to_owned(), units::duration_typed),
    },
    Key {
        name: "color",
        doc: "colours: auto, always or never",
        example: "\"auto\"",
        set: |s, v| {
            ColorWhen::from_str(v, true)
                .map(|c| s.color = c)
                .map_err(|_| format!("`{v}` is not auto, always or never"))
        },
        show: |s| format!("{:?}", s.color).to_lowercase(),
    },
];

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{text}` is not true or false")),
    }
}

/// A number from 1 to `max`.
pub(crate) fn number(text: &str, max: usize) -> Result<usize, String> {
    let valid = text.parse().ok().filter(|n| (1..=max).contains(n));
    valid.ok_or_else(|| format!("`{text}` is not a number from 1 to {max}"))
}

fn alternative(text: &str) -> Result<Option<Limit>, String> {
    match text.trim() {
        "same" => Ok(None),
        text => units::parse_rate(text).map(|rate| Some(Limit(rate))),
    }
}

fn shown_alternative(limit: Option<Limit>) -> String {
    limit.map_or_else(|| "same".to_owned(), |Limit(rate)| shown_rate(rate))
}

fn shown_rate(rate: Option<u64>) -> String {
    rate.map_or_else(|| "unlimited".to_owned(), units::rate)
}

fn files(text: &str) -> Result<Vec<PathBuf>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "none");
    names.map(path).collect()
}

fn binds(text: &str) -> Result<Vec<Bind>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty() && *part != "all")
        .map(|part| part.parse().map_err(|e: BindError| e.to_string()))
        .collect()
}

/// Whether `text` is `HOST:PORT`.
pub(crate) fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn endpoints(text: &str) -> Result<Vec<String>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty() && *part != "public")
        .map(|part| match is_endpoint(part) {
            true => Ok(part.to_owned()),
            false => Err(format!("`{part}` is no HOST:PORT")),
        })
        .collect()
}

/// A file or directory; no shell expands `~` in a file, so it is done here.
fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("an empty path".to_owned());
    }
    let home = directories::BaseDirs::new();
    Ok(match (text.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.home_dir().to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.home_dir().join(&rest[1..]),
        _ => PathBuf::from(text),
    })
}
