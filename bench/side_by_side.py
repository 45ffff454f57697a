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

Way = Callable[[], float]  # does its work, and gives the seconds that count


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
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in random.Random(turn).sample(sorted(ways), len(ways)):
            took = ways[name]() / per
            if turn:
                found[name].append(took)
    scale = {"ms": 1e3, "us": 1e6}[unit]
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n{title} ({rounds} rounds, load {load})\n")
    print(f"| way | {unit} | x | least | most |\n|---|---|---|---|---|")
    for name, times in found.items():
        ratios = [one / other for one, other in zip(times, found[beside], strict=True)]
        least, middle, most = min(ratios), statistics.median(ratios), max(ratios)
        print(
            f"| {name} | {statistics.median(times) * scale:.3g} | {middle:.2f} | {least:.2f} | {most:.2f} |"
        )
    return found


def installed(ways: Mapping[str, Callable[[], Way]]) -> dict[str, Way]:
    """The ways that can be had; each is made by a function, which imports what it needs."""
    found = {}
    for name, make in ways.items():
        try:
            found[name] = make()
        except ImportError as error:
            print(f"left out, for it is not installed: {name} ({error.name})")
    return found
