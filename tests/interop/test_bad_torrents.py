"""Torrent files that are none, and torrents that would write where they should not: exit code 4, a message, nothing written."""

import json

import pytest

import bencode
from peers import samara as contract

HASH = b"\x11" * 20


def torrent(**changes):
    """The bytes of a small single-file torrent, with some of its info changed."""
    info = {"name": "name", "piece length": 16384, "length": 16384, "pieces": HASH}
    return bencode.encode({"announce": "http://10.77.0.1:1/announce", "info": _changed(info, changes)})


def of_files(*paths, **changes):
    info = {
        "name": "name",
        "piece length": 16384,
        "files": [{"path": list(path), "length": 100} for path in paths],
        "pieces": HASH,
    }
    return bencode.encode({"info": _changed(info, changes)})


def _changed(info, changes):
    for key, value in changes.items():
        key = key.replace("_", " ")
        if value is None:
            info.pop(key)
        else:
            info[key] = value
    return info


BAD = {
    "empty file": b"",
    "html": b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
    "i-0e": b"d4:infoi-0ee",
    "i03e": b"d4:infoi03ee",
    "ie": b"d4:infoiee",
    "5:abc": b"d4:info5:abc",
    "depth 10,000": b"l" * 10_000 + b"e" * 10_000,
    "depth inside info": b"d4:infod1:x" + b"l" * 10_000 + b"e" * 10_000 + b"ee",
    "length of 2^63": b"d4:info9223372036854775808:",
    "no info": bencode.encode({"announce": "http://10.77.0.1:1/announce"}),
    "info is a string": bencode.encode({"info": "abc"}),
    "piece length 0": torrent(piece_length=0),
    "piece length negative": torrent(piece_length=-1),
    "piece length huge": torrent(piece_length=1 << 62),
    "no piece length": torrent(piece_length=None),
    "pieces not a multiple of 20": torrent(pieces=HASH + b"x"),
    "too few pieces": torrent(length=16385),
    "too many pieces": torrent(pieces=HASH * 2),
    "length negative": torrent(length=-1),
    "length of 2^63 - 1": torrent(length=(1 << 63) - 1),
    "no length": torrent(length=None),
    "no files": of_files(),
    "file and directory": of_files(["a"], ["a", "b"]),
    "empty path": of_files([]),
    "sum overflows": bencode.encode(
        {"info": {"name": "n", "piece length": 16384, "pieces": HASH,
                  "files": [{"path": [str(i)], "length": (1 << 63) - 1} for i in range(4)]}}
    ),  # fmt: skip
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["info", "download"])
def test_refused(lab, samara, name, command):
    path = lab.private("bad.torrent")
    path.write_bytes(BAD[name])
    into = lab.folder("into")
    args = [command, path] + (["-o", into, "--no-seed"] if command == "download" else [])
    # No room to take what the numbers in the file ask for: an attempt would end the program otherwise than with this code.
    process = samara.run(lab, *args, timeout=30, prefix=["prlimit", f"--data={256 << 20}", "--"])
    assert process.code == contract.BAD_TORRENT, process.tail()
    text = "\n".join(process.err)
    assert path.name in text, "the message names the file"
    assert "panicked" not in text
    assert not list(into.iterdir())


TRAVERSALS = {
    "dot dot in name": torrent(name="../escaped"),
    "absolute name": torrent(name="/escaped"),
    "name is dot dot": of_files(["escaped"], name=".."),
    "dot dot in path": of_files(["..", "..", "escaped"]),
    "slash in path": of_files(["../../escaped"]),
    "absolute path": of_files(["/escaped"]),
    "backslashes": of_files(["..\\..\\escaped"]),
    "nul": of_files(["esc\0aped"]),
    "empty elements": of_files(["", "", "escaped"]),
}


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_leaves_the_directory(lab, samara, name):
    """Refused, or made harmless: either way whatever is made lies below the directory asked for."""
    path = lab.private("bad.torrent")
    path.write_bytes(TRAVERSALS[name])
    outer = lab.folder("outer")
    into = outer / "a" / "b"
    into.mkdir(parents=True)
    shown = samara.run(lab, "info", path, "--json", timeout=30)
    assert shown.code in (contract.DONE, contract.BAD_TORRENT), shown.tail()
    if shown.code == contract.DONE:
        text = "\n".join(shown.out)
        assert '".."' not in text and "../" not in text
        # Nobody serves it; all that can happen is that files are made. `verify` and `download` see the same paths.
        verified = samara.run(lab, "verify", path, "--data", into, timeout=30)
        assert verified.code == contract.FAILED, verified.tail()
    made = [p for p in outer.rglob("*") if p not in (outer / "a", into)]
    assert all(into in p.parents for p in made)


def test_two_files_of_one_name_are_told_apart(lab, samara):
    path = lab.private("twice.torrent")
    path.write_bytes(of_files(["a"], ["a"]))
    shown = samara.run(lab, "info", path, "--json", timeout=30)
    assert shown.code == contract.DONE, shown.tail()
    files = json.loads("\n".join(shown.out))["files"]
    assert len({json.dumps(file["path"]) for file in files}) == 2


def test_missing_file(lab, samara):
    process = samara.run(lab, "info", lab.private("not there.torrent"), timeout=30)
    assert process.code != contract.DONE
    assert "not there.torrent" in "\n".join(process.err)


def test_usage(lab, samara):
    assert samara.run(lab, "download", timeout=30).code == contract.USAGE
    assert samara.run(lab, "no-such-command", timeout=30).code == contract.USAGE
    assert samara.run(lab, "download", "x.torrent", "--port", "70000", timeout=30).code == contract.USAGE
