"""The suite's own peers, tried on a client that is known to be good: when these fail, the suite is to blame, not samara."""

import payload as payloads
from peers.clients import Libtorrent
from peers.fake import Fake, honest
from peers.relay import Relay


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
