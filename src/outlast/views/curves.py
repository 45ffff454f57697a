"""What a picture of a history shows: curves, the best epoch, cuts of the learning rate, axis ticks.

Pure functions from ``Metrics`` to values. Pictures and tables share them, and they are tested without
drawing anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from outlast.core.metrics import Metrics
from outlast.core.monitor import direction_of
from outlast.core.text import few
from outlast.exceptions import ArgumentError, UnknownDirection, nearest

_RATE = "learning_rate"
_MOST_CUTS = 12  # more cuts are a schedule, and are not marked
_LARGEST = 1e300  # larger values, and smaller ones than its inverse, overflow in matplotlib


@dataclass(frozen=True)
class Curve:
    """One metric over the epochs, ready to be drawn.

    Args:
        name: its column in the history.
        xs: epochs, counted from 1.
        ys: the values; NaN where the line is interrupted: at values that are not finite, and where
            an epoch was trained a second time.
        lost: epochs whose value is NaN or infinite, counted from 1.
    """

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    lost: tuple[int, ...]

    @property
    def finite(self) -> list[float]:
        """The values that can be drawn."""
        return [y for y in self.ys if not math.isnan(y)]


@dataclass(frozen=True)
class BestEpoch:
    """The best value of a metric, and its epoch, counted from 0."""

    epoch: int
    monitor: str
    value: float


@dataclass(frozen=True)
class Cut:
    """A learning rate that fell: the last epoch with the old rate, counted from 0, and both rates."""

    epoch: int
    name: str
    before: float
    after: float


def curve(metrics: Metrics, name: str) -> Curve:
    """The curve of one column.

    Example:
        >>> line = curve(Metrics.from_columns({"loss": [3.0, float("inf"), 1.0]}), "loss")
        >>> line.xs, line.ys, line.lost
        ((1, 2, 3), (3.0, nan, 1.0), (2,))
    """
    xs: list[float] = []
    ys: list[float] = []
    lost: list[int] = []
    for epoch, value in metrics.points(name):
        x = epoch + 1
        if xs and x <= xs[-1]:  # trained a second time: start a new line
            xs.append(x)
            ys.append(math.nan)
        xs.append(x)
        ys.append(value if abs(value) < _LARGEST else math.nan)
        if math.isnan(ys[-1]):
            lost.append(x)
    return Curve(name, tuple(xs), tuple(ys), tuple(lost))


def groups(metrics: Metrics) -> dict[str, list[str]]:
    """The columns of each panel, by their common name: loss first, then accuracy.

    Learning rates, and columns without any number, are left out.

    Example:
        >>> groups(Metrics.from_columns({"mae": [2], "acc": [0], "val_loss": [1], "loss": [1]}))
        {'loss': ['loss', 'val_loss'], 'acc': ['acc'], 'mae': ['mae']}
    """
    found: dict[str, list[str]] = {}
    for name in metrics.columns:
        if not _is_rate(name) and metrics.points(name):
            common = name.removeprefix("val_").removeprefix("train_")
            found.setdefault(common, []).append(name)
    order = sorted(found, key=lambda name: (name != "loss", not name.endswith(("accuracy", "acc"))))
    return {name: sorted(found[name], key=_is_validation) for name in order}


def rates(metrics: Metrics) -> list[str]:
    """The columns with learning rates."""
    return [name for name in metrics.columns if _is_rate(name) and metrics.points(name)]


def rate_label(name: str) -> str:
    """The name of a learning rate's column, for people.

    Example:
        >>> rate_label("learning_rate"), rate_label("learning_rate_head")
        ('learning rate', 'learning rate head')
    """
    return name.replace("_", " ", 2) if name.startswith(f"{_RATE}_") else "learning rate"


def cuts(metrics: Metrics) -> list[Cut]:
    """Every fall of a learning rate from one epoch to the next, in the order of the epochs.

    Example:
        >>> cuts(Metrics.from_columns({"learning_rate": [0.1, 0.1, 0.05]}))
        [Cut(epoch=1, name='learning_rate', before=0.1, after=0.05)]
    """
    found = []
    for name in rates(metrics):
        points = metrics.points(name)
        for (epoch, before), (following, after) in pairwise(points):
            if after < before and following > epoch:
                found.append(Cut(epoch, name, before, after))
    return sorted(found, key=lambda cut: cut.epoch)


def is_scheduled(metrics: Metrics, name: str) -> bool:
    """Whether a schedule moves a learning rate, such as OneCycle or a cosine, so that its falls are no cuts.

    A cut is a fall between epochs of the same rate. A schedule moves the rate in one epoch after the other:
    down and up, three times or more, or in every epoch of the history.

    Example:
        >>> one_cycle, cut_twice = [0.01, 0.1, 0.05, 0.001], [0.1, 0.1, 0.05, 0.025, 0.025]
        >>> metrics = Metrics.from_columns({"learning_rate": one_cycle})
        >>> is_scheduled(metrics, "learning_rate")
        True
        >>> is_scheduled(Metrics.from_columns({"learning_rate": cut_twice}), "learning_rate")
        False
    """
    moves, last = list(_moves(metrics, name)), len(metrics.points(name)) - 1
    return any(min(move) < 1 and (len(move) > 2 or max(move) > 1 or 1 < len(move) == last) for move in moves)


def _moves(metrics: Metrics, name: str) -> Iterator[list[float]]:
    """The factors by which a rate changes, as lists of those that follow each other."""
    move: list[float] = []
    for (epoch, before), (following, after) in pairwise(metrics.points(name)):
        if following > epoch and after != before:
            move.append(after / before if before else math.inf)
        elif move:
            yield move
            move = []
    if move:
        yield move


def marked_cuts(metrics: Metrics) -> list[Cut]:
    """The cuts to mark: none of a rate that a schedule moves, and none at all if they are many.

    Example:
        >>> metrics = Metrics.from_columns({"learning_rate": [0.1, 0.1, 0.05]})
        >>> marked_cuts(metrics) == cuts(metrics)
        True
    """
    scheduled = {name for name in rates(metrics) if is_scheduled(metrics, name)}
    fell = [cut for cut in cuts(metrics) if cut.name not in scheduled]
    return [] if len({cut.epoch for cut in fell}) > _MOST_CUTS else fell


def best_epoch(metrics: Metrics, *, monitor: str | None = None, epoch: int | None = None) -> BestEpoch | None:
    """The best epoch of a history; None if no metric can decide.

    Args:
        metrics: the history.
        monitor: the column that decides. None: ``val_loss``, else ``loss``, else the first whose name
            tells whether higher is better, validation metrics first.
        epoch: the best epoch, counted from 0, if you know it. None: the first with the best value.

    Raises:
        ArgumentError: there is no such column or epoch.
        UnknownDirection: ``epoch`` is None, and the name does not tell whether higher is better.
    """
    if monitor is not None and monitor not in metrics.columns:
        raise ArgumentError(
            f"monitor={monitor!r} is not in the history. It has: {few(metrics.columns)}."
            + nearest(monitor, metrics.columns)
        )
    name = monitor or _deciding(metrics)
    if name is None:
        return None
    points = [(e, v) for e, v in metrics.points(name) if math.isfinite(v)]
    if epoch is not None:
        points = [point for point in points if point[0] == epoch][-1:]
        if not points:
            raise ArgumentError(
                f"best={epoch!r}: the history has no finite {name} in that epoch. Epochs are counted from 0."
            )
    if not points:
        return None
    direction = "min" if len(points) == 1 else direction_of(name)
    if direction is None:
        raise UnknownDirection(
            f"The name {name!r} does not tell whether higher is better: pass best=, the number of "
            "the best epoch, counted from 0."
        )
    pick = min if direction == "min" else max
    found, value = pick(points, key=lambda point: point[1])
    return BestEpoch(found, name, value)


def wants_log(curves: Iterable[Curve]) -> bool:
    """Whether the axis must be logarithmic: the largest value is over 100 times the usual one.

    The usual value is the median of the last curve, which is that of the validation if there is one.
    """
    values = [line.finite for line in curves if line.finite]
    together = [value for part in values for value in part]
    return loggable(together) and max(together) > 100 * median(values[-1])


def loggable(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis can show these values: they must be positive and not too small."""
    return bool(values) and min(values) > 1 / _LARGEST


