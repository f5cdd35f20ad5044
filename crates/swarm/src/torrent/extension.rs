//! The extension protocol (BEP 10), and upload-only (BEP 21), which rides on it as `metadata` and `pex` do.

use super::holepunch::UT_HOLEPUNCH_ID;
use super::metadata::UT_METADATA_ID;
use super::peer::MAX_SERVE_QUEUE;
use super::{PeerKey, Torrent};
use crate::outbox::{Effect, Outbox};
use crate::peer_list::is_local;
use crate::pex::UT_PEX_ID;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, SocketAddr};
use samara_wire::peer::extension::{ExtensionHandshake, HANDSHAKE_ID};
use samara_wire::peer::message::Message;
use samara_wire::peer::{ut_holepunch, ut_metadata, ut_pex};
use samara_wire::time::Instant;

const UPLOAD_ONLY: &str = "upload_only";

/// The id under which we want `upload_only` messages.
const UPLOAD_ONLY_ID: u8 = 3;

impl Torrent {
    /// What we say of ourselves to a peer at `addr`.
    pub(super) fn extension_handshake(&self, addr: SocketAddr) -> Message {
        let super_seeding = self.config.super_seeding;
        let metadata_len = self.metadata_len();
        let mut extensions = vec![(UPLOAD_ONLY.to_owned(), UPLOAD_ONLY_ID)];
        if !self.config.private {
            extensions.push((ut_pex::NAME.to_owned(), UT_PEX_ID));
        }
        if self.punches() {
            extensions.push((ut_holepunch::NAME.to_owned(), UT_HOLEPUNCH_ID));
        }
        if metadata_len.is_some() {
            extensions.push((ut_metadata::NAME.to_owned(), UT_METADATA_ID));
        }
        let handshake = ExtensionHandshake {
            extensions,
            metadata_len,
            client: Some(self.config.client_version.to_owned()),
            port: Some(self.port_for(addr.ip())).filter(|port| *port != 0),
            request_queue: u32::try_from(MAX_SERVE_QUEUE).ok(),
            your_ip: Some(addr.ip()),
            upload_only: self.complete && !super_seeding,
            ..ExtensionHandshake::default()
        };
        Message::Extended { id: HANDSHAKE_ID, payload: handshake.encode().into() }
    }

    /// The port by which a peer reaches us: on the local network no gateway is between us, and with IPv6 none that translates.
    pub(super) fn port_for(&self, peer: IpAddr) -> u16 {
        let translated = peer.is_ipv4() && !is_local(peer);
        let outer_port = self.config.outer_port.filter(|_| translated);
        outer_port.unwrap_or(self.config.listen_port)
    }

    /// An extended message. One that cannot be read is passed over: peers get many of them wrong.
    ///
    /// # Errors
    /// The peer's fault, in words.
    pub(super) fn on_extended(
        &mut self,
        now: Instant,
        key: PeerKey,
        id: u8,
        payload: &[u8],
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        match id {
            HANDSHAKE_ID => {
                let Ok(said) = ExtensionHandshake::parse(payload) else { return Ok(()) };
                if let Some(requests) = said.request_queue {
                    peer.pipeline.set_reqq(requests);
                }
                // A later handshake may turn an extension off, by id 0; what it does not name stays as it was.
                let told =
                    |name| said.extensions.iter().find(|(n, _)| n == name).map(|(_, id)| *id);
                peer.upload_only_id = told(UPLOAD_ONLY).unwrap_or(peer.upload_only_id);
                peer.metadata_id = told(ut_metadata::NAME).unwrap_or(peer.metadata_id);
                if let Some(id) = told(ut_pex::NAME) {
                    peer.pex.wants(now, id);
                    self.pex_due = None;
                }
                peer.holepunch.id = told(ut_holepunch::NAME).unwrap_or(peer.holepunch.id);
                peer.upload_only = said.upload_only;
                self.crowd.recount(peer);
                if said.client.is_some() {
                    peer.client = said.client;
                }
                let from = peer.addr;
                if let Some(port) = said.port {
                    peer.pex.listens = Some(SocketAddr::new(from.ip(), port));
                    self.pex_changed();
                    self.peer_list.on_listen_port(now, from, port);
                }
                if let Some(ip) = said.your_ip
                    && self.external.vote(from.ip(), ip)
                {
                    self.on_external_ip(now, ip);
                }
            }
            UPLOAD_ONLY_ID => {
                peer.upload_only = payload.first().is_some_and(|flag| *flag != 0);
                self.crowd.recount(peer);
            }
            UT_METADATA_ID => self.on_metadata(key, payload, out),
            UT_PEX_ID => return self.on_pex(now, key, payload, out),
            UT_HOLEPUNCH_ID => self.on_holepunch(now, key, payload, out),
            _ => return Ok(()),
        }
        self.drop_if_redundant(now, key, out);
        self.schedule_tick(now);
        Ok(())
    }

    /// Tells everybody who cares that we want no payload any more, or want some again.
    pub(super) fn tell_upload_only(&mut self, now: Instant, out: &mut Outbox) {
        let flag = u8::from(self.complete);
        for peer in self.peers.iter_mut().filter(|peer| peer.upload_only_id != 0) {
            peer.last_sent = now;
            let payload = Box::new([flag]);
            out.push(Effect::Send(
                peer.key,
                Message::Extended { id: peer.upload_only_id, payload },
            ));
        }
    }
}
