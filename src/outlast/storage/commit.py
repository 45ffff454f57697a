"""The commit: six steps in an order that survives a crash between any two.

    a  seal the new blobs (models, immutables of the state, and lines of logs that grew old)
    b  publish the files that are copies of blobs
    c  append to the published files that are logs
    d  seal the next resume point
    e  sync the folder: only now is the bundle safe
    f  delete what neither of the two newest resume points names

What a, b and d write is on the disk before the first of these files gets its name: the content
of all is synced together, which takes as long as that of one.

A crash before ``e`` leaves the resume point before, whole, with all its blobs;
``recovery.py`` puts the published files back to it. The first commit has none before it, so
it syncs the folder between ``c`` and ``d`` too: a power cut then cannot leave a
resume point without its blobs. The state of the folder is a value, ``Committed``:
each commit takes one and returns the next.

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
from types import MappingProxyType
from typing import Any, TypeAlias

from outlast.exceptions import RunLocked, warn
from outlast.storage import identity, immutables, resume_points
from outlast.storage.blobs import Blob, Sealer
from outlast.storage.disk import files
from outlast.storage.disk.direct import Pieces
from outlast.storage.disk.files import Drain, exhaust, sync_names
from outlast.storage.disk.reading import Stamp, names_in, stamp
from outlast.storage.disk.together import Together
from outlast.storage.format import layout
from outlast.storage.format.encoding import Immutable
from outlast.storage.logs import Lines, Log, extend_published
from outlast.storage.resume_points import ResumePoint
from outlast.storage.shown import Shown

# What becomes of a published file: written by a function of the path, made the same as another, a copy of
# a blob that is sealed already, or deleted.
FileChange: TypeAlias = "Callable[[str], object] | str | Blob | None"


@dataclass(frozen=True)
class Bundle:
    """What a commit adds.

    Args:
        files: by name (``"best.keras"``), what becomes of a published file: a function
            that writes it at a path, the name of another to be the same as, or
            None to give it up. Files that are not named stay.
        logs: by log name (``"history.csv"``), its new lines.
    """

    files: Mapping[str, FileChange] = field(default_factory=dict)
    logs: Mapping[str, Lines] = field(default_factory=dict)


@dataclass(frozen=True)
class Committed:
    """What the folder holds.

    Args:
        number: of the newest resume point; 0 if there is none yet.
        files: the blob behind each published file.
        logs: each log.
        kept: names of the blobs that the newest resume point needs.
        given_up: published files that go with the next commit.
        sealed: the blob that holds each ``Immutable`` of the newest state: the same object in
            the next state is not written again.
        run: the identity of the run.
        stamps: of the resume points that this process has sealed, by their numbers, as far as they are
            there: a file that has not been touched since need not be read to know whose it is.
    """

    number: int = 0
    files: Mapping[str, Blob] = field(default_factory=dict)
    logs: Mapping[str, Log] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()
    sealed: Mapping[Immutable, Blob] = field(default_factory=dict)
    run: str = field(default_factory=lambda: layout.new_identity(), compare=False)
    stamps: Mapping[int, Stamp | None] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, point: ResumePoint) -> Committed:
        """What it holds right after ``point`` was committed."""
        return cls(point.number, point.files, point.logs, point.blobs, sealed=point.sealed, run=point.run)

    def remembering(self, before: Committed) -> Committed:
        """The same, with the ``Immutable`` objects that ``before`` knew to be in blobs of today.

        After a save that failed, a recovery reads the state again, into new objects; those of
        the training are still the old ones.
        """
        ours = {blob: value for value, blob in self.sealed.items()}
        known = {blob: value for value, blob in before.sealed.items() if blob in ours}
        return replace(self, sealed={value: blob for blob, value in {**ours, **known}.items()})


def commit(
    folder: str,
    committed: Committed,
    bundle: Bundle,
    state: Any,
    *,
    drain: Drain = exhaust,
    say: Callable[[str], object] = warn,
    shown: Shown | None = None,
) -> Committed:
    """Make a bundle safe: all of a to f.

    Args:
        folder: the run's.
        committed: what the call before, or ``recovery.recover``, returned.
        bundle: what is new.
        state: what the run goes on from, as a draft; or as it is, see ``encoding.encode``.
        drain: does the heavy work, such as ``writer.Writer.drain``.
        say: called with what was wrong in the published files, and is mended.
        shown: the published files that are known to be the run's own; whatever else is found in
            their places steps aside.

    Returns:
        What the folder holds now. When the function returns, the bundle is on the disk.

    Raises:
        FileError: the disk refused. The resume point before is whole. Call
            ``recovery.recover`` before anything else is written.
        RunLocked: the folder is another run's now, or another process went on with
            this run. Nothing of this commit is left.
        CapabilityError: the state holds something that has no place in the format.
        ArgumentError: a file has a name that it may not have.
    """
    drafted = resume_points.draft(state)
    drafts = {
        value: immutables.draft(value, name)
        for name, value in drafted.immutables.items()
        if value not in committed.sealed
    }
    shown = Shown() if shown is None else shown
    with Together() as new:
        sealer = _sealer(folder, committed, bundle, new)
        sealed = dict(committed.sealed)
        for value, one in drafts.items():
            sealed[value] = immutables.seal(sealer, one, drain)
        staged = _staged(sealer, new, committed, bundle, drain, say, shown)
        point = ResumePoint(
            sealer.number,
            drafted,
            staged.files,
            staged.logs,
            {name: sealed[value] for name, value in drafted.immutables.items()},
            drafted.immutables,
            committed.run,
        )
        resume_points.seal(folder, point, drain, new)
        new.sync()
        new.name(but=os.path.join(folder, layout.resume_name(point.number)))
        _show(folder, committed, bundle, say, shown)
        if committed.number == 0:
            sync_names(folder)
        new.name()
    _check_or_undo(sealer)
    sync_names(folder)
    own = {**committed.stamps, point.number: stamp(os.path.join(folder, layout.resume_name(point.number)))}
    kept_points = {point.number, committed.number}
    after = replace(
        Committed.of(point), stamps={number: one for number, one in own.items() if number in kept_points}
    )
    for name in sorted(staged.given_up):
        if found := shown.make_way(folder, name, committed.files.get(name)):
            say(found)
        else:
            files.remove(layout.published_path(folder, name))
    kept = after.kept | committed.kept
    delete_orphans(folder, committed.run, kept_points, kept, newest=point.number, own=own)
    return after


def stage(
    folder: str,
    committed: Committed,
    bundle: Bundle,
    *,
    drain: Drain = exhaust,
    say: Callable[[str], object] = warn,
    shown: Shown | None = None,
) -> Committed:
    """Show a bundle to people: a to c alone. It becomes safe with the next commit.

    Arguments and errors are those of :func:`commit`.
    """
    shown = Shown() if shown is None else shown
    with Together() as new:
        staged = _staged(_sealer(folder, committed, bundle, new), new, committed, bundle, drain, say, shown)
        new.sync()
        new.name()
    _show(folder, committed, bundle, say, shown)
    return staged


def publish(folder: str, name: str, blob: Blob) -> None:
    """Put a copy of the blob where people look for it."""
    with Together() as new:
        _publish(folder, name, blob, new)
        new.sync()
        new.name()


def _publish(
    folder: str, name: str, blob: Blob, new: Together, drain: Drain = exhaust, content: Any = None
) -> None:
    """The same with a file that waits for its name; ``content`` is what made the blob."""
    path = layout.published_path(folder, name)
    files.make_folder_of(path)
    source = new.where(os.path.join(folder, blob.name))
    known = content if isinstance(content, Pieces) else None
    new.replace(path, lambda copy: drain(files.copy(source, copy, known)), needed=blob.size)


def delete_orphans(
    folder: str,
    run: str,
    numbers: Collection[int],
    blobs: Collection[str],
    *,
    newest: int,
    own: Mapping[int, Stamp | None] = MappingProxyType({}),
) -> None:
    """Delete the run's resume points, but for ``numbers``, and its blobs, but for ``blobs``.

    What was made for a resume point after ``newest`` stays: if we slept, a newer writer made it.
    Resume points whose stamps are in ``own`` are known to be the run's; others are read.
    """
    for name in names_in(folder):
        number = layout.resume_number(name)
        if number is None:
            is_ours = layout.is_blob_of(run, name) and layout.blob_number(name) <= newest
            is_orphan = is_ours and name not in blobs
        else:
            is_old = number < newest and number not in numbers
            is_orphan = is_old and (
                _is_untouched(folder, name, own.get(number)) or resume_points.run_of(folder, number) == run
            )
        if is_orphan:
            files.remove(os.path.join(folder, name))


def _is_untouched(folder: str, name: str, known: Stamp | None) -> bool:
    return known is not None and stamp(os.path.join(folder, name)) == known


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


def _sealer(folder: str, committed: Committed, bundle: Bundle, new: Together) -> Sealer:
    """What seals the blobs of the bundle, once it is known that they may be written."""
    for name in bundle.files:
        layout.published_path(folder, name)
    for name, lines in bundle.logs.items():
        if lines.public:
            layout.log_path(folder, name)
    if committed.number == 0 and not os.path.lexists(os.path.join(folder, layout.IDENTITY)):
        identity.give(folder, committed.run)
    check_place(folder, committed.run, committed.number)
    return Sealer(folder, committed.run, committed.number + 1, new)


def _staged(
    sealer: Sealer,
    new: Together,
    committed: Committed,
    bundle: Bundle,
    drain: Drain,
    say: Callable[[str], object],
    shown: Shown,
) -> Committed:
    folder = sealer.folder
    blobs = _sealed_files(sealer, committed, bundle, drain)
    logs = {name: _longer(sealer, committed, name, lines) for name, lines in bundle.logs.items()}
    for name, change in bundle.files.items():
        if change is not None:
            before = committed.files.get(name) or blobs[name]
            if name not in committed.given_up and (found := shown.make_way(folder, name, before)):
                say(found)
            content = bundle.files.get(change) if isinstance(change, str) else change
            _publish(folder, name, blobs[name], new, drain, content)
    return replace(
        committed,
        files=blobs,
        logs={**committed.logs, **logs},
        given_up=(committed.given_up | committed.files.keys() | bundle.files.keys()) - blobs.keys(),
    )


def _show(
    folder: str, committed: Committed, bundle: Bundle, say: Callable[[str], object], shown: Shown
) -> None:
    """Now that the files of the bundle have their names: note that they are ours, and append to the logs."""
    for name, change in bundle.files.items():
        if change is not None:
            shown.note(folder, name)
    for name, lines in bundle.logs.items():
        finding = lines.public and extend_published(folder, name, committed.logs.get(name), lines)
        if finding:
            say(finding)


def _sealed_files(sealer: Sealer, committed: Committed, bundle: Bundle, drain: Drain) -> dict[str, Blob]:
    """The blob behind each published file after the bundle; the new ones are sealed."""
    blobs = dict(committed.files)
    for name, change in bundle.files.items():
        if callable(change):
            blobs[name] = sealer.seal(change, file=name, needed=getattr(change, "needed", None), drain=drain)
    for name, change in bundle.files.items():
        if isinstance(change, str):
            blobs[name] = blobs[change]
        elif isinstance(change, Blob):
            blobs[name] = change
        elif change is None:
            blobs.pop(name, None)
    return blobs


def _longer(sealer: Sealer, committed: Committed, name: str, lines: Lines) -> Log:
    """The log after the bundle; lines that are too many for a resume point are sealed."""

    def seal(old: bytes) -> Blob:
        return sealer.seal(files.Content(old), kind=layout.LINES, needed=len(old))

    log = committed.logs.get(name, Log(lines.public)).after(lines)
    if not log.has_short_tail:
        return log.with_short_tail(seal, seal_all=lines.replaces)
    return replace(log, replacement=seal(lines.data)) if lines.replaces and lines.public else log


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
