"""Standing: how a run stands, found without a lock, a change, or belief in what it says.

A look takes milliseconds, however large the models are: names, sizes and headers. Whether every
byte is what was written is the question of ``verification.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from operator import index
from typing import Any

from outlast.core.decision import Decision
from outlast.core.numbers import encoded
from outlast.exceptions import DamagedFile, FileError, UnknownFormat
from outlast.inspect.record import Best, Record
from outlast.storage import resume_points
from outlast.storage.blobs import Blob
from outlast.storage.disk import lock
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import regular_size
from outlast.storage.format import layout
from outlast.storage.survey import Fits, Read, Survey, survey

# What values that were made up can provoke where they are used.
_NONSENSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)

_LONGEST = 300  # characters of a reason
_SAID = ("pid", "host", "boot", "since")  # what a holder says of itself


def _has_its_size(blob: Blob, path: str) -> bool:
    with explained(path, "read"):
        return regular_size(path) == blob.size


class Status(Enum):
    """How a run stands, in a word."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    DAMAGED = "damaged"
    NEWER = "newer format"
    OLDER = "older format"
    UNREADABLE = "unreadable"
    NO_RUN = "no run"


@dataclass(frozen=True)
class Standing:
    """How a run stands.

    Args:
        folder: the run's.
        status: in a word.
        epochs: how many are saved; None if that cannot be told.
        asked: how many were asked for; None if nobody said, or it cannot be told.
        best: the best epoch, if one was judged to be.
        stop: the decision that ended the training, if one did.
        problem: what is wrong, in words; "" if nothing is.
        written: when it was last written, in seconds since 1970.
        holder: pid, host, boot and since, as far as known, of the process that writes it; None if none does.
    """

    folder: str
    status: Status
    epochs: int | None = None
    asked: int | None = None
    best: Best | None = None
    stop: Decision | None = None
    problem: str = ""
    written: float | None = None
    holder: Mapping[str, Any] | None = None

    @property
    def why(self) -> str:
        """Why it stopped, or what is wrong; "" if there is nothing to be said."""
        if self.problem:
            return self.problem
        if self.stop:
            return self.stop.because
        return f"all {self.epochs} epochs are done" if self.status is Status.FINISHED else ""

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "folder": self.folder,
            "status": self.status.value,
            "epochs": self.epochs,
            "asked": self.asked,
            "best": self.best and encoded(vars(self.best)),
            "stopped": self.stop and self.stop.sentence,
            "problem": self.problem or None,
            "written": moment(self.written),
            "holder": self.holder,
        }


@dataclass(frozen=True)
class Look:
    """What was seen of a run: how it stands, and what to look further into.

    Args:
        standing: how it stands.
        found: the survey; None if there is no run, or nothing in it can be used.
        record: of what would be gone on from; None if there is nothing.
    """

    standing: Standing
    found: Survey | None = None
    record: Record | None = None


def standing(folder: str) -> Standing:
    """How the run in ``folder`` stands. No error is raised for what it holds: see the status."""
    return look(folder).standing


def look(folder: str, read: Read = resume_points.peek, fits: Fits = _has_its_size) -> Look:
    """See how the run in ``folder`` stands.

    Args:
        folder: the run's.
        read: how thoroughly resume points are looked at, as in ``survey``.
        fits: how thoroughly blobs are.
    """
    try:
        return _look(folder, read, fits)
    except FileError as error:
        return Look(refused(folder, error))


def refused(folder: str, error: FileError) -> Standing:
    """How a run stands that cannot be read."""
    if isinstance(error, UnknownFormat):
        status = Status.NEWER if error.newer else Status.OLDER
    else:
        status = Status.DAMAGED if isinstance(error, DamagedFile) else Status.UNREADABLE
    return Standing(folder, status, problem=str(error), **_circumstances(folder))


