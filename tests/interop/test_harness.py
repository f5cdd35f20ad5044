"""The suite's own peers, tried on a client that is known to be good: when these fail, the suite is to blame, not samara."""

import payload as payloads
from peers import ed25519, lt_node
from peers.capture import PIECE, Capture, between
from peers.clients import Libtorrent
from peers.fake import Fake, honest
from peers.krpc import Asker, signed
from peers.relay import Relay
from test_magnet import link


def test_fake_seed_serves_libtorrent(lab, shapes):
    content = shapes("nested")
    torrent = content.torrent(lab.private("t.torrent"))
    seed = Fake(lab, torrent, honest)
    into = lab.folder("into")
    Libtorrent().download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into)
    assert seed.served_bytes() >= content.size
    assert not seed.failures


def test_relay_delays_and_limits(lab, shapes):
    content = shapes("exact multiple")
    torrent = content.torrent(lab.private("t.torrent"))
    seed = Libtorrent().seed(lab, torrent, content.root)
    seed.wait_ready()
    relay = Relay(lab, seed.address, 0.04, rate=8_000_000)
    into = lab.folder("into")
    Libtorrent().download(lab, torrent, into, [relay.address]).wait_complete()
    assert not payloads.differences(content, into)
    assert relay.rate() < 8_400_000


def test_comparison_sees_one_changed_byte(lab, shapes):
    content = shapes("nested")
    copy = content.copy(lab.folder("copy"))
    assert not payloads.differences(content, copy)
    victim = content.path(("big.bin",), copy)
    data = bytearray(victim.read_bytes())
    data[5_000_000] ^= 1
    victim.write_bytes(data)
    assert "big.bin" in payloads.differences(content, copy)
    content.path(("a", "empty"), copy).unlink()
    assert "missing" in payloads.differences(content, copy)


def test_a_link_through_libtorrent_s_own_dht(lab):
    """The private DHT, the capture and the asker, with nothing of samara in it."""
    content = payloads.single(lab.folder("payload"), (2 << 20) + 3, 16 << 10, seed=7)
    torrent = content.torrent(lab.private("t.torrent"))
    capture, asker = Capture(lab), Asker(lab)
    nodes = [node.address for node in lt_node.network(lab, 4)]
    seed = Libtorrent("--no-pex").on_dht(nodes[0]).seed(lab, torrent, content.root)
    seed.wait_ready()
    asker.wait_announced(nodes, torrent.info_hash, seed.address)
    into = lab.folder("into")
    leech = Libtorrent("--no-pex", "--timings").on_dht(nodes[1]).download(lab, link(torrent), into)
    leech.wait_complete()
    assert not payloads.differences(content, into)
    assert leech.wait_event("start") < leech.wait_event("metadata") < leech.wait_event("first piece")
    assert capture.complete()
    datagrams, streams = capture.look()
    assert any((d.dht() or {}).get(b"q") == b"announce_peer" and torrent.info_hash in d.data for d in datagrams)
    met = between(streams, seed.host, leech.host)
    assert {s.info_hash for s in met} == {torrent.info_hash}
    assert sum(len(s.of(PIECE)) for s in met if s.source[0] == seed.host) >= content.size // 16384
    assert any(s.offers("ut_metadata") and not s.offers("ut_pex") for s in met)


def test_items_of_our_own_are_accepted(lab):
    """The asker's signatures are good, and a wrong one is not taken."""
    nodes, asker = lt_node.network(lab, 3), Asker(lab)
    secret = bytes(range(32))
    item = signed(secret, {"ih": bytes(20)}, 4)
    assert all("e" not in asker.put(node.address, **item) for node in nodes)
    assert nodes[0].get_signed(ed25519.public(secret), number=4) == ({b"ih": bytes(20)}, 4)
    assert "e" in asker.put(nodes[0].address, **(item | {"seq": 5}))
    assert nodes[1].put_signed(ed25519.expanded(secret), ed25519.public(secret), b"newer") >= 2
    assert nodes[2].get_signed(ed25519.public(secret), number=5) == (b"newer", 5)
