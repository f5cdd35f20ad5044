"""Forty milliseconds away: one peer fills the link, or 20 MB/s, whichever is less."""

import json
import os

import pytest

import payload as payloads
from peers.clients import Libtorrent
from peers.relay import Relay

MIB = 1 << 20


def report(request, **figures):
    """Figures that the run prints, and that a machine can collect."""
    line = json.dumps(figures)
    request.config.stash.setdefault(FIGURES, []).append((request.node.name, line))
    if path := os.environ.get("INTEROP_REPORT"):
        with open(path, "a", encoding="utf-8") as out:
            out.write(json.dumps({"test": request.node.name, **figures}) + "\n")


FIGURES = pytest.StashKey()
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return payloads.single(tmp_path_factory.mktemp("payload"), 96 * MIB, MIB, seed=61)


@pytest.mark.parametrize("link", [5_000_000, 20_000_000], ids=lambda rate: f"{rate // 1_000_000} MB/s")
@pytest.mark.parametrize("way", ["download", "seed"])
def test_forty_milliseconds(request, lab, content, subject, link, way):
    if link < 10_000_000:
        content = payloads.single(lab.folder("payload"), 24 * MIB, 256 << 10, seed=62)
    torrent = content.torrent(lab.private("t.torrent"))
    seeder, leecher = (Libtorrent(), subject) if way == "download" else (subject, Libtorrent())
    seed = seeder.seed(lab, torrent, content.root)
    seed.wait_ready()
    relay = Relay(lab, seed.address, 0.040, rate=link)
    into = lab.folder("into")
    leecher.download(lab, torrent, into, [relay.address]).wait_complete()
    assert not payloads.differences(content, into)
    share = relay.rate() / link
    report(request, way=way, link_mb_s=link / 1e6, reached_mb_s=round(relay.rate() / 1e6, 2), share=round(share, 3))
    # The goal is 0.9; what is asserted leaves room for a machine that does other things as well.
    assert share > 0.7
