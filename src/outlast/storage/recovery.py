"""The recovery: from whatever a crash or a bad disk left to a run that can go on.

It acts on the verdict of ``survey.py``. Each act can be repeated: a crash in
the recovery is a crash like any other. What is damaged is moved aside, never
deleted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from outlast.exceptions import RunLocked
from outlast.storage import identity
from outlast.storage.blobs import Blob
from outlast.storage.commit import Committed, delete_orphans, publish
from outlast.storage.disk import files
from outlast.storage.disk.files import sync_names
from outlast.storage.disk.reading import crc32_file, names_in, read_part, regular_size
from outlast.storage.format import layout, limits
from outlast.storage.logs import Log, mend_published
from outlast.storage.resume_points import ResumePoint
from outlast.storage.survey import Survey, survey


@dataclass(frozen=True)
class Recovered:
    """What a run goes on from.

    Args:
        committed: for the first commit.
        state: what the newest good resume point holds; None if there is none.
        findings: what was wrong and is mended, as phrases.
    """

    committed: Committed
    state: Any
    findings: tuple[str, ...]


def recover(folder: str, known: Committed | None = None, *, begin: bool = False) -> Recovered:
    """Bring the folder to its newest good resume point. Hold the lock.

    Args:
        folder: the run's.
        known: what this process knew of the run, after a save that failed.
        begin: the folder is to be a new run's, whatever resume points are in it by now.

    Raises:
        DamagedFile: there are resume points, and none can be used. Nothing was touched.
        UnknownFormat: a newer or older outlast wrote here. Nothing was touched.
        RunLocked: the folder is not that of ``known`` any more. Nothing was touched.
        FileError: the disk refused.
    """
    if known is not None and identity.read(folder) != known.run:
        raise RunLocked(f"{folder} was set aside or replaced by another run.", path=folder)
    found = _all_foreign(folder) if begin else survey(folder)
    run = found.run or layout.new_identity()
    _clear_temporary(folder)
    for name in found.damaged:
        files.move_aside(os.path.join(folder, name), front=layout.DAMAGED)
    for name in found.foreign:
        files.move_aside(os.path.join(folder, name), front=layout.FOREIGN)
    is_new = found.point is None and not os.path.lexists(os.path.join(folder, layout.IDENTITY))
    others = _somebody_elses(folder) if is_new else []
    was_lost = identity.give(folder, run, layout.FOREIGN if begin else layout.DAMAGED)
    for blob, twin in found.replaceable.items():
        write = files.Content(read_part(os.path.join(folder, twin.file), twin.offset, blob.size))
        files.seal(os.path.join(folder, blob.name), write, needed=blob.size)
    mended = _mend_published(folder, found.point, found.before) if found.point else []
    if known is None:
        _take_back(folder, run, found.point)
    if was_lost and found.point:
        mended.insert(0, f"{layout.IDENTITY} was missing or damaged, and was written again")
    sync_names(folder)
    points = [point for point in (found.point, found.before) if point]
    named = {name for point in points for name in point.blobs}
    named |= {blob.name for blob in known.files.values()} if known else set()  # of the epoch under way
    numbers = {point.number for point in points}
    delete_orphans(folder, run, numbers, named, newest=sys.maxsize)  # we hold the lock
    committed = Committed.of(found.point) if found.point else Committed(run=run)
    return Recovered(
        committed.remembering(known) if known else committed,
        found.point.state if found.point else None,
        (*found.findings, *mended, *others),
    )


def _all_foreign(folder: str) -> Survey:
    foreign = (
        name for name in names_in(folder) if layout.is_blob(name) or layout.resume_number(name) is not None
    )
    return Survey(None, foreign=(*foreign,))


def _clear_temporary(folder: str) -> None:
    """Delete what killed writers left, here and in the folders of published files; not in other runs."""
    for place, _ in _places(folder):
        files.clear_temporary(place)


def _somebody_elses(folder: str) -> list[str]:
    """Move files aside that have names of ours, in a folder where no run has been; returns what was found."""
    found = []
    for name in (layout.RUN, layout.EVENTS, layout.RESULTS):
        path = os.path.join(folder, name)
        if os.path.lexists(path):
            kept = files.move_aside(path, layout.CONFLICT)
            found.append(f"{name} was there before the run: now {os.path.basename(kept)}")
    return found


def _places(folder: str) -> Iterator[tuple[str, list[str]]]:
    """The run's folder and those in it, with the names in each; not those of other runs."""
    for place, below, names in os.walk(folder):
        if place != folder and layout.LOCK in names:
            below.clear()
        else:
            yield place, names


