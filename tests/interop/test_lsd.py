"""Local service discovery (BEP 14): peers that only multicast on the suite's own network can bring together."""

import json
import os
import re
import socket
import struct
import subprocess
import threading

import pytest

import payload as payloads
from peers import net
from peers import samara as contract
from peers.clients import Aria2, Libtorrent, Transmission
from peers.process import DEADLINE_S, wait_for
from peers.samara import Samara
from test_magnet import Link, link

KIB = 1 << 10
PORT = 6771
GROUPS = {socket.AF_INET: "239.192.152.143", socket.AF_INET6: "ff15::efc0:988f"}


@pytest.fixture
def near(samara):
    # What passes is read.
    return samara.on_lan().with_options("--encryption", "off", "--no-utp")


@pytest.fixture
def content(lab):
    return payloads.single(lab.folder("payload"), 8 << 20, 16 * KIB, seed=14)


class Group:
    """A member of the multicast group that keeps what it hears and can say anything."""

    def __init__(self, family=socket.AF_INET, host=net.ADDRESS):
        self.family, self.heard = family, []
        ear = socket.socket(family, socket.SOCK_DGRAM)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.bind((GROUPS[family], PORT))
        device = socket.if_nametoindex("lo" if family == socket.AF_INET else net.DEVICE6)
        packed = socket.inet_pton(family, GROUPS[family])
        if family == socket.AF_INET:
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + struct.pack("@4si", socket.inet_aton(host), device))
        else:
            ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + struct.pack("@I", device))
        self._ear = ear
        self._mouth = socket.socket(family, socket.SOCK_DGRAM)
        self._mouth.bind((host, 0))
        if family == socket.AF_INET:
            self._mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
        else:
            self._mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, device)
        self._closed = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        self._ear.settimeout(0.2)
        while not self._closed:
            try:
                datagram, source = self._ear.recvfrom(4096)
            except TimeoutError:
                continue
            self.heard.append((source[0], datagram))

    def say(self, datagram):
        self._mouth.sendto(datagram, (GROUPS[self.family], PORT))

    def announce(self, info_hash, port):
        self.say(f"BT-SEARCH * HTTP/1.1\r\nHost: {GROUPS[self.family]}:{PORT}\r\nPort: {port}\r\nInfohash: {info_hash}\r\n\r\n\r\n".encode())

    def of(self, info_hash):
        """Announcements of a torrent: (source, datagram)."""
        return [heard for heard in list(self.heard) if info_hash.encode() in heard[1].lower()]

    def wait_for(self, info_hash):
        return wait_for(f"{info_hash} is announced", lambda: self.of(info_hash))[0]

    def close(self):
        self._closed = True
        self._thread.join()
        self._ear.close()
        self._mouth.close()


@pytest.fixture
def group(lab):
    return lab.closing(Group())


class Machine:
    """A second machine: a network namespace that a cable of its own joins to the suite's."""

    def __init__(self, lab):
        self._holder = lab.start("machine", ["unshare", "--net", "sleep", "infinity"])
        ours = os.readlink("/proc/self/ns/net")
        wait_for("the other namespace", lambda: os.readlink(f"/proc/{self._holder.pid}/ns/net") != ours)
        self.enter = ("nsenter", "-t", str(self._holder.pid), "-n")

    def connect(self, lab, family):
        """Ends of the cable get IPv4 addresses, or nothing but the link-local ones of IPv6."""
        cable = f"cable{self._holder.pid}"
        self._run("ip", "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", str(self._holder.pid))
        lab.closing(self)
        for host, enter in ((1, ()), (2, self.enter)):
            if family == socket.AF_INET:
                self._run(*enter, "ip", "link", "set", cable, "addrgenmode", "none")
                self._run(*enter, "ip", "address", "add", f"10.78.0.{host}/24", "dev", cable)
            self._run(*enter, "ip", "link", "set", cable, "up")
        for enter in ((), self.enter):
            # An address of IPv6 cannot be used until it is known to be the only one.
            probe = [*enter, "ip", "address", "show", "dev", cable]
            wait_for("addresses", lambda p=probe: "inet" in (out := self._run(*p)) and "tentative" not in out)

    def close(self):
        self._run("ip", "link", "delete", f"cable{self._holder.pid}")

    @staticmethod
    def _run(*argv):
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(not net.has_multicast6(), reason="no veth devices here")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6 link-local"])
@pytest.mark.parametrize("first", ["cable", "programs"])
def test_two_machines(lab, near, content, first, family):
    """Bound to nothing, on whatever interfaces there are, and on those that come later: they are looked for each half minute."""
    torrent = content.torrent(lab.private("t.torrent"))
    machine, into = Machine(lab), lab.folder("into")
    if first == "cable":
        machine.connect(lab, family)
    near.start(lab, "seed", torrent.path, "--data", content.root)
    leech = near.start(lab, "download", torrent.path, "-o", into, "--no-seed", prefix=machine.enter)
    if first == "programs":
        leech.wait_line("it runs", lambda line: "downloading" in line, stream="err")
        machine.connect(lab, family)
    assert leech.wait_exit() == contract.DONE
    assert not payloads.differences(content, into)


