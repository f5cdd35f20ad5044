"""Trackers that answer what no tracker should, and write down what they were asked."""

import gzip
import http.server
import socket
import struct
import threading
import time
import urllib.parse
import zlib

from peers import net

import bencode


def failure(_):
    return 200, {}, bencode.encode({"failure reason": "torrent not registered with this tracker"})


def html(_):
    return 200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html><body><h1>Welcome to nginx!</h1></body></html>"


def not_found(_):
    return 404, {"Content-Type": "text/html"}, b"<html>404 Not Found</html>"


def gzip_bomb(_):
    """512 MiB of zeros inside half a mebibyte, that would be a valid answer if one held it all."""
    squeeze = zlib.compressobj(9, wbits=31)
    packed = squeeze.compress(b"d8:intervali1800e5:peers536870912:")
    for _ in range(512):
        packed += squeeze.compress(bytes(1 << 20))
    packed += squeeze.compress(b"e") + squeeze.flush()
    return 200, {"Content-Encoding": "gzip"}, packed


def nothing(_):
    return 200, {}, b""


def hangs_up(_):
    return None


def truncated(_):
    return 200, {}, b"d8:intervali1800e5:peers600:abc"


def endless(_):
    """Says that four gibibytes follow; sends as much as is taken."""
    return 200, {"X-Endless": "1"}, b""


def drips(_):
    """Says that something follows, and sends a byte of it now and then."""
    return 200, {"X-Drip": "1"}, b"d8:intervali1800e5:peers999999:"


def redirect_loop(_):
    return 302, {"Location": "/announce?again"}, b""


def redirect_to_the_machine(_):
    """To what may be a router's or a program's page, on this machine."""
    return 302, {"Location": "http://127.0.0.1:80/reboot?now=1"}, b""


def redirect_to_a_file(_):
    return 302, {"Location": "file:///etc/passwd"}, b""


def million_peers(_):
    """Six megabytes of addresses."""
    peers = b"".join(struct.pack(">IH", 0x0A000001 + i, 6881) for i in range(1_000_000))
    return 200, {}, bencode.encode({"interval": 1800, "peers": peers})


def warning(*addresses):
    """A right answer with something to be shown."""

    def answer(query):
        status, headers, body = compact_peers(*addresses)(query)
        return status, headers, body[:-1] + bencode.encode({"warning message": "your client is out of date"})[1:]

    return answer


def dictionary_peers(*addresses):
    """The answer of the first trackers, with one dictionary a peer (BEP 3), as some still give it."""

    def answer(_):
        peers = [{"ip": host, "port": int(port), "peer id": "x" * 20} for host, port in (a.rsplit(":", 1) for a in addresses)]
        return 200, {}, bencode.encode({"interval": 1800, "peers": peers})

    return answer


def compact_peers(*addresses, packed=False):
    """A right answer, gzipped if asked."""

    def answer(_):
        pairs = [a.rsplit(":", 1) for a in addresses]
        peers = b"".join(socket.inet_aton(host) + struct.pack(">H", int(port)) for host, port in pairs)
        body = bencode.encode({"interval": 1800, "peers": peers})
        return (200, {"Content-Encoding": "gzip"}, gzip.compress(body)) if packed else (200, {}, body)

    return answer


class BadTracker:
    """An HTTP tracker that gives `answer(query)`: (status, headers, body), or None to hang up. `queries` are what it was asked."""

    def __init__(self, lab, answer):
        tracker = self
        self.queries = []
        self.raw_queries = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # noqa: N802 - the name http.server wants
                raw = self.path.partition("?")[2]
                query = dict(urllib.parse.parse_qsl(raw, encoding="latin-1", keep_blank_values=True))
                tracker.raw_queries.append(self.path)
                tracker.queries.append(query)
                got = answer(query)
                self.close_connection = True
                if got is None:
                    return
                status, headers, body = got
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Connection", "close")
                if "X-Drip" in headers:
                    self.send_header("Content-Length", str(1 << 20))
                    self.end_headers()
                    self._drip(body)
                    return
                if "X-Endless" in headers:
                    self.send_header("Content-Length", str(4 << 30))
                    self.end_headers()
                    self._flood()
                    return
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass  # it was told enough

            def _drip(self, body):
                try:
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(1)
                except OSError:
                    pass

            def _flood(self):
                try:
                    for _ in range(4 << 10):
                        self.wfile.write(bytes(1 << 20))
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.host = net.new_address()
        self._server = http.server.ThreadingHTTPServer((self.host, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        lab.closing(self)

    def url(self, path="/announce"):
        return f"http://{self.host}:{self.port}{path}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class BadUdpTracker:
    """A UDP tracker (BEP 15) that connects as it should and then gives `answer(transaction, packet)`, or nothing for None."""

    def __init__(self, lab, answer):
        self._answer = answer
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self.host = net.new_address()
        self._socket.bind((self.host, 0))
        self.port = self._socket.getsockname()[1]
        self.packets = 0
        threading.Thread(target=self._serve, daemon=True).start()
        lab.closing(self)

    def _serve(self):
        while True:
            try:
                packet, source = self._socket.recvfrom(4096)
            except OSError:
                return
            self.packets += 1
            if len(packet) < 16:
                continue
            action, transaction = struct.unpack(">II", packet[8:16])
            if action == 0:
                reply = struct.pack(">IIQ", 0, transaction, 0x1122334455667788)
            else:
                reply = self._answer(transaction, packet)
            if reply is not None:
                self._socket.sendto(reply, source)

    def url(self):
        return f"udp://{self.host}:{self.port}/announce"

    def close(self):
        self._socket.close()


def udp_failure(transaction, _):
    return struct.pack(">II", 3, transaction) + b"torrent not registered with this tracker"


def udp_garbage(transaction, _):
    return struct.pack(">II", 1, transaction) + b"\xff" * 7  # an announce answer that ends in the middle of its header


def udp_stranger(transaction, _):
    return struct.pack(">IIIII", 1, transaction ^ 1, 1800, 0, 0)  # an answer to a question that nobody asked


def udp_silence(_transaction, _packet):
    return None
