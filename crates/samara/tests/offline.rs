//! Commands that need no network: results, messages, exit codes.

mod harness;

use harness::{Home, noise};

const HASH: &str = "15f570fd4106c43326dd9b0301831ac227e46329";

fn hello(home: &Home) {
    home.write("hello.txt", b"hello world\n");
    let made = home.run(&["create", "hello.txt", "-o", "hello.torrent", "--no-date"]);
    assert_eq!((made.code, made.stdout.as_str()), (0, ""), "{made:?}");
}

#[test]
fn alone_it_says_where_to_begin() {
    let ran = Home::new().run(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("samara demo") && ran.stdout.lines().count() < 12);
}

#[test]
fn usage_errors_go_to_stderr_with_a_suggestion() {
    let home = Home::new();
    for (args, hint) in [
        (vec!["dwonload"], "download"),
        (vec!["download"], "<SRC>"),
        (vec!["info", "x", "--jsno"], "--json"),
        (vec!["download", "x", "--limit-down", "fast"], "not a rate"),
        (vec!["man", "sed"], "samara man seed"),
    ] {
        let ran = home.run(&args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
}

#[test]
fn create_gives_the_same_bytes_each_time() {
    let home = Home::new();
    hello(&home);
    let sum = b"\x22\x59\x63\x63\xb3\xde\x40\xb0\x6f\x98\x1f\xb8\x5d\x82\x31\x2e\x8c\x0e\xd5\x11";
    let by = format!("samara {}", env!("CARGO_PKG_VERSION"));
    let expected = [
        format!("d10:created by{}:{by}", by.len()).as_bytes(),
        b"4:infod6:lengthi12e4:name9:hello.txt12:piece lengthi32768e6:pieces20:",
        sum,
        b"ee",
    ]
    .concat();
    assert_eq!(std::fs::read(home.path("hello.torrent")).unwrap(), expected);
}

#[test]
fn create_replaces_only_when_told_and_all_kinds_verify() {
    let home = Home::new();
    home.write("top/a", &noise(100_000, 1));
    home.write("top/sub/b", &noise(70_000, 2));
    home.write("top/sub/empty", b"");
    for kind in ["--v1", "--v2", "--hybrid"] {
        let args = ["create", "top", "-o", "t.torrent", kind, "--force", "--json"];
        let made = home.run(&args);
        assert_eq!(made.code, 0, "{made:?}");
        assert_eq!(made.object("created")["length"], 170_000);
        let checked = home.run(&["verify", "t.torrent", "--data", ".", "-q"]);
        assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (0, "", ""));
    }
    let again = home.run(&["create", "top", "-o", "t.torrent"]);
    assert_eq!(again.code, 6);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let odd = home.run(&["create", "top", "-o", "u.torrent", "--piece-size", "3000"]);
    assert_eq!(odd.code, 2);
    let absent = home.run(&["create", "nothing", "-o", "u.torrent"]);
    assert_eq!(absent.code, 6);
    assert!(!home.path("u.torrent").exists());
}

#[test]
fn info_shows_what_is_in_it() {
    let home = Home::new();
    hello(&home);
    let ran = home.run(&["info", "hello.torrent"]);
    let by = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "hello.txt

  size        12 B (12 bytes)
  pieces      1 of 32 KiB
  version     v1
  info-hash   {HASH}
  created     by samara {by}
  files       1

  0  12 B  hello.txt
"
    );
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, expected.as_str(), ""));
    let json = home.run(&["info", "hello.torrent", "--json"]);
    let info = &json.objects()[0];
    assert_eq!((&info["v"], &info["type"]), (&1.into(), &"info".into()));
    assert_eq!(info["info_hash_v1"], HASH);
    assert_eq!(info["files"][0]["path"], "hello.txt");
    let link = home.run(&["magnet", "hello.torrent"]);
    assert_eq!(link.stdout, format!("magnet:?xt=urn:btih:{HASH}&dn=hello.txt\n"));
}

