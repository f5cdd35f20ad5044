"""How long it takes from a magnet link to its metadata and to the first block, with a DHT of 32 nodes as the only way.

    cargo build --release
    python -m pytest -s tests/interop/bench_link.py

Five rounds for each seed; in each, samara and libtorrent take turns at who is first, each with a torrent, a seed and a state of its own.
Times are those of packets on the wire: the same clock and the same events for both. The clock begins when samara's process is started,
and with libtorrent's session (its Python was already there). Pieces have the size of a block, so the first block is the first piece.
"Joined before" is libtorrent that takes the link when it has long been in the DHT; the others begin with nothing.

Prints a table of medians in milliseconds, and one JSON object with every measurement; `INTEROP_REPORT` names a file that gets the object as well.
"""

import json
import os
import statistics
import time

import payload as payloads
from peers import lt_node
from peers.capture import EXTENDED, PIECE, Capture, between
from peers.clients import Libtorrent
from peers.krpc import Asker
from peers.process import wait_for
from test_magnet import link

KIB, MIB = 1 << 10, 1 << 20
NODES = 32
ROUNDS = int(os.environ.get("INTEROP_ROUNDS", "5"))
PHASES = {
    "first DHT packet": "its first question to the DHT",
    "DHT answers": "the first answer",
    "asks for peers": "its first `get_peers` for the torrent",
    "seed named": "a node's answer names the seed",
    "dials": "the first TCP connection between the two",
    "handshake": "the seed's handshake",
    "metadata": "the last part of the metadata",
    "first block": "the first block",
}


class World:
    def __init__(self, lab, samara):
        self.asker = Asker(lab)
        theirs = lt_node.network(lab, NODES // 2)
        self.nodes = [node.address for node in theirs]
        ours = []
        for at in range(NODES // 2):
            ours.append(samara.node(lab, self.nodes[at], self.nodes[-1]))
            self.nodes.append(ours[-1].address)
        for node in ours:
            wait_for("a node knows enough others", lambda: len(self.asker.nodes(node.address)) >= 8, 60)  # noqa: B023 - called at once
        for node in theirs:
            node.knows(*(our.address for our in ours))
        self.ways_in = [self.nodes[0], self.nodes[-1]]


def phases(capture, begun, client, seed, info_hash):
    """Seconds from `begun` to each phase, by what passed the wire."""
    datagrams, streams = capture.look()
    at = {}

    def first(phase, moment):
        at.setdefault(phase, round(moment - begun, 4))

    for datagram in datagrams:
        message = datagram.dht()
        if message is None:
            continue
        if datagram.source[0] == client and message[b"y"] == b"q":
            first("first DHT packet", datagram.at)
            if message[b"q"] == b"get_peers" and message[b"a"].get(b"info_hash") == info_hash:
                first("asks for peers", datagram.at)
        if datagram.to[0] == client and message[b"y"] == b"r":
            first("DHT answers", datagram.at)
            packed = bytes(map(int, seed.host.split("."))) + seed.port.to_bytes(2, "big")
            if packed in message[b"r"].get(b"values", []):
                first("seed named", datagram.at)
    met = [s for s in between(streams, client, seed.host) if s.info_hash == info_hash]
    first("dials", min(s.begun for s in met))
    told = [s for s in met if s.source[0] == seed.host]
    first("handshake", min(s.shaken for s in told))
    metadata = [m.at for s in told for m in s.of(EXTENDED) if b"8:msg_typei1e" in m.payload]
    first("metadata", max(metadata))
    first("first block", min(m.at for s in told for m in s.of(PIECE)))
    return at


def measure(lab, world, capture, client, seeder, number):
    """One download of a fresh torrent from a fresh seed."""
    content = payloads.single(lab.folder("payload"), 2 * MIB, 16 * KIB, name=f"{number}.bin", seed=number)
    torrent = content.torrent(lab.private("t.torrent"))
    seed = seeder.seed(lab, torrent, content.root)
    seed.wait_ready()
    world.asker.wait_announced(world.nodes, torrent.info_hash, seed.address)
    into = lab.folder("into")
    begun = time.monotonic()
    leech = client.download(lab, link(torrent), into)
    leech.wait_complete()
    assert not payloads.differences(content, into)
    if client.name == "libtorrent":  # says when its session is about to be, or, joined before, when it takes the link
        begun = leech.wait_event("start")
    assert capture.complete()
    found = phases(capture, begun, leech.host, seed, torrent.info_hash)
    leech.stop()
    seed.stop()
    return found


def test_link_to_first_block(lab, samara):
    world, capture = World(lab, samara), Capture(lab)
    theirs = Libtorrent("--no-pex", "--timings").on_dht(*world.ways_in)
    joined = Libtorrent("--no-pex", "--timings", "--join-first").on_dht(*world.ways_in)
    seeders = {"samara": samara.on_dht(*world.ways_in), "libtorrent": theirs}
    clients = seeders | {"libtorrent, joined before": joined}
    runs = []
    for number in range(ROUNDS):
        for seeder in seeders:
            for client in sorted(clients, reverse=number % 2 == 0):
                found = measure(lab, world, capture, clients[client], seeders[seeder], len(runs) + 1)
                runs.append({"round": number, "seed": seeder, "client": client, "seconds": found})
    print("\n\n| seed | client | " + " | ".join(PHASES) + " |")
    print("| --- | --- |" + " --: |" * len(PHASES))
    for seeder in seeders:
        for client in clients:
            these = [run["seconds"] for run in runs if (run["seed"], run["client"]) == (seeder, client)]
            cells = []
            for phase in PHASES:
                known = [run[phase] for run in these if phase in run]
                median = statistics.median(known) if known else -1
                cells.append(f"{median * 1000:.0f}" if median >= 0 else "–")
            print(f"| {seeder} | {client} | " + " | ".join(cells) + " |")
    report = json.dumps({"nodes": NODES, "rounds": ROUNDS, "runs": runs})
    print(report)
    if path := os.environ.get("INTEROP_REPORT"):
        with open(path, "a", encoding="utf-8") as out:
            out.write(report + "\n")
