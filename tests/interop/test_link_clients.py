"""Magnet links with the clients that people have: theirs from a seed of ours, ours from a seed of theirs, through a tracker."""

import pytest

import payload as payloads
from conftest import reference_clients
from test_magnet import link

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize("way", ["download", "seed"])
@pytest.mark.parametrize("name", ["transmission", "aria2"])
def test_link(lab, samara, name, way):
    """Small pieces: the info dictionary has several pieces of its own."""
    content = payloads.single(lab.folder("payload"), 16 * MIB + 3, 16 * KIB, seed=98)
    other = {client.name: client for client in reference_clients()}[name]
    tracker = lab.tracker(content.torrent(lab.private("unannounced")).info_hash)
    torrent = content.torrent(lab.private("t.torrent"), tracker.url("http"))
    seeder, leecher = (other, samara) if way == "download" else (samara, other)
    seed = seeder.seed(lab, torrent, content.root)
    seed.wait_ready()
    tracker.wait_seeds(torrent.info_hash)
    into = lab.folder("into")
    leecher.download(lab, link(torrent, tracker.url("http")), into).wait_complete()
    assert not payloads.differences(content, into)
