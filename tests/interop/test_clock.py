"""The wall clock jumps, by months and both ways: nothing stands still, nobody is asked too often, nothing is checked twice."""

import datetime
import glob
import re
import sys
from pathlib import Path

import payload as payloads
from peers import net
from peers import samara as contract
from peers.process import wait_for

KIB, MIB = 1 << 10, 1 << 20
LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class Clock:
    """A wall clock of the programs' own. The monotonic one, by which timers should go, is the machine's."""

    def __init__(self, lab):
        self._file = lab.private("clock")
        self.jump("+0")
        (library,) = glob.glob(LIBRARY)
        self.env = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # the times of files are the file system's
        }

    def jump(self, offset):
        fresh = self._file.with_suffix(".new")
        fresh.write_text(offset + "\n")
        fresh.rename(self._file)


def test_a_clock_that_jumps_stops_nothing(lab, samara):
    content = payloads.single(lab.folder("payload"), 24 * MIB, 64 * KIB, seed=83)
    clock = Clock(lab)
    ours = contract.Samara(samara.program, contract.QUIET | clock.env)
    host, port = net.new_address(), net.free_port(net.new_address())
    seed = ours.seed(lab, content.torrent(lab.private("seed.torrent")), content.root)
    seed.wait_ready()
    script = Path(__file__).parent / "peers" / "noting_tracker.py"
    tracker = lab.start("tracker", [sys.executable, script, host, port, seed.address])
    tracker.wait_line("the tracker is ready", lambda line: "ready" in line)
    torrent = content.torrent(lab.private("t.torrent"), f"http://{host}:{port}/announce")
    into = lab.folder("into")
    download = ours.download(lab, torrent, into, [], "--limit-down", "2M", "--limit-local", "-vv")
    done = lambda: max((e["done"] for e in download.events() if e["type"] == "progress"), default=0)  # noqa: E731
    day = datetime.datetime.now(datetime.UTC).date()
    for count, offset in enumerate(["+40d", "+3600s", "-1s", "-400d"], 1):
        wait_for("it goes on", lambda count=count: done() >= count * 4 * MIB, 20)
        clock.jump(offset)
    assert download.process.wait_exit(60) == contract.DONE, download.process.tail()
    assert not payloads.differences(content, into)
    announces = [line for line in tracker.out if '"event"' in line]
    events = [re.search('"event": "(.*?)"', line).group(1) for line in announces]
    assert events[0] == "started" and events.count("") == 0 and len(events) <= 3, events
    # The clock did jump for it: its own log says so.
    dates = {match.group(0) for line in download.process.err if (match := re.match(r"\d{4}-\d\d-\d\d", line))}
    far = {date for date in dates if abs((datetime.date.fromisoformat(date) - day).days) > 30}
    assert far, dates
    # A year back: what is there is known, and not read again.
    clock.jump("-366d")
    again = ours.download(lab, torrent, into, [], "-vv")
    assert again.process.wait_exit(30) == contract.DONE
    hashed = [line for line in again.process.err if "checking" in line and "pieces=" in line]
    assert not hashed and any("state=Seeding" in line for line in again.process.err), again.process.tail()
    assert len([line for line in tracker.out if '"event"' in line]) <= len(announces) + 3
