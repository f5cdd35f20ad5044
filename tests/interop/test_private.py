"""A private torrent leaks nothing (BEP 27): all that passes the wire while one is made, seeded and downloaded, with everything turned on.

Each program carries a public torrent beside the private one, so what must not be heard of the one is heard of the other in the same run.
"""

import hashlib
import struct

import pytest

import bencode
import payload as payloads
from conftest import Lab
from peers import lt_node, net
from peers import samara as contract
from peers.bad_tracker import BadTracker, compact_peers
from peers.capture import EXTENDED, LSD_PORT, PORT, Capture
from peers.clients import Libtorrent
from peers.fake import Fake
from peers.krpc import Asker
from peers.process import wait_for

KIB, MIB = 1 << 10, 1 << 20
KINDS = ("public", "private")


class Tempter:
    """A peer that has nothing, and offers peer exchange and a node of the DHT to whoever comes."""

    def __init__(self, lab, torrent):
        self.stranger = Fake(lab, torrent, lambda talk: (talk.handshake(), talk.silence()))
        self.peer = Fake(lab, torrent, self._tempt)
        self.tempted = False

    def _tempt(self, talk):
        talk.handshake(extensions=True, dht=True)
        talk.send(EXTENDED, b"\0" + bencode.encode({"m": {"ut_pex": 7, "ut_metadata": 8}, "p": self.peer.port, "v": "tempter"}))
        talk.send(PORT, struct.pack(">H", self.peer.port))
        theirs = talk.until(EXTENDED)
        number = bencode.decode(theirs[1:])[0][b"m"].get(b"ut_pex", 1)
        host, port = net.parted(self.stranger.address)
        added = bytes(map(int, host.split("."))) + struct.pack(">H", port)
        talk.send(EXTENDED, bytes([number]) + bencode.encode({"added": added, "added.f": b"\2", "dropped": b""}))
        self.tempted = True
        talk.silence()


class Heard:
    """The run, and what the capture has of it."""

    def __init__(self, lab, samara):
        self.capture = Capture(lab)
        self.asker = Asker(lab)
        self.nodes = [node.address for node in lt_node.network(lab, 3)]
        root = lab.folder("payload")
        self.content = {kind: payloads.single(root, MIB + 11, 16 * KIB, name=f"{kind}.bin", seed=99 + len(kind)) for kind in KINDS}
        self.peers = {kind: [] for kind in KINDS}
        self.torrents = {kind: self._create(lab, samara, kind) for kind in KINDS}
        self.tempters = {kind: Tempter(lab, self.torrents[kind]) for kind in KINDS}
        # What is said has to be legible.
        ours = samara.on_dht(self.nodes[0]).on_lan().with_options("--encryption", "off", "--no-utp")
        private, public = (self.torrents[kind] for kind in ("private", "public"))
        seed = ours.seed(lab, private, root, public.path)
        seed.wait_ready()
        into = lab.folder("into")
        for kind in KINDS:
            self.peers[kind] += [seed.address, self.tempters[kind].peer.address]
        leech = ours.download_and_stay(lab, private, into, [], public.path)
        others = []
        for kind in KINDS:
            self.peers[kind].append(leech.address)
            folder = lab.folder("other")
            others.append((kind, folder, Libtorrent("--dht", f"--dht-node={self.nodes[1]}", "--lsd").download(lab, self.torrents[kind], folder)))
        self.ours = {seed.host, leech.host}
        for kind, folder, other in others:
            other.wait_complete()
            assert not payloads.differences(self.content[kind], folder)
        for kind in KINDS:
            wait_for(f"the {kind} content is here", lambda: not payloads.differences(self.content[kind], into))  # noqa: B023 - called at once
            wait_for(f"the {kind} tempter had its say", lambda: self.tempters[kind].tempted)  # noqa: B023
        # Lists go out seconds after the handshake: those of the private torrent would, when those of the public one do.
        self.asker.wait_announced(self.nodes, public.info_hash, seed.address)
        for what in ("lsd", "pex", "port", "stranger"):
            wait_for(f"{what} of the public torrent", lambda: getattr(self, what)("public"))  # noqa: B023
        for transfer in (leech, seed):
            assert transfer.stop() in (0, contract.INTERRUPTED), transfer.process.tail()
        assert self.capture.complete(), "the kernel dropped packets: nothing is proven"

    def _create(self, lab, samara, kind):
        tracker = BadTracker(lab, lambda query: compact_peers(*self.peers[kind])(query))
        made = lab.private(f"{kind}.torrent")
        options = ["--private"] if kind == "private" else []
        created = samara.run(lab, "create", self.content[kind].path(()), "-o", made, "--tracker", tracker.url(), "--piece-size", "16KiB", *options)
        assert created.code == contract.DONE, created.tail()
        info = bencode.decode(made.read_bytes())[0][b"info"]
        assert info.get(b"private", 0) == (kind == "private")
        return payloads.Torrent(made, self.content[kind], hashlib.sha1(bencode.encode(info)).digest())

    def dht(self, kind):
        """Datagrams from anybody to anybody with the info-hash in them."""
        datagrams, _ = self.capture.look()
        return [d for d in datagrams if self.torrents[kind].info_hash in d.data and d.to[1] != LSD_PORT]

    def lsd(self, kind):
        """Announcements on the local network, and any other datagram with the info-hash as text."""
        datagrams, _ = self.capture.look()
        return [d for d in datagrams if self.torrents[kind].hex.encode() in d.data.lower()]

    def streams(self, kind):
        """What samara said to peers of the torrent."""
        _, streams = self.capture.look()
        return [s for s in streams if s.source[0] in self.ours and s.info_hash == self.torrents[kind].info_hash]

    def pex(self, kind):
        """Offers of ut_pex, and extension messages that are neither handshake nor metadata."""
        found = [s for s in self.streams(kind) if s.offers("ut_pex")]
        return found + [m for s in self.streams(kind) for m in s.of(EXTENDED) if b"5:added" in m.payload]

    def port(self, kind):
        return [m for s in self.streams(kind) for m in s.of(PORT)]

    def stranger(self, kind):
        """Connections to the peer that only the tempter named."""
        return self.tempters[kind].stranger.connections

    def tempted_node(self, kind):
        """Datagrams of samara to the node that only the tempter named. (libtorrent asks it.)"""
        peer = self.tempters[kind].peer
        return [d for d in self.capture.look()[0] if d.source[0] in self.ours and d.to == (peer.host, peer.port)]


@pytest.fixture(scope="module")
def heard(tmp_path_factory, samara):
    lab = Lab(tmp_path_factory.mktemp("private"))
    yield Heard(lab, samara)
    lab.close()


WAYS = ["dht", "lsd", "pex", "port", "stranger", "tempted_node"]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_the_private_torrent(heard, way):
    assert not getattr(heard, way)("private")


@pytest.mark.parametrize("way", WAYS)
def test_all_of_the_public_torrent(heard, way):
    """The control: the same ears hear it of the torrent that is not private."""
    assert getattr(heard, way)("public")


def test_what_was_listened_to(heard):
    """Both torrents went over the wire in full and in clear: there was no other place to hide a message in."""
    for kind in KINDS:
        streams = heard.streams(kind)
        assert len(streams) >= 4
        assert sum(len(s.messages) for s in streams) > heard.content[kind].piece_count
        assert any(s.extension_handshakes() for s in streams)
