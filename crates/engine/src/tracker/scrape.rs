//! Asks a tracker what it knows of torrents, without announcing them (BEP 48, and BEP 15 for UDP).

use super::error::TrackerFault;
use super::http::Origin;
use super::{Inner, body};
use reqwest::Url;
use samara_wire::id::WireHash;
use samara_wire::tracker::http::{parse_scrape_of, scrape_url};
use samara_wire::tracker::{ScrapeStats, udp};

/// Torrents in one request over HTTP: each takes up to 70 bytes of a URL, and some servers take no more than 4 KiB.
const HTTP_BATCH: usize = 50;

/// What the tracker knows of each torrent, in the order of `hashes`; `None`: nothing.
pub(super) async fn scrape(
    inner: &Inner,
    target: &Url,
    hashes: &[WireHash],
) -> Result<Vec<Option<ScrapeStats>>, TrackerFault> {
    let mut all = Vec::with_capacity(hashes.len());
    if target.scheme() == "udp" {
        let hosts = inner.hosts(target, None).await?;
        for batch in hashes.chunks(udp::MAX_SCRAPE) {
            let stats = inner.udp.scrape(&hosts, batch).await?;
            // A tracker that answers for fewer knows nothing of the others.
            all.extend((0..batch.len()).map(|i| stats.get(i).copied()));
        }
        return Ok(all);
    }
    for batch in hashes.chunks(HTTP_BATCH) {
        let url = scrape_url(target.as_str(), batch).ok_or(TrackerFault::NoScrape)?;
        let url = Url::parse(&url).map_err(|error| TrackerFault::Url(error.to_string()))?;
        let answer = inner.http.get(url, Origin::Scrape, body::ANNOUNCE, None).await?;
        let known = super::answer_of(&answer, |body| parse_scrape_of(body, batch))?;
        let of = |hash| known.iter().find(|(known, _)| known == hash).map(|(_, stats)| *stats);
        all.extend(batch.iter().map(of));
    }
    Ok(all)
}
