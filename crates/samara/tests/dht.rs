//! The DHT as the program uses it: a private one on loopback, joined by `--dht-node` alone.
#![allow(clippy::unwrap_used, reason = "test code")]

mod harness;

use harness::{Home, Running, noise, same};

/// Some nodes that know each other, and where the first of them is.
struct Network {
    home: Home,
    node: String,
    _nodes: Vec<Running>,
}

impl Network {
    fn new() -> Self {
        let home = Home::new();
        let mut first = home.spawn(&["dht", "node", "--bind", "127.0.0.1"]);
        let node = format!("127.0.0.1:{}", first.wait_for("dht_node")["port"]);
        let mut nodes = vec![first];
        for _ in 0..2 {
            let mut next = home.spawn(&["dht", "node", "--bind", "127.0.0.1", "--dht-node", &node]);
            assert!(next.wait_for("dht_joined")["nodes"].as_u64().unwrap() >= 1);
            nodes.push(next);
        }
        Self { home, node, _nodes: nodes }
    }

    /// Runs `samara dht ...` with `--json`.
    fn dht(&self, args: &[&str]) -> harness::Ran {
        let network = ["--bind", "127.0.0.1", "--dht-node", &self.node, "--json"];
        self.home.run(&[&["dht"], args, &network].concat())
    }
}

#[test]
fn items_are_put_and_got_and_followed_to_a_torrent() {
    let network = Network::new();
    let home = &network.home;
    let put = network.dht(&["put", "Hello World!"]).object("dht_put");
    assert_eq!(put["target"], "e5f96f6f38320f0f33959cb4d3d656452117aadb", "the vector of BEP 44");
    let target = put["target"].as_str().unwrap();
    assert_eq!(network.dht(&["get", target]).object("dht_item")["value"], "Hello World!");
    let nothing = network.dht(&["get", &"ab".repeat(20)]);
    assert_eq!(nothing.code, 1, "{nothing:?}");

    let key = home.run(&["dht", "keygen", "-o", "my.key", "--json"]).object("dht_key");
    let key = key["key"].as_str().unwrap().to_owned();
    assert_eq!(home.run(&["dht", "keygen", "-o", "my.key"]).code, 6, "never replaced");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(home.path("my.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    for seq in [1, 2] {
        let salted = ["put", "salted", "--key-file", "my.key", "--salt", "s"];
        assert_eq!(network.dht(&salted).object("dht_put")["seq"], seq);
    }
    let got = network.dht(&["get", "--key", &key, "--salt", "s"]).object("dht_item");
    assert_eq!((got["value"].as_str(), got["seq"].as_i64()), (Some("salted"), Some(2)));
    home.write("seed/file.bin", &noise(200_000, 1));
    home.run(&["create", "seed/file.bin", "-o", "file.torrent"]);
    let put = network.dht(&["put", "--torrent", "file.torrent", "--key-file", "my.key"]);
    let put = put.object("dht_put");
    let mut seed = home.spawn(&[
        "seed",
        "file.torrent",
        "--data",
        "seed",
        "--bind",
        "127.0.0.1",
        "--port",
        "0",
        "--dht-node",
        &network.node,
    ]);
    let torrent = seed.wait_for("torrent");
    let link = put["link"].as_str().unwrap();
    assert_eq!(link, format!("magnet:?xs=urn:btpk:{key}"));
    let got = home.run(&[
        "download",
        link,
        "-o",
        "got",
        "--bind",
        "127.0.0.1",
        "--port",
        "0",
        "--timeout",
        "60s",
        "--dht-node",
        &network.node,
        "--json",
    ]);
    assert_eq!(got.code, 0, "{got:?}");
    assert_eq!(got.object("followed")["info_hash"], torrent["info_hash"]);
    assert_eq!(got.object("followed")["seq"], 1);
    assert!(same(&home.path("seed"), &home.path("got")));
    let hash = torrent["info_hash"].as_str().unwrap();
    assert!(network.dht(&["peers", hash]).object("dht_peer")["addr"].is_string());
    assert_eq!(network.dht(&["peers", &"ab".repeat(20)]).code, 1);
}

#[test]
fn what_cannot_be_asked_is_said_before_anything_is_asked() {
    let home = Home::new();
    home.write("no.key", b"not a key");
    for (args, says) in [
        (&["dht", "get", "abc"][..], "no target"),
        (&["dht", "get", "--key", "abc"], "no key"),
        (&["dht", "put", "x", "--key-file", "no.key"], "holds no key"),
        (&["dht", "put", "x", "--dht-node", "nowhere"], "no HOST:PORT"),
        (&["dht", "put", "x", "--seq", "1"], "--key-file"),
        (&["dht", "get"], "required"),
        (&["download", "x", "--no-dht", "--dht-node", "h:1"], "cannot be used with"),
    ] {
        let ran = home.run(args);
        assert!(ran.code == 2 && ran.stderr.contains(says), "{args:?}: {ran:?}");
    }
    let long = "x".repeat(1000);
    assert!(home.run(&["dht", "put", &long]).stderr.contains("at most 1000 bytes"));
    let key = "ab".repeat(32);
    let off = home.run(&[
        "download",
        &format!("magnet:?xs=urn:btpk:{key}"),
        "--no-dht",
        "--bind",
        "127.0.0.1",
        "--port",
        "0",
    ]);
    assert!(off.code == 2 && off.stderr.contains("the DHT, which is off"), "{off:?}");
}
