"""Ends of every kind and what the next run fetches: never a verified byte twice, never a byte on disk overwritten unchecked."""

import hashlib
import signal
import threading

import pytest

import payload as payloads
from peers import samara as contract
from peers.clients import Libtorrent
from peers.fake import Fake, honest
from peers.process import wait_for
from test_disk_trouble import WITHOUT_PRIVILEGE

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return payloads.single(tmp_path_factory.mktemp("payload"), 24 * MIB + 999, 256 * KIB, seed=31)


def right_pieces(content, root):
    """The pieces that are on disk as they should be."""
    try:
        data = content.path((), root).read_bytes() if content.single else b"".join(
            content.path(parts, root).read_bytes().ljust(size, b"\0") for parts, size in content.files
        )  # fmt: skip
    except FileNotFoundError:
        return set()
    hashes, length = content.piece_hashes(), content.piece_length
    return {
        index
        for index in range(content.piece_count)
        if hashlib.sha1(data[index * length : (index + 1) * length]).digest() == hashes[20 * index : 20 * index + 20]
    }


def until_half(content, stalled):
    """A seed that serves half of the content and then nothing more, without hanging up."""

    def script(talk):
        talk.handshake()
        talk.bitfield()
        for request in talk.requests():
            if talk.peer.served_bytes() < content.size // 2:
                talk.serve(*request)
            else:
                stalled.set()

    return script


def fetch_half(lab, content, samara, into):
    """Runs samara against a seed that stalls at half; returns the running transfer and the pieces then on disk."""
    torrent = content.torrent(lab.directory / "t.torrent")
    stalled = threading.Event()
    seed = Fake(lab, torrent, until_half(content, stalled))
    download = samara.download(lab, torrent, into, [seed.address])
    assert stalled.wait(60)
    # All whole pieces served are verified and written; blocks of unfinished pieces may be on their way.
    served = {}
    for index, _, length in seed.served:
        served[index] = served.get(index, 0) + length
    whole = {i for i, got in served.items() if got >= min(content.piece_length, content.size - i * content.piece_length)}
    assert len(whole) > 5
    wait_for("the served pieces are on disk", lambda: whole <= right_pieces(content, into))
    return torrent, download, whole


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_stopped_at_half_fetches_only_the_rest(lab, content, samara, number):
    into = lab.folder("into")
    torrent, download, whole = fetch_half(lab, content, samara, into)
    code = download.process.stop(number)
    if number == signal.SIGINT:
        assert code == contract.INTERRUPTED
    seed = Fake(lab, torrent, honest)
    samara.download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into)
    again = {index for index, _, _ in seed.served} & whole
    assert not again, f"{len(again)} of {len(whole)} verified pieces were fetched again"
    assert not payloads.strangers(content, into)


def test_killed_again_and_again(lab, content, samara):
    """Killed at whatever moment, five times, against a real seed that is held to 8 MB/s; right in the end, and never less than before."""
    into = lab.folder("into")
    torrent = content.torrent(lab.private("t.torrent"))
    seed = Libtorrent("--limit-up", "8000000").seed(lab, torrent, content.root)
    seed.wait_ready()
    had = set()
    for kills in range(1, 6):
        download = samara.download(lab, torrent, into, [seed.address])
        goal = content.piece_count * kills // 7
        wait_for("more pieces", lambda: download.process.code is not None or len(right_pieces(content, into)) > goal)
        download.process.stop(signal.SIGKILL)
        have = right_pieces(content, into)
        assert had <= have, "a restart lost pieces"
        had = have
    samara.download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into)


def test_without_state_the_data_is_checked_not_overwritten(lab, content, samara):
    """Data that another program left, two thirds of it right: just the wrong pieces are fetched."""
    into = content.copy(lab.folder("into"))
    victim = content.path((), into)
    data = bytearray(victim.read_bytes())
    wrong = set(range(0, content.piece_count, 3))
    for index in wrong:
        data[index * content.piece_length + 17] ^= 1
    victim.write_bytes(data)
    torrent = content.torrent(lab.private("t.torrent"))
    seed = Fake(lab, torrent, honest)
    samara.download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into)
    assert {index for index, _, _ in seed.served} == wrong


