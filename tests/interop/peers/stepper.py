"""Runs a program up to its N-th system call on files below a directory, and kills it there: before the call is carried out.

`python stepper.py [--kill N] [--from CALL] --below DIR --report FILE -- PROGRAM ARGUMENT...`

Calls are counted over all threads in the order in which the kernel is asked. What is on disk when the program dies at call N is what call N - 1
left, so a sweep over all N sees both sides of every call. `--from` counts from the first call of that name on. The report is a JSON object: the
number of calls counted, and the names of the last few. A signal that would end this program is passed on to the other one, whose exit code is ours.
"""

import argparse
import ctypes
import errno
import json
import os
import platform
import signal
import struct
import sys
from pathlib import Path

# Numbers of calls, with the place of the descriptor (or directory) and of the path among the arguments, where there are such.
CALLS = {
    # name: (x86_64, aarch64, descriptor, path)
    "read": (0, 63, 0, None),
    "write": (1, 64, 0, None),
    "close": (3, 57, 0, None),
    "fstat": (5, 80, 0, None),
    "pread64": (17, 67, 0, None),
    "pwrite64": (18, 68, 0, None),
    "writev": (20, 66, 0, None),
    "fsync": (74, 82, 0, None),
    "fdatasync": (75, 83, 0, None),
    "ftruncate": (77, 46, 0, None),
    "rename": (82, None, None, 0),
    "mkdir": (83, None, None, 0),
    "unlink": (87, None, None, 0),
    "fchmod": (91, 52, 0, None),
    "getdents64": (217, 61, 0, None),
    "fadvise64": (221, 223, 0, None),
    "openat": (257, 56, 0, 1),
    "mkdirat": (258, 34, 0, 1),
    "newfstatat": (262, 79, 0, 1),
    "unlinkat": (263, 35, 0, 1),
    "renameat": (264, 38, 0, 1),
    "symlinkat": (266, 36, 1, 2),
    "fallocate": (285, 47, 0, None),
    "preadv": (295, 69, 0, None),
    "pwritev": (296, 70, 0, None),
    "renameat2": (316, 276, 0, 1),
    "copy_file_range": (326, 285, 2, None),
    "preadv2": (327, 286, 0, None),
    "pwritev2": (328, 287, 0, None),
    "statx": (332, 291, 0, 1),
    "openat2": (437, 437, 0, 1),
}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

TRACEME, CONT, SETOPTIONS, GET_SYSCALL_INFO = 0, 7, 0x4200, 0x420E
# Threads and children are traced like the program, seccomp tells of calls, and nothing outlives this program.
OPTIONS = 0x02 | 0x04 | 0x08 | 0x10 | 0x80 | 0x100000
EVENT_SECCOMP = 7
WALL = 0x40000000
AT_FDCWD = -100

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, pid, addr=0, data=0):
    return libc.ptrace(request, pid, addr, data)


def watch_only(numbers, machine):
    """From now on the kernel stops this process at these calls, and at no others."""
    load, jump, give = 0x20, 0x15, 0x06
    allow, trace = 0x7FFF0000, 0x7FF00000
    # The machine is asked first: on x86_64 the numbers of 32-bit programs mean something else.
    rules = [(load, 0, 0, 4), (jump, 1, 0, machine), (give, 0, 0, allow), (load, 0, 0, 0)]
    for place, number in enumerate(numbers):
        rules.append((jump, len(numbers) - place, 0, number))
    rules += [(give, 0, 0, allow), (give, 0, 0, trace)]
    program = b"".join(struct.pack("HBBI", *rule) for rule in rules)
    kept = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(kept))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(head), 0, 0):
        os._exit(98)


class Counter:
    """Which calls count, and how many there were."""

    def __init__(self, below, begin):
        self.below, self.begin = below, begin
        self.count, self.names = 0, []
        column, self.machine = MACHINES[platform.machine()]
        self.by_number = {call[column]: (name, *call[2:]) for name, call in CALLS.items() if call[column] is not None}

    def counts(self, pid):
        """Whether the call at which the thread stands is one of those; then it is counted."""
        info = ctypes.create_string_buffer(128)
        if ptrace(GET_SYSCALL_INFO, pid, len(info), ctypes.addressof(info)) <= 0:
            return False
        number, *arguments = struct.unpack_from("Q6Q", info, 24)
        if number not in self.by_number:
            return False
        name, descriptor, path = self.by_number[number]
        if not self._is_below(pid, arguments, descriptor, path):
            return False
        if self.begin is not None:
            if name != self.begin:
                return False
            self.begin = None
        self.count += 1
        self.names.append(name)
        return True

    def _is_below(self, pid, arguments, descriptor, path):
        if path is not None:
            text = read_string(pid, arguments[path])
            if text.startswith(b"/"):
                return text.startswith(self.below)
            if text and descriptor is None:
                return False
        number = ctypes.c_int(arguments[descriptor] & 0xFFFFFFFF).value
        try:
            where = f"/proc/{pid}/cwd" if number == AT_FDCWD else f"/proc/{pid}/fd/{number}"
            return os.readlink(where).encode().startswith(self.below)
        except OSError:
            return False


def read_string(pid, at):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        try:
            memory.seek(at)
            return memory.read(4096 - at % 4096).split(b"\0")[0]
        except (OSError, OverflowError, ValueError):
            return b""


def pass_on(child, number):
    try:
        os.kill(child, number)
    except ProcessLookupError:
        pass


def run(program, counter, kill_at):
    child = os.fork()
    if child == 0:
        ptrace(TRACEME, 0)
        watch_only(list(counter.by_number), counter.machine)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            os.execvp(program[0], program)
        finally:
            os._exit(127)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: pass_on(child, received))
    os.waitpid(child, WALL)
    ptrace(SETOPTIONS, child, 0, OPTIONS)
    ptrace(CONT, child)
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            return code
        if not os.WIFSTOPPED(status):
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
            continue
        number, event = os.WSTOPSIG(status), status >> 16
        if event == EVENT_SECCOMP and counter.counts(pid) and counter.count == kill_at:
            os.kill(child, signal.SIGKILL)
            continue
        passed_on = 0 if event or number in (signal.SIGSTOP, signal.SIGTRAP) else number
        if ptrace(CONT, pid, 0, passed_on) < 0 and ctypes.get_errno() != errno.ESRCH:
            raise OSError(ctypes.get_errno(), "ptrace")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kill", type=int)
    parser.add_argument("--from", dest="begin")
    parser.add_argument("--below", required=True)
    parser.add_argument("--report", type=Path)
    parser.add_argument("program", nargs="+")
    asked = parser.parse_args()
    counter = Counter(os.path.realpath(asked.below).encode(), asked.begin)
    code = run(asked.program, counter, asked.kill)
    if asked.report:
        asked.report.write_text(json.dumps({"calls": counter.count, "last": counter.names[-8:], "names": counter.names}))
    sys.exit(128 - code if code < 0 else code)


if __name__ == "__main__":
    main()
