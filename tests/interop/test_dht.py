"""The DHT (BEP 5, 32) in a network of our own: no tracker, no peer exchange, no local discovery leads anybody to anybody."""

import pytest

import payload as payloads
from peers import lt_node, net
from peers import samara as contract
from peers.capture import INTERESTED, PORT
from peers.clients import Libtorrent
from peers.fake import Fake
from peers.krpc import Asker
from peers.process import wait_for
from test_magnet import link

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def content(lab):
    return payloads.single(lab.folder("payload"), 8 * MIB + 5, 64 * KIB, seed=95)


class World:
    """Four nodes of libtorrent and three of samara. `nodes` are all of them, as HOST:PORT."""

    def __init__(self, lab, samara):
        self.asker = Asker(lab)
        self.libtorrent = lt_node.network(lab, 4)
        self.nodes = [node.address for node in self.libtorrent]
        idle = payloads.single(lab.folder("idle"), 64 * KIB, 16 * KIB, name="idle.bin", seed=94)
        for at in range(3):
            node = samara.on_dht(self.nodes[at]).seed(lab, idle.torrent(lab.private("idle.torrent")), idle.root)
            wait_for("samara's node joins", lambda: self.asker.nodes(node.address), 30)  # noqa: B023 - called at once
            self.nodes.append(node.address)
        self.samara = self.nodes[4:]

    def wait_announced(self, torrent, transfer):
        self.asker.wait_announced(self.nodes, torrent.info_hash, transfer.address)


@pytest.fixture
def world(lab, samara):
    return World(lab, samara)


@pytest.fixture
def libtorrent():
    return Libtorrent("--no-pex")


def finish(content, leech, into):
    leech.wait_complete()
    assert not payloads.differences(content, into)


@pytest.mark.parametrize("way", ["download", "seed", "both"])
def test_link(lab, world, samara, libtorrent, content, way):
    """A link that is nothing but an info-hash; each side joins by a node of the other's kind."""
    torrent = content.torrent(lab.private("t.torrent"))
    ours, theirs = samara.on_dht(world.libtorrent[0].address), libtorrent.on_dht(world.samara[0])
    seeder, leecher = {"download": (theirs, ours), "seed": (ours, theirs), "both": (ours, samara.on_dht(world.samara[1]))}[way]
    seed = seeder.seed(lab, torrent, content.root)
    seed.wait_ready()
    world.wait_announced(torrent, seed)
    into = lab.folder("into")
    finish(content, leecher.download(lab, link(torrent), into), into)


def test_the_seed_comes_later(lab, world, samara, libtorrent, content):
    """Who finds nobody asks again."""
    torrent = content.torrent(lab.private("t.torrent"))
    into = lab.folder("into")
    leech = samara.on_dht(world.nodes[1]).download(lab, link(torrent), into)
    leech.wait_event("it looks for peers", lambda event: event["type"] == "resolving")
    seed = libtorrent.on_dht(world.nodes[5]).seed(lab, torrent, content.root)
    seed.wait_ready()
    finish(content, leech, into)


@pytest.mark.parametrize("leecher", ["samara", "libtorrent"])
def test_nodes_of_the_torrent_are_the_way_in(lab, world, samara, libtorrent, content, leecher):
    """The key `nodes` (BEP 5) is all that the leech has."""
    plain = content.torrent(lab.private("plain.torrent"))
    torrent = content.torrent(lab.private("t.torrent"), nodes=[net.parted(node) for node in (world.nodes[0], world.nodes[6])])
    seed = {"samara": libtorrent, "libtorrent": samara}[leecher].on_dht(world.nodes[2]).seed(lab, plain, content.root)
    seed.wait_ready()
    world.wait_announced(torrent, seed)
    into = lab.folder("into")
    finish(content, {"samara": samara, "libtorrent": libtorrent}[leecher].on_dht().download(lab, torrent, into), into)


def seeded_with_guide(lab, world, libtorrent, content):
    """A torrent that is seeded and announced, and one more node of the DHT, which nobody else was told of."""
    torrent = content.torrent(lab.private("t.torrent"))
    seed = libtorrent.on_dht(world.nodes[2]).seed(lab, torrent, content.root)
    seed.wait_ready()
    world.wait_announced(torrent, seed)
    guide = lt_node.Node(lab)
    guide.knows(*world.nodes)
    wait_for("the guide is in the DHT", lambda: guide.table() >= 4)
    return torrent, guide


