"""A child process whose output is kept, line by line, so that a test can wait for what it says instead of sleeping."""

import os
import signal
import subprocess
import threading
import time

# Generous: a loaded machine with two cores must not fail a case that a quick one passes.
DEADLINE_S = float(os.environ.get("INTEROP_DEADLINE", "90"))
POLL_S = 0.02


class Trouble(AssertionError):
    """Something the test waited for did not happen."""


def wait_for(what, condition, timeout=None):
    """Polls `condition` until it gives something true, and returns that. For states that only a program's RPC or /proc shows."""
    timeout = DEADLINE_S if timeout is None else timeout
    end = time.monotonic() + timeout
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise Trouble(f"not within {timeout:.0f} s: {what}")
        time.sleep(POLL_S)


class Process:
    """One program under test or beside it. `out` and `err` are its lines so far; all of them also go to a log file."""

    def __init__(self, name, argv, log, env=None, cwd=None):
        self.name = name
        self.argv = [str(a) for a in argv]
        self.out, self.err = [], []
        self.code = None
        self.cpu_s = 0.0  # user and system, known after the end
        self._changed = threading.Condition()
        self._log = open(log, "a", encoding="utf-8", errors="replace")
        self._log.write("$ " + " ".join(self.argv) + "\n")
        self.log_path = log
        self._child = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        self.pid = self._child.pid
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self._child.stdout, self.out), (self._child.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()
        threading.Thread(target=self._reap, daemon=True).start()

    def _read(self, stream, lines):
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self._changed:
                lines.append(line)
                self._log.write(line + "\n")
                self._changed.notify_all()

    def _reap(self):
        # wait4 and not Popen.wait: it also tells the CPU time. (Its memory figure is of no use: it counts ours, before the exec.)
        _, status, usage = os.wait4(self.pid, 0)
        for reader in self._readers:
            reader.join(5)
        with self._changed:
            self.code = os.waitstatus_to_exitcode(status)
            self._child.returncode = self.code
            self.cpu_s = usage.ru_utime + usage.ru_stime
            self._log.write(f"[exit {self.code}]\n")
            self._log.flush()
            self._changed.notify_all()

    def wait_line(self, what, found, stream="out", timeout=None):
        """Waits until `found(line)` gives something true for a line of the stream, and returns that."""
        timeout = DEADLINE_S if timeout is None else timeout
        end = time.monotonic() + timeout
        lines = self.out if stream == "out" else self.err
        seen = 0
        with self._changed:
            while True:
                while seen < len(lines):
                    got = found(lines[seen])
                    seen += 1
                    if got:
                        return got
                if self.code is not None:
                    raise Trouble(f"{self.name} ended with {self.code} before {what}\n{self.tail()}")
                left = end - time.monotonic()
                if left <= 0:
                    raise Trouble(f"{self.name}: not within {timeout:.0f} s: {what}\n{self.tail()}")
                self._changed.wait(left)

    def wait_exit(self, timeout=None):
        """Waits for the program's own end and returns its exit code."""
        timeout = DEADLINE_S if timeout is None else timeout
        with self._changed:
            if not self._changed.wait_for(lambda: self.code is not None, timeout):
                raise Trouble(f"{self.name} still runs after {timeout:.0f} s\n{self.tail()}")
        return self.code

    def send(self, number):
        """Sends a signal to the program, if it still runs."""
        with self._changed:
            if self.code is None:
                try:
                    os.kill(self.pid, number)
                except ProcessLookupError:
                    pass  # it has just ended

    def stop(self, number=signal.SIGINT, timeout=10):
        """Asks the program to end, insists after `timeout`, and returns the exit code."""
        self.send(number)
        try:
            return self.wait_exit(timeout)
        except Trouble:
            self.send(signal.SIGKILL)
            return self.wait_exit(10)

    def running(self):
        return self.code is None

    def memory(self):
        """(anonymous bytes now, greatest resident bytes so far): the first is the program's own, without pages of files. 0 after its end."""
        found = {"RssAnon": 0, "VmHWM": 0}
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
                for line in status:
                    name, _, value = line.partition(":")
                    if name in found:
                        found[name] = int(value.split()[0]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            pass
        return found["RssAnon"], found["VmHWM"]

    def tail(self, lines=25):
        """The last lines of both streams, for messages."""
        text = [f"--- {self.name}: {' '.join(self.argv)}"]
        text += [f"out| {line[:300]}" for line in self.out[-lines:]]
        text += [f"err| {line[:300]}" for line in self.err[-lines:]]
        return "\n".join(text)


class PeakMemory:
    """Samples a process's memory beside the test: `peak` of the anonymous, `resident` of all, in bytes."""

    def __init__(self, process, interval=0.05):
        self.peak = self.resident = 0
        self._process = process
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(interval,), daemon=True)

    def _watch(self, interval):
        while not self._end.wait(interval):
            anonymous, resident = self._process.memory()
            self.peak, self.resident = max(self.peak, anonymous), max(self.resident, resident)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
