"""Torrents that samara makes, read by others; and the other way round."""

import json
import re
import subprocess

import libtorrent as lt
import pytest

import bencode
import payload as payloads
from peers import samara as contract
from peers.clients import Libtorrent

KIB = 1 << 10


def create(lab, samara, content, *options):
    out = lab.private("made.torrent")
    source = content.root / content.name
    process = samara.run(lab, "create", source, "-o", out, *options)
    assert process.code == contract.DONE, process.tail()
    return out


def shown_hash(path):
    """The info-hash that Transmission reads out of the file."""
    text = subprocess.run(["transmission-show", path], check=True, capture_output=True, text=True).stdout
    return re.search(r"Hash: ([0-9a-f]{40})", text).group(1)


@pytest.mark.parametrize("shape", ["single", "nested", "exact multiple", "10,000 files"])
def test_v1_is_what_mktorrent_makes(lab, samara, shapes, shape):
    """Same pieces as mktorrent's, file by file; the same info-hash for Transmission, libtorrent and aria2."""
    content = shapes(shape)
    ours = create(lab, samara, content, "--v1", "--piece-size", str(content.piece_length), "--no-date")
    theirs = lab.private("theirs.torrent")
    power = content.piece_length.bit_length() - 1
    source = content.root / content.name
    subprocess.run(["mktorrent", "-l", str(power), "-a", "http://t/", "-o", theirs, source], check=True, capture_output=True)
    one, other = (bencode.decode(path.read_bytes())[0][b"info"] for path in (ours, theirs))
    assert one[b"name"] == other[b"name"] and one[b"piece length"] == other[b"piece length"]
    files = lambda info: [(f[b"path"], f[b"length"]) for f in info.get(b"files", [])]  # noqa: E731
    assert sorted(files(one)) == sorted(files(other))
    if files(one) == files(other):
        assert one[b"pieces"] == other[b"pieces"]
    info = lt.torrent_info(str(ours))
    assert str(info.info_hashes().v1) == shown_hash(ours)
    listed = subprocess.run(["aria2c", "-S", ours], check=True, capture_output=True, text=True).stdout
    assert shown_hash(ours) in listed


@pytest.mark.parametrize("kind", ["--v1", "--v2", "--hybrid"])
@pytest.mark.parametrize("shape", ["single", "nested"])
def test_every_kind_checks_out_in_libtorrent(lab, samara, shapes, kind, shape):
    """libtorrent accepts the file and finds the data on disk to be all there: every hash and every tree is right."""
    content = shapes(shape)
    made = create(lab, samara, content, kind, "--piece-size", "64KiB")
    info = lt.torrent_info(str(made))
    hashes = info.info_hashes()
    assert hashes.has_v1() == (kind != "--v2") and hashes.has_v2() == (kind != "--v1")
    torrent = payloads.Torrent(made, content, b"")
    Libtorrent().seed(lab, torrent, content.root).wait_ready()

    told = json.loads("\n".join(samara.run(lab, "info", made, "--json").out))
    text = json.dumps(told)
    if hashes.has_v1():
        assert str(hashes.v1) in text
    if hashes.has_v2():
        assert str(hashes.v2) in text
    assert samara.run(lab, "verify", made, "--data", content.root).code == contract.DONE


def test_same_input_same_bytes(lab, samara, shapes):
    content = shapes("nested")
    options = ["--hybrid", "--no-date", "--tracker", "http://10.77.0.1:1/announce", "--comment", "again"]
    first, second = create(lab, samara, content, *options), create(lab, samara, content, *options)
    assert first.read_bytes() == second.read_bytes()


def test_what_was_asked_for_is_in_the_file(lab, samara, shapes):
    content = shapes("single")
    made = create(
        lab, samara, content, "--v1", "--tracker", "http://one.example/announce", "--tracker", "udp://two.example:1/announce",
        "--web-seed", "http://web.example/files/", "--private", "--source", "HERE", "--comment", "Grüße",
    )  # fmt: skip
    top = bencode.decode(made.read_bytes())[0]
    assert top[b"announce"] == b"http://one.example/announce"
    assert [url for tier in top[b"announce-list"] for url in tier] == [b"http://one.example/announce", b"udp://two.example:1/announce"]
    assert top[b"url-list"] in (b"http://web.example/files/", [b"http://web.example/files/"])
    assert top[b"comment"] == "Grüße".encode()
    assert top[b"info"][b"private"] == 1 and top[b"info"][b"source"] == b"HERE"
    assert b"creation date" in top


def test_magnet_is_understood(lab, samara, shapes):
    content = shapes("single")
    torrent = content.torrent(lab.private("t.torrent"), "http://10.77.0.9:1/announce?passkey=a&b=c")
    process = samara.run(lab, "magnet", torrent.path)
    assert process.code == contract.DONE and len(process.out) == 1
    parsed = lt.parse_magnet_uri(process.out[0])
    assert str(parsed.info_hashes.v1) == torrent.hex
    assert list(parsed.trackers) == ["http://10.77.0.9:1/announce?passkey=a&b=c"]
    assert parsed.name == content.name
