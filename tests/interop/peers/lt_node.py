"""libtorrent's DHT nodes, inside this process: they carry no torrent, only the network that others are to find each other by."""

import time

import libtorrent as lt

from peers import net
from peers.lt_main import DHT_IN_ONE_NETWORK
from peers.process import DEADLINE_S, Trouble, wait_for


class Node:
    """One node. Its threads are libtorrent's own; it says something only when asked."""

    def __init__(self, lab, host=None):
        self.host = host or net.new_address()
        self.port = net.free_port(self.host)
        kinds = lt.alert.category_t
        self.session = lt.session(
            {
                "listen_interfaces": self.address,
                "outgoing_interfaces": self.host,
                "enable_dht": True,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "alert_mask": kinds.dht_notification | kinds.dht_operation_notification | kinds.stats_notification,
            }
            | DHT_IN_ONE_NETWORK
        )
        lab.closing(self)

    @property
    def address(self):
        return net.joined(self.host, self.port)

    def knows(self, *addresses):
        """Tells it of these nodes."""
        for address in addresses:
            self.session.add_dht_node(net.parted(address))

    def _alert(self, what, found, timeout=None):
        """The first thing that `found` makes of an alert from now on."""
        end = time.monotonic() + (timeout or DEADLINE_S)
        while time.monotonic() < end:
            self.session.wait_for_alert(50)
            for alert in self.session.pop_alerts():
                if (got := found(alert)) is not None:
                    return got
        raise Trouble(f"libtorrent's node {self.address}: not in time: {what}")

    def table(self):
        """How many nodes are in its table."""
        self.session.post_session_stats()
        stats = self._alert("statistics", lambda a: a.values if isinstance(a, lt.session_stats_alert) else None)
        return stats["dht.dht_nodes"]

    def stored(self):
        """How many torrents others have announced to it."""
        self.session.post_session_stats()
        stats = self._alert("statistics", lambda a: a.values if isinstance(a, lt.session_stats_alert) else None)
        return stats["dht.dht_torrents"]

    def _stored_at(self, alert):
        return alert.num_success if isinstance(alert, lt.dht_put_alert) else None

    def put(self, value):
        """Stores an immutable item, and returns (target, nodes that have it)."""
        target = self.session.dht_put_immutable_item(value)
        return target.to_bytes(), self._alert("put", self._stored_at)

    def get(self, target):
        """An immutable item, or `None`."""
        self.session.dht_get_immutable_item(lt.sha1_hash(target))
        return self._alert("item", lambda a: (a.item,) if isinstance(a, lt.dht_immutable_item_alert) else None)[0]

    def put_signed(self, secret, public, text, salt=b""):
        """Stores a text as a mutable item, with a number one above what is there; returns how many nodes have it."""
        self.session.dht_put_mutable_item(secret, public, text, salt)
        return self._alert("put", self._stored_at)

    def get_signed(self, public, salt=b"", number=0):
        """The mutable item as (value, sequence number): the first answer with at least this number. The last word would come only when
        all that were ever met have answered or been given up."""
        self.session.dht_get_mutable_item(public, salt)

        def new_enough(alert):
            return (alert.item, alert.seq) if isinstance(alert, lt.dht_mutable_item_alert) and alert.seq >= number else None

        return self._alert(f"signed item {number}", new_enough)

    def close(self):
        """Ends the node; a test may do it before its own end."""
        if self.session:
            self.session.pause()
        self.session = None


def network(lab, count, hosts=None):
    """This many nodes that all know each other."""
    nodes = [Node(lab, host) for host in (hosts or [None] * count)]
    for node in nodes:
        node.knows(*(other.address for other in nodes if other is not node))
    for node in nodes:
        wait_for("libtorrent's nodes know each other", lambda: node.table() >= min(count - 1, 8))  # noqa: B023 - called at once
    return nodes
