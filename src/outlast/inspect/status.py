"""A run's status, read without locking, writing, or trusting its contents.

It takes milliseconds, however large the models are: only file names, sizes and headers are read.
``verification.py`` reads every byte.

The folder may come from anybody. Checksums prove only that the bytes are those that were written, not
that an honest outlast wrote them. So whatever is taken from a file is converted to the type that it must
have, and errors that made-up values provoke become ``DamagedFile`` (see ``nonsense_as_damage``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from operator import index
from typing import Any, Literal, TypeVar

from outlast.core.decision import Decision
from outlast.core.numbers import encoded
from outlast.core.run_state import RunState
from outlast.exceptions import DamagedFile, FileError, UnknownFormat
from outlast.inspect.folders import why_no_run
from outlast.inspect.saved_run import Best, SavedRun
from outlast.inspect.wording import problems
from outlast.storage import resume_points
from outlast.storage.blobs import Blob
from outlast.storage.disk import lock
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import regular_size
from outlast.storage.format import layout
from outlast.storage.format.reader import NONSENSE, nonsense_as_damage
from outlast.storage.survey import Fits, Read, Survey, survey

Result = TypeVar("Result")

_OF_A_HOLDER = ("pid", "host", "boot", "since")  # what a process writes into its lock


def _has_its_size(blob: Blob, path: str) -> bool:
    with explained(path, "read"):
        return regular_size(path) == blob.size


class Status(Enum):
    """The state of a run; ``docs/command-line.md`` explains each."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    DAMAGED = "damaged"
    NEWER = "newer format"
    OLDER = "older format"
    UNREADABLE = "unreadable"
    NO_RUN = "no run"

    @property
    def unreadable(self) -> bool:
        """Whether only the problem of the run is known."""
        return self in (Status.NO_RUN, Status.NEWER, Status.OLDER, Status.UNREADABLE)


@dataclass(frozen=True)
class RunStatus:
    """A run's status, and the facts that ``outlast ls`` shows beside it.

    Args:
        folder: the run's folder.
        status: its status.
        epochs: how many are saved; None if unknown.
        requested: how many were requested; None if unknown, or if the loop did not say.
        best: the best epoch, if a callback judged one.
        stop: the decision that ended the training, if one did.
        problem: what is wrong, in words; "" if nothing is.
        written: when it was last written, in seconds since 1970.
        holder: pid, host, boot and since of the process that has the run open, as far as known;
            None if no process has.
        results: what was logged after the training.
        unit: what is counted as epochs: a training without epochs has rows.
    """

    folder: str
    status: Status
    epochs: int | None = None
    requested: int | None = None
    best: Best | None = None
    stop: Decision | None = None
    problem: str = ""
    written: float | None = None
    holder: Mapping[str, Any] | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    unit: Literal["epochs", "rows"] = "epochs"

    @property
    def why(self) -> str:
        """Why the training ended, or what is wrong; "" if neither."""
        if self.problem:
            return self.problem
        if self.stop:
            return self.stop.because
        if self.status is not Status.FINISHED:
            return ""
        if self.epochs == 1:
            return f"1 {self.unit.removesuffix('s')} is done"
        return f"all {self.epochs} {self.unit} are done"

    def to_json(self) -> dict[str, Any]:
        """The object that ``outlast ls --json`` prints for a run."""
        return {
            "folder": self.folder,
            "status": self.status.value,
            "epochs": self.epochs,
            "asked": self.requested,
            "best": self.best and encoded(vars(self.best)),
            "stopped": self.stop and self.stop.sentence,
            "problem": self.problem or None,
            "written": utc_text(self.written),
            "holder": self.holder,
            **({"results": encoded(self.results)} if self.results else {}),
        }


@dataclass(frozen=True)
class Outlook:
    """What a resume would do.

    Args:
        point: the resume point that it would take; None: it would start from nothing.
        epoch: the epoch that it would train next, from 0.
        finished: there is nothing to train with the settings of that start.
        loses: what is in no file any more, as phrases.
        mends: what it would make again, from what, by the files' names.
        batch: the batch in it that it would train next, from 0; None if the run was saved between epochs.
    """

    point: int | None
    epoch: int
    finished: bool
    loses: tuple[str, ...]
    mends: dict[str, str]
    batch: int | None = None


@dataclass(frozen=True)
class Look:
    """A run's status, and what was read to find it, for those who read on.

    Args:
        run: the status.
        found: the survey; None if there is no run, or nothing in it can be used.
        saved: the resume point that a resume would take; None if there is none.
    """

    run: RunStatus
    found: Survey | None = None
    saved: SavedRun | None = None

    def outlook(self) -> Outlook | None:
        """What a resume would take, lose and mend; None if it would be refused."""
        if self.found is None:
            return None
        folder, saved, found = self.run.folder, self.saved, self.found
        epoch = saved.next_epoch if saved else 0
        beyond = [number for number in sorted(found.unusable) if not saved or number > saved.number]
        return Outlook(
            saved.number if saved else None,
            epoch,
            saved.finished if saved else False,
            (*(_training(folder, number, epoch) for number in beyond), *found.lost.values()),
            {blob.name: twin.file for blob, twin in found.replaceable.items()},
            None if saved is None or (batch := saved.committed[1]) is None else batch + 1,
        )


