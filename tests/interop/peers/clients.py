"""One way to speak to every BitTorrent client of the suite.

A driver has `name`, `seed(lab, torrent, data)` and `download(lab, torrent, into, peers)`. Both give a `Transfer`; the driver knows how its
client tells that it is ready or done.
"""

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from peers import net
from peers.process import Trouble, wait_for


class Transfer:
    """A client at work on one torrent."""

    def __init__(self, process, host, port):
        self.process = process
        self.host = host
        self.port = port

    @property
    def address(self):
        return net.joined(self.host, self.port)

    def wait_ready(self, timeout=None):
        """Until the seed listens; override where the client tells more."""
        wait_for(f"{self.process.name} listens", lambda: self._alive() and net.listens(self.port, self.host), timeout)

    def wait_complete(self, timeout=None):
        """Until all of the torrent is there and right; here: until the program ends by itself with success."""
        code = self.process.wait_exit(timeout)
        if code != 0:
            raise Trouble(f"{self.process.name} ended with {code}\n{self.process.tail()}")

    def _alive(self):
        if not self.process.running():
            raise Trouble(f"{self.process.name} ended with {self.process.code}\n{self.process.tail()}")
        return True

    def stop(self):
        return self.process.stop()


class Libtorrent:
    """libtorrent's Python binding. `options` are those of lt_main.py."""

    name = "libtorrent"
    lacks_empty_files = False

    def __init__(self, *options, host=net.new_address):
        self.options = options
        self._host = host

    def on_dht(self, *nodes):
        """The same, in the DHT: joined by these nodes (HOST:PORT), or by what else it hears of."""
        return Libtorrent(*self.options, "--dht", *(f"--dht-node={node}" for node in nodes), host=self._host)

    def encrypted(self, level="rc4"):
        """The same, with encryption forced: `rc4` or, of nothing but the negotiation, `plaintext`."""
        return Libtorrent(*self.options, "--encryption", level, host=self._host)

    def over_utp(self):
        """The same, by uTP and not by TCP."""
        return Libtorrent(*self.options, "--utp", host=self._host)

    def over_ipv6(self):
        """The same, at an IPv6 address."""
        return Libtorrent(*self.options, host=net.new_address6)

    def _start(self, lab, role, torrent, directory, peers=()):
        host = self._host()
        port = net.free_port(host)
        main = Path(__file__).with_name("lt_main.py")
        argv = [sys.executable, main, role, torrent.path, directory, "--bind", host, "--port", port]
        for peer in peers:
            argv += ["--peer", peer]
        return LibtorrentTransfer(lab.start(self.name, [*argv, *self.options]), host, port, "--utp" in self.options)

    def seed(self, lab, torrent, data):
        return self._start(lab, "seed", torrent, data)

    def download(self, lab, torrent, into, peers=()):
        return self._start(lab, "download", torrent, into, peers)


class LibtorrentTransfer(Transfer):
    def __init__(self, process, host, port, utp):
        super().__init__(process, host, port)
        self.utp = utp

    def wait_event(self, name, timeout=None):
        """Until it says so, and when that was, in seconds of the monotonic clock."""

        def when(line):
            said = json.loads(line)
            return said["at"] if said["event"] == name else None

        return self.process.wait_line(name, when, timeout=timeout)

    def wait_ready(self, timeout=None):
        self.wait_event("seeding", timeout)
        if not self.utp:
            super().wait_ready(timeout)

    def wait_complete(self, timeout=None):
        self.wait_event("seeding", timeout)


class Aria2:
    """aria2c. It learns of peers from trackers alone, and does UDP trackers only where its DHT is on (which meets nobody here)."""

    name = "aria2"
    lacks_empty_files = False

    def __init__(self, lsd=False, options=()):
        self._lsd = lsd
        self._options = options

    def encrypted(self):
        """The same, with encryption forced."""
        return Aria2(self._lsd, ["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"])

    def _start(self, lab, name, torrent, directory, options):
        host = net.new_address()
        port, dht = net.free_port(host), net.free_port(host)
        argv = [
            "aria2c", "--no-conf", "--console-log-level=notice", "--summary-interval=0", "--show-console-readout=false",
            "--interface=" + host, f"--listen-port={port}", "--disable-ipv6=true", "--enable-dht=true", "--enable-dht6=false",
            f"--dht-listen-port={dht}", f"--dht-file-path={lab.private('dht')}", *self._lpd(host), "--file-allocation=none",
            "--auto-save-interval=0", f"--dir={directory}", *self._options, *options, str(torrent.path),
        ]  # fmt: skip
        return Transfer(lab.start(name, argv), host, port)

    def _lpd(self, host):
        return ["--bt-enable-lpd=true", f"--bt-lpd-interface={host}"] if self._lsd else ["--bt-enable-lpd=false"]

    def seed(self, lab, torrent, data):
        return self._start(lab, "aria2", torrent, data, ["--check-integrity=true", "--seed-ratio=0.0"])

    def download(self, lab, torrent, into, peers=()):
        return self._start(lab, "aria2", torrent, into, ["--seed-time=0"])


