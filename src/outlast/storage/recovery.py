"""The recovery: from whatever a crash or a bad disk left to a run that can go on.

It acts on the verdict of ``survey.py``. Each act can be repeated: a crash in
the recovery is a crash like any other. What is damaged is moved aside, never
deleted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from outlast.storage.blobs import Blob
from outlast.storage.commit import Truth, delete_orphans, publish_view
from outlast.storage.disk import files
from outlast.storage.disk.calls import explained, sync_folder
from outlast.storage.disk.reading import read_all, read_part
from outlast.storage.format import layout
from outlast.storage.logs import mend_view
from outlast.storage.resume_points import ResumePoint
from outlast.storage.survey import Twin, survey


@dataclass(frozen=True)
class Recovered:
    """What a run goes on from.

    Args:
        truth: for the first commit.
        state: what the newest good resume point holds; None if there is none.
        findings: what was wrong and is mended, as parts of a sentence.
    """

    truth: Truth
    state: Any
    findings: tuple[str, ...]


def recover(folder: str) -> Recovered:
    """Bring the folder to its newest good resume point. Hold the lock.

    Raises:
        DamagedFile: there are resume points, and none can be used. Nothing was touched.
        UnknownFormat: a newer or older outlast wrote here. Nothing was touched.
        FileError: the disk refused.
    """
    found = survey(folder)
    _clear_temporary(folder)
    for name in found.damaged:
        files.move_aside(os.path.join(folder, name), front=layout.DAMAGED)
    for blob, twin in found.replaceable.items():
        _make_again(folder, blob, twin)
    mended = _mend_views(folder, found.point, found.before) if found.point else []
    with explained(folder, "sync"):
        sync_folder(folder)
    points = [point for point in (found.point, found.before) if point]
    named = {name for point in points for name in point.blobs}
    delete_orphans(folder, {point.number for point in points}, named)
    return Recovered(
        Truth.of(found.point) if found.point else Truth(),
        found.point.state if found.point else None,
        (*found.findings, *mended),
    )


def _clear_temporary(folder: str) -> None:
    """Delete what killed writers left, here and in the views' folders; not in other runs."""
    for place, below, names in os.walk(folder):
        if place != folder and layout.LOCK in names:
            below.clear()
        else:
            files.clear_temporary(place)


def _make_again(folder: str, blob: Blob, twin: Twin) -> None:
    data = read_part(os.path.join(folder, twin.view), twin.offset, blob.size)
    write = partial(files.write_bytes, data=data)
    files.seal(os.path.join(folder, blob.name), write, needed=blob.size)


def _mend_views(folder: str, point: ResumePoint, before: ResumePoint | None) -> list[str]:
    """Make every view what the resume point says; returns what was found."""
    findings: list[str] = []
    for view, blob in point.files.items():
        if not blob.fits(layout.view_path(folder, view)):
            publish_view(folder, view, blob)
            findings.append(f"{view} was put back")
    unfinished = _unfinished(folder, point, before)
    for name, log in point.logs.items():
        finding = log.view and mend_view(folder, name, log, unfinished)
        findings += [finding] if finding else []
    _finish_giving_up(folder, point, before)
    return findings


def _unfinished(folder: str, point: ResumePoint, before: ResumePoint | None) -> list[bytes]:
    """The lines that were sealed for a commit that did not come to its end."""
    named = point.blobs | (before.blobs if before else frozenset())
    found = []
    for name in os.listdir(folder):
        if layout.is_rows(name) and name not in named:
            with suppress(OSError):  # it is deleted soon, read or not
                found.append(read_all(os.path.join(folder, name)))
    return [lines for lines in found if lines]


def _finish_giving_up(folder: str, point: ResumePoint, before: ResumePoint | None) -> None:
    """Delete the views that the commit of ``point`` gave up, if it came no further."""
    for view, blob in before.files.items() if before else ():
        path = layout.view_path(folder, view)
        if view not in point.files and blob.fits(path):
            files.remove(path)
