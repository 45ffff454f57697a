"""Verification: is every byte of a run what was written? Nothing is changed, no lock is held."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from outlast.exceptions import DamagedFile, FileError
from outlast.inspect import checks
from outlast.inspect.checks import Check, Verdict
from outlast.inspect.outlook import Outlook, outlook
from outlast.inspect.status import Look, Standing, Status, look, reason, refused, sense
from outlast.storage import resume_points
from outlast.storage.blobs import Blob
from outlast.storage.disk.calls import explained
from outlast.storage.disk.temporary import is_temporary
from outlast.storage.format import layout
from outlast.storage.resume_points import ResumePoint

_ATTEMPTS = 20  # while a writer is at work
_NOT_CHECKED = {Status.NO_RUN, Status.NEWER, Status.OLDER, Status.UNREADABLE}


@dataclass(frozen=True)
class Verification:
    """A run, verified.

    Args:
        standing: how it stands.
        checks: its files; none if it is no run, or cannot be read.
        outlook: what a resume would do; None if it would be refused.
        leftovers: what killed writers left, and a resume would clear.
    """

    standing: Standing
    checks: tuple[Check, ...] = ()
    outlook: Outlook | None = None
    leftovers: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every file is what was written."""
        return not self.standing.problem and all(check.verdict.good for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            **self.standing.to_json(),
            "holds": self.holds,
            "checks": [check.to_json() for check in self.checks],
            "resume": self.outlook and self.outlook.to_json(),
            "leftovers": [*self.leftovers],
        }


def verify(folder: str) -> Verification:
    """Check every checksum of a run. No error is raised for what it holds: see the status.

    A run may be written by another process meanwhile: what it deletes in due course is not missed.
    """
    known = _Known()
    for _ in range(_ATTEMPTS):
        before = _listed(folder)
        found = _verified(folder, known)
        if found.holds or _listed(folder) == before:
            break
    return found


class _Known:
    """What was found whole already: such files never change, and are read once."""

    def __init__(self) -> None:
        self._points: dict[int, ResumePoint] = {}
        self._blobs: set[Blob] = set()

    def point(self, folder: str, number: int) -> ResumePoint:
        """A resume point; errors are those of ``resume_points.verify``."""
        if number not in self._points:
            self._points[number] = resume_points.verify(folder, number)
        return self._points[number]

    def fits(self, blob: Blob, path: str) -> bool:
        """Whether the blob stands at its path."""
        if blob not in self._blobs:
            with explained(path, "read"):
                if not blob.fits(path):
                    return False
            self._blobs.add(blob)
        return True


def _listed(folder: str) -> list[int]:
    try:
        return resume_points.numbers(folder)
    except FileError:
        return []


def _verified(folder: str, known: _Known) -> Verification:
    seen = look(folder, known.point, known.fits)
    if seen.standing.status in _NOT_CHECKED:
        return Verification(seen.standing)
    try:
        with sense(folder):
            return _checked(folder, seen, known)
    except FileError as error:
        return Verification(refused(folder, error))


def _checked(folder: str, seen: Look, known: _Known) -> Verification:
    held = seen.standing.holder is not None
    done, points = _resume_points(folder, known, seen.found.run if seen.found else None)
    # What only older ones name, a killed writer had no time to delete.
    blobs = {blob.name: blob for point in points[:2] for blob in _blobs_of(point)}
    done += [
        checks.of_blob(folder, blob, known.fits(blob, os.path.join(folder, blob.name)))
        for blob in blobs.values()
    ]
    if seen.record is not None:
        done += _views(folder, known.point(folder, seen.record.number), blobs)
        done.append(checks.of_identity(folder, known.point(folder, seen.record.number).run))
        done.append(checks.of_settings(folder))
    return Verification(
        _summed_up(seen.standing, done),
        tuple(done),
        outlook(folder, seen.found, seen.record) if seen.found else None,
        () if held else _leftovers(folder, {point.number for point in points[:2]}, blobs),
    )


def _resume_points(folder: str, known: _Known, run: str | None) -> tuple[list[Check], list[ResumePoint]]:
    """Each resume point checked, the newest first, and those that are whole."""
    done, whole = [], []
    for number in resume_points.numbers(folder):
        name, what = layout.resume_name(number), "resume point"
        try:
            point = known.point(folder, number)
        except DamagedFile as error:
            done.append(Check(name, what, Verdict.DAMAGED, reason(folder, str(error))))
            continue
        if run is not None and point.run != run:
            done.append(
                Check(name, what, Verdict.DAMAGED, "it belongs to another run; a resume sets it aside")
            )
        else:
            whole.append(point)
            done.append(Check(name, what, Verdict.WHOLE))
    return done, whole


def _blobs_of(point: ResumePoint) -> Iterator[Blob]:
    yield from point.files.values()
    yield from point.parts.values()
    for log in point.logs.values():
        yield from log.blobs


def _views(folder: str, point: ResumePoint, blobs: Collection[str]) -> Iterator[Check]:
    others = [name for name in sorted(os.listdir(folder)) if layout.is_blob(name) and name not in blobs]
    models = [name for name in others if not layout.is_rows(name)]
    segments = [name for name in others if layout.is_rows(name)]
    for view, blob in point.files.items():
        yield checks.of_copy(folder, view, blob, models)
    for name, log in point.logs.items():
        if log.view:
            yield checks.of_log(folder, name, log, segments)


def _summed_up(standing: Standing, done: list[Check]) -> Standing:
    """A run in which a file is not what was written is damaged, whichever file it is."""
    bad = [check for check in done if not check.verdict.good]
    if standing.problem or not bad:
        return standing
    problem = f"{bad[0].file}: {bad[0].detail or bad[0].verdict.value}"
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    return replace(standing, status=Status.DAMAGED, problem=problem + more)


def _leftovers(folder: str, numbers: Collection[int], blobs: Collection[str]) -> tuple[str, ...]:
    """What neither of the two resume points names that are kept."""

    def is_left(name: str) -> bool:
        number = layout.resume_number(name)
        is_old = number is not None and number < min(numbers)
        return is_old or is_temporary(name) or (layout.is_blob(name) and name not in blobs)

    return tuple(filter(is_left, sorted(os.listdir(folder)))) if numbers else ()
