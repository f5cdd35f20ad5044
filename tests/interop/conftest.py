"""The suite's ground: the namespace it runs in, a laboratory for each test, and the payloads."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

import payload as payloads
from peers import clients, net
from peers.opentracker import Opentracker
from peers.process import Process
from peers.samara import Samara
from test_link import FIGURES

REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    if config.option.collectonly:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.suspend_global_capture(in_=True)  # give back the real stdout, stderr and stdin before the process is replaced
    try:
        if hasattr(config, "workerinput"):
            net.leave_for_own_network()
        else:
            net.enter_namespace()
    except net.NoNamespace as trouble:
        raise pytest.UsageError(str(trouble)) from None
    if capture:
        capture.resume_global_capture()
    config.addinivalue_line("markers", "alone: measures, so nothing else may run meanwhile")


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = session.config.stash.get(FIGURES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    node.config.stash.setdefault(FIGURES, []).extend(getattr(node, "workeroutput", {}).get("figures", []))


@pytest.fixture(autouse=True)
def turn(request, tmp_path_factory):
    """With several workers (`-n`): a test that is marked `alone` has the machine to itself."""
    if not hasattr(request.config, "workerinput"):
        yield
        return
    shared = tmp_path_factory.getbasetemp().parent
    alone = request.node.get_closest_marker("alone") is not None
    # Who wants to be alone holds the door until everybody else has left.
    with open(shared / "door.lock", "w") as door, open(shared / "room.lock", "w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


class Lab:
    """What one test starts and leaves: processes, directories, trackers. All of it ends with the test."""

    def __init__(self, directory):
        self.directory = directory
        self.processes = []
        self._closing = []
        self._names = 0

    def private(self, name):
        """A path of its own that does not exist yet."""
        self._names += 1
        return self.directory / f"{name}-{self._names}"

    def folder(self, name):
        path = self.private(name)
        path.mkdir()
        return path

    def environment(self):
        """The environment of the program under test: no settings, no state, no proxy from outside."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SAMARA", "XDG_")) and "proxy" not in k.lower()}
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        state = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("STATE", "CONFIG", "DATA", "CACHE")}
        # Nobody outside is asked: tests of the DHT name its nodes.
        return kept | state | {"HOME": str(home), "SAMARA_DHT": "0"}

    def start(self, name, argv, env=None, cwd=None):
        process = Process(name, argv, self.private(f"{name}.log"), env=env, cwd=cwd)
        self.processes.append(process)
        return process

    def tracker(self, *info_hashes):
        return Opentracker(self, *info_hashes)

    def closing(self, thing):
        """Closes `thing` when the test ends; returns it."""
        self._closing.append(thing)
        return thing

    def close(self):
        for thing in reversed(self._closing):
            thing.close()
        for process in self.processes:
            process.send(9)
        for process in self.processes:
            process.wait_exit(10)


@pytest.fixture
def lab(tmp_path, request):
    laboratory = Lab(tmp_path)
    request.node.watched = laboratory.processes
    yield laboratory
    laboratory.close()
    # Gibibytes of copies: kept only where a failure wants looking at.
    if getattr(request.node, "passed", False):
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.passed = report.passed
        if report.failed:
            for process in getattr(item, "watched", []):
                report.sections.append((f"{process.name} (exit {process.code})", process.tail()))
    return report


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """`shapes(name)`: a payload of payload.SHAPES, made once a run."""
    made = {}

    def shape(name):
        if name not in made:
            made[name] = payloads.SHAPES[name](tmp_path_factory.mktemp("payload"))
        return made[name]

    return shape


@pytest.fixture(scope="session")
def samara_program():
    named = os.environ.get("SAMARA")
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    program = Path(named) if named else target / "release" / "samara"
    if not program.is_file():
        pytest.fail(f"{program} is not there: `cargo build --release`, or name the program in SAMARA", pytrace=False)
    return program


@pytest.fixture(scope="session")
def samara(samara_program):
    return Samara(samara_program)


@pytest.fixture(scope="session")
def subject(request):
    """samara; or, to try the suite itself, the client that INTEROP_SUBJECT names."""
    named = os.environ.get("INTEROP_SUBJECT", "samara")
    if named == "samara":
        return request.getfixturevalue("samara")
    return {client.name: client for client in reference_clients()}[named]


def reference_clients():
    found = clients.installed()
    if rqbit := os.environ.get("RQBIT"):
        found.append(clients.Rqbit(rqbit))
    return found


def pytest_terminal_summary(terminalreporter, config):
    if figures := config.stash.get(FIGURES, []):
        terminalreporter.section("figures")
        for name, line in figures:
            terminalreporter.write_line(f"{name}: {line}")
