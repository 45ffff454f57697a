"""Tables for the terminal: values become text, and nothing is printed here."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from math import isclose
from typing import Any

from outlast.core.metrics import Metrics
from outlast.views.curves import Cut, best_epoch, cuts, is_scheduled, rate_label, rates
from outlast.views.text import clipped, escaped, fitted, shown, size, text_width

_GAP = "  "
_LABEL = 15  # the width of a summary's left column: "learning rate" and a gap
_MOST_CUTS = 10  # more cuts are a schedule, of which only the first and last rate are shown


def table(rows: Iterable[Sequence[Any]], headers: Sequence[str] = (), *, width: int | None = None) -> str:
    """A table with aligned columns: numbers to the right, texts to the left.

    Args:
        rows: the cells: numbers, texts, or None for an empty cell. A row may have fewer cells.
        headers: the names of the columns; without them, there is no header line.
        width: the terminal's width in characters. If lines would be longer, the widest columns are
            cut and end with dots. None: no limit.

    Returns:
        Lines joined by newlines, without spaces at their ends.

    Example:
        >>> print(table([("val_loss", 0.0608), ("accuracy", 0.97881)], ["metric", "best"]))
        metric      best
        --------  ------
        val_loss  0.0608
        accuracy  0.9788
    """
    columns = list(zip_longest(headers, *rows))
    right = [_is_numeric(column[1:]) for column in columns]
    texts = [[_cell(cell) for cell in column] for column in columns]
    widths = [max(map(text_width, column)) for column in texts]
    if width is not None:
        widths = fitted(widths, width - len(_GAP) * (len(widths) - 1))
    lines = [_GAP.join(map(_aligned, cells, widths, right)).rstrip() for cells in zip(*texts, strict=True)]
    rule = _GAP.join("-" * room for room in widths)
    return "\n".join([lines[0], rule, *lines[1:]] if headers else lines[1:])


def summary(
    metrics: Metrics,
    *,
    best: int | None = None,
    monitor: str | None = None,
    stopped: str | None = None,
    files: Mapping[str, int] | None = None,
    width: int | None = None,
) -> str:
    """A training in a few lines: epochs, best epoch, why it ended, learning rates, files.

    Args:
        metrics: its history.
        best: the best epoch, counted from 0. None: the epoch in which ``monitor`` was best.
        monitor: the metric that decides which epoch is best. None: ``val_loss``, else ``loss``, else
            the first whose name tells whether higher is better.
        stopped: why it ended, in words.
        files: the files that it wrote, with their sizes in bytes.
        width: the terminal's width in characters. None: no limit.

    Raises:
        ArgumentError: ``best`` or ``monitor`` is not in the history.
        UnknownDirection: ``best`` is None, and the name of ``monitor`` does not tell what is better.

    Example:
        >>> history = Metrics.from_columns(
        ...     {"val_loss": [0.9, 0.5, 0.7], "learning_rate": [0.1, 0.1, 0.05]}
        ... )
        >>> print(summary(history, stopped="no improvement", files={"best.keras": 9_100_000}))
        epochs         3
        best           epoch 2, val_loss 0.5
        stopped        no improvement
        learning rate  0.1 from epoch 1
                       0.05 after epoch 2
        files          best.keras  9.1 MB
    """
    found = best_epoch(metrics, monitor=monitor, epoch=best)
    lines = {
        "epochs": [str(len(set(metrics.epochs)))],
        "best": [f"epoch {found.epoch + 1}, {found.monitor} {shown(found.value)}"] if found else [],
        "stopped": [stopped] if stopped else [],
        **{rate_label(name): _falls(metrics, name) for name in rates(metrics)},
        "files": _listed(files or {}, width),
    }
    return labelled({escaped(label): found for label, found in lines.items() if found}, width)


def _falls(metrics: Metrics, name: str) -> list[str]:
    """The first value of a learning rate, and its values after each cut; of a schedule its ends."""
    values = [rate for _, rate in metrics.points(name)]
    fell = [cut for cut in cuts(metrics) if cut.name == name]
    start = f"{shown(values[0])} from epoch {metrics.points(name)[0][0] + 1}"
    end = f"{shown(values[-1])} at the end"
    many_alike = len(fell) > _MOST_CUTS and _are_even(fell)
    if is_scheduled(metrics, name) and not many_alike:
        peak = [f"{shown(max(values))} at most"] if max(values) > values[0] else []
        return [start, *peak, f"{end}, by a schedule"]
    if len(fell) > _MOST_CUTS:
        return [start, f"{end}, after {len(fell)} cuts"]
    return [start, *(f"{shown(cut.after)} after epoch {cut.epoch + 1}" for cut in fell)]


def _are_even(fell: Sequence[Cut]) -> bool:
    """Whether each cut is by the same factor."""
    factors = [cut.after / cut.before for cut in fell]
    return all(isclose(factor, factors[0], rel_tol=0.01) for factor in factors)


def _listed(files: Mapping[str, int], width: int | None) -> list[str]:
    rows = [(name, f"{size(count):>8}") for name, count in files.items()]
    return table(rows, width=width and width - _LABEL).splitlines()


def labelled(sections: Mapping[str, Sequence[str]], width: int | None) -> str:
    """Labels at the left, their lines at the right, wrapped at ``width``.

    Example:
        >>> print(labelled({"epochs": ["9 of 10"], "settings": ["seed 0", "rate 0.1"]}, None))
        epochs         9 of 10
        settings       seed 0
                       rate 0.1
    """
    indent = max(_LABEL, *(text_width(label) + len(_GAP) for label in sections))
    room = max(20, width - indent) if width else sys.maxsize
    lines: list[str] = []
    for label, texts in sections.items():
        wrapped = [line for text in texts for line in textwrap.wrap(escaped(text), room)]
        lines += map("".join, zip_longest([label.ljust(indent)], wrapped, fillvalue=" " * indent))
    return "\n".join(lines)


def _is_numeric(cells: Sequence[Any]) -> bool:
    kinds = {type(cell) for cell in cells if cell is not None}
    return bool(kinds) and kinds <= {int, float}


def _cell(cell: Any) -> str:
    if cell is None:
        return ""
    return shown(cell) if isinstance(cell, float) else escaped(str(cell))


def _aligned(text: str, room: int, right: bool) -> str:
    text = clipped(text, room)
    space = " " * (room - text_width(text))
    return space + text if right else text + space
