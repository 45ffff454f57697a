"""Whole files or none: publish, append, seal, sync, remove.

Every system call that changes the disk goes through ``calls``. If one fails,
what was on the disk before is still there, no temporary file is left, and one
``FileError`` names the path.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from outlast.storage.disk import direct
from outlast.storage.disk.calls import calls, explained, opened, sync_folder, write_all
from outlast.storage.disk.direct import Pieces
from outlast.storage.disk.reading import names_in, open_regular
from outlast.storage.disk.temporary import is_anothers, is_temporary, temporary_name
from outlast.storage.disk.together import Together, remove_tree

_PIECE = 4 << 20
_LARGE = 1 << 20  # of files: they go past the page cache
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL

# Does the work of an iterator of small pieces, on a thread of its choice.
Drain = Callable[[Iterator[object]], None]


def exhaust(pieces: Iterator[object]) -> None:
    """Do all the work of the iterator, here and now."""
    for _ in pieces:
        pass


def publish(path: str, write: Callable[[str], object], *, needed: int | None = None) -> None:
    """Put a whole new file at ``path``, for good: its name is synced too.

    Arguments and errors are those of :func:`replace`.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "notes.txt")
        >>> publish(str(path), lambda name: pathlib.Path(name).write_text("whole"))
        >>> path.read_text()
        'whole'
    """
    replace(path, write, needed=needed)
    if not is_device(path):
        with explained(path, "write", needed):
            sync_folder(os.path.dirname(path))


def replace(path: str, write: Callable[[str], object], *, needed: int | None = None) -> None:
    """Put a whole new file at ``path``: readers see the old one or the new one.

    After a power cut it may be either, until somebody syncs the folder.

    Args:
        path: where the file shall stand. A symbolic link there is replaced.
        write: called once with a temporary path in the same folder, hidden and
            with the same suffixes; it makes the file there.
        needed: bytes that the file will take, for the text of an error.

    Raises:
        FileError: the disk refused; the old file is still there, no temporary is left.
    """
    if is_device(path):
        _write_into(path, write)
        return
    with Together() as new:
        new.replace(path, write, needed=needed)
        new.sync()
        new.name()


def is_device(path: str) -> bool:
    """Whether it is a device that takes characters, such as ``/dev/null``: everybody's, and no file.

    Example:
        >>> is_device("notes.txt")
        False
    """
    with suppress(OSError):
        return stat.S_ISCHR(os.stat(path).st_mode)
    return False


def _write_into(device: str, write: Callable[[str], object]) -> None:
    with explained(device, "write"), tempfile.TemporaryDirectory() as folder:
        made = os.path.join(folder, os.path.basename(device))
        write(made)
        with open_regular(made) as reader, opened(device, os.O_WRONLY) as fd:
            while piece := os.read(reader, _PIECE):
                write_all(fd, piece)


def publish_bytes(path: str, data: bytes) -> None:
    """Publish ``data`` at ``path``; see :func:`publish`."""
    publish(path, Content(data), needed=len(data))


def seal(path: str, write: Callable[[str], object], *, needed: int | None = None) -> None:
    """Give a new file a name that must be free, and whose content never changes.

    The file is synced, its name is not: the commit syncs the folder once for all.

    Args:
        path: the final name.
        write: makes the file under a temporary path, as in :func:`publish`.
        needed: bytes that the file will take, for the text of an error.

    Raises:
        FileError: the disk refused, or the name is taken (``errno.EEXIST``).
    """
    with Together() as new:
        new.seal(path, write, needed=needed)
        new.sync()
        new.name()


def append(path: str, data: bytes) -> None:
    """Append whole lines in one write; all of them or, after an error, none. No sync."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with explained(path, "append to", len(data)), opened(path, flags) as fd:
        length = os.fstat(fd).st_size
        try:
            write_all(fd, data)
        except BaseException:
            calls.ftruncate(fd, length)
            raise


def separate(path: str) -> None:
    """Make the file one of its own if it has a second name, such as in a backup made by ``cp -al``.

    What is written to it then does not change the other. No sync.

    Raises:
        FileError: the disk refused; nothing was changed.
    """
    with explained(path, "copy"):
        is_shared = os.lstat(path).st_nlink > 1
    if is_shared:
        replace(path, lambda new: exhaust(copy(path, new)))


def cut(path: str, length: int) -> None:
    """Cut the file to its first ``length`` bytes. No sync."""
    with explained(path, "shorten"), opened(path, os.O_WRONLY) as fd:
        calls.ftruncate(fd, length)


