"""Items of the DHT (BEP 44) and links that follow them (BEP 46), through nodes of libtorrent and of samara."""

import hashlib
import stat

import pytest

import bencode
import payload as payloads
from peers import ed25519, lt_node
from peers import samara as contract
from peers.clients import Libtorrent
from peers.krpc import Asker, signed
from test_magnet import Link

KIB, MIB = 1 << 10, 1 << 20
SECRET = bytes(range(32))


class World:
    """Three nodes of libtorrent and two of samara."""

    def __init__(self, lab, samara):
        self.asker = Asker(lab)
        self.libtorrent = lt_node.network(lab, 3)
        nodes = [node.address for node in self.libtorrent]
        ours = [samara.node(lab, *nodes) for _ in range(2)]
        for node in ours:
            node.wait_event("it has joined", lambda event: event["type"] == "dht_joined")
        for node in self.libtorrent:
            node.knows(*(our.address for our in ours))
        self.samara = [our.address for our in ours]
        self.nodes = [*nodes, *self.samara]


@pytest.fixture
def world(lab, samara):
    return World(lab, samara)


@pytest.fixture
def key_file(lab):
    path = lab.private("key")
    path.write_text(SECRET.hex() + "\n")
    return path


def test_an_immutable_item_of_libtorrent(lab, world, samara):
    target, nodes = world.libtorrent[0].put(b"put by libtorrent")
    assert nodes >= 3
    assert samara.dht(lab, world.samara[1], "get", target.hex())["value"] == "put by libtorrent"


def test_an_immutable_item_of_samara(lab, world, samara):
    """A long one as well, which a node gives only to who has proven its address."""
    for text in ("put by samara", "long " * 180):
        put = samara.dht(lab, world.nodes[0], "put", text)
        assert put["target"] == hashlib.sha1(bencode.encode(text)).hexdigest()
        assert put["stored"] >= 3
        assert world.libtorrent[2].get(bytes.fromhex(put["target"])) == text.encode()
        assert samara.dht(lab, world.samara[0], "get", put["target"])["value"] == text


def test_what_nobody_has_stored(lab, world, samara):
    samara.dht(lab, world.nodes[0], "get", "17" * 20, code=contract.FAILED)


@pytest.mark.parametrize("salt", ["", "some salt"])
def test_signed_items(lab, world, samara, key_file, salt):
    """Put in turn by both; each verifies the other's signature, and counts on from the other's number."""
    key, extra = ed25519.public(SECRET), (["--salt", salt] if salt else [])
    first = samara.dht(lab, world.nodes[0], "put", "one", "--key-file", key_file, *extra)
    assert (first["key"], first["seq"]) == (key.hex(), 1)
    assert first["target"] == hashlib.sha1(key + salt.encode()).hexdigest()
    assert world.libtorrent[1].get_signed(key, salt.encode(), 1) == (b"one", 1)
    assert world.libtorrent[2].put_signed(ed25519.expanded(SECRET), key, b"two", salt.encode()) >= 3
    found = samara.dht(lab, world.samara[1], "get", "--key", key.hex(), *extra)
    assert (found["value"], found["seq"], found["key"]) == ("two", 2, key.hex())
    third = samara.dht(lab, world.nodes[1], "put", "three", "--key-file", key_file, *extra)
    assert third["seq"] == 3
    assert world.libtorrent[0].get_signed(key, salt.encode(), 3) == (b"three", 3)


def test_an_older_or_forged_item_is_not_taken(lab, world):
    """Asked of samara's nodes alone, one packet at a time."""
    item = signed(SECRET, "a value", 5, b"salt")
    for node in world.samara:
        assert "e" not in world.asker.put(node, **item)
        for wrong in (signed(SECRET, "older", 4, b"salt"), item | {"v": "forged", "seq": 6}, item | {"salt": b"other"}):
            assert "e" in world.asker.put(node, **wrong)
        assert world.asker.ask(node, "get", target=hashlib.sha1(item["k"] + b"salt").digest())[b"v"] == b"a value"


def test_a_key_of_one_s_own(lab, world, samara):
    path = lab.private("key")
    made = samara.run(lab, "dht", "keygen", "-o", path, "--json")
    assert made.code == contract.DONE, made.tail()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = ed25519.public(bytes.fromhex(path.read_text().strip()))
    put = samara.dht(lab, world.nodes[0], "put", "mine", "--key-file", path)
    assert put["key"] == key.hex()
    assert world.libtorrent[0].get_signed(key, number=1) == (b"mine", 1)


@pytest.mark.parametrize("by", ["samara", "the suite"])
def test_a_link_that_follows_a_key(lab, world, samara, key_file, by):
    """BEP 46: the link names a key, what it signed names the torrent, and a newer item another one."""
    versions = [payloads.single(lab.folder("payload"), 2 * MIB + n, 16 * KIB, name=f"version {n}.bin", seed=n) for n in (1, 2)]
    key = ed25519.public(SECRET)
    for number, content in enumerate(versions, 1):
        torrent = content.torrent(lab.private("t.torrent"))
        seed = Libtorrent("--no-pex").on_dht(world.nodes[0]).seed(lab, torrent, content.root)
        seed.wait_ready()
        world.asker.wait_announced(world.nodes, torrent.info_hash, seed.address)
        link = f"magnet:?xs=urn:btpk:{key.hex()}"
        if by == "samara":
            put = samara.dht(lab, world.nodes[1], "put", "--torrent", torrent.hex, "--key-file", key_file)
            assert (put["link"], put["seq"]) == (link, number)
            assert world.libtorrent[1].get_signed(key, number=number) == ({b"ih": torrent.info_hash}, number)
        else:
            for node in world.nodes:
                assert "e" not in world.asker.put(node, **signed(SECRET, {"ih": torrent.info_hash}, number))
        into = lab.folder("into")
        samara.on_dht(world.nodes[2]).download(lab, Link(link), into).wait_complete()
        assert not payloads.differences(content, into)
