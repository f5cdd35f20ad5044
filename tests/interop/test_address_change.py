"""A machine that moves: its address changes amid a download, and whoever knew the old one knows the new one within ten seconds."""

import json
import pathlib
import sys
import time

import pytest

import payload as payloads
from peers import samara as contract
from peers.process import wait_for
from peers.router import Machine

KIB, MIB = 1 << 10, 1 << 20
SERVICE = "10.11.0.1"
TRACKER = f"http://{SERVICE}:6969/announce"
HERE, THERE = "10.9.0.2", "10.12.0.77"
# What is promised, in seconds.
PROMISE = 10


@pytest.fixture
def content(lab):
    return payloads.single(lab.folder("payload"), 48 * MIB, 64 * KIB, seed=81)


class Road:
    """A machine on the move, a world with a seed, a tracker and a node of the DHT in it, and a download under way."""

    def __init__(self, lab, samara, content, *options):
        self.lab, self.samara, self.content = lab, samara, content
        self.box, self.world = Machine(lab, "box"), Machine(lab, "world")
        self.world.run("ip", "address", "add", f"{SERVICE}/32", "dev", "lo")
        self.box.cable("net0", f"{HERE}/24", self.world, "far0", "10.9.0.1/24")
        self.world.run("ip", "address", "add", "10.12.0.1/24", "dev", "far0")
        self.route(HERE)
        script = pathlib.Path(__file__).parent / "peers" / "noting_tracker.py"
        argv = [*self.world.enter, sys.executable, str(script), SERVICE, "6969", f"{SERVICE}:7000"]
        self.tracker = lab.start("tracker", argv)
        self.tracker.wait_line("the tracker is ready", lambda line: "ready" in line)
        torrent = content.torrent(lab.private("t.torrent"), TRACKER)
        self.hash = torrent.info_hash.hex()
        # The seed is the DHT as well. It is not announced, so that all announces are the download's.
        seed = ["seed", content.torrent(lab.private("seed.torrent")).path, "--data", content.root, "--bind", SERVICE, "--port", 7000]
        self.seed = samara.on_dht().start(lab, *seed, "--json", *options, prefix=self.world.enter)
        self.seed.wait_line("it seeds", lambda line: '"seeding"' in line)
        self.into = lab.folder("into")
        leech = ["download", torrent.path, "-o", self.into, "--port", 7002, "--limit-down", "2M", "--limit-local", "--no-seed", "--json", "-v"]
        ours = samara.on_dht(f"{SERVICE}:7000")
        self.leech = ours.start(lab, *leech, *options, prefix=self.box.enter)
        self.wait_more(2 * MIB)

    def route(self, address):
        gateway = address.rsplit(".", 1)[0] + ".1"
        self.box.run("ip", "route", "replace", "default", "via", gateway, "dev", "net0")

    def take(self, address):
        self.box.run("ip", "address", "del", f"{address}/24", "dev", "net0")

    def give(self, address):
        self.box.run("ip", "address", "add", f"{address}/24", "dev", "net0")
        self.route(address)

    def done(self):
        reports = [json.loads(line) for line in self.leech.out if '"progress"' in line]
        return reports[-1]["done"] if reports else 0

    def wait_more(self, count, timeout=None):
        """Waits until so many bytes more are there."""
        begin = self.done()
        wait_for("it goes on", lambda: self.done() >= begin + count, timeout)

    def announced(self, address):
        return [line for line in self.tracker.out if f'"{address}"' in line]

    def in_dht(self):
        """Whom the DHT names."""
        argv = ["dht", "peers", self.hash, "--dht-node", f"{SERVICE}:7000", "--json"]
        asked = self.samara.start(self.lab, *argv, prefix=self.world.enter)
        asked.wait_exit()
        return "\n".join(asked.out)

    def finish(self):
        assert self.leech.wait_exit() == contract.DONE, self.leech.tail()
        assert not payloads.differences(self.content, self.into)


@pytest.mark.parametrize("transport", ["tcp", "utp"])
def test_it_goes_on_at_another_address_and_is_known_by_it(lab, samara, content, transport):
    road = Road(lab, samara, content, *(["--no-utp"] if transport == "tcp" else ["--no-tcp"]))
    assert len(road.announced(HERE)) == 1
    wait_for("the DHT knows it", lambda: f"{HERE}:7002" in road.in_dht())
    began = time.monotonic()
    road.give(THERE)
    road.take(HERE)
    wait_for("the tracker knows it", lambda: road.announced(THERE), PROMISE)
    # The connection that went with the old address is not waited for.
    road.wait_more(256 * KIB, PROMISE)
    assert time.monotonic() - began < 2 * PROMISE
    wait_for("the DHT knows it", lambda: f"{THERE}:7002" in road.in_dht())
    road.finish()


def test_it_goes_on_when_it_had_no_address_for_a_while(lab, samara, content):
    road = Road(lab, samara, content)
    road.take(HERE)
    road.leech.wait_line("it notices", lambda line: "our addresses have changed" in line, stream="err")
    road.give(THERE)
    wait_for("the tracker knows it", lambda: road.announced(THERE), PROMISE)
    road.wait_more(256 * KIB, PROMISE)
    road.finish()


def test_who_is_back_at_once_has_lost_nothing(lab, samara, content):
    road = Road(lab, samara, content)
    road.take(HERE)
    road.give(HERE)
    road.wait_more(4 * MIB)
    road.finish()
    # One at the beginning, one at the end, and one that all of it is there.
    assert len(road.announced(HERE)) <= 3, road.tracker.out
    assert not any("our addresses have changed" in line for line in road.leech.err)