@pytest.mark.parametrize("by", ["torrent", "magnet"])
@pytest.mark.parametrize("way", ["download", "seed", "ours"])
def test_the_only_way_to_each_other(lab, near, content, way, by):
    torrent = content.torrent(lab.private("t.torrent"))
    other = Libtorrent("--lsd")
    seeder, leecher = {"download": (other, near), "seed": (near, other), "ours": (near, near)}[way]
    seeder.seed(lab, torrent, content.root).wait_ready()
    into = lab.folder("into")
    leecher.download(lab, torrent if by == "torrent" else link(torrent), into).wait_complete()
    assert not payloads.differences(content, into)


@pytest.mark.parametrize("way", ["download", "seed"])
@pytest.mark.parametrize("client", [Aria2, Transmission], ids=["aria2", "transmission"])
def test_other_clients(lab, near, content, client, way):
    """They read one torrent a datagram, and send so."""
    torrent = content.torrent(lab.private("t.torrent"))
    other = client(lsd=True)
    seeder, leecher = (other, near) if way == "download" else (near, other)
    seeder.seed(lab, torrent, content.root).wait_ready()
    into = lab.folder("into")
    leecher.download(lab, torrent, into).wait_complete()
    assert not payloads.differences(content, into)


def test_resolve(lab, near, content):
    torrent = content.torrent(lab.private("t.torrent"))
    Libtorrent("--lsd").seed(lab, torrent, content.root).wait_ready()
    out = lab.private("resolved.torrent")
    process = near.run(lab, "magnet", "resolve", torrent.hex, "-o", out, "--bind", net.new_address(), "--timeout", "60s")
    assert process.code == contract.DONE, process.tail()


def test_what_is_announced(lab, near, content, group):
    """Once and once more, and what it says is what the BEP asks for."""
    torrent = content.torrent(lab.private("t.torrent"))
    seed = near.seed(lab, torrent, content.root)
    source, datagram = group.wait_for(torrent.hex)
    assert source == seed.host
    expected = (
        r"BT-SEARCH \* HTTP/1\.1\r\nHost: 239\.192\.152\.143:6771\r\nPort: %d\r\nInfohash: %s\r\ncookie: [0-9a-f]+\r\n\r\n\r\n"
        % (seed.port, torrent.hex)
    )
    assert re.fullmatch(expected, datagram.decode(), re.IGNORECASE), datagram
    wait_for("the repeat", lambda: len(group.of(torrent.hex)) == 2)


