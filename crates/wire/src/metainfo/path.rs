//! Paths that are safe to create below a download directory, whatever a torrent says.
//!
//! A path element from a torrent is hostile, careless or fine. What only an attacker writes is refused, so that
//! the user hears of it; what a careless tool or another platform wrote is repaired:
//!
//! | in an element | what happens |
//! | --- | --- |
//! | `..`, alone or between separators | refused |
//! | a leading `/` or `\`, or a drive such as `C:\` | refused |
//! | `/` or `\` elsewhere | becomes `_` |
//! | nothing, or `.` | the element is left out; a path of which nothing is left is refused |
//! | NUL and other control characters | become `_` |
//! | characters that turn the direction of text | removed, so that `cod.exe` is not shown as `exe.doc` |
//! | invalid UTF-8 | becomes U+FFFD |
//! | more than 240 bytes | cut, the extension kept |
//! | on Windows: `<>:"\|?*` | become `_` |
//! | on Windows: dots and spaces at the end | removed |
//! | on Windows: device names (`CON`, `nul.txt`, `COM1`) | a `_` is put before them |
//!
//! And between the files of a torrent:
//!
//! | files | what happens |
//! | --- | --- |
//! | with the same path (on Windows and macOS: but for case) | the later one becomes `name (2).ext` |
//! | more than 500 of those | refused |
//! | one of which is a directory in the path of another | refused |
//!
//! The Windows rules are not applied elsewhere because they would hide existing data: `aux.c` and the pair
//! `xt_MARK.h`, `xt_mark.h` are ordinary files of the Linux sources. Unicode is not normalised.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// Most bytes in one element of a path. Most file systems have 255; some layers above them need a few.
pub const MAX_ELEMENT_BYTES: usize = 240;

/// Most elements in the path of a file below the torrent's own name.
pub const MAX_ELEMENTS: usize = 64;

/// Most files of one torrent that are renamed because another has their path.
const MAX_COLLISIONS: usize = 500;

/// Most numbers tried for one of them, so that a torrent full of numbered names costs no time.
const MAX_ATTEMPTS: u32 = 1000;

/// Longest extension that is kept when an element is cut, in bytes with its dot.
const MAX_EXTENSION_BYTES: usize = 20;

/// A relative path that is safe: at least one element, none of them empty, `.`, `..`, or with a separator in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Box<str>);

impl FilePath {
    /// The safe form, on this platform, of a path from an untrusted source. See the [module](self).
    ///
    /// # Errors
    /// If an element is hostile, nothing is left of the path, or it is too deep.
    pub fn from_untrusted<'a>(
        elements: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, PathError> {
        let mut path = PathBuilder::new(PathRules::HOST, None);
        elements.into_iter().try_for_each(|element| path.push(element).map(drop))?;
        path.build()
    }

    /// The elements from the outermost directory to the file.
    pub fn iter(&self) -> core::str::Split<'_, char> {
        self.0.split('/')
    }

    /// The elements joined by `/`, on every platform.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last element.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The elements but the last, joined by `/`; `None` if there is only one.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }
}

impl<'a> IntoIterator for &'a FilePath {
    type Item = &'a str;
    type IntoIter = core::str::Split<'a, char>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a path is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// An element leads out of its directory.
    #[error("the path element `{0}` leads out of the download directory")]
    Parent(String),
    /// An element begins at the root or at a drive.
    #[error("the path element `{0}` is absolute")]
    Absolute(String),
    /// Nothing is left of the path.
    #[error("a path is empty")]
    Empty,
    /// More than [`MAX_ELEMENTS`] directories.
    #[error("a path is more than {MAX_ELEMENTS} directories deep")]
    TooDeep,
    /// One file is a directory in the path of another.
    #[error("`{0}` is both a file and a directory")]
    FileIsDirectory(String),
    /// More than 500 files with the path of another.
    #[error("more than {MAX_COLLISIONS} files have the path of another file")]
    TooManyCollisions,
}

/// What the platform's file systems cannot do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PathRules {
    /// Device names, forbidden punctuation, and dots and spaces at the end.
    pub(super) windows_names: bool,
    /// Names that differ in case only are the same file.
    pub(super) fold_case: bool,
}

impl PathRules {
    pub(super) const HOST: Self = Self {
        windows_names: cfg!(windows),
        fold_case: cfg!(any(windows, target_vendor = "apple")),
    };
}

/// Puts a path together, element by element, and takes it apart again: what walking a tree needs.
#[derive(Debug)]
pub(super) struct PathBuilder {
    rules: PathRules,
    text: String,
    elements: usize,
}

