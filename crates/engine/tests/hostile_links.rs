//! Magnet links among peers that lie, stop, flood, or have nothing.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::create::Kind;
use samara_engine::wire::peer::message::Message;
use samara_engine::wire::peer::ut_metadata::{MetadataMessage, len_of_piece};
use samara_engine::{ResolveConfig, ResolveError};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use support::fake::{Fake, fake, gossip, has_metadata, link, resolve};
use support::{Sample, addr, run, session};

/// A sample whose info dictionary has several metadata pieces.
fn sample() -> Sample {
    Sample::single(40_000_000, 16 * 1024)
}

/// A peer that speaks the protocol and gives metadata of the right length and wrong content.
fn liar(sample: &Sample) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let len = u32::try_from(sample.metainfo.info.raw().len()).unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // It ends when the other side has enough of it.
            let _ = lie(stream, len);
        }
    });
    local
}

fn lie(stream: TcpStream, len: u32) -> std::io::Result<()> {
    let mut peer = Fake::meet(stream, &has_metadata(len), None)?;
    loop {
        if let Message::Extended { id: 7, payload } = peer.hear()?
            && let Ok(MetadataMessage::Request { piece }) = MetadataMessage::parse(&payload)
        {
            let noise = vec![b'?'; len_of_piece(len, piece) as usize];
            let data = MetadataMessage::Data { piece, total_len: Some(len), payload: &noise };
            peer.say(&Message::Extended { id: 2, payload: data.encode().into() })?;
        }
    }
}

/// Gives the first half of the metadata, then nothing; stays, or goes away.
fn stop_half_way(stream: TcpStream, len: u32, raw: &[u8], stays: bool) -> std::io::Result<()> {
    let mut peer = Fake::meet(stream, &has_metadata(len), None)?;
    let mut given = 0;
    while given < raw.len() / (16 * 1024) / 2 {
        given += usize::from(peer.give(raw)?.is_none());
    }
    if stays {
        loop {
            peer.hear()?;
        }
    }
    Ok(())
}

#[test]
fn liars_do_not_keep_the_truth_from_coming() {
    run(async {
        let sample = sample();
        let (seed, _torrent) = sample.seed().await;
        let peers = [liar(&sample), liar(&sample), addr(&seed), liar(&sample)];
        let leech = session(None);
        let found = resolve(&leech, link(&sample, &peers), 50).await.unwrap();
        assert_eq!(found.metainfo.info.raw(), sample.metainfo.info.raw());
        assert!(found.peers.contains(&addr(&seed)));
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_peer_that_floods_with_exchange_messages_is_left() {
    run(async {
        let sample = sample();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ((once, stays), (flood, left)) = (gossip(nobody, 1), gossip(nobody, 50));
        let leech = session(None);
        let mut waiting = leech.resolve(link(&sample, &[once, flood]), ResolveConfig::default());
        let heard = tokio::task::spawn_blocking(move || left.recv_timeout(Duration::from_secs(20)));
        tokio::select! {
            heard = heard => heard.unwrap().unwrap(),
            _ = waiting.outcome() => panic!("nobody has it"),
        }
        assert!(stays.try_recv().is_err(), "who keeps to the rules may stay");
        leech.shutdown().await;
    });
}

#[test]
fn lengths_that_are_lies_and_peers_that_stop_do_not_keep_the_truth_from_coming() {
    run(async {
        let sample = sample();
        let (seed, _torrent) = sample.seed().await;
        let info = sample.metainfo.info.clone();
        let len = u32::try_from(info.raw().len()).unwrap();
        // Claims as much as is allowed and drips it.
        let long = fake(|stream| {
            let mut peer = Fake::meet(stream, &has_metadata(16 << 20), None)?;
            loop {
                peer.give(&vec![b'?'; 16 << 20])?;
            }
        });
        // Claims more than is allowed.
        let too_long = fake(|stream| {
            let mut peer = Fake::meet(stream, &has_metadata((16 << 20) + 1), None)?;
            loop {
                peer.hear()?;
            }
        });
        let raw = info.raw().to_vec();
        let half_then_silent = fake(move |stream| stop_half_way(stream, len, &raw, true));
        let raw = info.raw().to_vec();
        let half_then_gone = fake(move |stream| stop_half_way(stream, len, &raw, false));
        let peers = [long, too_long, half_then_silent, half_then_gone, addr(&seed)];
        let leech = session(None);
        let found = resolve(&leech, link(&sample, &peers), 30).await.unwrap();
        assert_eq!(found.metainfo.info.raw(), info.raw());
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn what_is_lacking_is_said_in_truth() {
    run(async {
        let sample = sample();
        let info = sample.metainfo.info.clone();
        let len = u32::try_from(info.raw().len()).unwrap();
        let half = fake(move |stream| stop_half_way(stream, len, info.raw(), true));
        let too_long = fake(|stream| {
            let mut peer = Fake::meet(stream, &has_metadata((16 << 20) + 1), None)?;
            loop {
                peer.hear()?;
            }
        });
        let leech = session(None);
        let late = resolve(&leech, link(&sample, &[half, too_long]), 4).await.unwrap_err();
        let ResolveError::Timeout { status, .. } = &late else { panic!("{late}") };
        assert_eq!((status.fetch.asked, status.fetch.without), (1, 1), "{late}");
        let given = len / (16 * 1024) / 2 * 16;
        let here = format!("{given} of {} KiB here", len.div_ceil(1024));
        assert!(late.to_string().ends_with(&here), "{late}");
        leech.shutdown().await;
    });
}

#[test]
fn wrong_piece_layers_convict_their_sender_and_the_right_ones_come() {
    run(async {
        let sample = Sample::single(20_000_000, 16 * 1024).of_kind(Kind::V2);
        let (seed, _torrent) = sample.seed().await;
        let info = sample.metainfo.info.clone();
        let liar = fake(move |stream| {
            let len = u32::try_from(info.raw().len()).unwrap();
            let mut peer = Fake::meet(stream, &has_metadata(len), None)?;
            loop {
                if let Some(Message::HashRequest(request)) = peer.give(info.raw())? {
                    let (file, _) = info.layered_files()[&request.root];
                    let mut hashes = info.answer_hashes(file, &request).unwrap();
                    hashes[1][0] ^= 1;
                    peer.say(&Message::Hashes { request, hashes: hashes.into() })?;
                }
            }
        });
        let leech = session(None);
        let late = resolve(&leech, link(&sample, &[liar]), 4).await.unwrap_err();
        let ResolveError::Timeout { status, .. } = &late else { panic!("{late}") };
        assert_eq!((status.fetch.liars, status.layers), (1, Some((0, 3))), "{late}");
        assert!(late.to_string().starts_with("no piece layers within 4 s: "), "{late}");
        let found = resolve(&leech, link(&sample, &[addr(&seed)]), 20).await.unwrap();
        assert!(found.metainfo.info.has_piece_layers());
        leech.shutdown().await;
        seed.shutdown().await;
    });
}