def test_turned_off(lab, near, content, group):
    """Neither by option nor by setting is anything said or heard."""
    quiet = content.torrent(lab.private("quiet.torrent"))
    other = payloads.single(lab.folder("other"), 64 * KIB, 16 * KIB, seed=15)
    silent = near.seed(lab, quiet, content.root, "--no-lsd")
    silent.wait_ready()
    also = near.start(lab, "seed", quiet.path, "--data", content.root, "--bind", net.new_address(), "--port", 0, env={"SAMARA_LSD": "off"})
    also.wait_line("it seeds", lambda line: "eeding" in line, stream="err")
    # The time in which a torrent is announced is measured by one that is.
    heard = other.torrent(lab.private("heard.torrent"))
    near.seed(lab, heard, other.root)
    group.wait_for(heard.hex)
    assert not group.of(quiet.hex)


@pytest.mark.parametrize("role", ["seed", "download"])
def test_a_private_torrent_is_not_told_of_and_not_dialled(lab, near, content, group, role):
    """Beside a public one in the same program, which shows when the private one would have been heard of and dialled."""
    made = lab.private("private.torrent")
    create = near.run(lab, "create", content.root / content.name, "-o", made, "--private", "--tracker", "http://127.0.0.1:9/announce")
    assert create.code == contract.DONE, create.tail()
    private = re.search(r"btih:([0-9a-f]{40})", near.run(lab, "magnet", made, "--bare").out[0])[1]
    public = content.torrent(lab.private("public.torrent"))
    where = ("seed", "--data", content.root) if role == "seed" else ("download", "-o", lab.folder("into"))
    plain = ("--encryption", "off", "--no-utp")
    process = near.start(lab, *where, made, public.path, "--bind", net.new_address(), "--port", 0, "--json", *plain)
    states = {}

    def both_run(line):
        event = json.loads(line)
        states[event.get("info_hash")] = event.get("state")
        return states.get(private) == states.get(public.hex) == f"{role}ing"

    process.wait_line("both are at work", both_run)
    wait_for("the public one twice", lambda: len(group.of(public.hex)) == 2)
    assert not group.of(private)

    trap = lab.closing(socket.create_server((net.ADDRESS, 0)))
    trap.settimeout(DEADLINE_S)
    for info_hash in (private, public.hex):
        group.announce(info_hash, trap.getsockname()[1])
    with trap.accept()[0] as caller:
        handshake = caller.recv(68, socket.MSG_WAITALL)
    assert handshake[28:48] == public.info_hash
    trap.settimeout(1)
    with pytest.raises(TimeoutError):
        trap.accept()


def test_junk_does_no_harm(lab, near, content, group):
    torrent = content.torrent(lab.private("t.torrent"))
    seed = near.seed(lab, torrent, content.root)
    group.wait_for(torrent.hex)
    junk = [
        b"", b"\0" * 1400, b"\xff" * 4000, b"BT-SEARCH * HTTP/1.1\r\n\r\n", b"M-SEARCH * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"BT-SEARCH * HTTP/1.1\r\nPort: 99999\r\nInfohash: " + torrent.hex.encode() + b"\r\n\r\n",
        b"BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: zz\r\n\r\n",
        b"BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n" + b"Infohash: 00\r\n" * 80 + b"\r\n",
    ]  # fmt: skip
    for _ in range(500):
        for datagram in junk:
            group.say(datagram)
    into = lab.folder("into")
    near.download(lab, torrent, into).wait_complete()
    assert not payloads.differences(content, into)
    assert seed.process.running()


@pytest.mark.skipif(not net.has_multicast6(), reason="no device for IPv6 multicast")
@pytest.mark.parametrize("way", ["download", "seed"])
def test_over_ipv6(lab, samara_program, content, way):
    torrent = content.torrent(lab.private("t.torrent"))
    group = lab.closing(Group(socket.AF_INET6, net.MULTICAST6))
    
    def host():
        return net.MULTICAST6

    near, other = Samara(samara_program, host=host).on_lan(), Libtorrent("--lsd", host=host)
    seeder, leecher = (other, near) if way == "download" else (near, other)
    seeder.seed(lab, torrent, content.root).wait_ready()
    into = lab.folder("into")
    leecher.download(lab, torrent, into).wait_complete()
    assert not payloads.differences(content, into)
    assert group.wait_for(torrent.hex)[0] == net.MULTICAST6
