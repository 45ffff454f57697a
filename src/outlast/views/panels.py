"""Draw the panels of a picture on matplotlib's axes: curves, steps and marks.

Each function adds one thing; ``plots.py`` decides what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from outlast.core.metrics import Metrics
from outlast.views import curves
from outlast.views.curves import BestEpoch, Curve, Cut
from outlast.views.text import clipped, escaped, fitted, shown, shown_rate, text_width

_FEW_POINTS = 60  # up to this many, each point has a marker
_MOST_CROSSES = 200
_MOST_NAMES = 5  # of learning rates
_LEGEND, _HANDLE = 96, 6  # widths in characters, of the legend and of a line in it

PAPER, INK, FAINT, RULE = "#ffffff", "#1f2933", "#66717e", "#e3e7eb"
_TRAINING, _VALIDATION, _RATE = "#8d9aab", "#1d5fc4", "#0f766e"
_MARK, _MARK_FAINT = "#d1450f", "#f5cdbd"
_OTHERS = (_RATE, "#8250c4", "#b45309", "#be3a7b", "#4d7c0f", "#0e7490")


def style(axes: Any) -> None:
    """Plain axes: a white background, a few horizontal lines, no frame."""
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="y", color=RULE, linewidth=0.8)
    axes.yaxis.set_label_coords(-0.12, 0.5)
    axes.tick_params(colors=FAINT, labelsize=9, length=0, labelbottom=False)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set(color=FAINT, linewidth=0.8)


def draw_metric(axes: Any, name: str, lines: Sequence[Curve]) -> None:
    """One panel: the curves of a metric, with validation in front of training."""
    axes.set_ylabel(as_label(name, 19), color=INK, fontsize=10)
    colors = _colors(lines)
    for line, color in zip(lines, colors, strict=True):
        few_points = len(line.xs) <= _FEW_POINTS
        form = {"linewidth": 1.8, "marker": "o", "markersize": 3} if few_points else {"linewidth": 1.0}
        axes.plot(line.xs, line.ys, color=color, label=as_label(line.name), **form)
    _mark_lost(axes, lines, colors)
    _scale_values(axes, lines)


def _colors(lines: Sequence[Curve]) -> list[str]:
    """Blue for validation or a single curve, grey for training, other colours for the rest."""
    others = iter(_OTHERS)
    colors = []
    for line in lines:
        if line.name.startswith("val_") or len(lines) == 1:
            colors.append(_VALIDATION)
        else:
            colors.append(next(others) if _TRAINING in colors else _TRAINING)
    return colors


def _scale_values(axes: Any, lines: Sequence[Curve]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    values = [value for line in lines for value in line.finite]
    if not values:
        axes.set(ylim=(0, 1), yticks=[])
        return
    axes.margins(y=0.08)
    if curves.wants_log(lines):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    digits = curves.digits_between(min(values), max(values))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, digits)))


def _mark_lost(axes: Any, lines: Sequence[Curve], colors: Sequence[str]) -> None:
    """Crosses along the top, at the epochs whose value is NaN or infinite."""
    label: str | None = "NaN or infinite"
    for line, color in zip(lines, colors, strict=True):
        crosses = line.lost[:: 1 + len(line.lost) // _MOST_CROSSES]
        if crosses:
            place = axes.get_xaxis_transform()
            heights = [0.96] * len(crosses)
            axes.plot(crosses, heights, "x", color=color, label=label, markersize=5, transform=place)
            label = None  # one entry in the legend is enough


def mark_best(axes: Any, found: BestEpoch, last: int) -> None:
    """A dot at the best value, and its number, placed clear of the edges and of the line at the end."""
    from matplotlib.patheffects import withStroke

    label = f"best (epoch {found.epoch + 1})"
    dot = {"markersize": 9, "markeredgecolor": PAPER}
    axes.plot([found.epoch + 1], [found.value], "o", color=_MARK, label=label, zorder=5, **dot)
    side, over = _label_side(axes, found, last)
    axes.annotate(
        shown(found.value),
        (found.epoch + 1, found.value),
        ({"left": 4, "center": 0, "right": -5}[side], 9 if over else -9),
        textcoords="offset points",
        color=_MARK,
        fontsize=10,
        fontweight="bold",
        ha=side,
        va="bottom" if over else "top",
        path_effects=[withStroke(linewidth=3, foreground=PAPER)],
        zorder=6,
    )


def _label_side(axes: Any, found: BestEpoch, last: int) -> tuple[str, bool]:
    """How the number is aligned to its dot, and whether it is above it."""
    axes.get_ylim()  # updates the transformations
    place = axes.transData.transform((found.epoch + 1, found.value))
    across, up = axes.transAxes.inverted().transform(place)
    if across > 0.94 or found.epoch == last:
        return "right", up < 0.85
    return "left" if across < 0.06 else "center", up < 0.85


def draw_rates(axes: Any, metrics: Metrics) -> None:
    """The lowest panel: each learning rate as steps, with its cuts."""
    axes.set_ylabel("learning rate", color=INK, fontsize=10)
    lines = [curves.curve(metrics, name) for name in curves.rates(metrics)]
    for index, (line, label) in enumerate(zip(lines, _rate_labels(lines), strict=True)):
        drawn = curves.steps(curves.thinned(line))
        color = _OTHERS[index % len(_OTHERS)]
        axes.plot(drawn.xs, drawn.ys, color=color, label=label, linewidth=1.8)
    _scale_rates(axes, [value for line in lines for value in line.finite])
    fell = curves.marked_cuts(metrics)
    if fell:
        _mark_cuts(axes, fell, apart=(max(metrics.epochs) - min(metrics.epochs)) / 20)


def _rate_labels(lines: Sequence[Curve]) -> list[str | None]:
    """Names for the legend: none for a single rate, and only the first few if there are many."""
    names: list[str | None] = [as_label(line.name.removeprefix("learning_rate_")) for line in lines]
    if len(names) > _MOST_NAMES:
        names[_MOST_NAMES:] = [f"and {len(names) - _MOST_NAMES} more"]
    return [*names, *[None] * len(lines)][: len(lines)] if len(lines) > 1 else [None]


def _scale_rates(axes: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if curves.loggable(values):
        pad = max((max(values) / min(values)) ** 0.15, 1.4)
        axes.set(yscale="log", ylim=(min(values) / pad, max(values) * pad))
        axes.yaxis.set_major_locator(FixedLocator(curves.rate_ticks(values)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown_rate(value)))


def _mark_cuts(axes: Any, fell: Sequence[Cut], apart: float) -> None:
    """A triangle at each cut, with its epoch, unless the label before it is closer than ``apart``."""
    places = [(cut.epoch + 1.5, cut.after) for cut in fell]
    axes.plot(*zip(*places, strict=True), "v", color=INK, label="cut after epoch", markersize=6)
    words = {"color": INK, "fontsize": 9, "textcoords": "offset points"}
    labelled = -math.inf
    for cut in sorted(fell, key=lambda cut: (cut.epoch, -cut.after)):
        if cut.epoch > labelled + apart:
            labelled = cut.epoch
            axes.annotate(str(cut.epoch + 1), (cut.epoch + 1.5, cut.after), (5, 4), **words)


def mark_epochs(sheet: Sequence[Any], found: BestEpoch | None, fell: Sequence[Cut]) -> None:
    """Faint vertical lines through all panels: at the best epoch, and where the rate was cut."""
    lines = [(cut.epoch + 1.5, RULE) for cut in fell]
    if found is not None:
        lines.append((found.epoch + 1, _MARK_FAINT))
    for axes in sheet:
        for x, color in lines:
            axes.axvline(x, color=color, linewidth=0.9, zorder=0.5)


def draw_epochs(sheet: Sequence[Any], first: int, last: int) -> None:
    """The axis of epochs, counted from 1, which all panels share."""
    pad = max(0.5, (last - first) / 80)
    sheet[-1].set(xlim=(first - pad, last + pad), xticks=curves.epoch_ticks(first, last))
    sheet[-1].tick_params(labelbottom=True)
    sheet[-1].set_xlabel("epoch", color=INK, fontsize=10)


def mark_end(sheet: Sequence[Any], epoch: int, text: str) -> None:
    """A vertical line through all panels where the training ended, explained in the top legend."""
    for axes in sheet:
        label = f"{text} {epoch}" if axes is sheet[0] else None
        axes.axvline(epoch, color=FAINT, label=label, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)


def say_empty(axes: Any, text: str) -> None:
    """Write a text where there is nothing to draw."""
    axes.set(yticks=[])
    axes.text(0.5, 0.5, text, color=FAINT, fontsize=11, ha="center", transform=axes.transAxes)


def explain(axes: Any) -> None:
    """The legend, in a strip above the panel, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    crowded = sum(map(text_width, labels)) + _HANDLE * len(labels) > _LEGEND
    if labels:
        axes.legend(
            handles,
            _shortened(handles, labels) if crowded else labels,
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            borderpad=0.2,
            columnspacing=1.5,
            fontsize=7.5 if crowded else 9,
            frameon=False,
            handlelength=1.6,
            handletextpad=0.5,
            labelcolor=INK,
            loc="lower left",
            ncols=len(labels),
        )


def _shortened(handles: Sequence[Any], labels: Sequence[str]) -> list[str]:
    """Labels that fit into the strip: names of curves are cut, the words for marks never are."""
    pairs = zip(handles, labels, strict=True)
    names = [label for handle, label in pairs if handle.get_linestyle() == "-"]  # of a curve
    words = sum(map(text_width, labels)) - sum(map(text_width, names))
    room = int(1.2 * _LEGEND) - _HANDLE * len(labels) - words
    rooms = dict(zip(names, fitted(map(text_width, names), room, 9), strict=True))
    return [clipped(label, rooms.get(label, _LEGEND)) for label in labels]


def as_label(name: str, room: int = 40) -> str:
    """A name as a label: escaped and cut, with a space before an underscore, which would hide it."""
    text = clipped(escaped(name), room)
    return f" {text}" if text.startswith("_") else text
