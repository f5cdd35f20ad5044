//! Scrapes of our own tracker, and of those that answer otherwise.

use super::*;
use crate::tracker_server::{TrackerServer, TrackerServerConfig};

fn hash(n: u8) -> WireHash {
    WireHash([n; 20])
}

fn stats(complete: u32, downloaded: u32, incomplete: u32) -> Option<ScrapeStats> {
    Some(ScrapeStats { complete, downloaded, incomplete })
}

async fn scrape(url: &str, hashes: &[WireHash]) -> Result<Vec<Option<ScrapeStats>>, TrackerFault> {
    let answer = TrackerClient::new(&Egress::default()).scrape(url, hashes, TIME).await;
    answer.map_err(|error| error.fault().clone())
}

#[tokio::test]
async fn many_torrents_are_scraped_in_a_few_requests() {
    let bind = vec!["127.0.0.1:0".parse().unwrap()];
    let server = TrackerServer::start(TrackerServerConfig { bind, ..Default::default() }).unwrap();
    let client = TrackerClient::new(&Egress::default());
    let http = format!("http://127.0.0.1:{}/announce", server.port());
    let udp = format!("udp://127.0.0.1:{}", server.port());
    for (n, left) in [(3, 0), (3, 5), (149, 0)] {
        let port = 1000 + u16::try_from(left).unwrap();
        let request = AnnounceRequest { info_hash: hash(n), left, port, ..request() };
        client.announce(&http, &request, TIME).await.unwrap();
    }
    let hashes: Vec<_> = (0..150).map(hash).collect();
    let known = |i: usize| match i {
        3 => stats(1, 0, 1),
        149 => stats(1, 0, 0),
        _ => None,
    };
    let all = client.scrape(&http, &hashes, TIME).await.unwrap();
    assert_eq!(all, (0..150).map(known).collect::<Vec<_>>());
    let all = client.scrape(&udp, &hashes, TIME).await.unwrap();
    // BEP 15 has no way to say that a torrent is not known.
    assert_eq!(all, (0..150).map(|i| known(i).or(stats(0, 0, 0))).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_over_udp_hold_seventy_four_torrents() {
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = sizes.clone();
    let addr = udp_tracker(move |_, request| match request {
        Request::Scrape { transaction, hashes, .. } => {
            seen.lock().unwrap().push(hashes.len());
            // One short: the last one is not known.
            let stats = vec![ScrapeStats::default(); hashes.len() - 1];
            vec![(transaction, Response::Scrape(stats))]
        }
        request => honest(request),
    })
    .await;
    let hashes: Vec<_> = (0..=150).map(hash).collect();
    let all = scrape(&format!("udp://{addr}/announce"), &hashes).await.unwrap();
    assert_eq!(*sizes.lock().unwrap(), [74, 74, 3]);
    let unknown: Vec<_> = (0..all.len()).filter(|&i| all[i].is_none()).collect();
    assert_eq!(unknown, [73, 147, 150]);
}

#[tokio::test]
async fn the_scrape_url_stands_where_the_announce_url_did() {
    let (addr, _) = serve(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let right = path == format!("/x/scrape.php?passkey=1&info_hash={}", "%07".repeat(20));
        let known = b"d5:filesd20:\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07d8:completei5e10:downloadedi50e10:incompletei10eeee";
        ok("", if right { known } else { b"d14:failure reason5:wronge" })
    })
    .await;
    let url = format!("http://{addr}/x/announce.php?passkey=1");
    assert_eq!(scrape(&url, &[hash(7)]).await, Ok(vec![stats(5, 50, 10)]));
    assert_eq!(scrape(&format!("http://{addr}/x"), &[hash(7)]).await, Err(TrackerFault::NoScrape));
    assert_eq!(scrape(&url, &[]).await, Ok(vec![]), "nothing is asked");
}

#[tokio::test]
async fn bad_answers_to_a_scrape_are_told_in_words() {
    let fault = async |answer: Vec<u8>| {
        let (addr, _) = serve(move |_| answer.clone()).await;
        scrape(&format!("http://{addr}/announce"), &[hash(7)]).await.unwrap_err()
    };
    assert_eq!(
        fault(ok("", b"d5:peers0:e")).await.to_string(),
        "the tracker's answer has no files"
    );
    assert_eq!(fault(ok("", b"d14:failure reason2:noe")).await.to_string(), "no");
    assert_eq!(fault(redirect("/scrape")).await, TrackerFault::Redirects);
    assert_eq!(fault(redirect("/admin")).await, TrackerFault::Local);
    let bomb = gzip(&vec![0; 64 << 20]);
    assert_eq!(fault(ok("", &bomb)).await, TrackerFault::TooLarge(1 << 20));
    let refused = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fault(refused.to_vec()).await, TrackerFault::Status(403));
    let addr = udp_tracker(|_, request| match request {
        Request::Scrape { transaction, .. } => {
            vec![(transaction, Response::Error("no scrapes".into()))]
        }
        request => honest(request),
    })
    .await;
    let fault = scrape(&format!("udp://{addr}"), &[hash(7)]).await.unwrap_err();
    assert_eq!(fault, TrackerFault::Rejected("no scrapes".into()));
}