def test_a_peer_s_port_message_is_the_way_in(lab, world, samara, libtorrent, content):
    """The only peer it is told of has nothing, but a node of the DHT beside it."""
    torrent, guide = seeded_with_guide(lab, world, libtorrent, content)

    def poor(talk):
        talk.handshake(dht=True)
        talk.send(PORT, guide.port.to_bytes(2, "big"))
        talk.silence()

    peer = Fake(lab, torrent, poor, host=guide.host)
    into = lab.folder("into")
    finish(content, samara.on_dht().download(lab, torrent, into, [peer.address]), into)


@pytest.mark.parametrize("bit", [True, False], ids=["to-a-node", "to-others"])
def test_the_port_message_is_sent(lab, world, samara, content, bit):
    """To a peer whose handshake has the bit, and to no other; and a node answers at that port."""
    torrent = content.torrent(lab.private("t.torrent"))
    ports, kinds = [], []

    def script(talk):
        talk.handshake(dht=bit)
        talk.bitfield()
        while INTERESTED not in kinds:
            kind, payload = talk.message()
            kinds.append(kind)
            if kind == PORT:
                ports.append(int.from_bytes(payload, "big"))
        talk.silence()

    leech = samara.on_dht(world.nodes[0]).download(lab, torrent, lab.folder("into"), [Fake(lab, torrent, script).address])
    wait_for("it wants something", lambda: INTERESTED in kinds)
    assert len(ports) == bit
    assert all(world.asker.answers(net.joined(leech.host, port)) for port in ports)


@pytest.mark.parametrize("way", ["download", "seed"])
def test_ipv6(lab, samara, libtorrent, content, way):
    """The same over the other of the two networks (BEP 32)."""
    nodes = [node.address for node in lt_node.network(lab, 3, [net.new_address6() for _ in range(3)])]
    torrent = content.torrent(lab.private("t.torrent"))
    ours, theirs = samara.over_ipv6().on_dht(nodes[0]), libtorrent.over_ipv6().on_dht(nodes[1])
    seeder, leecher = (theirs, ours) if way == "download" else (ours, theirs)
    seed = seeder.seed(lab, torrent, content.root)
    seed.wait_ready()
    Asker(lab, net.new_address6()).wait_announced(nodes, torrent.info_hash, seed.address)
    into = lab.folder("into")
    finish(content, leecher.download(lab, link(torrent), into), into)


@pytest.mark.parametrize("first", ["samara", "libtorrent"])
def test_a_swarm_without_a_tracker(lab, world, samara, libtorrent, content, first):
    """Five, of which one has all; everybody comes by the DHT alone and ends with all."""
    torrent = content.torrent(lab.private("t.torrent"))
    clients = {"samara": samara, "libtorrent": libtorrent}
    seed = clients[first].on_dht(world.nodes[3]).seed(lab, torrent, content.root)
    seed.wait_ready()
    world.wait_announced(torrent, seed)
    others = ["samara", "samara", "samara", "libtorrent", "libtorrent"]
    others.remove(first)
    folders = [lab.folder("into") for _ in others]
    leeches = []
    for at, (name, folder) in enumerate(zip(others, folders, strict=True)):
        client = clients[name].on_dht(world.nodes[at], world.nodes[at + 1])
        begin = client.download_and_stay if name == "samara" else client.download
        leeches.append(begin(lab, link(torrent), folder))
    for leech, folder in zip(leeches, folders, strict=True):
        wait_for("a leech has all", lambda: not payloads.differences(content, folder))  # noqa: B023 - called at once
        assert leech.process.running(), leech.process.tail()


def test_the_table_outlives_the_program(lab, world, samara, libtorrent, content):
    """The second run finds its way although the node by which the first one joined is gone, and no other is named."""
    torrent, guide = seeded_with_guide(lab, world, libtorrent, content)
    state = lab.folder("state")
    other = payloads.single(lab.folder("payload"), 64 * KIB, 16 * KIB, name="other.bin", seed=96).torrent(lab.private("other.torrent"))
    first = samara.on_dht(guide.address, state=state).download(lab, other, lab.folder("into"))
    ours = net.joined(first.host, first.port)
    wait_for("it has joined", lambda: len(world.asker.nodes(ours)) >= 4, 30)
    assert first.stop() in (0, 130), first.process.tail()
    guide.close()
    lost = samara.on_dht(guide.address).download(lab, link(torrent), lab.folder("into"), [], "--timeout", "5s")
    assert lost.process.wait_exit() == contract.NETWORK, lost.process.tail()
    into = lab.folder("into")
    finish(content, samara.on_dht(state=state).download(lab, link(torrent), into), into)
