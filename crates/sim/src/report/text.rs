//! A run as a table for people.

use crate::scenario::{Discovery, Plan, Transport};
use crate::swarm::{Figures, PacketFigures};
use std::fmt::Write;

/// `71.2 s`, from microseconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a tenth of a second is shown")]
pub fn seconds(micros: u64) -> String {
    format!("{:.1} s", micros as f64 / 1e6)
}

/// A run, line by line. `clean`: when the last finished in the same swarm without adversaries, in microseconds.
#[must_use]
pub fn text(plan: &Plan, figures: &Figures, clean: Option<u64>) -> String {
    let mut out = head(plan, figures);
    let mut line = |name: &str, value: String, note: String| {
        let note = if note.is_empty() { String::new() } else { format!("  {note}") };
        let _ = writeln!(out, "{:<22}{value:>10}{note}", name);
    };
    let times = figures.times;
    line("last has everything", seconds(figures.last), String::new());
    let spread = format!("95 % {}, most {}", seconds(times.p95), seconds(times.most));
    line("median", seconds(times.median), spread);
    if let Some(bound) = figures.bound {
        line("least possible", seconds(bound.micros()), bound.reason().to_owned());
    }
    if let Some(eta) = figures.eta() {
        line("eta", format!("{eta:.3}"), String::new());
    }
    let whole = format!("{:.3} over the whole run", figures.uplink_use_whole);
    let trading = figures.uplink_use.map_or("-".to_owned(), |share| format!("{share:.3}"));
    line("uplink use", trading, format!("while all trade; {whole}"));
    if let Some(economy) = figures.seed_economy {
        let note = "copies sent by seeds until each piece has one elsewhere".to_owned();
        line("seed economy", format!("{economy:.3}"), note);
    }
    let corrupt = format!("corrupt {:.2} %", figures.corrupt * 100.0);
    line("waste", format!("{:.2} %", figures.waste * 100.0), corrupt);
    let (least, median, most) = figures.ratios;
    line("share ratio", format!("{median:.2}"), format!("median; {least:.2} to {most:.2}"));
    line("Jain's index", format!("{:.3}", figures.jain), String::new());
    if let Some(riders) = figures.riders {
        let share = format!("had {:.0} % when half were done", riders.share * 100.0);
        line("free-riders", format!("{:.1} x", riders.slowdown()), share);
    }
    if let Some(clean) = clean.filter(|clean| *clean > 0) {
        let note = format!("the time without adversaries, {}", seconds(clean));
        #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
        let ratio = figures.last as f64 / clean as f64;
        line("beside clean", format!("{ratio:.2} x"), note);
    }
    if figures.bans > 0 {
        line("bans", figures.bans.to_string(), "none of an honest peer".to_owned());
    }
    if let Some(packets) = &figures.packets {
        packet_lines(packets, &mut line);
    }
    if let Some(dht) = figures.dht {
        let note = format!("{} KiB, {} of them lies", dht.bytes >> 10, dht.lies);
        line("datagrams of the DHT", dht.datagrams.to_string(), note);
        let note = format!("{} of them of nobody", dht.phantoms);
        line("addresses it told", dht.told.to_string(), note);
    }
    line("events", figures.events.to_string(), String::new());
    let _ = writeln!(out, "{:<22}{}", "digest", figures.digest);
    out
}

fn packet_lines(packets: &PacketFigures, line: &mut impl FnMut(&str, String, String)) {
    let overhead = format!("{:.1} % more bytes than those of blocks", packets.overhead() * 100.0);
    line("datagrams", packets.sent.to_string(), overhead);
    let (up, down) = packets.dropped;
    let lost = packets.lost + up + down;
    let note = format!("{} by chance, {up} and {down} by full queues up and down", packets.lost);
    line("lost", lost.to_string(), note);
    let note = format!("{} packets, {} time-outs", packets.resent, packets.timeouts);
    line("sent again", format!("{:.2} %", packets.resent_share() * 100.0), note);
    for (name, (median, most_of_them, most)) in
        [("wait for the uplink", packets.up_wait), ("wait for the downlink", packets.down_wait)]
    {
        let ms = |micros: u64| format!("{} ms", micros / 1_000);
        let note = format!("median; 95 % {}, most {}", ms(most_of_them), ms(most));
        line(name, ms(median), note);
    }
    let note = format!("{} ended in silence", packets.timed_out);
    line("connections", packets.connections.to_string(), note);
}

fn head(plan: &Plan, figures: &Figures) -> String {
    let Plan { scenario, seed, total_len, piece_len, .. } = plan;
    let tier = if plan.transport == Transport::Utp { " over uTP" } else { "" };
    let dht = if plan.discovery == Discovery::Dht { ", found by the DHT" } else { "" };
    let adversaries = match figures.adversaries {
        0 => String::new(),
        n => format!(", {n} adversaries"),
    };
    let seeds =
        if figures.seeds == 1 { "1 seed".to_owned() } else { format!("{} seeds", figures.seeds) };
    format!(
        "{}: {} leeches, {seeds}{adversaries}; {} MiB in pieces of {} KiB{tier}{dht}; seed {seed}\n",
        scenario.name(),
        figures.leeches,
        total_len >> 20,
        piece_len >> 10,
    )
}
