//! The HTTP tracker protocol (BEP 3, 7, 23, 24, 31, 48): queries and answers, of clients and of trackers.
//!
//! Only text and bodies; connections, redirects and compression are the shell's.

mod query;
mod response;
mod scrape;
#[cfg(test)]
mod tests;

pub use query::{
    AnnounceQuery, MAX_SCRAPE, QueryError, announce_url, parse_announce_query, parse_scrape_query,
    scrape_url,
};
pub use response::{
    PeersForm, ResponseError, Retry, encode_announce, encode_failure, parse_announce,
};
pub use scrape::{encode_scrape, parse_scrape, parse_scrape_of};
