"""Content to transfer, made from a seed, and torrents over it, made without samara."""

import filecmp
import hashlib
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import bencode

KIB = 1 << 10
MIB = 1 << 20


@dataclass
class Payload:
    """Files under `root`/`name` (or the file `root`/`name` itself, when `single`)."""

    root: Path
    name: str
    files: list  # (relative path as a tuple, size)
    single: bool
    piece_length: int
    _hashes: bytes = field(default=b"", repr=False)

    @property
    def size(self):
        return sum(size for _, size in self.files)

    @property
    def piece_count(self):
        return -(-self.size // self.piece_length)

    def path(self, parts, root=None):
        root = Path(root or self.root)
        return root / self.name if self.single else root.joinpath(self.name, *parts)

    def read(self):
        """All bytes, in the order of the torrent."""
        return b"".join(self.path(parts).read_bytes() for parts, _ in self.files)

    def piece_hashes(self):
        if not self._hashes:
            hashes, piece = [], bytearray()
            for parts, _ in self.files:
                with open(self.path(parts), "rb") as source:
                    while data := source.read(self.piece_length - len(piece)):
                        piece += data
                        if len(piece) == self.piece_length:
                            hashes.append(hashlib.sha1(piece).digest())
                            piece.clear()
            if piece:
                hashes.append(hashlib.sha1(piece).digest())
            self._hashes = b"".join(hashes)
        return self._hashes

    def info(self):
        info = {"name": self.name, "piece length": self.piece_length, "pieces": self.piece_hashes()}
        if self.single:
            info["length"] = self.size
        else:
            info["files"] = [{"path": list(parts), "length": size} for parts, size in self.files]
        return info

    def torrent(self, path, *announce, nodes=(), private=False):
        """Writes a torrent with these trackers, one a tier, and these nodes of the DHT, as (host, port), to `path`."""
        info = bencode.encode(self.info() | ({"private": 1} if private else {}))
        # Composed by hand, so that the info-hash is over the bytes that stand in the file.
        head = {}
        if announce:
            head["announce"] = announce[0]
        if len(announce) > 1:
            head["announce-list"] = [[url] for url in announce]
        encoded = b"d" + b"".join(bencode.encode(k) + bencode.encode(v) for k, v in sorted(head.items()))
        path = Path(path)
        tail = b"5:nodes" + bencode.encode([list(node) for node in nodes]) if nodes else b""
        path.write_bytes(encoded + b"4:info" + info + tail + b"e")
        return Torrent(path, self, hashlib.sha1(info).digest())

    def copy(self, root):
        """The same content below another directory, as files of its own."""
        for parts, _ in self.files:
            target = self.path(parts, root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.path(parts).read_bytes())
        return root


@dataclass
class Torrent:
    path: Path
    payload: Payload
    info_hash: bytes

    @property
    def hex(self):
        return self.info_hash.hex()


def differences(payload, root, empty_may_lack=False):
    """What differs below `root`, as text, one difference a line; empty when all is the same, byte for byte."""
    found = []
    for parts, size in payload.files:
        ours, theirs = payload.path(parts), payload.path(parts, root)
        if not theirs.is_file():
            if size or not empty_may_lack:
                found.append(f"missing: {theirs}")
        elif theirs.stat().st_size != size:
            found.append(f"{theirs.stat().st_size} bytes instead of {size}: {theirs}")
        elif size and not filecmp.cmp(ours, theirs, shallow=False):
            found.append(f"different: {theirs}")
    return "\n".join(found[:20])


def strangers(payload, root):
    """Files below `root` that the torrent does not name."""
    named = {payload.path(parts, root) for parts, _ in payload.files}
    return [path for path in Path(root).rglob("*") if path.is_file() and path not in named]


def _write(root, name, sizes, single, piece_length, seed):
    random_bytes = random.Random(seed).randbytes
    payload = Payload(Path(root), name, sizes, single, piece_length)
    for parts, size in sizes:
        path = payload.path(parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as out:
            for at in range(0, size, MIB):
                out.write(random_bytes(min(MIB, size - at)))
    return payload


def single(root, size, piece_length, name="single.bin", seed=1):
    return _write(root, name, [((name,), size)], True, piece_length, seed)


def nested(root):
    """Directories, an empty file at the front, in the middle and at the end, one-byte files, names beyond ASCII, a file of many pieces."""
    sizes = [
        (("0 empty first",), 0),
        (("a", "one byte"), 1),
        (("a", "b", "c", "d", "deep.bin"), 300_000),
        (("a", "empty"), 0),
        (("big.bin",), 9 * MIB + 17),
        (("one.bin",), 1),
        (("Überraschung", "日本語.bin"), 65_536),
        (("with space & ampersand.txt",), 12_345),
        (("z", "last empty"), 0),
    ]
    return _write(root, "nested", sizes, False, 32 * KIB, seed=2)


def scattered(root):
    """Little of everything: files that share pieces, one of whole pieces, an empty one, directories. For what is done hundreds of times."""
    sizes = [
        (("a", "first.bin"), 100_000),
        (("a", "tiny"), 5),
        (("b", "c", "whole.bin"), 3 * 16 * KIB),
        (("b", "empty"), 0),
        (("long.bin",), 250_000),
        (("z.bin",), 70_000),
    ]
    return _write(root, "scattered", sizes, False, 16 * KIB, seed=7)


def many(root, count=10_000):
    """Thousands of files in few pieces: many files a piece, some of them empty."""
    draw = random.Random(3)
    sizes = [((f"{i % 100:02}", f"file {i:05}"), draw.randrange(0, 2 * KIB)) for i in range(count)]
    return _write(root, "many", sizes, False, 256 * KIB, seed=3)


def made(root, name, sizes, piece_length, seed):
    """Files of these sizes, as (path, bytes)."""
    return _write(root, name, sizes, False, piece_length, seed)


def sparse(root, size, piece_length=MIB, name="large.bin"):
    """A large file that costs little to make: each piece begins with its number, all else is a hole."""
    path = Path(root) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        os.truncate(path, size)
        for at in range(0, size, piece_length):
            out.seek(at)
            out.write(b"piece %016d" % (at // piece_length))
    return Payload(Path(root), name, [((name,), size)], True, piece_length)


SHAPES = {
    "single": lambda root: single(root, 24 * MIB + 12_345, 256 * KIB),
    "nested": nested,
    "exact multiple": lambda root: single(root, 16 * MIB, MIB, "exact.bin", seed=4),
    "16 KiB pieces": lambda root: single(root, 8 * MIB + 7, 16 * KIB, "small-pieces.bin", seed=5),
    "16 MiB pieces": lambda root: single(root, 40 * MIB + 1, 16 * MIB, "large-pieces.bin", seed=6),
    "10,000 files": many,
}