#[test]
fn verify_lists_what_is_bad() {
    let home = Home::new();
    home.write("top/a", &noise(100_000, 1));
    home.write("top/b", &noise(70_000, 2));
    home.write("top/c", &noise(40_000, 3));
    assert_eq!(home.run(&["create", "top", "-o", "t.torrent", "--v2"]).code, 0);
    let mut bytes = noise(100_000, 1);
    bytes[40_000] ^= 1;
    home.write("top/a", &bytes);
    std::fs::remove_file(home.path("top/b")).unwrap();
    home.write("top/c", &noise(39_999, 3));
    let ran = home.run(&["verify", "t.torrent", "--data", "."]);
    let expected = "damaged   top/a  1 of 4 pieces
missing   top/b
size      top/c  39,999 instead of 40,000 bytes
pieces    1,4-6,8
";
    assert_eq!((ran.code, ran.stdout.as_str()), (1, expected), "{ran:?}");
    let report = home.run(&["verify", "t.torrent", "--data", ".", "--json"]).object("verify");
    assert_eq!(report["ok"], false);
    assert_eq!(report["bad_pieces"], serde_json::json!([[1, 1], [4, 6], [8, 8]]));
    assert_eq!(home.run(&["verify", "t.torrent", "--data", "nowhere"]).code, 6);
}

#[test]
fn decode_prints_json_and_refuses_what_is_no_bencode() {
    let home = Home::new();
    let ran = home.run_with_input(&["decode", "-"], b"d1:ali1e2:\xff\x00e1:b3:\x1b[me");
    let expected =
        "{\n  \"a\": [\n    1,\n    {\"$hex\":\"ff00\"}\n  ],\n  \"b\": {\"$hex\":\"1b5b6d\"}\n}\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, expected, ""));
    let line = home.run_with_input(&["decode", "-", "--json"], b"i7e").objects();
    assert_eq!(line, [serde_json::json!({ "v": 1, "type": "decode", "value": 7 })]);

    let deep = [vec![b'l'; 10_000], vec![b'e'; 10_000]].concat();
    for bad in [
        b"i-0e".as_slice(),
        b"i03e",
        b"ie",
        b"5:abc",
        b"i1ejunk",
        b"9223372036854775808:x",
        b"d1:bi1e1:ai2ee",
        b"<html>",
        b"",
        &deep,
    ] {
        let ran = home.run_with_input(&["decode", "-"], bad);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{:?}", &bad[..bad.len().min(30)]);
        assert!(ran.stderr.starts_with("error: standard input: "), "{}", ran.stderr);
    }
    let lenient = home.run_with_input(&["decode", "-", "--lenient"], b"d1:bi1e1:ai2ee");
    assert_eq!(lenient.code, 0);
}

/// An info dictionary with one file of 5 bytes, with one thing changed.
fn torrent(from: &str, to: &str) -> Vec<u8> {
    let good = "d4:infod5:filesld6:lengthi5e4:pathl1:aeee4:name1:t12:piece lengthi16384e6:pieces20:AAAAAAAAAAAAAAAAAAAAee";
    assert!(good.contains(from));
    good.replace(from, to).into_bytes()
}

#[test]
fn hostile_torrents_are_refused_with_code_4() {
    let home = Home::new();
    home.write("good.torrent", &torrent("", ""));
    assert_eq!(home.run(&["info", "good.torrent"]).code, 0);
    for (from, to) in [
        ("i16384e", "i0e"),
        ("i16384e", "i-1e"),
        ("20:AAAAAAAAAAAAAAAAAAAA", "19:AAAAAAAAAAAAAAAAAAA"),
        ("20:AAAAAAAAAAAAAAAAAAAA", "0:"),
        ("l1:ae", "l2:..1:ae"),
        ("l1:ae", "l9:/etc/passe"),
        ("i5e", "i-5e"),
        ("i5e", "i9223372036854775807e"),
        ("4:infod", "4:infol"),
    ] {
        home.write("bad.torrent", &torrent(from, to));
        for command in ["info", "magnet", "download"] {
            let ran = home.run(&[command, "bad.torrent"]);
            assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{from} {to}: {ran:?}");
            assert!(ran.stderr.contains("bad.torrent"), "{}", ran.stderr);
        }
        assert!(!home.path("t").exists());
    }
    home.write("page.torrent", b"<!DOCTYPE html><p>Please log in");
    assert!(home.run(&["info", "page.torrent"]).stderr.contains("web page"));
}

