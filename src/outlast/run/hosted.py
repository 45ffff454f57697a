"""Hosted: what a run's host is made of, where it is in its training, and how it speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.decision import Decision
from outlast.core.run_state import RunState
from outlast.exceptions import OutlastWarning, warn
from outlast.run import rehearsal
from outlast.run.attributes import AttributesPart
from outlast.run.contents import Contents
from outlast.run.data import Data
from outlast.run.foreign import Beside
from outlast.run.in_fit import InFit
from outlast.run.inside import Every
from outlast.run.opening import Opening
from outlast.run.own_loop import OwnLoop
from outlast.run.progress import Progress
from outlast.run.resume_check import ResumeCheck
from outlast.run.script import Script
from outlast.run.signals import Signals
from outlast.run.staged import StagedOutput
from outlast.run.stores import Store
from outlast.run.structure import Structure


class Hosted(OwnLoop):
    """What a run's host is made of; ``Run`` makes it."""

    folder: str | None
    _shown: str  # the folder, as the user wrote it
    _made_for: Any  # the model that the user gave
    _listener: Callable[[Decision], None] | None
    _parts: Mapping[str, Any]
    _rehearsal: rehearsal.Rehearsal | None
    _store: Store
    _staged: StagedOutput
    _progress: Progress
    _data: Data
    _in_fit: InFit
    _attributes: AttributesPart
    _contents: Contents
    _opening: Opening
    _beside: Beside
    _structure: Structure
    _structure_of_parts: Structure
    _signals: Signals
    _script: Script
    _loader_at_hand: Any = None  # while its loop is looked at

    _every: Every | None  # when a resume point is made inside an epoch
    _has_said_slow = False  # that the disk is slower than save_every
    _spares_rounds = False  # nobody asked for a save after each round: some are left out where that is slow
    _within: Mapping[str, Any] | None = None  # all as it was saved inside an epoch, until the loop is there

    _fresh = False  # opened, and not trained since
    _under_way: int | None = None  # the epoch that has begun and is not committed
    _begun_epochs = 0  # in this training
    _has_looked_inside = False  # at what a save inside an epoch does not hold
    _may_have_results = False  # a training has been, and is not under way
    _trains = False
    _commits = False  # a commit is being made
    _stopped = False  # somebody has ended the training, and no signal
    _check: ResumeCheck | None = None  # while the last saved epoch is trained again
    _restructured: tuple[str, ...] = ()  # what to say of it
    _saved: RunState | None = None  # what was found, until it is announced
    _told: set[str]  # what of the loaders is not exact
    _results: dict[str, Any]
    _extra_left: dict[str, Any]  # what the user has set since differs from it

    @property
    def extra(self) -> dict[str, Any]:
        """A dict of JSON values of your own, saved with the rest."""
        return self._progress.extra

    @property
    def saves_inside(self) -> bool:
        """Whether resume points are made inside an epoch."""
        return self._every is not None

    @property
    def is_running(self) -> bool:
        """Whether a training is under way; not so if an error ended Keras's ``fit``, which tells nobody."""
        return self._trains and not self.was_left

    @property
    def was_left(self) -> bool:
        """Whether an error ended the training, and no hook said so."""
        return self._signals.left_behind

    @property
    def finished(self) -> bool:
        """Whether the training stopped, or did all its epochs."""
        return self._progress.finished

    def _steps_done(self) -> int | None:
        """The steps that a training without epochs has done; None if it has epochs."""
        return None if self._rows_wanted is None else self._loop.step

    @property
    def _stops(self) -> bool:
        """Whether this epoch is the last, for another reason than a signal: its end is the next save."""
        if self._signals.pending is None:
            self._stopped = self.control.stopping
        return self._stopped or bool(self._progress.stops)

    def _others(self) -> list[Any]:
        """Callbacks beside the run."""
        return [one for one in self.control.beside() if one not in (self, *self.callbacks)]

    def _ours(self) -> list[Callback]:
        return [callback for callback in self.callbacks if isinstance(callback, Callback)]

    def _finished(self) -> str | None:
        unit = "epochs" if self._rows_wanted is None else "rows"
        return self._progress.why_finished(self._ours(), self._epochs(), unit)

    def _epochs(self) -> int | None:
        asked: int | None = (self.params or {}).get("epochs")
        return self._rehearsal.epochs(asked) if self._rehearsal else asked

    def _steps(self) -> int | None:
        """Batches of an epoch, as a framework's fit says."""
        steps: int | None = (self.params or {}).get("steps")
        return steps

    def _note(self, decision: Decision) -> None:
        self._progress.note(decision, self._staged)
        if self._listener is not None and self._check is None:  # it has heard of the stretch
            self._listener(decision)

    def _warn(self, text: str) -> None:
        """Warn, but end no training where warnings are errors."""
        try:
            warn(text)
        except OutlastWarning:
            self._say(f"outlast: {text}")

    def _say(self, text: str) -> None:
        self.context.say(text)

    def _say_of_run(self, text: str) -> None:
        if self.folder is not None:
            self._say(f"outlast: {self._shown}: {text}")

    def _say_inexact(self, problem: str) -> None:
        text = f"resuming {self._shown} would not be exact: {problem}"
        if self._rehearsal:
            self._rehearsal.note(text)
        self._say(f"outlast: {text}")

    def _tell_once(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self._say_inexact(problem)