def _look(folder: str, read: Read, fits: Fits) -> Look:
    problem = _no_run(folder)
    if problem:
        return Look(Standing(folder, Status.NO_RUN, problem=problem))
    found = survey(folder, read, fits)
    record = Record(folder, found) if found.point else None
    circumstances = _circumstances(folder)
    wrong = problems(folder, found)
    with sense(folder):
        told: dict[str, Any] = _told(record) if record else {"epochs": 0}
        try:
            told["best"] = _best(record)
        except DamagedFile as error:  # the lines that tell it
            wrong = wrong or [str(error)]
        status = Status.DAMAGED if wrong else _status(record, circumstances["holder"] is not None)
    return Look(Standing(folder, status, problem="; ".join(wrong), **told, **circumstances), found, record)


def problems(folder: str, found: Survey) -> list[str]:
    """What is wrong with a run, as parts of a sentence; nothing was done about it."""
    return [
        *(f"resume point {number}: {reason(folder, why)}" for number, why in found.unusable.items()),
        *(f"{b.name} is missing or damaged, but {t.view} has it still" for b, t in found.replaceable.items()),
        *(f"{blob.name} ({what}) is lost" for blob, what in found.lost.items()),
    ]


def reason(folder: str, why: str) -> str:
    """Why a resume point cannot be used, without its path, which is known.

    Example:
        >>> reason("runs/a", "runs/a/resume-00000009 is damaged: it is too short for its header.")
        'it is too short for its header'
    """
    told = why.replace(os.path.join(folder, ""), "").rstrip(".")[:_LONGEST]
    return told.partition(": ")[2] if told.startswith(("resume-", "Cannot read")) else told


@contextmanager
def sense(folder: str) -> Iterator[None]:
    """Turn what made-up values provoke, though every checksum fits, into ``DamagedFile``."""
    try:
        yield
    except _NONSENSE as error:
        said = f"{type(error).__name__}: {error}"[:100]
        raise DamagedFile(
            f"{folder} is damaged: what it says makes no sense ({said}).", path=folder
        ) from error


def moment(seconds: float | None) -> str | None:
    """A time as text, in UTC; None if it is no time.

    Example:
        >>> moment(0.0)
        '1970-01-01T00:00:00Z'
    """
    with suppress(*_NONSENSE, OSError):
        if seconds is not None:
            return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    return None


def _no_run(folder: str) -> str:
    """Why there is no run in the folder; "" if there is one."""
    if not os.path.lexists(folder):
        return f"There is no run {folder}: no such folder."
    if not os.path.isdir(folder):
        return f"There is no run {folder}: it is no folder."
    with explained(folder, "read"):
        names = os.listdir(folder)
    if layout.is_run(names):
        return ""
    return f"There is no run in {folder}: it " + ("holds no files of a run." if names else "is empty.")


def _told(record: Record) -> dict[str, Any]:
    """What a record says, each value of the type that it should have."""
    stop = record.stop
    if stop is not None:
        _ = stop.sentence  # it can be told
    return {
        "epochs": index(record.committed[0]) + 1,
        "asked": None if record.epochs is None else index(record.epochs),
        "stop": stop,
    }


def _best(record: Record | None) -> Best | None:
    best = None if record is None else record.best
    return best and Best(index(best.epoch), str(best.monitor), float(best.value), best.path)


def _status(record: Record | None, held: bool) -> Status:
    if held:
        return Status.RUNNING
    return Status.FINISHED if record and record.finished else Status.INTERRUPTED


def _circumstances(folder: str) -> dict[str, Any]:
    """Who has the run, and when it was written; whatever its files say."""
    held = None
    with suppress(OSError):
        held = lock.holder(folder)
    if held is not None:
        held = {name: held[name] for name in _SAID if isinstance(held.get(name), str | int)}
    return {"holder": held, "written": _last_written(folder)}


def _last_written(folder: str) -> float | None:
    times = []
    with suppress(OSError):
        for name in os.listdir(folder):
            if layout.resume_number(name) is not None or name in (layout.EVENTS, layout.RUN):
                times.append(os.lstat(os.path.join(folder, name)).st_mtime)
    return max(times, default=None)
