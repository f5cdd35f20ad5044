"""A small BitTorrent peer of our own, for what honest clients never do: it lies, dawdles, babbles and dies as a script tells it.

A script is a plain function that gets a `Conversation` and speaks it from start to end; every connection runs it in a thread of its own.
All that the other side asks for is written down, so that a test can count it.
"""

import select
import socket
import struct
import threading
import time
from collections import Counter

from peers import net
from peers.process import DEADLINE_S, wait_for

CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE, CANCEL = range(9)
HAVE_ALL, REJECT = 14, 16
KEEP_ALIVE = -1
EXTENDED = 20
BLOCK = 16384


class Closed(Exception):
    """The other side is gone, or we are."""


class Conversation:
    """One connection, plain and blocking. `peer` is the Fake it belongs to."""

    def __init__(self, peer, sock):
        self.peer = peer
        self.torrent = peer.torrent
        self._sock = sock
        sock.settimeout(DEADLINE_S)

    @property
    def host(self):
        """The address of the other side."""
        return self._sock.getpeername()[0]

    def raw(self, data):
        """Sends bytes as they are."""
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Closed from error

    def take(self, count):
        """Exactly `count` bytes from the other side."""
        data = b""
        while len(data) < count:
            try:
                more = self._sock.recv(count - len(data))
            except OSError as error:
                raise Closed from error
            if not more:
                raise Closed
            data += more
        return data

    def handshake(self, first=True, extensions=False, dht=False, fast=False):
        """Both handshakes; `first` when we dialled. Who begins encrypted gets no answer. Reserved bits are zero unless the extension protocol, the DHT or the fast extension is asked for."""
        reserved = bytes([0, 0, 0, 0, 0, 0x10 if extensions else 0, 0, (1 if dht else 0) | (4 if fast else 0)])
        ours = b"\x13BitTorrent protocol" + reserved + self.torrent.info_hash + self.peer.peer_id
        if first:
            self.raw(ours)
        theirs = self.take(68)
        if not first and theirs[:20] == ours[:20]:
            self.raw(ours)
        return theirs

    def send(self, kind, payload=b""):
        self.raw(struct.pack(">IB", 1 + len(payload), kind) + payload)

    def keep_alive(self):
        self.raw(bytes(4))

    def have(self, index):
        self.send(HAVE, struct.pack(">I", index))

    def bitfield(self, pieces=None):
        """All pieces, or those given."""
        count = self.torrent.payload.piece_count
        bits = bytearray(-(-count // 8))
        for index in range(count) if pieces is None else pieces:
            bits[index // 8] |= 0x80 >> index % 8
        self.send(BITFIELD, bytes(bits))

    def block(self, index, begin, length):
        """The bytes of a block as they should be."""
        start = index * self.torrent.payload.piece_length + begin
        return self.peer.content[start : start + length]

    def serve(self, index, begin, length, data=None):
        """Answers a request, with the right bytes unless others are given."""
        data = self.block(index, begin, length) if data is None else data
        self.send(PIECE, struct.pack(">II", index, begin) + data)
        self.peer.note_served(index, begin, len(data))

    def message(self):
        """The next message, as (kind, payload); requests are written down."""
        length = struct.unpack(">I", self.take(4))[0]
        if length == 0:
            return KEEP_ALIVE, b""
        body = self.take(length)
        kind, payload = body[0], body[1:]
        if kind == REQUEST:
            self.peer.note_requested(*struct.unpack(">III", payload))
        elif kind == HAVE:
            self.peer.note_have(struct.unpack(">I", payload)[0])
        return kind, payload

    def requests(self):
        """The requests of the other side, as (index, begin, length), for as long as it speaks; unchokes it when it is interested."""
        while True:
            kind, payload = self.message()
            if kind == INTERESTED:
                self.send(UNCHOKE)
            elif kind == REQUEST:
                yield struct.unpack(">III", payload)

    def until(self, kind):
        """Reads on until a message of this kind, and returns its payload."""
        while True:
            got, payload = self.message()
            if got == kind:
                return payload

    def quiet(self, seconds=0.05):
        """Whether nothing came for that long: all that was on its way is here."""
        # Not select: that takes no descriptor beyond 1023.
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(seconds * 1000)

    def finish(self):
        """Sends no more, and reads on: a close with unread data would make the kernel throw away what is still on its way."""
        self._sock.shutdown(socket.SHUT_WR)
        self.silence()

    def silence(self):
        """Reads all that comes and says nothing, until the other side hangs up."""
        while True:
            self.message()

    def hang_up(self):
        """Ends the connection, also under a thread that waits for something to come."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self._sock.close()


class Fake:
    """A listening peer. `script(conversation)` runs for each connection; its end closes the connection."""

    def __init__(self, lab, torrent, script, content=None, host=None):
        self.torrent = torrent
        self.content = torrent.payload.read() if content is None else content
        self.script = script
        self.peer_id = b"-XX0001-" + str(id(self)).encode()[-12:].rjust(12, b"0")
        self.connections = 0
        self.hung_up = 0  # connections that the other side ended
        self.requested = Counter()  # (index, begin, length)
        self.served = Counter()  # (index, begin, length)
        self.haves = set()
        self.failures = []
        self._lock = threading.Lock()
        self._open = set()
        self._listener = socket.create_server((host or net.new_address(), 0))
        self.host, self.port = self._listener.getsockname()
        lab.closing(self)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(sock)
            threading.Thread(target=self._speak, args=(sock,), daemon=True).start()

    def _speak(self, sock):
        try:
            self.script(Conversation(self, sock))
        except Closed:
            self.hung_up += 1
        except Exception as error:  # noqa: BLE001 - a fault of the script itself: the test has to see it
            self.failures.append(repr(error))
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def note_requested(self, index, begin, length):
        with self._lock:
            self.requested[index, begin, length] += 1

    def note_served(self, index, begin, length):
        with self._lock:
            self.served[index, begin, length] += 1

    def note_have(self, index):
        with self._lock:
            self.haves.add(index)

    def served_bytes(self):
        with self._lock:
            return sum(length * times for (_, _, length), times in self.served.items())

    def request_count(self):
        with self._lock:
            return sum(self.requested.values())

    def wait(self, what, condition, timeout=None):
        """Waits until `condition(self)` holds."""
        wait_for(what, lambda: condition(self), timeout)

    def close(self):
        self._listener.close()
        with self._lock:
            for sock in self._open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def dial(lab, torrent, address, content=b""):
    """A conversation that we begin, as a leech towards a seed under test."""

    class Caller:
        peer_id = b"-XX0002-interopcallr"

        def __init__(self):
            self.torrent, self.content = torrent, content

        def note_requested(self, *_):
            pass

        def note_served(self, *_):
            pass

        def note_have(self, *_):
            pass

    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), DEADLINE_S, source_address=(net.new_address(), 0))
    return lab.closing(Conversation(Caller(), sock))


def honest(talk):
    """A seed as it should be."""
    talk.handshake()
    talk.bitfield()
    for request in talk.requests():
        talk.serve(*request)


class Seed(Fake):
    """An honest seed that notes what the other side claims to have, and when it first spoke.

    After `until` pieces it serves no more until `go_on`, or, with `slowly`, one block in a while.
    """

    def __init__(self, lab, torrent, until=None, slowly=False):
        self.claimed, self.greeted_at = set(), None
        self.stalled = threading.Event()
        self._slowly, self._gate = slowly, threading.Event()
        self._until = torrent.payload.piece_count if until is None else until
        super().__init__(lab, torrent, self._speak_as_seed)

    def _speak_as_seed(self, talk):
        talk.handshake()
        talk.bitfield()
        while True:
            kind, payload = talk.message()
            self.greeted_at = self.greeted_at or time.monotonic()
            if kind == BITFIELD:
                self.claimed = pieces_of(payload, self.torrent.payload.piece_count)
            elif kind == INTERESTED:
                talk.send(UNCHOKE)
            elif kind == REQUEST:
                self._answer(talk, *struct.unpack(">III", payload))

    def _answer(self, talk, index, begin, length):
        if len(self.pieces_served() | {index}) > self._until:
            self.stalled.set()
            if self._slowly:
                time.sleep(0.4)
            else:
                self._gate.wait()
        talk.serve(index, begin, length)

    def go_on(self):
        self._gate.set()

    def pieces_served(self):
        with self._lock:
            return {index for index, _, _ in self.served}

    def pieces_asked(self):
        with self._lock:
            return {index for index, _, _ in self.requested}

    def close(self):
        self._gate.set()
        super().close()


class Leech:
    """Asks a seed under test for everything it offers, over and over, and compares each block; comes back whenever it is turned away."""

    def __init__(self, lab, torrent, address):
        self.torrent, self.address = torrent, address
        self.right, self.wrong, self.offered, self.rejected, self.failures = 0, [], None, set(), []
        self._lab, self._truth = lab, torrent.payload.read()
        self._ended, self._talk = threading.Event(), None
        lab.closing(self)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while not self._ended.is_set():
            try:
                self._talk = dial(self._lab, self.torrent, self.address)
                self._speak(self._talk)
            except (Closed, OSError):
                self._ended.wait(0.05)
            except Exception as error:  # noqa: BLE001 - the test has to see it
                self.failures.append(repr(error))
                return

    def _speak(self, talk):
        talk.handshake(fast=True)
        talk.send(INTERESTED)
        offered, unchoked, asked = set(), False, 0
        while not self._ended.is_set():
            kind, payload = talk.message()
            if kind == BITFIELD:
                offered |= pieces_of(payload, self.torrent.payload.piece_count)
                self.offered = set(offered)
            elif kind == HAVE_ALL:
                offered |= set(range(self.torrent.payload.piece_count))
                self.offered = set(offered)
            elif kind == HAVE:
                offered.add(struct.unpack(">I", payload)[0])
                self.offered = set(offered)
            elif kind == UNCHOKE:
                unchoked = True
            elif kind == CHOKE:
                unchoked = False
            elif kind == REJECT:
                asked -= 1
                if unchoked:
                    offered.discard(struct.unpack_from(">I", payload)[0])
                    self.rejected.add(struct.unpack_from(">I", payload)[0])
            elif kind == PIECE:
                asked -= 1
                self._compare(payload)
            while unchoked and offered and asked < 8:
                piece = sorted(offered)[(self.right + asked) % len(offered)]
                length = min(BLOCK, len(self._truth) - piece * self.torrent.payload.piece_length)
                talk.send(REQUEST, struct.pack(">III", piece, 0, min(length, self.torrent.payload.piece_length)))
                asked += 1

    def _compare(self, payload):
        index, begin = struct.unpack(">II", payload[:8])
        start = index * self.torrent.payload.piece_length + begin
        if payload[8:] == self._truth[start : start + len(payload) - 8]:
            self.right += 1
        else:
            self.wrong.append((index, begin))

    def wait_for_more(self, blocks=200):
        goal = self.right + blocks
        wait_for(f"{blocks} more blocks", lambda: self.right >= goal or self.wrong or self.failures)
        assert not self.wrong and not self.failures, (self.wrong[:5], self.failures)

    def close(self):
        self._ended.set()
        if self._talk:
            self._talk.hang_up()


def pieces_of(bitfield, count):
    """The pieces that a bitfield message names."""
    return {i for i in range(count) if bitfield[i // 8] & 0x80 >> i % 8}
