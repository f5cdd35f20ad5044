"""What goes over the wire: a packet socket on the loopback device of the suite's own namespace, and what BitTorrent says in it.

Times are the kernel's, taken as the packet passed. Nothing is asked of the programs, so all of them are measured alike.
"""

import ctypes
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

import bencode
from peers.process import wait_for

_ETH_P_ALL = 3
_OUTGOING = 4  # sll_pkttype; on loopback each packet is seen twice, once like this
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_TCP, _UDP = 6, 17

HANDSHAKE = b"\x13BitTorrent protocol"
CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE, CANCEL, PORT = range(10)
EXTENDED = 20
LSD_PORT = 6771


@dataclass
class Datagram:
    """A UDP datagram."""

    at: float
    source: tuple
    to: tuple
    data: bytes

    def dht(self):
        """The message (BEP 5) as a dictionary, or `None` for anything else."""
        if not self.data.startswith(b"d"):
            return None
        try:
            message = bencode.decode(self.data)[0]
        except (ValueError, IndexError, RecursionError):
            return None
        return message if b"y" in message else None


@dataclass
class Message:
    """A message of the peer protocol, and when its last byte passed."""

    at: float
    kind: int
    payload: bytes


@dataclass
class Stream:
    """One direction of a TCP connection, as far as it is BitTorrent without encryption."""

    source: tuple
    to: tuple
    begun: float
    handshake: bytes = b""
    shaken: float = 0.0
    messages: list = field(default_factory=list)
    bytes: int = 0
    _next: int = -1
    _early: dict = field(default_factory=dict)
    _buffer: bytearray = field(default_factory=bytearray)
    _other: bool = False

    def segment(self, at, number, data):
        """Takes a segment, in whatever order it comes."""
        if self._next < 0:
            self._next = number
        self._early[number] = data
        while self._early:
            first = min(self._early, key=lambda n: (n - self._next + (1 << 31)) % (1 << 32))
            behind = (self._next - first) % (1 << 32)
            if behind >= 1 << 31:
                return  # a gap
            data = self._early.pop(first)
            if behind < len(data):
                self._take(at, data[behind:])
                self._next = (first + len(data)) % (1 << 32)

    def _take(self, at, data):
        self.bytes += len(data)
        if self._other:
            return
        self._buffer += data
        if not self.handshake:
            if not HANDSHAKE.startswith(bytes(self._buffer[:20])):
                self._other = True
            if self._other or len(self._buffer) < 68:
                return
            self.handshake, self.shaken = bytes(self._buffer[:68]), at
            del self._buffer[:68]
        while len(self._buffer) >= 4:
            length = struct.unpack_from(">I", self._buffer)[0]
            if len(self._buffer) < 4 + length:
                return
            if length:
                kind = self._buffer[4]
                # Of blocks only the position: payload is not what a capture is for.
                end = 13 if kind == PIECE else 4 + length
                self.messages.append(Message(at, kind, bytes(self._buffer[5:end])))
            del self._buffer[: 4 + length]

    @property
    def info_hash(self):
        return self.handshake[28:48]

    def of(self, kind):
        return [m for m in self.messages if m.kind == kind]

    def extension_handshakes(self):
        """The dictionaries of BEP 10."""
        return [bencode.decode(m.payload[1:])[0] for m in self.of(EXTENDED) if m.payload[:1] == b"\0"]

    def offers(self, extension):
        """Whether it named this extension, such as `ut_pex`, as one it understands."""
        return any(shake.get(b"m", {}).get(extension.encode(), 0) for shake in self.extension_handshakes())


class Capture:
    """All of the loopback device from now on. `datagrams` and `streams` grow while it runs."""

    def __init__(self, lab, snap=None):
        self.datagrams = []
        self.streams = []
        self._by_ends = {}
        self._snap = snap  # keep only datagrams that this accepts
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 512 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.1)
        self._dropped = self._seen = 0
        self._over = threading.Event()
        # Kernel time stamps are of the real-time clock; programs speak of the monotonic one.
        self._offset = time.monotonic() - time.time()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        lab.closing(self)

    def _read(self):
        while not self._over.is_set():
            try:
                frame, extra, _, origin = self._socket.recvmsg(1 << 17, 64)
            except TimeoutError:
                continue
            except OSError:
                return
            if origin[2] != _OUTGOING:
                continue
            at = time.monotonic()
            for level, kind, data in extra:
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", data)
                    at = seconds + nanoseconds / 1e9 + self._offset
            with self._lock:
                self._frame(at, frame)

    def _frame(self, at, frame):
        self._seen += 1
        kind = struct.unpack_from(">H", frame, 12)[0]
        if kind == 0x0800:
            begin = 14 + (frame[14] & 15) * 4
            # With segmentation left to the device a packet may say 0: then it goes to the end.
            end = 14 + (struct.unpack_from(">H", frame, 16)[0] or len(frame) - 14)
            protocol, ends = frame[23], [socket.inet_ntop(socket.AF_INET, frame[a : a + 4]) for a in (26, 30)]
        elif kind == 0x86DD:
            begin, protocol = 54, frame[20]
            end = 54 + (struct.unpack_from(">H", frame, 18)[0] or len(frame) - 54)
            ends = [socket.inet_ntop(socket.AF_INET6, frame[a : a + 16]) for a in (22, 38)]
        else:
            return
        if protocol not in (_TCP, _UDP):
            return
        source_port, to_port = struct.unpack_from(">HH", frame, begin)
        source, to = (ends[0], source_port), (ends[1], to_port)
        if protocol == _UDP:
            datagram = Datagram(at, source, to, frame[begin + 8 : end])
            if self._snap is None or self._snap(datagram):
                self.datagrams.append(datagram)
            return
        number, flags = struct.unpack_from(">I", frame, begin + 4)[0], frame[begin + 13]
        if flags & 2:  # SYN
            stream = self._by_ends[source, to] = Stream(source, to, at, _next=(number + 1) % (1 << 32))
            self.streams.append(stream)
        stream = self._by_ends.get((source, to))
        data = frame[begin + (frame[begin + 12] >> 4) * 4 : end]
        if stream and data:
            stream.segment(at, number, data)

    def complete(self):
        """Reads what is still on its way, and says whether the kernel had to drop nothing."""
        seen = -1
        while seen != self._seen:
            seen = self._seen
            time.sleep(0.15)  # longer than one wait of the reader
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, ctypes.sizeof(ctypes.c_uint) * 2)
        self._dropped += struct.unpack("II", statistics)[1]
        return self._dropped == 0

    def look(self):
        """(datagrams, streams) so far, as lists of one's own."""
        with self._lock:
            return list(self.datagrams), list(self.streams)

    def wait(self, what, condition, timeout=None):
        """Waits until `condition(datagrams, streams)` gives something true, and returns that."""
        return wait_for(what, lambda: condition(*self.look()), timeout)

    def close(self):
        self._over.set()
        self._thread.join(5)
        self._socket.close()


def between(streams, one, other):
    """Those of the streams that connect these two hosts and speak BitTorrent, either direction."""
    return [s for s in streams if {s.source[0], s.to[0]} == {one, other} and s.handshake]
