"""Power cuts: every disk that POSIX allows at a moment of a recorded trace.

POSIX promises that what ``fsync`` returned for is on the disk: a file's bytes
when the file was synced, names when their folder was. Of all else, any part may
have reached it, in any order: a name without its neighbours, a deletion without
the name that was made before it, a file with its new length and none of its
bytes. A rename is one change, old name and new together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from random import Random

from tests.storage.trace import Event, Trace


@dataclass(eq=False)
class Inode:
    """A file: what is on the disk, and what the page cache holds."""

    safe: bytes = b""
    now: bytes = b""


@dataclass(frozen=True, eq=False)
class Change:
    """A change of names that may or may not have reached the disk."""

    folder: str
    gone: str = ""  # path of a name that goes
    path: str = ""  # path of a name that comes
    inode: Inode | None = None  # None: a folder


Disk = dict[str, Inode | None]  # by path; None: a folder
Contents = Callable[[Inode], bytes]

# What may have become of bytes that were not synced.
UNSYNCED: dict[str, Contents] = {
    "all there": lambda inode: inode.now,
    "none there": lambda inode: inode.safe,
    "half there": lambda inode: inode.now[: (len(inode.safe) + len(inode.now)) // 2],
    "zeros": lambda inode: inode.safe[: len(inode.now)].ljust(len(inode.now), b"\0"),
}


@dataclass
class World:
    """The state of the file system while a trace is replayed."""

    safe: Disk = field(default_factory=dict)
    now: Disk = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def apply(self, event: Event) -> None:
        """Do what the event did."""
        if event.call == "open" and event.new:
            self._change(Change(os.path.dirname(event.path), path=event.path, inode=Inode()))
        elif event.call == "mkdir":
            self._change(Change(os.path.dirname(event.path), path=event.path))
        elif event.call == "link":
            inode = self.now[event.path]
            self._change(Change(os.path.dirname(event.target), path=event.target, inode=inode))
        elif event.call == "rename":
            self._rename(event)
        elif event.call in ("unlink", "rmdir"):
            self._change(Change(os.path.dirname(event.path), gone=event.path))
        elif event.call in ("write", "ftruncate"):
            self._write(event)
        elif event.call == "fsync":
            self._sync(event.path)

    def _rename(self, event: Event) -> None:
        inode = self.now[event.path]
        assert inode is not None, "no folder is renamed here"
        folder = os.path.dirname(event.target)
        self._change(Change(folder, gone=event.path, path=event.target, inode=inode))

    def _write(self, event: Event) -> None:
        inode = self.now[event.path]
        assert inode is not None
        if event.call == "ftruncate":
            inode.now = inode.now[: event.offset].ljust(event.offset, b"\0")
            return
        start = len(inode.now) if event.offset < 0 else event.offset
        head = inode.now[:start].ljust(start, b"\0")
        inode.now = head + event.data + inode.now[start + len(event.data) :]

    def _sync(self, path: str) -> None:
        inode = self.now.get(path)
        if inode is not None:
            inode.safe = inode.now
            return
        for change in [change for change in self.pending if change.folder == path]:
            _do(self.safe, change)
            self.pending.remove(change)

    def _change(self, change: Change) -> None:
        _do(self.now, change)
        self.pending.append(change)


def _do(disk: Disk, change: Change) -> None:
    if change.gone:
        disk.pop(change.gone, None)
    if change.path:
        disk[change.path] = change.inode


def world_of(root: Path) -> World:
    """The world in which what now stands below ``root`` is all there is, and all is safe."""
    disk: Disk = {str(root): None}
    for path in root.rglob("*"):
        disk[str(path)] = None if path.is_dir() else Inode(path.read_bytes(), path.read_bytes())
    return World(dict(disk), dict(disk))


def moments(trace: Trace, world: World) -> Iterator[tuple[World, str]]:
    """The world after each event that changes anything, and the last mark before it."""
    mark = ""
    yield world, mark
    for event in trace:
        if event.call == "mark":
            mark = event.path
        world.apply(event)
        if event.call != "close":
            yield world, mark


def disks(world: World, random: Random, most: int) -> Iterator[tuple[Disk, Contents]]:
    """At most ``most`` of the disks that a power cut may leave; the telling ones first."""
    choices = [
        (chosen, contents) for chosen in _subsets(world.pending, random) for contents in UNSYNCED.values()
    ]
    telling, others = choices[: most // 2], choices[most // 2 :]
    random.shuffle(others)
    for chosen, contents in [*telling, *others][:most]:
        disk = dict(world.safe)
        for change in chosen:
            _do(disk, change)
        yield disk, contents


def _subsets(pending: Sequence[Change], random: Random) -> list[list[Change]]:
    """Nothing, everything, each alone, each missing, prefixes; all of them, if they are few."""
    if len(pending) <= 4:
        sizes = range(len(pending) + 1)
        return [list(chosen) for size in sizes for chosen in combinations(pending, size)]
    alone = [[change] for change in pending]
    missing = [[c for c in pending if c is not left_out] for left_out in pending]
    prefixes = [list(pending[:n]) for n in range(2, len(pending) - 1)]
    some = [[c for c in pending if random.random() < 0.5] for _ in range(10)]
    return [[], list(pending), *missing, *alone, *prefixes, *some]


def build(disk: Disk, contents: Contents, root: str, target: Path) -> None:
    """Make the files of ``disk`` below ``root`` for real, below ``target``."""
    for path, inode in sorted(disk.items()):
        if not (path + "/").startswith(root + "/"):
            continue
        place = target / os.path.relpath(path, root)
        reachable = path == root or (os.path.dirname(path) in disk and place.parent.is_dir())
        if not reachable:
            continue
        if inode is None:
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(contents(inode))
