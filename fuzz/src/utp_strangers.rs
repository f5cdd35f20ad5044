//! An endpoint of uTP under packets of strangers from many addresses: none costs it more than it may, and nobody is sent more than a packet
//! for each of his before he has proven to be there.

use crate::Script;
use samara_utp::{ConnectionKey, Endpoint, Event, Outbox, UtpConfig};
use samara_wire::time::{Duration, Instant};
use samara_wire::utp::{ConnectionId, Header, Packet, PacketType, SeqNr};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const MAX_CONNECTIONS: usize = 6;
const MAX_HALF_OPEN: usize = 3;

/// Packets seen from one address, sent to it, and whether it has proven itself.
#[derive(Default)]
struct Stranger {
    seen: usize,
    sent: usize,
    accepted: bool,
    /// The last that was sent to it.
    last: Option<Header>,
}

/// Reads `input` as packets, their senders and time.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let config = UtpConfig {
        max_connections: MAX_CONNECTIONS,
        max_half_open: MAX_HALF_OPEN,
        receive_buffer: (3000, 6000),
        receive_budget: 4000,
        ..UtpConfig::new([7; 32])
    };
    let mut endpoint = Endpoint::new(config);
    let mut now = Instant::from_secs(1);
    let mut strangers: BTreeMap<SocketAddr, Stranger> = BTreeMap::new();
    let mut keys: Vec<ConnectionKey> = Vec::new();
    for _ in 0..600 {
        if script.is_done() {
            break;
        }
        let mut out = Outbox::new();
        let [what, who] = script.array();
        let from = SocketAddr::from(([80, 1, 1, who & 7], 6881 + u16::from(who >> 6)));
        match what & 7 {
            0 => {
                now += Duration::from_millis(u64::from(who) * 40);
                endpoint.handle_timeout(now, &mut out);
                assert!(endpoint.next_timeout().is_none_or(|at| at > now), "due at once again");
            }
            1 => {
                if let Some(key) = keys.get(usize::from(who) % keys.len().max(1)).copied() {
                    let _ = endpoint.read(now, key, &mut [0; 500]);
                    if who & 0x80 != 0 {
                        endpoint.close(now, key);
                        keys.retain(|other| *other != key);
                    }
                }
            }
            kind => {
                let stranger = strangers.entry(from).or_default();
                let datagram = match kind {
                    2 => script.bytes(100).to_vec(),
                    _ => packet(stranger.last, what, &mut script),
                };
                stranger.seen += usize::from(Packet::parse(&datagram).is_ok());
                endpoint.handle_datagram(now, from, &datagram, &mut out);
            }
        }
        for event in out.drain() {
            if let Event::Accepted(key, from) = event {
                strangers.entry(from).or_default().accepted = true;
                keys.push(key);
            }
        }
        send(&mut endpoint, now, &mut strangers);
        assert!(endpoint.len() <= MAX_CONNECTIONS);
    }
}

/// A packet that may belong to a connection: near what was sent to its sender last.
fn packet(last: Option<Header>, what: u8, script: &mut Script<'_>) -> Vec<u8> {
    let kinds =
        [PacketType::Syn, PacketType::Data, PacketType::State, PacketType::Fin, PacketType::Reset];
    let kind = kinds[usize::from(what >> 3) % kinds.len()];
    let (seq, ack) = last.map_or((0, 0), |last| (last.ack.0, last.seq.0));
    let near = |number: u16, by: u8| number.wrapping_add(u16::from(by & 7)).wrapping_sub(3);
    let [id, seq_by, ack_by] = script.array();
    let connection = match last {
        Some(last) if id < 192 => last.connection.0.wrapping_add(u16::from(id & 1)),
        _ => u16::from(id),
    };
    let header = Header {
        kind,
        connection: ConnectionId(connection),
        timestamp: script.word(),
        timestamp_difference: script.short().into(),
        window: u32::from(script.short()) * 4,
        seq: SeqNr(near(seq, seq_by)),
        ack: SeqNr(near(ack, ack_by)),
    };
    let payload = script.bytes(40);
    [&header.encode()[..], payload].concat()
}

fn send(endpoint: &mut Endpoint, now: Instant, strangers: &mut BTreeMap<SocketAddr, Stranger>) {
    while let Some(transmit) = endpoint.poll_transmit(now, 4) {
        let stranger = strangers.get_mut(&transmit.to).expect("one who was heard");
        for datagram in transmit.contents.chunks(transmit.segment) {
            let packet = Packet::parse(datagram).expect("our own packet");
            stranger.last = Some(packet.header);
            stranger.sent += 1;
            if !stranger.accepted {
                assert!(datagram.len() <= 100, "{} bytes to a stranger", datagram.len());
            }
        }
        assert!(stranger.accepted || stranger.sent <= stranger.seen, "more packets than came");
    }
}
