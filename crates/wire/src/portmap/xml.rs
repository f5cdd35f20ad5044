//! As much of XML as gateways write, read with patience: tags and the text between them.
//!
//! Many write what no strict parser accepts. So there is no tree, no depth and no entity but the five that XML defines; tags need
//! not match, prefixes of namespaces are cut off, and what makes no sense is passed over. Each byte is looked at a bounded number of
//! times.

use alloc::borrow::Cow;
use alloc::string::String;

/// A part of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part<'a> {
    /// A tag that opens, by its name without prefix.
    Open(&'a str),
    /// A tag that closes.
    Close(&'a str),
    /// Text, trimmed; never empty.
    Text(Cow<'a, str>),
}

/// The parts of `document`.
pub(super) fn parts(document: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = document;
    core::iter::from_fn(move || {
        while !rest.is_empty() {
            let (part, after) = next(rest);
            rest = after;
            if part.is_some() {
                return part;
            }
        }
        None
    })
}

/// The part that `text` begins with, if it is of interest, and what follows it.
fn next(text: &str) -> (Option<Part<'_>>, &str) {
    let Some(markup) = text.strip_prefix('<') else {
        let end = text.find('<').unwrap_or(text.len());
        let (said, after) = text.split_at(end);
        let said = said.trim();
        return ((!said.is_empty()).then(|| Part::Text(unescape(said))), after);
    };
    for (begin, end) in [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")] {
        if let Some(inside) = markup.strip_prefix(begin) {
            let (said, after) = inside.split_once(end).unwrap_or((inside, ""));
            let said = said.trim();
            let is_text = begin == "![CDATA[" && !said.is_empty();
            return (is_text.then_some(Part::Text(Cow::Borrowed(said))), after);
        }
    }
    let (tag, after) = markup.split_once('>').unwrap_or((markup, ""));
    let closes = tag.starts_with('/');
    let tag = tag.trim_start_matches('/');
    let name = tag.split(|c: char| c.is_ascii_whitespace() || c == '/').next().unwrap_or_default();
    let name = name.rsplit(':').next().unwrap_or_default();
    let part = match (name.is_empty() || tag.starts_with('!'), closes) {
        (true, _) => None,
        (false, true) => Some(Part::Close(name)),
        // One that is empty opens, and what follows is no text of it as far as anybody here cares.
        (false, false) => Some(Part::Open(name)),
    };
    (part, after)
}

fn unescape(text: &str) -> Cow<'_, str> {
    const ENTITIES: [(&str, char); 5] =
        [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\'')];
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity));
        let (entity, meant) = known.copied().unwrap_or(("&", '&'));
        out.push(meant);
        rest = &rest[entity.len()..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The text of the first element called `name`.
pub(super) fn text_of<'a>(document: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut parts = parts(document);
    parts.find(|part| *part == Part::Open(name))?;
    match parts.next()? {
        Part::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn tags_and_text_are_told_apart() {
        let document = "<?xml version='1.0'?><!DOCTYPE x><s:a xmlns:s=\"u\"> one &amp; two<b/>\n\
                        <!-- <c> --><![CDATA[ <d> ]]></s:a>tail";
        let want = [
            Part::Open("a"),
            Part::Text("one & two".into()),
            Part::Open("b"),
            Part::Text("<d>".into()),
            Part::Close("a"),
            Part::Text("tail".into()),
        ];
        assert_eq!(parts(document).collect::<Vec<_>>(), want);
    }

    #[test]
    fn what_is_cut_off_or_senseless_ends_somehow() {
        for document in
            ["<", "<<<", "</", "<>", "<!--", "<![CDATA[", "<a", "&", "<a>&amp", "<:>", "< a>"]
        {
            assert!(parts(document).count() < 4, "{document}");
        }
        assert_eq!(unescape("&amp;lt;&lt;&x;&"), "&lt;<&x;&", "nothing is undone twice");
    }

    #[test]
    fn the_text_of_an_element_is_found() {
        assert_eq!(text_of("<a><b>x</b></a>", "b").as_deref(), Some("x"));
        assert_eq!(text_of("<a><b></b>x</a>", "b"), None);
        assert_eq!(text_of("<a>", "b"), None);
    }
}
