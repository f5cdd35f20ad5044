"""Seeding what the page cache does not hold: the file's pages are dropped before the transfer and again five times a second during it.

    cargo build --release
    python -m pytest -s tests/interop/bench_cold.py

In each round samara and libtorrent seed in turns to leeches of our own, which ask for all blocks once, keep 128 requests under way each and
throw the payload away in the kernel. INTEROP_COLD_MIB (512) is the file's size, INTEROP_ROUNDS (3) the rounds. With strace installed, one
more transfer shows how long the system calls of samara's network thread took (tracing makes it slower): none may wait for the disk.
"""

import os
import shutil
import socket
import statistics
import struct
import threading
import time
from collections import Counter

import payload as payloads
from peers import net
from peers.clients import Libtorrent
from peers.fake import BLOCK

MIB = 1 << 20
SIZE = int(os.environ.get("INTEROP_COLD_MIB", "512")) * MIB
ROUNDS = int(os.environ.get("INTEROP_ROUNDS", "3"))
PEERS = (1, 30)
WINDOW = 128
FRAME = 13 + BLOCK


def drop_pages(path):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Leech:
    """Asks for the blocks that `take` gives until there are none. Payload is counted, not kept: a block is there when its bytes are."""

    def __init__(self, torrent, host, port, take):
        self._sock = socket.create_connection((host, port), source_address=(net.new_address(), 0), timeout=60)
        self._take = take
        hello = b"\x13BitTorrent protocol" + bytes(8) + torrent.info_hash + b"-XX0000-" + os.urandom(12)
        self._sock.sendall(hello + b"\0\0\0\x01\x02")
        self._exactly(68)
        while self._message() != b"\x01":
            pass

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            data += self._sock.recv(count - len(data)) or self._lost()
        return data

    def _lost(self):
        raise ConnectionError("the seed is gone")

    def _message(self):
        return self._exactly(struct.unpack(">I", self._exactly(4))[0])

    def run(self):
        asked = got = 0
        room = bytearray(4 * MIB)
        while True:
            wanted = []
            while asked - got // FRAME < WINDOW and (block := self._take()):
                wanted.append(struct.pack(">IBIII", 13, 6, *block, BLOCK))
                asked += 1
            self._sock.sendall(b"".join(wanted))
            if got == asked * FRAME:
                return
            got += self._sock.recv_into(room, 0, socket.MSG_TRUNC) or self._lost()


def transfer(content, torrent, seed, peers):
    """Seconds, CPU seconds of the seed, and its peak of anonymous memory, from the first request to the last block."""
    path, lock = content.path(()), threading.Lock()
    places = iter([(at // content.piece_length, at % content.piece_length) for at in range(0, SIZE, BLOCK)])

    def take():
        with lock:
            return next(places, None)

    leeches = [Leech(torrent, seed.host, seed.port, take) for _ in range(peers)]
    threads = [threading.Thread(target=leech.run) for leech in leeches]
    drop_pages(path)
    begun, cpu, peak, dropped = time.monotonic(), cpu_s(seed.process.pid), 0, 0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, seed.process.memory()[0])
        if time.monotonic() - begun > 0.2 * dropped:
            drop_pages(path)
            dropped += 1
        time.sleep(0.02)
    return time.monotonic() - begun, cpu_s(seed.process.pid) - cpu, peak


def network_thread(pid):
    tasks = f"/proc/{pid}/task"
    return next(t for t in os.listdir(tasks) if open(f"{tasks}/{t}/comm", encoding="ascii").read().startswith("samara-net"))


def test_cold_cache(lab, samara):
    content = payloads.single(lab.folder("payload"), SIZE, MIB, name="cold.bin")
    os.sync()  # pages that are not written yet cannot be dropped
    torrent = content.torrent(lab.private("t.torrent"))
    clients, rows = [Libtorrent(), samara], {}
    for _ in range(ROUNDS):
        for peers in PEERS:
            for client in clients:
                seed = client.seed(lab, torrent, content.root)
                seed.wait_ready()
                rows.setdefault((peers, client.name), []).append(transfer(content, torrent, seed, peers))
                seed.stop()
    print("\n\n| leeches | seed | MiB/s | CPU s/GiB | anonymous MiB |\n| --: | --- | --: | --: | --: |")
    for (peers, name), runs in rows.items():
        seconds, cpu, peak = (statistics.median(run[at] for run in runs) for at in range(3))
        print(f"| {peers} | {name} | {SIZE / MIB / seconds:.0f} | {cpu * 1024 * MIB / SIZE:.2f} | {peak / MIB:.0f} |")
    if shutil.which("strace"):
        seed = samara.seed(lab, torrent, content.root)
        seed.wait_ready()
        trace = lab.private("strace")
        argv = ["strace", "-T", "-e", "trace=!epoll_wait,epoll_pwait", "-o", trace, "-p", network_thread(seed.process.pid)]
        tracer = lab.start("strace", argv)
        tracer.wait_line("it is attached", lambda line: "attached" in line, stream="err")
        transfer(content, torrent, seed, 30)
        tracer.stop()
        seed.stop()
        report_calls(trace)


def report_calls(trace):
    """A histogram of how long each kind of system call took."""
    took = {}
    for line in open(trace, encoding="utf-8", errors="replace"):
        if line.endswith(">\n") and "(" in line:
            took.setdefault(line.split("(")[0].split()[-1], []).append(float(line.rsplit("<", 1)[1][:-2]))
    bounds = (0.0001, 0.001, 0.01, 0.1, float("inf"))
    print("\n| system call | < 0.1 ms | < 1 ms | < 10 ms | < 100 ms | more | longest, ms |\n| --- |" + " --: |" * 6)
    for name, times in sorted(took.items(), key=lambda item: -len(item[1])):
        counts = Counter(next(at for at, bound in enumerate(bounds) if time < bound) for time in times)
        cells = " | ".join(str(counts[at]) for at in range(len(bounds)))
        print(f"| {name} | {cells} | {max(times) * 1000:.2f} |")
