"""Magnet links and peer exchange, both ways with libtorrent."""

from dataclasses import dataclass
from urllib.parse import quote

import pytest

import payload as payloads
from peers import samara as contract
from peers.clients import Libtorrent

KIB = 1 << 10


@dataclass
class Link:
    """Stands where drivers take a torrent: they only look at `path`."""

    path: str


def link(torrent, *trackers, rest=""):
    return Link(f"magnet:?xt=urn:btih:{torrent.hex}" + "".join(f"&tr={quote(url, safe='')}" for url in trackers) + rest)


@pytest.fixture
def content(lab):
    """Small pieces, so that the info dictionary has several pieces of its own."""
    return payloads.single(lab.folder("payload"), 48 << 20, 16 * KIB, seed=91)


@pytest.mark.parametrize("scheme", ["http", "udp"])
@pytest.mark.parametrize("way", ["download", "seed"])
def test_link_through_a_tracker(lab, samara, content, way, scheme):
    tracker = lab.tracker(content.torrent(lab.private("unannounced")).info_hash)
    torrent = content.torrent(lab.private("t.torrent"), tracker.url(scheme))
    seeder, leecher = (Libtorrent(), samara) if way == "download" else (samara, Libtorrent())
    seeder.seed(lab, torrent, content.root)
    tracker.wait_seeds(torrent.info_hash)
    into = lab.folder("into")
    leecher.download(lab, link(torrent, tracker.url(scheme)), into).wait_complete()
    assert not payloads.differences(content, into)


def test_resolve(lab, samara, content):
    """What libtorrent gives is the info dictionary byte for byte, and the second time nobody is asked."""
    torrent = content.torrent(lab.private("t.torrent"))
    seed = Libtorrent().seed(lab, torrent, content.root)
    seed.wait_ready()
    out = lab.private("resolved.torrent")
    magnet = link(torrent, rest=f"&x.pe={seed.address}").path
    process = samara.run(lab, "magnet", "resolve", magnet, "-o", out, "--timeout", "60s")
    assert process.code == contract.DONE, process.tail()
    checked = samara.run(lab, "verify", out, "--data", content.root)
    assert checked.code == contract.DONE, checked.tail()
    seed.stop()
    again = samara.run(lab, "magnet", "resolve", torrent.hex, "-o", lab.private("again.torrent"))
    assert again.code == contract.DONE, again.tail()


def test_a_private_torrent_is_not_given_away(lab, samara, content):
    """Who is to have the info dictionary of a private torrent got it from the tracker's site."""
    made = lab.private("private.torrent")
    create = samara.run(lab, "create", content.root / content.name, "-o", made, "--private", "--tracker", "http://127.0.0.1:9/announce")
    assert create.code == contract.DONE, create.tail()
    seed = samara.seed(lab, Link(str(made)), content.root)
    seed.wait_ready()
    printed = samara.run(lab, "magnet", made, "--bare").out[0]
    out = lab.private("resolved.torrent")
    process = samara.run(lab, "magnet", "resolve", f"{printed}&x.pe={seed.address}", "-o", out, "--timeout", "4s")
    assert process.code == contract.NETWORK, process.tail()
    assert "1 without metadata" in "\n".join(process.err), process.tail()
    assert not out.exists()


@pytest.mark.parametrize("middle", ["libtorrent", "samara"])
def test_the_seed_is_learned_from_a_leech(lab, samara, content, middle):
    """The last peer knows only the one in the middle, which knows the seed and gets next to nothing from it."""
    torrent = content.torrent(lab.private("t.torrent"))
    seed = samara.seed(lab, torrent, content.root, "--limit-up", "64K", "--limit-local")
    seed.wait_ready()
    client, last = (Libtorrent(), samara) if middle == "libtorrent" else (samara, Libtorrent())
    between = client.download(lab, torrent, lab.folder("middle"), [seed.address])
    end = last.download(lab, torrent, lab.folder("last"), [between.address])
    if last is samara:
        end.wait_event("it has met the seed", lambda event: event.get("seeds", 0) >= 1, timeout=100)
    else:
        # Which of the two hears of the other first and dials is chance.
        end.process.wait_line("it has met the seed", lambda line: '"met"' in line and f"{seed.host}:" in line, timeout=100)
