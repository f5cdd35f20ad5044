//! A run as one line of JSON. `version` changes when a field changes its meaning or goes.

use crate::scenario::Plan;
use crate::swarm::{Figures, PacketFigures};
use serde_json::{Value, json};

/// Version of the object.
const VERSION: u32 = 1;

/// The run as one line. Times are in seconds, rates in bytes a second; what there is none of is `null`.
#[must_use]
pub fn json(plan: &Plan, figures: &Figures, clean: Option<u64>) -> String {
    let bound = figures.bound.map(|bound| {
        json!({
            "time": time(bound.micros()),
            "reason": bound.reason(),
            "seed": time(bound.seed),
            "uplinks": time(bound.uplinks),
            "downlink": time(bound.downlink),
            "parts": bound.parts.map(time),
        })
    });
    let riders = figures.riders.map(|riders| {
        json!({
            "count": riders.count,
            "share": riders.share,
            "slowdown": riders.slowdown(),
            "median": riders.median.map(time),
        })
    });
    let packets = figures.packets.map(|packets| packets_json(&packets));
    let dht = figures.dht.map(|dht| {
        json!({
            "datagrams": dht.datagrams, "bytes": dht.bytes, "lies": dht.lies, "told": dht.told, "phantoms": dht.phantoms,
        })
    });
    let samples: Vec<Value> = figures
        .samples
        .iter()
        .map(|s| json!([time(s.at), s.rarest, s.copies, s.commonest, s.complete, s.sent]))
        .collect();
    json!({
        "version": VERSION,
        "scenario": plan.scenario.name(),
        "seed": plan.seed,
        "size": plan.total_len,
        "piece": plan.piece_len,
        "leeches": figures.leeches,
        "finished": figures.finished,
        "seeds": figures.seeds,
        "adversaries": figures.adversaries,
        "last": time(figures.last),
        "median": time(figures.times.median),
        "p95": time(figures.times.p95),
        "most": time(figures.times.most),
        "bound": bound,
        "eta": figures.eta(),
        "uplink_use": figures.uplink_use,
        "uplink_use_whole": figures.uplink_use_whole,
        "seed_economy": figures.seed_economy,
        "waste": figures.waste,
        "corrupt": figures.corrupt,
        "share_ratio": { "least": figures.ratios.0, "median": figures.ratios.1, "most": figures.ratios.2 },
        "jain": figures.jain,
        "free_riders": riders,
        "clean": clean.map(time),
        "bans": figures.bans,
        "packets": packets,
        "dht": dht,
        "diversity": { "columns": ["time", "rarest", "copies", "commonest", "complete", "sent"], "rows": samples },
        "events": figures.events,
        "digest": figures.digest,
    })
    .to_string()
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit")]
fn time(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn packets_json(packets: &PacketFigures) -> Value {
    let wait = |(median, p95, most): (u64, u64, u64)| json!({ "median": time(median), "p95": time(p95), "most": time(most) });
    json!({
        "sent": packets.sent,
        "bytes": packets.bytes,
        "overhead": packets.overhead(),
        "lost": packets.lost,
        "dropped": { "up": packets.dropped.0, "down": packets.dropped.1 },
        "shut_out": packets.shut_out,
        "transmissions": packets.transmissions,
        "resent": packets.resent,
        "timeouts": packets.timeouts,
        "connections": packets.connections,
        "timed_out": packets.timed_out,
        "up_wait": wait(packets.up_wait),
        "down_wait": wait(packets.down_wait),
    })
}
