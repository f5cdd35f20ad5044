"""Peers that lie, babble, dawdle and die, made by hand: a download from them and one honest seed is right, bounded, and ends."""

import os
import random
import struct
import threading

import pytest

import payload as payloads
from peers import fake
from peers.fake import BLOCK, Fake, honest
from peers.process import DEADLINE_S, PeakMemory, wait_for

MIB = 1 << 20
# The content is 6 MiB; what the program itself needs is far below this.
MEMORY_LIMIT = 96 * MIB


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return payloads.single(tmp_path_factory.mktemp("payload"), 6 * MIB + 4321, 128 << 10, seed=11)


# Liars. Each is tried together with an honest seed that holds back until the lie was told.


def oversized_length(talk):
    talk.handshake()
    talk.bitfield()
    talk.raw(struct.pack(">IB", 0x7FFF_FFFF, fake.PIECE))
    while True:
        talk.raw(os.urandom(1 << 16))


def oversized_bitfield(talk):
    talk.handshake()
    talk.raw(struct.pack(">IB", 200 << 20, fake.BITFIELD))
    while True:
        talk.raw(b"\xff" * (1 << 16))


def bitfield_with_spare_bits(talk):
    talk.handshake()
    count = talk.torrent.payload.piece_count
    assert count % 8, "the payload leaves spare bits"
    talk.send(fake.BITFIELD, b"\xff" * -(-count // 8))
    talk.silence()


def unasked_blocks(talk):
    talk.handshake()
    talk.bitfield()
    for index in range(40):
        talk.serve(index, 0, BLOCK, data=bytes(BLOCK))
    talk.silence()


def wrong_bytes(talk):
    talk.handshake()
    talk.bitfield()
    for index, begin, length in talk.requests():
        talk.serve(index, begin, length, data=bytes(length))


def one_block_in_ten_wrong(talk):
    talk.handshake()
    talk.bitfield()
    draw = random.Random(5)
    for index, begin, length in talk.requests():
        data = bytearray(talk.block(index, begin, length))
        if draw.random() < 0.1:
            data[draw.randrange(length)] ^= 0xFF
        talk.serve(index, begin, length, data=bytes(data))


def have_out_of_range(talk):
    talk.handshake()
    talk.have(talk.torrent.payload.piece_count)
    talk.have(0xFFFF_FFFF)
    talk.silence()


def garbage_for_handshake(talk):
    talk.raw(random.Random(6).randbytes(4096))
    talk.silence()


def garbage_after_handshake(talk):
    talk.handshake()
    talk.raw(random.Random(7).randbytes(65536))
    talk.silence()


def web_server(talk):
    talk.raw(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html></html>")
    talk.silence()


def other_torrent(talk):
    ours = b"\x13BitTorrent protocol" + bytes(8) + b"\x55" * 20 + talk.peer.peer_id
    talk.take(68)
    talk.raw(ours)
    talk.silence()


def silent_from_the_start(talk):
    talk.silence()


def silent_after_handshake(talk):
    talk.handshake()
    talk.bitfield()
    talk.silence()


def unchokes_and_serves_nothing(talk):
    talk.handshake()
    talk.bitfield()
    for _ in talk.requests():
        pass


def wrong_block_length(talk):
    talk.handshake()
    talk.bitfield()
    for index, begin, length in talk.requests():
        talk.serve(index, begin, length, data=talk.block(index, begin, length) + b"!" * 3)


def block_out_of_range(talk):
    talk.handshake()
    talk.bitfield()
    for _, _, length in talk.requests():
        talk.serve(0xFFFF_FFF0, 0xFFFF_FFF0, length, data=bytes(length))


LIARS = [
    oversized_length,
    oversized_bitfield,
    bitfield_with_spare_bits,
    unasked_blocks,
    wrong_bytes,
    one_block_in_ten_wrong,
    have_out_of_range,
    garbage_for_handshake,
    garbage_after_handshake,
    web_server,
    other_torrent,
    silent_from_the_start,
    silent_after_handshake,
    unchokes_and_serves_nothing,
    wrong_block_length,
    block_out_of_range,
]
ASKED_FIRST = {wrong_bytes, one_block_in_ten_wrong, unchokes_and_serves_nothing, wrong_block_length, block_out_of_range}


@pytest.mark.parametrize("liar", LIARS, ids=lambda script: script.__name__)
def test_liar_beside_an_honest_seed(lab, content, subject, liar):
    torrent = content.torrent(lab.private("t.torrent"))
    bad = Fake(lab, torrent, liar)

    def patient(talk):
        if liar in ASKED_FIRST:
            bad.wait("the liar was asked for blocks", lambda peer: peer.request_count() > 2)
        else:
            bad.wait("the liar had its turn", lambda peer: peer.connections)
        honest(talk)

    good = Fake(lab, torrent, patient)
    into = lab.folder("into")
    download = subject.download(lab, torrent, into, [bad.address, good.address])
    with PeakMemory(download.process) as memory:
        download.wait_complete()
    assert not payloads.differences(content, into)
    assert not bad.failures and not good.failures
    assert memory.peak < MEMORY_LIMIT
    blocks = -(-content.size // BLOCK)
    assert bad.request_count() <= 2 * blocks, "a bad peer is not asked without limit"
    assert bad.connections <= 5, "nor dialled without limit"


def test_corrupter_alone_is_asked_no_more_than_once_for_all(lab, content, samara):
    """With nobody else to ask, the download cannot end; but the corrupter is found out and left alone."""
    torrent = content.torrent(lab.private("t.torrent"))
    bad = Fake(lab, torrent, wrong_bytes)
    download = samara.download(lab, torrent, lab.folder("into"), [bad.address])
    bad.wait("the corrupter is hung up on", lambda peer: peer.hung_up)
    count = bad.request_count()
    assert count <= 2 * -(-content.size // BLOCK)
    download.stop()
    assert bad.request_count() <= 2 * count


# Peers that are odd but right: alone, each must do.


def interleaved(talk):
    talk.handshake()
    talk.bitfield()
    for count, (index, begin, length) in enumerate(talk.requests()):
        talk.have(count % talk.torrent.payload.piece_count)
        talk.keep_alive()
        talk.serve(index, begin, length)
        talk.keep_alive()


def lazy_bitfield(talk):
    talk.handshake()
    count = talk.torrent.payload.piece_count
    late = set(range(0, count, 3))
    talk.bitfield(set(range(count)) - late)
    for index in late:
        talk.have(index)
    for request in talk.requests():
        talk.serve(*request)


def no_bitfield_only_haves(talk):
    talk.handshake()
    for index in range(talk.torrent.payload.piece_count):
        talk.have(index)
    for request in talk.requests():
        talk.serve(*request)


def pieces_come_one_by_one(talk):
    """A leech at work: it tells of each next piece only when the last was fetched."""
    talk.handshake()
    content = talk.torrent.payload
    told, left = 0, 0
    talk.have(0)
    left = min(content.piece_length, content.size)
    for index, begin, length in talk.requests():
        talk.serve(index, begin, length)
        left -= length
        if left <= 0 and told + 1 < content.piece_count:
            told += 1
            talk.have(told)
            left = min(content.piece_length, content.size - told * content.piece_length)


def chokes_midway(talk):
    """Chokes after every 50 blocks, forgets what was asked and what is still on its way (BEP 3), then unchokes again."""
    talk.handshake()
    talk.bitfield()
    served = 0
    for index, begin, length in talk.requests():
        talk.serve(index, begin, length)
        served += 1
        if served % 50 == 0:
            talk.send(fake.CHOKE)
            while not talk.quiet():
                talk.message()
            talk.send(fake.UNCHOKE)


def backwards(talk):
    """Answers what it was asked in the reverse order, as many at a time as come at once."""
    talk.handshake()
    talk.bitfield()
    held = []
    for request in talk.requests():
        held.append(request)
        if len(held) == 8 or talk.quiet(0.01):
            while held:
                talk.serve(*held.pop())


def unknown_extensions(talk):
    """Extensions we never heard of, values of a kind nobody expects, and the extension handshake sent again (BEP 10)."""
    talk.handshake(extensions=True)
    talk.send(fake.EXTENDED, b"\x00d1:md6:ut_fooi7e11:ut_metadatai3ee1:v3:abc4:reqqi250ee")
    talk.bitfield()
    for request in talk.requests():
        talk.send(fake.EXTENDED, b"\x00d1:md6:ut_bari0ee1:pi0e4:reqqi250e6:yourip4:\x0a\x4d\x00\x02e")
        talk.serve(*request)


def in_crumbs(talk):
    """Every block in segments of a few bytes at its front, so that no header comes whole."""
    talk.handshake()
    talk.bitfield()
    for index, begin, length in talk.requests():
        message = struct.pack(">IBII", 9 + length, fake.PIECE, index, begin) + talk.block(index, begin, length)
        for at in range(0, 20, 3):
            talk.raw(message[at : at + 3])
        talk.raw(message[21:])
        talk.peer.note_served(index, begin, length)


ODD = [
    interleaved,
    lazy_bitfield,
    no_bitfield_only_haves,
    pieces_come_one_by_one,
    chokes_midway,
    backwards,
    unknown_extensions,
    in_crumbs,
]


@pytest.mark.parametrize("script", ODD, ids=lambda script: script.__name__)
def test_odd_but_right_peer(lab, content, subject, script):
    torrent = content.torrent(lab.private("t.torrent"))
    seed = Fake(lab, torrent, script)
    into = lab.folder("into")
    subject.download(lab, torrent, into, [seed.address]).wait_complete()
    assert not payloads.differences(content, into)
    assert not seed.failures
    assert seed.served_bytes() < content.size * 1.02, "hardly a block came twice"


def test_dying_peer_loses_nothing(lab, content, subject):
    """It dies in the middle of a block, after two mebibytes; nothing that it sent whole is fetched again."""
    torrent = content.torrent(lab.private("t.torrent"))
    died = threading.Event()

    def dies(talk):
        if died.is_set():
            return
        talk.handshake()
        talk.bitfield()
        for index, begin, length in talk.requests():
            if talk.peer.served_bytes() > 2 * MIB:
                talk.raw(struct.pack(">IBII", 9 + length, fake.PIECE, index, begin) + bytes(100))
                died.set()
                talk.finish()
            talk.serve(index, begin, length)

    def patient(talk):
        assert died.wait(DEADLINE_S)
        honest(talk)

    dying, good = Fake(lab, torrent, dies), Fake(lab, torrent, patient)
    into = lab.folder("into")
    subject.download(lab, torrent, into, [dying.address, good.address]).wait_complete()
    assert not payloads.differences(content, into)
    assert not dying.failures and not good.failures
    twice = set(dying.served) & set(good.served)
    assert not twice, f"{len(twice)} blocks were fetched again"


def test_waiting_for_a_partial_peer_costs_no_cpu(lab, content, samara):
    """The only peer has every other piece: once those are here, the program waits, and sleeps."""
    torrent = content.torrent(lab.private("t.torrent"))

    def half(talk):
        talk.handshake()
        talk.bitfield(range(0, content.piece_count, 2))
        for request in talk.requests():
            talk.serve(*request)

    seed = Fake(lab, torrent, half)
    download = samara.download(lab, torrent, lab.folder("into"), [seed.address])
    offered = sum(
        min(content.piece_length, content.size - i * content.piece_length) for i in range(0, content.piece_count, 2)
    )
    seed.wait("all it has was fetched", lambda peer: peer.served_bytes() >= offered)
    used = []

    def quiet():
        """True when a whole second went by with under two hundredths of CPU time."""
        with open(f"/proc/{download.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        used.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        return len(used) > 50 and used[-1] - used[-51] <= 0.02

    wait_for("a second that costs no CPU", quiet, 15)
    assert download.process.running()
    assert seed.served_bytes() == offered
