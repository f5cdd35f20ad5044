//! Tracker formats: what is understood can be said again and is understood the same; bounds hold.

use samara_wire::tracker::http::{
    self, PeersForm, encode_announce, encode_scrape, parse_announce, parse_announce_query,
    parse_scrape, parse_scrape_query,
};
use samara_wire::tracker::udp::{Family, Request, Response};
use samara_wire::tracker::{AnnounceResponse, INTERVAL_BOUNDS, MAX_PEERS};

/// Reads `input` as every kind of answer, query and datagram.
pub fn run(input: &[u8]) {
    if let Ok(answer) = parse_announce(input) {
        check(&answer);
        for form in [PeersForm::Compact, PeersForm::Dictionary(&[])] {
            let again = parse_announce(&encode_announce(&answer, form));
            let mut again = again.expect("our own encoding");
            // The compact form has one list for each family.
            again.peers.sort_unstable();
            let mut want = answer.clone();
            want.peers.sort_unstable();
            assert_eq!(again, want);
        }
    }
    if let Ok(mut torrents) = parse_scrape(input) {
        torrents.sort_by_key(|torrent| torrent.0);
        torrents.dedup_by_key(|torrent| torrent.0);
        assert_eq!(parse_scrape(&encode_scrape(&torrents)), Ok(torrents));
    }
    if let Ok(query) = std::str::from_utf8(input) {
        queries(query);
    }
    datagrams(input);
}

fn check(answer: &AnnounceResponse) {
    assert!(answer.peers.len() <= MAX_PEERS);
    assert!(answer.peers.iter().all(|peer| peer.port() != 0));
    assert!((INTERVAL_BOUNDS.0..=INTERVAL_BOUNDS.1).contains(&answer.interval));
}

fn queries(query: &str) {
    if let Ok(parsed) = parse_announce_query(query) {
        let url = http::announce_url("/announce", &parsed.request);
        let again = parse_announce_query(url.split_once('?').expect("a query").1);
        assert_eq!(again.map(|again| again.request), Ok(parsed.request));
    }
    if let Ok(hashes) = parse_scrape_query(query) {
        let url = http::scrape_url("/announce", &hashes).expect("a path that can be scraped");
        let again = url.split_once('?').map_or("", |(_, query)| query);
        assert_eq!(parse_scrape_query(again), Ok(hashes));
    }
}

fn datagrams(input: &[u8]) {
    let mut bytes = Vec::new();
    if let Ok(request) = Request::parse(input) {
        request.encode(&mut bytes);
        assert_eq!(Request::parse(&bytes), Ok(request));
    }
    for family in [Family::V4, Family::V6] {
        if let Ok((transaction, response)) = Response::parse(input, family) {
            if let Response::Announce(answer) = &response {
                check(answer);
            }
            bytes.clear();
            response.encode(transaction, family, &mut bytes);
            assert_eq!(Response::parse(&bytes, family), Ok((transaction, response)));
        }
    }
}
