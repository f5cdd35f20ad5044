"""Bound to an interface: nothing leaves by another one, whatever happens to it, and it goes on when the interface is back."""

import json
import re

import pytest

import payload as payloads
from peers import samara as contract
from peers.process import wait_for
from peers.router import Machine

KIB, MIB = 1 << 10, 1 << 20
# Where everything is that the program wants: beyond both ways out.
SERVICE = "10.11.0.1"


class Box:
    """A machine with a tunnel that it is to use and another way out that leads to the same places."""

    def __init__(self, lab):
        self.box, self.world = Machine(lab, "box"), Machine(lab, "world")
        self.world.run("ip", "address", "add", f"{SERVICE}/32", "dev", "lo")
        self.box.cable("tun0", "10.9.0.2/24", self.world, "far0", "10.9.0.1/24")
        self.box.cable("other0", "10.10.0.2/24", self.world, "far1", "10.10.0.1/24")
        self.box.run("ip", "route", "add", "default", "via", "10.10.0.1", "metric", "100")
        self._route()
        self.box.nft(
            'table inet watch { chain out { type filter hook output priority 0; oifname "other0" meta l4proto { tcp, udp } counter; '
            'oifname "tun0" meta l4proto { tcp, udp } counter\n }\n }\n'
        )

    def _route(self):
        self.box.run("ip", "route", "replace", "default", "via", "10.9.0.1", "dev", "tun0", "metric", "50")

    def sent(self):
        """Packets that left by the other way and by the tunnel."""
        rules = self.box.run("nft", "list", "table", "inet", "watch")
        return tuple(int(found) for found in re.findall(r"packets (\d+)", rules))

    def take(self, how):
        """Takes the tunnel away."""
        if how == "down":
            self.box.run("ip", "link", "set", "tun0", "down")
        elif how == "address":
            self.box.run("ip", "address", "flush", "dev", "tun0")
        else:
            self.box.run("ip", "link", "delete", "tun0")

    def give(self, how):
        """Brings it back."""
        if how == "down":
            self.box.run("ip", "link", "set", "tun0", "up")
        elif how == "address":
            self.box.run("ip", "address", "add", "10.9.0.2/24", "dev", "tun0")
        else:
            self.box.cable("tun0", "10.9.0.2/24", self.world, "far0", "10.9.0.1/24")
        self._route()


@pytest.fixture
def content(lab):
    return payloads.single(lab.folder("payload"), 24 * MIB, 64 * KIB, seed=69)


def seed_in_world(lab, samara, box, torrent, content):
    """samara itself: libtorrent heeds nobody from beyond the network of an address that has no default route."""
    argv = ["seed", torrent.path, "--data", content.root, "--bind", SERVICE, "--port", 7000, "--json"]
    seed = samara.start(lab, *argv, prefix=box.world.enter)
    seed.wait_line("it seeds", lambda line: '"seeding"' in line)


def said(process, accept):
    """The last progress that `accept` accepts."""

    def found(line):
        object_ = json.loads(line)
        return object_ if object_["type"] == "progress" and accept(object_) else None

    return process.wait_line("progress", found)


@pytest.mark.parametrize("how", ["down", "address", "deleted"])
def test_nothing_leaves_by_another_way_and_it_goes_on_when_the_interface_is_back(lab, samara, content, how):
    box = Box(lab)
    # Trackers that nobody answers at, over HTTP and UDP: asked again and again, by whatever way is open.
    trackers = [f"http://{SERVICE}:6969/announce", f"udp://{SERVICE}:6969/announce"]
    torrent = content.torrent(lab.private("t.torrent"), *trackers)
    seed_in_world(lab, samara, box, torrent, content)
    into = lab.folder("into")
    ours = samara.on_dht(f"{SERVICE}:7001").on_lan()
    args = ["download", torrent.path, "-o", into, "--bind", "tun0", "--peer", f"{SERVICE}:7000", "--limit-down", "4M", "--limit-local", "--no-seed", "--json", "-v"]
    leech = ours.start(lab, *args, f"--dht-node={SERVICE}:7001", prefix=box.box.enter)
    said(leech, lambda p: p["done"] > 2 * MIB)
    box.take(how)
    leech.wait_line("it is away", lambda line: "tun0 is away" in line, stream="err")
    away = len(leech.out)
    sent = box.sent()[1]
    # Five reports of a second each in which it says why nothing moves.
    wait_for("it says so", lambda: sum("tun0 is away" in line for line in leech.out[away:]) >= 5)
    assert box.sent()[0] == 0, "nothing by the other way"
    if how != "deleted":
        assert box.sent()[1] - sent < 40, "hardly anything into the void"
    assert leech.code is None
    box.give(how)
    assert leech.wait_exit() == contract.DONE
    assert not payloads.differences(content, into)
    assert box.sent()[0] == 0, "nothing by the other way to the end"


def test_an_interface_that_comes_later_is_waited_for(lab, samara, content):
    box = Box(lab)
    torrent = content.torrent(lab.private("t.torrent"))
    seed_in_world(lab, samara, box, torrent, content)
    box.take("deleted")
    into = lab.folder("into")
    args = ["download", torrent.path, "-o", into, "--bind", "tun0", "--peer", f"{SERVICE}:7000", "--no-seed", "--json"]
    leech = samara.start(lab, *args, prefix=box.box.enter)
    wait_for("it says so", lambda: any("tun0 is away" in line for line in leech.out))
    box.give("deleted")
    assert leech.wait_exit() == contract.DONE
    assert not payloads.differences(content, into)
    assert box.sent()[0] == 0
