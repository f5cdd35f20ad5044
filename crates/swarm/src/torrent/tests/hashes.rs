//! Hash requests of peers (BEP 52).

use super::*;
use crate::metadata::tests::v2_info;
use alloc::vec::Vec;
use samara_wire::metainfo::Info;
use samara_wire::metainfo::merkle::{piece_layer_request, proven};
use samara_wire::peer::hashes::HashRequest;

fn seed_with(info: &Info, private: bool) -> Trace {
    let config = TorrentConfig { private, ..TorrentConfig::default() };
    let now = Instant::from_secs(1000);
    let have = Bitfield::empty(info.layout().count());
    let mut torrent = Torrent::new(now, config, info.hashes(), info.layout().clone(), have);
    torrent.set_metadata(info.clone());
    let mut trace = Trace { torrent, now, out: Outbox::new(), peers: 0 };
    trace.torrent.handle_start(now, &mut trace.out);
    trace.effects();
    trace
}

/// The requests that fetch all layers of `info`.
fn requests(info: &Info) -> Vec<HashRequest> {
    let files = info.layered_files().into_iter();
    let runs = files.flat_map(|(root, (_, pieces))| {
        let firsts = (0..pieces).step_by(512);
        firsts.map(move |first| piece_layer_request(root, BLOCK_LEN, pieces, first))
    });
    runs.collect()
}

fn reject(request: HashRequest, to: PeerKey) -> Effect {
    Effect::Send(to, Message::HashReject(request.into()))
}

#[test]
fn piece_layers_are_given_with_their_proof_whatever_pieces_we_have() {
    let info = v2_info(&[1, 1300, 3]);
    let mut t = seed_with(&info, false);
    let p = t.plain_peer();
    let all = requests(&info);
    assert_eq!(all.len(), 4);
    for request in &all {
        assert_eq!(t.says(p, Message::HashRequest((*request).into())), [Effect::ServeReady(p)]);
    }
    for request in &all {
        let Some(Message::Hashes { request: of, hashes }) = t.torrent.poll_hashes(t.now, p) else {
            panic!("no hashes")
        };
        assert_eq!(*of, *request, "in the order they were asked for");
        assert!(proven(request, &hashes).is_some());
    }
    assert_eq!(t.torrent.poll_hashes(t.now, p), None);
}

#[test]
fn what_we_do_not_have_or_may_not_give_is_rejected() {
    let info = v2_info(&[600]);
    let request = requests(&info)[0];
    let ask = |t: &mut Trace, request: HashRequest| {
        let p = t.plain_peer();
        let at_once = t.says(p, Message::HashRequest(request.into()));
        let later = t.torrent.poll_hashes(t.now, p).map(|message| Effect::Send(p, message));
        later.map_or(at_once, |later| alloc::vec![later]) == [reject(request, p)]
    };
    let mut t = seed_with(&info, false);
    assert!(!ask(&mut t, request));
    assert!(ask(&mut t, HashRequest { root: [1; 32], ..request }), "no such file");
    assert!(ask(&mut t, HashRequest { len: 0, ..request }));
    assert!(ask(&mut t, HashRequest { len: u32::MAX, index: u32::MAX, ..request }));
    assert!(ask(&mut t, HashRequest { proof_layers: u32::MAX, ..request }));
    assert!(ask(&mut t, HashRequest { base: u32::MAX, ..request }));
    assert!(ask(&mut seed_with(&info, true), request), "a private torrent");
    let alone = Info::parse(info.raw()).unwrap();
    assert!(ask(&mut seed_with(&alone, false), request), "the layers are not known");
    assert!(ask(&mut Trace::seed(), request), "no metadata at all");
}

#[test]
fn a_peer_that_asks_without_end_is_rejected_in_the_end_and_its_queue_is_bounded() {
    let info = v2_info(&[600]);
    let request = requests(&info)[0];
    let mut t = seed_with(&info, false);
    let (p, mut refused) = (t.plain_peer(), 0);
    for _ in 0..100 {
        let effects = t.says(p, Message::HashRequest(request.into()));
        refused += usize::from(effects == [reject(request, p)]);
    }
    assert_eq!(refused, 100 - 64);
    let mut given = 64;
    while t.torrent.poll_hashes(t.now, p).is_some() {}
    for _ in 0..1000 {
        t.says(p, Message::HashRequest(request.into()));
        given += u32::from(t.torrent.poll_hashes(t.now, p).is_some());
    }
    assert_eq!(given, 256);
    let stray = Message::Hashes { request: request.into(), hashes: [[0; 32]; 2].into() };
    assert_eq!(t.says(p, stray), [], "we ask for none, and it does no harm");
}
