"""Logs: files of lines that only grow, kept in resume points and shown as views.

A resume point holds a log's last lines itself, at most a thousand; older ones
lie in immutable segments, so that a commit does not grow with the history, and
so do lines that are very long.
The file that people read (``history.csv``) is a view: whatever happens to it,
it can be written again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from outlast.exceptions import DamagedFile
from outlast.storage.blobs import Blob
from outlast.storage.disk import files
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import read_all, read_part, regular_size
from outlast.storage.format import layout

KEPT_LINES = 1000  # at most so many in a resume point
KEPT_BYTES = 16 << 20  # and no more bytes
_LONGEST = 1 << 28  # bytes of a segment, when lines are looked through
_NO_FILE = b"\0"  # begins no log, and no log begins with it
_REMAINING = 500  # so many when the others go to a segment


@dataclass(frozen=True)
class Lines:
    """What a commit adds to a log.

    Args:
        data: whole lines, each with its end.
        whole: they replace the log (a table became wider), and go to a segment at
            once, so that a recovery knows the file for ours.
        view: the log is a file for people too, under its own name.
    """

    data: bytes
    whole: bool = False
    view: bool = True


@dataclass(frozen=True)
class Log:
    """A log's content: some segments, then the tail."""

    view: bool
    segments: tuple[Blob, ...] = ()
    tail: bytes = b""

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return sum(segment.size for segment in self.segments) + len(self.tail)

    def after(self, lines: Lines) -> Log:
        """The log with ``lines`` added."""
        if lines.whole:
            return Log(lines.view, (), lines.data)
        return replace(self, tail=self.tail + lines.data)

    def spilled(self, seal: Callable[[bytes], Blob], *, wholly: bool = False) -> Log:
        """The log with a tail that is short enough; ``seal`` makes a segment of the rest.

        ``wholly``: nothing stays in the tail.
        """
        wholly = wholly or len(self.tail) > KEPT_BYTES
        lines = self.tail.splitlines(keepends=True)
        if len(lines) <= KEPT_LINES and not wholly:
            return self
        old = self.tail if wholly else b"".join(lines[:-_REMAINING])
        return replace(self, segments=(*self.segments, seal(old)), tail=self.tail[len(old) :])

    def content(self, folder: str) -> bytes:
        """All of it.

        Raises:
            DamagedFile: a segment is not what was written.
        """
        return b"".join([*(_segment(folder, blob) for blob in self.segments), self.tail])

    def backwards(self, folder: str) -> Iterator[bytes]:
        """Its lines, the last first; a segment is read when its turn comes.

        Raises:
            DamagedFile: a segment is not what was written.
        """
        yield from reversed(self.tail.splitlines())
        for blob in reversed(self.segments):
            if blob.size > _LONGEST:
                raise DamagedFile(f"{blob.name} is too long for lines of a log.", path=blob.name)
            yield from reversed(_segment(folder, blob).splitlines())


def add_to_view(folder: str, name: str, before: Log | None, lines: Lines) -> str | None:
    """Bring the file that people read from ``before`` (None: no such log yet) on by ``lines``.

    A file that is not as ``before`` says is mended first.

    Returns what was found, as :func:`mend_view` does.
    """
    path = layout.view_path(folder, name)
    _make_folder_of(path)
    if before is None:
        finding = _make_way(path, lines.data)
    elif regular_size(path) != before.size:
        finding = mend_view(folder, name, before)
    else:
        finding = None
    if lines.whole:
        _rewrite(path, lines.data)
    else:
        files.append(path, lines.data)
    return finding


def mend_view(folder: str, name: str, log: Log, published: Iterable[bytes] = ()) -> str | None:
    """Make the file that people read hold the log, exactly.

    Extra lines are cut off, missing ones added. A file that was edited, or is
    no regular one, is kept beside it as ``.conflict``; not so one that begins
    as ``published`` says: commits that did not come to their end wrote it.

    Returns what was found, as a sentence's part, or None if all was well.
    """
    path = layout.view_path(folder, name)
    _make_folder_of(path)
    content = log.content(folder)
    current = _read(path)
    if current == content:
        return None
    if current is not None and current.startswith(content):
        files.cut(path, len(content))
        return f"{name} was cut back to its last saved line"
    if current is None or content.startswith(current):
        _rewrite(path, content)
        return f"{name} was completed"
    if any(current.startswith(begin) for begin in published):
        _rewrite(path, content)
        return f"{name} was put back to its last saved state"
    kept = files.move_aside(path, layout.CONFLICT)
    _rewrite(path, content)
    return f"{name} had been changed: written anew, the other is {os.path.basename(kept)}"


def _make_folder_of(path: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        files.make_folder(folder)


def _make_way(path: str, data: bytes) -> str | None:
    """Before the first lines: what a killed start left goes, what is foreign steps aside."""
    current = _read(path)
    if not current:
        return None
    if current.startswith(data) or data.startswith(current):
        files.cut(path, 0)
        return None
    kept = files.move_aside(path, layout.CONFLICT)
    return f"{os.path.basename(path)} was there before the run: now {os.path.basename(kept)}"


def _rewrite(path: str, content: bytes) -> None:
    files.replace(path, lambda new: files.write_bytes(new, content), needed=len(content))


def _read(path: str) -> bytes | None:
    """The file's content; None if there is none, and no log's content if it is no file."""
    if not os.path.lexists(path):
        return None
    if regular_size(path) is None:
        return _NO_FILE
    with explained(path, "read"):
        return read_all(path)


def _segment(folder: str, blob: Blob) -> bytes:
    path = os.path.join(folder, blob.name)
    if regular_size(path) is None:
        raise DamagedFile(f"{path} is missing.", path=path)
    with explained(path, "read"):
        content = read_part(path, 0, blob.size + 1)
    if len(content) != blob.size or zlib.crc32(content) != blob.crc32:
        raise DamagedFile(f"{path} is damaged: its checksum does not fit.", path=path)
    return content
