"""Message Stream Encryption with real clients that take nothing else, both ways, and with such that take none."""

import pytest

import payload as payloads
from peers.clients import Aria2, Libtorrent, Rqbit, Transmission
from peers.samara import NETWORK, Samara

ENCRYPTING = [
    pytest.param(Libtorrent().encrypted("rc4"), False, id="libtorrent-rc4"),
    pytest.param(Libtorrent().encrypted("plaintext"), False, id="libtorrent-plaintext"),
    pytest.param(Libtorrent().over_ipv6().encrypted("rc4"), True, id="libtorrent-ipv6"),
    pytest.param(Aria2().encrypted(), False, id="aria2"),
    pytest.param(Transmission().encrypted(), False, id="transmission"),
]


def transfer(lab, content, seeder, leecher):
    """From one client to the other, who is told the address, or asks a tracker where it cannot be told."""
    torrent = content.torrent(lab.directory / "t.torrent")
    told = isinstance(leecher, Samara | Libtorrent | Rqbit)
    if not told:
        tracker = lab.tracker(torrent.info_hash)
        torrent = content.torrent(lab.directory / "t.torrent", tracker.url("http"))
    seed = seeder.seed(lab, torrent, content.root)
    seed.wait_ready()
    if not told:
        tracker.wait_seeds(torrent.info_hash)
    into = lab.folder("into")
    leecher.download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into, empty_may_lack=leecher.lacks_empty_files)


@pytest.mark.parametrize("from_client", [True, False], ids=["download", "seed"])
@pytest.mark.parametrize("client, ipv6", ENCRYPTING)
def test_out_of_the_box(lab, samara, shapes, client, ipv6, from_client):
    ours = samara.over_ipv6() if ipv6 else samara
    transfer(lab, shapes("nested"), *((client, ours) if from_client else (ours, client)))


@pytest.mark.parametrize("from_client", [True, False], ids=["download", "seed"])
@pytest.mark.parametrize("policy", ["allow", "prefer", "require"])
def test_policies(lab, samara, shapes, policy, from_client):
    """Each finds the way to a client that takes RC4 alone."""
    ours, client = samara.with_options("--encryption", policy), Libtorrent().encrypted("rc4")
    transfer(lab, shapes("nested"), *((client, ours) if from_client else (ours, client)))


@pytest.mark.parametrize("policy, client", [("require", Libtorrent()), ("off", Libtorrent().encrypted("rc4"))], ids=["require", "off"])
def test_who_cannot_agree_exchanges_nothing(lab, samara, shapes, policy, client):
    content = shapes("nested")
    torrent = content.torrent(lab.directory / "t.torrent")
    seed = client.seed(lab, torrent, content.root)
    seed.wait_ready()
    into = lab.folder("into")
    download = samara.with_options("--encryption", policy).download(lab, torrent, into, [seed.address], "--timeout", "4s")
    assert download.process.wait_exit() == NETWORK, download.process.tail()
    assert payloads.differences(content, into)
