"""A file system of the suite's own (FUSE, spoken by hand) over an ordinary directory: it fails, dawdles and stalls as a test tells it.

The test's own process serves it, in one thread. A test looks at the files in `backing`, never through the mount.
"""

import ctypes
import errno
import os
import select
import struct
import subprocess
import threading
from collections import Counter

NAMES = {
    1: "lookup", 2: "forget", 3: "getattr", 4: "setattr", 9: "mkdir", 10: "unlink", 11: "rmdir", 12: "rename", 14: "open", 15: "read",
    16: "write", 17: "statfs", 18: "release", 20: "fsync", 25: "flush", 26: "init", 27: "opendir", 28: "readdir", 29: "releasedir",
    30: "fsyncdir", 34: "access", 35: "create", 36: "interrupt", 42: "batch_forget", 43: "fallocate", 45: "rename2",
}  # fmt: skip
SILENT = {"forget", "batch_forget"}
# Answered at once that there is no such call: the kernel would make it for each file of a process that has ended, and the process stay
# until the answer comes.
UNKNOWN = {"flush"}
DIRECT_IO = 1
MAX_WRITE = 1 << 17
SIZE, MTIME, MODE = 8, 32, 1


class Faulty:
    """Mounts itself at `path`. Every call reaches it, since nothing is cached. With `flush` it wants to know of every file that is closed."""

    def __init__(self, lab, path, flush=False):
        self.path, self.backing = path, lab.folder("backing")
        self._unknown = set() if flush else UNKNOWN
        self.calls = Counter()
        self._nodes, self._numbers = {1: ""}, {"": 1}
        self._open, self._next = {}, 1
        self._rules = []
        self._lock = threading.Lock()
        self._held, self._stalled, self._deaf = [], False, False
        self.held_some = threading.Event()
        path.mkdir(parents=True, exist_ok=True)
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        os.set_inheritable(self._device, False)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"samara-faulty", str(path).encode(), b"fuse", 6, options):
            raise OSError(ctypes.get_errno(), "cannot mount FUSE")
        self._wake, self._woken = os.pipe()
        lab.closing(self)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # What a test tells it.

    def fail(self, call, error, after=0, times=None):
        """Calls of this kind fail with this errno: all but the first `after`, or only so many."""
        with self._lock:
            start = self.calls[call] + after
            self._rules.append((call, range(start, start + (1 << 40 if times is None else times)), error))

    def shorten(self, call, size):
        """Reads or writes move no more than so many bytes."""
        with self._lock:
            self._rules.append((call, None, size))

    def heal(self):
        with self._lock:
            self._rules.clear()

    def stall(self, deaf=False):
        """From now on nothing is answered; a program that is killed or interrupted gets loose, unless it is `deaf`."""
        with self._lock:
            self._stalled, self._deaf = True, deaf

    def go_on(self):
        """Everything that waits is answered, and all that comes."""
        with self._lock:
            self._stalled = False
        os.write(self._woken, b"x")

    def close(self):
        subprocess.run(["umount", "--lazy", self.path], check=False)
        os.write(self._woken, b"end")
        self._thread.join(10)
        for number in (self._device, self._wake, self._woken, *self._open.values()):
            os.close(number)

    # What it does.

    def _run(self):
        while True:
            ready, _, _ = select.select([self._device, self._wake], [], [])
            if self._wake in ready:
                if b"end" in os.read(self._wake, 99):
                    return
                held, self._held = self._held, []
                for request in held:
                    self._answer(request)
            if self._device in ready:
                try:
                    request = os.read(self._device, MAX_WRITE + 4096)
                except OSError as error:
                    if error.errno in (errno.ENODEV, errno.ENOTCONN):
                        return
                    continue
                with self._lock:
                    stalled = self._stalled
                if stalled and NAMES.get(struct.unpack_from("I", request, 4)[0]) not in SILENT | self._unknown:
                    self._hold(request)
                else:
                    self._answer(request)

    def _hold(self, request):
        if NAMES.get(struct.unpack_from("I", request, 4)[0]) != "interrupt":
            self._held.append(request)
            self.held_some.set()
            return
        (unique,) = struct.unpack_from("Q", request, 40)
        if not self._deaf:
            for held in [r for r in self._held if struct.unpack_from("Q", r, 8)[0] == unique]:
                self._held.remove(held)
                self._reply(unique, -errno.EINTR)

    def _answer(self, request):
        _, code, unique, node = struct.unpack_from("IIQQ", request)
        name, body = NAMES.get(code), request[40:]
        if name in SILENT or name == "interrupt":
            return
        with self._lock:
            number = self.calls[name]
            self.calls[name] += 1
            error = next((e for call, numbers, e in self._rules if call == name and numbers and number in numbers), None)
            size = next((s for call, numbers, s in self._rules if call == name and numbers is None), None)
        if error:
            return self._reply(unique, -error)
        if name is None or name in self._unknown:
            return self._reply(unique, -errno.ENOSYS)
        try:
            more = (size,) if name in ("read", "write") else ()
            self._reply(unique, 0, getattr(self, "on_" + name)(node, body, *more) or b"")
        except OSError as trouble:
            self._reply(unique, -trouble.errno)

    def _reply(self, unique, error, data=b""):
        try:
            os.write(self._device, struct.pack("IiQ", 16 + len(data), error, unique) + data)
        except OSError:
            pass  # nobody waits any more

    def _real(self, node, name=""):
        return os.path.join(self.backing, self._nodes[node], name).rstrip("/")

    def _attributes(self, real):
        s = os.lstat(real)
        times = [s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns]
        head = struct.pack("6Q", s.st_ino, s.st_size, s.st_blocks, *(t // 10**9 for t in times))
        return head + struct.pack("10I", *(t % 10**9 for t in times), s.st_mode, s.st_nlink, 0, 0, 0, 4096, 0)

    def _entry(self, node, name):
        attributes = self._attributes(self._real(node, name))
        path = os.path.join(self._nodes[node], name)
        if path not in self._numbers:
            self._numbers[path] = len(self._nodes) + 1
            self._nodes[self._numbers[path]] = path
        return struct.pack("4Q2I", self._numbers[path], 0, 0, 0, 0, 0) + attributes

    def _keep(self, descriptor):
        self._open[self._next] = descriptor
        self._next += 1
        return struct.pack("QIi", self._next - 1, DIRECT_IO, 0)

    def _of(self, body):
        return self._open[struct.unpack_from("Q", body)[0]]

    def on_init(self, _, body):
        major, minor, readahead = struct.unpack_from("3I", body)
        return struct.pack("4I2H2I2H", major, min(minor, 31), readahead, 0, 12, 9, MAX_WRITE, 1, 32, 0) + bytes(32)

    def on_lookup(self, node, body):
        return self._entry(node, text(body))

    def on_getattr(self, node, _):
        return struct.pack("QII", 0, 0, 0) + self._attributes(self._real(node))

    def on_setattr(self, node, body):
        valid, _, _, size = struct.unpack_from("IIQQ", body)
        if valid & SIZE:
            os.truncate(self._real(node), size)
        if valid & MODE:
            os.chmod(self._real(node), struct.unpack_from("I", body, 68)[0] & 0o7777)
        return self.on_getattr(node, body)

    def on_mkdir(self, node, body):
        os.mkdir(self._real(node, text(body[8:])))
        return self._entry(node, text(body[8:]))

    def on_unlink(self, node, body):
        os.unlink(self._real(node, text(body)))

    def on_rmdir(self, node, body):
        os.rmdir(self._real(node, text(body)))

    def on_rename(self, node, body, head=8):
        target = struct.unpack_from("Q", body)[0]
        old, new = body[head:].split(b"\0")[:2]
        os.rename(self._real(node, old.decode()), self._real(target, new.decode()))
        moved, to = (os.path.join(self._nodes[n], name.decode()) for n, name in ((node, old), (target, new)))
        number = self._numbers.pop(moved)
        self._numbers[to], self._nodes[number] = number, to

    def on_rename2(self, node, body):
        self.on_rename(node, body, head=16)

    def on_open(self, node, body):
        return self._keep(os.open(self._real(node), struct.unpack_from("I", body)[0] & os.O_ACCMODE))

    def on_create(self, node, body):
        flags, mode = struct.unpack_from("II", body)
        name = text(body[16:])
        opened = self._keep(os.open(self._real(node, name), flags & os.O_ACCMODE | os.O_CREAT, mode & 0o7777))
        return self._entry(node, name) + opened

    def on_read(self, _, body, most):
        offset, size = struct.unpack_from("QI", body, 8)
        return os.pread(self._of(body), min(size, most or size), offset)

    def on_write(self, _, body, most):
        offset, size = struct.unpack_from("QI", body, 8)
        return struct.pack("II", os.pwrite(self._of(body), body[40 : 40 + min(size, most or size)], offset), 0)

    def on_release(self, _, body):
        os.close(self._open.pop(struct.unpack_from("Q", body)[0]))

    def on_fsync(self, _, body):
        os.fdatasync(self._of(body))

    def on_fallocate(self, _, body):
        offset, length = struct.unpack_from("QQ", body, 8)
        os.posix_fallocate(self._of(body), offset, length)

    def on_opendir(self, *_):
        return struct.pack("QIi", 0, 0, 0)

    def on_nothing(self, *_):
        return b""

    def on_statfs(self, *_):
        return struct.pack("5Q4I", 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096, 0) + bytes(24)

    on_flush = on_fsyncdir = on_releasedir = on_readdir = on_access = on_nothing


def text(body):
    return body.split(b"\0")[0].decode()
