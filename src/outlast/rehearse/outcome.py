"""What a script's runs hold in the end, and what differs from another time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outlast.core.run_state import RunState
from outlast.run.comparison import Difference, Tree, by_how_much, differences, leaves
from outlast.run.rehearsal import COUNTS, NOTES, RUNS
from outlast.run.resume_check import compared
from outlast.storage import journal, resume_points
from outlast.storage.format import layout

_LOGS = (layout.ROWS, layout.JOURNAL)
_MEASURED = "/state/elapsed"  # the time of a TimeLimit


@dataclass(frozen=True)
class Outcome:
    """What came of a script.

    Args:
        runs: what each of its runs holds, by the name of its folder.
        counts: what happened in the last process.
        resumed: where the last process went on, in words.
        notes: what the runs of the last process said that they cannot resume exactly.
    """

    runs: Mapping[str, Tree]
    counts: Mapping[str, int]
    resumed: str
    notes: tuple[str, ...]


def outcome(folder: str) -> Outcome:
    """What a script has left in the folder of its rehearsal."""
    place = os.path.join(folder, RUNS)
    names = sorted(os.listdir(place)) if os.path.isdir(place) else []
    runs = {name: tree for name in names if (tree := _held(os.path.join(place, name))) is not None}
    resumed = [_resumed(os.path.join(place, name)) for name in runs]
    counts, notes = _read(folder, COUNTS) or {}, _read(folder, NOTES) or ()
    return Outcome(runs, counts, ", ".join(dict.fromkeys(filter(None, resumed))), tuple(notes))


def unused_generators(first: Outcome, again: Outcome) -> frozenset[str]:
    """Names of random state that differs between two times that nobody stopped, and changes nothing else.

    A generator that the script neither seeds nor uses has another state in each process.
    """
    found = [one for name in first.runs if name in again.runs for one in _differences(first, again, name)]
    if any(not one.name.startswith("state/random/") for one in found):
        return frozenset()
    return frozenset(one.name for one in found)


def difference(first: Outcome, other: Outcome, ignored: frozenset[str] = frozenset()) -> tuple[str, str]:
    """What differs first, but for what is ``ignored``, and the likely cause; "" where there is none."""
    for name in {**first.runs, **other.runs}:
        if name not in first.runs or name not in other.runs:
            return f"the run {name.rpartition('-')[0]} is there in one of them only", ""
        found = [one for one in _differences(first, other, name) if one.name not in ignored]
        if found:
            how = by_how_much(first.runs[name], other.runs[name], found[0].name)
            return f"{found[0].kind.name}: {found[0].name} ({how})", found[0].kind.cause
    return "", ""


def _differences(first: Outcome, other: Outcome, name: str) -> list[Difference]:
    found = differences(leaves(first.runs[name]), leaves(other.runs[name]))
    return [one for one in found if not one.name.endswith(_MEASURED)]


def _held(folder: str) -> Tree | None:
    numbers = resume_points.numbers(folder)
    if not numbers:
        return None
    point = resume_points.load(folder, numbers[0])
    lines = {name: point.logs[name].content(folder) if name in point.logs else b"" for name in _LOGS}
    return compared(RunState.from_state(point.state), lines)


def _resumed(folder: str) -> str:
    """Where the last process that opened the run went on."""
    events = journal.read_end(os.path.join(folder, layout.EVENTS))
    opened: list[Mapping[str, Any]] = [one for one in events if one.get("event") in ("start", "resume")]
    if not opened:
        return ""
    last = opened[-1]
    return f"epoch {last['epoch'] + 1}" if last["event"] == "resume" else "the beginning"


def _read(folder: str, name: str) -> Any:
    """What a process that ended has kept in a file of its folder; None if there is no such file."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)
