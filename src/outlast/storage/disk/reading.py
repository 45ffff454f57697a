"""Reading files that somebody may have tampered with."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from outlast.storage.disk.calls import BINARY, explained

_PIECE = 4 << 20

# What a damaged disk or a vandal can make of a file. Any other error, such as
# too many open files, says nothing about the file.
NOT_WHAT_WAS_WRITTEN = {
    errno.ENOENT,
    errno.EIO,
    errno.ELOOP,
    errno.EINVAL,
    errno.EISDIR,
    errno.ENXIO,
    errno.ENOTDIR,
}

# What changes when a file is written or replaced; see :func:`stamp`.
Stamp: TypeAlias = "tuple[int, int, int]"


@contextmanager
def open_regular(path: str) -> Iterator[int]:
    """A descriptor to read ``path``; never follows a link, never waits for a pipe.

    Raises:
        FileError: the system does not let us look.
        OSError: the file is not what was written; its number is in ``NOT_WHAT_WAS_WRITTEN``.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | BINARY
    with _if_nothing_is_known(path):
        fd = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _if_nothing_is_known(path: str) -> Iterator[None]:
    """Turn an error that says nothing about the file, such as one of rights, into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in NOT_WHAT_WAS_WRITTEN:
            raise
        with explained(path, "read"):
            raise


def regular_size(path: str) -> int | None:
    """The size of a regular file; None of anything else, a symbolic link included.

    Raises:
        FileError: the system does not let us look.
    """
    try:
        with _if_nothing_is_known(path):
            found = os.lstat(path)
    except OSError as error:
        if error.errno in NOT_WHAT_WAS_WRITTEN:
            return None
        raise
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def crc32_file(path: str) -> int:
    """The CRC-32 (``zlib.crc32``) of a whole file, which must be a regular one."""
    crc = 0
    with open_regular(path) as fd:
        while piece := os.read(fd, _PIECE):
            crc = zlib.crc32(piece, crc)
    return crc


def crc32_part(path: str, offset: int, size: int) -> int | None:
    """The CRC-32 of ``size`` bytes from ``offset`` on of a regular file; None if it has fewer."""
    crc = 0
    with open_regular(path) as fd:
        os.lseek(fd, offset, os.SEEK_SET)
        while size > 0 and (piece := os.read(fd, min(size, _PIECE))):
            crc = zlib.crc32(piece, crc)
            size -= len(piece)
    return None if size else crc


def stamp(path: str) -> Stamp | None:
    """Of a file as it is now, which is not read; None if there is none."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def names_in(folder: str) -> list[str]:
    """The names in a folder, sorted.

    Raises:
        FileError: the system does not let us look.
    """
    with explained(folder, "read"):
        return sorted(os.listdir(folder))


def beginning(path: str, size: int) -> bytes | None:
    """At most the first ``size`` bytes of a file; None if there is none, or it is not a regular one.

    Raises:
        FileError: the system does not let us look.
    """
    if regular_size(path) is None:
        return None
    with explained(path, "read"):
        return read_part(path, 0, size)


def ending(path: str, size: int) -> bytes | None:
    """At most the last ``size`` bytes; as :func:`beginning`."""
    found = regular_size(path)
    if found is None:
        return None
    with explained(path, "read"):
        return read_part(path, max(0, found - size), size)


def read_part(path: str, offset: int, size: int) -> bytes:
    """At most ``size`` bytes from ``offset`` on, of a regular file."""
    with open_regular(path) as fd, open(fd, "rb", closefd=False) as file:
        file.seek(offset)
        return file.read(size)
