"""Many at once."""

import signal

import pytest

import payload as payloads
from peers.clients import Aria2, Libtorrent
from peers.process import wait_for

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return payloads.single(tmp_path_factory.mktemp("payload"), 32 * MIB + 77, 256 * KIB, seed=41)


def damage(content, root, pieces):
    """A copy of the content in which these pieces are wrong, in one byte each."""
    content.copy(root)
    with open(content.path((), root), "r+b") as file:
        for index in pieces:
            at = index * content.piece_length + 20
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0xFF]))
    return root


def piece_on_disk(content, root, index):
    """Whether this piece lies below `root` as it should."""
    try:
        with open(content.path((), root), "rb") as file:
            file.seek(index * content.piece_length)
            have = file.read(content.piece_length)
    except FileNotFoundError:
        return False
    with open(content.path(()), "rb") as file:
        file.seek(index * content.piece_length)
        return have == file.read(content.piece_length)


@pytest.mark.parametrize("third", [None, Libtorrent(), Aria2()], ids=["three-of-ours", "with-libtorrent", "with-aria2"])
def test_three_leeches_two_seeds_one_dies_one_corrupts(lab, content, samara, third):
    """The good seed is killed once the pieces that the other has wrong are somewhere among the leeches; they end from one another."""
    torrent = content.torrent(lab.private("unannounced"))
    tracker = lab.tracker(torrent.info_hash)
    torrent = content.torrent(lab.directory / "t.torrent", tracker.url("http"))
    wrong = [3, 40, 41, 100]
    good = Libtorrent("--limit-up", "6000000").seed(lab, torrent, content.root)
    # Limited as well: a swarm in which the corrupter takes part from start to end.
    corrupt = Libtorrent("--trust", "--limit-up", "6000000").seed(lab, torrent, damage(content, lab.folder("damaged"), wrong))
    tracker.wait_seeds(torrent.info_hash, 2)

    folders = [lab.folder("into") for _ in range(3)]
    leeches = []
    for folder in folders:
        if third and len(leeches) == 2:
            leeches.append(third.download(lab, torrent, folder))
        else:
            leeches.append(samara.download_and_stay(lab, torrent, folder))
    ours = folders[:2] if third else folders
    for index in wrong:
        wait_for(f"piece {index} is with a leech", lambda: any(piece_on_disk(content, f, index) for f in ours))
    good.process.stop(signal.SIGKILL)

    for leech, folder in zip(leeches, folders, strict=True):
        wait_for("a leech has all", lambda: not payloads.differences(content, folder))
        assert leech.process.code in (None, 0), leech.process.tail()
    for leech in leeches:
        leech.stop()
    for folder in folders:
        assert not payloads.differences(content, folder)
    assert corrupt.process.running()


def test_one_seed_many_leeches(lab, content, samara):
    """Six leeches of three kinds at one seed of ours."""
    torrent = content.torrent(lab.private("unannounced"))
    tracker = lab.tracker(torrent.info_hash)
    torrent = content.torrent(lab.directory / "t.torrent", tracker.url("udp"))
    seed = samara.seed(lab, torrent, content.root)
    tracker.wait_seeds(torrent.info_hash)
    clients = [Libtorrent(), Aria2(), samara] * 2
    folders = [lab.folder("into") for _ in clients]
    for client, download in [(c, c.download(lab, torrent, f)) for c, f in zip(clients, folders, strict=True)]:
        download.wait_complete()
    for folder in folders:
        assert not payloads.differences(content, folder)
    assert seed.process.running()


def test_both_sides_dial_at_once(lab, content, samara):
    """Two leeches that each know the other, each with one half: one connection survives, and both end."""
    torrent = content.torrent(lab.private("t.torrent"))
    tracker = lab.tracker(torrent.info_hash)
    torrent = content.torrent(lab.directory / "t.torrent", tracker.url("http"))
    odd, even = range(1, content.piece_count, 2), range(0, content.piece_count, 2)
    folders = [damage(content, lab.folder("half"), odd), damage(content, lab.folder("half"), even)]
    leeches = [samara.download_and_stay(lab, torrent, folder) for folder in folders]
    for folder in folders:
        wait_for("a half becomes a whole", lambda: not payloads.differences(content, folder))
    for leech in leeches:
        assert leech.process.code in (None, 0), leech.process.tail()
