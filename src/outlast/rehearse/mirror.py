"""A copy of the folder that a script works in, so that what it writes there replaces nothing of the user's.

The copy lies in a mirror of the whole way to it, ``ROOT/home/me/project``, where links lead to all that is
beside that way. So ``../data`` and ``Path(__file__).parents[1]`` are found, and what the script writes with a
relative path lands in the copy. Links to what is too large, and absolute paths, lead to the user's own files:
these are not protected.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

from outlast.storage.disk.calls import explained

# What is copied for each try at the most: a second or two of time.
MOST_BYTES, MOST_FILES = 10**9, 5_000

WRITTEN = ("files", "files-beside-the-script")  # in a try's folder: what the script changed in each copy


@dataclass(frozen=True)
class Mirror:
    """Where the copies lie. The path is the same for every try: a script may compute from it.

    Args:
        root: the mirror of ``/``, in the rehearsal's own folder.
        folders: what is copied: the working folder, and the script's if that lies elsewhere. Real paths.
        linked: what is in these and not copied: too large, or a tool's. Real paths.
    """

    root: str
    folders: tuple[str, ...]
    linked: frozenset[str] = frozenset()

    def inside(self, path: str) -> str:
        """Where a real path is in the mirror."""
        return self.root + path

    def make(self) -> None:
        """Copy the folders as they are now."""
        with explained(self.root, f"copy {' and '.join(self.folders)} to"):
            self._lead("/")

    def take(self, folder: str) -> None:
        """Move what was changed in the copies since into ``folder``, and delete the rest."""
        for original, name in zip(self.folders, WRITTEN, strict=False):
            copy = self.inside(original)
            _drop_unchanged(original, copy)
            with suppress(OSError):  # empty
                os.rmdir(copy)
            if os.path.isdir(copy):
                os.rename(copy, os.path.join(folder, name))
        shutil.rmtree(self.root, ignore_errors=True)  # a process that was killed may have workers left
        if os.path.isdir(self.root):
            os.rename(self.root, os.path.join(folder, "left"))

    def _lead(self, original: str) -> None:
        """Make a folder on the way, with links to what is beside the way."""
        if original in self.folders:
            return self._copy(original, self.inside(original))
        os.makedirs(self.inside(original), exist_ok=True)
        on_the_way = {step for folder in self.folders if (step := _step(original, folder))}
        for name in {*_names_in(original)} - on_the_way:
            os.symlink(os.path.join(original, name), os.path.join(self.inside(original), name))
        for name in sorted(on_the_way):
            self._lead(os.path.join(original, name))
        return None

    def _copy(self, original: str, copy: str) -> None:
        os.mkdir(copy)
        for entry in _entries(original):
            with suppress(FileNotFoundError):  # another process deletes it meanwhile
                self._copy_entry(entry, os.path.join(copy, entry.name))

    def _copy_entry(self, entry: os.DirEntry[str], copy: str) -> None:
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), copy)
        elif entry.path == os.path.dirname(self.root):
            pass  # the rehearsal's own folder, where TMPDIR is in the user's
        elif entry.path in self.linked or not os.access(entry.path, os.R_OK):
            os.symlink(entry.path, copy)
        elif entry.is_dir():
            self._copy(entry.path, copy)
        elif entry.is_file():
            shutil.copy2(entry.path, copy)
        else:
            os.symlink(entry.path, copy)  # a pipe or a socket


def mirror(root: str, folders: Iterable[str]) -> Mirror:
    """Plan a mirror.

    Args:
        root: where it is to be, in a folder of its own; nothing is there yet.
        folders: real paths of what is to be copied; one may lie in another.
    """
    found = sorted(set(folders), key=len)
    outer = tuple(one for one in found if not any(_step(other, one) for other in found if other != one))
    inner = [entry for folder in outer for entry in _entries(folder) if not entry.is_symlink()]
    tools = [entry.path for entry in inner if _is_of_a_tool(entry)]
    others = {entry.path for entry in inner} - {*tools, os.path.dirname(root)}
    sizes = {path: _size(path) for path in others}
    return Mirror(root, outer, frozenset({*tools, *too_large(sizes)}))


@dataclass(frozen=True)
class Size:
    """How much there is to copy."""

    bytes: int = 0
    files: int = 0

    @property
    def share(self) -> float:
        """Of what is copied at the most; above 1 it is too much."""
        return max(self.bytes / MOST_BYTES, self.files / MOST_FILES)

    def __add__(self, other: Size) -> Size:
        return Size(self.bytes + other.bytes, self.files + other.files)


def too_large(sizes: Mapping[str, Size]) -> list[str]:
    """The largest entries, so many of them that the rest can be copied.

    Example:
        >>> too_large({"train.py": Size(900, 1), "data": Size(8 * 10**9, 40), "old.pt": Size(10**8, 1)})
        ['data']
    """
    ascending = sorted(sizes, key=lambda name: sizes[name].share)
    sums = accumulate(sizes[name] for name in ascending)
    return [name for name, so_far in zip(ascending, sums, strict=True) if so_far.share > 1]


def _size(path: str) -> Size:
    """Of a file or folder; counting stops where it is too much."""
    found = Size()
    for one in _files_below(path):
        with suppress(OSError):
            found += Size(os.lstat(one).st_size, 1)
        if found.share > 1:
            break
    return found


def _files_below(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    for folder, _, names in os.walk(path):
        yield from (os.path.join(folder, name) for name in names)


def _is_of_a_tool(entry: os.DirEntry[str]) -> bool:
    """A folder of a version control, an environment or a cache, in which no script writes results."""
    if not entry.is_dir(follow_symlinks=False):
        return False
    return entry.name.startswith(".") or os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))


def _drop_unchanged(original: str, copy: str) -> None:
    """Delete from a copy what is as in the original, and what Python compiled."""
    for entry in _entries(copy):
        theirs = os.path.join(original, entry.name)
        if entry.is_dir(follow_symlinks=False):
            _drop_unchanged(theirs, entry.path)
            with suppress(OSError):  # something is left in it
                os.rmdir(entry.path)
        elif entry.name.endswith(".pyc") or _is_unchanged(entry, theirs):
            with suppress(FileNotFoundError):  # a worker that outlived its process tidies up
                os.unlink(entry.path)


def _is_unchanged(entry: os.DirEntry[str], original: str) -> bool:
    try:
        now, before = entry.stat(follow_symlinks=False), os.lstat(original)
    except OSError:
        return False
    return entry.is_symlink() or (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def _step(folder: str, inner: str) -> str:
    """The next name on the way from a folder to one inside it; "" if it is not inside.

    Example:
        >>> _step("/home", "/home/me/project"), _step("/", "/home"), _step("/home", "/homes")
        ('me', 'home', '')
    """
    before = os.path.join(folder, "")
    return inner[len(before) :].partition(os.sep)[0] if inner.startswith(before) else ""


def _names_in(folder: str) -> Collection[str]:
    """Of a folder on the way, which may be one that we cannot list."""
    with suppress(PermissionError):
        return os.listdir(folder)
    return ()


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)