def _mend_published(folder: str, point: ResumePoint, before: ResumePoint | None) -> list[str]:
    """Make every published file what the resume point says; returns what was found."""
    findings: list[str] = []
    for name, blob in point.files.items():
        if not blob.fits(layout.published_path(folder, name)):
            publish(folder, name, blob)
            findings.append(f"{name} was put back")
    unfinished = _unfinished(folder, point, before)
    for name, log in point.logs.items():
        _seal_published(folder, log)
        finding = log.public and mend_published(folder, name, log, unfinished)
        findings += [finding] if finding else []
    _finish_giving_up(folder, point, before)
    return findings


def _seal_published(folder: str, log: Log) -> None:
    """Make the copy of the lines that replaced a log again, which are the first that it has."""
    blob = log.replacement
    if blob is None or blob.fits(path := os.path.join(folder, blob.name)):
        return
    if os.path.lexists(path):
        files.move_aside(path, front=layout.DAMAGED)
    files.seal(path, files.Content(log.tail[: blob.size]), needed=blob.size)


def _unfinished(folder: str, point: ResumePoint, before: ResumePoint | None) -> list[Blob]:
    """The lines that were sealed for a commit that did not come to its end."""
    named = point.blobs | (before.blobs if before else frozenset())
    found = []
    for name in names_in(folder):
        path = os.path.join(folder, name)
        is_ours = layout.is_blob_of(point.run, name) and layout.blob_kind(name) == layout.LINES
        if is_ours and name not in named:
            with suppress(OSError):  # it is deleted soon, read or not
                size = os.lstat(path).st_size
                if size <= limits.SEGMENT_BYTES:  # more is none of ours
                    found.append(Blob(name, size, crc32_file(path)))
    return [blob for blob in found if blob.size]


def _take_back(folder: str, run: str, point: ResumePoint | None) -> None:
    """Delete the files that a commit which did not come to its end had published under new names.

    They are copies of blobs that no resume point names; a file of anybody else's is none.
    """
    newest, named = (point.number, point.files) if point else (0, {})
    orphans = [
        name
        for name in names_in(folder)
        if layout.is_blob_of(run, name) and layout.blob_kind(name) == layout.MODEL
        if layout.blob_number(name) > newest
    ]
    for place, names in _places(folder) if orphans else ():
        for path in (os.path.join(place, name) for name in names if not layout.is_blob(name)):
            if os.path.relpath(path, folder).replace(os.sep, "/") not in named:
                with suppress(OSError):  # it is none of ours, then
                    if any(_is_copy(path, os.path.join(folder, name)) for name in orphans):
                        files.remove(path)


def _is_copy(path: str, blob: str) -> bool:
    if layout.suffix_of(path) != layout.suffix_of(blob) or regular_size(path) != regular_size(blob):
        return False
    return crc32_file(path) == crc32_file(blob)


def _finish_giving_up(folder: str, point: ResumePoint, before: ResumePoint | None) -> None:
    """Delete the published files that the commit of ``point`` gave up, if it came no further."""
    for name, blob in before.files.items() if before else ():
        path = layout.published_path(folder, name)
        if name not in point.files and blob.fits(path):
            files.remove(path)
