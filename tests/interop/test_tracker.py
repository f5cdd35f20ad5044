"""`samara tracker`, the embedded tracker by itself: both protocols, both families, bounds; and a name with an address of each family."""

import socket
import struct
import subprocess
import urllib.parse
import urllib.request

import pytest

import bencode
import payload as payloads
from peers import net
from peers import samara as contract
from peers.clients import Libtorrent
from peers.process import PeakMemory, wait_for

MIB = 1 << 20
HASH = bytes(range(20))
NAME = "both.test"


class Tracker:
    """Our tracker, on one port of each of its addresses."""

    def __init__(self, lab, samara, *hosts):
        self.hosts = hosts
        self.port = net.free_port(hosts[0])
        binds = [word for host in hosts for word in ("--bind", host)]
        self.process = samara.start(lab, "tracker", "--port", self.port, *binds, "--json")
        self.process.wait_line("the tracker listens", lambda line: "tracking" in line)

    def url(self, scheme="http", host=None):
        return f"{scheme}://{net.joined(host or self.hosts[0], self.port)}/announce"

    def ask(self, host=None, **parameters):
        """The answer to an announce that says no more than it must."""
        query = {"info_hash": HASH, "peer_id": b"-XX0000-0123456789ab", "port": 1, "left": 1} | parameters
        url = f"{self.url('http', host)}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bencode.decode(answer.read())[0]


class UdpClient:
    """Announces over UDP from an address of its own, whatever port it claims (BEP 15)."""

    def __init__(self, tracker, host):
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.settimeout(10)
        self._socket.bind((host, 0))
        self._socket.connect((tracker.hosts[0], tracker.port))
        answer = self._exchange(struct.pack(">QII", 0x41727101980, 0, 7))
        self._connection = struct.unpack(">IIQ", answer)[2]

    def _exchange(self, packet):
        self._socket.send(packet)
        return self._socket.recv(2048)

    def announce(self, info_hash, port):
        """The action of the answer, 1 for yes and 3 for no, and its text or peers."""
        head = struct.pack(">QII20s20s", self._connection, 1, 8, info_hash, b"-XX0000-0123456789ab")
        body = struct.pack(">QQQIIIIH", 0, 1, 0, 2, 0, 0, 0, port)
        answer = self._exchange(head + body)
        return struct.unpack(">I", answer[:4])[0], answer[8:]

    def close(self):
        self._socket.close()


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_strangers_meet_through_it(lab, samara, shapes, scheme):
    content = shapes("single")
    tracker = Tracker(lab, samara, net.new_address())
    torrent = content.torrent(lab.private("t.torrent"), tracker.url(scheme))
    Libtorrent().seed(lab, torrent, content.root)
    wait_for("the seed has announced itself", lambda: tracker.ask(info_hash=torrent.info_hash).get(b"complete"))
    into = lab.folder("into")
    Libtorrent().download(lab, torrent, into).wait_complete()
    assert not payloads.differences(content, into)


def test_peers_of_both_families_and_both_forms(lab, samara):
    """BEP 7 and 23: who asks over HTTP is told of both families, in the form it wants."""
    v4, v6 = net.new_address(), net.new_address6()
    tracker = Tracker(lab, samara, v4, v6)
    tracker.ask(v4, port=1001)
    tracker.ask(v6, port=1002)
    for host in (v4, v6):
        answer = tracker.ask(host, port=1003)
        assert struct.pack(">H", 1001) in [answer[b"peers"][i + 4 : i + 6] for i in range(0, len(answer[b"peers"]), 6)]
        assert struct.pack(">H", 1002) in [answer[b"peers6"][i + 16 : i + 18] for i in range(0, len(answer[b"peers6"]), 18)]
        listed = {peer[b"port"] for peer in tracker.ask(host, port=1003, compact=0)[b"peers"]}
        assert {1001, 1002} <= listed
    assert len(tracker.ask(v4, port=1004)[b"external ip"]) == 4 and len(tracker.ask(v6, port=1004)[b"external ip"]) == 16


def test_a_seed_is_known_by_both_its_addresses(lab, samara, shapes):
    """A tracker whose name has an address of each family hears of us over each, and in the end hears that we go over each."""
    v4, v6 = net.new_address(), net.new_address6()
    hosts = lab.private("hosts")
    hosts.write_text(f"127.0.0.1 localhost\n{v4} {NAME}\n{v6} {NAME}\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)  # in the suite's own mount namespace
    try:
        content = shapes("single")
        tracker = Tracker(lab, samara, v4, v6)
        for scheme in ("http", "udp"):
            torrent = content.torrent(lab.private("t.torrent"), tracker.url(scheme, NAME))
            ours = [net.new_address(), net.new_address6()]
            binds = [word for host in ours for word in ("--bind", host)]
            seed = samara.start(lab, "seed", torrent.path, "--data", content.root, "--port", "0", "--json", *binds)

            def known(torrent=torrent):
                answer = tracker.ask(v4, info_hash=torrent.info_hash, event="stopped")
                return answer[b"complete"]

            wait_for(f"both of the seed's addresses at the tracker, over {scheme}", lambda: known() == 2)
            asked = tracker.ask(v4, info_hash=torrent.info_hash, port=2)
            assert socket.inet_pton(socket.AF_INET, ours[0]) == asked[b"peers"][:4]
            assert socket.inet_pton(socket.AF_INET6, ours[1]) == asked[b"peers6"][:16]
            tracker.ask(v4, info_hash=torrent.info_hash, port=2, event="stopped")
            assert seed.stop() in (contract.DONE, contract.INTERRUPTED)
            assert known() == 0
    finally:
        subprocess.run(["umount", "/etc/hosts"], check=True)


def test_memory_is_bounded_and_one_address_cannot_fill_it(lab, samara):
    """More peers than it keeps, of which each address may have a thousand: it says that it is full, and stays small."""
    tracker = Tracker(lab, samara, net.new_address())
    refusals = set()
    with PeakMemory(tracker.process, interval=0.1) as memory:
        for n in range(104):
            client = UdpClient(tracker, net.new_address())
            for i in range(1000):
                hashed = struct.pack(">II", i % 500, 0).ljust(20, b"\x55")
                action, said = client.announce(hashed, 1 + i)
                if action == 3:
                    refusals.add((n, said))
                    break
            if n == 0:
                assert client.announce(HASH, 5000) == (3, b"too many announces from your address")
            client.close()
    assert refusals == {(n, b"this tracker is full") for n in range(100, 104)}
    assert memory.peak < 32 * MIB
