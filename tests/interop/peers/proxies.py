"""Proxies as Debian builds them: microsocks (SOCKS5) and tinyproxy (HTTP)."""

from peers import net
from peers.process import wait_for

USER, PASSWORD = "me", "s3cret"


class Proxy:
    """One proxy at an address of its own, which it connects from, too."""

    def __init__(self, lab, kind, login=False):
        self._lab, self.kind, self.login = lab, kind, login
        self.host = net.new_address()
        self.port = net.free_port(self.host)
        self.start()

    def start(self):
        """Starts it, at the same place each time."""
        argv = getattr(self, f"_{self.kind}")()
        self.process = self._lab.start(self.kind, argv)
        wait_for(f"{self.kind} listens", lambda: net.listens(self.port, self.host))

    def _microsocks(self):
        login = ["-u", USER, "-P", PASSWORD] if self.login else []
        return ["microsocks", "-i", self.host, "-p", self.port, "-b", self.host, *login]

    def _tinyproxy(self):
        settings = self._lab.private("tinyproxy.conf")
        lines = [f"Port {self.port}", f"Listen {self.host}", f"Bind {self.host}", "Timeout 600", "MaxClients 100", "LogLevel Info"]
        settings.write_text("\n".join([*lines, *([f"BasicAuth {USER} {PASSWORD}"] if self.login else [])]) + "\n")
        return ["tinyproxy", "-d", "-c", settings]

    def url(self, password=PASSWORD):
        scheme = "socks5" if self.kind == "microsocks" else "http"
        login = f"{USER}:{password}@" if self.login else ""
        return f"{scheme}://{login}{self.host}:{self.port}"

    def kill(self):
        self.process.send(9)
        self.process.wait_exit(10)
