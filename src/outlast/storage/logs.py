"""Logs: files of lines that only grow, kept in resume points and shown as published files.

A resume point holds a log's last lines itself, at most a thousand; older ones
lie in immutable segments, so that a commit does not grow with the history, and
so do lines that are very long.
The file that people read (``history.csv``) is a published file: whatever happens to it,
it can be written again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from outlast.exceptions import ArgumentError, DamagedFile
from outlast.storage.blobs import Blob
from outlast.storage.disk import files
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import beginning, crc32_part, regular_size
from outlast.storage.format import layout, limits

# Lines are written before the resume point that names them, so that any kill in between leaves some.
_BEHIND = "had lines of a later save that was not finished: removed, training writes them again"


def is_usual(finding: str) -> bool:
    """Whether a finding is what any kill may leave, and nothing is lost: not worth a line at a start."""
    return finding.endswith(_BEHIND)


@dataclass(frozen=True)
class Lines:
    """What a commit adds to a log.

    Args:
        data: whole lines, each with its end.
        replaces: they replace the log (a table became wider). They are sealed before the file that
            people read is replaced, so that a recovery knows that file for ours.
        public: the log is a file for people too, under its own name.

    Raises:
        ArgumentError: a line is longer than a reader takes.
    """

    data: bytes
    replaces: bool = False
    public: bool = True

    def __post_init__(self) -> None:
        """Look for a line that is too long, where there can be one."""
        if len(self.data) > limits.SEGMENT_BYTES:
            longest = max(map(len, self.data.splitlines(keepends=True)))
            if longest > limits.SEGMENT_BYTES:
                raise ArgumentError(
                    f"A line of {longest:,} bytes is too long for a log, "
                    f"{limits.SEGMENT_BYTES:,} are the limit."
                )


@dataclass(frozen=True)
class Log:
    """A log's content: some segments, then the tail.

    Args:
        public: it is a file for people too.
        segments: its older lines.
        tail: its last lines.
        replacement: a copy of the lines that replaced the log when the file for people was
            replaced. Should this resume point be lost, the copy says that nobody edited that
            file. It holds nothing that the log does not hold.
    """

    public: bool
    segments: tuple[Blob, ...] = ()
    tail: bytes = b""
    replacement: Blob | None = None

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All files that it names."""
        return self.segments if self.replacement is None else (*self.segments, self.replacement)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return sum(segment.size for segment in self.segments) + len(self.tail)

    def after(self, lines: Lines) -> Log:
        """The log with ``lines`` added."""
        if lines.replaces:
            return Log(lines.public, (), lines.data)
        return replace(self, tail=self.tail + lines.data)

    @property
    def has_short_tail(self) -> bool:
        """Whether a resume point can hold the tail."""
        short = len(self.tail) <= limits.KEPT_BYTES
        return short and len(self.tail.splitlines()) <= limits.KEPT_LINES

    def with_short_tail(self, seal: Callable[[bytes], Blob], *, seal_all: bool = False) -> Log:
        """The log with a tail that is short enough; ``seal`` makes segments of the rest.

        ``seal_all``: nothing stays in the tail.
        """
        if self.has_short_tail and not seal_all:
            return self
        old = self.tail
        if not seal_all and len(old) <= limits.KEPT_BYTES:
            lines = old.splitlines(keepends=True)
            old = b"".join(lines[: len(lines) - limits.REMAINING_LINES])
        segments = (*self.segments, *map(seal, _in_segments(old)))
        return Log(self.public, segments, self.tail[len(old) :])

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
            yield from reversed(_segment(folder, blob).splitlines())


def extend_published(folder: str, name: str, before: Log | None, lines: Lines) -> str | None:
    """Bring the file that people read from ``before`` (None: no such log yet) on by ``lines``.

    A file that is not as ``before`` says is mended first.

    Returns what was found, as :func:`mend_published` does.
    """
    path = layout.log_path(folder, name)
    files.make_folder_of(path)
    if before is None:
        finding = _make_way(path, lines.data)
    elif regular_size(path) != before.size:
        finding = mend_published(folder, name, before)
    else:
        finding = None
    if lines.replaces:
        _rewrite(path, lines.data)
    else:
        if before is not None:
            files.separate(path)
        files.append(path, lines.data)
    return finding


def mend_published(folder: str, name: str, log: Log, published: Iterable[Blob] = ()) -> str | None:
    """Make the file that people read hold the log, exactly.

    Extra lines are cut off, missing ones added. A file that was edited, or is
    no regular one, is kept beside it as ``.conflict``; not so one that begins
    with what one of ``published`` holds: commits that did not come to their end wrote it.

    Returns what was found, as a phrase, or None if all was well.
    """
    path = layout.log_path(folder, name)
    files.make_folder_of(path)
    content = log.content(folder)
    current = beginning(path, len(content) + 1)
    if current == content:
        return None
    if current is not None and current.startswith(content):
        files.separate(path)
        files.cut(path, len(content))
        return f"{name} {_BEHIND}"
    if not os.path.lexists(path) or (current is not None and content.startswith(current)):
        _rewrite(path, content)
        return f"{name} was completed"
    if current is not None and any(_begins_with(path, blob) for blob in published):
        _rewrite(path, content)
        return f"{name} was put back to its last saved state"
    kept = files.move_aside(path, layout.CONFLICT)
    _rewrite(path, content)
    return f"{name} had been changed: written again, the other is {os.path.basename(kept)}"


def _in_segments(data: bytes) -> Iterator[bytes]:
    """The lines in pieces that a reader takes."""
    while len(data) > limits.SEGMENT_BYTES:
        end = data.rfind(b"\n", 0, limits.SEGMENT_BYTES) + 1 or limits.SEGMENT_BYTES
        yield data[:end]
        data = data[end:]
    yield data


def _make_way(path: str, data: bytes) -> str | None:
    """Before the first lines: what a killed start left goes, what is foreign steps aside."""
    if not os.path.lexists(path):
        return None
    current = beginning(path, len(data))
    if current is not None and data.startswith(current):
        files.remove(path)
        return None
    kept = files.move_aside(path, layout.CONFLICT)
    return f"{os.path.basename(path)} was there before the run: now {os.path.basename(kept)}"


def _rewrite(path: str, content: bytes) -> None:
    files.replace(path, files.Content(content), needed=len(content))


def _begins_with(path: str, blob: Blob) -> bool:
    with explained(path, "read"):
        return crc32_part(path, 0, blob.size) == blob.crc32


def _segment(folder: str, blob: Blob) -> bytes:
    path = os.path.join(folder, blob.name)
    if blob.size > limits.SEGMENT_BYTES:
        raise DamagedFile(f"{path} is too long for lines of a log.", path=path)
    content = beginning(path, blob.size + 1)
    if content is None:
        raise DamagedFile(f"{path} is missing.", path=path)
    if len(content) != blob.size or zlib.crc32(content) != blob.crc32:
        raise DamagedFile(f"{path} is damaged: its checksum does not fit.", path=path)
    return content
