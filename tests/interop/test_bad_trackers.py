"""Trackers that refuse, fail, lie and bomb: a message, the right exit code, flat memory; and a download that has peers goes on."""

import json
import time

import pytest

import payload as payloads
from peers import bad_tracker, net, samara as contract
from peers.bad_tracker import BadTracker, BadUdpTracker
from peers.fake import Fake, honest
from peers.process import PeakMemory

MIB = 1 << 20
HTTP = {
    "failure": bad_tracker.failure,
    "html": bad_tracker.html,
    "404": bad_tracker.not_found,
    "gzip bomb": bad_tracker.gzip_bomb,
    "nothing": bad_tracker.nothing,
    "hangs up": bad_tracker.hangs_up,
    "truncated": bad_tracker.truncated,
    "endless": bad_tracker.endless,
    "drips": bad_tracker.drips,
    "redirect loop": bad_tracker.redirect_loop,
    "redirect to the machine": bad_tracker.redirect_to_the_machine,
    "redirect to a file": bad_tracker.redirect_to_a_file,
    "a million peers": bad_tracker.million_peers,
}
# These are only found out by the time limit, 15 s: a datagram that makes no sense may be anybody's.
SLOW = ("udp garbage", "drips")
UDP = {"udp failure": bad_tracker.udp_failure, "udp garbage": bad_tracker.udp_garbage}
UDP_MUTE = {"udp stranger": bad_tracker.udp_stranger, "udp silence": bad_tracker.udp_silence}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return payloads.single(tmp_path_factory.mktemp("payload"), 3 * MIB + 5, 64 << 10, seed=21)


def tracker(lab, name):
    if name in HTTP:
        return BadTracker(lab, HTTP[name])
    return BadUdpTracker(lab, (UDP | UDP_MUTE)[name])


@pytest.mark.parametrize("name", [*HTTP, *UDP])
def test_peers_says_what_is_wrong(lab, content, samara, name):
    """`samara peers` ends with "network" and a message, soon, and without holding what the tracker would have it hold."""
    torrent = content.torrent(lab.private("t.torrent"), tracker(lab, name).url())
    process = samara.start(lab, "peers", torrent.path)
    begin = time.monotonic()
    with PeakMemory(process, interval=0.01) as memory:
        code = process.wait_exit()
    assert code == contract.NETWORK, process.tail()
    assert process.err, "a message on stderr"
    assert not process.out
    assert memory.peak < 64 * MIB
    assert time.monotonic() - begin < (20 if name in SLOW else 5)
    if "failure" in name:
        assert "torrent not registered with this tracker" in "\n".join(process.err)


@pytest.mark.parametrize("name", [*HTTP, *UDP, *UDP_MUTE])
def test_a_bad_tracker_does_not_stop_a_download(lab, content, samara, name):
    torrent = content.torrent(lab.private("t.torrent"), tracker(lab, name).url())
    seed = Fake(lab, torrent, honest)
    into = lab.folder("into")
    download = samara.download(lab, torrent, into, [seed.address])
    with PeakMemory(download.process) as memory:
        download.wait_complete()
    assert not payloads.differences(content, into)
    assert memory.peak < 96 * MIB


@pytest.mark.parametrize("answer", ["dictionary", "compact", "compact gzipped"])
def test_right_answers_of_every_form(lab, content, samara, answer):
    peers = []
    forms = {
        "dictionary": lambda query: bad_tracker.dictionary_peers(*peers)(query),
        "compact": lambda query: bad_tracker.compact_peers(*peers)(query),
        "compact gzipped": lambda query: bad_tracker.compact_peers(*peers, packed=True)(query),
    }
    good = BadTracker(lab, forms[answer])
    torrent = content.torrent(lab.private("t.torrent"), good.url())
    seed = Fake(lab, torrent, honest)
    peers.append(seed.address)
    into = lab.folder("into")
    samara.download(lab, torrent, into).wait_complete()
    assert not payloads.differences(content, into)

    listed = samara.run(lab, "peers", torrent.path)
    assert listed.code == contract.DONE, listed.tail()
    assert listed.out == [seed.address]


def test_what_a_tracker_warns_of_is_shown(lab, content, samara):
    peers = []
    warns = BadTracker(lab, lambda query: bad_tracker.warning(*peers)(query))
    torrent = content.torrent(lab.private("t.torrent"), warns.url("/announce?passkey=abc"))
    seed = Fake(lab, torrent, honest)
    peers.append(seed.address)
    process = samara.start(lab, "download", torrent.path, "-o", lab.folder("into"), "--no-seed", "--json", "--bind", net.new_address())
    assert process.wait_exit() == contract.DONE, process.tail()
    shown = [line for line in process.err if "your client is out of date" in line]
    assert len(shown) == 1 and "warning" in shown[0] and f"{warns.host}:{warns.port}" in shown[0], process.err
    assert "passkey" not in "\n".join(process.err)


def test_dead_first_tier_does_not_hold_up_the_second(lab, content, samara):
    peers = []
    good = BadTracker(lab, lambda query: bad_tracker.compact_peers(*peers)(query))
    dead = BadTracker(lab, bad_tracker.hangs_up)
    silent = BadUdpTracker(lab, bad_tracker.udp_silence)
    torrent = content.torrent(lab.private("t.torrent"), dead.url(), silent.url(), good.url())
    seed = Fake(lab, torrent, honest)
    peers.append(seed.address)
    into = lab.folder("into")
    begin = time.monotonic()
    samara.download(lab, torrent, into).wait_complete()
    assert not payloads.differences(content, into)
    assert time.monotonic() - begin < 45


def test_what_a_tracker_is_told(lab, content, samara):
    """The announces of one download, in order: events, truthful counters, a stable key, one question mark."""
    peers = []
    good = BadTracker(lab, lambda query: bad_tracker.compact_peers(*peers)(query))
    torrent = content.torrent(lab.private("t.torrent"), good.url("/announce?passkey=abc"))
    seed = Fake(lab, torrent, honest)
    peers.append(seed.address)
    download = samara.download(lab, torrent, lab.folder("into"))
    download.wait_complete()
    events = [query.get("event", "") for query in good.queries]
    assert events[0] == "started" and events[-1] == "stopped", events
    assert [event for event in events if event] == ["started", "completed", "stopped"], events
    first, last = good.queries[0], good.queries[-1]
    assert all(path.count("?") == 1 for path in good.raw_queries)
    assert {query["passkey"] for query in good.queries} == {"abc"}
    assert {query["info_hash"] for query in good.queries} == {torrent.info_hash.decode("latin-1")}
    assert len({query["peer_id"] for query in good.queries}) == 1 and len(first["peer_id"]) == 20
    assert len({query.get("key") for query in good.queries}) == 1
    assert {query["port"] for query in good.queries} == {str(download.port)}
    assert (first["downloaded"], first["left"]) == ("0", str(content.size))
    assert last["left"] == "0"
    assert content.size <= int(last["downloaded"]) <= content.size * 1.02

    # A second run finds all there: it downloads nothing, and claims nothing.
    before = len(good.queries)
    again = samara.start(
        lab, "download", torrent.path, "-o", download.process.argv[download.process.argv.index("-o") + 1],
        "--no-seed", "--json", "--bind", net.new_address(),
    )  # fmt: skip
    assert again.wait_exit() == contract.DONE
    assert "completed" not in [query.get("event") for query in good.queries[before:]]
    assert [json.loads(line)["v"] for line in again.out if line.startswith("{")], "JSON lines"
