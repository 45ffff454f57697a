"""Whole files or none: publish, append, seal, sync, remove.

Every system call that changes the disk goes through ``calls``. If one fails,
what stood on the disk before still stands, no temporary file is left, and one
``FileError`` names the path.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath

from outlast.exceptions import FileError
from outlast.storage.calls import BINARY, calls, explained

_TEMPORARY = re.compile(r"\..*\.x[0-9a-f]{12}(\..*)?", re.DOTALL)
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_CANNOT_SYNC_A_FOLDER = {errno.EINVAL, errno.ENOTSUP}
_PIECE = 4 << 20


def publish(path: str, write: Callable[[str], object], *, needed: int | None = None) -> None:
    """Put a whole new file at ``path``: readers see the old one or the new one.

    Args:
        path: where the file shall stand. A symbolic link there is replaced.
        write: called once with a temporary path in the same folder, hidden and
            with the same suffixes; it makes the file there.
        needed: bytes that the file will take, for the text of an error.

    Raises:
        FileError: the disk refused; the old file still stands, no temporary is left.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "notes.txt")
        >>> publish(str(path), lambda name: pathlib.Path(name).write_text("whole"))
        >>> path.read_text()
        'whole'
    """
    with explained(path, "write", needed):
        _refuse_folder(path)
        with _temporary(path) as temporary:
            write(temporary)
            sync_file(temporary)
            _replace(temporary, path)
        sync_folder(os.path.dirname(path))


def publish_bytes(path: str, data: bytes) -> None:
    """Publish ``data`` at ``path``; see :func:`publish`."""
    publish(path, lambda name: write_bytes(name, data), needed=len(data))


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
    with explained(path, "write", needed), _temporary(path) as temporary:
        write(temporary)
        sync_file(temporary)
        try:
            calls.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _copy_to_free_name(temporary, path)
        calls.unlink(temporary)


def append(path: str, data: bytes) -> None:
    """Append whole lines in one write; all of them or, after an error, none. No sync."""
    with explained(path, "append to", len(data)):
        fd = calls.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            length = os.fstat(fd).st_size
            try:
                write_all(fd, data)
            except BaseException:
                calls.ftruncate(fd, length)
                raise
        finally:
            calls.close(fd)


def remove(path: str) -> None:
    """Delete the file at ``path``, if there is one."""
    with explained(path, "delete"), suppress(FileNotFoundError):
        calls.unlink(path)


def make_folder(path: str) -> None:
    """Make a folder and those above it, so that a power cut cannot take them back.

    Each new name is synced in its parent before the next is made. So is the
    name of the first folder that was there: a start that was killed may have
    made it and not come to the sync.
    """
    with explained(path, "make the folder"):
        path = os.path.abspath(path)
        parent = os.path.dirname(path)
        if os.path.isdir(path):
            with suppress(PermissionError):  # of somebody else's folder: it is not new then
                sync_folder(parent)
            return
        make_folder(parent)
        with suppress(FileExistsError):
            calls.mkdir(path)
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, "a file stands where the folder shall be")
        sync_folder(parent)


def probe_writable(folder: str) -> None:
    """Raise ``FileError`` now if no file can be written in ``folder``."""
    with explained(folder, "write in", 1), _temporary(os.path.join(folder, "probe")) as temporary:
        write_bytes(temporary, b"\n")
        calls.unlink(temporary)


def sync_file(path: str) -> None:
    """Wait until the file's content is on the disk."""
    fd = calls.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        calls.fsync(fd)
    finally:
        calls.close(fd)


def sync_folder(path: str) -> None:
    """Wait until the folder's names are on the disk, where a system can do that."""
    if os.name == "nt":
        return
    fd = calls.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        calls.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_A_FOLDER:
            raise
    finally:
        calls.close(fd)


def temporary_name(path: str) -> str:
    """A free name beside ``path``: hidden, unique, with the suffixes that savers look at.

    Example:
        >>> import re
        >>> re.sub("[0-9a-f]{12}", "7", temporary_name("runs/w.weights.h5"))
        'runs/.w.x7.weights.h5'
    """
    folder, name = os.path.split(path)
    suffix = "".join(PurePath(name).suffixes[-2:])
    stem = name.removesuffix(suffix).lstrip(".")[:40]  # a name has at most 255 bytes
    return os.path.join(folder, f".{stem}.x{os.urandom(6).hex()}{suffix}")


def is_temporary(name: str) -> bool:
    """Whether a file's bare name is one that :func:`temporary_name` gives."""
    return _TEMPORARY.fullmatch(name) is not None


def clear_temporary(folder: str) -> list[str]:
    """Delete what killed writers left in ``folder``; returns the names."""
    left = sorted(filter(is_temporary, os.listdir(folder)))
    for name in left:
        remove(os.path.join(folder, name))
    return left


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data``; a system may take it in several parts."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[calls.write(fd, rest) :]


def write_bytes(path: str, data: bytes) -> None:
    """Make a new file of ``data``; its name must be free."""
    fd = calls.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(fd, data)
    finally:
        calls.close(fd)


def copy_bytes(source: str, target: str) -> None:
    """Make a new file with the bytes of ``source``; its name must be free."""
    with open(source, "rb") as reader:
        fd = calls.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            while piece := reader.read(_PIECE):
                write_all(fd, piece)
        finally:
            calls.close(fd)


def crc32_file(path: str) -> int:
    """The CRC-32 (``zlib.crc32``) of a whole file, which must be a regular one."""
    crc = 0
    with open_regular(path) as fd:
        while piece := os.read(fd, _PIECE):
            crc = zlib.crc32(piece, crc)
    return crc


@contextmanager
def open_regular(path: str) -> Iterator[int]:
    """A descriptor to read ``path``; never follows a link, never waits for a pipe."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | BINARY
    fd = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _temporary(path: str) -> Iterator[str]:
    """A temporary name for ``path``, under which nothing stands after an error."""
    temporary = temporary_name(path)
    try:
        yield temporary
    except BaseException:
        with suppress(OSError):  # the error that brought us here is the one to tell
            calls.unlink(temporary)
        raise


def _refuse_folder(path: str) -> None:
    if os.path.isdir(path):
        raise FileError(
            f"Cannot write {path}: a folder stands there. Please specify a non-directory filepath.",
            path=path,
            errno=errno.EISDIR,
        )


def _replace(source: str, target: str) -> None:
    """Rename onto ``target``; Windows refuses while somebody reads it: try for a second."""
    for _ in range(20 if os.name == "nt" else 0):
        try:
            return calls.rename(source, target)
        except PermissionError:
            time.sleep(0.05)
    calls.rename(source, target)


def _copy_to_free_name(source: str, target: str) -> None:
    """Where hard links are missing: create exclusively; a torn copy fails verification."""
    copy_bytes(source, target)
    try:
        sync_file(target)
    except BaseException:
        calls.unlink(target)
        raise
