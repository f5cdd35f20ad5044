//! Links that follow a mutable item of the DHT (BEP 46): which torrent they mean today.

use super::dht;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::signals::Signals;
use crate::units;
use samara_engine::wire::id::{InfoHashV1, InfoHashes};
use samara_engine::wire::krpc::{Item, pointed_torrent};
use samara_engine::wire::magnet::{Magnet, MagnetLink, MutableMagnet};
use samara_engine::{DhtError, DhtHandle, Session};
use serde_json::json;
use std::time::Duration;

/// Pause before an item that was not found is looked for again.
const AGAIN: Duration = Duration::from_secs(5);

/// The links with what each item points to put in its place; `None` if somebody says stop.
pub(crate) async fn all(
    session: &Session,
    links: Vec<MagnetLink>,
    timeout: Duration,
    signals: &mut Signals,
    out: Output,
) -> Result<Option<Vec<Magnet>>, Failure> {
    let deadline = tokio::time::Instant::now() + timeout;
    let mut named = Vec::new();
    for link in links {
        let followed = match link {
            MagnetLink::Torrent(magnet) => {
                named.push(magnet);
                continue;
            }
            MagnetLink::Mutable(followed) => followed,
        };
        let Some(dht) = session.dht() else {
            return Err(Failure::new(
                Exit::Usage,
                "the link follows an item of the DHT, which is off",
            )
            .hint("leave out --no-dht, or name a node with --dht-node"));
        };
        tokio::select! {
            found = tokio::time::timeout_at(deadline, find(&dht, &followed)) => {
                named.push(point(followed, found.unwrap_or(Ok(None)).map_err(dht::failed)?, out)?);
            }
            () = signals.next() => return Ok(None),
        }
    }
    Ok(Some(named))
}

/// The item. Looked for again and again, unless the link names a torrent to go on with.
async fn find(dht: &DhtHandle, link: &MutableMagnet) -> Result<Option<Item>, DhtError> {
    loop {
        match dht.get(link.target(), link.salt.clone()).await {
            Ok(None) | Err(DhtError::NotJoined) if link.hashes.is_none() => {}
            Err(DhtError::NotJoined) => return Ok(None),
            answer => return answer,
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The link to what the item points to, or to what the link itself names if there is no item.
fn point(link: MutableMagnet, item: Option<Item>, out: Output) -> Result<Magnet, Failure> {
    let key = units::hex(&link.key.0);
    let name = clean(link.name.as_deref().unwrap_or(&key)).into_owned();
    let Some(Item { value, signed: Some(signed) }) = item else {
        let Some(hashes) = link.hashes else {
            return Err(Failure::new(
                Exit::Network,
                format!("{name}: no item was found in the DHT"),
            )
            .hint("it may not be published any more; give it more time with --timeout"));
        };
        out.warn(format_args!("{name}: no item was found in the DHT; taking what the link names"));
        return Ok(link.into_magnet(hashes));
    };
    let Some(hash) = pointed_torrent(&value) else {
        let what = format!("{name}: version {} points to no torrent", signed.seq);
        return Err(Failure::new(Exit::BadTorrent, what)
            .hint("see what it says: samara dht get --key KEY [--salt S]"));
    };
    if out.json {
        out.object(
            "followed",
            json!({ "key": key, "seq": signed.seq, "info_hash": hash.to_string() }),
        )?;
    } else {
        out.note(format_args!("{name}: version {}, torrent {hash}", signed.seq));
    }
    // Twenty bytes: the BEP knows no other.
    Ok(link.into_magnet(InfoHashes::v1_only(InfoHashV1(hash.0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{ColorWhen, GlobalArgs};
    use samara_engine::dht::SecretKey;
    use samara_engine::wire::id::WireHash;
    use samara_engine::wire::krpc::pointer_value;

    #[test]
    fn the_item_says_which_torrent_and_the_link_the_rest() {
        let global = GlobalArgs {
            json: false,
            quiet: true,
            verbose: 0,
            color: None,
            config: None,
            proxy: None,
        };
        let out = Output::new(&global, ColorWhen::Never);
        let key = SecretKey::from_seed(&[7; 32]);
        let mut link = MutableMagnet::new(key.public(), Vec::new());
        link.trackers.push("http://tracker.example/announce".to_owned());
        let item = |value: &[u8]| Some(key.sign(b"", 4, value));
        let found = point(link.clone(), item(&pointer_value(WireHash([5; 20]))), out).unwrap();
        assert_eq!(found.hashes.wire(), WireHash([5; 20]));
        assert_eq!(found.trackers, link.trackers);

        let failure = point(link.clone(), item(b"i1e"), out).unwrap_err();
        assert_eq!(failure.exit, Exit::BadTorrent);
        assert_eq!(point(link.clone(), None, out).unwrap_err().exit, Exit::Network);
        link.hashes = Some(InfoHashes::v1_only(InfoHashV1([6; 20])));
        assert_eq!(point(link, None, out).unwrap().hashes.wire(), WireHash([6; 20]));
    }
}
