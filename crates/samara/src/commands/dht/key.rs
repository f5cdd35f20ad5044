//! Keys that sign items: a file of 64 hexadecimal digits, which only its owner may read.

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::units;
use samara_engine::dht::{SecretKey, generate_key};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// Makes a key, keeps its secret half and prints the other.
pub(super) fn generate(path: &Path, out: Output) -> Result<Exit, Failure> {
    let (key, secret) = generate_key()
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot make a key: {e}")))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(format!("{}\n", units::hex(&secret)).as_bytes())?;
        file.sync_all()
    });
    written.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::Io, format!("{} exists", path.display()))
                .hint("a key is never replaced; choose another name with -o")
        }
        _ => Failure::io("write", path, &e),
    })?;
    let public = units::hex(&key.public().0);
    match out.json {
        true => out.object("dht_key", json!({ "key": public, "path": path }))?,
        false => out.line(public)?,
    }
    Ok(Exit::Done)
}

/// The key that a file holds.
pub(super) fn read(path: &Path) -> Result<SecretKey, Failure> {
    let mut text = String::new();
    // A little more than a key, so that what is longer is noticed.
    let read = File::open(path).and_then(|file| file.take(80).read_to_string(&mut text));
    match read {
        Err(e) if e.kind() != io::ErrorKind::InvalidData => Err(Failure::io("read", path, &e)),
        _ => units::unhex(text.trim()).map(|seed| SecretKey::from_seed(&seed)).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{} holds no key", path.display()))
                .hint("make one with samara dht keygen -o FILE")
        }),
    }
}
