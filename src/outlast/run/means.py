"""Means: the epoch's metrics, summed on their device and read once at the epoch's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlast.exceptions import MetricError


class Means:
    """Weighted means of batch metrics, and single values logged outside batches.

    A tensor stays on its device and is detached from its graph: nothing waits for it until
    :meth:`result`. The order of summation is that of the batches, whatever is saved in between.

    Example:
        >>> means = Means()
        >>> means.add({"loss": 1.0}, weight=1)
        >>> means.add({"loss": 4.0}, weight=2)
        >>> means.put({"val_loss": 0.5})
        >>> means.result()
        {'loss': 3.0, 'val_loss': 0.5}
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Any, float]] = {}  # sum of value * weight, sum of weights
        self._values: dict[str, Any] = {}

    def add(self, metrics: Mapping[str, Any], weight: float) -> None:
        """Count a batch's metrics, each with the batch's weight."""
        if not weight > 0:
            raise MetricError(f"weight must be more than 0, such as the batch's size, but is {weight!r}.")
        for name, value in metrics.items():
            value = value.detach() if hasattr(value, "detach") else value
            total, weights = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (total + value * weight, weights + weight)

    def put(self, metrics: Mapping[str, Any]) -> None:
        """Take values as they are; a later one of the same name replaces the earlier."""
        self._values.update(metrics)

    def result(self) -> dict[str, Any]:
        """The epoch's metrics, in the order in which they were first logged."""
        means = {name: total / weights for name, (total, weights) in self._sums.items()}
        return {**means, **self._values}
