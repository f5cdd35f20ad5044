"""Hole punching (BEP 55) between two homes behind routers, brought together by a third: samara and libtorrent in each of the places.

Only the other home has the content. The third wants it, but takes it so slowly that it never has a piece to give.
"""

import sys
from pathlib import Path

import pytest

import payload as payloads
from peers import net
from peers import samara as contract
from peers.homes import PORT, Homes

KIB, MIB = 1 << 10, 1 << 20
SEED, LEECH = 0, 1

# The one piece would take the third ten minutes.
LIMIT = 8 * KIB

# libtorrent tries uTP and TCP to their end before it asks for help, and tells of others once a minute.
PATIENCE_S = 240

BEGUN = "begins a connection that the other end begins, too"
FAILED = "no connection came of it"


@pytest.fixture
def content(lab):
    return payloads.single(lab.folder("payload"), 5 * MIB + 3, 8 * MIB, seed=55)


class Case:
    """Who is where."""

    def __init__(self, lab, samara, content, homes, *options):
        self.lab, self.homes, self.content = lab, homes, content
        self._samara, self._options = samara, options
        self.torrent = content.torrent(lab.private("t.torrent"))
        self.into, self.third_into = lab.folder("into"), lab.folder("third")

    def start(self, client, machine, role, address, into, *options):
        if client == "libtorrent":
            main = Path(__file__).parent / "peers" / "lt_main.py"
            argv = [sys.executable, main, role, self.torrent.path, into, "--bind", address, "--port", PORT, "--as-installed", *options]
            return self.lab.start(f"libtorrent-{role}", [*machine.enter, *argv])
        where = ["--data", into] if role == "seed" else ["-o", into, "--no-seed"]
        argv = [role, self.torrent.path, *where, "--port", PORT, "--json", "-vv", "--no-port-mapping", *options]
        return self._samara.start(self.lab, *argv, prefix=machine.enter)

    def start_third(self, client):
        self.third = self.start(client, self.homes.third, "download", self.homes.beyond, self.third_into, "--limit-down", LIMIT)
        self.homes.wait_listens(self.homes.third)

    def start_home(self, client, number):
        role, into = ("seed", self.content.root) if number == SEED else ("download", self.into)
        options = ["--peer", net.joined(self.homes.beyond, PORT), *(self._options if client == "samara" else [])]
        return self.start(client, self.homes.homes[number], role, self.homes.inside[number], into, *options)

    def run(self, third, seed, leech):
        """Starts all three, one after the other."""
        self.start_third(third)
        self.seed = self.start_home(seed, SEED)
        self.seed.wait_line("it seeds", lambda line: '"seeding"' in line)
        self.leech = self.start_home(leech, LEECH)

    def finish(self):
        """The leech has it all, and not from the third."""
        if "libtorrent" in self.leech.name:
            self.leech.wait_line("it has all", lambda line: '"seeding"' in line, timeout=PATIENCE_S)
        else:
            assert self.leech.wait_exit(PATIENCE_S) == contract.DONE, self.leech.tail()
        assert not payloads.differences(self.content, self.into)
        assert payloads.differences(self.content, self.third_into), "the third has nothing that it could have given"
        for process in (self.seed, self.third):
            assert process.running(), process.tail()


def begun(process):
    """Until it begins what the third told it to."""
    process.wait_line("it is told to connect", lambda line: BEGUN in line, stream="err", timeout=PATIENCE_S)


# (seed, leech)
PAIRS = [("samara", "samara"), ("samara", "libtorrent"), ("libtorrent", "samara")]
IDS = [f"{seed}-{leech}" for seed, leech in PAIRS]


@pytest.mark.parametrize("seed, leech", PAIRS, ids=IDS)
def test_routers_that_give_other_ports(lab, samara, content, seed, leech):
    """Where the homes are is seen by nobody but the third: what it tells of a peer cannot be dialled, not even by chance."""
    case = Case(lab, samara, content, Homes(lab, "other port", "other port"))
    case.run("samara", seed, leech)
    begun(case.leech if leech == "samara" else case.seed)
    case.finish()


@pytest.mark.parametrize("third", ["samara", "libtorrent"])
@pytest.mark.parametrize("seed, leech", PAIRS, ids=IDS)
def test_routers_that_keep_ports(lab, samara, content, third, seed, leech):
    """Dials of both that cross would do here; so all that one home sends is lost until it is told to connect."""
    homes = Homes(lab, "same port", "same port")
    held = LEECH if leech == "samara" else SEED
    homes.hold(held)
    case = Case(lab, samara, content, homes)
    case.run(third, seed, leech)
    begun(case.leech if held == LEECH else case.seed)
    assert homes.release(held), "it had been dialled before"
    case.finish()


def test_firewalls_of_ipv6(lab, samara, content):
    homes = Homes(lab, "firewall", "firewall")
    homes.hold(LEECH)
    case = Case(lab, samara, content, homes)
    case.run("samara", "samara", "samara")
    begun(case.leech)
    assert homes.release(LEECH)
    case.finish()


@pytest.mark.parametrize("kinds", [("symmetric", "symmetric"), ("other port", "symmetric")], ids="-".join)
def test_routers_with_a_port_for_each_destination_cannot_be_helped(lab, samara, content, kinds):
    """Both try, give up, and go on."""
    case = Case(lab, samara, content, Homes(lab, *kinds))
    case.run("samara", "samara", "samara")
    for process in (case.seed, case.leech):
        begun(process)
        process.wait_line("it comes to nothing", lambda line: FAILED in line, stream="err")
    for process in (case.seed, case.leech, case.third):
        assert process.running(), process.tail()
    assert payloads.differences(content, case.into)


def test_without_utp_nobody_is_reached(lab, samara, content):
    """That the homes cannot reach each other otherwise: the third tells of the other, who is dialled, and that is all."""
    homes = Homes(lab, "same port", "same port")
    case = Case(lab, samara, content, homes, "--no-utp")
    case.run("samara", "samara", "samara")
    for process, number in ((case.seed, LEECH), (case.leech, SEED)):
        other = net.joined(homes.outside[number], PORT)
        process.wait_line("its dial fails", lambda line, other=other: "dial failed" in line and other in line, stream="err")
        assert not any("peer connected" in line and homes.outside[number] in line for line in process.err), process.tail()
        assert not any(BEGUN in line for line in process.err)
    assert payloads.differences(content, case.into)
