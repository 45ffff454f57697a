"""What a run's folder holds, judged without a change to it.

The newest resume point that verifies, and whose blobs verify, is the truth. A
blob has a twin, the published file: if one is damaged, the other may
still be whole. If no resume point has all its blobs, the newest that verifies
itself is taken, and what is lost is said.

Only files of the folder's own run count. ``IDENTITY`` says which run that is; if
it is missing or damaged, the newest resume point that verifies does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from outlast.core.text import few
from outlast.exceptions import ArgumentError, DamagedFile
from outlast.storage import identity, journal, resume_points
from outlast.storage.blobs import Blob
from outlast.storage.disk.reading import names_in
from outlast.storage.format import layout
from outlast.storage.resume_points import ResumePoint

Read = Callable[[str, int], ResumePoint]
Fits = Callable[[Blob, str], bool]

_ATTEMPTS = 20
_PAUSES = (0, 0.005, 0.01, 0.02, 0.05, 0.1)  # seconds before each; the last for all that follow


@dataclass(frozen=True)
class Twin:
    """Where the bytes of a blob stand a second time: in a published file, from ``offset`` on."""

    file: str
    offset: int


@dataclass(frozen=True)
class Survey:
    """The verdict.

    Args:
        point: the resume point to go on from, without what is lost; None: begin a new run.
        before: the one before it, without its arrays, if there is one.
        unusable: numbers of the resume points that are to be set aside, and why.
        damaged: names of files that are to be moved aside.
        replaceable: blobs to be made again, and from what.
        lost: blobs that are gone for good, and what they were.
        foreign: names of resume points and blobs of another run.
        run: the identity of the run; None if nothing says it.
    """

    point: ResumePoint | None
    before: ResumePoint | None = None
    unusable: dict[int, str] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    replaceable: dict[Blob, Twin] = field(default_factory=dict)
    lost: dict[Blob, str] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()
    run: str | None = None

    @property
    def findings(self) -> tuple[str, ...]:
        """What is wrong, and what is done about it, as phrases."""
        return (
            *(f"resume point {number} was set aside: {why}" for number, why in self.unusable.items()),
            *(f"{blob.name} was made again from {t.file}" for blob, t in self.replaceable.items()),
            *(f"{blob.name} ({what}) is lost" for blob, what in self.lost.items()),
            *([f"files of another run were set aside: {few(self.foreign, 5)}"] if self.foreign else ()),
        )


def survey(
    folder: str,
    read: Read = resume_points.load,
    fits: Fits = Blob.fits,
    read_before: Read = resume_points.verify,
) -> Survey:
    """Find what a run can go on from.

    Args:
        folder: the run's.
        read: ``resume_points.load``, or ``verify`` to keep the arrays out of memory.
        fits: whether the file at a path is a blob's.
        read_before: reads the resume point before that one, which nobody needs unless the newest breaks.

    Raises:
        DamagedFile: there are resume points, and none can be used.
        UnknownFormat: a newer or older outlast wrote here.
        FileError: the system does not let us look.
    """
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])  # else we may keep step with the writer
        listed = resume_points.numbers(folder)
        try:
            found = _looked_through(folder, listed, read, fits, read_before)
        except DamagedFile:
            if attempt == _ATTEMPTS - 1 or resume_points.numbers(folder) == listed:
                raise
        else:
            if not found.findings or resume_points.numbers(folder) == listed:
                break
        # A writer is at work: what we missed may have been deleted in due course.
    return found


def _looked_through(folder: str, numbers: list[int], read: Read, fits: Fits, read_before: Read) -> Survey:
    run = identity.read(folder)
    bad: dict[int, str] = {}  # resume points to set aside, and why
    foreign: list[str] = []
    usable: list[_Candidate] = []
    for point in _points(folder, numbers, read, run, bad, foreign):
        run = point.run
        usable.append(_judged(folder, point, fits))
        if not usable[-1].lost:
            break
    names = [name for name in names_in(folder) if layout.is_blob(name)]
    foreign += [name for name in names if run and not layout.is_blob_of(run, name)]
    if not usable:
        _refuse_if_more_was_saved(folder, bad, [name for name in names if name not in foreign])
        damaged = tuple(map(layout.resume_name, bad))
        return Survey(None, unusable=bad, damaged=damaged, foreign=(*foreign,), run=run)
    chosen = usable[0] if usable[-1].lost else usable[-1]
    passed = [one for one in usable if one.point.number > chosen.point.number]
    older = [number for number in resume_points.numbers(folder) if number < chosen.point.number]
    before: _Candidate | None = None
    for point in _points(folder, older, read_before, run, bad, foreign):
        one = _judged(folder, point, fits)
        if all(blob in chosen.lost or is_set_aside(folder, blob) for blob in one.lost):  # which is said
            before = one
            break
        passed.append(one)
    bad |= {one.point.number: f"it needs {_names(one.lost)}" for one in passed}
    kept = [chosen, before] if before else [chosen]
    spoilt = {blob.name for one in (*passed, *kept) for blob in (*one.lost, *one.twins)}
    return Survey(
        chosen.without_lost(),
        before.point if before else None,
        bad,
        (*map(layout.resume_name, bad), *sorted(spoilt.intersection(names)), *_rests(folder, chosen)),
        {blob: twin for one in kept for blob, twin in one.twins.items()},
        chosen.lost,
        (*foreign,),
        run,
    )


def _points(
    folder: str, numbers: Iterable[int], read: Read, run: str | None, bad: dict[int, str], foreign: list[str]
) -> Iterator[ResumePoint]:
    """The resume points of ``run``, or of the run that the first belongs to.

    What cannot be used on the way is added to ``bad`` and ``foreign``.
    """
    for number in numbers:
        if number in bad or layout.resume_name(number) in foreign:
            continue
        try:
            point = read(folder, number)
        except DamagedFile as error:
            bad[number] = str(error).rstrip(".")
            continue
        run = run or point.run
        if point.run == run:
            yield point
        else:
            foreign.append(layout.resume_name(number))


def _rests(folder: str, chosen: _Candidate) -> list[str]:
    """What stands under the names of models whose bytes are lost."""
    found = []
    for name in (name for name, blob in chosen.point.files.items() if blob in chosen.lost):
        with suppress(ArgumentError):  # a link on its way leads out of the folder
            if os.path.lexists(layout.published_path(folder, name)):
                found.append(name)
    return found


def is_set_aside(folder: str, blob: Blob) -> bool:
    """Whether an earlier start found the blob damaged, said so, and moved it aside."""
    return os.path.lexists(os.path.join(folder, layout.DAMAGED + blob.name))


@dataclass(frozen=True)
class _Candidate:
    point: ResumePoint
    lost: dict[Blob, str]  # what each was
    twins: dict[Blob, Twin]  # damaged, but to be made again

    def without_lost(self) -> ResumePoint:
        """The resume point as far as its blobs are there."""
        point, lost = self.point, self.lost
        kept = {name: blob for name, blob in point.files.items() if blob not in lost}
        logs = {
            name: replace(log, segments=tuple(s for s in log.segments if s not in lost))
            for name, log in point.logs.items()
        }
        fixed = {name: blob for name, blob in point.immutables.items() if blob not in lost}
        return replace(point, files=kept, logs=logs, immutables=fixed)


def _judged(folder: str, point: ResumePoint, fits: Fits) -> _Candidate:
    lost: dict[Blob, str] = {}
    twins: dict[Blob, Twin] = {}
    for blob, copies, what in _needs(point):
        if fits(blob, os.path.join(folder, blob.name)):
            continue
        whole = next((twin for twin in copies if _holds(folder, twin, blob)), None)
        if whole:
            twins[blob] = whole
        else:
            lost[blob] = what
    return _Candidate(point, lost, twins)


def _needs(point: ResumePoint) -> Iterator[tuple[Blob, list[Twin], str]]:
    """Each blob once, where its bytes may stand a second time, and what it is."""
    names: dict[Blob, list[str]] = {}
    for name, blob in point.files.items():
        names.setdefault(blob, []).append(name)
    for blob, copies in names.items():
        yield blob, [Twin(name, 0) for name in copies], ", ".join(copies)
    for name, blob in point.immutables.items():
        yield blob, [], name
    for name, log in point.logs.items():
        offset = 0
        for segment in log.segments:
            yield segment, [Twin(name, offset)] if log.public else [], f"old lines of {name}"
            offset += segment.size


def _holds(folder: str, twin: Twin, blob: Blob) -> bool:
    try:
        path = layout.log_path(folder, twin.file)  # it may be a log
    except ArgumentError:  # a link on its way leads out of the folder
        return False
    return blob.is_in(path, twin.offset)


def _refuse_if_more_was_saved(folder: str, bad: dict[int, str], blobs: list[str]) -> None:
    """Raise ``DamagedFile`` unless at most a first resume point was torn while it was made."""
    had_ended = (
        not bad
        and identity.read(folder) is not None
        and any(
            event.get("event") == "end" for event in journal.read_end(os.path.join(folder, layout.EVENTS))
        )
    )
    if had_ended or max([*bad, *map(layout.blob_number, blobs)], default=0) > 1:
        gone = "a training has ended here, and" if had_ended else ""
        why = (
            ". ".join(bad.values()) or f"{gone} they are gone, though files that they name are there".strip()
        )
        raise DamagedFile(
            f"No resume point in {folder} can be used: {why}. Nothing was "
            'changed. Begin a new run in another folder, or with resume="never", which sets this '
            "one aside.",
            path=folder,
        )


def _names(blobs: dict[Blob, str]) -> str:
    is_or_are = "which is" if len(blobs) == 1 else "which are"
    return few((blob.name for blob in blobs), 5) + f", {is_or_are} missing or damaged"