#[test]
fn sources_that_are_no_torrent_say_what_to_do() {
    let home = Home::new();
    hello(&home);
    for (source, code, hint) in [
        ("helo.torrent", 6, "did you mean hello.torrent?"),
        ("hello", 6, "did you mean hello.torrent?"),
        (".", 6, "samara create"),
        ("magnet:?xt=urn:btih:00", 4, "an info-hash has 40 hexadecimal"),
        (
            "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567",
            2,
            "samara magnet resolve",
        ),
    ] {
        let ran = home.run(&["info", source]);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
    let json = home.run(&["info", "nothing.torrent", "--json"]).object("error");
    assert_eq!((&json["code"], &json["kind"]), (&6.into(), &"io".into()));
    let big = home.path("big.torrent");
    std::fs::File::create(&big).unwrap().set_len(40 << 20).unwrap();
    assert_eq!(home.run(&["info", "big.torrent"]).code, 4);
}

#[test]
fn names_with_control_characters_do_not_reach_the_terminal() {
    let home = Home::new();
    let evil = torrent("4:infod", "7:comment8:\x1b[2Jevil4:infod");
    home.write("evil.torrent", &evil);
    let ran = home.run(&["info", "evil.torrent"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains('\x1b') && ran.stdout.contains("evil"), "{}", ran.stdout);
}

#[test]
fn colour_is_chosen_by_option_and_environment() {
    let home = Home::new();
    hello(&home);
    let colored = |args: &[&str]| home.run(args).stdout.contains('\x1b');
    assert!(!colored(&["info", "hello.torrent"]));
    assert!(colored(&["info", "hello.torrent", "--color", "always"]));
    let mut command = home.command(&["info", "hello.torrent"]);
    assert!(harness::finish(command.env("SAMARA_COLOR", "always")).stdout.contains('\x1b'));
}

#[test]
fn settings_come_from_file_and_environment_with_their_origin() {
    let home = Home::new();
    home.write("s.toml", b"port = 7000\n");
    let mut command = home.command(&["config", "--config", "s.toml", "--json"]);
    let settings = harness::finish(command.env("SAMARA_LIMIT_UP", "2M")).objects();
    let of = |key: &str| settings.iter().find(|s| s["key"] == key).unwrap().clone();
    assert_eq!((&of("port")["value"], &of("port")["origin"]), (&"7000".into(), &"file".into()));
    assert_eq!(of("limit-up")["from"], "SAMARA_LIMIT_UP");
    assert_eq!(of("limit-down")["origin"], "default");
    home.write("s.toml", b"prot = 7000\n");
    let ran = home.run(&["config", "--config", "s.toml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("did you mean `port`?"), "{}", ran.stderr);
    let template = home.run(&["config", "--template"]).stdout;
    assert!(template.contains("# seed-ratio = 1.0"), "{template}");
}

#[test]
fn completions_and_manual_pages_come_from_the_definition() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(home.run(&["completions", shell]).stdout.contains("seed-ratio"), "{shell}");
    }
    assert!(home.run(&["man"]).stdout.starts_with(".ie"));
    assert!(home.run(&["man", "download"]).stdout.contains("samara\\-download"));
    assert_eq!(home.run(&["man", "--dir", "pages"]).code, 0);
    assert!(home.path("pages/samara-verify.1").exists() && home.path("pages/samara.1").exists());
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::new();
    hello(&home);
    let mut command = home.command(&["completions", "bash"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
