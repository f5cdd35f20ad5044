"""Two homes, each behind a router of its own with nftables, and a third machine on the network between them."""

import re

from peers.process import wait_for
from peers.router import Machine

PORT = 6881

# The port outside of a home whose router gives sockets another one than they have, but one for all destinations.
OTHER_PORT = 30001

# Like a router from the shop: what was not asked for is not even answered.
_GATE = """
table inet gate {{
 chain input {{
  type filter hook input priority 0; policy drop
  ct state established,related accept
  meta l4proto ipv6-icmp accept
 }}
 chain forward {{
  type filter hook forward priority 0; policy drop
  ct state established,related accept
  iifname "lan0" accept
 }}
 chain postrouting {{
  type nat hook postrouting priority 100
  {nat}
 }}
}}
"""

# What a router does to the source of packets on their way out.
_NAT = {
    # Sockets keep their port; who was sent to may answer, from the port that was sent to.
    "same port": 'oifname "wan0" masquerade',
    # Another port, one for all destinations.
    "other port": f'oifname "wan0" udp sport {PORT} snat ip to {{outside}}:{OTHER_PORT}; oifname "wan0" masquerade',
    # Another port for each destination, drawn anew.
    "symmetric": 'oifname "wan0" masquerade fully-random',
    # No translation: IPv6 behind a router that keeps connections out.
    "firewall": "",
}


class Homes:
    """`homes[0]` and `homes[1]` are machines at `inside`, which the world sees at `outside`; `third` is at `beyond`."""

    def __init__(self, lab, *kinds):
        self.ipv6 = "firewall" in kinds
        self._net, self.third = Machine(lab, "net"), Machine(lab, "third")
        self._forwards(self._net)
        self.beyond = self._cable(self.third, "net0", self._net, "third0", self._subnet(0, 0))
        self._default(self.third, self._subnet(0, 0))
        self.homes, self.inside, self.outside, self._gates = [], [], [], []
        for number, kind in enumerate(kinds, start=1):
            home, gate = Machine(lab, f"home{number}"), Machine(lab, f"gate{number}")
            self._forwards(gate)
            lan, wan = self._subnet(number, 1), self._subnet(number, 0)
            inside = self._cable(home, "home0", gate, "lan0", lan)
            outside = self._cable(gate, "wan0", self._net, f"gate{number}", wan)
            self._default(home, lan)
            self._default(gate, wan)
            if self.ipv6:
                self._net.run("ip", "-6", "route", "add", lan.format("/64"), "via", wan.format("2"))
            gate.nft(_GATE.format(nat=_NAT[kind].format(outside=outside)))
            self.homes.append(home)
            self._gates.append(gate)
            self.inside.append(inside)
            self.outside.append(inside if self.ipv6 else outside)

    def _subnet(self, number, place):
        """An address of a network, to be formatted with what comes last: that of the network between routers, or of a home."""
        if self.ipv6:
            return f"2001:db8:{number}:{place}::{{}}"
        return f"192.168.{number}.{{}}" if place else f"11.2.{number}.{{}}"

    def _cable(self, machine, device, other, other_device, subnet):
        """Joins a machine, which gets the second address, to one nearer to the middle, which gets the first."""
        length = 64 if self.ipv6 else 24
        other.run("ip", "link", "add", other_device, "type", "veth", "peer", "name", device, "netns", str(machine.pid))
        for end, name, last in ((other, other_device, 1), (machine, device, 2)):
            # A router asks for its neighbours from an address of the link, which IPv6 makes by itself and need not try out here.
            end.setting(f"net/ipv6/conf/{name}/accept_dad", 0)
            end.run("ip", "link", "set", name, "addrgenmode", "eui64" if self.ipv6 else "none")
            end.run("ip", "address", "add", f"{subnet.format(last)}/{length}", "dev", name, *(["nodad"] if self.ipv6 else []))
            end.run("ip", "link", "set", name, "up")
        return subnet.format(2)

    def _default(self, machine, subnet):
        machine.run("ip", *(["-6"] if self.ipv6 else []), "route", "add", "default", "via", subnet.format(1))

    def _forwards(self, machine):
        machine.setting("net/ipv4/ip_forward", 1)
        machine.setting("net/ipv6/conf/all/forwarding", 1)

    def hold(self, number):
        """From now on nothing that this home sends by UDP to the other one leaves it: as if all of it got lost."""
        family = "ip6" if self.ipv6 else "ip"
        to = self.outside[1 - number]
        self._gates[number].nft(
            f"table inet hold {{ chain forward {{ type filter hook forward priority -10; {family} daddr {to} meta l4proto udp counter drop\n }}\n }}\n"
        )

    def release(self, number):
        """It does again. Gives the number of packets that were lost."""
        rules = self._gates[number].run("nft", "list", "table", "inet", "hold")
        self._gates[number].run("nft", "delete", "table", "inet", "hold")
        return int(re.search(r"packets (\d+)", rules)[1])

    def wait_listens(self, machine, port=PORT):
        """Until something is bound to the port for UDP there."""
        wait_for("it listens", lambda: re.search(rf":{port}\b", machine.run("ss", "-lun")))
