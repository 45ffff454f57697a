"""Data: the sources that a loop was given through the run, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outlast.core.run_state import Moment
from outlast.exceptions import UsageError
from outlast.frameworks import loaders, random_state
from outlast.frameworks.sources import Source, State
from outlast.run.parts import AnyPart


class Data(AnyPart):
    """A part of the run: the next epoch's batches depend on where the sources are.

    They are told apart by the order in which the script makes them.
    """

    name, moment = "data", Moment.OPEN

    def __init__(self) -> None:
        self._sources: list[Source] = []
        self._saved: Sequence[State] = ()
        self._begun = False

    @property
    def is_used(self) -> bool:
        """Whether there is a source."""
        return bool(self._sources)

    def inexact(self) -> list[str]:
        """What of the sources this resume cannot bring back, and what would make it so."""
        return self.problems(self._saved)

    def problems(self, saved: Sequence[State]) -> list[str]:
        """Why the sources cannot be brought to where they were, and what would make it so."""
        states = [*saved, *[None] * len(self._sources)]
        found = (source.problem(state) for source, state in zip(self._sources, states, strict=False))
        return [problem for problem in found if problem]

    def hidden_in(self, loader: Any) -> list[str]:
        """What of the data of a loop of one's own nobody can bring back, and what would make it so."""
        known = [source.for_fit for source in self._sources]
        if all(any(one is made for made in known) for one in loaders.tensorflows(loader)):
            return []
        return [
            "the order of a tf.data.Dataset, which it shows nobody: before the loop, "
            "data = run.data(dataset), and in it run.batches(data)"
        ]

    def add(self, source: Source) -> Any:
        """Take a source; returns what the loop is given. Those of an earlier training are forgotten."""
        if self._begun:
            self._sources, self._begun = [], False
        self._sources.append(source)
        return source.for_fit

    def begin(self, steps: int | None) -> None:
        """Training begins: bring the sources to where they were. Random state is left as it is.

        Raises:
            UsageError: nobody says how long an epoch is.
        """
        if not self._sources:
            return
        if steps is None and any(getattr(one.for_fit, "num_batches", 1) is None for one in self._sources):
            raise UsageError(
                "Nobody says how many batches an epoch has: pass fit(steps_per_epoch=...), or "
                "run.data(..., steps=...)."
            )
        self._begun = True
        before = random_state.collect()
        for index, source in enumerate(self._sources):
            source.begin(self._saved[index] if index < len(self._saved) else None)
        random_state.restore(before)
        self._saved = ()

    def hand_on(self) -> None:
        """Nothing is trained here: bring the data to where the finished run left them, for another run."""
        before = random_state.collect()
        for source, saved in zip(self._sources, self._saved, strict=False):
            source.hand_on(saved)
        random_state.restore(before)

    def begin_epoch(self) -> None:
        """An epoch begins; its iterator is made afterwards."""
        for source in self._sources:
            source.begin_epoch()

    def end_epoch(self, steps: int | None) -> list[int] | None:
        """The checksums of the epoch's batches; None if no source is known."""
        if not self._sources:
            return None
        first, *others = self._sources  # those of a validation have other steps
        return [*first.end_epoch(steps), *(one for other in others for one in other.end_epoch(other.length))]

    def collect(self) -> list[State]:
        """Where each is."""
        return list(self._saved) or [source.state() for source in self._sources]

    def put_back(self, saved: Sequence[State]) -> None:
        """Bring them there when training begins."""
        self._saved = saved

    def forget(self) -> None:
        """Nothing was put back."""
        self._saved = ()

    def restore(self, saved: Sequence[State]) -> None:
        """Nothing: in the middle of a training they are where they are."""
