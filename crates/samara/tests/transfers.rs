//! Real transfers over loopback, on ports that the system chooses.

mod harness;

use harness::{Home, Running, noise, same};

/// A torrent `t.torrent` of `top`, which is several pieces in several files.
fn made(home: &Home) {
    home.write("data/top/a", &noise(700_000, 1));
    home.write("data/top/sub/b", &noise(300_001, 2));
    home.write("data/top/sub/empty", b"");
    let ran = home.run(&["create", "data/top", "-o", "t.torrent", "-q"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
}

/// A seed of it, and its address.
fn seeding(home: &Home) -> (Running, String) {
    seeding_with(home, &[])
}

fn seeding_with(home: &Home, rest: &[&str]) -> (Running, String) {
    let args = ["seed", "t.torrent", "--data", "data", "--port", "0", "--bind", "127.0.0.1"];
    let mut seed = home.spawn(&[&args, rest].concat());
    let port = seed.wait_for("listening")["port"].as_u64().expect("a port");
    (seed, format!("127.0.0.1:{port}"))
}

const QUICK: [&str; 4] = ["--port", "0", "--timeout", "60s"];

fn download<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    [&["download", "t.torrent", "-o", "out"], rest, &QUICK].concat()
}

#[test]
fn the_demo_works() {
    let home = Home::new();
    let ran = home.run(&["demo", "--size", "3MiB", "--seeds", "2"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stderr.contains("the same byte for byte"), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\x1b'), "not a terminal: {}", ran.stderr);
    let left: Vec<_> = std::fs::read_dir(home.path("")).unwrap().flatten().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let json = home.run(&["demo", "--size", "1", "--seeds", "1", "--json"]);
    assert_eq!((json.code, &json.object("demo")["ok"]), (0, &true.into()), "{json:?}");
}

#[test]
fn what_is_seeded_can_be_downloaded_and_is_then_there() {
    let home = Home::new();
    made(&home);
    let (seed, addr) = seeding(&home);
    let ran = home.run(&download(&["--peer", &addr, "--json"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary = ran.object("summary");
    assert_eq!((&summary["complete"], &summary["done"]), (&true.into(), &1_000_001.into()));
    assert!(ran.objects().iter().all(|o| o["v"] == 1));
    let shown: Vec<_> = ran.objects().into_iter().filter(|o| o["type"] == "progress").collect();
    assert!(shown.iter().all(|o| o["done"].as_u64() <= o["total"].as_u64()));
    assert!(same(&home.path("data/top"), &home.path("out/top")));

    // Nobody to ask any more, and nobody needed.
    #[cfg(unix)]
    assert_eq!(seed.interrupt(), 130);
    let again = home.run(&download(&["--no-seed", "-q"]));
    assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (0, "", ""));
}

#[cfg(unix)]
#[test]
fn an_interrupted_download_is_continued() {
    let home = Home::new();
    made(&home);
    let (_seed, addr) = seeding_with(&home, &["--limit-up", "300K"]);
    let mut first = home.spawn(&download(&["--peer", &addr]));
    while first.wait_for("progress")["done"].as_u64() < Some(100_000) {}
    assert_eq!(first.interrupt(), 130);
    let ran = home.run(&download(&["--peer", &addr, "--json"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let summary = ran.object("summary");
    assert_eq!(summary["complete"], true);
    assert!(summary["downloaded"].as_u64() <= Some(950_000), "{summary}");
    assert!(same(&home.path("data/top"), &home.path("out/top")));
}

#[test]
fn chosen_files_alone_are_downloaded() {
    let home = Home::new();
    made(&home);
    let (_seed, addr) = seeding(&home);
    let ran = home.run(&download(&["--peer", &addr, "--files", "sub/*"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert!(same(&home.path("data/top/sub"), &home.path("out/top/sub")));
    assert!(!home.path("out/top/a").exists());
    let none = home.run(&download(&["--files", "*.mp3"]));
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("top/sub/b"), "{}", none.stderr);
}

#[test]
fn a_peer_introduces_itself_and_gives_one_piece() {
    let home = Home::new();
    made(&home);
    let (_seed, addr) = seeding(&home);
    let hello = home.run(&["handshake", "t.torrent", &addr, "--json"]).object("handshake");
    assert!(hello["client"].as_str().unwrap().contains("samara"), "{hello}");
    assert_eq!(hello["pieces"], 31, "{hello}");
    let ran = home.run(&["piece", "t.torrent", "2", "-o", "two.bin", "--peer", &addr]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let piece = std::fs::read(home.path("two.bin")).unwrap();
    assert_eq!(piece, &noise(700_000, 1)[65_536..98_304]);
    let beyond = home.run(&["piece", "t.torrent", "31", "-o", "x", "--peer", &addr]);
    assert_eq!(beyond.code, 2);
}

#[test]
fn seed_refuses_data_that_is_not_all_right() {
    let home = Home::new();
    made(&home);
    std::fs::remove_file(home.path("data/top/sub/b")).unwrap();
    let ran = home.run(&["seed", "t.torrent", "--data", "data", "--port", "0"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("missing   top/sub/b"), "{}", ran.stdout);
    assert!(!home.path("data/top/sub/b").exists(), "seeding changes nothing");
}

#[test]
fn nobody_there_is_told_and_the_exit_code_says_why() {
    let home = Home::new();
    made(&home);
    let args = ["download", "t.torrent", "-o", "out", "--port", "0", "--timeout", "200ms"];
    let ran = home.run(&args);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    assert!(ran.stderr.contains("--peer"), "{}", ran.stderr);
    let wrong = home.run(&download(&["--peer", "nowhere"]));
    assert_eq!(wrong.code, 2);
    assert_eq!(home.run(&["peers", "t.torrent"]).code, 3);
    assert_eq!(home.run(&["handshake", "t.torrent", "127.0.0.1:1"]).code, 3);
}

#[test]
fn a_shared_directory_is_downloaded_by_the_command_that_share_prints() {
    let home = Home::new();
    made(&home);
    let args = ["share", "data/top", "--host", "127.0.0.1", "--tracker-port", "0", "--port", "0"];
    let mut share = home.spawn(&args);
    let url = share.wait_for("shared")["url"].as_str().unwrap().to_owned();
    let ran = home.run(&["download", &url, "-o", "out", "--port", "0", "--timeout", "60s", "-q"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(same(&home.path("data/top"), &home.path("out/top")));
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_to_is_code_6() {
    let home = Home::new();
    made(&home);
    let ran = home.run(&["download", "t.torrent", "-o", "/proc/nowhere", "--port", "0"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (6, ""), "{ran:?}");
    assert!(ran.stderr.contains("/proc/nowhere"), "{}", ran.stderr);
}

#[test]
fn peers_meet_through_a_tracker_of_ones_own_that_tracks_what_it_is_told_to() {
    let home = Home::new();
    made(&home);
    let mut tracker =
        home.spawn(&["tracker", "--port", "0", "--bind", "127.0.0.1", "--allow", "t.torrent"]);
    let url = format!("http://127.0.0.1:{}/announce", tracker.wait_for("tracking")["port"]);
    let create = |out: &str, extra: &[&str]| {
        let args = ["create", "data/top", "-o", out, "--tracker", &url, "--no-date"];
        assert_eq!(home.run(&[&args, extra].concat()).code, 0);
    };
    create("tracked.torrent", &["--piece-size", "32KiB"]);
    let seed = ["seed", "tracked.torrent", "--data", "data", "--port", "0", "--bind", "127.0.0.1"];
    let mut seed = home.spawn(&seed);
    seed.wait_for("listening");
    let ran = home.run(&[
        "download",
        "tracked.torrent",
        "-o",
        "out",
        "--port",
        "0",
        "--timeout",
        "60s",
        "-q",
    ]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(same(&home.path("data/top"), &home.path("out/top")));

    create("other.torrent", &["--private"]);
    let ran = home.run(&["peers", "other.torrent"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
}
