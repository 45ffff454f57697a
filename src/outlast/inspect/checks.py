"""Checks: compare one file of a run with what was written. Nothing is changed.

Resume points have checksums, and hold the checksums of the blobs that they name. The files for people,
such as ``best.keras`` and ``history.csv``, are copies of blobs, or logs whose content is known, so they
can be checked as well.

A file may be newer than the last commit: a better ``best.keras``, more rows in the CSV. That is not
damage. A run that is being written looks like that, and so does one that was killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from outlast.exceptions import ArgumentError
from outlast.storage import identity
from outlast.storage.blobs import Blob
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import NOT_WHAT_WAS_WRITTEN, crc32_file, crc32_part, read_part, regular_size
from outlast.storage.format import json_text, layout, limits
from outlast.storage.logs import Log

_WRITTEN_AGAIN = "a resume writes it again"
_UNDONE = "newer than the last commit; a resume undoes it"

PUBLISHED = ("copy", "log")  # what a file for people is


class Verdict(Enum):
    """The result for one file."""

    WHOLE = "whole"
    AHEAD = "ahead"  # newer than the last commit; a resume undoes it
    DAMAGED = "damaged"
    MISSING = "missing"
    CHANGED = "changed"  # a file for people, which a resume writes again

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with the file."""
        return self in (Verdict.WHOLE, Verdict.AHEAD)


@dataclass(frozen=True)
class FileCheck:
    """One file and its result.

    Args:
        file: its name in the run's folder.
        what: what it is.
        verdict: the result.
        detail: more about it, in words; "" where the verdict says it all.
    """

    file: str
    what: str
    verdict: Verdict
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {**vars(self), "verdict": self.verdict.value, "detail": self.detail or None}


def of_blob(folder: str, blob: Blob, whole: bool) -> FileCheck:
    """The check of a blob; ``whole`` says whether its checksum was found to match."""
    kind = layout.blob_kind(blob.name)
    what = "old lines" if kind == layout.LINES else kind
    if whole:
        return FileCheck(blob.name, what, Verdict.WHOLE)
    return FileCheck(blob.name, what, *_fault(os.path.join(folder, blob.name), blob.size))


def of_copy(folder: str, name: str, blob: Blob, others: Iterable[str]) -> FileCheck:
    """Check a file that is a copy of ``blob``.

    ``others`` are blobs that a step may have written before it was committed: a copy of one of these
    is ahead, not damaged.
    """

    def judged(path: str) -> tuple[Verdict, str]:
        if blob.fits(path):
            return Verdict.WHOLE, ""
        if any(_false_if_unreadable(_same, path, os.path.join(folder, name)) for name in others):
            return Verdict.AHEAD, _UNDONE
        return _fault(path, blob.size)

    return _published(folder, name, "copy", judged)


def of_log(folder: str, name: str, log: Log, others: Iterable[str]) -> FileCheck:
    """Check a file that is a log; ``others`` are segments that an uncommitted step may have written."""

    def judged(path: str) -> tuple[Verdict, str]:
        size = regular_size(path)
        if _false_if_unreadable(_begins_with, path, log):
            longer = size is not None and size > log.size
            return (Verdict.AHEAD, _UNDONE) if longer else (Verdict.WHOLE, "")
        if any(_false_if_unreadable(_starts_as, path, os.path.join(folder, name)) for name in others):
            return Verdict.AHEAD, _UNDONE
        return _fault(path, log.size)

    return _published(folder, name, "log", judged)


def of_identity(folder: str, run: str) -> FileCheck:
    """``IDENTITY``, which the resume points repeat."""
    what = "which run it is"
    if identity.read(folder) == run:
        return FileCheck(layout.IDENTITY, what, Verdict.WHOLE)
    there = os.path.lexists(os.path.join(folder, layout.IDENTITY))
    return FileCheck(layout.IDENTITY, what, Verdict.CHANGED if there else Verdict.MISSING, _WRITTEN_AGAIN)


def of_results(folder: str) -> list[FileCheck]:
    """Check whether ``results.json`` can be read, if there is one. No start writes it again."""
    if not os.path.lexists(os.path.join(folder, layout.RESULTS)):
        return []
    found = _of_json(folder, layout.RESULTS, "what was logged after the training")
    if found.verdict is Verdict.WHOLE:
        return [found]
    return [replace(found, detail=f"{found.detail}; a resume sets it aside: log the results again")]


def of_settings(folder: str) -> FileCheck:
    """Check whether ``run.json`` can be read."""
    found = _of_json(folder, layout.RUN, "settings")
    if found.verdict is Verdict.WHOLE:
        return found
    verdict = Verdict.CHANGED if found.verdict is Verdict.DAMAGED else found.verdict
    return replace(found, verdict=verdict, detail=_WRITTEN_AGAIN)


def _of_json(folder: str, name: str, what: str) -> FileCheck:
    """Check a file without a checksum."""
    path = os.path.join(folder, name)
    size = regular_size(path)
    if size is None:
        return FileCheck(name, what, *_fault(path, 0))
    try:
        with explained(path, "read"):
            json_text.parsed(read_part(path, 0, limits.JSON_BYTES + 1))
    except (ValueError, RecursionError):
        return FileCheck(name, what, Verdict.DAMAGED, "it is not JSON")
    return FileCheck(name, what, Verdict.WHOLE)


def _published(folder: str, name: str, what: str, judged: Callable[[str], tuple[Verdict, str]]) -> FileCheck:
    """Check a file that a resume can write again, which makes damage a mere change."""
    try:
        path = layout.log_path(folder, name)  # or that of a copy
        with explained(path, "read"):
            verdict, detail = judged(path)
    except ArgumentError:
        verdict, detail = Verdict.CHANGED, "its path leaves the folder through a symbolic link"
    else:
        if verdict is Verdict.DAMAGED:
            verdict, detail = Verdict.CHANGED, f"{detail}; {_WRITTEN_AGAIN}"
        elif verdict is Verdict.MISSING:
            detail = _WRITTEN_AGAIN
    return FileCheck(name, what, verdict, detail)


def _fault(path: str, size: int) -> tuple[Verdict, str]:
    """What is wrong with a file that should have ``size`` bytes and a known checksum."""
    found = regular_size(path)
    if found is None:
        there = os.path.lexists(path)
        return (Verdict.DAMAGED, "it is not a regular file") if there else (Verdict.MISSING, "")
    if found != size:
        return Verdict.DAMAGED, f"it has {found:,} bytes instead of {size:,}"
    return Verdict.DAMAGED, "its checksum does not match"


def _begins_with(path: str, log: Log) -> bool:
    offset = 0
    for segment in log.segments:
        if crc32_part(path, offset, segment.size) != segment.crc32:
            return False
        offset += segment.size
    return read_part(path, offset, len(log.tail)) == log.tail


def _same(path: str, other: str) -> bool:
    return regular_size(path) == regular_size(other) and crc32_file(path) == crc32_file(other)


def _starts_as(path: str, other: str) -> bool:
    return crc32_part(path, 0, os.lstat(other).st_size) == crc32_file(other)


def _false_if_unreadable(compare: Callable[..., bool], *arguments: Any) -> bool:
    """Compare files; False if one of them is missing or not a regular file."""
    try:
        return compare(*arguments)
    except OSError as error:
        if error.errno in NOT_WHAT_WAS_WRITTEN:
            return False
        raise
