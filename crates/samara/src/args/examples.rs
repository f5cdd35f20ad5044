//! The examples shown under each command's help. A test parses every one of them.

/// Examples of one command: what it does, and the line to type.
pub(crate) struct Examples(&'static [(&'static str, &'static str)]);

impl Examples {
    /// Remarks on the command, then the section. Remarks stand here and not in the command's own description
    /// because clap would then spread every option over three lines.
    pub(crate) fn help_with(&self, remarks: &str) -> String {
        format!("{remarks}\n\n{}", self.help())
    }

    /// The section for the help text.
    pub(crate) fn help(&self) -> String {
        let mut text = String::from("\x1b[1m\x1b[32mExamples:\x1b[0m\n");
        for (i, (what, line)) in self.0.iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            text.push_str(&format!("  \x1b[2m# {what}\x1b[0m\n  {line}"));
        }
        text
    }

    /// The lines to type.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().map(|&(_, line)| line)
    }
}

#[cfg(test)]
pub(crate) const ALL: &[Examples] = &[
    DOWNLOAD,
    SEED,
    SHARE,
    CREATE,
    INFO,
    MAGNET,
    VERIFY,
    DECODE,
    PEERS,
    SCRAPE,
    HANDSHAKE,
    PIECE,
    TRACKER,
    DHT,
    DEMO,
    CONFIG,
    COMPLETIONS,
    MAN,
];

pub(crate) const DOWNLOAD: Examples = Examples(&[
    ("Into the current directory; run again to continue", "samara download debian.torrent"),
    (
        "Straight from the web, into ~/Videos, at most 2 MiB a second",
        "samara download https://example.org/film.torrent -o ~/Videos --limit-down 2M",
    ),
    (
        "Some files only, by pattern or by number (see samara info)",
        "samara download album.torrent --files '*.flac,0'",
    ),
    (
        "By magnet link, in single quotes; and give back as much as you took",
        "samara download 'magnet:?xt=urn:btih:...' --seed-ratio 1",
    ),
]);
pub(crate) const SEED: Examples = Examples(&[
    (
        "Data lies in ~/Videos; check it, then seed it until Ctrl-C",
        "samara seed film.torrent --data ~/Videos",
    ),
    (
        "Many at once, on a port of your choice, without checking",
        "samara seed a.torrent b.torrent --data /srv/share --port 6881 --trust",
    ),
    ("All torrents in a directory, however many", "samara seed /srv/torrents --data /srv/share"),
]);
pub(crate) const SHARE: Examples = Examples(&[
    ("Send a directory to somebody on the same network", "samara share ~/Photos"),
    ("Keep the torrent for later", "samara share film.mkv -o film.torrent"),
]);
pub(crate) const TRACKER: Examples = Examples(&[
    ("For any torrent, on the usual port", "samara tracker"),
    (
        "For two torrents only, asked for every minute",
        "samara tracker --port 8000 --interval 1m --allow film.torrent --allow album.torrent",
    ),
]);
pub(crate) const DHT: Examples = Examples(&[
    ("A key, and a link that always leads to the newest torrent", "samara dht keygen -o news.key"),
    (
        "Publish one under it; again for the next",
        "samara dht put --torrent news.torrent --key-file news.key",
    ),
    ("Who has this torrent?", "samara dht peers 0123456789abcdef0123456789abcdef01234567"),
    (
        "A DHT of your own: the first node; others name it",
        "samara dht node --bind 192.0.2.1 --port 7000",
    ),
]);
pub(crate) const CREATE: Examples = Examples(&[
    (
        "A torrent that every client reads",
        "samara create ~/Photos -o photos.torrent --tracker udp://tracker.example.org:6969/announce",
    ),
    (
        "For a private tracker",
        "samara create film.mkv -o film.torrent --private --source EXAMPLE --tracker https://example.org/announce",
    ),
    (
        "The same bytes each time, for old and new clients",
        "samara create data -o data.torrent --hybrid --no-date",
    ),
]);
pub(crate) const INFO: Examples = Examples(&[
    ("What is in it", "samara info film.torrent"),
    ("All files, however many", "samara info https://example.org/archive.torrent --all"),
    ("The info-hash alone", "samara info film.torrent --json | jq -r .info_hash_v1"),
]);
pub(crate) const MAGNET: Examples = Examples(&[
    ("The link, trackers included", "samara magnet film.torrent"),
    ("Only the hash and the name", "samara magnet film.torrent --bare"),
    (
        "The other way round: fetch the torrent from peers",
        "samara magnet resolve 'magnet:?xt=urn:btih:...' -o film.torrent",
    ),
]);
pub(crate) const VERIFY: Examples = Examples(&[
    ("Is everything there and right?", "samara verify film.torrent --data ~/Videos"),
    (
        "In a script: exit code 0 or 1, no words",
        "samara verify film.torrent --data ~/Videos --quiet",
    ),
]);
pub(crate) const DECODE: Examples = Examples(&[
    ("Look inside a torrent", "samara decode film.torrent"),
    ("Everything, also the long binary strings", "samara decode film.torrent --full"),
    ("What a tracker answered", "samara decode - --lenient"),
]);
pub(crate) const PEERS: Examples = Examples(&[
    ("Ask every tracker", "samara peers film.torrent"),
    ("How many peers there are", "samara peers film.torrent --quiet | wc -l"),
]);
pub(crate) const SCRAPE: Examples = Examples(&[
    ("How many seeds and leeches there are", "samara scrape film.torrent album.torrent"),
    (
        "By info-hash, at a tracker of your choice",
        "samara scrape 0123456789abcdef0123456789abcdef01234567 --tracker udp://tracker.example.org:6969/announce",
    ),
]);
pub(crate) const HANDSHAKE: Examples = Examples(&[
    ("Who is there, and what can it do?", "samara handshake film.torrent 192.0.2.7:6881"),
    (
        "With more patience than the usual 10 seconds",
        "samara handshake film.torrent peer.example.org:6881 --timeout 30s",
    ),
]);
pub(crate) const PIECE: Examples = Examples(&[
    ("The first piece, from whoever has it", "samara piece film.torrent 0 -o first.bin"),
    (
        "From one peer, without asking a tracker",
        "samara piece film.torrent 12 -o piece12.bin --peer 192.0.2.7:6881",
    ),
]);
pub(crate) const DEMO: Examples = Examples(&[
    ("A complete transfer on this machine, without a network", "samara demo"),
    ("A larger one, from four seeds", "samara demo --size 1GiB --seeds 4"),
]);
pub(crate) const CONFIG: Examples = Examples(&[
    ("Every option, its value, and where it comes from", "samara config"),
    ("A file to begin with", "samara config --template > samara.toml"),
]);
pub(crate) const COMPLETIONS: Examples = Examples(&[
    ("Bash", "samara completions bash > ~/.local/share/bash-completion/completions/samara"),
    ("Zsh", "samara completions zsh > ~/.zfunc/_samara"),
    ("Fish", "samara completions fish > ~/.config/fish/completions/samara.fish"),
]);
pub(crate) const MAN: Examples = Examples(&[
    ("Read it", "samara man | man -l -"),
    ("Install all pages", "samara man --dir ~/.local/share/man/man1"),
    ("The page of one command", "samara man download > samara-download.1"),
]);
