"""Proxies: everything goes through them and, as a capture of the whole network shows, nothing beside them, also while they are dead."""

import time

import pytest

import payload as payloads
from peers import lt_node, net
from peers import samara as contract
from peers.capture import Capture
from peers.clients import Libtorrent
from peers.krpc import Asker
from peers.process import wait_for
from peers.proxies import Proxy
from test_magnet import link

KIB, MIB = 1 << 10, 1 << 20
KINDS = ["microsocks", "tinyproxy"]
# How a program that keeps to its proxy is told to do all that would pass beside it.
EVERYTHING = {"SAMARA_PORT_MAPPING": "true", "SAMARA_DHT": "true", "SAMARA_LSD": "true"}


@pytest.fixture
def content(lab):
    return payloads.single(lab.folder("payload"), 8 * MIB + 5, 64 * KIB, seed=91)


# Who is bound to no address sends from this one: the program that is tried, and nobody else while a capture runs.
OURS = net.ADDRESS


def assert_only_by(capture, proxy, others, carries=False):
    """No packet but between the program and the proxy, or between the proxy and `others`; datagrams only if it `carries` them."""
    assert OURS not in others
    assert capture.complete(), "the capture lost packets"
    datagrams, streams = capture.look()
    assert any(s.source[0] == OURS for s in streams), "nothing was captured of the program"
    known = {proxy.host, *others}
    beside = [(s.source, s.to) for s in streams if s.source[0] not in known and s.to != (proxy.host, proxy.port)]
    beside += [(d.source, d.to) for d in datagrams if d.source[0] not in known and not (carries and d.to[0] == proxy.host)]
    # What the proxy answers is the other direction of such a stream, and what others send to it is no datagram unless it carries them.
    assert not beside, f"beside the proxy: {beside[:10]}"
    assert carries or not [d for d in datagrams if d.source[0] == proxy.host], "the proxy carries no datagrams here"
    reached = {p.source[0] for p in [*streams, *datagrams] if p.to[0] in others and p.source[0] not in others}
    assert reached <= {proxy.host}, "others see only the proxy"


def dials(capture, proxy, since=0.0):
    """Attempts to connect to the proxy."""
    return [s for s in capture.look()[1] if s.to == (proxy.host, proxy.port) and s.begun > since]


