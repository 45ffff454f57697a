"""DirectFile: a large file, written past the page cache, which is the quickest way to have it on the disk."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from outlast.storage.disk.beside import Work
from outlast.storage.disk.calls import calls

if TYPE_CHECKING:
    import numpy.typing as npt

PAGE = 4096
_BUFFER = 8 << 20
_spare: list[npt.NDArray[Any]] = []  # at most two, of the file written last: fresh memory is slow to get


@dataclass(frozen=True)
class Sum:
    """What a file must hold.

    Args:
        size: its length in bytes.
        crc32: the CRC-32 of its content.
    """

    size: int
    crc32: int


@runtime_checkable
class Pieces(Protocol):
    """Content that comes as buffers, one behind the other."""

    @property
    def needed(self) -> int:
        """How many bytes there are."""

    def pieces(self) -> Iterable[Any]:
        """The buffers; an empty one is a step of the work that makes them."""


def write(
    path: str, content: Pieces, found: Callable[[Sum], object] = lambda written: None
) -> Iterator[None]:
    """Make a new file, in small pieces of work.

    Args:
        path: a name that is free, or that of an empty file.
        content: of the file.
        found: called at the end with what was written.
    """
    import numpy as np

    crc = size = 0
    file = DirectFile(path)
    try:
        for piece in content.pieces():
            if not len(piece):
                yield
                continue
            data: npt.NDArray[Any] = np.frombuffer(piece, np.uint8)
            size += data.size
            for staged in file.put(data):
                crc = zlib.crc32(staged, crc)
                yield
        file.finish()
    finally:
        file.close()
    found(Sum(size, crc))


class DirectFile:
    """A new file, written through two page-aligned buffers, past the page cache if allowed.

    While one is written, the other is filled and its checksum is computed: on an idle machine a large
    file takes two thirds of the time that it takes with one.

    Args:
        path: a name that is free, or that of an empty file.
    """

    def __init__(self, path: str) -> None:
        self._used = 0
        self._written = 0
        self._under_way: Work[None] | None = None
        self._buffer, self._other = _buffer(), _buffer()
        self._fd = _open_new(path)

    def put(self, data: npt.NDArray[Any]) -> Iterator[memoryview]:
        """Stage ``data``; yields what was staged, piece by piece, still warm in the cache."""
        import numpy as np

        while data.size:
            taken = min(data.size, self._buffer.size - self._used)
            staged = self._buffer[self._used : self._used + taken]
            np.copyto(staged, data[:taken])
            data = data[taken:]
            self._used += taken
            yield staged.data
            if self._used == self._buffer.size:
                self._flush_behind()

    def leave_room(self, size: int) -> None:
        """Leave out the beginning, of whole pages, which :meth:`finish` brings."""
        self._written = size

    def put_pages(self, memory: npt.NDArray[Any]) -> None:
        """Have ``memory``, which begins at a page, written from where it is, before anything is staged.

        Nobody may change it before :meth:`finish` has returned.
        """
        whole = memory.size - memory.size % PAGE
        if whole > _BUFFER:
            self._write_behind(memory[:whole].data)
        else:
            self._write(memory[:whole].data, self._written)
            self._written += whole
        for _ in self.put(memory[whole:]):
            pass

    def finish(self, head: npt.NDArray[Any] | None = None) -> None:
        """Write what is staged, and a new beginning of whole pages, now that it is known."""
        self._wait()
        if head is not None and not self._written and self._used >= head.size:
            self._buffer[: head.size] = head  # a small file: one write for all
            head = None
        if self._used % PAGE:  # no more than is needed: a quota may end there
            _leave_direct(self._fd)
        self._flush()
        for start in range(0, 0 if head is None else head.size, self._buffer.size):
            assert head is not None
            piece = head[start : start + self._buffer.size]
            self._buffer[: piece.size] = piece
            self._write(self._buffer[: piece.size].data, start)

    def close(self) -> None:
        """Close the file, and keep the buffers for the next."""
        if self._under_way is not None:
            self._under_way.leave()  # else it could write into the next file of this number
        _spare[:] = [self._buffer, self._other]
        calls.close(self._fd)

    def _flush_behind(self) -> None:
        """Have the full buffer written, and go on with the other."""
        self._write_behind(self._buffer[: self._used].data)
        self._used = 0
        self._buffer, self._other = self._other, self._buffer

    def _write_behind(self, data: memoryview) -> None:
        """Write in a thread of the same priority, once the write before is done, while the caller goes on."""
        self._wait()
        self._under_way = Work(self._write, data, self._written)
        self._under_way.begin()
        self._written += len(data)

    def _wait(self) -> None:
        """Wait for the write under way; raise what it raised."""
        if self._under_way is not None:
            self._under_way.result()

    def _flush(self) -> None:
        self._write(self._buffer[: self._used].data, self._written)
        self._written += self._used
        self._used = 0

    def _write(self, data: memoryview, offset: int) -> None:
        while len(data):
            try:
                taken = calls.pwrite(self._fd, data, offset)
            except OSError as error:
                if error.errno != errno.EINVAL or not _leave_direct(self._fd):
                    raise
                continue
            data = data[taken:]
            offset += taken


def in_pieces(data: npt.NDArray[Any], size: int | None = None) -> Iterator[memoryview]:
    """Bytes in pieces of a size, that of a buffer by default: each is a small piece of work."""
    size = size or _BUFFER
    return (data[start : start + size].data for start in range(0, data.size, size))


def _buffer() -> npt.NDArray[Any]:
    import mmap

    import numpy as np

    try:
        return _spare.pop()  # two threads may want it: one gets it
    except IndexError:
        return np.frombuffer(mmap.mmap(-1, _BUFFER), np.uint8)  # begins at a page


def _open_new(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        return calls.open(path, flags | getattr(os, "O_DIRECT", 0))
    except OSError as error:
        if error.errno != errno.EINVAL:  # the file system has no O_DIRECT
            raise
        return calls.open(path, flags)


def _leave_direct(fd: int) -> bool:
    """Go on through the page cache; False if that is how it is already."""
    direct = getattr(os, "O_DIRECT", 0)
    if not direct:
        return False
    import fcntl

    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~direct)
    return bool(flags & direct)
