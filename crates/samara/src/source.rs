//! Where torrents come from: a file, stdin, or the web.

use crate::commands::runtime;
use crate::exit::{Exit, Failure, said};
use crate::output::clean;
use crate::suggest;
use samara_engine::wire::magnet::{Magnet, MagnetLink};
use samara_engine::wire::metainfo::{Metainfo, MetainfoError};
use samara_engine::{Egress, probe};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

/// Largest `.torrent` file that is read, in bytes.
const MAX_TORRENT: u64 = 32 << 20;

/// How long the download of a `.torrent` file may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// What the user named.
pub(crate) enum Source {
    /// A torrent, at hand.
    Torrent(Box<Metainfo>),
    /// A torrent whose metadata is yet to be found, or an item that says which.
    Magnet(Box<MagnetLink>),
}

/// The torrent, magnet link or info-hash that `source` is; what is on the web is fetched as `egress` has it.
pub(crate) fn open(source: &str, egress: &Egress) -> Result<Source, Failure> {
    if is_link(source) {
        return link(source).map(|link| Source::Magnet(Box::new(link)));
    }
    match Magnet::from_info_hash(source) {
        Ok(magnet) if !Path::new(source).exists() => {
            Ok(Source::Magnet(Box::new(MagnetLink::Torrent(magnet))))
        }
        _ => load(source, egress).map(|metainfo| Source::Torrent(Box::new(metainfo))),
    }
}

fn is_link(source: &str) -> bool {
    let scheme = source.trim_start().split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet"))
}

fn link(source: &str) -> Result<MagnetLink, Failure> {
    MagnetLink::parse(source).map_err(|e| {
        Failure::new(Exit::BadTorrent, e.to_string())
            .hint("copy the whole link; in a shell it has to stand in single quotes")
    })
}

/// The torrent that `source` names; what is on the web is fetched as `egress` has it.
pub(crate) fn load(source: &str, egress: &Egress) -> Result<Metainfo, Failure> {
    let scheme = source.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let bytes = match scheme.as_deref() {
        _ if is_link(source) => return Err(link(source).err().unwrap_or_else(link_instead)),
        Some("http" | "https") => fetch(source, egress)?,
        _ => read_local(source)?,
    };
    Metainfo::parse(&bytes).map_err(|e| {
        let failure = Failure::new(Exit::BadTorrent, format!("{}: {e}", shown(source)));
        match (&e, looks_like(&bytes)) {
            (MetainfoError::Magnet, _) => {
                failure.hint("give the link itself: samara download 'magnet:...'")
            }
            (MetainfoError::Bencode(_), Some(what)) => {
                failure.hint(format!("this looks like {what}"))
            }
            (MetainfoError::Bencode(_), None) => {
                failure.hint("is it a .torrent file, and was it downloaded in full?")
            }
            (MetainfoError::Field(_), _) => failure.hint("look inside with samara decode"),
            _ => failure,
        }
    })
}

/// The sources with each directory replaced by the torrents in it, in the order of their names.
pub(crate) fn expand(sources: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for source in sources {
        let path = Path::new(source);
        if path.is_dir() {
            let found = torrents_in(path).map_err(|e| Failure::io("read", path, &e))?;
            if found.is_empty() {
                return Err(Failure::new(
                    Exit::Io,
                    format!("there is no .torrent file in {}", path.display()),
                )
                .hint("the directory of the torrents comes first, that of the data after --data"));
            }
            all.extend(found);
        } else {
            all.push(source.clone());
        }
    }
    Ok(all)
}

