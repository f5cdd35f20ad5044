"""Files that somebody changes under a running samara: nothing wrong is served, nothing right is lost, and a download comes to its end."""

import os

import pytest

import payload as payloads
from peers.fake import Leech, Seed
from peers.process import wait_for

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Two files of 32 pieces each: one that is changed and one that is not."""
    sizes = [(("changed.bin",), MIB), (("other.bin",), MIB)]
    return payloads.made(tmp_path_factory.mktemp("payload"), "pair", sizes, 32 * KIB, seed=71)


VICTIM = 9  # a piece in the first file
FIRST, SECOND = set(range(32)), set(range(32, 64))


def overwritten(path):
    with open(path, "r+b") as file:
        file.seek(VICTIM * 32 * KIB + 100)
        file.write(b"somebody else was here")


def truncated(path):
    os.truncate(path, VICTIM * 32 * KIB)


def replaced_by_junk(path):
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(os.urandom(MIB))
    fresh.rename(path)


def replaced_by_the_same(path):
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(path.read_bytes())
    fresh.rename(path)


def deleted(path):
    path.unlink()


# What somebody does, and which pieces of the file are then wrong.
CHANGES = [
    (overwritten, {VICTIM}),
    (truncated, set(range(VICTIM, 32))),
    (replaced_by_junk, FIRST),
    (replaced_by_the_same, set()),
    (deleted, FIRST),
]
EACH_CHANGE = pytest.mark.parametrize(("change", "wrong"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])


@EACH_CHANGE
def test_changed_while_seeding(lab, content, samara, change, wrong):
    """What is wrong is no longer offered, all else goes on; the files stay as they are, and what is mended is offered again."""
    root = content.copy(lab.folder("data"))
    torrent = content.torrent(lab.private("t.torrent"))
    seed = samara.seed(lab, torrent, root)
    seed.wait_ready()
    leech = Leech(lab, torrent, seed.address)
    leech.wait_for_more()
    assert leech.offered == FIRST | SECOND
    path = content.path(("changed.bin",), root)
    change(path)
    after = path.read_bytes() if path.exists() else None
    if change is not replaced_by_the_same and change is not deleted:
        wait_for("it is noticed", lambda: leech.offered == (FIRST | SECOND) - wrong or leech.wrong)
    leech.wait_for_more()
    assert (path.read_bytes() if path.exists() else None) == after, "a seed writes nothing"
    if path.exists() and wrong:
        # Mended, while nobody asked for the other pieces of the file but for those that are still right.
        with open(path, "r+b") as file:
            file.write(content.path(("changed.bin",)).read_bytes())
        if wrong != FIRST:
            wait_for("it is offered again", lambda: leech.offered == FIRST | SECOND or leech.wrong)
        leech.wait_for_more()
    assert seed.process.running()


@EACH_CHANGE
def test_changed_while_downloading(lab, content, samara, change, wrong):
    """At half, somebody changes a file that is written to. What is wrong is fetched again, nothing else is, and the end is right."""
    into = lab.folder("into")
    torrent = content.torrent(lab.private("t.torrent"))
    source = Seed(lab, torrent, until=content.piece_count // 2)
    download = samara.download(lab, torrent, into, [source.address])
    assert source.stalled.wait(60)
    leech = Leech(lab, torrent, download.address)
    had = source.pieces_served()
    wait_for("what was served is offered", lambda: leech.offered and len(leech.offered) >= content.piece_count // 2 - 2)
    leech.wait_for_more()
    had = set(leech.offered)
    before = source.requested.copy()
    path = content.path(("changed.bin",), into)
    change(path)
    leech.wait_for_more(50)
    source.go_on()
    download.wait_complete()
    assert not payloads.differences(content, into)
    assert not payloads.strangers(content, into)
    assert not leech.wrong
    again = {index for index, _, _ in source.requested - before} & had
    assert again <= wrong, f"fetched again though right: {sorted(again - wrong)}"
