"""The picture of a training: its metrics, the best epoch, the learning rate.

It is drawn on matplotlib's ``Figure`` and not with pyplot: no window opens, no global state changes, and
any thread can draw.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from outlast.core.asking import asked
from outlast.core.metrics import Metrics
from outlast.exceptions import ArgumentError, FileError, MissingExtra
from outlast.storage.disk.calls import explained
from outlast.storage.disk.files import publish
from outlast.views import panels
from outlast.views.curves import BestEpoch, best_epoch, curve, groups, marked_cuts, rates, thinned
from outlast.views.panels import FAINT, INK, PAPER, as_label
from outlast.views.text import shown

_FORMATS = ("png", "svg", "pdf")
_DPI = 160

# Lengths in inches. All are fixed, so that nothing can overlap.
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 8.0, 1.05, 0.3, 0.8, 0.55
_STRIP = 0.34  # above each panel, for its legend
_LOSS, _METRIC, _RATE = 2.6, 1.6, 1.25

_MOST_PANELS = 4


def plot_history(
    source: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    best: int | None = None,
    stopped: int | None = None,
    title: str | None = None,
    monitor: str | None = None,
) -> Any:
    """Draw a history: losses, other metrics and the learning rate over the epochs.

    Args:
        source: the path of a CSV that ``CSVLogger`` wrote (Keras's or ours), or of a run's folder that
            has a ``history.csv``; a ``Metrics``; what Keras's ``fit`` returns; or a dict of lists.
        path: the file for the picture, ending in ``.png``, ``.svg`` or ``.pdf``; it is never half
            written. None: the figure is returned.
        best: the best epoch, counted from 0. None: the epoch in which ``monitor`` was best.
        stopped: the epoch in which training was stopped, counted from 0. None: the line at the end is
            labelled "last epoch".
        title: the title. None: a sentence with the best value.
        monitor: the metric that decides which epoch is best. None: ``val_loss``, else ``loss``, else
            the first whose name tells whether higher is better.

    Returns:
        The matplotlib ``Figure`` if ``path`` is None, else None.

    Raises:
        ArgumentError: an argument cannot work, or the suffix is not one of the three.
        FileError: the CSV cannot be read, or the picture cannot be written.
        MissingExtra: matplotlib is not installed.

    Example:
        >>> picture = plot_history({"loss": [0.9, 0.5], "val_loss": [0.8, 0.6]})
        >>> [axes.get_ylabel() for axes in picture.axes]
        ['loss']
    """
    kind = None if path is None else _format(os.fsdecode(path))
    picture = _picture(_metrics(source), best, stopped, title, monitor)
    if path is None:
        return picture
    save = partial(picture.savefig, format=kind, dpi=_DPI, facecolor=PAPER)
    return publish(os.fsdecode(path), save)


def _picture(
    metrics: Metrics, best: int | None, stopped: int | None, title: str | None, monitor: str | None
) -> Any:
    """The ``Figure``: losses at the top, up to three other metrics, learning rates on a logarithmic axis."""
    found = best_epoch(metrics, monitor=monitor, epoch=best)
    drawn = _drawn(metrics, found)
    heights = [_LOSS, *[_METRIC] * len(drawn)][: len(drawn)] + [_RATE] * bool(rates(metrics))
    picture, sheet = _sheet(heights or [_LOSS])
    for axes, (name, columns) in zip(sheet, drawn.items(), strict=False):
        panels.draw_metric(axes, name, [thinned(curve(metrics, column)) for column in columns])
    if rates(metrics):
        panels.draw_rates(sheet[-1], metrics)
    if heights:
        _mark(sheet, drawn, metrics, found, stopped)
    else:
        panels.say_empty(sheet[0], "no numbers to draw")
    for axes in sheet:
        panels.explain(axes)
    headline, *more = _sentences(metrics, found)
    _write(picture, title or headline, " · ".join([headline, *more] if title else more))
    left_out = [name for name in groups(metrics) if name not in drawn]
    if left_out:
        text = as_label(f"not drawn: {', '.join(left_out)}", 110)
        picture.text(1 - _RIGHT / _WIDTH, 0.02, text, color=FAINT, fontsize=8, ha="right")
    for artist in picture.findobj(lambda artist: hasattr(artist, "set_parse_math")):
        artist.set_parse_math(False)  # a dollar sign in a name is not the start of a formula
    return picture


def _mark(
    sheet: Sequence[Any],
    drawn: Mapping[str, Sequence[str]],
    metrics: Metrics,
    found: BestEpoch | None,
    stopped: int | None,
) -> None:
    """Mark the best epoch, the cuts and the end."""
    first, last = min(metrics.epochs), max(metrics.epochs)
    end = last if stopped is None else stopped
    panels.draw_epochs(sheet, first + 1, max(last, end) + 1)
    panels.mark_epochs(sheet, found, marked_cuts(metrics))
    for axes, columns in zip(sheet, drawn.values(), strict=False):
        if found is not None and found.monitor in columns:
            panels.mark_best(axes, found, end)
    panels.mark_end(sheet, end + 1, "last epoch" if stopped is None else "stopped after epoch")


def _metrics(source: Any) -> Metrics:
    if isinstance(source, str | os.PathLike):
        return _read(os.fsdecode(source))
    if isinstance(source, Metrics):
        return source
    if isinstance(source, Mapping):
        return Metrics.from_columns(source)
    history = asked(source, "history")
    if isinstance(history, Mapping) and not isinstance(history, Metrics):
        return Metrics.from_columns(history, asked(source, "epoch"))
    if history is None:
        raise ArgumentError(
            "plot_history takes the path of a CSV, a Metrics, what Keras's fit returns, or a dict of "
            f"lists, but got {type(source).__name__}. For rows, use Metrics.from_rows."
        )
    return _metrics(history)


def _read(path: str) -> Metrics:
    if os.path.isdir(path):
        folder, path = path, os.path.join(path, "history.csv")
        if not os.path.exists(path):
            raise FileError(
                f"{folder} is a folder without history.csv. If it is a run, draw what it recorded: "
                f"plot_history(outlast.open_run({folder!r}).history).",
                path=folder,
            )
    with explained(path, "read"), open(path, "rb") as file:
        text = file.read().decode("utf-8", "replace")
    try:
        return Metrics.from_csv(text)
    except ArgumentError as error:
        raise FileError(f"Cannot read {path} as a history: {error}", path=path) from error


def _format(path: str) -> str:
    kind = os.path.splitext(path)[1].removeprefix(".").lower()
    if kind not in _FORMATS:
        raise ArgumentError(f"The name of a picture must end in .png, .svg or .pdf, but is {path!r}.")
    return kind


def _drawn(metrics: Metrics, found: BestEpoch | None) -> dict[str, list[str]]:
    """The groups of columns to draw: loss, the monitored metric, then others."""
    monitor = found.monitor if found else None
    order = sorted(groups(metrics).items(), key=lambda item: (item[0] != "loss", monitor not in item[1]))
    return dict(order[:_MOST_PANELS])


def _sheet(heights: Sequence[float]) -> tuple[Any, list[Any]]:
    """An empty figure, with axes of these heights below each other."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", extra="plot", purpose="A picture") from error
    height = _TOP + sum(heights) + _STRIP * len(heights) + _BOTTOM
    picture = Figure(figsize=(_WIDTH, height), facecolor=PAPER)
    left, width = _LEFT / _WIDTH, (_WIDTH - _LEFT - _RIGHT) / _WIDTH
    sheet: list[Any] = []
    top = height - _TOP
    for room in heights:
        top -= _STRIP + room
        box = (left, top / height, width, room / height)
        sheet.append(picture.add_axes(box, sharex=sheet[0] if sheet else None))
        panels.style(sheet[-1])
    return picture, sheet


def _sentences(metrics: Metrics, found: BestEpoch | None) -> list[str]:
    """What the picture says in words, the most important first."""
    count = len(set(metrics.epochs))
    sentences = [f"{count} epoch{'s' * (count != 1)}" if count else "No epochs yet"]
    if found is not None:
        name, best = as_label(found.monitor, 28), found.epoch + 1
        sentences.insert(0, f"{name} was best at epoch {best}: {shown(found.value)}")
    after = sorted({cut.epoch + 1 for cut in marked_cuts(metrics)})
    if after:
        sentences.append(f"learning rate cut after epoch{'s' * (len(after) > 1)} {_list(after)}")
    return sentences


def _list(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last


def _write(picture: Any, title: str, subtitle: str) -> None:
    left, height = _LEFT / _WIDTH, picture.get_figheight()
    form = {"color": INK, "fontsize": 14, "fontweight": "bold", "va": "top"}
    picture.text(left, 1 - 0.22 / height, as_label(title, 54), **form)
    picture.text(left, 1 - 0.53 / height, as_label(subtitle, 100), color=FAINT, fontsize=10, va="top")
