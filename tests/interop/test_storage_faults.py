"""A file system that fails, dawdles and stalls under one of two torrents of the same program: that one waits, the other goes on."""

import errno
import hashlib
import os
import signal
import subprocess

import pytest

import payload as payloads
from peers import samara as contract
from peers.fake import Leech, Seed
from peers.fuse import Faulty
from peers.process import wait_for

KIB, MIB = 1 << 10, 1 << 20
STALLED_S = int(os.environ.get("INTEROP_STALL_S", "3"))
WITHIN_S = 30  # of the trouble's end, by when a torrent has to be on its way again


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """What lies on the faulty file system, and what does not."""
    sizes = [(("one.bin",), 700_000), (("dir", "two.bin"), MIB)]
    troubled = payloads.made(tmp_path_factory.mktemp("payload"), "troubled", sizes, 32 * KIB, seed=81)
    return troubled, payloads.made(tmp_path_factory.mktemp("payload"), "sound", [(("all.bin",), MIB)], 32 * KIB, seed=82)


class Pair:
    """One program with two torrents: `troubled` below a mount, `sound` beside it, each from a seed of its own."""

    def __init__(self, lab, contents, samara, mount=Faulty, troubled_until=None):
        self.content, self.other = contents
        self.into = lab.folder("into")
        self.mount = mount(lab, self.into / self.content.name)
        torrents = [content.torrent(lab.private("t.torrent")) for content in contents]
        self.torrent = torrents[0]
        self.troubled = Seed(lab, torrents[0], until=troubled_until)
        # It is not done before it is told to be, so that the program does not end.
        self.sound = Seed(lab, torrents[1], until=4)
        self.start = lambda *options, prefix=(): self._start(lab, samara, torrents, options, prefix)

    def _start(self, lab, samara, torrents, options, prefix):
        args = ["download", *(t.path for t in torrents), "-o", self.into, "--bind", samara._host(), "--port", "0", "--no-seed", *options]
        for seed in (self.troubled, self.sound):
            args += ["--peer", seed.address]
        self.process = samara.start(lab, *args, prefix=prefix)
        self.transfer = contract.SamaraTransfer(self.process, None, None)
        return self.transfer

    def states(self, name=None):
        """What the troubled torrent was said to do, one for each line of progress."""
        name = name or self.content.name
        return [e["state"] for e in self.transfer.events() if e["type"] == "progress" and e["name"] == name]

    def wait_state(self, state, timeout=None):
        seen = len(self.states())
        wait_for(f"it is {state}", lambda: self._ended() or state in self.states()[max(0, seen - 1) :], timeout)
        assert self.process.running(), self.process.tail()

    def _ended(self):
        return not self.process.running()

    def finish(self):
        self.sound.go_on()
        self.transfer.wait_complete()
        assert not payloads.differences(self.other, self.into)

    def right_pieces(self, root):
        """The pieces that are right in the files below `root`, which stands for the torrent's own directory."""
        data = b"".join(
            (path.read_bytes() if path.is_file() else b"")[:size].ljust(size, b"\0")
            for path, size in ((root.joinpath(*parts), size) for parts, size in self.content.files)
        )
        hashes, length = self.content.piece_hashes(), self.content.piece_length
        pieces = enumerate(data[at : at + length] for at in range(0, len(data), length))
        return {i for i, piece in pieces if hashlib.sha1(piece).digest() == hashes[20 * i : 20 * i + 20]}

    def differences(self):
        """What is wrong on the faulty file system, seen from behind it."""
        root = self.mount.backing.parent / "seen"
        root.mkdir(exist_ok=True)
        if not (root / self.content.name).exists():
            (root / self.content.name).symlink_to(self.mount.backing)
        return payloads.differences(self.content, root)


def asked_twice(seed):
    return {index for (index, _, _), times in seed.requested.items() if times > 1}