def test_state_that_no_longer_holds_is_not_trusted(lab, content, samara):
    """Between two runs somebody writes into the file: the second run notices and mends it."""
    into = lab.folder("into")
    torrent, download, whole = fetch_half(lab, content, samara, into)
    download.process.stop(signal.SIGINT)
    victim = min(whole)
    path = content.path((), into)
    with open(path, "r+b") as file:
        file.seek(victim * content.piece_length + 1000)
        file.write(b"somebody else was here")
    seed = Fake(lab, torrent, honest)
    samara.download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into)
    assert victim in {index for index, _, _ in seed.served}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def emptied(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(b"\xff garbage \x00" * 50)


def directory(path):
    path.unlink()
    path.mkdir()
    (path / "keep").write_text("mine")


def unreadable(path):
    path.chmod(0)


@pytest.mark.parametrize("damage", [cut, flipped, emptied, garbage, directory, unreadable])
def test_damaged_state_is_set_aside(lab, content, samara, damage):
    """Whatever became of the record: it is named and kept, all is checked, and nothing that is there is fetched again."""
    into = lab.folder("into")
    torrent, download, whole = fetch_half(lab, content, samara, into)
    download.process.stop(signal.SIGINT)
    (record,) = (lab.directory / "home" / "state").rglob("*.resume")
    damage(record)
    before = None if record.is_dir() else record.read_bytes()
    seed = Fake(lab, torrent, honest)
    again = samara.download(lab, torrent, into, [seed.address], prefix=WITHOUT_PRIVILEGE)
    again.wait_complete()
    assert not payloads.differences(content, into)
    assert not {index for index, _, _ in seed.served} & whole, "a full check finds what is there"
    (aside,) = record.parent.glob("*.damaged*")
    assert (aside / "keep").read_text() == "mine" if before is None else aside.read_bytes() == before
    assert str(record) in "\n".join(again.process.err), again.process.tail()
    assert record.is_file(), "there is a new one"


def test_state_that_cannot_be_written_is_no_obstacle(lab, content, samara):
    """The download goes on and is right; the next run checks all of it."""
    into, state = lab.folder("into"), lab.folder("state")
    state.chmod(0o555)
    torrent = content.torrent(lab.private("t.torrent"))
    options = ["--state-dir", state]
    samara.download(lab, torrent, into, [Fake(lab, torrent, honest).address], *options, prefix=WITHOUT_PRIVILEGE).wait_complete()
    assert not payloads.differences(content, into)
    assert not list(state.iterdir())
    samara.download(lab, torrent, into, (), *options, prefix=WITHOUT_PRIVILEGE).wait_complete()


def test_second_run_on_finished_data(lab, content, samara):
    """Needs no peer and changes nothing."""
    into = content.copy(lab.folder("into"))
    before = content.path((), into).stat().st_mtime_ns
    torrent = content.torrent(lab.private("t.torrent"))
    samara.download(lab, torrent, into).wait_complete()
    assert content.path((), into).stat().st_mtime_ns == before


def test_verify_names_what_is_wrong(lab, content, samara):
    into = content.copy(lab.folder("into"))
    torrent = content.torrent(lab.private("t.torrent"))
    assert samara.run(lab, "verify", torrent.path, "--data", into).code == contract.DONE
    path = content.path((), into)
    with open(path, "r+b") as file:
        file.seek(7 * content.piece_length)
        file.write(b"\0wrong\0")
    damaged = samara.run(lab, "verify", torrent.path, "--data", into)
    assert damaged.code == contract.FAILED
    assert "7" in "\n".join(damaged.out + damaged.err)
    path.unlink()
    missing = samara.run(lab, "verify", torrent.path, "--data", into)
    assert missing.code == contract.FAILED
    assert content.name in "\n".join(missing.out + missing.err)
