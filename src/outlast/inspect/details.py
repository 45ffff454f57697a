"""Details: all that a person may want to know of one run, looked at, not touched."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from outlast.core.decision import Decision
from outlast.core.numbers import encoded
from outlast.exceptions import ArgumentError, DamagedFile, FileError
from outlast.inspect.outlook import Outlook, outlook
from outlast.inspect.record import Checkpoint
from outlast.inspect.status import Look, Standing, Status, look, reason, refused, sense
from outlast.storage import journal, resume_points
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import read_part, regular_size
from outlast.storage.disk.temporary import is_temporary
from outlast.storage.format import json_text, layout, limits
from outlast.storage.resume_points import ResumePoint

MOST_DECISIONS = 10_000  # the last ones; journal.jsonl has all
_NAMED = {
    layout.LOCK: "the one writer",
    layout.LOCK_WITHOUT_FLOCK: "the one writer",
    layout.IDENTITY: "which run it is",
    layout.RUN: "what was asked for",
    layout.EVENTS: "starts, resumes, ends",
}
_NOT_SHOWN = {Status.NO_RUN, Status.NEWER, Status.OLDER, Status.UNREADABLE}


@dataclass(frozen=True)
class File:
    """A file in a run's folder.

    Args:
        name: in the folder.
        size: in bytes; None if it is no regular file.
        what: what it is.
    """

    name: str
    size: int | None
    what: str


@dataclass(frozen=True)
class Point:
    """A resume point.

    Args:
        number: its place in the order.
        epochs: how many it has saved; None if that cannot be told.
        problem: why it cannot be used; "" if it can.
    """

    number: int
    epochs: int | None
    problem: str = ""


@dataclass(frozen=True)
class Details:
    """One run.

    Args:
        standing: how it stands.
        settings: what was asked for: callbacks, learning rate, seed.
        command: the words of the command that asked.
        versions: of what it was trained with.
        decisions: the last ones, with their reasons.
        checkpoints: the models that are kept, and why.
        files: what the folder holds.
        events: the last starts, resumes and ends.
        points: the resume points, the newest first.
        outlook: what a resume would do; None if it would be refused.
    """

    standing: Standing
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    files: tuple[File, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    points: tuple[Point, ...] = ()
    outlook: Outlook | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            **self.standing.to_json(),
            "settings": self.settings,
            "command": [*self.command],
            "versions": self.versions,
            "decisions": [{**one.to_json(), "sentence": one.sentence} for one in self.decisions],
            "checkpoints": [encoded(vars(one)) for one in self.checkpoints],
            "files": [vars(one) for one in self.files],
            "events": [*self.events],
            "resume_points": [{**vars(one), "problem": one.problem or None} for one in self.points],
            "resume": self.outlook and self.outlook.to_json(),
        }


def details(folder: str) -> Details:
    """All about one run. No error is raised for what it holds: see the status."""
    seen = look(folder)
    if seen.standing.status in _NOT_SHOWN:
        return Details(seen.standing)
    try:
        with sense(folder):
            found = _seen_closely(folder, seen)
            _tell(found)
            return found
    except FileError as error:
        return Details(refused(folder, error))


def _tell(found: Details) -> None:
    """Try whether all of it can be told: what is nested a thousand deep cannot."""
    json.dumps(journal.plain(found.to_json()), allow_nan=False)


def _seen_closely(folder: str, seen: Look) -> Details:
    record, asked, standing = seen.record, _asked(folder), seen.standing
    points = [_point(folder, number, seen) for number in resume_points.numbers(folder)]
    decisions: list[Decision] = []
    checkpoints: list[Checkpoint] = []
    try:
        if record is not None:
            decisions, checkpoints = record.latest(MOST_DECISIONS), record.checkpoints
    except DamagedFile as error:  # the lines that tell them
        problem = standing.problem or str(error)
        standing = replace(standing, status=Status.DAMAGED, problem=problem)
    return Details(
        standing,
        settings=_mapping(asked.get("settings")) or (record.settings if record else {}),
        command=tuple(map(str, asked.get("command") or ())),
        versions={str(name): str(one) for name, one in _mapping(asked.get("versions")).items()},
        decisions=tuple(decisions),
        checkpoints=tuple(checkpoints),
        files=tuple(_files(folder, seen.found.point if seen.found else None)),
        events=tuple(journal.read_end(os.path.join(folder, layout.EVENTS))),
        points=tuple(points),
        outlook=outlook(folder, seen.found, record) if seen.found else None,
    )


def _asked(folder: str) -> Mapping[str, Any]:
    """What ``run.json`` says; nothing if it is damaged, which ``verify`` tells."""
    path = os.path.join(folder, layout.RUN)
    if regular_size(path) is None:
        return {}
    with explained(path, "read"):
        text = read_part(path, 0, limits.JSON_BYTES + 1)
    try:
        return _mapping(json_text.parsed(text, parse_constant=str))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _point(folder: str, number: int, seen: Look) -> Point:
    problem = seen.found.unusable.get(number, "") if seen.found else ""
    try:
        state = resume_points.peek(folder, number).state
    except DamagedFile as error:
        return Point(number, None, reason(folder, str(error)))
    return Point(number, int(state["progress"]["epoch"]), reason(folder, problem))


def _files(folder: str, point: ResumePoint | None) -> list[File]:
    """The files that are the run's."""
    views: dict[str, str] = {}
    if point is not None:
        views |= {name: "log" for name, log in point.logs.items() if log.view}
        views |= {name: f"copy of {blob.name}" for name, blob in point.files.items()}
    ours = {name: what for name in os.listdir(folder) if (what := _what(name))}
    return [File(name, _size(folder, name), what) for name, what in sorted({**ours, **views}.items())]


def _what(name: str) -> str:
    """What the file of this name is to the run; "" if it is nothing to it, or a view."""
    if name in _NAMED:
        return _NAMED[name]
    if layout.resume_number(name) is not None:
        return "resume point"
    if layout.is_blob(name):
        return (
            "old lines of logs" if layout.is_rows(name) else "a part" if layout.is_part(name) else "a model"
        )
    if name.startswith(layout.DAMAGED):
        return "set aside: damaged"
    if name.startswith(layout.FOREIGN):
        return "set aside: of another run"
    if layout.CONFLICT in name:
        return "set aside: not as the run wrote it"
    return "of a write that did not end" if is_temporary(name) else ""


def _size(folder: str, name: str) -> int | None:
    try:
        return regular_size(layout.view_path(folder, name) if os.sep in name else os.path.join(folder, name))
    except ArgumentError:  # a link on its way leads out of the folder
        return None
