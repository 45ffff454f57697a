"""What a script's runs hold in the end, and what differs from another time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outlast.core.run_state import RunState
from outlast.run.comparison import Difference, Tree, by_how_much, differences, leaves
from outlast.run.rehearsal import REPORT, RUNS, Report
from outlast.run.resume_check import compared
from outlast.storage import journal, resume_points
from outlast.storage.format import layout
from outlast.storage.resume_points import ResumePoint

_LOGS = (layout.ROWS, layout.JOURNAL)
_MEASURED = "/state/elapsed"  # the time of a TimeLimit


@dataclass(frozen=True)
class Outcome:
    """What came of a script.

    Args:
        runs: what each of its runs holds, by the name of its folder.
        report: what happened in the last process.
        resumed: where the last process went on, in words.
    """

    runs: Mapping[str, Tree]
    report: Report
    resumed: str


def outcome(folder: str) -> Outcome:
    """What a script has left in the folder of its rehearsal."""
    place = os.path.join(folder, RUNS)
    names = sorted(filter(_is_in_use, os.listdir(place))) if os.path.isdir(place) else []
    states = {name: state for name in names if (state := _state(os.path.join(place, name))) is not None}
    runs = {name: _held(os.path.join(place, name), state) for name, state in states.items()}
    resumed = [_resumed(os.path.join(place, name), state) for name, state in states.items()]
    return Outcome(runs, _report(folder), ", ".join(dict.fromkeys(filter(None, resumed))))


def _is_in_use(name: str) -> bool:
    """Whether a run has its folder still, and was not set aside by one with ``resume="never"``."""
    return re.fullmatch(r".*-[0-9a-f]{8}", name, re.DOTALL) is not None


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
            whose = "this time" if name in other.runs else "the first time"
            return f"a run: {run_name(name)} is there only {whose}", ""
        found = [one for one in _differences(first, other, name) if one.name not in ignored]
        if found:
            how = by_how_much(first.runs[name], other.runs[name], found[0].name)
            return f"{found[0].kind.name}: {found[0].name} ({how})", found[0].kind.cause
    return "", ""


def run_name(folder: str) -> str:
    """What the script calls a run that is kept in ``folder``.

    Example:
        >>> run_name("digits-0a1b2c3d")
        'digits'
    """
    return folder.rpartition("-")[0]


def _differences(first: Outcome, other: Outcome, name: str) -> list[Difference]:
    found = differences(leaves(first.runs[name]), leaves(other.runs[name]))
    return [one for one in found if not one.name.endswith(_MEASURED)]


def _state(folder: str) -> tuple[ResumePoint, RunState] | None:
    numbers = resume_points.numbers(folder)
    if not numbers:
        return None
    point = resume_points.load(folder, numbers[0])
    return point, RunState.from_state(point.state)


def _held(folder: str, newest: tuple[ResumePoint, RunState]) -> Tree:
    point, state = newest
    lines = {name: point.logs[name].content(folder) if name in point.logs else b"" for name in _LOGS}
    return compared(state, lines)


def _resumed(folder: str, newest: tuple[ResumePoint, RunState]) -> str:
    """Where the last process that opened the run went on."""
    events = journal.read_end(os.path.join(folder, layout.EVENTS))
    opened: list[Mapping[str, Any]] = [one for one in events if one.get("event") in ("start", "resume")]
    if not opened:
        return ""
    last = opened[-1]
    if last["event"] == "start":
        return "the beginning"
    _, state = newest
    inside = f" after batch {last['batch']}" if isinstance(last.get("batch"), int) else ""
    return "the end" if last["epoch"] >= state.position.next_epoch else f"epoch {last['epoch'] + 1}{inside}"


def _report(folder: str) -> Report:
    """What the last process that ended has said; nothing if none did."""
    path = os.path.join(folder, REPORT)
    if not os.path.exists(path):
        return Report()
    with open(path, encoding="utf-8") as file:
        return Report(**json.load(file))
