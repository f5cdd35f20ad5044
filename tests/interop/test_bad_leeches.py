"""A seed of ours towards leeches that ask what nobody should, flood, or say nothing; and towards requests that are unusual but legal."""

import struct

import pytest

import payload as payloads
from peers import fake
from peers.clients import Libtorrent
from peers.fake import BLOCK, Closed, dial
from peers.process import PeakMemory

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return payloads.single(tmp_path_factory.mktemp("payload"), 6 * MIB + 4321, 256 * KIB, seed=12)


@pytest.fixture
def seed(lab, content, subject):
    torrent = content.torrent(lab.private("t.torrent"))
    transfer = subject.seed(lab, torrent, content.root)
    transfer.wait_ready()
    transfer.torrent = torrent
    transfer.data = content.read()
    return transfer


def unchoked(lab, seed):
    talk = dial(lab, seed.torrent, seed.address, seed.data)
    talk.handshake()
    talk.send(fake.INTERESTED)
    talk.until(fake.UNCHOKE)
    return talk


def ask(talk, index, begin, length):
    talk.send(fake.REQUEST, struct.pack(">III", index, begin, length))


def answer(talk):
    """The next block: (index, begin, data)."""
    payload = talk.until(fake.PIECE)
    return (*struct.unpack(">II", payload[:8]), payload[8:])


def still_serves(lab, seed):
    into = lab.folder("into")
    Libtorrent().download(lab, seed.torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(seed.torrent.payload, into)
    assert seed.process.running()


@pytest.mark.parametrize("length", [1, 1000, BLOCK, 2 * BLOCK, 128 * KIB])
def test_any_legal_block_size_is_served(lab, seed, length):
    talk = unchoked(lab, seed)
    for index, begin in ((0, 0), (3, 5), (7, 256 * KIB - length)):
        ask(talk, index, begin, length)
        assert answer(talk) == (index, begin, talk.block(index, begin, length))


def test_the_last_short_block(lab, seed, content):
    talk = unchoked(lab, seed)
    index = content.piece_count - 1
    length = content.size - index * content.piece_length
    ask(talk, index, 0, length)
    assert answer(talk) == (index, 0, talk.block(index, 0, length))


def test_stray_messages_never_shift_replies(lab, seed, content):
    """HAVE, keep-alive, and not-interested-and-back between requests: every answer belongs to its own request, in order."""
    talk = unchoked(lab, seed)
    asked = [(n * 7 % (content.piece_count - 1), n % 16 * BLOCK, BLOCK) for n in range(200)]
    for n, request in enumerate(asked):
        talk.have(n % (content.piece_count // 2))  # never all: two seeds have nothing to say to each other
        talk.keep_alive()
        ask(talk, *request)
        if n % 20 == 19:
            for index, begin, length in asked[n - 19 : n + 1]:
                assert answer(talk) == (index, begin, talk.block(index, begin, length))


# What a bad leech sends; then the seed must still serve others.


def oversized_message(talk):
    talk.raw(struct.pack(">IB", 0x7FFF_FFFF, fake.BITFIELD))
    for _ in range(1024):
        talk.raw(bytes(1 << 16))


def asks_while_choked(talk):
    for index in range(20):
        ask(talk, index, 0, BLOCK)


def asks_too_much_at_once(talk):
    talk.send(fake.INTERESTED)
    talk.until(fake.UNCHOKE)
    ask(talk, 0, 0, 1 << 30)


def asks_beyond_the_end(talk):
    talk.send(fake.INTERESTED)
    talk.until(fake.UNCHOKE)
    ask(talk, talk.torrent.payload.piece_count - 1, 128 * KIB, BLOCK)
    ask(talk, 0xFFFF_FFFF, 0, BLOCK)
    ask(talk, 0, 0xFFFF_FFF0, BLOCK)
    ask(talk, 0, 0, 0)


def floods_with_requests(talk):
    """A hundred thousand requests, and not one answer read."""
    talk.send(fake.INTERESTED)
    talk.until(fake.UNCHOKE)
    one = struct.pack(">IBIII", 13, fake.REQUEST, 0, 0, BLOCK)
    for _ in range(100):
        talk.raw(one * 1000)


def garbage(talk):
    talk.raw(b"\x00\x00\x00\x05\x04" + b"\xff" * 4096)


def wrong_sizes(talk):
    talk.send(fake.HAVE, b"\x00")
    talk.send(fake.REQUEST, bytes(5))
    talk.send(fake.CHOKE, b"surplus")


def repeated_bitfields(talk):
    for _ in range(100):
        talk.bitfield()


BAD = [
    oversized_message,
    asks_while_choked,
    asks_too_much_at_once,
    asks_beyond_the_end,
    floods_with_requests,
    garbage,
    wrong_sizes,
    repeated_bitfields,
]


@pytest.mark.parametrize("script", BAD, ids=lambda script: script.__name__)
def test_bad_leech_harms_nobody_else(lab, seed, script):
    talk = dial(lab, seed.torrent, seed.address, seed.data)
    with PeakMemory(seed.process) as memory:
        try:
            talk.handshake()
            talk._sock.settimeout(5)
            script(talk)
        except Closed:
            pass  # hung up on: one right answer
        still_serves(lab, seed)
    assert memory.peak < 96 * MIB


def test_nothing_is_served_while_choked(lab, seed):
    """Requests from before the unchoke are not answered, then or later; the first after it is."""
    talk = dial(lab, seed.torrent, seed.address, seed.data)
    talk.handshake()
    asks_while_choked(talk)
    talk.send(fake.INTERESTED)
    kind = None
    while kind != fake.UNCHOKE:
        kind, _ = talk.message()
        assert kind != fake.PIECE
    ask(talk, 23, 7, BLOCK)
    assert answer(talk) == (23, 7, talk.block(23, 7, BLOCK))


def test_other_info_hash_gets_no_handshake(lab, seed, content):
    other = payloads.single(lab.folder("other"), 100_000, 16 * KIB, seed=13).torrent(lab.private("o.torrent"))
    talk = dial(lab, other, seed.address)
    talk.raw(b"\x13BitTorrent protocol" + bytes(8) + other.info_hash + b"-XX0002-interopcallr")
    with pytest.raises(Closed):
        talk.take(68)


def test_a_hundred_silent_connections_keep_nobody_out(lab, seed):
    talks = [dial(lab, seed.torrent, seed.address) for _ in range(100)]
    assert len(talks) == 100
    still_serves(lab, seed)
