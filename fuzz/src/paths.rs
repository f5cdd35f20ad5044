//! Paths that torrents name: whatever they say, the safe form stays below the directory that it is put in.

use crate::Script;
use samara_wire::metainfo::path::{FilePath, MAX_ELEMENT_BYTES, MAX_ELEMENTS};
use std::path::{Component, Path};

/// Reads `input` as the elements of a path.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut elements = Vec::new();
    while !script.is_done() {
        elements.push(script.bytes(300));
    }
    let Ok(path) = FilePath::from_untrusted(elements.iter().copied()) else { return };
    let base = Path::new("/downloads");
    let whole = base.join(path.as_str());
    let below = whole.strip_prefix(base).expect("below the directory");
    assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{below:?}");
    assert_eq!(below.components().count(), path.iter().count());
    assert!((1..=MAX_ELEMENTS).contains(&path.iter().count()));
    for element in &path {
        assert!(!matches!(element, "" | "." | "..") && element.len() <= MAX_ELEMENT_BYTES);
        assert!(!element.contains(['/', '\\', '\0']) && !element.contains(char::is_control));
        // What turns the direction of text can make a name look like another.
        assert!(!element.contains(['\u{202e}', '\u{202d}', '\u{2066}', '\u{2067}', '\u{200f}']));
    }
    // What is safe stays as it is.
    let again = FilePath::from_untrusted(path.iter().map(str::as_bytes));
    assert_eq!(again.as_ref(), Ok(&path));
    let parts = path.parent().map_or_else(String::new, |parent| format!("{parent}/"));
    assert_eq!(format!("{parts}{}", path.file_name()), path.as_str());
}
