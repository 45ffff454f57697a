"""SavedRun: a run, read only; what people and pages look at, no framework needed."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from outlast.core.decision import Action, Decision
from outlast.core.form import check
from outlast.core.metrics import Metrics
from outlast.core.numbers import decoded, members
from outlast.core.run_state import RunState
from outlast.exceptions import FileError
from outlast.inspect.folders import why_no_run
from outlast.inspect.wording import problems, prospects
from outlast.storage import results, resume_points
from outlast.storage.disk import lock
from outlast.storage.format import json_text, layout, limits
from outlast.storage.format.reader import Place, nonsense_as_damage
from outlast.storage.resume_points import ResumePoint
from outlast.storage.survey import Survey, survey


@dataclass(frozen=True)
class Best:
    """The best epoch of a run.

    Args:
        epoch: from 0.
        monitor: name of the metric that tells.
        value: its value there.
        path: of the saved model; None if none was saved.
    """

    epoch: int
    monitor: str
    value: float
    path: str | None


def rows_of(content: bytes) -> list[dict[str, Any]]:
    """The epochs' metrics, from the log of rows.

    Raises:
        ValueError, RecursionError: it is none.
    """
    rows = [decoded(json_text.parsed(line)) for line in content.splitlines()]
    check(rows, [{"epoch": int}], "the log of rows")
    return rows


def decision_of(line: bytes) -> Decision:
    """A decision, from its line in the journal."""
    if len(line) > limits.LINE_BYTES:
        raise ValueError(f"a decision does not take {len(line):,} bytes")
    return Decision.from_json(json_text.parsed(line))


def decisions_of(content: bytes) -> list[Decision]:
    """The decisions, from the journal."""
    return [decision_of(line) for line in content.splitlines()]


@dataclass(frozen=True)
class Checkpoint:
    """A saved model that is kept.

    Args:
        path: its file.
        epoch: from 0.
        value: of the metric that it was judged by; None if it was not judged.
        why: the reason, in words.
    """

    path: str
    epoch: int
    value: float | None
    why: str


class Readable(ABC):
    """What can be read of a run: the same of one that trains (``Run``) and of one in a folder (``open_run``).

    Attributes:
        folder: where it is kept; None if nowhere.
    """

    folder: str | None

    @property
    @abstractmethod
    def status(self) -> str:
        """``"new"``, ``"running"``, ``"interrupted"`` or ``"finished"``."""

    @property
    @abstractmethod
    def stopped(self) -> str | None:
        """Why the training stopped early; None if it did not."""

    @property
    @abstractmethod
    def decisions(self) -> list[Decision]:
        """Every :class:`Decision` that acted, from the run's first start on."""

    @property
    def _newest_first(self) -> Iterable[Decision]:
        return reversed(self.decisions)

    @property
    @abstractmethod
    def _rows(self) -> list[dict[str, Any]]:
        """Every epoch's metrics."""

    @property
    @abstractmethod
    def _published(self) -> Collection[str]:
        """Names of the models that are kept."""

    def _saves(self) -> Iterator[Decision]:
        """The decisions that saved a model, the newest first."""
        return (decision for decision in self._newest_first if decision.action is Action.SAVE)

    @property
    def history(self) -> Metrics:
        """Every epoch's metrics, from the run's first start on."""
        return Metrics.from_rows(self._rows)

    @property
    def best(self) -> Best | None:
        """The best epoch, as ``ModelCheckpoint(save_best_only=True)`` judged it; None if none is saved."""
        folder, published = self.folder, self._published
        for save in self._saves():
            values = save.values
            if values.get("best") == values.get("value") is not None:
                name = next(iter(values.get("copies", ())), values["path"])
                path = os.path.join(folder, name) if folder is not None and name in published else None
                return Best(save.epoch, values["monitor"], values["best"], path)
        return None

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The models that are kept, with the last decision that saved each; the newest comes last."""
        found: dict[str, Checkpoint] = {}
        saves, published = self._saves(), self._published
        while len(found) < len(published) and (save := next(saves, None)):
            for name in (*save.values.get("copies", ()), save.values.get("path")):
                if name in published and name not in found:
                    path = os.path.join(self.folder or "", name)
                    found[name] = Checkpoint(path, save.epoch, save.values.get("value"), save.because)
        return [*found.values()][::-1]


class SavedRun(Readable):
    """What a run's folder holds: the last commit, and nothing that came after.

    Args:
        folder: the run's.
        found: a survey of it, if there is one already; else every byte is verified.

    Raises:
        FileError: there is no run, or it cannot be read.
    """

    def __init__(self, folder: str | os.PathLike[str], found: Survey | None = None) -> None:
        self.folder: str = os.fspath(folder)
        if found is None and not os.path.isdir(self.folder):
            raise FileError(why_no_run(self.folder), path=self.folder)
        found = found or survey(self.folder, resume_points.verify)
        if found.point is None:
            raise FileError(
                why_no_run(self.folder)
                or f"There is no run in {self.folder}: it has no resume point"
                + (f" ({'; '.join(said)})." if (said := prospects(self.folder, found)) else "."),
                path=self.folder,
            )
        self._point: ResumePoint = found.point
        self._findings = tuple(problems(self.folder, found))

    def __repr__(self) -> str:
        return f"SavedRun({self.folder!r})"

    @cached_property
    def _state(self) -> RunState:
        with nonsense_as_damage(self.folder):
            return RunState.of_a_run(self._point.state)

    def _log(self, name: str) -> bytes:
        log = self._point.logs.get(name)
        return b"" if log is None else log.content(self.folder)

    @property
    def number(self) -> int:
        """The resume point's."""
        return self._point.number

    @property
    def _rows(self) -> list[dict[str, Any]]:
        with nonsense_as_damage(self.folder):
            return rows_of(self._log(layout.ROWS))

    @property
    def _published(self) -> Collection[str]:
        return self._point.files

    @property
    def decisions(self) -> list[Decision]:
        """Every decision that acted."""
        with nonsense_as_damage(self.folder):
            return decisions_of(self._log(layout.JOURNAL))

    @property
    def _newest_first(self) -> Iterable[Decision]:
        log = self._point.logs.get(layout.JOURNAL)
        with nonsense_as_damage(self.folder):
            yield from () if log is None else map(decision_of, log.backwards(self.folder))

    def latest(self, most: int) -> list[Decision]:
        """The last decisions, at most so many, in their order."""
        return [*islice(self._newest_first, most)][::-1]

    @property
    def best(self) -> Best | None:
        """The best epoch, as ``ModelCheckpoint`` or else ``EarlyStopping`` judged it."""
        with nonsense_as_damage(self.folder):
            return super().best or self._best_of_stopping()

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The models that are kept, with the last decision that saved each; the newest comes last."""
        with nonsense_as_damage(self.folder):
            return super().checkpoints

    @property
    def history(self) -> Metrics:
        """Every epoch's metrics, from the run's first start on."""
        with nonsense_as_damage(self.folder):
            return super().history

    def _best_of_stopping(self) -> Best | None:
        """What a callback remembers that keeps a best epoch, but no file of it."""
        asked = self.settings["callbacks"]
        for key, callback in self._state.callbacks.items():
            kept, monitor = decoded(callback), asked.get(key, {}).get("monitor")
            is_ours = isinstance(kept, Mapping) and monitor is not None
            if is_ours and kept.get("best") is not None and "best_epoch" in kept:
                return Best(kept["best_epoch"], monitor, kept["best"], None)
        return None

    @property
    def committed(self) -> tuple[int, int | None]:
        """(epoch, batch) of the last commit; batch None at an epoch's end."""
        return self._state.position.as_tuple()

    @property
    def next_epoch(self) -> int:
        """The epoch in which a resume goes on, from 0."""
        return self._state.position.next_epoch

    @property
    def epochs(self) -> int | None:
        """How many epochs were asked for; None if nobody said."""
        return self._state.epochs

    @property
    def stopped(self) -> str | None:
        """Why the training stopped, if it did."""
        return self.stop.sentence if self.stop else None

    @property
    def stop(self) -> Decision | None:
        """The decision that stopped the training, if one did."""
        return self._state.stops[0] if self._state.stops else None

    @property
    def findings(self) -> tuple[str, ...]:
        """What is wrong with the folder; a resume mends what it can."""
        return self._findings

    @property
    def status(self) -> str:
        """``"running"`` while a process writes in it, else ``"finished"`` or ``"interrupted"``."""
        if lock.holder(self.folder) is not None:
            return "running"
        return "finished" if self.finished else "interrupted"

    @property
    def finished(self) -> bool:
        """Whether the training stopped, or did all its epochs."""
        return self._state.finished

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was asked to do."""
        return dict(self._state.settings)

    @property
    def extra(self) -> dict[str, Any]:
        """The user's own values."""
        extra = dict(self._state.extra)
        if any(isinstance(one, Place) for one in members(extra)):  # no arrays were read yet
            with nonsense_as_damage(self.folder):
                extra = dict(resume_points.load(self.folder, self.number).state["extra"])
        return extra

    @property
    def results(self) -> dict[str, Any]:
        """What was logged after the loop, or after Keras's ``fit``, such as the accuracy on test data."""
        return results.read(self.folder, self._state.position.next_epoch)