/// Where a [`PathBuilder`] stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    bytes: usize,
    elements: usize,
}

impl PathBuilder {
    /// A path below `root`, an element that is safe already and not counted.
    pub(super) fn new(rules: PathRules, root: Option<&str>) -> Self {
        Self { rules, text: root.unwrap_or_default().to_owned(), elements: 0 }
    }

    /// Appends the safe form of `element`, unless that is nothing. Returns where the path ended before.
    pub(super) fn push(&mut self, element: &[u8]) -> Result<Mark, PathError> {
        let mark = self.mark();
        if let Some(safe) = safe_element(element, self.rules)? {
            if self.elements >= MAX_ELEMENTS {
                return Err(PathError::TooDeep);
            }
            self.elements += 1;
            if !self.text.is_empty() {
                self.text.push('/');
            }
            self.text.push_str(&safe);
        }
        Ok(mark)
    }

    pub(super) const fn mark(&self) -> Mark {
        Mark { bytes: self.text.len(), elements: self.elements }
    }

    pub(super) fn reset(&mut self, mark: Mark) {
        self.text.truncate(mark.bytes);
        self.elements = mark.elements;
    }

    pub(super) fn build(&self) -> Result<FilePath, PathError> {
        if self.elements == 0 {
            return Err(PathError::Empty);
        }
        Ok(FilePath(self.text.as_str().into()))
    }
}

/// The path of a file that is its torrent, whose `name` is safe already.
pub(super) fn single(name: &str) -> FilePath {
    FilePath(name.into())
}

/// The conventional path of a padding file (BEP 47); it is never created.
pub(super) fn padding(root: &str, len: u64) -> FilePath {
    FilePath(format!("{root}/.pad/{len}").into())
}

/// The safe form of one element; `None` if it stands for nothing.
pub(super) fn safe_element(raw: &[u8], rules: PathRules) -> Result<Option<String>, PathError> {
    let mut text: String = String::from_utf8_lossy(raw)
        .chars()
        .filter(|&c| !turns_direction(c))
        .map(|c| if c.is_control() { '_' } else { c })
        .collect();
    if text.split(['/', '\\']).any(|part| part == "..") {
        return Err(PathError::Parent(excerpt(&text)));
    }
    if is_absolute(&text) {
        return Err(PathError::Absolute(excerpt(&text)));
    }
    if text.is_empty() || text == "." {
        return Ok(None);
    }
    let forbidden: &[char] = if rules.windows_names {
        &['/', '\\', '<', '>', ':', '"', '|', '?', '*']
    } else {
        &['/', '\\']
    };
    if text.contains(forbidden) {
        text = text.replace(forbidden, "_");
    }
    cut(&mut text);
    if rules.windows_names {
        windows_name(&mut text);
    }
    Ok(Some(text))
}

/// Marks, embeddings, overrides and isolates of the Unicode bidirectional algorithm.
const fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_absolute(text: &str) -> bool {
    let drive = |b: &[u8]| b.len() > 2 && b[0].is_ascii_alphabetic() && b[1] == b':';
    text.starts_with(['/', '\\'])
        || (drive(text.as_bytes()) && matches!(text.as_bytes()[2], b'/' | b'\\'))
}

/// Cuts to [`MAX_ELEMENT_BYTES`] between characters, keeping the extension.
fn cut(text: &mut String) {
    if text.len() > MAX_ELEMENT_BYTES {
        let (stem, extension) = split_extension(text);
        let extension = extension.to_owned();
        let stem = stem.floor_char_boundary(MAX_ELEMENT_BYTES - extension.len());
        text.truncate(stem);
        text.push_str(&extension);
    }
}

/// Splits before the last dot, unless it is the first byte or what follows is too long for an extension.
fn split_extension(text: &str) -> (&str, &str) {
    match text.rfind('.') {
        Some(dot) if dot > 0 && text.len() - dot <= MAX_EXTENSION_BYTES => text.split_at(dot),
        _ => (text, ""),
    }
}

fn windows_name(text: &mut String) {
    text.truncate(text.trim_end_matches(['.', ' ']).len());
    let stem = text.split('.').next().unwrap_or_default().trim_end();
    if text.is_empty() || is_device(stem) {
        text.insert(0, '_');
    }
}