@pytest.mark.parametrize("error", ["EIO", "EROFS", "ENOSPC", "EDQUOT", "ESTALE", "EACCES"])
def test_writes_fail_for_a_while(lab, contents, samara, error):
    """The torrent says what is wrong, goes on by itself, checks nothing anew, and what was verified is not fetched again."""
    pair = Pair(lab, contents, samara)
    pair.mount.fail("write", getattr(errno, error), after=12)
    pair.start("--json")
    pair.wait_state("failed")
    told = [e["note"] for e in pair.transfer.events() if e["type"] == "progress" and e["state"] == "failed"]
    assert any(note and str(pair.into / pair.content.name) in note for note in told), told
    assert pair.sound.stalled.wait(60), "the other one goes on"
    written = pair.right_pieces(pair.mount.backing)
    assert len(written) >= 5
    pair.mount.heal()
    wait_for("all is written", lambda: pair._ended() or not pair.differences(), WITHIN_S)
    pair.finish()
    # A piece that could not be written is fetched again; those that were written before the trouble are not.
    assert not asked_twice(pair.troubled) & written
    states = pair.states()
    assert "checking" not in states[states.index("failed") :]


class Tmpfs:
    def __init__(self, lab, path):
        path.mkdir()
        self.path = path
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", path], check=True)
        lab.closing(self)

    def close(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)


def test_disk_full_for_a_while(lab, contents, samara):
    """A disk that is really full, and has room again."""
    pair = Pair(lab, contents, samara, Tmpfs)
    pair.start("--json")
    pair.wait_state("failed")
    written = pair.right_pieces(pair.mount.path)
    assert len(written) >= 5
    subprocess.run(["mount", "-o", "remount,size=16m", pair.mount.path], check=True)
    wait_for("all is written", lambda: pair._ended() or not payloads.differences(pair.content, pair.into), WITHIN_S)
    pair.finish()
    assert not asked_twice(pair.troubled) & written
    states = pair.states()
    assert "checking" not in states[states.index("failed") :]


def test_one_torrent_alone_says_so_and_ends(lab, contents, samara):
    content = contents[0]
    into = lab.folder("into")
    mount = Faulty(lab, into / content.name)
    mount.fail("write", errno.EIO, after=5)
    torrent = content.torrent(lab.private("t.torrent"))
    download = samara.download(lab, torrent, into, [Seed(lab, torrent).address])
    assert download.process.wait_exit(30) == contract.IO
    assert str(into / content.name) in "\n".join(download.process.err)


def test_short_and_interrupted_calls(lab, contents, samara):
    """Writes and reads that move a part, and EINTR, are carried on where they stopped; in a download, a check and an upload."""
    content = contents[0]
    into = lab.folder("into")
    mount = Faulty(lab, into / content.name)
    mount.shorten("write", 5_001)
    mount.shorten("read", 3_333)
    mount.fail("write", errno.EINTR, after=9, times=3)
    mount.fail("read", errno.EINTR, after=9, times=3)
    mount.fail("fsync", errno.EINTR, times=1)
    torrent = content.torrent(lab.private("t.torrent"))
    samara.download(lab, torrent, into, [Seed(lab, torrent).address]).wait_complete()
    seed = samara.seed(lab, torrent, into, "--check")
    seed.wait_ready()
    leech = Leech(lab, torrent, seed.address)
    leech.wait_for_more(100)
    assert leech.offered == set(range(content.piece_count)) and not leech.rejected
    assert mount.calls["write"] > content.size // 5_001 and mount.calls["read"] > content.size // 3_333


def test_failed_sync(lab, contents, samara):
    """After a failed fsync what was written since the last one is not believed: it is fetched again, and the end is right."""
    pair = Pair(lab, contents, samara)
    pair.mount.fail("fsync", errno.EIO, times=1)
    pair.start("--json")
    pair.wait_state("failed")
    wait_for("it is fetched again", lambda: pair._ended() or asked_twice(pair.troubled), WITHIN_S)
    every = set(range(pair.content.piece_count))
    wait_for("all of it", lambda: pair._ended() or asked_twice(pair.troubled) == every, WITHIN_S)
    pair.finish()
    assert not pair.differences()
    assert pair.mount.calls["fsync"] > 2