class Transmission:
    """transmission-daemon, driven through its RPC; encryption preferred, as it comes out of the box."""

    name = "transmission"
    lacks_empty_files = True  # 3.00 never makes them

    def __init__(self, lsd=False, encryption=1, utp=False):
        self._lsd = lsd
        self._encryption = encryption
        self._utp = utp

    def encrypted(self):
        """The same, with encryption forced."""
        return Transmission(self._lsd, 2, self._utp)

    def over_utp(self):
        """The same, with uTP as well: TCP cannot be turned off, so the other side has to refuse it."""
        return Transmission(self._lsd, self._encryption, utp=True)

    def _start(self, lab, torrent, directory):
        # It announces itself locally from the address that the route says, not from the one it is bound to.
        home, host = lab.folder("transmission"), net.ADDRESS if self._lsd else net.new_address()
        port, rpc = net.free_port(host), net.free_port(host)
        settings = {
            "bind-address-ipv4": host,
            "peer-port": port,
            "rpc-bind-address": host,
            "rpc-port": rpc,
            "rpc-whitelist-enabled": False,
            "rpc-host-whitelist-enabled": False,
            "port-forwarding-enabled": False,
            "dht-enabled": False,
            "lpd-enabled": self._lsd,
            "utp-enabled": self._utp,
            "encryption": self._encryption,
            "download-dir": str(directory),
            "incomplete-dir-enabled": False,
            "rename-partial-files": False,
            "preallocation": 0,
            "cache-size-mb": 4,
        }
        (home / "settings.json").write_text(json.dumps(settings))
        process = lab.start("transmission", ["transmission-daemon", "--foreground", "--config-dir", home])
        transfer = TransmissionTransfer(process, host, port, rpc)
        wait_for("transmission's RPC", lambda: transfer._alive() and net.listens(rpc, host))
        transfer.call("torrent-add", filename=str(torrent.path), **{"download-dir": str(directory)})
        return transfer

    def seed(self, lab, torrent, data):
        return self._start(lab, torrent, data)

    def download(self, lab, torrent, into, peers=()):
        return self._start(lab, torrent, into)


class TransmissionTransfer(Transfer):
    def __init__(self, process, host, port, rpc):
        super().__init__(process, host, port)
        self._url = f"http://{host}:{rpc}/transmission/rpc"
        self._session = ""

    def call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            request = urllib.request.Request(self._url, body, {"X-Transmission-Session-Id": self._session})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    reply = json.load(answer)
            except urllib.error.HTTPError as refusal:
                if refusal.code != 409:
                    raise
                self._session = refusal.headers["X-Transmission-Session-Id"]
                continue
            if reply["result"] != "success":
                raise Trouble(f"transmission: {method}: {reply['result']}")
            return reply["arguments"]
        raise Trouble("transmission refuses its own session id")

    def _seeds(self):
        self._alive()
        torrents = self.call("torrent-get", fields=["status", "percentDone", "error", "errorString"])["torrents"]
        if torrents and torrents[0]["error"] == 3:
            raise Trouble(f"transmission: {torrents[0]['errorString']}")
        return bool(torrents) and torrents[0]["status"] == 6 and torrents[0]["percentDone"] == 1

    def wait_ready(self, timeout=None):
        wait_for("transmission seeds", self._seeds, timeout)

    wait_complete = wait_ready


class Rqbit:
    """rqbit, for trying by hand: `RQBIT=/path/to/rqbit`."""

    name = "rqbit"
    lacks_empty_files = False
    announces_as_seed = False  # its first announce comes before it has checked

    def __init__(self, program, options=()):
        self.program = program
        self._options = options

    def over_utp(self):
        """The same, by uTP and not by TCP."""
        return Rqbit(self.program, ["--experimental-enable-utp-listen", "--disable-tcp-connect", "--disable-tcp-listen"])

    def _start(self, lab, torrent, directory, options):
        # It binds to no address of choice: the namespace's first is what others see.
        port, api, home = net.free_port(), net.free_port(), lab.folder("rqbit")
        env = dict(os.environ, HOME=str(home), XDG_CACHE_HOME=str(home), XDG_DATA_HOME=str(home), XDG_CONFIG_HOME=str(home))
        argv = [
            self.program, "-v", "error", "--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "--listen-port", port,
            "--http-api-listen-addr", f"{net.ADDRESS}:{api}", *self._options,
            "download", "--overwrite", "-o", directory, *options, torrent.path,
        ]  # fmt: skip
        return RqbitTransfer(lab.start("rqbit", argv, env=env), net.ADDRESS, port, api)

    def seed(self, lab, torrent, data):
        return self._start(lab, torrent, data, [])

    def download(self, lab, torrent, into, peers=()):
        initial = ["--initial-peers", ",".join(peers)] if peers else []
        return self._start(lab, torrent, into, ["--exit-on-finish", *initial])


class RqbitTransfer(Transfer):
    def __init__(self, process, host, port, api):
        super().__init__(process, host, port)
        self._url = f"http://{host}:{api}/torrents/0/stats/v1"

    def _seeds(self):
        self._alive()
        try:
            with urllib.request.urlopen(self._url, timeout=30) as answer:
                stats = json.load(answer)
        except urllib.error.URLError:
            return False  # it does not listen yet, or does not know of the torrent
        return stats["finished"] and stats["state"] == "live"

    def wait_ready(self, timeout=None):
        wait_for("rqbit seeds", self._seeds, timeout)


def installed():
    """The reference clients of this machine; a missing one is an error of the set-up, not a reason to test less."""
    missing = [tool for tool in ("aria2c", "transmission-daemon", "opentracker", "mktorrent") if not shutil.which(tool)]
    if missing:
        raise Trouble(f"not installed: {', '.join(missing)}; docs/testing.md names the packages")
    return [Libtorrent(), Aria2(), Transmission()]
