"""Which saved models to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outlast.core.monitor import Direction
from outlast.core.numbers import whole
from outlast.exceptions import ArgumentError


@dataclass(frozen=True)
class Kept:
    """A model that was saved.

    Args:
        name: its file's.
        epoch: from 0.
        batch: from 0; None at an epoch's end.
        value: of the metric, None where it was missing.
    """

    name: str
    epoch: int
    batch: int | None
    value: float | None


@dataclass(frozen=True)
class KeepingRule:
    """Keep the best k, the last n, or both; neither: keep what the saving rule saves.

    Args:
        keep_best: how many of the best; of equal ones the earlier is the better.
        keep_last: how many of the last.

    Raises:
        ArgumentError: a number that cannot work.

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
        for name in ("keep_best", "keep_last"):
            if getattr(self, name) is None:
                continue
            count = whole(getattr(self, name), name, least=1)
            if count == math.inf:
                raise ArgumentError(f"{name} must be a finite number; leave it out to keep all models.")
            object.__setattr__(self, name, count)

    @property
    def active(self) -> bool:
        """Whether it decides anything."""
        return self.keep_best is not None or self.keep_last is not None

    def update(self, kept: Sequence[Kept], new: Kept, direction: Direction) -> tuple[Kept, ...]:
        """Those to keep, once ``new`` can be had; it is worth saving if it is among them."""
        candidates = [*(model for model in kept if model.name != new.name), new]
        last = candidates[len(candidates) - (self.keep_last or 0) :]
        best = ranked(candidates, direction)[: self.keep_best or 0]
        return tuple(model for model in candidates if model in best or model in last)


def ranked(models: Sequence[Kept], direction: Direction) -> list[Kept]:
    """From the best to the worst; of equal ones the earlier first, without those that have no number."""
    numbers = [m for m in models if m.value is not None and not math.isnan(m.value)]
    return sorted(numbers, key=lambda m: m.value if direction == "min" else -m.value)  # type: ignore


def to_json(kept: Sequence[Kept]) -> list[list[Any]]:
    """As JSON values."""
    return [[m.name, m.epoch, m.batch, None if m.value is None else repr(m.value)] for m in kept]


def from_json(data: Sequence[Sequence[Any]]) -> tuple[Kept, ...]:
    """The inverse of :func:`to_json`."""
    return tuple(Kept(n, e, b, None if value is None else float(value)) for n, e, b, value in data)
