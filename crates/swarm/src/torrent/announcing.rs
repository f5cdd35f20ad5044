//! Trackers and the addresses they name.

use super::external::External;
use super::{PeerSource, Torrent};
use crate::announcer::{Counters, TrackerStatus};
use crate::outbox::{AnnounceId, Effect, Event, Outbox};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use samara_wire::id::PeerId;
use samara_wire::time::Instant;
use samara_wire::tracker::http::Retry;
use samara_wire::tracker::{AnnounceEvent, AnnounceResponse};

/// With fewer connections than this a download asks its trackers as early as they allow.
const HUNGRY_BELOW: usize = 5;

impl Torrent {
    /// A tracker answered.
    pub fn handle_announced(
        &mut self,
        now: Instant,
        id: AnnounceId,
        response: AnnounceResponse,
        out: &mut Outbox,
    ) {
        let event = self.announcer.awaited_event(id);
        let Some(url) = self.announcer.on_response(now, id, &response) else { return };
        if event == Some(AnnounceEvent::Stopped) {
            // Nothing the user should hear of, least of all if the tracker was removed.
            return self.drive_announcer(now, out);
        }
        let url = url.to_owned();
        self.on_told_external(now, response.external_ip);
        out.push(Effect::Event(Event::TrackerAnswered {
            url,
            peers: response.peers.len(),
            warning: response.warning,
        }));
        self.handle_peers(now, PeerSource::Tracker, &response.peers, out);
        self.drive_announcer(now, out);
    }

    /// A tracker that has answered answered again, over another address family: its peers count, and what it says of our address in
    /// that family, and nothing else.
    pub fn handle_more_announced(
        &mut self,
        now: Instant,
        response: AnnounceResponse,
        out: &mut Outbox,
    ) {
        if !self.announcer.is_stopped() {
            self.on_told_external(now, response.external_ip);
            self.handle_peers(now, PeerSource::Tracker, &response.peers, out);
        }
    }

    /// The trackers in the order in which they are tried, for display.
    pub fn trackers(&self) -> impl Iterator<Item = TrackerStatus<'_>> {
        self.announcer.trackers()
    }

    /// From now on these are the trackers; see [`Announcer::set_tiers`](crate::announcer::Announcer::set_tiers).
    pub fn handle_set_trackers(&mut self, now: Instant, tiers: &[Vec<String>], out: &mut Outbox) {
        self.announcer.set_tiers(now, tiers);
        self.drive_announcer(now, out);
    }

    /// The user wants the trackers asked now, if they allow.
    pub fn handle_announce_now(&mut self, now: Instant, out: &mut Outbox) {
        self.announcer.announce_now(now);
        self.drive_announcer(now, out);
    }

    /// Whether the outcome of an announce is still of interest. One that has not begun yet and is not awaited any
    /// more must not be made: the tracker may have been told since that we stopped.
    #[must_use]
    pub fn awaits_announce(&self, id: AnnounceId) -> bool {
        self.announcer.awaited_event(id).is_some()
    }

    /// An announce failed; `error` is in words for a user, `retry` what the tracker said of another try.
    pub fn handle_announce_failed(
        &mut self,
        now: Instant,
        id: AnnounceId,
        error: String,
        retry: Option<Retry>,
        out: &mut Outbox,
    ) {
        let event = self.announcer.awaited_event(id);
        let Some(url) = self.announcer.on_failure(now, id, &error, retry) else { return };
        let url = url.to_owned();
        if event != Some(AnnounceEvent::Stopped) {
            out.push(Effect::Event(Event::TrackerFailed { url, error }));
        }
        self.drive_announcer(now, out);
    }

    /// A tracker (BEP 24) or a gateway tells our own address.
    fn on_told_external(&mut self, now: Instant, ip: Option<IpAddr>) {
        if let Some(ip) = ip.map(|ip| ip.to_canonical()).filter(|ip| self.external.tell(*ip)) {
            self.on_external_ip(now, ip);
        }
    }

    /// Our own address as others see it is known, as far as [`External`](super::external::External) can tell.
    pub(super) fn on_external_ip(&mut self, now: Instant, ip: IpAddr) {
        self.peer_list.set_external(now, SocketAddr::new(ip, self.port_for(ip)));
    }

    /// By which port, and by which address if that is known, peers outside reach us: a gateway said so. Trackers are told of another
    /// port at once, as far as they allow.
    pub fn handle_outside(
        &mut self,
        now: Instant,
        port: u16,
        ip: Option<IpAddr>,
        out: &mut Outbox,
    ) {
        let before = self.config.outer_port.replace(port).unwrap_or(self.config.listen_port);
        self.on_told_external(now, ip);
        if before != port {
            self.announcer.set_port(port);
            self.handle_announce_now(now, out);
        }
    }

    /// Peers know us by `id` from now on; trackers go on knowing us by the one they were told.
    pub fn set_peer_id(&mut self, id: PeerId) {
        self.config.peer_id = id;
    }

    /// We are at another address than before: trackers shall know us by it, what was said of the old one holds no more, and who
    /// could not be reached from there may be reached from here.
    pub fn handle_moved(&mut self, now: Instant, out: &mut Outbox) {
        self.external = External::default();
        self.peer_list.retry_all(now);
        self.announcer.moved(now);
        self.drive_announcer(now, out);
        self.drive_dialling(now, out);
    }

    /// Sends the announces that are due.
    pub(super) fn drive_announcer(&mut self, now: Instant, out: &mut Outbox) {
        let counters = self.announce_counters();
        self.announcer.set_hungry(!self.complete && self.peers.len() < HUNGRY_BELOW);
        while let Some(announce) = self.announcer.poll(now, &counters) {
            out.push(Effect::Announce(Box::new(announce)));
        }
    }

    /// Truthful: all payload received and sent in this run, and all that is missing, wanted or not.
    pub(super) fn announce_counters(&self) -> Counters {
        let have: u64 =
            if self.have.is_full() { self.layout.total_len() } else { self.have_bytes() };
        let room_taken = self.peers.len().min(self.config.max_peers);
        Counters {
            uploaded: self.counters.uploaded,
            downloaded: self.counters.downloaded,
            left: self.layout.total_len() - have,
            peers_wanted: u32::try_from(self.config.max_peers - room_taken).unwrap_or(u32::MAX),
        }
    }
}
