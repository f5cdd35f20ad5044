//! The extension protocol (BEP 10), and upload-only (BEP 21), which rides on it.

use super::peer::MAX_SERVE_QUEUE;
use super::{PeerKey, Torrent};
use crate::outbox::{Effect, Outbox};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::vec;
use core::net::SocketAddr;
use samara_wire::peer::extension::{ExtensionHandshake, HANDSHAKE_ID};
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

const UPLOAD_ONLY: &str = "upload_only";

/// The id under which we want `upload_only` messages.
const UPLOAD_ONLY_ID: u8 = 3;

impl Torrent {
    /// What we say of ourselves to a peer at `addr`.
    pub(super) fn extension_handshake(&self, addr: SocketAddr) -> Message {
        let super_seeding = self.config.super_seeding;
        let handshake = ExtensionHandshake {
            extensions: vec![(UPLOAD_ONLY.to_owned(), UPLOAD_ONLY_ID)],
            client: Some(self.config.client_version.clone()),
            port: (self.config.listen_port != 0).then_some(self.config.listen_port),
            request_queue: u32::try_from(MAX_SERVE_QUEUE).ok(),
            your_ip: Some(addr.ip()),
            upload_only: self.complete && !super_seeding,
            ..ExtensionHandshake::default()
        };
        Message::Extended { id: HANDSHAKE_ID, payload: handshake.encode().into() }
    }

    /// An extended message. One that cannot be read is passed over: peers get many of them wrong.
    pub(super) fn on_extended(
        &mut self,
        now: Instant,
        key: PeerKey,
        id: u8,
        payload: &[u8],
        out: &mut Outbox,
    ) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        match id {
            HANDSHAKE_ID => {
                let Ok(said) = ExtensionHandshake::parse(payload) else { return };
                if let Some(requests) = said.request_queue {
                    peer.pipeline.set_reqq(requests);
                }
                if let Some(id) = said.id_of(UPLOAD_ONLY) {
                    peer.upload_only_id = id;
                }
                peer.upload_only = said.upload_only;
                if said.client.is_some() {
                    peer.client = said.client;
                }
                let from = peer.addr;
                if let Some(port) = said.port {
                    self.peer_list.on_listen_port(now, from, port);
                }
                if let Some(ip) = said.your_ip.filter(|_| !self.external_known) {
                    self.on_external_ip(now, ip);
                }
            }
            UPLOAD_ONLY_ID => peer.upload_only = payload.first().is_some_and(|flag| *flag != 0),
            _ => return,
        }
        self.drop_if_redundant(now, key, out);
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
