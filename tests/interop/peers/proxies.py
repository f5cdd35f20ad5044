"""Proxies as Debian builds them: microsocks and dante (SOCKS5), of which dante carries datagrams, and tinyproxy (HTTP)."""

import os

from peers import net
from peers.process import wait_for

USER, PASSWORD = "me", "s3cret"


class Proxy:
    """One proxy at an address of its own, which it connects from, too."""

    def __init__(self, lab, kind, login=False):
        self._lab, self.kind, self.login = lab, kind, login
        self.host = net.new_address()
        self.port = net.free_port(self.host)
        lab.closing(self)
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

    def _dante(self):
        settings = self._lab.private("danted.conf")
        rule = "{ from: 0.0.0.0/0 to: 0.0.0.0/0 command: %s }"
        lines = [
            "logoutput: stderr",
            f"internal: {self.host} port = {self.port}",
            f"external: {self.host}",
            "clientmethod: none",
            "socksmethod: none",
            "user.privileged: root",
            "user.unprivileged: nobody",
            "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }",
            "socks pass " + rule % "connect udpassociate",
            "socks pass " + rule % "udpreply",
        ]
        settings.write_text("\n".join(lines) + "\n")
        return ["danted", "-f", settings, "-p", self._lab.private("danted.pid")]

    def url(self, password=PASSWORD):
        scheme = "http" if self.kind == "tinyproxy" else "socks5"
        login = f"{USER}:{password}@" if self.login else ""
        return f"{scheme}://{login}{self.host}:{self.port}"

    def kill(self):
        """Ends it at once, with all of its processes: dante has several."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait_exit(10)

    def close(self):
        self.kill()
