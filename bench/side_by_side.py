"""Measures ways to do the same thing side by side: what all benches that compare us with others share.

Each round takes every way once, in random order, so that whatever else the machine does meets all of them. A
way that is not installed is left out, and named.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Way = Callable[[], float]  # does its work, and gives the seconds that count
Figures = Mapping[str, list[float]]  # of each way, one a round
Found = TypeVar("Found")
Made = TypeVar("Made")

SCALES = {"s": 1.0, "ms": 1e3, "us": 1e6, "MB": 1e-6}


def seconds_of(act: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def compare(
    title: str, ways: Mapping[str, Way], *, beside: str, rounds: int, unit: str = "ms", per: int = 1
) -> dict[str, list[float]]:
    """Measure the ways, and print a table; the first round warms up and does not count.

    Args:
        title: what is measured.
        ways: by name.
        beside: the name of the way that the ratios are to.
        rounds: how often each is measured.
        unit: ``"ms"`` or ``"us"``.
        per: a way does so many of what is measured.

    Returns:
        The seconds of each way, one a round.
    """
    found = {name: [one / per for one in times] for name, times in measured(ways, rounds).items()}
    show(title, found, beside=beside, unit=unit)
    return found


def measured(ways: Mapping[str, Callable[[], Found]], rounds: int) -> dict[str, list[Found]]:
    """What the ways give in each round but the first, which warms up."""
    found: dict[str, list[Found]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in random.Random(turn).sample(sorted(ways), len(ways)):
            figure = ways[name]()
            if turn:
                found[name].append(figure)
    return found


def show(title: str, found: Figures, *, beside: str, unit: str = "ms") -> None:
    """Print a table of what was measured in rounds: medians, and the ratios to one of the ways."""
    print(headed(title, len(found[beside])))
    print(f"| way | {unit} | x | least | most |\n|---|---|---|---|---|")
    for name, figures in found.items():
        least, middle, most = ratios(figures, found[beside])
        figure = statistics.median(figures) * SCALES[unit]
        print(f"| {name} | {figure:.3g} | {middle:.2f} | {least:.2f} | {most:.2f} |")


def headed(title: str, rounds: int) -> str:
    """What stands above a table: how often it was measured, and what else the machine did."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"\n{title} ({rounds} rounds, load {load})\n"


def ratios(figures: list[float], others: list[float]) -> tuple[float, float, float]:
    """The least, the median and the greatest ratio of a round."""
    each = [one / other for one, other in zip(figures, others, strict=True)]
    return min(each), statistics.median(each), max(each)


def installed(ways: Mapping[str, Callable[[], Made]]) -> dict[str, Made]:
    """The ways that can be had; each is made by a function, which imports what it needs."""
    found = {}
    for name, make in ways.items():
        try:
            found[name] = make()
        except ImportError as error:
            print(f"\nleft out, for it is not installed: {name} ({error.name})")
    return found
