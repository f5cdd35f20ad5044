"""The program under test."""

import json

from peers import net
from peers.clients import Transfer
from peers.process import Trouble

# Exit codes of the command line's contract.
DONE, FAILED, USAGE, NETWORK, BAD_TORRENT, NO_SPACE, IO, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130


# Peers come to a test only in the way that it is about.
QUIET = {"SAMARA_DHT": "false", "SAMARA_LSD": "false"}


class Samara:
    """samara, with state and settings of its own for each test; it takes no part in DHT and local discovery unless asked to."""

    name = "samara"
    lacks_empty_files = False

    def __init__(self, program, env=None, options=(), host=net.new_address):
        self.program = str(program)
        self._env = QUIET if env is None else env
        self._options = options
        self._host = host

    def on_dht(self, *nodes, state=None):
        """The same, in the DHT: joined by these nodes (HOST:PORT), or by what else it hears of. `state`: the directory of its table."""
        if not nodes:
            nodes = [f"{net.new_address()}:9"]  # nobody: not the public routers
        options = [*self._options, *(f"--dht-node={node}" for node in nodes)]
        env = self._env | {"SAMARA_DHT": "true"} | ({"SAMARA_STATE_DIR": str(state)} if state else {})
        return Samara(self.program, env, options, self._host)

    def on_lan(self):
        """The same, with local discovery."""
        return Samara(self.program, self._env | {"SAMARA_LSD": "true"}, self._options, self._host)

    def with_options(self, *options):
        """The same, with these options of the commands that open a session."""
        return Samara(self.program, self._env, [*self._options, *options], self._host)

    def over_ipv6(self):
        """The same, at an IPv6 address."""
        return Samara(self.program, self._env, self._options, net.new_address6)

    def start(self, lab, *args, prefix=(), env=None):
        """Any command of samara, with its own XDG directories. Each node of the DHT has a table of its own, as on a machine of its own."""
        own = {"SAMARA_STATE_DIR": str(lab.private("state"))} if self._env["SAMARA_DHT"] == "true" else {}
        return lab.start(self.name, [*prefix, self.program, *args], env=lab.environment() | own | self._env | (env or {}))

    def run(self, lab, *args, timeout=None, **more):
        """Runs a command to its end."""
        process = self.start(lab, *args, **more)
        process.wait_exit(timeout)
        return process

    def node(self, lab, *known):
        """A node of the DHT that carries no torrent, joined by these."""
        host = self._host()
        port = net.free_port(host)
        args = ["dht", "node", "--bind", host, "--port", port, "--json", *(f"--dht-node={node}" for node in known)]
        return SamaraTransfer(self.start(lab, *args), host, port)

    def dht(self, lab, node, *args, code=DONE):
        """A question to the DHT, joined by this node: the last JSON object of the answer."""
        process = self.run(lab, "dht", *args, "--json", "--bind", self._host(), f"--dht-node={node}")
        if process.code != code:
            raise Trouble(f"samara dht ended with {process.code}\n{process.tail()}")
        return json.loads(process.out[-1]) if process.out else None

    def seed(self, lab, torrent, data, *options):
        host = self._host()
        port = net.free_port(host)
        args = ["seed", torrent.path, "--data", data, "--port", port, "--bind", host, "--json", *self._options, *options]
        return SamaraTransfer(self.start(lab, *args), host, port)

    def download(self, lab, torrent, into, peers=(), *options, prefix=()):
        host = self._host()
        port = net.free_port(host)
        args = ["download", torrent.path, "-o", into, "--port", port, "--bind", host, "--no-seed", "--json", *self._options, *options]
        for peer in peers:
            args += ["--peer", peer]
        return SamaraTransfer(self.start(lab, *args, prefix=prefix), host, port)

    def download_and_stay(self, lab, torrent, into, peers=(), *options):
        """A download that goes on to seed, for longer than any test takes."""
        host = self._host()
        port = net.free_port(host)
        args = ["download", torrent.path, "-o", into, "--port", port, "--bind", host, "--seed-time", "1h", "--json"]
        args += [*self._options, *options]
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
