//! What became of packets.

use super::Packets;
use samara_utp::ConnectionStats;

/// Counted while a world runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Datagrams given to uplinks, and their bytes with all headers.
    pub(super) sent: u64,
    pub(super) bytes: u64,
    /// Lost by chance; dropped by full queues; that came to a door that was shut.
    pub(super) lost: u64,
    pub(super) dropped_up: u64,
    pub(super) dropped_down: u64,
    pub(super) shut_out: u64,
    /// Of connections that ended: packets of streams, those taken for lost, time-outs.
    pub(super) transmissions: u64,
    pub(super) losses: u64,
    pub(super) timeouts: u64,
    /// Connections that came about, and that ended because nothing was heard.
    pub(super) opened: u64,
    pub(super) timed_out: u64,
}

impl Counts {
    pub(super) const fn add(&mut self, stats: &ConnectionStats) {
        self.transmissions += stats.transmissions;
        self.losses += stats.losses;
        self.timeouts += stats.timeouts as u64;
    }
}

/// What became of packets, where connections are uTP.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PacketFigures {
    /// Datagrams sent by all nodes.
    pub sent: u64,
    /// Their bytes, headers of IP and UDP included.
    pub bytes: u64,
    /// Bytes of blocks that arrived.
    pub payload: u64,
    /// Datagrams lost by chance.
    pub lost: u64,
    /// Datagrams dropped by full queues on the way up, and on the way down.
    pub dropped: (u64, u64),
    /// Datagrams that a NAT did not let in.
    pub shut_out: u64,
    /// Packets of streams, each as often as it was sent.
    pub transmissions: u64,
    /// Of those, how many were taken for lost and sent again.
    pub resent: u64,
    /// Times that a connection sent all again after silence.
    pub timeouts: u64,
    /// Connections that came about.
    pub connections: u64,
    /// Connections that ended because nothing was heard.
    pub timed_out: u64,
    /// How long datagrams of honest nodes waited for their uplink until all were done: the median, 95 in a hundred, the most; in
    /// microseconds.
    pub up_wait: (u64, u64, u64),
    /// The same for downlinks.
    pub down_wait: (u64, u64, u64),
}

impl PacketFigures {
    /// What was sent beyond the blocks that arrived, as a share of them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for display")]
    pub fn overhead(&self) -> f64 {
        if self.payload == 0 { 0.0 } else { self.bytes as f64 / self.payload as f64 - 1.0 }
    }

    /// The share of packets that were sent again.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for display")]
    pub fn resent_share(&self) -> f64 {
        if self.transmissions == 0 { 0.0 } else { self.resent as f64 / self.transmissions as f64 }
    }

    pub(in crate::swarm) fn of(packets: &Packets, payload: u64) -> Self {
        let mut counts = packets.counts;
        for host in packets.hosts.iter().flatten() {
            host.streams
                .keys()
                .filter_map(|key| host.endpoint.stats(*key))
                .for_each(|stats| counts.add(&stats));
        }
        let waits =
            |waits: &super::Waits| (waits.percentile(50), waits.percentile(95), waits.most());
        Self {
            sent: counts.sent,
            bytes: counts.bytes,
            payload,
            lost: counts.lost,
            dropped: (counts.dropped_up, counts.dropped_down),
            shut_out: counts.shut_out,
            transmissions: counts.transmissions,
            resent: counts.losses,
            timeouts: counts.timeouts,
            connections: counts.opened,
            timed_out: counts.timed_out,
            up_wait: waits(&packets.up_waits),
            down_wait: waits(&packets.down_waits),
        }
    }
}
