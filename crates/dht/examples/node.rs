//! One node on a UDP socket, for trying it by hand against others in a private network.
//!
//! `node BIND [--join ADDR]... [--seconds N] [COMMAND...]`, where a command is `announce HASH PORT`, `peers HASH`,
//! `scrape HASH`, `put TEXT`, `get TARGET` or `mutable TEXT`. Commands run one after the other once the node has joined; then the node
//! serves others until its time is over. Prints one line for each event.

use samara_dht::signature::SecretKey;
use samara_dht::{Dht, DhtConfig, Effect, Event, Family, Outbox};
use samara_wire::id::WireHash;
use samara_wire::krpc::{AnnouncedPort, Item, NodeId, immutable_target, mutable_target};
use samara_wire::time::{Duration, Instant};
use std::collections::VecDeque;
use std::error::Error;
use std::net::{SocketAddr, UdpSocket};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args: VecDeque<String> = std::env::args().skip(1).collect();
    let bind: SocketAddr =
        args.pop_front().ok_or("usage: node BIND [OPTIONS] [COMMAND...]")?.parse()?;
    let mut join = Vec::new();
    let mut seconds = 30;
    while args.front().is_some_and(|arg| arg.starts_with("--")) {
        let option = args.pop_front().unwrap_or_default();
        let value = args.pop_front().ok_or("an option without a value")?;
        match option.as_str() {
            "--join" => join.push(value.parse()?),
            "--seconds" => seconds = value.parse()?,
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    let socket = UdpSocket::bind(bind)?;
    let family = if bind.is_ipv4() { Family::V4 } else { Family::V6 };
    let clock = std::time::Instant::now();
    let now = || Instant::from_secs(1) + clock.elapsed();
    let mut dht =
        Dht::new(now(), DhtConfig { routers: join, ..DhtConfig::new(family, seed(&socket)?) });
    println!("id {} at {}", dht.id(), socket.local_addr()?);
    let (mut out, mut buffer) = (Outbox::new(), [0; 2048]);
    let mut busy = true;
    dht.handle_start(now(), &mut out);
    while clock.elapsed() < Duration::from_secs(seconds) {
        for effect in out.drain() {
            match effect {
                Effect::Send(to, datagram) => _ = socket.send_to(&datagram, to),
                Effect::Event(event) => {
                    busy &= !matches!(event, Event::LookupDone { .. } | Event::Bootstrapped(_));
                    println!("{:.3} {}", clock.elapsed().as_secs_f64(), describe(&event));
                }
            }
        }
        if !busy && !args.is_empty() {
            busy = true;
            command(&mut dht, now(), &mut args, &mut out)?;
            continue;
        }
        let wait = dht.next_timeout().map_or(Duration::from_secs(1), |at| at - now());
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_secs(1));
        socket.set_read_timeout(Some(wait))?;
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            dht.handle_packet(now(), from, &buffer[..len], &mut out);
        }
        dht.handle_timeout(now(), &mut out);
    }
    println!("{} nodes in the table", dht.node_count());
    Ok(())
}

/// Differs from run to run and from socket to socket; good enough for a private network only.
fn seed(socket: &UdpSocket) -> Result<[u8; 32], Box<dyn Error>> {
    let mut seed = [0; 32];
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    seed[..16].copy_from_slice(&time.as_nanos().to_le_bytes());
    seed[16..18].copy_from_slice(&socket.local_addr()?.port().to_le_bytes());
    seed[18..22].copy_from_slice(&std::process::id().to_le_bytes());
    Ok(seed)
}

fn command(
    dht: &mut Dht,
    now: Instant,
    args: &mut VecDeque<String>,
    out: &mut Outbox,
) -> Result<(), Box<dyn Error>> {
    let mut next = || args.pop_front().ok_or("a command lacks an argument");
    let bencoded = |text: String| format!("{}:{text}", text.len()).into_bytes();
    let name = next()?;
    println!("> {name}");
    match name.as_str() {
        "announce" => {
            let (hash, port) = (hash(&next()?)?, next()?.parse()?);
            dht.announce(now, WireHash(hash), AnnouncedPort::Explicit(port), false, out);
        }
        "peers" => _ = dht.lookup_peers(now, WireHash(hash(&next()?)?), out),
        "scrape" => _ = dht.scrape(now, WireHash(hash(&next()?)?), out),
        "get" => _ = dht.get_item(now, NodeId(hash(&next()?)?), Vec::new(), out),
        "put" => {
            let item = Item { value: bencoded(next()?), signed: None };
            println!("target {}", immutable_target(&item.value));
            dht.put_item(now, item, Vec::new(), None, out)?;
        }
        "mutable" => {
            let key = SecretKey::from_seed(&[42; 32]);
            println!("key {:?} target {}", key.public(), mutable_target(&key.public(), b""));
            let item = key.sign(b"", 1, &bencoded(next()?));
            dht.put_item(now, item, Vec::new(), None, out)?;
        }
        _ => return Err(format!("unknown command {name}").into()),
    }
    Ok(())
}

fn hash(text: &str) -> Result<[u8; 20], Box<dyn Error>> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|error| format!("{text} is no hash: {error}"))?;
    Ok(bytes.try_into().map_err(|_| "a hash has 40 hexadecimal digits")?)
}

fn describe(event: &Event) -> String {
    match event {
        Event::PeersFound { info_hash, peers, .. } => format!("peers of {info_hash}: {peers:?}"),
        Event::ItemFound { item, .. } => {
            let seq = item.signed.map_or(String::new(), |signed| format!(" seq {}", signed.seq));
            format!("item {}{seq}", item.value.escape_ascii())
        }
        Event::LookupDone { outcome, .. } => format!(
            "done: asked {}, answered {}, hops {}, stored {}, {:.3} s, swarm {:?}",
            outcome.asked,
            outcome.answered,
            outcome.hops,
            outcome.stored,
            outcome.took.as_secs_f64(),
            outcome.swarm,
        ),
        other => format!("{other:?}"),
    }
}