def test_reads_fail_while_seeding(lab, contents, samara):
    """What cannot be read is withdrawn; all else is served, right."""
    content = contents[0]
    into = lab.folder("into")
    mount = Faulty(lab, into / content.name)
    for parts, _ in content.files:
        (mount.backing / os.path.join(*parts)).parent.mkdir(parents=True, exist_ok=True)
        (mount.backing / os.path.join(*parts)).write_bytes(content.path(parts).read_bytes())
    torrent = content.torrent(lab.private("t.torrent"))
    seed = samara.seed(lab, torrent, into)
    seed.wait_ready()
    leech = Leech(lab, torrent, seed.address)
    leech.wait_for_more(100)
    mount.fail("read", errno.EIO, after=3, times=2)
    wait_for("pieces are withdrawn", lambda: leech.rejected or leech.wrong)
    leech.wait_for_more(100)
    assert 1 <= len(leech.rejected) <= 2
    assert seed.process.running()
    assert mount.calls["write"] == 0, "a seed writes nothing"


@pytest.mark.parametrize("when", ["at the start", "amid the download"])
def test_stalled_mount(lab, contents, samara, when):
    """A mount that answers nothing stalls its own torrent and nobody else; what the program says goes on; then all comes to its end."""
    pair = Pair(lab, contents, samara, troubled_until=8)
    if when == "at the start":
        pair.mount.stall()
    pair.start("--json")
    if when == "amid the download":
        assert pair.troubled.stalled.wait(60)
        pair.mount.stall()
        pair.troubled.go_on()
    pair.sound.go_on()
    wait_for("the other one is complete", lambda: pair._ended() or not payloads.differences(pair.other, pair.into))
    assert pair.mount.held_some.wait(60)
    wait_for("and durable", lambda: pair._ended() or "seeding" in pair.states("sound"))
    said = len(pair.states())
    wait_for("more lines, one a second", lambda: pair._ended() or len(pair.states()) >= said + STALLED_S, 3 * STALLED_S + 60)
    assert pair.process.running(), pair.process.tail()
    pair.troubled.go_on()
    pair.mount.go_on()
    pair.transfer.wait_complete()
    assert not pair.differences()
    assert "failed" not in pair.states()


def test_stalled_mount_whose_files_make_room(lab, contents, samara, tmp_path_factory):
    """The other one needs more files than may be open: those of the stalled mount go, whose server wants to be asked and does not answer."""
    sizes = [((f"{i:03}",), 4_000) for i in range(200)]
    many = payloads.made(tmp_path_factory.mktemp("payload"), "many", sizes, 32 * KIB, seed=83)
    pair = Pair(lab, (contents[0], many), samara, lambda lab, path: Faulty(lab, path, flush=True), troubled_until=8)
    pair.start("--json", prefix=["prlimit", "--nofile=256:256", "--"])
    assert pair.troubled.stalled.wait(60)
    pair.mount.stall()
    pair.troubled.go_on()
    pair.sound.go_on()
    wait_for("the other one is durable", lambda: pair._ended() or "seeding" in pair.states("many"))
    assert pair.process.running(), pair.process.tail()
    pair.mount.go_on()
    pair.transfer.wait_complete()
    assert not pair.differences() and not payloads.differences(many, pair.into)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("when", ["at the start", "amid the download"])
def test_stopped_while_a_mount_is_stalled(lab, contents, samara, when, number):
    """Ctrl-C ends it in seconds, with the usual code; the next run finds what was written."""
    pair = Pair(lab, contents, samara, troubled_until=8)
    if when == "at the start":
        pair.mount.stall()
    pair.start()
    if when == "amid the download":
        assert pair.troubled.stalled.wait(60)
        pair.mount.stall()
        pair.troubled.go_on()
    assert pair.mount.held_some.wait(60)
    assert pair.sound.stalled.wait(60)
    pair.process.send(number)
    assert pair.process.wait_exit(15) == contract.INTERRUPTED
    assert any("Stopping" in line for line in pair.process.err)
    pair.mount.go_on()
    pair.troubled.go_on()
    pair.start()
    pair.finish()
    assert not pair.differences()
