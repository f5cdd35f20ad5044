"""Machines of their own: network namespaces joined by cables, and a home router among them, which is miniupnpd with nftables."""

import os
import re
import shutil
import subprocess

from peers.process import wait_for

# Where the chains are that miniupnpd writes into.
_NFT = """
table inet filter {
 chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname "lan0" accept; jump miniupnpd; }
 chain miniupnpd { }
 chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
 chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; oifname "wan0" masquerade; }
 chain prerouting_miniupnpd { }
 chain postrouting_miniupnpd { }
}
"""

# A gateway that knows NAT-PMP and not even to refuse PCP: what begins with version 2 is lost.
_NO_PCP = 'table inet deaf { chain input { type filter hook input priority 0; udp dport 5351 @th,64,8 2 drop\n }\n }\n'


class Machine:
    """A network namespace. `enter` is what a command has to begin with to run in it."""

    def __init__(self, lab, name):
        self._holder = lab.start(name, ["unshare", "--net", "sleep", "infinity"])
        ours = os.readlink("/proc/self/ns/net")
        wait_for("the other namespace", lambda: os.readlink(f"/proc/{self._holder.pid}/ns/net") != ours)
        self.enter = ("nsenter", "-t", str(self._holder.pid), "-n")
        self.pid = self._holder.pid
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *argv, stdin=None):
        return subprocess.run([*self.enter, *argv], input=stdin, check=True, capture_output=True, text=True).stdout

    def cable(self, device, address, other, other_device, other_address):
        """Joins two machines."""
        self.run("ip", "link", "add", device, "type", "veth", "peer", "name", other_device, "netns", str(other.pid))
        for machine, name, ip in ((self, device, address), (other, other_device, other_address)):
            # IPv4 alone: packets that the kernel sends by itself would be taken for the program's.
            machine.run("ip", "link", "set", name, "addrgenmode", "none")
            machine.run("ip", "address", "add", ip, "dev", name)
            machine.run("ip", "link", "set", name, "up")

    def nft(self, rules):
        self.run("nft", "-f", "-", stdin=rules)

    def setting(self, name, value):
        self.run("sh", "-c", f"echo {value} > /proc/sys/{name}")


class Router:
    """A home with a machine at 192.168.77.2 behind a gateway that has `outside` towards the world, where a machine is at `beyond`."""

    inside = "192.168.77.2"

    def __init__(self, lab, speaks, outside="11.22.33.1", beyond="11.22.33.2", settings=()):
        self.home, self.gateway, self.world = (Machine(lab, name) for name in ("home", "gateway", "world"))
        self.outside, self.beyond = outside, beyond
        self.home.cable("home0", f"{self.inside}/24", self.gateway, "lan0", "192.168.77.1/24")
        self.gateway.cable("wan0", f"{outside}/24", self.world, "net0", f"{beyond}/24")
        self.home.run("ip", "route", "add", "default", "via", "192.168.77.1")
        self.gateway.setting("net/ipv4/ip_forward", 1)
        self.gateway.nft(_NFT)
        if speaks == "NAT-PMP":
            self.gateway.nft(_NO_PCP)
        self._leases = lab.private("leases")
        yes = {True: "yes", False: "no"}
        config = lab.private("miniupnpd.conf")
        config.write_text(
            f"ext_ifname=wan0\nlistening_ip=lan0\nport=0\nenable_natpmp={yes[speaks != 'UPnP']}\nenable_upnp={yes[speaks == 'UPnP']}\n"
            f"secure_mode=yes\nlease_file={self._leases}\nuuid=00000000-0000-0000-0000-000000000001\nserial=1\nmodel_number=1\n"
            "upnp_table_name=filter\nupnp_nat_table_name=filter\nupnp_forward_chain=miniupnpd\nupnp_nat_chain=prerouting_miniupnpd\n"
            "upnp_nat_postrouting_chain=postrouting_miniupnpd\nallow 1024-65535 192.168.77.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
            + "".join(f"{line}\n" for line in settings)
        )
        program = shutil.which("miniupnpd") or "/usr/sbin/miniupnpd"
        self.daemon = lab.start("miniupnpd", [*self.gateway.enter, program, "-d", "-f", config, "-P", lab.private("miniupnpd.pid")])
        port = "1900" if speaks == "UPnP" else "5351"
        wait_for("miniupnpd listens", lambda: re.search(rf":{port}\b", self.gateway.run("ss", "-lun")))

    def leases(self):
        """What leads inside by the gateway's list: {(protocol, port outside): ((address, port), time of its end)}."""
        lines = self._leases.read_text().splitlines() if self._leases.exists() else []
        found = {}
        for line in lines:
            protocol, outside, address, port, end, _ = line.split(":", 5)
            found[protocol.lower(), int(outside)] = ((address, int(port)), int(end))
        return found

    def mapped(self):
        """The same without the times; and the gateway's rules agree."""
        found = {what: to for what, (to, _) in self.leases().items()}
        rules = self.gateway.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
        rules = [(int(outside), (address, int(port))) for outside, address, port in re.findall(r"dport (\d+) dnat (?:ip )?to ([\d.]+):(\d+)", rules)]
        assert sorted(rules) == sorted((outside, to) for (_, outside), to in found.items()), rules
        return found