def thinned(line: Curve, limit: int = 2000) -> Curve:
    """A curve of about ``limit`` points at most, which looks the same.

    Of each stretch of epochs it keeps the first, lowest, highest and last point, and one gap, so that
    no peak and no gap disappears.
    """
    if len(line.xs) <= limit:
        return line
    size = math.ceil(5 * len(line.xs) / limit)
    kept = [i for start in range(0, len(line.xs), size) for i in _corners(line.ys, start, size)]
    return Curve(line.name, tuple(line.xs[i] for i in kept), tuple(line.ys[i] for i in kept), line.lost)


def steps(line: Curve) -> Curve:
    """A curve as steps: each value is drawn from half an epoch before to half an epoch after."""
    xs = [x + half for x in line.xs for half in (-0.5, 0.5)]
    return Curve(line.name, tuple(xs), tuple(y for y in line.ys for _ in range(2)), line.lost)


def epoch_ticks(first: int, last: int, most: int = 12) -> list[int]:
    """Round numbers from ``first`` to ``last``, and ``first`` itself.

    Example:
        >>> epoch_ticks(1, 26), epoch_ticks(1, 1)
        ([1, 5, 10, 15, 20, 25], [1])
    """
    widths = (base * 10**power for power in range(18) for base in (1, 2, 5))
    step = next(step for step in widths if step != 2 and (last - first) / step < most)
    round_ones = range(math.ceil(first / step) * step, last + 1, step)
    return sorted({first, *(tick for tick in round_ones if tick - first >= step / 2)})


