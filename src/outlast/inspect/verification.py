"""Verification: read every byte of a run and compare it with its checksum, without a lock.

Another process may be writing the run meanwhile, and deletes files that it no longer needs. So if
anything is wrong and new resume points have appeared, the verification starts again, after a pause; files
found whole are not read a second time. If the writer is always faster, only that is called damage which
is there at a second look, while the resume point that names it is there too. The rest could not be told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from outlast.exceptions import DamagedFile, FileError
from outlast.inspect import checks
from outlast.inspect.checks import FileCheck, Verdict
from outlast.inspect.status import Look, Outlook, RunStatus, Status, look, look_closer
from outlast.inspect.wording import reason
from outlast.storage import resume_points
from outlast.storage.blobs import Blob
from outlast.storage.disk.calls import explained
from outlast.storage.disk.temporary import is_temporary
from outlast.storage.format import layout
from outlast.storage.resume_points import KEPT, ResumePoint
from outlast.storage.survey import is_set_aside

_ATTEMPTS = 20  # to verify a run while it is being written
_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.005, 1.5, 0.1  # seconds between two; else they may keep step with commits
_LOOKS = 3  # at one file that seems damaged, while a writer is fast: it may replace it between two calls
_FINAL = (Status.NEWER, Status.OLDER, Status.NO_RUN)  # no writer comes and goes there


@dataclass(frozen=True)
class Verification:
    """The result for one run.

    Args:
        run: its status.
        checks: one for each file; none if there is no run, or it cannot be read.
        outlook: what a resume would do; None if it would be refused.
        leftovers: files that nothing needs, left by a killed process; a resume deletes them.
        foreign: blobs of another run; a resume sets them aside.
        untold: files that a writer replaced or deleted before they could be judged.
    """

    run: RunStatus
    checks: tuple[FileCheck, ...] = ()
    outlook: Outlook | None = None
    leftovers: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every file that could be judged matches what was written."""
        return not self.run.problem and all(check.verdict.good for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The object that ``outlast verify --json`` prints for a run."""
        return {
            **self.run.to_json(),
            "holds": self.holds,
            "checks": [check.to_json() for check in self.checks],
            "resume": self.outlook and vars(self.outlook),
            "leftovers": [*self.leftovers],
            **({"foreign": [*self.foreign]} if self.foreign else {}),
            **({"untold": [*self.untold]} if self.untold else {}),
        }


def verify(folder: str) -> Verification:
    """Check every checksum of the run in ``folder``. Damage is not an error here: it is a status."""
    whole_files = _FoundWhole()
    pause, former = _PAUSE, None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        before = _listed(folder)
        seen = look(folder, whole_files.point, whole_files.fits)
        found = look_closer(seen, partial(_checked, folder, seen, whole_files), Verification)
        if found.holds or found.run.status in _FINAL:
            return found
        faults = (before, found.run.problem, [check for check in found.checks if not check.verdict.good])
        # A writer may be between two steps of a commit, and no new number shows it. So look twice.
        if _listed(folder) == before and (found.run.holder is None or faults == former):
            return found
        former = faults
    return _as_far_as_told(folder, seen, found, whole_files)


class _FoundWhole:
    """The files found whole so far. These files never change, so each is read once."""

    def __init__(self) -> None:
        self.point = cache(resume_points.verify)
        self._blobs: set[Blob] = set()

    def fits(self, blob: Blob, path: str) -> bool:
        """Whether the file at ``path`` is the blob."""
        if blob not in self._blobs:
            with explained(path, "read"):
                if not blob.fits(path):
                    return False
            self._blobs.add(blob)
        return True


def _as_far_as_told(folder: str, seen: Look, found: Verification, whole_files: _FoundWhole) -> Verification:
    """The result for a run that changed during every look at it."""
    done: list[FileCheck] = []
    untold: list[str] = []
    for check in found.checks:
        if check.verdict.good or _is_confirmed(folder, check, whole_files):
            done.append(check)
        else:
            untold.append(check.file)
    is_finished = seen.saved is not None and seen.saved.finished
    status = Status.FINISHED if is_finished else Status.INTERRUPTED
    if seen.run.holder is not None:
        status = Status.RUNNING
    # What the survey missed may have been deleted in due course, as well.
    run = _summed_up(replace(found.run, status=status, problem=""), done)
    outlook = found.outlook
    if outlook is not None and not run.problem:
        outlook = replace(outlook, loses=(), mends={})
    untold = untold or ([] if done else [folder])
    return replace(found, run=run, checks=tuple(done), outlook=outlook, untold=tuple(untold))


def _is_confirmed(folder: str, check: FileCheck, whole_files: _FoundWhole) -> bool:
    """Whether a file is still bad, while what names it is still there."""
    for _ in range(_LOOKS):
        numbers = _listed(folder)
        is_bad, of = _seen_again(folder, check, numbers, whole_files)
        if not is_bad:
            return False
        # A blob may be deleted before an old resume point that names it; so the two newest count.
        kept = _listed(folder)[: 1 if check.what in checks.PUBLISHED else KEPT]
        if of and not of.intersection(kept):
            return False
    return True


def _seen_again(
    folder: str, check: FileCheck, numbers: list[int], whole_files: _FoundWhole
) -> tuple[bool, set[int]]:
    """Whether a file is bad, and the resume points that need it; of none: whatever they are."""
    number = layout.resume_number(check.file)
    points: list[ResumePoint] = []
    for one in numbers[: KEPT + 1]:
        try:
            points.append(whole_files.point(folder, one))
        except DamagedFile:
            if one == number:
                return True, {one}
    if number is not None:  # whole; then it is another run's
        return number in numbers and check.verdict is Verdict.DAMAGED, {number}
    again: list[FileCheck] = []
    if layout.is_blob(check.file):
        of = {point.number for point in points if check.file in point.blobs}
        blobs = {blob.name: blob for point in points for blob in _blobs_of(point)}
        if check.file in blobs:
            blob = blobs[check.file]
            again = [checks.of_blob(folder, blob, whole_files.fits(blob, os.path.join(folder, blob.name)))]
        return bool(again) and not again[0].verdict.good, of
    if check.what in checks.PUBLISHED:
        if points:
            ours = {blob.name for point in points[:KEPT] for blob in _blobs_of(point)}
            again = [*_published(folder, points[0], ours, check.file)]
        bad = any(one.file == check.file and not one.verdict.good for one in again)
        return bad, {point.number for point in points[:1]}
    again = [checks.of_settings(folder), *checks.of_results(folder)]
    again += [checks.of_identity(folder, point.run) for point in points[:1]]
    return any(one.file == check.file and not one.verdict.good for one in again), set()


def _listed(folder: str) -> list[int]:
    try:
        return resume_points.numbers(folder)
    except FileError:
        return []


def _checked(folder: str, seen: Look, whole_files: _FoundWhole) -> Verification:
    held = seen.run.holder is not None
    done, points = _resume_points(folder, whole_files, seen.found.run if seen.found else None)
    # Blobs that only older resume points name are leftovers: a killed writer had no time to delete them.
    blobs = {blob.name: blob for point in points[:1] for blob in _blobs_of(point)}
    older = [blob for point in points[1:KEPT] for blob in _blobs_of(point)]
    blobs |= {blob.name: blob for blob in older if not is_set_aside(folder, blob)}  # a start said that
    done += [
        checks.of_blob(folder, blob, whole_files.fits(blob, os.path.join(folder, blob.name)))
        for blob in blobs.values()
    ]
    if seen.saved is not None:
        point = whole_files.point(folder, seen.saved.number)
        done += _published(folder, point, blobs)
        done += [checks.of_identity(folder, point.run), checks.of_settings(folder)]
        done += checks.of_results(folder)
    left, foreign = _leftovers(folder, points[:KEPT])
    return Verification(
        _summed_up(seen.run, done),
        tuple(done),
        seen.outlook(),
        () if held else left,  # it is at work on them
        foreign,
    )


def _resume_points(
    folder: str, whole_files: _FoundWhole, run: str | None
) -> tuple[list[FileCheck], list[ResumePoint]]:
    """The check of each resume point, the newest first, and those that are whole.

    Two whole ones are what a run keeps; whatever is older is left over, whole or not.
    """
    done: list[FileCheck] = []
    whole: list[ResumePoint] = []
    for number in resume_points.numbers(folder):
        problem = ""
        try:
            point = whole_files.point(folder, number)
        except DamagedFile as error:
            if len(whole) >= KEPT:  # left over
                continue
            problem = reason(folder, str(error))
        else:
            if run is not None and point.run != run:
                problem = "it belongs to another run; a resume sets it aside"
            else:
                whole.append(point)
        verdict = Verdict.DAMAGED if problem else Verdict.WHOLE
        done.append(FileCheck(layout.resume_name(number), "resume point", verdict, problem))
    return done, whole


def _blobs_of(point: ResumePoint) -> Iterator[Blob]:
    yield from point.files.values()
    yield from point.immutables.values()
    for log in point.logs.values():
        yield from log.blobs


def _published(
    folder: str, point: ResumePoint, blobs: Collection[str], only: str | None = None
) -> Iterator[FileCheck]:
    others = [name for name in sorted(os.listdir(folder)) if layout.is_blob(name) and name not in blobs]
    models = [name for name in others if layout.blob_kind(name) != layout.LINES]
    segments = [name for name in others if layout.blob_kind(name) == layout.LINES]
    for name, blob in point.files.items():
        if only in (None, name):
            yield checks.of_copy(folder, name, blob, models)
    for name, log in point.logs.items():
        if log.public and only in (None, name):
            yield checks.of_log(folder, name, log, segments)


def _summed_up(run: RunStatus, done: list[FileCheck]) -> RunStatus:
    """The run's status after the checks: one bad file is enough to call it damaged."""
    bad = [check for check in done if not check.verdict.good]
    if run.problem or not bad:
        return run
    problem = f"{bad[0].file}: {bad[0].detail or bad[0].verdict.value}"
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    return replace(run, status=Status.DAMAGED, problem=problem + more)


def _leftovers(folder: str, points: Collection[ResumePoint]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files of the run that no kept resume point names, and blobs of another run."""
    if not points:
        return (), ()
    oldest, run = min(point.number for point in points), next(iter(points)).run
    kept = {name for point in points for name in point.blobs}
    left, foreign = [], []
    for name in sorted(os.listdir(folder)):
        number = layout.resume_number(name)
        if layout.is_blob(name) and not layout.is_blob_of(run, name):
            foreign.append(name)
        elif layout.is_blob(name):
            left += [name] if name not in kept else []
        elif is_temporary(name) or (number is not None and number < oldest):
            left.append(name)
    return tuple(left), tuple(foreign)
