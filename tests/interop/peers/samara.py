"""The program under test."""

import json

from peers import net
from peers.clients import Transfer

# Exit codes of the command line's contract.
DONE, FAILED, USAGE, NETWORK, BAD_TORRENT, NO_SPACE, IO, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130


class Samara:
    """samara, with state and settings of its own for each test."""

    name = "samara"
    lacks_empty_files = False

    def __init__(self, program):
        self.program = str(program)

    def start(self, lab, *args, prefix=(), env=None):
        """Any command of samara, with its own XDG directories."""
        return lab.start(self.name, [*prefix, self.program, *args], env=lab.environment() | (env or {}))

    def run(self, lab, *args, timeout=None, **more):
        """Runs a command to its end."""
        process = self.start(lab, *args, **more)
        process.wait_exit(timeout)
        return process

    def seed(self, lab, torrent, data, *options):
        host = net.new_address()
        port = net.free_port(host)
        args = ["seed", torrent.path, "--data", data, "--port", port, "--bind", host, "--json", *options]
        return SamaraTransfer(self.start(lab, *args), host, port)

    def download(self, lab, torrent, into, peers=(), *options, prefix=()):
        host = net.new_address()
        port = net.free_port(host)
        args = ["download", torrent.path, "-o", into, "--port", port, "--bind", host, "--no-seed", "--json", *options]
        for peer in peers:
            args += ["--peer", peer]
        return SamaraTransfer(self.start(lab, *args, prefix=prefix), host, port)

    def download_and_stay(self, lab, torrent, into, peers=(), *options):
        """A download that goes on to seed, for longer than any test takes."""
        host = net.new_address()
        port = net.free_port(host)
        args = ["download", torrent.path, "-o", into, "--port", port, "--bind", host, "--seed-time", "1h", "--json", *options]
        for peer in peers:
            args += ["--peer", peer]
        return SamaraTransfer(self.start(lab, *args), host, port)


class SamaraTransfer(Transfer):
    def events(self):
        """The JSON lines so far."""
        return [json.loads(line) for line in list(self.process.out) if line.startswith("{")]

    def wait_event(self, what, found, timeout=None):
        """Waits for a JSON line that `found` accepts, and returns its dictionary."""

        def parse(line):
            if not line.startswith("{"):
                return None
            event = json.loads(line)
            return event if found(event) else None

        return self.process.wait_line(what, parse, timeout=timeout)

    def wait_ready(self, timeout=None):
        """Until it seeds: it listens before the data is checked, and turns peers away until then."""
        self.wait_event("it seeds", lambda event: event.get("state") == "seeding", timeout)