@pytest.mark.parametrize("login", [False, True], ids=["open", "login"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_download_leaves_by_the_proxy_alone_and_waits_for_it_when_it_dies(lab, samara, content, kind, login):
    proxy = Proxy(lab, kind, login)
    tracker = lab.tracker(content.torrent(lab.private("hash.torrent")).info_hash)
    nodes = [node.address for node in lt_node.network(lab, 1)]
    unasked = f"udp://{tracker.host}:{tracker.port}/announce"
    torrent = content.torrent(lab.private("t.torrent"), tracker.url("http"), unasked, nodes=[net.parted(nodes[0])])
    seed = samara.seed(lab, torrent, content.root, "--limit-up", "2M", "--limit-local")
    seed.wait_ready()
    tracker.wait_seeds(torrent.info_hash)
    others = {tracker.host, seed.host, net.parted(nodes[0])[0]}
    capture = Capture(lab)
    into = lab.folder("into")
    # Not bound to an address: it would have every way out.
    argv = ["download", torrent.path, "-o", into, "--no-seed", "--json", "-v", "--proxy", proxy.url(), "--dht-node", nodes[0], "--peer", seed.address]
    leech = samara.start(lab, *argv, env=EVERYTHING)
    capture.wait("some of it came", lambda _, streams: any(s.bytes > MIB for s in streams if s.source == (proxy.host, proxy.port)))
    proxy.kill()
    died = time.monotonic()
    wait_for("it asks for the dead proxy, twice", lambda: len(dials(capture, proxy, died)) >= 2)
    assert leech.running() and payloads.differences(content, into)
    assert_only_by(capture, proxy, others)
    proxy.start()
    leech.wait_exit(120)
    assert leech.code == contract.DONE
    assert not payloads.differences(content, into)
    assert_only_by(capture, proxy, others)
    tracked = [s for s in capture.look()[1] if s.to == (tracker.host, tracker.port) and s.source[0] == proxy.host]
    assert tracked, "the HTTP tracker was asked through the proxy"
    if kind == "microsocks":
        assert sum("carries no datagrams" in line for line in leech.err) == 1, "it is said, once"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_with_the_proxy_is_said_and_nothing_is_sent_beside_it(lab, samara, content, kind):
    proxy = Proxy(lab, kind, login=True)
    tracker = lab.tracker(content.torrent(lab.private("hash.torrent")).info_hash)
    torrent = content.torrent(lab.private("t.torrent"), tracker.url("http"), tracker.url("udp"))
    canary = net.new_address()
    peer = f"{canary}:{net.free_port(canary)}"
    commands = [
        ["download", torrent.path, "-o", lab.folder("into"), "--peer", peer, "--timeout", "20s"],
        ["peers", torrent.path],
        ["scrape", torrent.path],
        ["handshake", torrent.path, peer],
        ["piece", torrent.path, "0", "-o", lab.private("piece"), "--peer", peer],
        ["info", f"http://{tracker.host}:{tracker.port}/t.torrent"],
        ["magnet", "resolve", f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}", "-o", lab.private("resolved"), "--timeout", "20s"],
    ]
    capture = Capture(lab)
    wrong = proxy.url(password="guessed")
    for dead in (False, True):
        if dead:
            proxy.kill()
        for argv in commands:
            said = samara.run(lab, *argv, "--proxy", wrong, env=EVERYTHING)
            assert said.code == contract.NETWORK, said.tail()
            told = "\n".join(said.err)
            # To a plain request tinyproxy answers itself, as a web server that denies access would.
            assert "proxy" in told or (kind == "tinyproxy" and "HTTP status 401" in told), said.tail()
    assert_only_by(capture, proxy, {tracker.host})
    assert not [s for s in capture.look()[1] if tracker.host in (s.source[0], s.to[0]) or canary in (s.source[0], s.to[0])]


@pytest.mark.parametrize("kind", KINDS)
def test_one_shot_commands_go_through_the_proxy(lab, samara, content, kind):
    proxy = Proxy(lab, kind)
    tracker = lab.tracker(content.torrent(lab.private("hash.torrent")).info_hash)
    torrent = content.torrent(lab.private("t.torrent"), tracker.url("http"))
    seed = samara.seed(lab, torrent, content.root)
    seed.wait_ready()
    tracker.wait_seeds(torrent.info_hash)
    capture = Capture(lab)
    piece = lab.private("piece")
    for argv in (
        ["peers", torrent.path],
        ["scrape", torrent.path],
        ["handshake", torrent.path, seed.address],
        ["piece", torrent.path, "0", "-o", piece, "--peer", seed.address],
    ):
        said = samara.run(lab, *argv, "--proxy", proxy.url(), env=EVERYTHING)
        assert said.code == contract.DONE, said.tail()
    assert piece.read_bytes() == content.read()[: 64 * KIB]
    assert_only_by(capture, proxy, {tracker.host, seed.host})


def from_us(datagrams):
    return [d for d in datagrams if d.source[0] == OURS]


def test_datagrams_go_through_the_proxy_alone_and_none_is_sent_while_it_is_dead(lab, samara, content):
    """A UDP tracker names a seed of libtorrent's that speaks uTP alone."""
    proxy = Proxy(lab, "dante")
    tracker = lab.tracker(content.torrent(lab.private("hash.torrent")).info_hash)
    nodes = lt_node.network(lab, 2)
    torrent = content.torrent(lab.private("t.torrent"), tracker.url("udp"))
    seed = Libtorrent("--limit-up", "1000000").over_utp().seed(lab, torrent, content.root)
    seed.wait_ready()
    tracker.wait_seeds(torrent.info_hash)
    others = {tracker.host, seed.host, *(node.host for node in nodes)}
    capture = Capture(lab)
    into = lab.folder("into")
    argv = ["download", torrent.path, "-o", into, "--no-seed", "--json", "--no-tcp", "--proxy", proxy.url(), "--dht-node", nodes[0].address]
    leech = samara.start(lab, *argv, env=EVERYTHING)
    capture.wait("some of it came", lambda datagrams, _: sum(len(d.data) for d in datagrams if d.source[0] == seed.host) > MIB)
    asked = [d for d in capture.look()[0] if d.to == (nodes[0].host, nodes[0].port) and d.source[0] == proxy.host]
    assert any(d.dht() for d in asked), "the DHT is joined through the proxy"
    proxy.kill()
    died = time.monotonic()
    wait_for("it asks for the dead proxy, twice", lambda: len(dials(capture, proxy, died)) >= 2)
    assert leech.running() and payloads.differences(content, into)
    assert capture.complete()
    noticed = dials(capture, proxy, died)[0].begun
    late = [d for d in from_us(capture.look()[0]) if d.at > noticed]
    assert not late, f"while the proxy is dead: {late[:3]}"
    assert_only_by(capture, proxy, others, carries=True)
    proxy.start()
    leech.wait_exit(120)
    assert leech.code == contract.DONE
    assert not payloads.differences(content, into)
    assert_only_by(capture, proxy, others, carries=True)


def test_a_link_is_found_by_the_dht_through_the_proxy(lab, samara, content):
    proxy = Proxy(lab, "dante")
    nodes = lt_node.network(lab, 4)
    torrent = content.torrent(lab.private("t.torrent"))
    seed = Libtorrent("--no-pex").on_dht(nodes[1].address).seed(lab, torrent, content.root)
    seed.wait_ready()
    asker = Asker(lab)
    asker.wait_announced([node.address for node in nodes], torrent.info_hash, seed.address)
    capture = Capture(lab)
    into = lab.folder("into")
    argv = ["download", link(torrent).path, "-o", into, "--no-seed", "--json", "--proxy", proxy.url(), "--dht-node", nodes[0].address]
    leech = samara.start(lab, *argv, env=EVERYTHING)
    leech.wait_exit(120)
    assert leech.code == contract.DONE
    assert not payloads.differences(content, into)
    assert_only_by(capture, proxy, {seed.host, asker.host, *(node.host for node in nodes)}, carries=True)


def test_one_shot_commands_ask_udp_trackers_through_the_proxy(lab, samara, content):
    proxy = Proxy(lab, "dante")
    tracker = lab.tracker(content.torrent(lab.private("hash.torrent")).info_hash)
    torrent = content.torrent(lab.private("t.torrent"), tracker.url("udp"))
    seed = samara.seed(lab, torrent, content.root)
    seed.wait_ready()
    tracker.wait_seeds(torrent.info_hash)
    capture = Capture(lab)
    for command in ("peers", "scrape"):
        said = samara.run(lab, command, torrent.path, "--proxy", proxy.url(), env=EVERYTHING)
        assert said.code == contract.DONE, said.tail()
    assert_only_by(capture, proxy, {tracker.host, seed.host}, carries=True)
    assert [d for d in capture.look()[0] if d.to == (tracker.host, tracker.port)]


def test_names_of_peers_are_refused_where_looking_them_up_would_tell_of_them(lab, samara, content):
    proxy = Proxy(lab, "microsocks")
    torrent = content.torrent(lab.private("t.torrent"))
    capture = Capture(lab)
    for argv in (["handshake", torrent.path, "peer.example.org:6881"], ["dht", "peers", torrent.path], ["share", content.root]):
        said = samara.run(lab, *argv, "--proxy", proxy.url(), env=EVERYTHING)
        assert said.code == contract.USAGE, said.tail()
    assert capture.complete() and not any(capture.look())
