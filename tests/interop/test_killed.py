"""SIGKILL before every system call on files, in each part of a transfer's life: what the next run claims is there, nothing right is fetched again.

A point is one call of one scene. The program dies there; then every piece on disk is hashed, and a second run has to claim no piece that is not
right, ask for none that is, and come to content that is equal byte for byte. INTEROP_SWEEP=all tries every point, INTEROP_SWEEP=90-120 those; otherwise it is a
sample with the first, the middle and the last call of every kind.
"""

import hashlib
import json
import os
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path

import pytest

import payload as payloads
from peers.fake import Seed
from peers.samara import DONE, QUIET, Samara
from test_link import FIGURES

STEPPER = [sys.executable, str(Path(__file__).parent / "peers" / "stepper.py")]
SAMPLE = 10
# A scene whose end the sample has not reached is one whose calls went up meanwhile: more is tried until the program ends by itself.
BEYOND = 40


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return payloads.scattered(tmp_path_factory.mktemp("payload"))


class Round:
    """One torrent, one directory, one state; killed at one point."""

    def __init__(self, lab, content, program, root):
        self.lab, self.content, self.root = lab, content, root
        self.into, self.report = root / "into", root / "report.json"
        self.into.mkdir(parents=True)
        self.torrent = content.torrent(root / "t.torrent")
        self.samara = Samara(program, QUIET | {"SAMARA_STATE_DIR": str(root / "state")})
        self.kept = set()  # pieces that an earlier run completed, though they are not at their place

    def stepped(self, kill, begin=None):
        """The words before a command that is to be killed at call `kill`."""
        more = ["--kill", str(kill)] if kill else []
        more += ["--from", begin] if begin else []
        return [*STEPPER, *more, "--below", str(self.root), "--report", str(self.report), "--"]

    def download(self, seed, *options, prefix=()):
        return self.samara.download(self.lab, self.torrent, self.into, [seed.address], *options, prefix=prefix)

    def half(self):
        """A run that gets half of the content and is stopped in order."""
        seed = Seed(self.lab, self.torrent, until=self.content.piece_count // 2)
        download = self.download(seed)
        assert seed.stalled.wait(60)
        download.process.stop(signal.SIGINT)

    def right_pieces(self):
        """The pieces that are on disk as they should be."""
        data = bytearray()
        for parts, size in self.content.files:
            path = self.content.path(parts, self.into)
            data += (path.read_bytes() if path.is_file() else b"")[:size].ljust(size, b"\0")
        hashes, length = self.content.piece_hashes(), self.content.piece_length
        pieces = (data[at : at + length] for at in range(0, len(data), length))
        return {i for i, piece in enumerate(pieces) if hashlib.sha1(piece).digest() == hashes[20 * i : 20 * i + 20]}


def fetch(scene, kill, *options):
    """All of the content, from nothing to the end."""
    scene.download(Seed(scene.lab, scene.torrent), *options, prefix=scene.stepped(kill)).process.wait_exit()


def fetch_preallocated(scene, kill):
    fetch(scene, kill, "--preallocate")


def stop(scene, kill):
    """Half of the content; then Ctrl-C."""
    seed = Seed(scene.lab, scene.torrent, until=scene.content.piece_count // 2)
    download = scene.download(seed, prefix=scene.stepped(kill))
    while download.process.running() and not seed.stalled.wait(0.01):
        pass
    download.process.stop(signal.SIGINT)


def go_on(scene, kill):
    """The other half, with the record that an orderly end left."""
    scene.half()
    fetch(scene, kill)


def recover(scene, kill):
    """What comes after a kill in the midst of a download, without a record."""
    seed = Seed(scene.lab, scene.torrent, until=scene.content.piece_count // 2)
    download = scene.download(seed)
    assert seed.stalled.wait(60)
    download.process.stop(signal.SIGKILL)
    fetch(scene, kill)


def save_meanwhile(scene, kill):
    """The record that is written while pieces keep coming: five seconds after the first."""
    seed = Seed(scene.lab, scene.torrent, until=scene.content.piece_count // 2, slowly=True)
    download = scene.download(seed, prefix=scene.stepped(kill, "fdatasync"))
    while download.process.running() and not list((scene.root / "state").glob("*.resume")):
        time.sleep(0.005)
    download.process.stop(signal.SIGINT)


def check(scene, kill):
    """A check of all that is there, and the record of it."""
    scene.content.copy(scene.into)
    fetch(scene, kill)


def want_more(scene, kill):
    """Some files first, later all: what was kept aside of the others goes to its place."""
    seed = Seed(scene.lab, scene.torrent)
    scene.download(seed, "--files", "2,4").wait_complete()
    scene.kept = seed.pieces_served()
    fetch(scene, kill)


# Takes seconds for each point.
save_meanwhile.sample = 5

SCENES = [fetch, fetch_preallocated, stop, go_on, recover, save_meanwhile, check, want_more]


def judge(scene):
    """What is wrong after the kill and the run that follows it, in words, and the seconds until that run knew what it has."""
    right = scene.right_pieces()
    seed = Seed(scene.lab, scene.torrent)
    begun = time.monotonic()
    download = scene.download(seed)
    code = download.process.wait_exit()
    wrong = []
    if code != DONE:
        wrong.append(f"the next run ends with {code}: {download.process.tail()}")
    if claimed := seed.claimed - right - scene.kept:
        wrong.append(f"claims pieces that are not right: {sorted(claimed)}")
    if again := seed.pieces_asked() & (right | scene.kept):
        wrong.append(f"asks again for {len(again)} pieces: {sorted(again)}")
    if differences := payloads.differences(scene.content, scene.into):
        wrong.append(differences)
    if strangers := payloads.strangers(scene.content, scene.into):
        wrong.append(f"leaves {strangers}")
    return wrong, seed.greeted_at and seed.greeted_at - begun


def sample(names, size):
    """Numbers of calls, from 1: first, middle and last of each kind, and more at equal distances."""
    if asked := os.environ.get("INTEROP_SWEEP"):
        if asked != "all":
            first, last = asked.split("-")
            return range(int(first), int(last) + 1)
        return range(1, len(names) + BEYOND)
    chosen = set()
    for name in sorted(set(names)):
        of_kind = [number for number, other in enumerate(names, 1) if other == name]
        chosen |= {of_kind[0], of_kind[len(of_kind) // 2], of_kind[-1]}
    chosen = sorted(chosen)
    every = max(1, len(chosen) // size)
    return chosen[::every] if len(chosen) > size else chosen


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__.replace("_", " "))
def test_killed_before_every_call(lab, content, samara_program, pytestconfig, scene):
    def one(number, kill):
        made = Round(lab, content, samara_program, lab.directory / f"round-{number}")
        scene(made, kill)
        report = json.loads(made.report.read_text())
        return made, report

    _, report = one(0, None)
    names = report["names"]
    assert len(names) > 5, names
    tried, found, recovery = 0, [], []
    for number in sample(names, getattr(scene, "sample", SAMPLE)):
        made, report = one(number, number)
        if report["calls"] < number:
            if number > len(names):
                break
            continue  # the threads came to fewer calls this time
        tried += 1
        wrong, seconds = judge(made)
        found += [f"killed before call {number}, {report['last'][-1]}: {text}" for text in wrong]
        if seconds:
            recovery.append(seconds)
        if not wrong:
            shutil.rmtree(made.root)
        lab.processes.clear()
    assert tried > 3
    line = f"{tried} points of {len(names)} calls, {len(found)} violations"
    if recovery:
        line += f"; the next run knows what it has after {statistics.median(recovery):.2f} s, at most {max(recovery):.2f} s"
    pytestconfig.stash.setdefault(FIGURES, []).append((f"killed, {scene.__name__}", line))
    assert not found, "\n".join(found[:20])
