"""Details: everything that ``outlast show`` tells of one run. Nothing is changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from outlast.core.decision import Decision
from outlast.core.numbers import encoded
from outlast.core.run_state import RunState
from outlast.exceptions import ArgumentError, DamagedFile
from outlast.inspect.saved_run import Checkpoint
from outlast.inspect.status import Look, Outlook, RunStatus, Status, look, look_closer
from outlast.inspect.wording import reason
from outlast.storage import journal, resume_points
from outlast.storage.disk.reading import beginning, regular_size
from outlast.storage.disk.temporary import is_temporary
from outlast.storage.format import json_text, layout, limits
from outlast.storage.resume_points import ResumePoint

MOST_DECISIONS = 10_000  # the last ones; all of them are in journal.jsonl
_BLOBS = {layout.MODEL: "a model", layout.LINES: "old lines of logs", layout.IMMUTABLE: "an immutable"}
_KNOWN_FILES = {
    layout.LOCK: "who has the run open",
    layout.LOCK_WITHOUT_FLOCK: "who has the run open, where there is no flock",
    layout.IDENTITY: "which run it is",
    layout.RUN: "settings",
    layout.RESULTS: "what was logged after the training",
    layout.EVENTS: "starts, resumes, ends",
}


@dataclass(frozen=True)
class File:
    """A file in a run's folder.

    Args:
        name: its path in the folder.
        size: in bytes; None if it is not a regular file.
        what: what it is to the run.
    """

    name: str
    size: int | None
    what: str


@dataclass(frozen=True)
class Point:
    """A resume point.

    Args:
        number: they are numbered from 1 in the order in which they are written.
        epochs: how many whole epochs it holds; None if unknown.
        batch: how many batches of the epoch after these it holds; None: it was made at an epoch's end.
        problem: why it cannot be used; "" if it can.
    """

    number: int
    epochs: int | None
    batch: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Details:
    """Everything about one run.

    Args:
        run: its status.
        settings: of the last start: callbacks, learning rate, seed.
        command: of the last start, word by word.
        versions: of the packages that it was trained with.
        decisions: the last ones.
        checkpoints: the models that are kept, and why.
        files: the run's files.
        events: the last starts, resumes and ends.
        points: the resume points, the newest first.
        outlook: what a resume would do; None if it would be refused.
    """

    run: RunStatus
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
        """The object that ``outlast show --json`` prints."""
        return {
            **self.run.to_json(),
            "settings": self.settings,
            "command": [*self.command],
            "versions": self.versions,
            "decisions": [{**one.to_json(), "sentence": one.sentence} for one in self.decisions],
            "checkpoints": [encoded(vars(one)) for one in self.checkpoints],
            "files": [vars(one) for one in self.files],
            "events": [*self.events],
            "resume_points": [{**vars(one), "problem": one.problem or None} for one in self.points],
            "resume": self.outlook and vars(self.outlook),
        }


def details(folder: str) -> Details:
    """Everything about the run in ``folder``. Damage is not an error here: it is a status."""
    seen = look(folder)
    return look_closer(seen, partial(_seen_closely, folder, seen), Details)


def _seen_closely(folder: str, seen: Look) -> Details:
    saved, requested, run = seen.saved, _requested(folder), seen.run
    points = [_point(folder, number, seen) for number in resume_points.numbers(folder)]
    decisions, checkpoints = [], []
    try:
        if saved is not None:
            decisions, checkpoints = saved.latest(MOST_DECISIONS), saved.checkpoints
    except DamagedFile as error:  # of the log lines that hold them
        run = replace(run, status=Status.DAMAGED, problem=run.problem or str(error))
    found = Details(
        run,
        settings=_mapping(requested.get("settings")) or (saved.settings if saved else {}),
        command=tuple(map(str, requested.get("command") or ())),
        versions={str(name): str(one) for name, one in _mapping(requested.get("versions")).items()},
        decisions=tuple(decisions),
        checkpoints=tuple(checkpoints),
        files=tuple(_files(folder, seen.found.point if seen.found else None)),
        events=tuple(journal.read_end(os.path.join(folder, layout.EVENTS))),
        points=tuple(points),
        outlook=seen.outlook(),
    )
    # Raises if it cannot be printed: made-up values may be nested a thousand levels deep.
    json.dumps(encoded(found.to_json()), allow_nan=False)
    return found


def _requested(folder: str) -> Mapping[str, Any]:
    """What ``run.json`` says; nothing if it is damaged, which ``verify`` reports."""
    path = os.path.join(folder, layout.RUN)
    text = beginning(path, limits.JSON_BYTES + 1)
    if text is None:
        return {}
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
        return Point(number, None, problem=reason(folder, str(error)))
    position = RunState.from_state(state).position
    batch = None if position.batch is None else position.batch + 1
    return Point(number, position.next_epoch, batch, reason(folder, problem))


def _files(folder: str, point: ResumePoint | None) -> list[File]:
    """The run's files in its folder; other people's files are left out."""
    published: dict[str, str] = {}
    if point is not None:
        published |= {name: "log" for name, log in point.logs.items() if log.public}
        published |= {name: f"copy of {blob.name}" for name, blob in point.files.items()}
    ours = {name: what for name in os.listdir(folder) if (what := _what(name))}
    return [File(name, _size(folder, name), what) for name, what in sorted({**ours, **published}.items())]


def _what(name: str) -> str:
    """What a file with this name is to the run; "" for a file for people, or another's."""
    if name in _KNOWN_FILES:
        return _KNOWN_FILES[name]
    if layout.resume_number(name) is not None:
        return "resume point"
    if kind := layout.blob_kind(name):
        return _BLOBS[kind]
    if name.startswith(layout.DAMAGED):
        return "set aside: damaged"
    if name.startswith(layout.FOREIGN):
        return "set aside: of another run"
    if layout.CONFLICT in name:
        return "set aside: changed from outside"
    return "unfinished write" if is_temporary(name) else ""


def _size(folder: str, name: str) -> int | None:
    try:
        return regular_size(
            layout.published_path(folder, name) if os.sep in name else os.path.join(folder, name)
        )
    except ArgumentError:  # its path leaves the folder through a link
        return None
