//! What the fuzz targets do with their input, as plain functions.
//!
//! Each takes any bytes and panics if something that must always hold does not. [`TARGETS`] names them all; `docs/fuzzing.md` says
//! what each of them feeds and asserts. `tests/bodies.rs` runs them in every `cargo test`, over their seeds, over what was found before,
//! and over some hundred changes of those; `runner/`, which is libFuzzer, for as long as one likes (`.ci/fuzz`).
//!
//! What is private to `samara-engine` is fed inside of it, in files named `fuzzed.rs` (`samara_engine::fuzzing`).

pub mod announcer;
pub mod bencode;
pub mod bencode_model;
pub mod blame;
pub mod choker;
pub mod cipher;
pub mod dht_ids;
pub mod dht_node;
pub mod dht_parts;
pub mod exchange;
pub mod gateway_url;
pub mod holepunch;
pub mod ip_filter;
pub mod krpc;
pub mod layer_fetch;
pub mod limits;
pub mod magnet;
pub mod merkle;
pub mod messages;
pub mod metadata_fetch;
pub mod metainfo;
pub mod metainfo_create;
pub mod metainfo_model;
pub mod mse;
pub mod paths;
pub mod peer;
pub mod peer_list;
pub mod pex_intake;
pub mod picker;
pub mod pieces;
pub mod pipeline;
pub mod portmap;
pub mod proxy;
pub mod seeds;
pub mod serving;
pub mod torrent;
pub mod tracker;
pub mod utp;
pub mod utp_packets;
pub mod utp_strangers;
pub mod utp_transfer;

pub use samara_engine::fuzzing::Script;

use samara_engine::fuzzing as engine;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// By which it is called.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
    /// The longest input that is of use, in bytes.
    pub max_len: usize,
}

/// For inputs that are read as they are.
const BYTES: usize = 4096;

/// For datagrams and the like.
const SHORT: usize = 1600;

/// For scripts, of which each step takes a few bytes.
const SCRIPT: usize = 3000;

/// All targets, by name.
pub const TARGETS: &[Target] = &[
    target("announcer", announcer::run, SCRIPT),
    target("bencode", bencode::run, BYTES),
    target("bencode_model", bencode_model::run, BYTES),
    target("bitfield", pieces::bitfield, SHORT),
    target("blame", blame::run, SCRIPT),
    target("choker", choker::run, SCRIPT),
    target("cipher", cipher::run, SCRIPT),
    target("datagram_kind", engine::datagram_kind, SHORT),
    target("dht_filters", dht_ids::filters, SCRIPT),
    target("dht_ids", dht_ids::ids, SHORT),
    target("dht_item_bytes", dht_ids::items, SHORT),
    target("dht_items", dht_parts::items, SCRIPT),
    target("dht_lookup", dht_parts::lookup, SCRIPT),
    target("dht_node", dht_node::run, SCRIPT),
    target("dht_peers", dht_parts::peers, SCRIPT),
    target("dht_requests", dht_parts::requests, SCRIPT),
    target("dht_saved", dht_parts::saved, BYTES),
    target("dht_table", dht_parts::table, SCRIPT),
    target("dht_table_file", engine::table_file, BYTES),
    target("dht_tokens", dht_parts::tokens, SCRIPT),
    target("gateway_lifetimes", engine::gateway_lifetimes, SCRIPT),
    target("gateway_trust", engine::gateway_trust, SHORT),
    target("gateway_url", gateway_url::run, SHORT),
    target("holepunch", holepunch::run, SCRIPT),
    target("ip_filter", ip_filter::run, BYTES),
    target("ip_filter_file", engine::list_file, BYTES),
    target("kept_layers", engine::kept_layers, 1 << 14),
    target("krpc", krpc::run, SHORT),
    target("layer_fetch", layer_fetch::run, SCRIPT),
    target("layout", pieces::layout, SHORT),
    target("limit", limits::limit, SCRIPT),
    target("lsd", exchange::lsd, SHORT),
    target("lsd_hearing", engine::hearing, SCRIPT),
    target("magnet", magnet::run, SHORT),
    target("merkle", merkle::run, SHORT),
    target("messages", messages::run, SCRIPT),
    target("metadata_fetch", metadata_fetch::run, SCRIPT),
    target("metainfo", metainfo::run, BYTES),
    target("metainfo_create", metainfo_create::run, SCRIPT),
    target("metainfo_model", metainfo_model::run, BYTES),
    target("mse", mse::run, SHORT),
    target("packed_answer", engine::packed_answer, BYTES),
    target("paths", paths::run, SHORT),
    target("peer", peer::run, BYTES),
    target("peer_list", peer_list::run, SCRIPT),
    target("pex_intake", pex_intake::run, SCRIPT),
    target("picker", picker::run, SCRIPT),
    target("pipeline", pipeline::run, SCRIPT),
    target("portmap_answers", portmap::answers, SHORT),
    target("portmap_documents", portmap::documents, BYTES),
    target("proxy", proxy::run, SHORT),
    target("rate_meter", limits::meter, SCRIPT),
    target("resume_data", engine::resume_data, BYTES),
    target("torrent", torrent::run, SCRIPT),
    target("torrent_serving", serving::run, SCRIPT),
    target("tracker", tracker::run, BYTES),
    target("tracker_datagrams", engine::tracker_datagrams, SCRIPT),
    target("tracker_requests", engine::tracker_requests, SCRIPT),
    target("tracker_store", engine::tracker_store, SCRIPT),
    target("tracker_url", engine::tracker_url, SHORT),
    target("ut_holepunch", exchange::holepunch, SHORT),
    target("ut_metadata", exchange::metadata, SHORT),
    target("ut_pex", exchange::pex, SHORT),
    target("utp", utp_steps, SCRIPT),
    target("utp_packets", utp_packets::run, SHORT),
    target("utp_strangers", utp_strangers::run, SCRIPT),
    target("utp_transfer", utp_transfer::run, SCRIPT),
];

const fn target(name: &'static str, run: fn(&[u8]), max_len: usize) -> Target {
    Target { name, run, max_len }
}

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

fn utp_steps(input: &[u8]) {
    utp::run(input);
}
