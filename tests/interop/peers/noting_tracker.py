"""An HTTP tracker that prints who announces, one JSON object a line. Run by itself, so that it can live on another machine.

python noting_tracker.py HOST PORT PEER...
"""

import http.server
import json
import socket
import struct
import sys
import urllib.parse


def _peers(named):
    pairs = (address.rsplit(":", 1) for address in named)
    return b"".join(socket.inet_aton(host) + struct.pack(">H", int(port)) for host, port in pairs)


def main(host, port, *named):
    peers = _peers(named)
    # It wants to be left alone for ten minutes.
    body = b"d8:intervali1800e12:min intervali600e5:peers%d:%se" % (len(peers), peers)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):  # noqa: N802 - the name http.server wants
            query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2], encoding="latin-1", keep_blank_values=True))
            print(json.dumps({"ip": self.client_address[0], "port": query.get("port"), "event": query.get("event", "")}), flush=True)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    print(json.dumps({"ready": True}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
