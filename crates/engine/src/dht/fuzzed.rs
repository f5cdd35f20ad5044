//! Fuzz target: the table kept from run to run.

use super::keep::{self, MAGIC};
use crate::resume::crc_line;

/// Reads `input` as a file, and as the body of one whose checksum is right: what is taken is written so that it is read the same.
pub fn table_file(input: &[u8]) {
    let framed = [MAGIC, crc_line(input).as_bytes(), input].concat();
    for bytes in [input, &framed] {
        let Some(table) = keep::decode(bytes) else { continue };
        assert!(table.nodes.len() <= samara_dht::saved::MAX_SAVED);
        let body = table.encode();
        let written = [MAGIC, crc_line(&body).as_bytes(), &body].concat();
        assert_eq!(keep::decode(&written), Some(table));
    }
}
