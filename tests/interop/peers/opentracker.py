"""opentracker, as Debian builds it: it serves only the info-hashes of a whitelist."""

import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from peers import net
from peers.process import wait_for

import bencode


@dataclass
class Counts:
    seeds: int
    leeches: int
    completed: int


class Opentracker:
    """One tracker, HTTP and UDP on the same port number."""

    def __init__(self, lab, *info_hashes):
        self.host = net.new_address()
        self.port = net.free_port(self.host)
        # It becomes `nobody` and insists on it, so its directory cannot lie inside the test's private one.
        self._home = tempfile.TemporaryDirectory(prefix="opentracker-")
        home = Path(self._home.name)
        home.chmod(0o755)
        (home / "whitelist").write_text("".join(h.hex() + "\n" for h in info_hashes))
        argv = ["opentracker", "-i", self.host, "-p", self.port, "-P", self.port, "-d", home, "-w", "whitelist"]
        self.process = lab.start("opentracker", argv, cwd=home)
        lab.closing(self)
        wait_for("opentracker listens", lambda: net.listens(self.port, self.host))

    def close(self):
        self.process.stop()
        self._home.cleanup()

    def url(self, scheme):
        return f"{scheme}://{self.host}:{self.port}/announce"

    def scrape(self, info_hash):
        """What the tracker knows (BEP 48)."""
        query = urllib.parse.urlencode({"info_hash": info_hash})
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}/scrape?{query}", timeout=10) as answer:
                files = bencode.decode(answer.read())[0][b"files"]
        except urllib.error.HTTPError:
            return Counts(0, 0, 0)
        found = files.get(info_hash, {})
        return Counts(found.get(b"complete", 0), found.get(b"incomplete", 0), found.get(b"downloaded", 0))

    def wait_seeds(self, info_hash, count=1, timeout=None):
        """Until this many seeds have announced themselves."""
        wait_for(f"{count} seeds at the tracker", lambda: self.scrape(info_hash).seeds >= count, timeout)

    def wait_peers(self, info_hash, count=1, timeout=None):
        """Until this many peers of any kind have announced themselves."""

        def known():
            counts = self.scrape(info_hash)
            return counts.seeds + counts.leeches >= count

        wait_for(f"{count} peers at the tracker", known, timeout)
