"""Rate limits measured over ten seconds, how peers share them, and IP filters, with libtorrent on the other side."""

import gzip
import json
import time

import pytest

import payload as payloads
from peers import samara as contract
from peers.clients import Libtorrent
from test_link import report

MIB = 1 << 20
RATE = 3 * MIB
SECONDS = 10
PEERS = 3

# Each knows of nobody but samara, and tells what it has moved.
ALONE = Libtorrent("--no-pex", "--progress")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    # More than a rate limit lets pass in the time, also if one peer had all of it.
    return payloads.single(tmp_path_factory.mktemp("limits"), 48 * MIB, 64 << 10)


def moved(transfer, which):
    """What the libtorrent has moved so far."""
    said = [json.loads(line) for line in list(transfer.process.out)]
    return [event[which] for event in said if event["event"] == "progress"][-1]


def measure(ours, field, others, which):
    """Bytes per second by samara's own count, over ten seconds from a time when all take part, and each other's share in it."""

    def reached(bytes_moved):
        event = ours.wait_event(f"{field} is {bytes_moved}", lambda event: event.get(field, 0) >= bytes_moved)
        return event[field], time.monotonic(), [moved(other, which) for other in others]

    begun, began, before = reached(3 * RATE)
    done, ended, after = reached(begun + SECONDS * RATE)
    shares = [late - early for late, early in zip(after, before, strict=True)]
    return (done - begun) / (ended - began), [share / sum(shares) for share in shares]


def check(request, rate, shares):
    report(request, limit=RATE, rate=round(rate), shares=[round(share, 3) for share in shares])
    assert abs(rate / RATE - 1) < 0.03
    assert max(shares) < 1.15 * min(shares)


@pytest.mark.alone
def test_a_download_keeps_its_limit_and_seeds_have_equal_shares(request, lab, samara, content):
    torrent = content.torrent(lab.private("t.torrent"))
    seeds = [ALONE.seed(lab, torrent, content.root) for _ in range(PEERS)]
    for seed in seeds:
        seed.wait_ready()
    limited = samara.with_options("--limit-down", f"{RATE}", "--limit-local")
    download = limited.download(lab, torrent, lab.folder("into"), [seed.address for seed in seeds])
    check(request, *measure(download, "done", seeds, "up"))


@pytest.mark.alone
def test_an_upload_keeps_its_limit_and_leeches_have_equal_shares(request, lab, samara, content):
    torrent = content.torrent(lab.private("t.torrent"))
    seed = samara.with_options("--limit-up", f"{RATE}", "--limit-local").seed(lab, torrent, content.root)
    seed.wait_ready()
    leeches = [ALONE.download(lab, torrent, lab.folder("into"), [seed.address]) for _ in range(PEERS)]
    check(request, *measure(seed, "uploaded", leeches, "down"))


def test_peers_in_a_list_are_left_alone_and_nonsense_is_named(lab, samara, shapes):
    content = shapes("nested")
    torrent = content.torrent(lab.private("t.torrent"))
    seed, blocked = (Libtorrent().seed(lab, torrent, content.root) for _ in range(2))
    seed.wait_ready()
    blocked.wait_ready()
    listed = lab.private("list.p2p.gz")
    listed.write_bytes(gzip.compress(f"somebody:{blocked.host}-{blocked.host}\nthis is no range\n".encode()))
    filtered = samara.with_options("--ip-filter", listed)

    # Only who is in the list has it.
    download = filtered.download(lab, torrent, lab.folder("into"), [blocked.address], "--timeout", "4s")
    assert download.process.wait_exit() == contract.NETWORK, download.process.tail()
    assert "line 2 (this is no range)" in "\n".join(download.process.err)

    into = lab.folder("into")
    download = filtered.download(lab, torrent, into, [blocked.address, seed.address])
    download.wait_complete()
    assert not payloads.differences(content, into)
    assert "met" not in "\n".join(blocked.process.out)