fn is_device(stem: &str) -> bool {
    let upper = stem.to_uppercase();
    let port = |name: &str| {
        upper
            .strip_prefix(name)
            .is_some_and(|n| "0123456789¹²³".contains(n) && n.chars().count() == 1)
    };
    matches!(&*upper, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || port("COM")
        || port("LPT")
}

/// Makes the paths of a torrent's files (padding files left out) different from one another.
///
/// The first file with a path keeps it, so the outcome depends on the torrent alone.
pub(super) fn resolve_collisions<'a>(
    paths: impl Iterator<Item = &'a mut FilePath>,
    rules: PathRules,
) -> Result<(), PathError> {
    let key = |text: &str| {
        let text = text.replace('/', SEPARATOR);
        if rules.fold_case { text.to_lowercase() } else { text }
    };
    let mut seen = BTreeSet::new();
    let mut collisions = 0;
    for path in paths {
        if seen.insert(key(&path.0)) {
            continue;
        }
        collisions += 1;
        if collisions > MAX_COLLISIONS {
            return Err(PathError::TooManyCollisions);
        }
        let mut candidates = (2..MAX_ATTEMPTS).map(|number| numbered(path, number));
        let free = candidates.find(|candidate| seen.insert(key(&candidate.0)));
        *path = free.ok_or(PathError::TooManyCollisions)?;
    }
    refuse_files_that_are_directories(&seen)
}

/// `dir/name.ext` becomes `dir/name (2).ext`.
fn numbered(path: &FilePath, number: u32) -> FilePath {
    let suffix = format!(" ({number})");
    let (stem, extension) = split_extension(path.file_name());
    let room = MAX_ELEMENT_BYTES - suffix.len() - extension.len();
    let stem = &stem[..stem.floor_char_boundary(room)];
    let parent = path.parent().map(|p| format!("{p}/")).unwrap_or_default();
    FilePath(format!("{parent}{stem}{suffix}{extension}").into())
}

/// Stands for `/` while paths are compared. It sorts before all that an element can hold, so a file and what would
/// be inside it are neighbours.
const SEPARATOR: &str = "\0";

fn refuse_files_that_are_directories(paths: &BTreeSet<String>) -> Result<(), PathError> {
    for (file, next) in paths.iter().zip(paths.iter().skip(1)) {
        if next.strip_prefix(&**file).is_some_and(|rest| rest.starts_with(SEPARATOR)) {
            return Err(PathError::FileIsDirectory(file.replace(SEPARATOR, "/")));
        }
    }
    Ok(())
}

