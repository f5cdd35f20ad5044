"""uTP (BEP 29) and no TCP, with real clients and between two of us, both ways."""

import os

import pytest

from peers.capture import Capture
from peers.clients import Libtorrent, Rqbit, Transmission
from test_encryption import transfer

CLIENTS = [
    pytest.param(Libtorrent().over_utp(), False, id="libtorrent"),
    pytest.param(Libtorrent().over_ipv6().over_utp(), True, id="libtorrent-ipv6"),
    pytest.param(Libtorrent().over_utp().encrypted("rc4"), False, id="libtorrent-rc4"),
]
if rqbit := os.environ.get("RQBIT"):
    CLIENTS.append(pytest.param(Rqbit(rqbit).over_utp(), False, id="rqbit"))


@pytest.mark.parametrize("from_client", [True, False], ids=["download", "seed"])
@pytest.mark.parametrize("client, ipv6", CLIENTS)
def test_with_a_client(lab, samara, shapes, client, ipv6, from_client):
    """We do not speak TCP, whatever the other side does."""
    ours = (samara.over_ipv6() if ipv6 else samara).with_options("--no-tcp")
    transfer(lab, shapes("nested"), *((client, ours) if from_client else (ours, client)))


def is_padded(datagram):
    """A packet of a stream that tries a length of packets: only there do we have an extension."""
    return len(datagram.data) > 1000 and datagram.data[0] == 0x01 and datagram.data[1] != 0


TRANSMISSION = [pytest.param(1, id="encrypted"), pytest.param(0, id="plain")]


@pytest.mark.parametrize("from_client", [True, False], ids=["download", "seed"])
@pytest.mark.parametrize("encryption", TRANSMISSION)
def test_with_transmission(lab, samara, shapes, encryption, from_client):
    """It cannot do without TCP; we refuse it. As a leech it leaves what comes with our handshake unread until more comes."""
    client, ours = Transmission(encryption=encryption).over_utp(), samara.with_options("--no-tcp")
    capture = Capture(lab, snap=is_padded)
    transfer(lab, shapes("nested"), *((client, ours) if from_client else (ours, client)))
    if not from_client:
        # Tried first is the longest; shorter ones, when it did not arrive.
        assert {len(datagram.data) for datagram in capture.look()[0]} == {1472} and capture.complete()


@pytest.mark.parametrize("from_client", [True, False], ids=["download", "seed"])
def test_with_transmission_out_of_the_box(lab, samara, shapes, from_client):
    """Both try both."""
    client = Transmission().over_utp()
    transfer(lab, shapes("nested"), *((client, samara) if from_client else (samara, client)))


@pytest.mark.parametrize("from_client", [True, False], ids=["download", "seed"])
def test_out_of_the_box(lab, samara, shapes, from_client):
    """We try both; it answers to uTP alone."""
    client = Libtorrent().over_utp()
    transfer(lab, shapes("nested"), *((client, samara) if from_client else (samara, client)))


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_between_two_of_us(lab, samara, shapes, ipv6):
    ours = (samara.over_ipv6() if ipv6 else samara).with_options("--no-tcp")
    transfer(lab, shapes("nested"), ours, ours)
