"""Where a run is kept: in a folder (``folder_store.py``), nowhere, or in one that somebody else writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from outlast.core.run_state import Position, RunState
from outlast.exceptions import UsageError
from outlast.storage import blobs, resume_points
from outlast.storage.commit import Bundle
from outlast.storage.resume_points import ResumePoint
from outlast.storage.survey import survey


class Store:
    """Where a run is kept. This one keeps nothing: for trying out.

    Opening is an act of its own, so that what was saved can be had before there is a model: LightGBM's
    ``init_model`` and Hugging Face's ``resume_from_checkpoint`` need that. The store does not keep it.

    Attributes:
        folder: where it is, if it is a folder.
        is_open: whether it is open.
        number: of the newest resume point; 0 if there is none.
        findings: what was wrong when it was opened, as phrases.
        files: names of the models that are kept.
        committed: what is known to be safe; None before the first commit.
    """

    folder = ""
    is_open = False
    number = 0
    findings: Collection[str] = ()
    files: Collection[str] = ()
    committed: Position | None = None

    def open(self, resume: str) -> RunState | None:
        """Open it, and return what it holds; None if that is nothing.

        Args:
            resume: ``"auto"``, ``"never"`` or ``"must"``.
        """
        self.is_open = True
        return None

    def describe(self, settings: Mapping[str, Any], *, anew: bool = True) -> None:
        """Keep what was asked for, where people can read it; if not ``anew``, only what is lost."""

    def write_event(self, kind: str, content: Mapping[str, Any]) -> None:
        """Note that something happened: a start, a resume, an end."""

    def keep_results(self, results: Mapping[str, Any], epochs: int) -> None:
        """Keep the results of a run that has ended.

        Args:
            results: by name.
            epochs: how many it has trained; after more of them the results hold no longer.
        """

    def results(self, epochs: int) -> dict[str, Any]:
        """The results of so many epochs; none if there are none."""
        return {}

    def log(self, name: str) -> bytes | None:
        """A log as it is after the last bundle; None if there is none of that name."""
        return None

    def model(self, name: str) -> str:
        """A file that holds the kept model ``name``, verified now."""
        raise UsageError("This run keeps no models: give it a folder.")

    def points(self) -> list[int]:
        """The numbers of the resume points that it could go back to, the newest first."""
        return []

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The last events of a kind, the oldest first."""
        return []

    def load(self, number: int) -> ResumePoint:
        """One of :meth:`points`.

        Raises:
            DamagedFile: it is not what was written.
        """
        raise NotImplementedError

    def go_back(self) -> RunState | None:
        """Drop the newest resume point for the one before, with the lines of the logs that it added.

        Returns:
            What the one before holds; None if there is none, and nothing is dropped.
        """
        return None

    def made(self, number: int) -> float:
        """When one of :meth:`points` was made, in seconds from any origin."""
        raise NotImplementedError

    def show(self, bundle: Bundle) -> None:
        """Put models that were saved inside an epoch, and rows, where people find them, in the background.

        They are safe with the next commit; a resume from the one before may put others in their place.
        """

    def commit(self, bundle: Bundle, collect: Callable[[], RunState]) -> None:
        """Collect the state, copy it, and make the bundle safe in the background."""

    @property
    def is_writing(self) -> bool:
        """Whether a bundle is under way, for which the next would wait."""
        return False

    def flush(self) -> None:
        """Wait until the last bundle is safe; raise what went wrong."""

    def wait_for_former(self) -> None:
        """Wait for what a store of this process that was left open is writing to the same folder."""

    def settle(self) -> None:
        """Wait until the last bundle is safe; what went wrong is an error or a warning, as the user chose."""

    def finish(self) -> None:
        """At the training's end: flush, and try once more what failed."""

    def close(self) -> None:
        """Finish writing, and let others have it. A second call does nothing."""
        self.is_open = False


class Reader(Store):
    """Reads one resume point of a run's folder, and writes nothing.

    Args:
        point: the resume point; None if there is none yet.
    """

    def __init__(self, folder: str, point: ResumePoint | None = None) -> None:
        self.folder, self._point = folder, point

    @property
    def files(self) -> Collection[str]:  # type: ignore[override]
        """Names of the models that it names."""
        return self._point.files if self._point else ()

    def log(self, name: str) -> bytes | None:
        """The log, as it is in that resume point."""
        point = self._point
        return point.logs[name].content(self.folder) if point and name in point.logs else None

    def model(self, name: str) -> str:
        """A file that holds the kept model, verified now."""
        point = self._point
        if point is None or name not in point.files:
            return super().model(name)
        return blobs.intact(self.folder, name, point.files[name])


class Follower(Reader):
    """Reads a run's folder that another process writes: for ranks that train along and write nothing.

    Args:
        folder: the run's.
    """

    def open(self, resume: str) -> RunState | None:
        """What the newest resume point holds, read without a lock."""
        self.is_open = True
        there = resume != "never" and os.path.isdir(self.folder)
        self._point = survey(self.folder, read_before=resume_points.peek).point if there else None
        if self._point is None:
            return None
        state = RunState.from_state(self._point.state)
        self.number, self.committed = self._point.number, state.position
        return state
