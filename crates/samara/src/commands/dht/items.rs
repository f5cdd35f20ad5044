//! `dht get` and `dht put`: items (BEP 44), and those that point to torrents (BEP 46).

use super::{ask, key};
use crate::args::{DhtGetArgs, DhtPutArgs};
use crate::commands::{Context, decode};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::source;
use crate::units;
use samara_engine::Egress;
use samara_engine::dht::SecretKey;
use samara_engine::wire::bencode::{self, Encoder, Limits};
use samara_engine::wire::krpc::{
    Item, MAX_ITEM_VALUE, MAX_SALT, NodeId, PublicKey, immutable_target, mutable_target,
    pointed_torrent, pointer_value,
};
use samara_engine::wire::magnet::{Magnet, MagnetLink, MutableMagnet};
use serde_json::json;

/// Prints what is stored.
pub(super) fn get(args: &DhtGetArgs, context: &Context) -> Result<Exit, Failure> {
    let salt = salt(&args.salt)?;
    let target = match (&args.target, &args.key) {
        (_, Some(key)) => mutable_target(&PublicKey(digits(key, "key", 64)?), &salt),
        (Some(target), None) => NodeId(digits(target, "target", 40)?),
        (None, None) => return Err(Failure::new(Exit::Usage, "neither a target nor a key")),
    };
    let found = ask(&args.network, context, args.timeout, async |dht| dht.get(target, salt).await)?;
    match found {
        None => Ok(Exit::Interrupted),
        Some(None) => Err(Failure::new(Exit::Failed, format!("nothing is stored at {target}"))
            .hint("items are forgotten after two hours or so; one with a salt needs --salt")),
        Some(Some(item)) => show(&item, target, args.raw, context.out).map(|()| Exit::Done),
    }
}

fn show(item: &Item, target: NodeId, raw: bool, out: Output) -> Result<(), Failure> {
    // It was checked where it was found, and is bounded.
    let json = decode::compact(&item.value).unwrap_or_else(|| "null".to_owned());
    if out.json {
        let value: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
        return out.object(
            "dht_item",
            json!({
                "target": target.to_string(),
                "value": value,
                "key": item.signed.map(|signed| units::hex(&signed.key.0)),
                "seq": item.signed.map(|signed| signed.seq),
                "torrent": pointed_torrent(&item.value).map(|hash| hash.to_string()),
            }),
        );
    }
    if raw {
        return out.bytes(&item.value);
    }
    if let Some(signed) = item.signed {
        out.note(format_args!("Version {}, signed by {}", signed.seq, units::hex(&signed.key.0)));
    }
    let doc = bencode::parse(&item.value, Limits::WIRE).ok();
    let bytes = doc.as_ref().and_then(|doc| doc.root().as_bytes());
    match bytes.and_then(decode::readable) {
        Some(text) => out.line(text),
        None => out.line(json),
    }
}

/// Stores an item.
pub(super) fn put(args: &DhtPutArgs, context: &Context) -> Result<Exit, Failure> {
    let salt = salt(&args.salt)?;
    let egress = &context.loaded.settings.egress(&args.network.bind);
    let value = value(args, egress)?;
    if value.len() > MAX_ITEM_VALUE {
        let what = format!(
            "an item has at most {MAX_ITEM_VALUE} bytes as it is stored; this one has {}",
            value.len()
        );
        return Err(Failure::new(Exit::Usage, what));
    }
    let secret = args.key_file.as_deref().map(key::read).transpose()?;
    let stored = ask(&args.network, context, args.timeout, async |dht| {
        let item = match &secret {
            None => Item { value, signed: None },
            Some(secret) => {
                let seq = match args.seq {
                    Some(seq) => seq,
                    None => {
                        let target = mutable_target(&secret.public(), &salt);
                        let known = dht.get(target, salt.clone()).await?;
                        let seq = known.and_then(|item| item.signed).map(|signed| signed.seq);
                        seq.map_or(1, |seq| seq.saturating_add(1))
                    }
                };
                secret.sign(&salt, seq, &value)
            }
        };
        let count = dht.put(item.clone(), salt.clone(), args.cas).await?;
        Ok((item, count))
    })?;
    let Some((item, count)) = stored else { return Ok(Exit::Interrupted) };
    if count == 0 {
        let failure = Failure::new(Exit::Failed, "no node of the DHT stored it");
        return Err(match args.cas.is_some() || args.seq.is_some() {
            true => failure.hint("a newer version may be there: see samara dht get --key"),
            false => failure.hint("try again later"),
        });
    }
    tell(args, &item, &salt, secret.as_ref(), count, context.out)?;
    Ok(Exit::Done)
}

fn tell(
    args: &DhtPutArgs,
    item: &Item,
    salt: &[u8],
    secret: Option<&SecretKey>,
    count: u32,
    out: Output,
) -> Result<(), Failure> {
    let public = secret.map(SecretKey::public);
    let target = match &public {
        Some(key) => mutable_target(key, salt),
        None => immutable_target(&item.value),
    };
    let link = public.filter(|_| args.torrent.is_some());
    let link = link.map(|key| MutableMagnet::new(key, salt.to_vec()));
    let link = link.map(|link| MagnetLink::Mutable(link).to_string());
    let seq = item.signed.map(|signed| signed.seq);
    if out.json {
        return out.object(
            "dht_put",
            json!({
                "target": target.to_string(),
                "key": public.map(|key| units::hex(&key.0)),
                "seq": seq,
                "stored": count,
                "link": link,
            }),
        );
    }
    out.line(format_args!("target {target}"))?;
    if let (Some(key), Some(seq)) = (public, seq) {
        out.line(format_args!("key    {}", units::hex(&key.0)))?;
        out.line(format_args!("seq    {seq}"))?;
    }
    if let Some(link) = link {
        out.line(format_args!("link   {link}"))?;
    }
    out.note(format_args!("Stored by {}.", units::count(count.into(), "node", "nodes")));
    Ok(())
}

/// What is to be stored, bencoded.
fn value(args: &DhtPutArgs, egress: &Egress) -> Result<Vec<u8>, Failure> {
    let string = |bytes: &[u8]| {
        let mut encoder = Encoder::new();
        encoder.bytes(bytes);
        encoder.finish()
    };
    if let Some(torrent) = &args.torrent {
        let hashes = match Magnet::from_info_hash(torrent) {
            Ok(magnet) => magnet.hashes,
            Err(_) => source::load(torrent, egress)?.info.hashes(),
        };
        return Ok(pointer_value(hashes.wire()));
    }
    match (&args.file, &args.value) {
        (Some(file), _) => Ok(string(&source::read_local(file)?)),
        (None, Some(text)) => Ok(string(text.as_bytes())),
        (None, None) => Err(Failure::new(Exit::Usage, "there is nothing to store")),
    }
}

fn salt(text: &str) -> Result<Vec<u8>, Failure> {
    if text.len() > MAX_SALT {
        return Err(Failure::new(Exit::Usage, format!("a salt has at most {MAX_SALT} bytes")));
    }
    Ok(text.as_bytes().to_vec())
}

fn digits<const N: usize>(text: &str, what: &str, count: usize) -> Result<[u8; N], Failure> {
    units::unhex(text.trim()).ok_or_else(|| {
        let shown = crate::output::clean(text).into_owned();
        Failure::new(
            Exit::Usage,
            format!("`{shown}` is no {what}: it has {count} hexadecimal digits"),
        )
    })
}
