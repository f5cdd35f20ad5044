//! The table from run to run: one file for each family in the state directory, `dht4.table` and `dht6.table`.
//!
//! ```text
//! samara dht table 1\n       the format and its version
//! 0123abcd\n                 CRC-32 of all that follows, in hexadecimal
//! ...                        as `samara_dht::SavedTable` writes it
//! ```
//!
//! By way of a proxy the file is `dht4-proxy.table`: an id is made to fit our address (BEP 42) and goes with it for months, so one
//! that was used without the proxy would tell whoever sees it there who we are, and the other way round.
//!
//! It is replaced as a whole. A file that cannot be understood is set aside as `NAME.damaged`, and the network is joined as on
//! the first day.

use crate::resume::crc_line;
use crate::shared::Shared;
use samara_dht::{Family, SavedTable};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;

pub(super) const MAGIC: &[u8] = b"samara dht table 1\n";

/// Longest file that is read, in bytes: some times what is ever written.
const MAX_LEN: u64 = 256 << 10;

/// Time for the tables to be read in; after that the nodes start without.
const LOAD_TIME: Duration = Duration::from_secs(3);

fn path(state_dir: &Path, family: Family, proxied: bool) -> PathBuf {
    state_dir.join(match (family, proxied) {
        (Family::V4, false) => "dht4.table",
        (Family::V6, false) => "dht6.table",
        (Family::V4, true) => "dht4-proxy.table",
        (Family::V6, true) => "dht6-proxy.table",
    })
}

/// What an earlier run left, of either family.
pub(super) async fn load_both(shared: &Shared) -> [Option<SavedTable>; 2] {
    let Some(dir) = shared.config.state_dir.clone() else { return [None, None] };
    let proxied = shared.carrier.is_some();
    let reading = spawn_blocking(move || [Family::V4, Family::V6].map(|f| load(&dir, f, proxied)));
    match tokio::time::timeout(LOAD_TIME, reading).await {
        // An error is a panic in there, reported when it happened.
        Ok(saved) => saved.unwrap_or_default(),
        Err(_) => {
            tracing::warn!("the tables of the DHT cannot be read in time; starting without");
            [None, None]
        }
    }
}

/// What an earlier run left, if anything. Blocks.
fn load(state_dir: &Path, family: Family, proxied: bool) -> Option<SavedTable> {
    let path = path(state_dir, family, proxied);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_LEN).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read the table of the DHT");
            return None;
        }
    }
    let saved = decode(&bytes);
    if saved.is_none() {
        tracing::warn!(path = %path.display(), "the table of the DHT is damaged; set aside");
        // If even that fails, the next save replaces it.
        let _ = fs::rename(&path, path.with_extension("table.damaged"));
    }
    saved
}

pub(super) fn decode(bytes: &[u8]) -> Option<SavedTable> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let body = rest.get(crc_line(&[]).len()..)?;
    rest.starts_with(crc_line(body).as_bytes()).then(|| SavedTable::parse(body)).flatten()
}

/// Keeps a table. Blocks.
pub(super) fn save(state_dir: &Path, family: Family, proxied: bool, table: &SavedTable) {
    let path = path(state_dir, family, proxied);
    let body = table.encode();
    let write = || {
        let fresh = path.with_extension("table.new");
        let mut file = File::create(&fresh)?;
        file.write_all(MAGIC)?;
        file.write_all(crc_line(&body).as_bytes())?;
        file.write_all(&body)?;
        file.sync_data()?;
        fs::rename(&fresh, &path)?;
        File::open(state_dir)?.sync_all()
    };
    if let Err(error) = write() {
        // The next run only joins more slowly.
        tracing::warn!(path = %path.display(), %error, "cannot keep the table of the DHT");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::krpc::{NodeId, NodeInfo};
    use std::net::SocketAddr;

    #[test]
    fn what_is_kept_is_found_and_every_damage_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeInfo { id: NodeId([7; 20]), addr: SocketAddr::from(([1, 2, 3, 4], 5)) };
        let table = SavedTable { id: NodeId([9; 20]), nodes: vec![node] };
        assert_eq!(load(dir.path(), Family::V4, false), None);
        save(dir.path(), Family::V4, false, &table);
        assert_eq!(load(dir.path(), Family::V4, false).as_ref(), Some(&table));
        assert_eq!(load(dir.path(), Family::V6, false), None);
        assert_eq!(load(dir.path(), Family::V4, true), None, "with a proxy it is another");
        let file = path(dir.path(), Family::V4, false);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes), None, "flipped at {at}");
            assert_eq!(decode(&whole[..at]), None, "cut at {at}");
        }
        fs::write(&file, &whole[1..]).unwrap();
        assert_eq!(load(dir.path(), Family::V4, false), None);
        assert!(!file.exists() && file.with_extension("table.damaged").exists());
    }
}
