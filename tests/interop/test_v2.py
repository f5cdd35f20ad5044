"""v2 and hybrid torrents (BEP 52) between samara and libtorrent, both ways, compared byte for byte."""

import pytest

import payload as payloads
from peers import samara as contract
from peers.clients import Libtorrent


def made(lab, samara, content, kind):
    out = lab.private("made.torrent")
    process = samara.run(lab, "create", content.root / content.name, "-o", out, kind, "--piece-size", "64KiB")
    assert process.code == contract.DONE, process.tail()
    return payloads.Torrent(out, content, b"")


@pytest.mark.parametrize("kind", ["--v2", "--hybrid"])
@pytest.mark.parametrize("shape", ["single", "nested"])
@pytest.mark.parametrize("from_libtorrent", [True, False], ids=["from-libtorrent", "to-libtorrent"])
def test_transfer(lab, samara, shapes, kind, shape, from_libtorrent):
    content = shapes(shape)
    torrent = made(lab, samara, content, kind)
    seeder, leecher = (Libtorrent(), samara) if from_libtorrent else (samara, Libtorrent())
    seed = seeder.seed(lab, torrent, content.root)
    seed.wait_ready()
    into = lab.folder("into")
    leecher.download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into)