/// Enough of some untrusted text to recognise it in a message, safe to print.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().filter(|&c| !c.is_control() && !turns_direction(c)).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    const UNIX: PathRules = PathRules { windows_names: false, fold_case: false };
    const WINDOWS: PathRules = PathRules { windows_names: true, fold_case: true };

    fn element(raw: &str, rules: PathRules) -> String {
        safe_element(raw.as_bytes(), rules).unwrap().unwrap_or("<nothing>".to_string())
    }

    #[test]
    fn hostile_elements_are_refused() {
        for raw in ["..", "../x", "a/../../b", "..\\x", "x/..", ".\u{202e}.", "\u{200f}..\u{2066}"]
        {
            assert!(
                matches!(safe_element(raw.as_bytes(), UNIX), Err(PathError::Parent(_))),
                "{raw}"
            );
        }
        for raw in ["/etc/passwd", "\\\\server\\share", "C:\\x", "c:/x", "\u{202e}/x"] {
            assert!(
                matches!(safe_element(raw.as_bytes(), UNIX), Err(PathError::Absolute(_))),
                "{raw}"
            );
        }
    }

    #[test]
    fn careless_elements_are_repaired() {
        for (raw, expected) in [
            ("", "<nothing>"),
            (".", "<nothing>"),
            ("\u{202e}", "<nothing>"),
            ("AC/DC", "AC_DC"),
            ("a\\b", "a_b"),
            ("a\0b\n\u{1b}[31m\u{7f}\u{85}", "a_b__[31m__"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("...", "..."),
            (".hidden", ".hidden"),
            ("aux.c", "aux.c"),
            ("What? Yes: no.", "What? Yes: no."),
            ("naïve 名前", "naïve 名前"),
        ] {
            assert_eq!(element(raw, UNIX), expected, "{raw:?}");
        }
        assert_eq!(safe_element(b"a\xffb", UNIX).unwrap().unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn windows_has_names_of_its_own() {
        for (raw, expected) in [
            ("aux.c", "_aux.c"),
            ("CON", "_CON"),
            ("nul.tar.gz", "_nul.tar.gz"),
            ("com1", "_com1"),
            ("COM¹.txt", "_COM¹.txt"),
            ("LPT9 .x", "_LPT9 .x"),
            ("com10", "com10"),
            ("console", "console"),
            ("What? Yes: no.", "What_ Yes_ no"),
            ("dots . .", "dots"),
            ("...", "_"),
            (".. ", "_"),
            ("<a>|\"b\"*", "_a___b__"),
        ] {
            assert_eq!(element(raw, WINDOWS), expected, "{raw:?}");
        }
    }

    #[test]
    fn long_elements_are_cut_between_characters_and_keep_their_extension() {
        let long = "é".repeat(200) + ".tar.gz";
        let safe = element(&long, UNIX);
        assert!(safe.len() <= 240 && safe.len() >= 238 && safe.ends_with("é.gz"), "{safe}");
        assert_eq!(element(&"x".repeat(300), UNIX).len(), 240);
        let no_extension = ["a.", &"x".repeat(300)].concat();
        assert_eq!(element(&no_extension, UNIX).len(), 240);
    }

    #[test]
    fn paths_are_bounded_and_not_empty() {
        let path = |n: usize| FilePath::from_untrusted(core::iter::repeat_n(&b"d"[..], n));
        assert_eq!(path(64).unwrap().iter().count(), 64);
        assert_eq!(path(65), Err(PathError::TooDeep));
        assert_eq!(path(0), Err(PathError::Empty));
        assert_eq!(FilePath::from_untrusted([&b"."[..], b""]), Err(PathError::Empty));
        let path = FilePath::from_untrusted([&b"a"[..], b".", b"b.c"]).unwrap();
        assert_eq!((path.as_str(), path.file_name(), path.parent()), ("a/b.c", "b.c", Some("a")));
    }

    fn resolve(paths: &[&str], rules: PathRules) -> Result<Vec<String>, PathError> {
        let mut paths: Vec<FilePath> = paths.iter().map(|&p| FilePath(p.into())).collect();
        resolve_collisions(paths.iter_mut(), rules)?;
        Ok(paths.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn collisions_are_numbered_or_refused() {
        assert_eq!(
            resolve(&["d/a.x", "d/a.x", "d/a (2).x", "d/a.x", "e/a.x"], UNIX).unwrap(),
            ["d/a.x", "d/a (2).x", "d/a (2) (2).x", "d/a (3).x", "e/a.x"]
        );
        assert_eq!(resolve(&["A/x", "a/X"], UNIX).unwrap(), ["A/x", "a/X"]);
        assert_eq!(resolve(&["A/x", "a/X"], WINDOWS).unwrap(), ["A/x", "a/X (2)"]);
        assert_eq!(
            resolve(&["d/a/b", "d/a-", "d/a!x", "d/a"], UNIX),
            Err(PathError::FileIsDirectory("d/a".to_string()))
        );
        assert!(resolve(&["d/a-/b", "d/a", "d/ab/c", "d/a!"], UNIX).is_ok());
        assert!(resolve(&["d/A/b", "d/a"], UNIX).is_ok());
        assert!(resolve(&["d/A/b", "d/a"], WINDOWS).is_err());
        assert!(resolve(&["x"; 501], UNIX).is_ok());
        assert_eq!(resolve(&["x"; 502], UNIX), Err(PathError::TooManyCollisions));
        let numbered: Vec<String> = (2..2000).map(|n| format!("x ({n})")).collect();
        let numbered: Vec<&str> = numbered.iter().map(String::as_str).chain(["x", "x"]).collect();
        assert_eq!(resolve(&numbered, UNIX), Err(PathError::TooManyCollisions));
        let long = "x".repeat(240);
        assert!(resolve(&[&long, &long], UNIX).unwrap()[1].len() <= 240);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_safe_element_or_none(raw in prop::collection::vec(any::<u8>(), 0..300), windows in any::<bool>()) {
            let rules = if windows { WINDOWS } else { UNIX };
            if let Ok(Some(safe)) = safe_element(&raw, rules) {
                prop_assert!(!safe.is_empty() && safe.len() <= MAX_ELEMENT_BYTES + 1);
                prop_assert!(safe != "." && safe != "..");
                prop_assert!(!safe.contains(['/', '\\', '\0']));
                prop_assert!(!safe.chars().any(char::is_control));
                prop_assert_eq!(safe_element(safe.as_bytes(), rules).unwrap(), Some(safe.clone()), "not stable");
            }
        }
    }
}
