//! Writes the seeds of all targets to `fuzz/seeds`. To be run when a target is new or its seeds change.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for target in samara_fuzz::TARGETS {
        let dir = dir.join(target.name);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&dir)?,
        }
        for (number, seed) in samara_fuzz::seeds::of(target.name).iter().enumerate() {
            std::fs::write(dir.join(number.to_string()), seed)?;
        }
    }
    Ok(())
}
