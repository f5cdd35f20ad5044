"""Directories that cannot be written and disks that are full: exit codes 6 and 5, a message that says where, nothing spoiled."""

import os
import subprocess

import pytest

import payload as payloads
from peers import samara as contract
from peers.fake import Fake, honest

KIB, MIB = 1 << 10, 1 << 20
# The suite runs as root, whom no permission bits stop; these make an ordinary user of it.
WITHOUT_PRIVILEGE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--"]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return payloads.single(tmp_path_factory.mktemp("payload"), 12 * MIB, 128 * KIB, seed=51)


class Mount:
    """A small file system of its own, in the suite's own mount namespace."""

    def __init__(self, lab, size):
        self.path = lab.folder("mount")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.path], check=True)
        lab.closing(self)

    def remount(self, *options):
        subprocess.run(["mount", "-o", "remount," + ",".join(options), self.path], check=True)

    def close(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)


@pytest.fixture
def seeded(lab, content):
    torrent = content.torrent(lab.private("t.torrent"))
    return torrent, Fake(lab, torrent, honest)


def test_directory_not_writable(lab, samara, seeded):
    torrent, seed = seeded
    into = lab.folder("into")
    into.chmod(0o555)
    download = samara.download(lab, torrent, into, [seed.address], prefix=WITHOUT_PRIVILEGE)
    assert download.process.wait_exit(30) == contract.IO, download.process.tail()
    text = "\n".join(download.process.err)
    assert str(into) in text, "the message says where"
    assert not list(into.iterdir())


def test_read_only_file_system(lab, samara, seeded):
    torrent, seed = seeded
    mount = Mount(lab, "32m")
    mount.remount("ro")
    download = samara.download(lab, torrent, mount.path, [seed.address])
    assert download.process.wait_exit(30) == contract.IO, download.process.tail()
    assert str(mount.path) in "\n".join(download.process.err)


def test_existing_file_not_writable(lab, content, samara, seeded):
    torrent, seed = seeded
    into = lab.folder("into")
    path = content.path((), into)
    path.write_bytes(b"not what the torrent wants")
    path.chmod(0o444)
    download = samara.download(lab, torrent, into, [seed.address], prefix=WITHOUT_PRIVILEGE)
    assert download.process.wait_exit(30) == contract.IO, download.process.tail()
    assert path.read_bytes() == b"not what the torrent wants"


def test_target_is_a_file(lab, samara, seeded):
    torrent, seed = seeded
    into = lab.private("a file")
    into.write_text("in the way")
    download = samara.download(lab, torrent, into, [seed.address])
    assert download.process.wait_exit(30) == contract.IO, download.process.tail()
    assert into.read_text() == "in the way"


def test_disk_full_then_room(lab, content, samara, seeded):
    """The disk fills up at two thirds. With room made, the next run fetches only what was not yet verified."""
    torrent, seed = seeded
    mount = Mount(lab, "8m")
    download = samara.download(lab, torrent, mount.path, [seed.address])
    assert download.process.wait_exit(60) == contract.NO_SPACE, download.process.tail()
    assert str(mount.path) in "\n".join(download.process.err)
    mount.remount("size=32m")
    fresh = Fake(lab, torrent, honest)
    samara.download(lab, torrent, mount.path, [fresh.address]).wait_complete()
    assert not payloads.differences(content, mount.path)
    assert fresh.served_bytes() < content.size, "what was written before the disk was full is still good"


def test_symbolic_link_out_of_the_directory(lab, content, samara):
    """A link that lies where a directory of the torrent belongs is not followed out."""
    nested = payloads.nested(lab.folder("payload"))
    torrent = nested.torrent(lab.private("t.torrent"))
    seed = Fake(lab, torrent, honest)
    into, elsewhere = lab.folder("into"), lab.folder("elsewhere")
    (into / nested.name).mkdir()
    os.symlink(elsewhere, into / nested.name / "a")
    download = samara.download(lab, torrent, into, [seed.address])
    code = download.process.wait_exit(60)
    assert code == contract.IO, download.process.tail()
    assert not list(elsewhere.rglob("*"))
