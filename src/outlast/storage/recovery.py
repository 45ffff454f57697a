"""The recovery: from whatever a crash or a bad disk left to a run that can go on.

It acts on the verdict of ``survey.py``. Each act can be repeated: a crash in
the recovery is a crash like any other. What is damaged is moved aside, never
deleted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from outlast.exceptions import RunLocked
from outlast.storage import identity, results
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
        unfinished: names of published files that a commit which did not come to its end has left.
    """

    committed: Committed
    state: Any
    findings: tuple[str, ...]
    unfinished: frozenset[str] = frozenset()


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
    is_new = found.point is None and identity.read(folder) is None
    others = _somebody_elses(folder) if is_new else [] if known else _of_no_use(folder)
    was_lost = identity.give(folder, run, layout.FOREIGN if begin else layout.DAMAGED)
    for blob, twin in found.replaceable.items():
        write = files.Content(read_part(os.path.join(folder, twin.file), twin.offset, blob.size))
        files.seal(os.path.join(folder, blob.name), write, needed=blob.size)
    newest = found.point.number if found.point else 0
    is_unread = found.point is None and bool(found.unusable)  # what they had saved is set aside as well
    unfinished = set() if known or is_unread else _copies_of_unfinished(folder, run, newest)
    for name in names_in(folder) if is_unread else ():
        if layout.is_blob_of(run, name):
            files.move_aside(os.path.join(folder, name), front=layout.DAMAGED)
    mended = _mend_published(folder, found.point, found.before, unfinished, known) if found.point else []
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
        frozenset(unfinished),
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


def _of_no_use(folder: str) -> list[str]:
    """Move aside what stands under names of the run's and cannot be its own; returns what was found."""
    found = []
    path = os.path.join(folder, layout.RUN)
    if os.path.isdir(path) and not os.path.islink(path):
        kept = files.move_aside(path, layout.CONFLICT)
        found.append(f"{layout.RUN} was a folder: now {os.path.basename(kept)}")
    path = os.path.join(folder, layout.RESULTS)
    if os.path.lexists(path) and not results.is_whole(path):
        files.move_aside(path, front=layout.DAMAGED)
        found.append(
            f"{layout.RESULTS} was damaged and set aside: what was logged after the training is lost; log it "
            "again"
        )
    return found


def _places(folder: str) -> Iterator[tuple[str, list[str]]]:
    """The run's folder and those in it, with the names in each; not those of other runs."""
    for place, below, names in os.walk(folder):
        if place != folder and layout.LOCK in names:
            below.clear()
        else:
            yield place, names


def _mend_published(
    folder: str,
    point: ResumePoint,
    before: ResumePoint | None,
    unfinished: Collection[str],
    known: Committed | None,
) -> list[str]:
    """Make every published file what the resume point says; returns what was found.

    What is there instead, and no commit has left, steps aside.
    """
    findings: list[str] = []
    for name, blob in point.files.items():
        path = layout.published_path(folder, name)
        if blob.fits(path):
            continue
        older = before.files.get(name) if before else None
        is_ours = name in unfinished or known is not None or (older is not None and older.fits(path))
        if os.path.lexists(path) and not os.path.isdir(path) and not is_ours:
            kept = files.move_aside(path, layout.CONFLICT)
            findings.append(f"{name} had been changed: put back, the other is {os.path.basename(kept)}")
        else:
            findings.append(f"{name} was put back")
        publish(folder, name, blob)
    lines = _unfinished_lines(folder, point, before)
    for name, log in point.logs.items():
        findings += _seal_published(folder, log)
        finding = log.public and mend_published(folder, name, log, lines)
        findings += [finding] if finding else []
    _finish_giving_up(folder, point, before)
    return findings


def _seal_published(folder: str, log: Log) -> list[str]:
    """Make the copy of the lines that replaced a log again, which are the first that it has."""
    blob = log.replacement
    if blob is None or blob.fits(path := os.path.join(folder, blob.name)):
        return []
    if os.path.lexists(path):
        files.move_aside(path, front=layout.DAMAGED)
    files.seal(path, files.Content(log.tail[: blob.size]), needed=blob.size)
    return [f"{blob.name} was made again"]


def _unfinished_lines(folder: str, point: ResumePoint, before: ResumePoint | None) -> list[Blob]:
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


def _copies_of_unfinished(folder: str, run: str, newest: int) -> set[str]:
    """The names of published files that a commit which did not come to its end has left.

    They are copies of blobs that were made for a resume point after the newest.
    """
    blobs: dict[tuple[str, int | None], list[str]] = {}
    for name in names_in(folder):
        is_model = layout.is_blob_of(run, name) and layout.blob_kind(name) == layout.MODEL
        if is_model and layout.blob_number(name) > newest:
            path = os.path.join(folder, name)
            blobs.setdefault((layout.suffix_of(name), regular_size(path)), []).append(path)
    found = set()
    checksum = cache(crc32_file)
    for place, names in _places(folder) if blobs else ():
        for path in (os.path.join(place, name) for name in names if not layout.is_blob(name)):
            with suppress(OSError):  # it is none of ours, then
                alike = blobs.get((layout.suffix_of(path), regular_size(path)), ())
                if alike and checksum(path) in map(checksum, alike):
                    found.add(os.path.relpath(path, folder).replace(os.sep, "/"))
    return found


def _finish_giving_up(folder: str, point: ResumePoint, before: ResumePoint | None) -> None:
    """Delete the published files that the commit of ``point`` gave up, if it came no further."""
    for name, blob in before.files.items() if before else ():
        path = layout.published_path(folder, name)
        if name not in point.files and blob.fits(path):
            files.remove(path)