def move_aside(path: str, mark: str = "", *, front: str = "") -> str:
    """Rename a file or folder out of the way: marks around its name, a number if that is taken.

    Returns the new path. Nothing is ever overwritten.
    """
    with explained(path, "rename"):
        folder, name = os.path.split(path)
        wanted = os.path.join(folder, front + name + mark)
        names = [wanted, *(f"{wanted}.{number}" for number in range(1, 10_000))]
        free = next(name for name in names if not os.path.lexists(name))
        calls.rename(path, free)
        return free


def remove(path: str) -> None:
    """Delete the file at ``path``, if there is one."""
    with explained(path, "delete"), suppress(FileNotFoundError):
        calls.unlink(path)


def sync_names(folder: str) -> None:
    """Wait until the names in the folder are on the disk."""
    with explained(folder, "sync"):
        sync_folder(folder)


def make_folder(path: str) -> None:
    """Make a folder and those above it, so that a power cut cannot take them back.

    Each new name is synced in its parent before the next is made. So is the
    name of the first folder that was there: a start that was killed may have
    made it and not come to the sync.
    """
    with explained(path, "make the folder"):
        _make_folder(os.path.abspath(path))


def make_folder_of(path: str) -> None:
    """Make the folder that the file at ``path`` will be in, if it is not there."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        make_folder(folder)


def probe_writable(folder: str) -> None:
    """Raise ``FileError`` now if no file can be written in ``folder``."""
    with explained(folder, "write in", 1), _temporary(os.path.join(folder, "probe")) as temporary:
        Content(b"\n")(temporary)
        calls.unlink(temporary)


def clear_temporary(folder: str) -> list[str]:
    """Delete what killed writers left in ``folder``; returns the names."""
    left = [name for name in names_in(folder) if is_temporary(name) and not is_anothers(name)]
    for name in left:
        with explained(folder, "clear"):
            remove_tree(os.path.join(folder, name))
    return left


@dataclass(frozen=True)
class Content:
    """Makes a new file of ``data`` at the path that it is called with; ``needed`` says how long."""

    data: bytes

    @property
    def needed(self) -> int:
        """Bytes that the file will take."""
        return len(self.data)

    def pieces(self) -> list[bytes]:
        """The bytes."""
        return [self.data]

    def __call__(self, path: str) -> None:
        """Write it; the path must be free."""
        if len(self.data) >= _LARGE:
            exhaust(direct.write(path, self))
            return
        with opened(path, _NEW) as fd:
            write_all(fd, self.data)


def copy(source: str, target: str, content: Pieces | None = None) -> Iterator[None]:
    """Make a new file with the bytes of ``source``, piece by piece; its name must be free.

    Where the file system can, it shares the blocks instead. A hard link would
    not do: who then saves over the copy would write through it.

    Args:
        source: the path of a file.
        target: that of the new one.
        content: of ``source``, if it is known and need not be read.
    """
    with open_regular(source) as reader:
        size = os.fstat(reader).st_size
        with opened(target, _NEW) as fd:
            if calls.clone(reader, fd):
                return
            if size < _LARGE:
                write_all(fd, b"".join(_read(reader)))
                return
        yield from direct.write(target, content or _Opened(reader, size))


@dataclass(frozen=True)
class _Opened:
    """The content of an open file."""

    fd: int
    needed: int

    def pieces(self) -> Iterator[bytes]:
        return _read(self.fd)


def _read(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _PIECE):
        yield piece


@contextmanager
def _temporary(path: str) -> Iterator[str]:
    """A temporary name for ``path``, under which nothing is left after an error."""
    temporary = temporary_name(path)
    try:
        yield temporary
    except BaseException:
        with suppress(OSError):  # the error that brought us here is the one to tell
            remove_tree(temporary)
        raise


def _make_folder(path: str) -> None:
    parent = os.path.dirname(path)
    if os.path.isdir(path):
        with suppress(PermissionError):  # of somebody else's folder: it is not new then
            sync_folder(parent)
        return
    _make_folder(parent)
    with suppress(FileExistsError):
        calls.mkdir(path)
    if not os.path.isdir(path):
        what = "a link that leads nowhere" if os.path.islink(path) else "a file"
        raise NotADirectoryError(errno.ENOTDIR, f"{what} is where the folder should be")
    sync_folder(parent)