def look(folder: str, read: Read = resume_points.peek, fits: Fits = _has_its_size) -> Look:
    """Read the status of the run in ``folder``. Damage is not an error here: it is a status.

    Args:
        folder: the run's folder.
        read: reads a resume point, as thoroughly as the caller wants; see ``survey``.
        fits: checks a blob; by default its size alone.
    """
    try:
        return _look(folder, read, fits)
    except FileError as error:
        return Look(_refused(folder, error))


def look_closer(seen: Look, read: Callable[[], Result], bare: Callable[[RunStatus], Result]) -> Result:
    """What ``read`` finds in a run; the bare status if the run, or what is read now, cannot be read."""
    if seen.run.status.unreadable:
        return bare(seen.run)
    try:
        with nonsense_as_damage(seen.run.folder):
            return read()
    except FileError as error:
        return bare(_refused(seen.run.folder, error))


def _refused(folder: str, error: FileError) -> RunStatus:
    """The status of a run that cannot be read because of ``error``."""
    if isinstance(error, UnknownFormat):
        status = Status.NEWER if error.newer else Status.OLDER
    else:
        status = Status.DAMAGED if isinstance(error, DamagedFile) else Status.UNREADABLE
    return RunStatus(folder, status, problem=str(error), **_circumstances(folder))


def _look(folder: str, read: Read, fits: Fits) -> Look:
    problem = why_no_run(folder)
    if problem:
        return Look(RunStatus(folder, Status.NO_RUN, problem=problem))
    found = survey(folder, read, fits, read)
    saved = SavedRun(folder, found) if found.point else None
    circumstances = _circumstances(folder)
    wrong = problems(folder, found)
    with nonsense_as_damage(folder):
        facts: dict[str, Any] = {"epochs": 0}
        if saved:
            _ = saved.stopped  # raises if the values do not fill the sentence
            facts = {"epochs": saved.next_epoch, "requested": saved.epochs, "stop": saved.stop}
            facts["results"] = saved.results
            facts["unit"] = "rows" if "log_every" in saved.settings else "epochs"
        try:
            facts["best"] = _best(saved)
        except DamagedFile as error:  # of the log lines that hold it
            wrong = wrong or [str(error)]
        if wrong:
            status = Status.DAMAGED
        elif circumstances["holder"] is not None:
            status = Status.RUNNING
        else:
            status = Status.FINISHED if saved and saved.finished else Status.INTERRUPTED
    return Look(RunStatus(folder, status, problem="; ".join(wrong), **facts, **circumstances), found, saved)


def _training(folder: str, number: int, epoch: int) -> str:
    """The epochs that are trained again because resume point ``number`` cannot be used."""
    try:
        position = RunState.from_state(resume_points.peek(folder, number).state).position
    except (DamagedFile, LookupError, TypeError, ValueError):
        return f"what resume point {number} had beyond epoch {epoch}"
    last = position.next_epoch
    if position.batch is not None:
        return f"{position.done}, to be trained again"
    if last == epoch + 1:
        return f"epoch {last}, to be trained again"
    return f"epochs {epoch + 1} to {last}, to be trained again"


def utc_text(seconds: float | None) -> str | None:
    """A time as text, in UTC; None if ``seconds`` is not a time.

    Example:
        >>> utc_text(0.0)
        '1970-01-01T00:00:00Z'
    """
    with suppress(*NONSENSE, OSError):
        if seconds is not None:
            return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    return None


def _best(saved: SavedRun | None) -> Best | None:
    """The best epoch, each value converted to its type, so that nonsense shows here."""
    best = None if saved is None else saved.best
    return best and Best(index(best.epoch), str(best.monitor), float(best.value), best.path)


def _circumstances(folder: str) -> dict[str, Any]:
    """Who has the run open, and when it was last written; both are known of a damaged run, too."""
    held = None
    with suppress(OSError):
        held = lock.holder(folder)
    if held is not None:
        held = {name: held[name] for name in _OF_A_HOLDER if isinstance(held.get(name), str | int)}
    return {"holder": held, "written": _last_written(folder)}


def _last_written(folder: str) -> float | None:
    times = []
    with suppress(OSError):
        for name in os.listdir(folder):
            if layout.resume_number(name) is not None or name in (layout.EVENTS, layout.RUN):
                times.append(os.lstat(os.path.join(folder, name)).st_mtime)
    return max(times, default=None)
