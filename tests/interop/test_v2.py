"""v2 and hybrid torrents (BEP 52) between samara and libtorrent, both ways, compared byte for byte."""

import hashlib

import pytest

import bencode
import payload as payloads
from peers import samara as contract
from peers.clients import Libtorrent
from test_magnet import KIB, Link


def made(lab, samara, content, kind, piece_size="64KiB"):
    out = lab.private("made.torrent")
    process = samara.run(lab, "create", content.root / content.name, "-o", out, kind, "--piece-size", piece_size)
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


def v2_link(torrent, rest=""):
    """Names the torrent by its v2 hash alone, so that only peers that speak v2 can be met."""
    info = bencode.decode(torrent.path.read_bytes())[0][b"info"]
    return Link(f"magnet:?xt=urn:btmh:1220{hashlib.sha256(bencode.encode(info)).hexdigest()}{rest}")


@pytest.fixture
def many_pieces(lab):
    """More pieces than three hash requests ask for, and a file with a layer of two hashes."""
    root = lab.folder("payload")
    (root / "many").mkdir()
    (root / "many" / "large.bin").write_bytes(payloads.random.Random(71).randbytes(1600 * 16 * KIB + 5))
    (root / "many" / "small.bin").write_bytes(payloads.random.Random(72).randbytes(17 * KIB))
    files = [(("large.bin",), 1600 * 16 * KIB + 5), (("small.bin",), 17 * KIB)]
    return payloads.Payload(root, "many", files, False, 16 * KIB)


@pytest.mark.parametrize("kind", ["--v2", "--hybrid"])
@pytest.mark.parametrize("from_libtorrent", [True, False], ids=["from-libtorrent", "to-libtorrent"])
def test_link(lab, samara, many_pieces, kind, from_libtorrent):
    """From the v2 hash alone: the info dictionary, then the piece layers by hash requests, then the payload."""
    torrent = made(lab, samara, many_pieces, kind, "16KiB")
    seeder, leecher = (Libtorrent(), samara) if from_libtorrent else (samara, Libtorrent())
    seed = seeder.seed(lab, torrent, many_pieces.root)
    seed.wait_ready()
    into = lab.folder("into")
    leecher.download(lab, v2_link(torrent), into, [seed.address]).wait_complete()
    assert not payloads.differences(many_pieces, into)


@pytest.mark.parametrize("kind", ["--v2", "--hybrid"])
def test_resolve(lab, samara, many_pieces, kind):
    """The file that comes of a link is the one that libtorrent seeds, piece layers and all; a hybrid by its v1 hash."""
    torrent = made(lab, samara, many_pieces, kind, "16KiB")
    seed = Libtorrent().seed(lab, torrent, many_pieces.root)
    seed.wait_ready()
    magnet = samara.run(lab, "magnet", torrent.path, "--bare").out[0]
    if kind == "--hybrid":
        assert "xt=urn:btih:" in magnet
        magnet = "magnet:?" + next(part for part in magnet[8:].split("&") if "btih" in part)
    out = lab.private("resolved.torrent")
    process = samara.run(lab, "magnet", "resolve", f"{magnet}&x.pe={seed.address}", "-o", out, "--timeout", "60s")
    assert process.code == contract.DONE, process.tail()
    resolved, original = (bencode.decode(path.read_bytes())[0] for path in (out, torrent.path))
    assert resolved[b"info"] == original[b"info"] and resolved[b"piece layers"] == original[b"piece layers"]
    seed.stop()
    again = samara.run(lab, "magnet", "resolve", magnet, "-o", lab.private("again.torrent"))
    assert again.code == contract.DONE, again.tail()
