"""Every shape of content, from and to every client, found through a tracker, HTTP and UDP; compared byte for byte.

The transfers of one client and one direction all run at once and each test waits for its own: Transmission looks whom to unchoke only
every ten seconds, so that one after the other they would take many minutes.
"""

from dataclasses import dataclass

import pytest

import payload as payloads
from conftest import Lab, reference_clients
from peers.clients import Transfer
from peers.opentracker import Opentracker
from peers.samara import Samara

CASES = [(shape, "http") for shape in payloads.SHAPES] + [("nested", "udp")]


@dataclass
class Pair:
    """One transfer under way."""

    lab: Lab
    torrent: payloads.Torrent
    tracker: Opentracker
    seed: Transfer
    leecher: object
    download: Transfer = None
    into: object = None


def directions():
    for client in reference_clients():
        yield pytest.param((client, True), id=f"download-from-{client.name}")
        yield pytest.param((client, False), id=f"seed-to-{client.name}")


@pytest.fixture(scope="module", params=directions())
def transfers(request, subject, shapes, tmp_path_factory):
    """All cases between samara and one client, in one direction: seeds first, then every download at once."""
    client, from_client = request.param
    seeder, leecher = (client, subject) if from_client else (subject, client)
    pairs = {}
    try:
        for shape, scheme in CASES:
            lab = Lab(tmp_path_factory.mktemp("pair"))
            content = shapes(shape)
            tracker = lab.tracker(content.torrent(lab.private("unannounced")).info_hash)
            torrent = content.torrent(lab.directory / "t.torrent", tracker.url(scheme))
            pairs[shape, scheme] = Pair(lab, torrent, tracker, seeder.seed(lab, torrent, content.root), leecher)
        for pair in pairs.values():
            if getattr(seeder, "announces_as_seed", True):
                pair.tracker.wait_seeds(pair.torrent.info_hash)
            else:
                pair.seed.wait_ready()
                pair.tracker.wait_peers(pair.torrent.info_hash)
        for pair in pairs.values():
            pair.into = pair.lab.folder("into")
            pair.download = leecher.download(pair.lab, pair.torrent, pair.into)
        yield pairs
    finally:
        for pair in pairs.values():
            pair.lab.close()


@pytest.mark.parametrize("shape, scheme", CASES)
def test_transfer(request, transfers, shape, scheme):
    pair = transfers[shape, scheme]
    request.node.watched = pair.lab.processes
    pair.download.wait_complete()
    content = pair.torrent.payload
    assert not payloads.differences(content, pair.into, empty_may_lack=pair.leecher.lacks_empty_files)
    if isinstance(pair.leecher, Samara):
        assert not payloads.strangers(content, pair.into), "a finished download leaves nothing but the files"
    assert pair.seed.process.running(), pair.seed.process.tail()
