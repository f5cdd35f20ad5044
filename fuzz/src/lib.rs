//! What the fuzz targets do with their input, as plain functions.
//!
//! Each takes any bytes and panics if something that must always hold does not. `crates/wire/tests/fuzz_bodies.rs` and `crates/utp/tests/fuzz_body.rs`
//! run them in every `cargo test` over random and mutated valid input; `cargo +nightly fuzz run NAME` for as long as
//! one likes.

pub mod bencode;
pub mod exchange;
pub mod ip_filter;
pub mod krpc;
pub mod magnet;
pub mod metainfo;
pub mod mse;
pub mod peer;
pub mod portmap;
pub mod proxy;
pub mod tracker;
pub mod utp;
