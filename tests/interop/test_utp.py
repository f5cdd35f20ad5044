"""uTP (BEP 29) and no TCP, with libtorrent and between two of us, both ways."""

import pytest

import payload as payloads
from peers.clients import Libtorrent

CLIENTS = [
    pytest.param(Libtorrent().over_utp(), False, id="libtorrent"),
    pytest.param(Libtorrent().over_ipv6().over_utp(), True, id="libtorrent-ipv6"),
    pytest.param(Libtorrent().over_utp().encrypted("rc4"), False, id="libtorrent-rc4"),
]


def transfer(lab, content, seeder, leecher):
    """From one client to the other, who is told the address."""
    torrent = content.torrent(lab.directory / "t.torrent")
    seed = seeder.seed(lab, torrent, content.root)
    seed.wait_ready()
    into = lab.folder("into")
    leecher.download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into)


@pytest.mark.parametrize("from_client", [True, False], ids=["download", "seed"])
@pytest.mark.parametrize("client, ipv6", CLIENTS)
def test_with_a_client(lab, samara, shapes, client, ipv6, from_client):
    """Neither side speaks TCP."""
    ours = (samara.over_ipv6() if ipv6 else samara).with_options("--no-tcp")
    transfer(lab, shapes("nested"), *((client, ours) if from_client else (ours, client)))


@pytest.mark.parametrize("from_client", [True, False], ids=["download", "seed"])
def test_out_of_the_box(lab, samara, shapes, from_client):
    """We try both; it answers to uTP alone."""
    client = Libtorrent().over_utp()
    transfer(lab, shapes("nested"), *((client, samara) if from_client else (samara, client)))


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_between_two_of_us(lab, samara, shapes, ipv6):
    ours = (samara.over_ipv6() if ipv6 else samara).with_options("--no-tcp")
    transfer(lab, shapes("nested"), ours, ours)
