"""`samara scrape`: what opentracker and our own tracker know, over HTTP and UDP, and what is said when nobody answers."""

import json

import pytest

from peers import bad_tracker, net
from peers import samara as contract
from peers.bad_tracker import BadTracker, BadUdpTracker
from peers.clients import Libtorrent
from peers.process import wait_for

SCHEMES = ("http", "udp")
NOBODY = "0123456789abcdef0123456789abcdef01234567"


def scraped(process):
    """The objects of one run, by tracker and torrent."""
    values = [json.loads(line) for line in process.out]
    assert all(value["v"] == 1 for value in values)
    return {(value["url"], value["info_hash"]): value for value in values if value["type"] == "scrape"}


@pytest.fixture
def swarm(lab, shapes):
    """A libtorrent seed, announced at an opentracker."""
    content = shapes("single")
    unannounced = content.torrent(lab.private("unannounced"))
    tracker = lab.tracker(unannounced.info_hash)
    torrent = content.torrent(lab.private("t.torrent"), tracker.url("http"), tracker.url("udp"))
    Libtorrent().seed(lab, torrent, content.root)
    tracker.wait_seeds(torrent.info_hash)
    return torrent, tracker


@pytest.mark.parametrize("scheme", SCHEMES)
def test_opentracker_is_scraped_for_what_it_knows(lab, samara, swarm, scheme):
    torrent, tracker = swarm
    process = samara.run(lab, "scrape", torrent.path, "--tracker", tracker.url(scheme), "--json")
    assert process.code == contract.DONE, process.tail()
    known = scraped(process)[(tracker.url(scheme), torrent.info_hash.hex())]
    counts = tracker.scrape(torrent.info_hash)
    assert (known["complete"], known["incomplete"], known["downloaded"]) == (counts.seeds, counts.leeches, counts.completed)
    assert known["complete"] == 1


def test_one_line_a_tracker_and_torrent(lab, samara, swarm):
    """Both trackers of the torrent, by its file and by a link, which is the same torrent and is asked for once."""
    torrent, tracker = swarm
    link = f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}&tr={tracker.url('http')}"
    process = samara.run(lab, "scrape", torrent.path, link)
    assert process.code == contract.DONE, process.tail()
    assert len(process.out) == 2, process.out
    for scheme in SCHEMES:
        lines = [line for line in process.out if line.startswith(tracker.url(scheme))]
        assert len(lines) == 1 and "1 seed, 0 leeches" in lines[0]


def test_nothing_is_announced_by_a_scrape(lab, samara, swarm):
    torrent, tracker = swarm
    before = tracker.scrape(torrent.info_hash)
    for _ in range(3):
        assert samara.run(lab, "scrape", torrent.path).code == contract.DONE
    assert tracker.scrape(torrent.info_hash) == before


def test_our_own_tracker_tells_libtorrents_seed(lab, samara, shapes):
    content = shapes("single")
    host, port = net.new_address(), net.free_port()
    tracker = samara.start(lab, "tracker", "--port", port, "--bind", host, "--json")
    tracker.wait_line("the tracker listens", lambda line: "tracking" in line)
    urls = [f"{scheme}://{host}:{port}/announce" for scheme in SCHEMES]
    torrent = content.torrent(lab.private("t.torrent"), *urls)
    seed = Libtorrent().seed(lab, torrent, content.root)
    seed.wait_ready()

    def ask():
        return scraped(samara.run(lab, "scrape", torrent.path, NOBODY, "--tracker", urls[0], "--tracker", urls[1], "--json"))

    wait_for("the tracker knows the seed", lambda: ask()[(urls[0], torrent.info_hash.hex())]["complete"])
    known = ask()
    for url in urls:
        assert known[(url, torrent.info_hash.hex())]["complete"] == 1
    # UDP has no way to say that a torrent is not known.
    assert known[(urls[0], NOBODY)]["complete"] is None
    assert known[(urls[1], NOBODY)]["complete"] == 0


def test_a_tracker_that_gives_no_answer_does_not_hide_one_that_does(lab, samara, swarm):
    torrent, tracker = swarm
    dead = f"http://{net.ADDRESS}:{net.free_port()}/announce"
    process = samara.run(lab, "scrape", torrent.path, "--tracker", dead, "--tracker", tracker.url("udp"))
    assert process.code == contract.DONE, process.tail()
    assert len(process.out) == 1 and "1 seed" in process.out[0]
    assert dead in "\n".join(process.err)


@pytest.mark.parametrize("name", ["html", "gzip_bomb", "endless", "failure", "udp_failure", "udp_silence"])
def test_bad_trackers_are_named_and_the_exit_code_is_network(lab, samara, swarm, name):
    torrent, _ = swarm
    behave = getattr(bad_tracker, name)
    url = (BadUdpTracker if name.startswith("udp") else BadTracker)(lab, behave).url()
    process = samara.run(lab, "scrape", torrent.path, "--tracker", url, "--timeout", "4s", timeout=30)
    assert process.code == contract.NETWORK, process.tail()
    assert process.err and not process.out


def test_without_a_tracker_the_way_out_is_named(lab, samara):
    process = samara.run(lab, "scrape", NOBODY)
    assert process.code == contract.USAGE, process.tail()
    assert "--tracker" in "\n".join(process.err)
