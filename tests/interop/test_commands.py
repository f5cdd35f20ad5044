"""The smaller commands, towards real peers: handshake, piece, peers, share, seed, demo."""

import hashlib
import json
import re
import signal
import urllib.request

import pytest

import payload as payloads
from peers import net
from peers import samara as contract
from peers.clients import Aria2, Libtorrent
from peers.fake import Fake


@pytest.fixture
def seeded(lab, shapes):
    """A libtorrent seed of a payload, announced at a tracker."""
    content = shapes("single")
    tracker = lab.tracker(content.torrent(lab.private("unannounced")).info_hash)
    torrent = content.torrent(lab.directory / "t.torrent", tracker.url("udp"))
    seed = Libtorrent().seed(lab, torrent, content.root)
    tracker.wait_seeds(torrent.info_hash)
    seed.wait_ready()
    return torrent, seed


def test_peers(lab, samara, seeded):
    torrent, seed = seeded
    process = samara.run(lab, "peers", torrent.path)
    assert process.code == contract.DONE, process.tail()
    assert seed.address in process.out
    assert all(re.fullmatch(r"[0-9.]+:\d+", line) for line in process.out)


def test_handshake(lab, samara, seeded):
    torrent, seed = seeded
    process = samara.run(lab, "handshake", torrent.path, seed.address)
    assert process.code == contract.DONE, process.tail()
    text = "\n".join(process.out)
    assert "libtorrent" in text.lower()
    assert "ut_metadata" in text or "ut_pex" in text, "the extensions it offers"


def test_handshake_with_nobody(lab, samara, seeded):
    torrent, _ = seeded
    process = samara.run(lab, "handshake", torrent.path, f"{net.ADDRESS}:{net.free_port()}", timeout=30)
    assert process.code == contract.NETWORK, process.tail()


def test_handshake_with_silence(lab, samara, seeded):
    torrent, _ = seeded
    mute = Fake(lab, torrent, lambda talk: talk.silence(), content=b"")
    process = samara.run(lab, "handshake", torrent.path, mute.address, timeout=45)
    assert process.code == contract.NETWORK, process.tail()


@pytest.mark.parametrize("index", [0, 50, -1])
def test_piece(lab, samara, seeded, index):
    torrent, _ = seeded
    content = torrent.payload
    index %= content.piece_count
    out = lab.private("piece")
    process = samara.run(lab, "piece", torrent.path, str(index), "-o", out)
    assert process.code == contract.DONE, process.tail()
    assert hashlib.sha1(out.read_bytes()).digest() == content.piece_hashes()[20 * index : 20 * index + 20]


def test_piece_out_of_range(lab, samara, seeded):
    torrent, _ = seeded
    process = samara.run(lab, "piece", torrent.path, str(torrent.payload.piece_count), "-o", lab.private("piece"), timeout=30)
    assert process.code in (contract.USAGE, contract.FAILED), process.tail()
    assert "panicked" not in "\n".join(process.err)


def test_share_to_aria2(lab, samara, shapes):
    """`share` makes a torrent and a tracker; aria2, given the torrent that it serves, fetches all of it."""
    content = shapes("nested")
    host = net.new_address()
    process = samara.start(lab, "share", content.root / content.name, "--bind", host, "--port", net.free_port(host))
    magnet = process.wait_line("the magnet link", lambda line: re.search(r"magnet:\S+", line)).group(0)
    assert "xt=urn:btih:" in magnet
    url = process.wait_line("the torrent's address", lambda line: re.search(r"http://\S+\.torrent", line)).group(0)
    into = lab.folder("into")
    fetched = samara.start(lab, "download", url, "-o", into, "--no-seed", "--bind", net.new_address())
    assert fetched.wait_exit() == contract.DONE, fetched.tail()
    assert not payloads.differences(content, into)

    path = lab.private("shared.torrent")
    with urllib.request.urlopen(url, timeout=10) as answer:
        path.write_bytes(answer.read())
    into = lab.folder("into")
    Aria2().download(lab, payloads.Torrent(path, content, b""), into).wait_complete()
    assert not payloads.differences(content, into)
    assert process.stop(signal.SIGINT) in (contract.DONE, contract.INTERRUPTED)


def test_seed_says_goodbye(lab, samara, shapes):
    """Ctrl-C ends a seed within seconds, and the tracker forgets it."""
    content = shapes("single")
    tracker = lab.tracker(content.torrent(lab.private("unannounced")).info_hash)
    torrent = content.torrent(lab.directory / "t.torrent", tracker.url("http"))
    seed = samara.seed(lab, torrent, content.root)
    tracker.wait_seeds(torrent.info_hash)
    seed.process.send(signal.SIGINT)
    assert seed.process.wait_exit(5) in (contract.DONE, contract.INTERRUPTED)
    assert tracker.scrape(torrent.info_hash).seeds == 0


def test_seed_of_damaged_data(lab, samara, shapes):
    """Seeding never downloads: it names the bad file and ends, and changes nothing."""
    content = shapes("nested")
    copy = content.copy(lab.folder("copy"))
    path = content.path(("big.bin",), copy)
    with open(path, "r+b") as file:
        file.seek(5 * content.piece_length)
        file.write(b"\0" * 100)
    before = path.read_bytes()
    torrent = content.torrent(lab.private("t.torrent"))
    process = samara.seed(lab, torrent, copy).process
    assert process.wait_exit(30) == contract.FAILED, process.tail()
    assert "big.bin" in "\n".join(process.out + process.err)
    assert path.read_bytes() == before


def test_demo(lab, samara):
    process = samara.run(lab, "demo", env={"TMPDIR": str(lab.folder("tmp"))})
    assert process.code == contract.DONE, process.tail()


def test_json_is_one_value_a_line(lab, samara, seeded):
    torrent, seed = seeded
    download = samara.download(lab, torrent, lab.folder("into"), [seed.address])
    download.wait_complete()
    for line in download.process.out:
        value = json.loads(line)
        assert value["v"] == 1 and isinstance(value["type"], str)


def test_progress_never_goes_back_nor_over(lab, samara, seeded):
    torrent, seed = seeded
    process = samara.start(lab, "download", torrent.path, "-o", lab.folder("into"), "--no-seed", "--bind", net.new_address())
    assert process.wait_exit() == contract.DONE, process.tail()
    percents = [float(p) for line in process.err for p in re.findall(r"(\d+(?:\.\d+)?) ?%", line)]
    assert percents == sorted(percents)
    assert all(0 <= percent <= 100 for percent in percents)
    assert not process.out or not any("\x1b" in line for line in process.out), "no terminal codes where there is no terminal"
