//! `samara scrape`: how many seeds and leeches trackers know, without announcing anything.

use super::{Context, runtime};
use crate::args::ScrapeArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::source::{self, Source};
use crate::units;
use samara_engine::wire::id::WireHash;
use samara_engine::wire::magnet::MagnetLink;
use samara_engine::wire::tracker::ScrapeStats;
use samara_engine::{Egress, probe};
use serde_json::json;
use std::collections::BTreeMap;

/// A torrent that is asked for.
struct Asked {
    name: String,
    hash: WireHash,
}

/// Asks each tracker once for all torrents that name it, and prints a line for each tracker and torrent.
pub(crate) fn run(args: &ScrapeArgs, context: &Context) -> Result<Exit, Failure> {
    let egress = &context.loaded.settings.egress(&[]);
    let Questions { urls, torrents } = questions(args, egress)?;
    let of = |url: &String| torrents[url].iter().map(|asked| asked.hash).collect();
    let questions = urls.iter().map(|url| (url.clone(), of(url))).collect();
    let answers = runtime()?.block_on(probe::scrape_all(questions, egress, args.timeout));
    let mut answered = false;
    for (url, answer) in urls.iter().zip(answers) {
        match answer {
            Ok(stats) => {
                answered = true;
                for (asked, stats) in torrents[url].iter().zip(stats) {
                    print(url, asked, stats, context.out)?;
                }
            }
            Err(error) => {
                if context.out.json {
                    context.out.object("scrape", json!({ "url": clean(url), "error": error }))?;
                }
                context.out.warn(format_args!("{}: {}", clean(url), clean(&error)));
            }
        }
    }
    if !answered {
        return Err(Failure::new(Exit::Network, "no tracker answered")
            .hint("check the network; some trackers cannot be scraped: samara peers announces"));
    }
    Ok(Exit::Done)
}

/// Whom to ask for what.
#[derive(Default)]
struct Questions {
    /// The trackers, in the order in which they are first named.
    urls: Vec<String>,
    /// The torrents to ask each of them for.
    torrents: BTreeMap<String, Vec<Asked>>,
}

fn questions(args: &ScrapeArgs, egress: &Egress) -> Result<Questions, Failure> {
    let Questions { mut urls, mut torrents } = Questions::default();
    for given in &args.sources {
        let (name, hash, mut trackers) = match source::open(given, egress)? {
            Source::Torrent(metainfo) => {
                let hash = metainfo.info.hashes().wire();
                (metainfo.info.name().to_owned(), hash, metainfo.trackers.concat())
            }
            Source::Magnet(link) => {
                let MagnetLink::Torrent(magnet) = *link else {
                    let what = format!("{} names no torrent, only an item", source::shown(given));
                    return Err(Failure::new(Exit::Usage, what)
                        .hint("see what it points to: samara dht get --key KEY"));
                };
                let hash = magnet.hashes.wire();
                (magnet.name.unwrap_or_else(|| hash.to_string()), hash, magnet.trackers)
            }
        };
        if !args.trackers.is_empty() {
            trackers.clone_from(&args.trackers);
        }
        if trackers.is_empty() {
            let what = format!("{} names no tracker", source::shown(given));
            return Err(Failure::new(Exit::Usage, what).hint("give one with --tracker URL"));
        }
        for url in trackers {
            let asked = torrents.entry(url.clone()).or_insert_with(|| {
                urls.push(url);
                Vec::new()
            });
            if asked.iter().all(|other| other.hash != hash) {
                asked.push(Asked { name: name.clone(), hash });
            }
        }
    }
    Ok(Questions { urls, torrents })
}

fn print(url: &str, asked: &Asked, stats: Option<ScrapeStats>, out: Output) -> Result<(), Failure> {
    if out.json {
        return out.object(
            "scrape",
            json!({
                "url": clean(url),
                "info_hash": asked.hash.to_string(),
                "name": asked.name,
                "complete": stats.map(|s| s.complete),
                "incomplete": stats.map(|s| s.incomplete),
                "downloaded": stats.map(|s| s.downloaded),
            }),
        );
    }
    let said = match stats {
        None => "not known".to_owned(),
        Some(ScrapeStats { complete, downloaded, incomplete }) => format!(
            "{}, {}, {}",
            units::count(complete.into(), "seed", "seeds"),
            units::count(incomplete.into(), "leech", "leeches"),
            units::count(downloaded.into(), "download", "downloads"),
        ),
    };
    out.line(format_args!("{}: {}: {said}", clean(url), clean(&asked.name)))
}
