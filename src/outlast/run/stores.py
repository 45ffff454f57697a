"""Where a run is kept: in a folder (``session.py``), nowhere, or in a folder that somebody else writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from outlast.core.run_state import Position, RunState
from outlast.exceptions import UsageError
from outlast.storage import blobs, resume_points
from outlast.storage.commit import Step
from outlast.storage.survey import Survey, survey


class Store(Protocol):
    """Where a run is kept.

    Opening is an act of its own, so that what was saved can be had before there is a model: LightGBM's
    ``init_model`` and Hugging Face's ``resume_from_checkpoint`` need that. The store does not keep it.
    """

    @property
    def is_open(self) -> bool:
        """Whether it is open."""

    @property
    def number(self) -> int:
        """Of the newest resume point; 0 if there is none."""

    @property
    def findings(self) -> Collection[str]:
        """What was wrong when it was opened, as parts of a sentence."""

    @property
    def files(self) -> Collection[str]:
        """Names of the models that are kept."""

    @property
    def committed(self) -> Position | None:
        """What is known to be safe; None before the first commit."""

    def open(self, resume: str) -> RunState | None:
        """Open it, and return what it holds; None if that is nothing.

        Args:
            resume: ``"auto"``, ``"never"`` or ``"must"``.
        """

    def describe(self, settings: Mapping[str, Any]) -> None:
        """Keep what was asked for, where people can read it."""

    def record(self, kind: str, content: Mapping[str, Any]) -> None:
        """Note that something happened: a start, a resume, an end."""

    def log(self, name: str) -> bytes | None:
        """A log as it is after the last step; None if there is none of that name."""

    def model(self, name: str) -> str:
        """A file that holds the kept model ``name``."""

    def commit(self, step: Step, collect: Callable[[], RunState]) -> None:
        """Collect the state, copy it, and make the step safe in the background."""

    def flush(self) -> None:
        """Wait until the last step is safe; raise what went wrong."""

    def finish(self) -> None:
        """At the training's end: flush, and try once more what failed."""

    def close(self) -> None:
        """Finish writing, and let others have it. A second call does nothing."""


class Nowhere:
    """A store that keeps nothing: for trying out."""

    is_open = False
    number = 0
    findings: Collection[str] = ()
    files: Collection[str] = ()
    committed: Position | None = None

    def open(self, resume: str) -> RunState | None:
        """There is nothing."""
        self.is_open = True
        return None

    def describe(self, settings: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def record(self, kind: str, content: Mapping[str, Any]) -> None:
        """Note nothing."""

    def log(self, name: str) -> bytes | None:
        """There is none."""
        return None

    def model(self, name: str) -> str:
        """There is none."""
        raise UsageError("A Run without a folder keeps no model: give it a folder.")

    def commit(self, step: Step, collect: Callable[[], RunState]) -> None:
        """Forget it."""

    def flush(self) -> None:
        """Nothing is under way."""

    def finish(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Close it."""
        self.is_open = False


class Follower(Nowhere):
    """Reads a run's folder that another process writes: for ranks that train along and write nothing.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._found: Survey | None = None

    def open(self, resume: str) -> RunState | None:
        """What the newest resume point holds, read without a lock."""
        self.is_open = True
        self._found = survey(self._folder, resume_points.load) if os.path.isdir(self._folder) else None
        point = self._found.point if self._found else None
        if point is None or resume == "never":
            self._found = None
            return None
        state = RunState.from_state(point.state)
        self.number, self.committed, self.files = point.number, state.position, [*point.files]
        return state

    def log(self, name: str) -> bytes | None:
        """The log, as it is in that resume point."""
        point = self._found.point if self._found else None
        return point.logs[name].content(self._folder) if point and name in point.logs else None

    def model(self, name: str) -> str:
        """A file that holds the kept model, verified now."""
        point = self._found.point if self._found else None
        if point is None or name not in point.files:
            return super().model(name)
        return blobs.whole(self._folder, name, point.files[name])
