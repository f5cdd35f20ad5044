//! What came of runs, to be read: a table, one line of JSON, a picture, a page.

mod json;
mod page;
mod picture;
mod summary;
mod text;

pub use json::json;
pub use page::{Row, heading, packet_heading, packet_row, row};
pub use picture::picture;
pub use summary::Summary;
pub use text::{seconds, text};