fn torrents_in(dir: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("torrent")) {
            // A name that is not text could not have been typed either.
            found.extend(path.into_os_string().into_string());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn fetch(url: &str, egress: &Egress) -> Result<Vec<u8>, Failure> {
    runtime()?.block_on(probe::fetch_torrent(url, egress, FETCH_TIMEOUT)).map_err(|e| {
        Failure::new(Exit::Network, format!("cannot fetch {}: {e}", clean(url)))
            .hint("check the address; or download the .torrent file with a browser and give that")
    })
}

/// A link where the torrent itself is needed.
fn link_instead() -> Failure {
    Failure::new(Exit::Usage, "this command needs the torrent itself, not a link to it")
        .hint("samara magnet resolve 'magnet:...' -o FILE fetches it")
}

/// Reads a file, or stdin for `-`, up to the size of the largest torrent.
pub(crate) fn read_local(source: &str) -> Result<Vec<u8>, Failure> {
    let path = Path::new(source);
    let mut bytes = Vec::new();
    let read = if source == "-" {
        io::stdin().lock().take(MAX_TORRENT + 1).read_to_end(&mut bytes)
    } else {
        if path.is_dir() {
            return Err(is_directory(path));
        }
        File::open(path).and_then(|file| file.take(MAX_TORRENT + 1).read_to_end(&mut bytes))
    };
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing(path)),
        Err(e) => {
            Err(Failure::new(Exit::Io, format!("cannot read {}: {}", shown(source), said(&e))))
        }
        Ok(_) if bytes.len() as u64 > MAX_TORRENT => Err(Failure::new(
            Exit::BadTorrent,
            format!("{} is larger than any torrent (more than 32 MiB)", shown(source)),
        )
        .hint("is this the data itself? Give the .torrent file")),
        Ok(_) => Ok(bytes),
    }
}

/// How a source is named in messages.
pub(crate) fn shown(source: &str) -> String {
    if source == "-" { "standard input".to_owned() } else { clean(source).into_owned() }
}

/// What some bytes that are no torrent seem to be.
pub(crate) fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match text {
        [] => Some("an empty file"),
        [b'<', ..] => Some("a web page: the site may want a login, or the link may have expired"),
        [b'm' | b'M', b'a', b'g', b'n', b'e', b't', b':', ..] => {
            Some("a magnet link, not a torrent file")
        }
        [b'{', ..] => Some("JSON"),
        [0x1f, 0x8b, ..] => Some("a gzip archive: unpack it first"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive: unpack it first"),
        _ => None,
    }
}

fn is_directory(path: &Path) -> Failure {
    Failure::new(Exit::Io, format!("{} is a directory", path.display()))
        .hint("give a .torrent file; to make one of a directory: samara create PATH -o FILE")
}

fn missing(path: &Path) -> Failure {
    let failure = Failure::new(Exit::Io, format!("there is no file {}", path.display()));
    match similar(path) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure,
    }
}

/// A file beside `path` whose name is nearly that of `path`, or is it with `.torrent` added.
fn similar(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty());
    let names: Vec<String> = std::fs::read_dir(dir.unwrap_or(Path::new(".")))
        .ok()?
        .take(10_000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let longer = format!("{name}.torrent");
    let near = match names.iter().find(|n| **n == longer) {
        Some(exact) => exact.as_str(),
        None => suggest::nearest(name, names.iter().map(String::as_str))?,
    };
    Some(dir.map_or_else(|| near.to_owned(), |d| d.join(near).display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("film.torrent"), b"").unwrap();
        let near = |name: &str| similar(&dir.path().join(name));
        assert!(near("flim.torrent").unwrap().ends_with("film.torrent"));
        assert!(near("film").unwrap().ends_with("film.torrent"));
        assert_eq!(near("something else"), None);
    }

    #[test]
    fn a_directory_stands_for_the_torrents_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap().to_owned();
        assert!(expand(std::slice::from_ref(&root)).is_err());
        for name in ["b.torrent", "a.torrent", "c.txt", "C.TORRENT"] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let found = expand(&["-".to_owned(), root.clone()]).unwrap();
        let names = ["C.TORRENT", "a.torrent", "b.torrent"];
        assert_eq!(found[0], "-");
        assert_eq!(found[1..], names.map(|name| format!("{root}/{name}")));
    }

    #[test]
    fn what_is_no_torrent_is_recognised() {
        assert!(looks_like(b"\n <!DOCTYPE html>").unwrap().contains("web page"));
        assert!(looks_like(b"magnet:?xt=").unwrap().contains("magnet"));
        assert!(looks_like(b"").is_some());
        assert_eq!(looks_like(b"d3:abc"), None);
    }
}
