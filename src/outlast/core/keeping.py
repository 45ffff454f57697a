"""Which saved models are kept: the best few, the last few, or both.

It is a question of its own, beside when to save (``saving.py``): a model can be the best and be saved,
and be deleted later, when better ones exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from outlast.core.monitor import Direction
from outlast.core.numbers import count, settle
from outlast.exceptions import ArgumentError


@dataclass(frozen=True)
class Kept:
    """A saved model.

    Args:
        name: of its file.
        epoch: the epoch it was saved in, counted from 0.
        batch: the batch it was saved after, counted from 0; None at the end of an epoch.
        value: the monitored metric; None if it was missing.
    """

    name: str
    epoch: int
    batch: int | None
    value: float | None


@dataclass(frozen=True)
class KeepingRule:
    """Keep the best k models, the last n, or both; without either, keep every saved model.

    Args:
        keep_best: how many of the best; of two equal models, the earlier one counts as better.
        keep_last: how many of the last.

    Raises:
        ArgumentError: a number is not a whole number above 0.

    Example:
        >>> rule, kept = KeepingRule(keep_best=1), ()
        >>> for epoch, value in enumerate([0.5, 0.4, 0.6]):
        ...     kept = rule.update(kept, Kept(f"m{epoch}", epoch, None, value), "min")
        >>> [model.name for model in kept]
        ['m1']
    """

    keep_best: int | None = None
    keep_last: int | None = None

    def __post_init__(self) -> None:
        settle(self, partial(count, least=1), "keep_best", "keep_last", optional=True)
        for name in ("keep_best", "keep_last"):
            if getattr(self, name) == math.inf:
                raise ArgumentError(f"{name} must be a finite number; leave it out to keep all models.")

    @property
    def active(self) -> bool:
        """Whether any model is ever deleted."""
        return self.keep_best is not None or self.keep_last is not None

    def update(self, kept: Sequence[Kept], new: Kept, direction: Direction) -> tuple[Kept, ...]:
        """The models to keep when ``new`` is offered; it should be saved only if it is among them."""
        candidates = [*(model for model in kept if model.name != new.name), new]
        last = candidates[-self.keep_last :] if self.keep_last else []
        best = ranked(candidates, direction)[: self.keep_best or 0]
        names = {model.name for model in (*best, *last)}  # each candidate has a name of its own
        return tuple(model for model in candidates if model.name in names)


def ranked(models: Sequence[Kept], direction: Direction) -> list[Kept]:
    """From best to worst; of equal ones the earlier first. Those that are missing or NaN are left out."""
    numbers = [m for m in models if m.value is not None and not math.isnan(m.value)]
    return sorted(numbers, key=lambda m: m.value if direction == "min" else -m.value)  # type: ignore


# Of a model in JSON: name, epoch, batch, and the metric as a text, because JSON has no infinity and no NaN.
FORM = {0: str, 1: int, 2: (int, None), 3: (str, None)}


def to_json(kept: Sequence[Kept]) -> list[list[Any]]:
    """JSON values, each as ``FORM`` says."""
    return [[m.name, m.epoch, m.batch, None if m.value is None else repr(m.value)] for m in kept]


def from_json(data: Sequence[Sequence[Any]]) -> tuple[Kept, ...]:
    """The inverse of :func:`to_json`."""
    return tuple(Kept(n, e, b, None if value is None else float(value)) for n, e, b, value in data)
