//! URLs that gateways name: only an address and a path come of them, and joining one to another leads nowhere else.

use samara_wire::portmap::GatewayUrl;

/// Reads `input` as a URL, and what is behind its first line end as one that the document at the first names.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let here = GatewayUrl::parse("http://192.168.1.1:5000/dir/description.xml").expect("a URL");
    for base in [GatewayUrl::parse(first), Ok(here)].into_iter().flatten() {
        usable(&base);
        for text in [first, second] {
            let Ok(joined) = base.join(text) else { continue };
            usable(&joined);
            // Only what names a host leads to another.
            if joined.addr() != base.addr() {
                assert!(text.contains("//"), "{base} and {text} lead to {joined}");
            }
            assert_eq!(base.join(&joined.to_string()).as_ref(), Ok(&joined));
        }
    }
}

fn usable(url: &GatewayUrl) {
    assert!(url.addr().port() != 0 && url.addr().ip() == url.ip() && url.path().starts_with('/'));
    assert!(url.path().bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    assert!(url.to_string().starts_with("http://"));
    assert_eq!(GatewayUrl::parse(&url.to_string()).as_ref(), Ok(url));
}
