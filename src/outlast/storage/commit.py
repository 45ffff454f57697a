"""The commit: six steps in an order that survives a crash between any two.

    a  seal the new blobs (models, parts of the state, and lines of logs that grew old)
    b  publish the views that are copies of blobs
    c  append to the views that are logs
    d  seal the next resume point
    e  sync the folder: only now is the step safe
    f  delete what neither of the two newest resume points names

A crash before ``e`` leaves the resume point before, whole, with all its blobs;
``recovery.py`` puts the views back to it. The first commit has none before it, so
it syncs the folder between ``c`` and ``d`` too: a power cut then cannot leave a
resume point without its blobs. The state of the folder is a value, ``Truth``:
each step takes one and returns the next.

Before ``a`` and after ``d`` a commit looks whether the folder is still its own. A
writer may have slept, in a process that was stopped or on a lock that does not
hold, while the folder was set aside and made again, or while another process went
on with the run. It then removes what it sealed, and ends.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from outlast.exceptions import RunLocked, warn
from outlast.storage import identity, parts, resume_points
from outlast.storage.blobs import Blob, Sealer
from outlast.storage.disk import files
from outlast.storage.disk.calls import explained, sync_folder
from outlast.storage.disk.files import Drain, exhaust
from outlast.storage.format import layout
from outlast.storage.format.document import Draft
from outlast.storage.format.encoding import Immutable
from outlast.storage.logs import Lines, Log, add_to_view
from outlast.storage.resume_points import ResumePoint

# What becomes of a view: written by a function of the path, made the same as another view, a copy of
# a blob that is sealed already, or deleted.
FileChange: TypeAlias = "Callable[[str], object] | str | Blob | None"


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
        sealed: the blob that holds each ``Immutable`` of the newest state: the same object in
            the next state is not written again.
        run: the identity of the run.
    """

    number: int = 0
    files: Mapping[str, Blob] = field(default_factory=dict)
    logs: Mapping[str, Log] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()
    sealed: Mapping[Immutable, Blob] = field(default_factory=dict)
    run: str = field(default_factory=lambda: layout.new_identity(), compare=False)

    @classmethod
    def of(cls, point: ResumePoint) -> Truth:
        """The truth right after ``point`` was committed."""
        return cls(point.number, point.files, point.logs, point.blobs, sealed=point.sealed, run=point.run)

    def remembering(self, before: Truth) -> Truth:
        """The same, with the ``Immutable`` objects that ``before`` knew to be in blobs of today.

        After a save that failed, a recovery reads the state again, into new objects; those of
        the training are still the old ones.
        """
        ours = {blob: part for part, blob in self.sealed.items()}
        known = {blob: part for part, blob in before.sealed.items() if blob in ours}
        return replace(self, sealed={part: blob for blob, part in {**ours, **known}.items()})


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
        state: what the run goes on from, as a draft; or as it is, see ``encoding.encode``.
        drain: does the heavy part, such as ``writer.Writer.drain``.
        say: called with what was wrong in the views, and is mended.

    Returns:
        The truth now. When the function returns, the step is on the disk.

    Raises:
        FileError: the disk refused. The resume point before is whole. Call
            ``recovery.recover`` before anything else is written.
        RunLocked: the folder is another run's now, or another process went on with
            this run. Nothing of this commit is left.
        CapabilityError: the state holds something that has no place in the format.
        ArgumentError: a view has a name that it may not have.
    """
    drafted = state if isinstance(state, Draft) else resume_points.draft(state)
    new = {part: parts.draft(part, name) for name, part in drafted.parts.items() if part not in truth.sealed}
    sealer = _sealer(folder, truth, step)
    sealed = {**truth.sealed, **{part: parts.seal(sealer, one, drain) for part, one in new.items()}}
    staged = _staged(sealer, truth, step, drain, say)
    point = ResumePoint(
        sealer.number,
        state,
        staged.files,
        staged.logs,
        {name: sealed[part] for name, part in drafted.parts.items()},
        drafted.parts,
        truth.run,
    )
    if truth.number == 0:
        _make_names_safe(folder)
    resume_points.seal(folder, point, drain, drafted)
    _check_or_undo(sealer)
    with explained(folder, "sync"):
        sync_folder(folder)
    after = Truth.of(point)
    for view in sorted(staged.given_up):
        files.remove(layout.view_path(folder, view))
    kept = after.kept | truth.kept
    delete_orphans(folder, truth.run, {point.number, truth.number}, kept, newest=point.number)
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
    return _staged(_sealer(folder, truth, step), truth, step, drain, say)


def publish_view(folder: str, view: str, blob: Blob, drain: Drain = exhaust) -> None:
    """Put a copy of the blob where people look for it."""
    path = layout.view_path(folder, view)
    if not os.path.isdir(os.path.dirname(path)):
        files.make_folder(os.path.dirname(path))
    source = os.path.join(folder, blob.name)
    files.replace(path, lambda new: drain(files.copy(source, new)), needed=blob.size)


def delete_orphans(
    folder: str, run: str, numbers: Collection[int], blobs: Collection[str], *, newest: int
) -> None:
    """Delete the run's resume points, but for ``numbers``, and its blobs, but for ``blobs``.

    What was made for a resume point after ``newest`` stays: if we slept, a newer writer made it.
    """
    with explained(folder, "read"):
        names = sorted(os.listdir(folder))
    for name in names:
        number = layout.resume_number(name)
        if number is None:
            is_ours = layout.is_blob_of(run, name) and layout.blob_number(name) <= newest
            is_orphan = is_ours and name not in blobs
        else:
            is_old = number < newest and number not in numbers
            is_orphan = is_old and resume_points.run_of(folder, number) == run
        if is_orphan:
            files.remove(os.path.join(folder, name))


def check_place(folder: str, run: str, number: int) -> None:
    """Look whether the folder is still that of ``run``, and ``number`` its newest resume point.

    Raises:
        RunLocked: it is not, so that nothing may be written there.
    """
    if identity.read(folder) != run:
        raise RunLocked(
            f"{folder} was set aside or replaced while this run was writing in it. "
            "What this run had saved went with the old folder.",
            path=folder,
        )
    for newer in resume_points.numbers(folder):
        if newer <= number:
            break
        if resume_points.run_of(folder, newer) == run:
            raise RunLocked(
                f"Another process has gone on with the run in {folder}: resume point {newer} is there, "
                f"and this one knows of {number}. Nothing more is saved here.",
                path=folder,
                errno=errno.EEXIST,
            )


def _sealer(folder: str, truth: Truth, step: Step) -> Sealer:
    """What seals the blobs of the step, once it is known that they may be written."""
    for name in step.files:
        layout.view_path(folder, name)
    for name, lines in step.logs.items():
        if lines.view:
            layout.log_path(folder, name)
    if truth.number == 0 and not os.path.lexists(os.path.join(folder, layout.IDENTITY)):
        identity.give(folder, truth.run)
    check_place(folder, truth.run, truth.number)
    return Sealer(folder, truth.run, truth.number + 1)


def _staged(sealer: Sealer, truth: Truth, step: Step, drain: Drain, say: Callable[[str], object]) -> Truth:
    folder = sealer.folder
    blobs = _sealed_files(sealer, truth, step)
    logs = {name: _longer(sealer, truth, name, lines) for name, lines in step.logs.items()}
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


def _sealed_files(sealer: Sealer, truth: Truth, step: Step) -> dict[str, Blob]:
    """The blob behind each view after the step; the new ones are sealed."""
    blobs = dict(truth.files)
    for view, change in step.files.items():
        if callable(change):
            blobs[view] = sealer.seal(change, view=view, needed=getattr(change, "needed", None))
    for view, change in step.files.items():
        if isinstance(change, str):
            blobs[view] = blobs[change]
        elif isinstance(change, Blob):
            blobs[view] = change
        elif change is None:
            blobs.pop(view, None)
    return blobs


def _longer(sealer: Sealer, truth: Truth, name: str, lines: Lines) -> Log:
    """The log after the step; lines that are too many for a resume point are sealed."""

    def seal(old: bytes) -> Blob:
        return sealer.seal(files.Content(old), kind=layout.LINES, needed=len(old))

    log = truth.logs.get(name, Log(lines.view)).after(lines)
    if not log.has_short_tail:
        return log.with_short_tail(seal, seal_all=lines.whole)
    return replace(log, published=seal(lines.data)) if lines.whole and lines.view else log


def _make_names_safe(folder: str) -> None:
    """Sync the names of the blobs before the first resume point gets its own."""
    with explained(folder, "sync"):
        sync_folder(folder)


def _check_or_undo(sealer: Sealer) -> None:
    """Look once more, now that the resume point has its name; if the folder is not ours, remove it."""
    folder, run, number = sealer.folder, sealer.run, sealer.number
    try:
        check_place(folder, run, number)
    except RunLocked:
        if resume_points.run_of(folder, number) == run:
            files.remove(os.path.join(folder, layout.resume_name(number)))
        for name in sealer.names:
            files.remove(os.path.join(folder, name))
        raise
