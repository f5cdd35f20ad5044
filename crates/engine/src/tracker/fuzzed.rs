//! Fuzz targets: URLs of trackers, which torrents and links name, and answers that are packed.

use super::body::{self, BodyLimit, MAX_RATIO};
use super::error::TrackerFault;
use super::{check_url, shown_host};
use crate::fuzzing::Script;

/// Stands for a passkey.
const SECRET: &str = "5ec2e7pa55c0de";

/// Reads `input` as the URL of a tracker, with a passkey in its path and one in its query: only what can be asked is taken, and
/// nothing that is shown holds the passkey.
pub fn tracker_url(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = check_url(text);
    let text = text.replace(SECRET, "");
    // What is shown has no control characters, and schemes are written small: it would be the passkey that way.
    if text.replace(char::is_control, "").to_lowercase().contains(SECRET) {
        return;
    }
    // Behind these the passkey would stand where a host does.
    let last = text.chars().rfind(|c| !c.is_control() && !c.is_whitespace());
    if matches!(last, None | Some('/' | '\\' | ':' | '@')) {
        return;
    }
    for url in [
        format!("{text}?passkey={SECRET}"),
        format!("{text}/{SECRET}/announce"),
        format!("http://{text}/{SECRET}/announce"),
        format!("udp://user:{SECRET}@{text}"),
    ] {
        assert!(!shown_host(&url).contains(SECRET), "{url}");
        match check_url(&url) {
            Ok(()) => {
                let scheme = url.trim().split(':').next().unwrap_or_default().to_ascii_lowercase();
                // Tabs and line ends are nothing in a URL.
                let scheme: String = scheme.chars().filter(char::is_ascii_alphabetic).collect();
                assert!(["http", "https", "udp"].contains(&scheme.as_str()), "{url}");
            }
            Err(error) => {
                let shown = error.to_string();
                assert!(!shown.contains(SECRET), "{url}: {shown}");
                assert!(
                    shown.chars().count() < 200 && !shown.contains(char::is_control),
                    "{shown}"
                );
            }
        }
    }
}

/// Unpacks `input` as an answer: what comes of it is within the limit and in proportion.
pub fn packed_answer(input: &[u8]) {
    let mut script = Script::new(input);
    let limit = BodyLimit { max: usize::from(script.short()) };
    let packed = script.rest();
    match body::gunzip(packed, limit) {
        Ok(body) => assert!(body.len() <= limit.max && body.len() <= packed.len() * MAX_RATIO),
        Err(TrackerFault::TooLarge(max)) => assert_eq!(max, limit.max),
        Err(fault) => assert_eq!(fault, TrackerFault::Compression),
    }
}
