"""Draws docs/images/cost.svg from the tables in docs/cost.md.

    python bench/picture.py [--nowhere]

Each bar is a median ratio to what stands in the title above it, on one logarithmic scale: a bar to the left
of the line at 1 is cheaper than that. A table that is not there yet is left out. ``--nowhere`` draws, and
writes nothing.
"""

from __future__ import annotations

import argparse
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outlast.views.panels import _TRAINING as OTHER
from outlast.views.panels import _VALIDATION as OURS
from outlast.views.panels import FAINT, INK, PAPER, RULE

DOCS = Path(__file__).parent.parent / "docs"
PAGE, PICTURE = DOCS / "cost.md", DOCS / "images" / "cost.svg"
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 8.0, 2.75, 0.55, 0.45, 0.5  # inches
ROW, HEAD = 0.22, 0.42  # of a bar, and of the title above bars
OUR_OWN = re.compile(r"\boutlast\b|^our |, our |resume|^the fast list for|best weights kept|and its best")


@dataclass(frozen=True)
class Panel:
    """The bars of one table.

    Args:
        title: what is drawn, and beside what.
        table: how its title in the page begins, as a pattern.
        ways: by their names in the table, how they are called here; "" is the same name.
    """

    title: str
    table: str
    ways: dict[str, str]


_SAVES = {
    "a resume point": "outlast's resume point",
    "its async_save": "PyTorch's DCP, async_save",
    "Orbax, asynchronous": "",
    "safetensors + fsync": "",
    "torch.save + fsync": "",
    "Lightning's save_checkpoint + fsync": "Lightning + fsync",
    "Keras's `.keras` + fsync": "Keras's .keras + fsync",
}

PANELS = [
    Panel(
        "A batch, ten callbacks that have no hook of batches: beside a bare loop",
        r"a batch with \d+ callbacks that have no hook",
        dict.fromkeys(
            [
                "outlast",
                "the fast list for Keras's fit",
                "Keras's list",
                "ignite",
                "Hugging Face",
                "Lightning",
            ],
            "",
        ),
    ),
    Panel(
        "Keras's fit of a tiny model, four callbacks: beside fit without any",
        r"Keras's fit on jax",
        {
            "the fast list, our four in a Run": "our four in a Run, in the fast list",
            "the fast list, our four": "our four, in the fast list",
            "our four": "",
            "Keras's four": "",
        },
    ),
    Panel(
        "The end of an epoch, 100 MB: beside Keras's four callbacks",
        r"the end of an epoch, 100 MB",
        {"our four": "", "our four in a Run": "", "our four in a Run, best weights too": ""},
    ),
    Panel(
        "100 MB saved, how long training waits: beside one copy of the memory",
        r"100 MB saved: how long training waits",
        _SAVES,
    ),
    Panel(
        "100 MB saved, until it is durable: beside write + fsync",
        r"100 MB saved: until it is durable",
        _SAVES,
    ),
    Panel(
        "100 MB loaded from memory: beside a plain read",
        r"100 MB loaded, the files in memory",
        {
            "a resume": "outlast's resume",
            "torch.load and load_state_dict": "",
            "Orbax": "",
            "Keras's load_model": "",
        },
    ),
    Panel(
        "An import: beside Python's own start",
        r"an import",
        {f"import {name}": name for name in ("outlast", "numpy", "keras", "torch", "lightning")},
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nowhere", action="store_true", help="write nothing")
    options = parser.parse_args()
    drawn = drawable(PAGE.read_text())
    picture = draw(drawn)
    if not options.nowhere:
        PICTURE.parent.mkdir(exist_ok=True)
    picture.savefig(io.BytesIO() if options.nowhere else PICTURE, format="svg", metadata={"Date": None})
    for title, bars in drawn.items():
        print(f"{title}: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in bars.items()))


def drawable(page: str) -> dict[str, dict[str, float]]:
    r"""The bars of each panel whose table is in the page.

    Example:
        >>> drawable("an import (1 rounds)\n\n| way | ms | x |\n|---|---|---|\n| import keras | 9 | 3.5 |\n")
        {"An import: beside Python's own start": {'keras': 3.5}}
    """
    found = {}
    for panel in PANELS:
        table = re.search(rf"^{panel.table}.*\n\n((?:\|.*\n)+)", page, re.MULTILINE)
        rows = [line.strip("| ").split(" | ") for line in table[1].splitlines()[2:]] if table else []
        ratios = {row[0]: float(row[2]) for row in rows}
        bars = {shown or name: ratios[name] for name, shown in panel.ways.items() if name in ratios}
        if bars:
            found[panel.title] = bars
    return found


def draw(panels: dict[str, dict[str, float]]) -> Any:
    """The picture: a panel below the other, all on one scale."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "outlast"  # the same figures give the same file
    height = TOP + BOTTOM + sum(HEAD + ROW * len(bars) for bars in panels.values())
    figure = Figure((WIDTH, height), facecolor=PAPER)
    every = [ratio for bars in panels.values() for ratio in bars.values()]
    limits = min(0.2, *every) / 1.6, max(10, *every) * 2.5
    top = height - TOP
    for title, bars in panels.items():
        top -= HEAD + ROW * len(bars)
        place = (LEFT / WIDTH, top / height, 1 - (LEFT + RIGHT) / WIDTH, ROW * len(bars) / height)
        draw_bars(figure.add_axes(place), title, bars, limits)
    label = "times as long as what it is beside; logarithmic"
    figure.axes[-1].tick_params(labelbottom=True)
    figure.text(LEFT / WIDTH, 0.12 / height, label, color=FAINT, fontsize=9)
    heading = "What it costs: outlast blue, others grey"
    figure.text(0.2 / WIDTH, 1 - 0.3 / height, heading, color=INK, fontsize=12, fontweight="bold")
    return figure


def draw_bars(axes: Any, title: str, bars: dict[str, float], limits: tuple[float, float]) -> None:
    places = range(len(bars))
    axes.set(xscale="log", xlim=limits, ylim=(len(bars) - 0.4, -0.6), facecolor=PAPER)
    axes.set_yticks(places, [*bars])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=INK, labelbottom=False)
    axes.tick_params(axis="x", labelcolor=FAINT)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    colors = [OURS if OUR_OWN.search(name) else OTHER for name in bars]
    axes.barh(places, [ratio - 1 for ratio in bars.values()], 0.62, left=1, color=colors)
    axes.axvline(1, color=INK, linewidth=1)
    for place, ratio in enumerate(bars.values()):
        axes.annotate(
            f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}" if ratio >= 10 else f"{ratio:.2f}",
            (max(ratio, 1), place),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=FAINT,
            fontsize=9,
        )
    axes.set_title(title, loc="left", x=-(LEFT - 0.2) / (WIDTH - LEFT - RIGHT), color=INK, fontsize=10)


if __name__ == "__main__":
    main()
