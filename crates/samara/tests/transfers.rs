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
    let (_seed, addr) = seeding_with(&home, &["--limit-up", "300K", "--limit-local"]);
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
fn lists_of_addresses_are_heeded_and_their_nonsense_is_named() {
    let home = Home::new();
    made(&home);
    home.write("list", b"127.0.0.0/8\nwhat is this\n");
    let (_seed, addr) = seeding(&home);
    let args = ["download", "t.torrent", "--port", "0", "--timeout", "1s", "--peer", &addr];
    let ran = home.run(&[&args[..], &["--ip-filter", "list"]].concat());
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("1 lines make no sense: line 2 (what is this)"), "{ran:?}");
    let ran = home.run(&[&args[..], &["--ip-filter", "no such list"]].concat());
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.stderr.contains("no such list"), "{ran:?}");
}

#[test]
fn alternative_limits_need_their_hours() {
    let home = Home::new();
    made(&home);
    let with = |name: &str, value: &str| {
        let args = ["seed", "t.torrent", "--data", "data", "--port", "0"];
        harness::finish(home.command(&args).env(name, value))
    };
    let ran = with("SAMARA_ALT_LIMIT_UP", "1K");
    assert!(ran.code == 2 && ran.stderr.contains("needs `alt-schedule`"), "{ran:?}");
    let ran = with("SAMARA_ALT_SCHEDULE", "mon 8:00-9:00");
    assert!(ran.code == 2 && ran.stderr.contains("`alt-schedule` needs"), "{ran:?}");
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

#[cfg(unix)]
#[test]
fn what_was_checked_once_is_checked_again_only_on_demand() {
    let home = Home::new();
    made(&home);
    std::fs::create_dir(home.path("torrents")).unwrap();
    std::fs::rename(home.path("t.torrent"), home.path("torrents/t.torrent")).unwrap();
    let args = ["seed", "torrents", "--data", "data", "--port", "0", "--network-threads", "2"];
    let seeds = || {
        let mut seed = home.spawn(&args);
        seed.wait_for("listening");
        assert_eq!(seed.interrupt(), 130);
    };
    seeds();
    // What changes behind the back of the file system is not noticed...
    let path = home.path("data/top/a");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"something else").unwrap();
    file.set_modified(modified).unwrap();
    seeds();
    // ...unless one asks.
    let ran = home.run(&[&args[..], &["--check"]].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("top/a"), "{}", ran.stdout);
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

/// The link to `t.torrent`, by way of one peer.
fn link(home: &Home, peer: &str, rest: &str) -> String {
    let link = home.run(&["magnet", "t.torrent", "--bare"]).stdout;
    format!("{}&x.pe={peer}{rest}", link.trim())
}

#[test]
fn a_link_becomes_a_torrent_file_and_the_second_time_nobody_is_asked() {
    let home = Home::new();
    made(&home);
    let (seed, addr) = seeding(&home);
    let link = link(&home, &addr, "");
    let resolve = |to: &str, link: &str| {
        home.run(&["magnet", "resolve", link, "-o", to, "--port", "0", "--timeout", "30s"])
    };
    let ran = resolve("found.torrent", &link);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    let info =
        |file: &str| home.run(&["info", file, "--json"]).object("info")["info_hash_v1"].clone();
    assert_eq!(info("found.torrent"), info("t.torrent"));
    assert_eq!(resolve("found.torrent", &link).code, 6, "it exists");
    drop(seed);
    let hash = info("t.torrent");
    let again = resolve("again.torrent", hash.as_str().unwrap());
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(info("again.torrent"), hash);
}

#[test]
fn a_link_is_downloaded_all_of_it_or_the_files_that_it_selects() {
    let home = Home::new();
    made(&home);
    let (_seed, addr) = seeding(&home);
    let get = |link: &str, to: &str, rest: &[&str]| {
        home.run(&[&["download", link, "-o", to, "--json"], rest, &QUICK].concat())
    };
    let ran = get(&link(&home, &addr, ""), "out", &[]);
    assert_eq!((ran.code, &ran.object("summary")["done"]), (0, &1_000_001.into()), "{ran:?}");
    assert!(same(&home.path("data/top"), &home.path("out/top")));
    let ran = get(&link(&home, &addr, "&so=1"), "some", &[]);
    // Whole pieces, so a little more than the file.
    let total = |ran: &harness::Ran| ran.object("summary")["total"].as_u64().unwrap();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!((300_001..400_000).contains(&total(&ran)), "{}", total(&ran));
    // The command line stands above the link, and a bare info-hash is a link with nothing in it.
    let hash = link(&home, &addr, "");
    let hash = hash.split(['&', ':']).nth(3).unwrap();
    let ran = get(hash, "first", &["--files", "0", "--peer", &addr]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!((700_000..800_000).contains(&total(&ran)), "{}", total(&ran));
    let ran = get(&link(&home, &addr, "&so=9"), "none", &[]);
    assert_eq!(
        (ran.code, ran.object("error")["kind"].clone()),
        (4, "bad_torrent".into()),
        "{ran:?}"
    );
}

#[test]
fn a_link_that_leads_nowhere_says_how_far_it_came() {
    let home = Home::new();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let ran = home.run(&["download", hash, "--port", "0"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("no tracker and no peer"), "{}", ran.stderr);
    let link = format!("magnet:?xt=urn:btih:{hash}&x.pe=127.0.0.1:1");
    let ran = home.run(&["download", &link, "--port", "0", "--timeout", "2s", "--state-dir", "s"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("1 peer known, 1 not reached, 0 asked"), "{}", ran.stderr);
    for (bad, part) in [
        ("xt=urn:btih:xyz", "xt=urn:btih:xyz"),
        ("dn=a", "xt"),
        ("xt=urn:btmh:1220abcd", "`xt=urn:btmh:1220abcd`: a v2 info-hash"),
        (&format!("xt=urn:btih:{hash}&xt=urn:btih:{}", hash.replace('0', "1")), "in `xt`"),
        (&format!("xt=urn:btih:{hash}&so=4-2"), "so=4-2"),
    ] {
        let ran = home.run(&["download", &format!("magnet:?{bad}")]);
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn trackers_are_scraped_for_torrents_links_and_hashes() {
    let home = Home::new();
    made(&home);
    let mut tracker = home.spawn(&["tracker", "--port", "0", "--bind", "127.0.0.1"]);
    let port = tracker.wait_for("tracking")["port"].as_u64().expect("a port");
    let (http, udp) =
        (format!("http://127.0.0.1:{port}/announce"), format!("udp://127.0.0.1:{port}"));
    let args = ["create", "data/top", "-o", "tracked.torrent", "-q", "--tracker", &http];
    assert_eq!(home.run(&args).code, 0);
    let hash = home.run(&["info", "tracked.torrent", "--json"]).object("info")["info_hash_v1"]
        .as_str()
        .unwrap()
        .to_owned();
    // Whoever asks `peers` is a leech for a moment, and is gone again.
    assert_eq!(home.run(&["peers", "tracked.torrent", "--json"]).code, 0);
    let never = "0123456789abcdef0123456789abcdef01234567";
    let ran =
        home.run(&["scrape", "tracked.torrent", never, "--tracker", &udp, "--tracker", &http]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(
        ran.stdout,
        format!(
            "{udp}: top: 0 seeds, 0 leeches, 0 downloads\n{udp}: {never}: 0 seeds, 0 leeches, 0 downloads\n\
             {http}: top: not known\n{http}: {never}: not known\n"
        )
    );
    let mut seed = home.spawn(&[
        "seed",
        "tracked.torrent",
        "--data",
        "data",
        "--port",
        "0",
        "--bind",
        "127.0.0.1",
    ]);
    seed.wait_for("listening");
    let link = format!("magnet:?xt=urn:btih:{hash}&dn=a%20link&tr={http}");
    let ask = || home.run(&["scrape", &link, "--json"]).object("scrape");
    let known = (0..500).map(|_| ask()).find(|seen| seen["complete"] == 1);
    let seen = known.expect("the seed announces itself at once");
    assert_eq!((seen["name"].as_str(), seen["info_hash"].as_str()), (Some("a link"), Some(&*hash)));
    assert_eq!((&seen["incomplete"], &seen["url"]), (&0.into(), &http.clone().into()));

    let nowhere = home.run(&["scrape", never]);
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(nowhere.stderr.contains("--tracker"), "{}", nowhere.stderr);
    drop(tracker);
    let gone = home.run(&["scrape", "tracked.torrent", "--timeout", "20s", "--json"]);
    assert_eq!(gone.code, 3, "{gone:?}");
    assert!(gone.object("scrape")["error"].as_str().unwrap().contains("refused"), "{gone:?}");
}
