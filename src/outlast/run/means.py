"""Means: the epoch's metrics, summed on their device and read once at the epoch's end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from outlast.core.asking import asked
from outlast.core.numbers import check_metric, check_name, check_number, kept, number, to_python
from outlast.exceptions import MetricError, warn
from outlast.frameworks.sums import Sum, Waiting, of_one_kind, reader


class Mean:
    """The weighted mean of one metric.

    Attributes:
        number: the sum of value times weight, of numbers that are at hand.
        weight: the sum of the weights that are at hand.
        total: the sum of value times weight, of all other values.
        weights: the sum of all other weights.
    """

    __slots__ = ("number", "total", "weight", "weights")

    def __init__(self) -> None:
        self.number = self.weight = 0.0
        self.total, self.weights = Sum(), Sum()

    def saved(self) -> dict[str, Any]:
        """For a resume point."""
        sums = {"total": self.total.saved(), "weights": self.weights.saved()}
        return {"number": self.number, "weight": self.weight, **sums}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Mean:
        """The inverse of :meth:`saved`."""
        mean = cls()
        mean.number, mean.weight = saved["number"], saved["weight"]
        mean.total, mean.weights = Sum.of(saved["total"]), Sum.of(saved["weights"])
        if not saved["total"]:
            mean.total.begin_with_numbers()
        return mean

    def add(self, value: Any, weight: Any) -> None:
        """Count a batch."""
        if not isinstance(weight, float) and not of_one_kind(value, weight):
            weight = _countable(number(weight, "weight"))
        self.total.add(value, weight)
        if isinstance(weight, float):
            self.weight += weight
        else:
            self.weights.add(weight)

    def result(self) -> Any:
        """The mean; None if all weights are 0."""
        weights = self.weight + self.weights.read()
        if not weights >= 0:  # of tensors, which nobody waited for
            raise MetricError(f"has weights that add up to {weights}: {_WEIGHTS}.")
        return (self.number + self.total.read()) / weights if weights else None


class Means:
    """Weighted means of batch metrics, and single values logged outside batches.

    A tensor stays on its device and is detached from its graph: nothing waits for it until
    :meth:`result`. The sums are in float64, whatever type came. The order of summation is that of the
    batches, whatever is saved in between.

    Example:
        >>> means = Means()
        >>> means.add({"loss": 1.0}, weight=1)
        >>> means.add({"loss": 4.0}, weight=2)
        >>> means.put({"val_loss": 0.5})
        >>> means.result()
        {'loss': 3.0, 'val_loss': 0.5}
    """

    def __init__(self) -> None:
        self._means: dict[str, Mean] = {}
        self._values: dict[str, Any] = {}  # a Mean, if it is that of a validation
        self._forms: dict[str, Any] = {}  # of the value that was checked last

    def add(self, metrics: Mapping[str, Any], weight: Any) -> None:
        """Count a batch's metrics, each with the batch's weight; a weight of 0 adds nothing.

        Raises:
            MetricError: a name cannot be a metric's, a metric is not a number, or the weight is none that can
                count; nothing is counted.
        """
        scale = reader(type(weight))(weight)
        if scale is None or not 0 <= scale < math.inf:
            self._add_any(metrics, _checked_weight(weight))
            return
        means, new = self._means, {}
        numbers: list[tuple[Mean, float]] = []
        waiting: list[tuple[Mean, Waiting, Any]] = []
        for name, value in metrics.items():
            mean = means.get(name)
            if mean is None:
                mean = new[name] = _of_numbers(name)
            later = mean.total.later
            if later is not None and later.is_like_those_before(value):
                waiting.append((mean, later, value))
                continue
            number = value if type(value) is float else reader(type(value))(value)
            if number is None or not mean.total.is_of_numbers:
                self._add_any(metrics, scale)
                return
            numbers.append((mean, number))
        means.update(new)
        if not scale:  # a value of weight 0 counts for nothing, even if it is NaN
            return
        for mean, number in numbers:
            mean.number += number * scale
            mean.weight += scale
        for mean, later, value in waiting:
            later.wait(value, scale)
            mean.weight += scale

    def _add_any(self, metrics: Mapping[str, Any], weight: Any) -> None:
        for name, value in metrics.items():
            form = (type(value), asked(value, "dtype"), asked(value, "shape"))
            if None in form or self._forms.get(name) != form:
                check_name(name)
                check_number(value, name)
                try:
                    self._means.get(name, Mean()).total.check(value)
                except MetricError as error:
                    raise MetricError(f"{name} {error}") from error
                self._forms[name] = form
        for name, value in metrics.items():
            if name not in self._means:
                self._means[name] = Mean()
            try:
                self._means[name].add(value, weight)
            except MetricError as error:
                raise MetricError(f"{name} {error}") from error

    def put(self, metrics: Mapping[str, Any]) -> None:
        """Take values as they are now; a later one of the same name replaces the earlier.

        Raises:
            MetricError: a name or a value cannot be one of a metric.
        """
        for name, value in metrics.items():
            check_name(name)
            check_metric(value, name)
        self._values.update({name: kept(value) for name, value in metrics.items()})

    def adopt(self, others: Means, named: Callable[[str], str]) -> None:
        """Take what was logged elsewhere as values, under other names; nothing waits for a device.

        Args:
            others: where it was logged.
            named: gives a metric's name here.
        """
        for name, value in {**others._means, **others._values}.items():
            self._values[named(name)] = value

    def saved(self) -> dict[str, Any]:
        """For a resume point inside the epoch; waits for the devices."""
        values = {
            name: one.saved() if isinstance(one, Mean) else to_python(one)
            for name, one in self._values.items()
        }
        return {
            "means": {name: mean.saved() for name, mean in self._means.items()},
            "values": values,
            "of_validations": [name for name, one in self._values.items() if isinstance(one, Mean)],
        }

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Means:
        """The inverse of :meth:`saved`."""
        means = cls()
        means._means = {name: Mean.of(one) for name, one in saved["means"].items()}
        means._values = {
            name: Mean.of(one) if name in saved["of_validations"] else one
            for name, one in saved["values"].items()
        }
        return means

    def result(self) -> dict[str, Any]:
        """The epoch's metrics, in the order in which they were first logged.

        A metric whose weights are all 0 has no mean: it is left out, with a warning.
        """
        found = {}
        for name, value in {**self._means, **self._values}.items():
            result = _result(name, value) if isinstance(value, Mean) else value
            if result is not None or not isinstance(value, Mean):
                found[name] = result
        return found


_WEIGHTS = "a weight must be a finite number, at least 0, such as the batch's size"


def _of_numbers(name: Any) -> Mean:
    """A mean of a metric that comes first as a number."""
    check_name(name)
    mean = Mean()
    mean.total.begin_with_numbers()
    return mean


def _checked_weight(weight: Any) -> Any:
    """As a float; a tensor as it is, for which nothing waits."""
    check_number(weight, "weight")
    if any(size != 1 for size in asked(weight, "shape", ())):
        raise MetricError(f"weight has the shape {tuple(weight.shape)}: {_WEIGHTS}.")
    return weight if of_one_kind(weight, weight) else _countable(number(weight, "weight"))


def _countable(weight: float) -> float:
    if not 0 <= weight < math.inf:
        raise MetricError(f"weight is {weight!r}: {_WEIGHTS}.")
    return weight


def _result(name: str, mean: Mean) -> Any:
    try:
        result = mean.result()
    except MetricError as error:
        raise MetricError(f"{name} {error}") from error
    if result is None:
        warn(f"{name} has no mean in this epoch: the weight of every batch was 0. Its value is missing.")
    return result
