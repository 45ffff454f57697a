"""Passes: a loader that a training without epochs goes through again and again, and the rows of its steps.

A row ends where ``log_every`` says, wherever in a pass that is. So a resume point at a row's end has a place
in a pass, too. It is reached as inside an epoch: the pass is begun as it was, what was trained is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from outlast.run.inside import Begun

NONE = object()  # instead of a batch


@dataclass(frozen=True)
class Rows:
    """How a training without epochs is cut into rows.

    Args:
        steps: of the training.
        log_every: steps of a row.

    Example:
        >>> rows = Rows(steps=25, log_every=10)
        >>> rows.end(0), rows.end(10), rows.end(20)
        (10, 20, 25)
        >>> rows.left(0), rows.left(20), rows.left(25)
        (3, 1, 0)
    """

    steps: int
    log_every: int

    def end(self, step: int, known: frozenset[int] = frozenset()) -> int:
        """The step before which a row ends.

        Args:
            step: the row's first.
            known: where rows have ended: one that was cut short is as short when it is trained again.
        """
        end = min((step // self.log_every + 1) * self.log_every, self.steps)
        return min((one for one in known if step < one < end), default=end)

    def left(self, step: int) -> int:
        """How many rows there are from one on.

        Args:
            step: its first.
        """
        return -(-self.steps // self.log_every) - step // self.log_every if step < self.steps else 0


@dataclass
class Passes:
    """Where a training without epochs is.

    Args:
        step: how many were begun.
        row: those of them that are in the row under way, where the run was saved inside it.
        number: of the pass, from 0; -1 before the first.
        begun: the pass, with its batches so far.
        iterator: of the pass; None if it has to be brought back, or there is none.
    """

    step: int = 0
    row: int = 0
    number: int = -1
    begun: Begun = field(default_factory=Begun)
    iterator: Iterator[Any] | None = None

    def begin(self, loader: Any) -> Begun:
        """Another pass is about to begin."""
        self.number, self.begun = self.number + 1, Begun()
        self.begun.begin(loader)
        return self.begun

    def count(self, indices: int | None) -> None:
        """A batch came; ``indices`` as in :meth:`Begun.count`."""
        self.step += 1
        self.begun.count(indices)

    def saved(self, row: Mapping[str, Any] | None) -> dict[str, Any]:
        """For a resume point.

        Args:
            row: what there is of the row under way; None at a row's end.
        """
        return {"step": self.step, "number": self.number, "pass": self.begun.saved(), "row": row}

    def take(self, saved: Mapping[str, Any]) -> None:
        """Be where it was saved, with the same iterator."""
        self.step, self.number = saved["step"], saved["number"]
        self.begun.take(saved["pass"])
        self.row = saved["row"]["count"] if saved["row"] else 0
