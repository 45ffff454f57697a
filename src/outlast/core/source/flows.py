"""Flows: which variables come to something, directly or by way of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from outlast.core.source.names import prefixes

ACT = ""

Flows = Mapping[str, Iterable[str]]


class Ends:
    """Knows which variables flow into something that the code does.

    A variable flows where an attribute of it flows, and where what it is an attribute of does. Each flow is
    gone through once, from its end, however many variables are asked for: scripts can be long.

    Args:
        flows: for what is read, what it flows into; ``ACT`` is where it comes to something.

    Example:
        >>> ends = Ends({"total": {"mean"}, "mean": {ACT}, "count": {"shown"}})
        >>> ends.has("total"), ends.has("count")
        (True, False)
    """

    def __init__(self, flows: Flows) -> None:
        into, under = _turned(flows)
        self._read = {name for name, goals in flows.items() if ACT in goals}
        left, seen = [*self._read], set[str]()
        while left:
            fresh = [goal for goal in _related(left.pop(), into, under) if goal not in seen]
            seen.update(fresh)
            for read in (read for goal in fresh for read in into[goal]):
                if read not in self._read:
                    self._read.add(read)
                    left.append(read)
        self._wholes = {whole for read in self._read for whole in prefixes(read)[:-1]}

    def has(self, name: str) -> bool:
        """Whether a variable, or a part of it, comes to something."""
        return name in self._wholes or any(one in self._read for one in prefixes(name))

    def has_part_of(self, name: str) -> bool:
        """Whether an attribute of a variable does, as ``meter.avg``."""
        return name in self._wholes


def _turned(flows: Flows) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """For each goal what flows into it, and for each name which goals are attributes of it."""
    into: dict[str, list[str]] = {}
    for read, goals in flows.items():
        for goal in goals:
            into.setdefault(goal, []).append(read)
    under: dict[str, list[str]] = {}
    for goal in into:
        for whole in prefixes(goal)[:-1]:
            under.setdefault(whole, []).append(goal)
    return into, under


def _related(read: str, into: Mapping[str, object], under: Mapping[str, list[str]]) -> Iterator[str]:
    yield from (whole for whole in prefixes(read) if whole in into)
    yield from under.get(read, ())
