"""The commit: six steps in an order that survives a crash between any two.

    a  seal the new blobs (models, and lines of logs that grew old)
    b  publish the views that are copies of blobs
    c  append to the views that are logs
    d  seal the next resume point
    e  sync the folder: only now is the step safe
    f  delete what neither of the two newest resume points names

A crash before ``e`` leaves the resume point before, whole, with all its blobs;
``recovery.py`` puts the views back to it. The state of the folder is a value,
``Truth``: each step takes one and returns the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

from outlast.exceptions import warn
from outlast.storage import resume_points
from outlast.storage.blobs import Blob, seal_blob
from outlast.storage.disk import files
from outlast.storage.disk.calls import explained, sync_folder
from outlast.storage.disk.files import Drain, exhaust
from outlast.storage.format import layout
from outlast.storage.logs import Lines, Log, add_to_view
from outlast.storage.resume_points import ResumePoint

# What becomes of a view: written anew by a function of the path, made the same as another
# view, or given up.
FileChange: TypeAlias = "Callable[[str], object] | str | None"


@dataclass(frozen=True)
class Step:
    """What a commit adds.

    Args:
        files: by view name (``"best.keras"``), what becomes of the view: a function
            that writes it at a path, the name of another view to be the same as, or
            None to give it up. Views that are not named stay.
        logs: by log name (``"history.csv"``), its new lines.
    """

    files: Mapping[str, FileChange] = field(default_factory=dict)
    logs: Mapping[str, Lines] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """What the folder holds.

    Args:
        number: of the newest resume point; 0 if there is none yet.
        files: the blob behind each view.
        logs: each log.
        kept: names of the blobs that the newest resume point needs.
        given_up: views that go with the next commit.
    """

    number: int = 0
    files: Mapping[str, Blob] = field(default_factory=dict)
    logs: Mapping[str, Log] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()

    @classmethod
    def of(cls, point: ResumePoint) -> Truth:
        """The truth right after ``point`` was committed."""
        return cls(point.number, point.files, point.logs, point.blobs)


def commit(
    folder: str,
    truth: Truth,
    step: Step,
    state: Any,
    *,
    drain: Drain = exhaust,
    say: Callable[[str], object] = warn,
) -> Truth:
    """Make a step safe: all of a to f.

    Args:
        folder: the run's.
        truth: what the call before, or ``recovery.recover``, returned.
        step: what is new.
        state: what the run goes on from; see ``encoding.encode`` for what it may hold.
        drain: does the heavy part, such as ``writer.Writer.drain``.
        say: is told what was found wrong in the views, and mended.

    Returns:
        The truth now. When the function returns, the step is on the disk.

    Raises:
        FileError: the disk refused. The resume point before is whole. Call
            ``recovery.recover`` before anything else is written.
        CapabilityError: the state holds something that has no place in the format.
    """
    staged = stage(folder, truth, step, drain=drain, say=say)
    point = ResumePoint(truth.number + 1, state, staged.files, staged.logs)
    resume_points.seal(folder, point, drain)
    with explained(folder, "sync"):
        sync_folder(folder)
    after = Truth.of(point)
    for view in sorted(staged.given_up):
        files.remove(layout.view_path(folder, view))
    delete_orphans(folder, {point.number, truth.number}, after.kept | truth.kept)
    return after


def stage(
    folder: str,
    truth: Truth,
    step: Step,
    *,
    drain: Drain = exhaust,
    say: Callable[[str], object] = warn,
) -> Truth:
    """Show a step to people: a to c alone. It becomes safe with the next commit.

    Arguments and errors are those of :func:`commit`.
    """
    for name in (*step.files, *(name for name, lines in step.logs.items() if lines.view)):
        layout.view_path(folder, name)  # refuse it before anything is written
    blobs = _sealed_blobs(folder, truth, step)
    logs = {name: _longer(folder, truth, name, lines) for name, lines in step.logs.items()}
    for view, change in step.files.items():
        if change is not None:
            publish_view(folder, view, blobs[view], drain)
    for name, lines in step.logs.items():
        finding = lines.view and add_to_view(folder, name, truth.logs.get(name), lines)
        if finding:
            say(finding)
    return replace(
        truth,
        files=blobs,
        logs={**truth.logs, **logs},
        given_up=(truth.given_up | truth.files.keys() | step.files.keys()) - blobs.keys(),
    )


def publish_view(folder: str, view: str, blob: Blob, drain: Drain = exhaust) -> None:
    """Put a copy of the blob where people look for it."""
    path = layout.view_path(folder, view)
    if not os.path.isdir(os.path.dirname(path)):
        files.make_folder(os.path.dirname(path))
    source = os.path.join(folder, blob.name)
    files.replace(path, lambda new: drain(files.copy(source, new)), needed=blob.size)


def delete_orphans(folder: str, numbers: Collection[int], blobs: Collection[str]) -> None:
    """Delete all resume points but ``numbers``, and all blobs but ``blobs``."""
    with explained(folder, "read"):
        names = sorted(os.listdir(folder))
    for name in names:
        number = layout.resume_number(name)
        is_old = number is not None and number not in numbers
        if is_old or (layout.is_blob(name) and name not in blobs):
            files.remove(os.path.join(folder, name))


def _sealed_blobs(folder: str, truth: Truth, step: Step) -> dict[str, Blob]:
    """The blob behind each view after the step; the new ones are sealed."""
    blobs = dict(truth.files)
    for view, change in step.files.items():
        if callable(change):
            needed = getattr(change, "needed", None)
            blobs[view] = seal_blob(folder, truth.number + 1, view, change, needed=needed)
    for view, change in step.files.items():
        if isinstance(change, str):
            blobs[view] = blobs[change]
        elif change is None:
            blobs.pop(view, None)
    return blobs


def _longer(folder: str, truth: Truth, name: str, lines: Lines) -> Log:
    """The log after the step; lines that are too many for a resume point are sealed."""

    def seal(old: bytes) -> Blob:
        write = partial(files.write_bytes, data=old)
        return seal_blob(folder, truth.number + 1, name, write, rows=True, needed=len(old))

    before = truth.logs.get(name, Log(lines.view))
    return before.after(lines).spilled(seal, wholly=lines.whole)