def digits_between(low: float, high: float) -> int:
    """How many digits are needed to tell about ten numbers between ``low`` and ``high`` apart.

    Example:
        >>> digits_between(0, 1), digits_between(0.69314, 0.69315), digits_between(5, 5)
        (4, 7, 4)
    """
    largest = max(abs(low), abs(high))
    if high == low or largest > _LARGEST * (high - low):
        return 4
    return max(4, min(9, 2 + math.ceil(math.log10(largest / (high - low)))))


def rate_ticks(values: Iterable[float]) -> list[float]:
    """Where to put labels on a logarithmic axis of learning rates: at the rates, or at powers of ten.

    Labels that would be too close to each other are left out.

    Example:
        >>> rate_ticks([0.01, 0.01, 0.005])
        [0.005, 0.01]
    """
    distinct = sorted(set(values))
    low, high = distinct[0], distinct[-1]
    decades = [10.0**n for n in range(math.ceil(math.log10(low)), math.ceil(math.log10(high)))]
    inner = distinct[1:-1] if len(distinct) <= 6 else decades
    room = math.log(high / low) / 6
    ticks = [low]
    for tick in inner:
        if math.log(tick / ticks[-1]) >= room <= math.log(high / tick):
            ticks.append(tick)
    return ticks if high == low else [*ticks, high]


def _corners(ys: tuple[float, ...], start: int, size: int) -> list[int]:
    indices = range(start, min(start + size, len(ys)))
    solid = [i for i in indices if not math.isnan(ys[i])]
    broken = [i for i in indices if math.isnan(ys[i])][:1]
    if not solid:
        return broken
    extremes = min(solid, key=ys.__getitem__), max(solid, key=ys.__getitem__)
    return sorted({solid[0], solid[-1], *extremes, *broken})


def _is_rate(name: str) -> bool:
    return name == _RATE or name.startswith(f"{_RATE}_")


def _is_validation(name: str) -> bool:
    return name.startswith("val_")


def _deciding(metrics: Metrics) -> str | None:
    names = [name for group in groups(metrics).values() for name in group if direction_of(name)]
    preferred = ["val_loss", "loss", *filter(_is_validation, names), *names]
    return next((name for name in preferred if name in names), None)
