"""The suite's own network: a namespace whose loopback also bears a range of ordinary addresses.

Some clients refuse peers at 127.0.0.1, some know a peer by its address alone (so each client gets one of its own), and no test may reach
the world or meet another program's port. So the suite runs itself again inside fresh network, mount and process namespaces: all traffic
stays inside, tmpfs mounts vanish, and no child outlives the run.
"""

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys

ADDRESS = "10.77.0.1"
# The one address, shared by all, and its device, on which IPv6 carries multicast.
MULTICAST6 = "fd77::1"
DEVICE6 = "near"
INSIDE = "SAMARA_INTEROP_INSIDE"

# $0 is the address, $1 and $2 device and address of IPv6 multicast; the rest is the command. A whole network on the loopback device: each
# of its addresses is ours. It carries IPv4 multicast as a local network does, but none of IPv6: there is a device for that, where the
# system lets us make one.
_ENTER = """
ip link set lo up multicast on && ip address add "$0/16" dev lo && ip route add 224.0.0.0/4 dev lo src "$0" || exit 97
ip link add "$1" type veth peer name "$1-end" 2>/dev/null && ip link set "$1-end" up && ip -6 address add "$2/64" dev "$1" nodad &&
    ip link set "$1" up
shift 2
exec "$@"
"""


class NoNamespace(Exception):
    """This machine does not let us make the namespaces."""


def enter_namespace():
    """Replaces this process by the same command inside the namespaces; returns only when already inside."""
    if os.environ.get(INSIDE):
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
        return
    for tool in ("unshare", "ip", "setpriv"):
        if not shutil.which(tool):
            raise NoNamespace(f"the suite needs `{tool}` (Debian: util-linux, iproute2)")
    if os.geteuid() != 0:
        raise NoNamespace("the suite makes a network namespace of its own and mounts small file systems in it: run it as root")
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    probe = os.spawnvp(os.P_WAIT, unshare[0], [*unshare, "sh", "-c", _ENTER, ADDRESS, DEVICE6, MULTICAST6, "true"])
    if probe != 0:
        raise NoNamespace(
            f"`{' '.join(unshare)}` gives {probe}: no namespace with addresses of our own. "
            "Run the suite as a root that may make namespaces (in a container: one with CAP_SYS_ADMIN)."
        )
    os.environ[INSIDE] = "1"
    command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
    os.execvp(unshare[0], [*unshare, "sh", "-c", _ENTER, ADDRESS, DEVICE6, MULTICAST6, *command])


def leave_for_own_network():
    """Gives this worker, which runs its tests in its first thread, a network and mounts of its own inside the suite's."""
    new_mounts, new_network = 0x00020000, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_mounts | new_network) != 0:
        raise NoNamespace(f"unshare: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["sh", "-c", _ENTER, ADDRESS, DEVICE6, MULTICAST6, "true"], check=True)


_hosts = itertools.count(2)


def new_address():
    """An address that nobody in this run has used yet."""
    third, fourth = divmod(next(_hosts), 250)
    return f"10.77.{third}.{fourth + 1}"


def new_address6():
    """An IPv6 address that nobody in this run has used yet; the loopback device gets it now."""
    address = f"fd00:77::{next(_hosts) + 0x1000:x}"
    done = subprocess.run(["ip", "-6", "address", "add", f"{address}/128", "dev", "lo", "nodad"], capture_output=True, check=False)
    if done.returncode:
        raise NoNamespace(f"no IPv6 on the loopback device: {done.stderr.decode().strip()}")
    return address


def has_multicast6():
    """Whether there is MULTICAST6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((MULTICAST6, 0))
            return True
    except OSError:
        return False


def joined(host, port):
    """An endpoint as it is written, with brackets round an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parted(address):
    """(host, port) of an endpoint as it is written."""
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def free_port(address=ADDRESS):
    """A port, chosen by the system, that is free for TCP and UDP; nobody else lives in the namespace to take it."""
    family = _family(address)
    while True:
        with socket.socket(family) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            tcp.bind((address, 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind((address, port))
                return port
            except OSError:
                continue


def listens(port, address=ADDRESS):
    """Whether something accepts connections there."""
    with socket.socket(_family(address)) as probe:
        return probe.connect_ex((address, port)) == 0
