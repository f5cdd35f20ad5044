"""Port mapping at a real gateway, miniupnpd with nftables: a seed behind it that a stranger outside connects to."""

import re
import struct
import sys
from pathlib import Path

import pytest

import payload as payloads
from peers import samara as contract
from peers.process import wait_for
from peers.router import Router

KIB, MIB = 1 << 10, 1 << 20
PORT = 6881
REACHED = re.compile(r"port (\d+) is reachable from outside as ([0-9.]+):(\d+) by (PCP|NAT-PMP|UPnP)$")


@pytest.fixture
def content(lab):
    return payloads.single(lab.folder("payload"), 4 * MIB, 16 * KIB, seed=68)


@pytest.fixture
def torrent(lab, content):
    return content.torrent(lab.private("t.torrent"))


# A tracker in the world that says what it is asked, and may be asked again after 15 seconds.
_TRACKER = """
import http.server
class Tracker(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"d8:intervali1800e12:min intervali15e5:peers0:e")
server = http.server.HTTPServer(("", 8000), Tracker)
print("listens", flush=True)
server.serve_forever()
"""


def start_seed(lab, samara, router, torrent, content, *options):
    return samara.start(lab, "seed", torrent.path, "--data", content.root, "-v", *options, prefix=router.home.enter)


def reached(seed):
    """The line that says so: (port, address outside, port outside, protocol)."""
    found = seed.wait_line("a port is mapped", REACHED.search, stream="err")
    return int(found[1]), found[2], int(found[3]), found[4]


def fetch_from_outside(lab, router, torrent, content, port):
    """libtorrent, in the world, is told of the gateway's address and nothing else."""
    into = lab.folder("into")
    main = Path(__file__).parent / "peers" / "lt_main.py"
    peer = f"{router.outside}:{port}"
    argv = [*router.world.enter, sys.executable, main, "download", torrent.path, into, "--bind", router.beyond, "--port", 7000, "--peer", peer]
    leech = lab.start("libtorrent", argv)
    leech.wait_line("complete", lambda line: '"seeding"' in line)
    assert not payloads.differences(content, into)
    leech.stop()


@pytest.mark.parametrize("speaks", ["PCP", "NAT-PMP", "UPnP"])
def test_a_stranger_outside_connects_and_nothing_is_left_at_the_end(lab, samara, torrent, content, speaks):
    router = Router(lab, speaks)
    seed = start_seed(lab, samara, router, torrent, content)
    assert reached(seed) == (PORT, router.outside, PORT, speaks)
    assert router.mapped() == {(protocol, PORT): (router.inside, PORT) for protocol in ("tcp", "udp")}
    fetch_from_outside(lab, router, torrent, content, PORT)
    assert seed.stop() == contract.INTERRUPTED
    assert router.mapped() == {}, "taken back by the end of the program"


def take(router, address):
    """Somebody else in the home has our port mapped to him."""
    wanted = struct.pack(">BBHHHI", 0, 2, 0, 2000, PORT, 3600).hex()
    ask = (
        f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.bind(('{address}', 0));"
        f"s.sendto(bytes.fromhex('{wanted}'), ('192.168.77.1', 5351)); print(s.recv(99)[3])"
    )
    assert router.home.run(sys.executable, "-c", ask).strip() == "0"


@pytest.mark.parametrize("speaks", ["NAT-PMP", "UPnP"])
def test_a_port_that_somebody_else_has_becomes_another(lab, samara, torrent, content, speaks):
    router = Router(lab, speaks, settings=["enable_natpmp=yes"])
    router.home.run("ip", "address", "add", "192.168.77.3/24", "dev", "home0")
    take(router, "192.168.77.3")
    if speaks == "UPnP":
        router.gateway.nft("table inet deaf2 { chain input { type filter hook input priority 0; udp dport 5351 drop\n }\n }\n")
    seed = start_seed(lab, samara, router, torrent, content)
    inside, address, outside, _ = reached(seed)
    assert (inside, address) == (PORT, router.outside) and outside != PORT
    fetch_from_outside(lab, router, torrent, content, outside)
    assert seed.stop() == contract.INTERRUPTED
    assert router.mapped() == {("tcp", PORT): ("192.168.77.3", 2000)}, "only the other's is left"


def test_trackers_are_told_the_port_outside(lab, samara, content):
    """The announce at the start does not wait for a gateway; as soon as the tracker allows, it is told the port that one gave."""
    router = Router(lab, "NAT-PMP")
    tracker = lab.start("tracker", [*router.world.enter, sys.executable, "-c", _TRACKER])
    tracker.wait_line("it listens", lambda line: line == "listens")
    torrent = content.torrent(lab.private("t.torrent"), f"http://{router.beyond}:8000/announce")
    router.home.run("ip", "address", "add", "192.168.77.3/24", "dev", "home0")
    take(router, "192.168.77.3")
    seed = start_seed(lab, samara, router, torrent, content)
    _, _, outside, _ = reached(seed)
    assert outside != PORT
    tracker.wait_line("it is told", lambda line: f"&port={outside}&" in line)
    # The first one came when nothing was known yet, or late enough.
    ports = [int(re.search(r"&port=(\d+)", line)[1]) for line in tracker.out[1:]]
    assert ports in ([outside], [PORT, outside]), tracker.out
    seed.stop()


def test_a_mapping_is_renewed_in_time(lab, samara, torrent, content):
    router = Router(lab, "PCP", settings=["min_lifetime=20", "max_lifetime=60"])
    seed = start_seed(lab, samara, router, torrent, content)
    reached(seed)
    first = wait_for("leases", lambda: len(router.leases()) == 2 and router.leases())

    def later():
        now = router.leases()
        return len(now) == 2 and all(now[what][1] > end for what, (_, end) in first.items()) and now

    renewed = wait_for("both are renewed", later)
    for what, (_, end) in first.items():
        assert 20 <= renewed[what][1] - end <= 50, (first, renewed)
    assert len(router.mapped()) == 2
    seed.stop()


@pytest.mark.parametrize("speaks", ["PCP", "NAT-PMP", "UPnP"])
def test_a_gateway_behind_another_one_refuses_and_that_is_said(lab, samara, torrent, content, speaks):
    """miniupnpd maps nothing where its own address is a private one."""
    router = Router(lab, speaks, outside="10.5.5.1", beyond="10.5.5.2")
    seed = start_seed(lab, samara, router, torrent, content)
    seed.wait_line("why", lambda line: "no gateway maps port 6881 (" in line and "peers outside cannot connect" in line, stream="err")
    seed.stop()


@pytest.mark.parametrize("how", ["option", "setting", "loopback"])
def test_who_does_not_want_it_asks_nobody(lab, samara, torrent, content, how):
    router = Router(lab, "PCP")
    router.home.nft("table inet watch { chain out { type filter hook output priority 0; udp dport { 1900, 5351 } counter\n }\n }\n")
    env = {"SAMARA_PORT_MAPPING": "no"} if how == "setting" else {}
    options = {"option": ["--no-port-mapping"], "loopback": ["--bind", "127.0.0.1"]}.get(how, [])
    seed = samara.start(lab, "seed", torrent.path, "--data", content.root, "--json", *options, env=env, prefix=router.home.enter)
    seed.wait_line("it seeds", lambda line: '"seeding"' in line)
    assert seed.stop() == contract.INTERRUPTED
    assert "packets 0 " in router.home.run("nft", "list", "table", "inet", "watch")
