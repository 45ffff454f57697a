"""Checks: one file of a run, held against what was written. Nothing is changed.

Checksums stand behind resume points, behind the blobs that they name, and so behind the views
that people read, which are copies of blobs, or logs. What a step that was not committed left (a
newer ``best.keras``, more rows than are saved) is no damage: a run that is being written looks so,
and one that was killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from outlast.exceptions import ArgumentError
from outlast.storage import identity
from outlast.storage.blobs import Blob
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import NOT_WHAT_WAS_WRITTEN, crc32_file, crc32_part, read_part, regular_size
from outlast.storage.format import json_text, layout, limits
from outlast.storage.logs import Log

_ANEW = "a resume writes it anew"
_TAKEN_BACK = "newer than the last commit; a resume takes it back"


class Verdict(Enum):
    """What was found of a file."""

    WHOLE = "whole"
    AHEAD = "ahead"  # of the last commit; a resume takes it back
    DAMAGED = "damaged"
    MISSING = "missing"
    CHANGED = "changed"  # a view, which a resume makes again

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self in (Verdict.WHOLE, Verdict.AHEAD)


@dataclass(frozen=True)
class Check:
    """One file, checked.

    Args:
        file: its name in the run's folder.
        what: what it is.
        verdict: what was found.
        detail: the same in words; "" where the verdict says it all.
    """

    file: str
    what: str
    verdict: Verdict
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        found = {"verdict": self.verdict.value, "detail": self.detail or None}
        return {"file": self.file, "what": self.what, **found}


def of_blob(folder: str, blob: Blob, whole: bool) -> Check:
    """A blob, of which is known whether it is ``whole``."""
    what = "old lines" if layout.is_rows(blob.name) else "part" if layout.is_part(blob.name) else "model"
    if whole:
        return Check(blob.name, what, Verdict.WHOLE)
    return Check(blob.name, what, *_fault(os.path.join(folder, blob.name), blob.size))


def of_copy(folder: str, view: str, blob: Blob, others: Iterable[str]) -> Check:
    """A view that is a copy of a blob; ``others`` are blobs that a step not committed may have made."""

    def judged(path: str) -> tuple[Verdict, str]:
        if blob.fits(path):
            return Verdict.WHOLE, ""
        if any(_whatever_stands_there(_same, path, os.path.join(folder, name)) for name in others):
            return Verdict.AHEAD, _TAKEN_BACK
        return _fault(path, blob.size)

    return _view(folder, view, "copy", judged)


def of_log(folder: str, name: str, log: Log, others: Iterable[str]) -> Check:
    """A view that is a log; ``others`` are segments that a step not committed may have made."""

    def judged(path: str) -> tuple[Verdict, str]:
        size = regular_size(path)
        if _whatever_stands_there(_begins_with, path, log):
            longer = size is not None and size > log.size
            return (Verdict.AHEAD, _TAKEN_BACK) if longer else (Verdict.WHOLE, "")
        if any(_whatever_stands_there(_starts_as, path, os.path.join(folder, name)) for name in others):
            return Verdict.AHEAD, _TAKEN_BACK
        return _fault(path, log.size)

    return _view(folder, name, "log", judged)


def of_identity(folder: str, run: str) -> Check:
    """``IDENTITY``, which the resume points repeat."""
    path, what = os.path.join(folder, layout.IDENTITY), "which run it is"
    if identity.read(folder) == run:
        return Check(layout.IDENTITY, what, Verdict.WHOLE)
    if not os.path.lexists(path):
        return Check(layout.IDENTITY, what, Verdict.MISSING, _ANEW)
    return Check(layout.IDENTITY, what, Verdict.CHANGED, _ANEW)


def of_settings(folder: str) -> Check:
    """``run.json``, which has no checksum: whether it can be read."""
    path = os.path.join(folder, layout.RUN)
    size = regular_size(path)
    if size is None:
        return Check(layout.RUN, "settings", *_fault(path, 0))
    try:
        with explained(path, "read"):
            json_text.parsed(read_part(path, 0, limits.JSON_BYTES + 1))
    except (ValueError, RecursionError):
        return Check(layout.RUN, "settings", Verdict.DAMAGED, "it is no JSON; a resume does not need it")
    return Check(layout.RUN, "settings", Verdict.WHOLE)


def _view(folder: str, name: str, what: str, judged: Callable[[str], tuple[Verdict, str]]) -> Check:
    """A file that a resume can make again: damage is a change."""
    try:
        path = layout.log_path(folder, name)  # or that of a copy
        with explained(path, "read"):
            verdict, detail = judged(path)
    except ArgumentError:
        verdict, detail = Verdict.CHANGED, "a symbolic link on its way leads out of the folder"
    else:
        if verdict is Verdict.DAMAGED:
            verdict, detail = Verdict.CHANGED, f"{detail}; {_ANEW}"
        elif verdict is Verdict.MISSING:
            detail = _ANEW
    return Check(name, what, verdict, detail)


def _fault(path: str, size: int) -> tuple[Verdict, str]:
    """What is wrong with a file that is not what was written; it had so many bytes."""
    found = regular_size(path)
    if found is None:
        there = os.path.lexists(path)
        return (Verdict.DAMAGED, "it is no regular file") if there else (Verdict.MISSING, "")
    if found != size:
        return Verdict.DAMAGED, f"it has {found:,} bytes instead of {size:,}"
    return Verdict.DAMAGED, "its checksum does not fit"


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


def _whatever_stands_there(compare: Callable[..., bool], *arguments: Any) -> bool:
    """A comparison of files, which fails where one is missing or no file at all."""
    try:
        return compare(*arguments)
    except OSError as error:
        if error.errno in NOT_WHAT_WAS_WRITTEN:
            return False
        raise
