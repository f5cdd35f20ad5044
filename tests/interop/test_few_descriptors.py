"""Hardly any file descriptors: hundreds of files and dozens of peers are served with those few, or the program says what to do."""

import socket

import pytest

import payload as payloads
from peers import net
from peers import samara as contract
from peers.fake import Leech, Seed
from peers.process import wait_for

KIB = 1 << 10


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    sizes = [((f"{i % 10}", f"file {i:03}"), 3_000 + 37 * i) for i in range(300)]
    return payloads.made(tmp_path_factory.mktemp("payload"), "hundreds", sizes, 32 * KIB, seed=91)


def at_most(descriptors):
    return ["prlimit", f"--nofile={descriptors}:{descriptors}", "--"]


@pytest.mark.parametrize("descriptors", [32, 64, 96])
def test_download_of_many_files(lab, content, samara, descriptors):
    """All of it arrives, from several peers at once."""
    into = lab.folder("into")
    torrent = content.torrent(lab.private("t.torrent"))
    seeds = [Seed(lab, torrent) for _ in range(12)]
    download = samara.download(lab, torrent, into, [seed.address for seed in seeds], prefix=at_most(descriptors))
    code = download.process.wait_exit()
    if descriptors == 32 and code != contract.DONE:
        assert "open files" in "\n".join(download.process.err), download.process.tail()
        return
    assert code == contract.DONE, download.process.tail()
    assert not payloads.differences(content, into)
    assert not payloads.strangers(content, into)


def test_seed_that_many_dial(lab, content, samara):
    """More dial it than it has descriptors for. Whoever is there already gets everything, and it does not spin; later there is room for others."""
    torrent = content.torrent(lab.private("t.torrent"))
    root = content.copy(lab.folder("data"))
    host = net.new_address()
    port = net.free_port(host)
    args = ["seed", torrent.path, "--data", root, "--port", str(port), "--bind", host, "--json"]
    seed = contract.SamaraTransfer(samara.start(lab, *args, prefix=at_most(96)), host, port)
    seed.wait_ready()
    leech = Leech(lab, torrent, seed.address)
    leech.wait_for_more(10)
    idle = [lab.closing(socket.create_connection((host, port))) for _ in range(80)]
    # Far more files than are kept open.
    leech.wait_for_more(1000)
    assert leech.offered == set(range(content.piece_count)) and not leech.rejected
    leech.close()
    before = cpu_ticks(seed.process.pid)
    wait_for("the idle ones are turned away", lambda: all(is_closed(sock) for sock in idle))
    spent = cpu_ticks(seed.process.pid) - before
    # Handshakes have ten seconds. A loop that never rests would take all of that.
    assert spent < 300, f"{spent / 100} s of CPU time"
    late = Leech(lab, torrent, seed.address)
    late.wait_for_more(100)
    assert seed.process.running()


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def is_closed(sock):
    sock.setblocking(False)
    try:
        return sock.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
