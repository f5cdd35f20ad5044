"""The DHT's questions (BEP 5, 44), asked one at a time by nobody's node: what a node of any make knows and keeps, seen from outside."""

import hashlib
import itertools
import socket
import struct
import threading
import time

import bencode
from peers import ed25519, net
from peers.process import wait_for

_numbers = itertools.count(1)


class Asker:
    """A socket that asks and is no node (BEP 43). Who takes it for one all the same is told so, rather than left to wait for it."""

    def __init__(self, lab, host=None):
        self.host = host or net.new_address()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 0))
        self._id = hashlib.sha1(self.host.encode()).digest()
        self._answers = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        lab.closing(self)

    def _listen(self):
        while True:
            try:
                data, source = self._socket.recvfrom(4096)
            except ConnectionError:
                continue  # what we sent before found nobody
            except OSError:
                return
            if not data:
                return
            message = bencode.decode(data)[0]
            if message[b"y"] == b"q":
                refusal = {"t": message[b"t"], "y": "e", "e": [204, "no node"]}
                self._socket.sendto(bencode.encode(refusal), source)
                continue
            with self._changed:
                self._answers[message[b"t"]] = message
                self._changed.notify_all()

    def ask(self, address, method, timeout=1.0, **arguments):
        """The reply's dictionary; `None` when none comes in time; an error of the node as `{"e": …}`."""
        number = struct.pack(">H", next(_numbers) % 65536)
        question = {"t": number, "y": "q", "q": method, "ro": 1, "a": {"id": self._id} | arguments}
        self._socket.sendto(bencode.encode(question), net.parted(address))
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers, timeout)
            answer = self._answers.pop(number, None)
        if answer is None:
            return None
        return answer[b"r"] if answer[b"y"] == b"r" else {"e": answer.get(b"e")}

    def answers(self, address):
        return self.ask(address, "ping") is not None

    def nodes(self, address, target=bytes(20)):
        """The endpoints that a node names as near to a target."""
        packed = (self.ask(address, "find_node", target=target) or {}).get(b"nodes", b"")
        return {net.joined(*endpoint(packed[at + 20 : at + 26])) for at in range(0, len(packed), 26)}

    def peers(self, address, info_hash):
        """The peers of a torrent that were announced to a node."""
        found = (self.ask(address, "get_peers", info_hash=info_hash) or {}).get(b"values", [])
        return {net.joined(*endpoint(packed)) for packed in found}

    def wait_announced(self, nodes, info_hash, peer, timeout=None):
        """Until one of the nodes knows this peer of the torrent. Asks rarely: some nodes turn those away who ask often."""

        def known():
            time.sleep(0.25)
            return any(peer in self.peers(node, info_hash) for node in nodes)

        wait_for(f"{peer} is announced", known, timeout)

    def put(self, address, **item):
        """Stores an item at one node; gives its reply."""
        target = hashlib.sha1(item["k"] + item.get("salt", b"")).digest() if "k" in item else hashlib.sha1(bencode.encode(item["v"])).digest()
        token = self.ask(address, "get", target=target)[b"token"]
        return self.ask(address, "put", token=token, **item)

    def close(self):
        self._socket.sendto(b"", self._socket.getsockname())  # wakes the reader, which ends at it
        self._thread.join(5)
        self._socket.close()


def signed(secret, value, number, salt=b""):
    """A mutable item (BEP 44) as arguments of `put`, signed with the key of these 32 bytes."""
    text = b"3:seqi%de1:v" % number + bencode.encode(value)
    if salt:
        text = b"4:salt" + bencode.encode(salt) + text
    item = {"k": ed25519.public(secret), "sig": ed25519.sign(secret, text), "seq": number, "v": value}
    return item | ({"salt": salt} if salt else {})


def endpoint(packed):
    """(host, port) of six or eighteen bytes."""
    family = socket.AF_INET if len(packed) == 6 else socket.AF_INET6
    return socket.inet_ntop(family, packed[:-2]), struct.unpack(">H", packed[-2:])[0]
