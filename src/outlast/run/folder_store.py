"""FolderStore: the open run folder: its lock, its background writer, its committed state.

The training thread hands over a bundle and goes on; the writer commits it. One bundle is under way at a time.
What fails is kept in ``_unsafe`` and is part of the next bundle, so that nothing is lost while the disk is
full and ``on_save_error="warn"``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, reduce
from typing import Any

from outlast.core.numbers import encoded
from outlast.core.run_state import START, Position, RunState
from outlast.exceptions import CapabilityError, DamagedFile, FileError, RunLocked, UsageError, warn
from outlast.frameworks.base import PACKAGES
from outlast.inspect.checks import Verdict, of_settings
from outlast.run.buffers import Buffers
from outlast.run.stores import Store
from outlast.storage import blobs, commit, journal, recovery, resume_points
from outlast.storage import results as run_results
from outlast.storage.blobs import Blob
from outlast.storage.commit import Bundle, Committed
from outlast.storage.disk import files, lock
from outlast.storage.disk.calls import explained
from outlast.storage.disk.writer import Writer
from outlast.storage.format import json_text, layout
from outlast.storage.format.document import Draft
from outlast.storage.format.reader import NONSENSE
from outlast.storage.logs import Lines
from outlast.storage.resume_points import ResumePoint
from outlast.storage.shown import Shown

_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "LOCAL_RANK")  # what launchers set

# The open stores of this process, by their folders' real paths.
_open: weakref.WeakValueDictionary[str, FolderStore] = weakref.WeakValueDictionary()


class FolderStore(Store):
    """Opens a run's folder, holds it, and commits steps to it, in the background.

    Args:
        folder: the run's; made if it is not there.
        say: prints what was mended in the folder while training.
        on_save_error: ``"raise"``, or ``"warn"`` and try again.

    Attributes:
        findings: what was wrong with the folder, as phrases.
        committed: what is known to be on the disk; None before the first commit.
    """

    def __init__(self, folder: str, *, say: Callable[[str], object], on_save_error: str = "raise") -> None:
        self.folder = folder
        self._say, self._on_save_error = say, on_save_error
        self._last = Committed()
        self._unsafe: list[tuple[Position, Bundle]] = []  # not known to be on the disk, in their order
        self._failed: BaseException | None = None  # why the folder is not in order since
        # Models of the epoch under way that people can find already; None if one was deleted.
        self._shown = Bundle()  # what people can see, and no resume point has yet
        self._public = Shown()
        self._state: Draft | None = None  # of the last bundle, its arrays copied
        self._has_saved_inside = False  # an epoch, since its beginning
        self._buffers = Buffers()
        self._writer = Writer()
        self._lock: lock.Lock | None = None

    def open(self, resume: str) -> RunState | None:
        """Take the folder, mend it, and return what it holds.

        Raises:
            RunLocked: another process has the folder.
            FileError: it cannot be written, or ``resume="must"`` and there is nothing.
            DamagedFile, UnknownFormat: nothing in it can be used.
        """
        self.close()
        if resume == "must" and not _has_resume_points(self.folder):
            raise FileError(
                f"There is nothing to resume in {self.folder}. Use resume='auto' to begin anew.",
                path=self.folder,
            )
        self._take_over()
        if resume == "never":
            _set_aside(self.folder)
        files.make_folder(self.folder)
        try:
            self._lock = _locked(self.folder)
            state = self._recovered(begin=resume == "never")
        except BaseException:
            lock.give_up(self.folder)
            raise
        self._unsafe, self._shown, self._failed, self._writer = [], Bundle(), None, Writer()
        self.is_open = True
        _open[os.path.realpath(self.folder)] = self
        return state

    def _recovered(self, *, begin: bool = False) -> RunState | None:
        recovered = recovery.recover(self.folder, begin=begin)
        state = None if recovered.state is None else self._run_state(recovered.state)
        self._last, self.findings = recovered.committed, recovered.findings
        self._public = Shown()
        for name in (*self._last.files, *recovered.unfinished):
            self._public.note(self.folder, name)
        self.committed = None if state is None else state.position
        return state

    def go_back(self) -> RunState | None:
        """Drop the newest resume point for the one before, with the lines of the logs that it added."""
        numbers = self.points()
        if len(numbers) < 2:
            return None
        files.remove(os.path.join(self.folder, layout.resume_name(numbers[0])))
        findings = self.findings
        state = self._recovered()
        self.findings = findings  # that the logs are longer than what is left was meant
        return state

    def _run_state(self, state: Any) -> RunState:
        try:
            return RunState.of_a_run(state)
        except NONSENSE as error:
            raise DamagedFile(
                f"The newest resume point in {self.folder} makes no sense ({error!r:.100}).", path=self.folder
            ) from error

    def _take_over(self) -> None:
        """Let a store of this process that was left open finish what it was writing."""
        if former := _open.pop(os.path.realpath(self.folder), None):
            self._saying_why(former._writer.close)

    def wait_for_former(self) -> None:
        """Wait for what a store of this process that was left open is writing."""
        if former := _open.get(os.path.realpath(self.folder)):
            self._saying_why(former._writer.flush)

    def _saying_why(self, end: Callable[[], object]) -> None:
        try:
            end()
        except FileError as error:  # nobody will ask the former one any more
            self._say(f"outlast: the last save before this start failed: {error}")

    @property
    def number(self) -> int:  # type: ignore[override]
        """Of the newest resume point."""
        return self._last.number

    @property
    def files(self) -> Collection[str]:  # type: ignore[override]
        """Names of the models that are kept."""
        return self._last.files.keys()

    def model(self, name: str) -> str:
        """A file that holds the kept model ``name``, verified now.

        Raises:
            DamagedFile: its bytes are lost.
        """
        return blobs.intact(self.folder, name, self._last.files[name])

    def points(self) -> list[int]:
        """The numbers of the run's two newest resume points, as far as they are there, the newest first."""
        there = resume_points.numbers(self.folder)
        ours = [number for number in there if resume_points.run_of(self.folder, number) == self._last.run]
        return ours[: resume_points.KEPT] if ours[:1] == [self.number] else []

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The last ones of a kind, as far as they can be read."""
        events = journal.read_end(os.path.join(self.folder, layout.EVENTS))
        return [event for event in events if event.get("event") == kind]

    def load(self, number: int) -> ResumePoint:
        """One of :meth:`points`, with all that it names.

        Raises:
            DamagedFile: something of it is lost.
        """
        point = resume_points.load(self.folder, number)
        if len(point.values) < len(point.immutables):
            raise DamagedFile(f"Kept weights of resume point {number} are lost.", path=self.folder)
        return point

    def made(self, number: int) -> float:
        """When one of :meth:`points` was made, as its file says."""
        path = os.path.join(self.folder, layout.resume_name(number))
        with explained(path, "read"):
            return os.stat(path).st_mtime

    def log(self, name: str) -> bytes | None:
        """A log as it is after the last bundle; None if there is none of that name."""
        self.settle()
        unsafe = self._unsafe_bundle().logs.get(name, Lines(b""))
        log = self._last.logs.get(name)
        if log is None and not unsafe.data:
            return None
        before = b"" if log is None or unsafe.replaces else log.content(self.folder)
        return before + unsafe.data

    def show(self, bundle: Bundle) -> None:
        """Put models that were saved inside an epoch, and rows, where people find them, in the background."""
        self._check_lock()
        self.settle()
        self._unsafe.append((START, bundle))  # until it is shown, it is part of the next commit
        if len(self._unsafe) == 1:  # else something failed, and the commit will try again
            self._writer.submit(partial(self._carry_out_show, bundle))

    def _carry_out_show(self, bundle: Bundle) -> None:
        self._last = commit.stage(
            self.folder, self._last, bundle, drain=self._writer.drain, say=self._say, shown=self._public
        )
        self._unsafe = [(position, one) for position, one in self._unsafe if one is not bundle]
        files = {name: self._last.files.get(name) for name in bundle.files}
        self._shown = merged(self._shown, Bundle(files, bundle.logs))

    def commit(self, bundle: Bundle, collect: Callable[[], RunState]) -> None:
        """Collect the state, copy it, and make the bundle safe in the background.

        One bundle is under way at a time: the next waits for it here, and its errors are raised here;
        or, with ``on_save_error="warn"``, are said, and what was lost is part of this bundle.

        Raises:
            UsageError: the store is closed, or a newer Run has taken the folder.
        """
        self._check_lock()
        self.settle()
        state = collect()
        tree = state.to_state()
        if state.position.batch is None or not self._has_saved_inside:
            self._check_readable(tree)  # those that follow inside an epoch have the same form
            self._has_saved_inside = state.position.batch is not None
        self._unsafe.append((state.position, bundle))
        draft = resume_points.draft(tree)
        copied = self._buffers.copy(draft.arrays)
        self._state = replace(draft, arrays=copied.arrays, memory=copied.memory)
        self._submit()

    def _check_readable(self, tree: Any) -> None:
        try:
            RunState.of_a_run(tree)  # whoever reads it asks the same
        except NONSENSE as error:
            raise CapabilityError(f"{self.folder} could be saved, but not read again: {error}.") from error

    @property
    def is_writing(self) -> bool:
        """Whether a bundle is under way, for which the next would wait."""
        return self._writer.is_busy

    def _check_lock(self) -> None:
        if self._lock is None:
            raise UsageError(f"This run may no longer write in {self.folder}: it is closed.")
        self._lock.check()

    def _submit(self) -> None:
        bundle, position = self._unsafe_bundle(), self._unsafe[-1][0]
        self._writer.submit(partial(self._carry_out, bundle, self._state, position))

    def _carry_out(self, bundle: Bundle, state: Any, position: Position) -> None:
        if self._failed:  # a recovery too: what the bundle before left is still in the way
            raise self._failed
        self._last = commit.commit(
            self.folder,
            self._last,
            bundle,
            state,
            drain=self._writer.drain,
            say=self._say,
            shown=self._public,
        )
        self._is_safe(position)

    def _is_safe(self, position: Position) -> None:
        """All up to there is on the disk."""
        if any(one == position for one, _ in self._unsafe):
            self.committed, self._shown = position, Bundle()
            self._unsafe = [(one, bundle) for one, bundle in self._unsafe if one > position]

    def _unsafe_bundle(self) -> Bundle:
        return reduce(merged, (bundle for _, bundle in self._unsafe), Bundle())

    def settle(self) -> None:
        """Wait for the bundle under way; if it failed, put the folder in order for the next."""
        failure = self._failure()
        if self._failed:
            self._recover()
        if failure:
            again = f" and tries again; {self._unsaved()}" if self._unsafe else ""
            warn(f"{failure} Training goes on{again}.")

    def _failure(self) -> FileError | None:
        """Wait for the bundle under way; returns why it failed, if that is only to be warned of."""
        try:
            self._writer.flush()
        except FileError as error:
            self._failed = error
            if self._on_save_error == "raise" or isinstance(error, RunLocked):
                raise
            return error
        except BaseException as error:
            self._failed = error
            raise
        return None

    def _recover(self) -> None:
        """Put the folder in order; models that were shown are part of the next commit then."""
        try:
            found = recovery.recover(self.folder, self._last)
        except FileError as error:
            self._failed = error  # the next commit will say so
            return
        self._failed = None
        shown = {name: blob for name, blob in self._shown.files.items() if isinstance(blob, Blob)}
        self._last = replace(found.committed, files={**found.committed.files, **shown})
        self._unsafe.insert(0, (START, self._shown))
        self._shown = Bundle(self._shown.files)  # the lines are in the next bundle
        if found.state is not None:  # the bundle may be there after all
            self._is_safe(self._run_state(found.state).position)
        self._unsafe = [(position, bundle) for position, bundle in self._unsafe if bundle != Bundle()]

    def _unsaved(self) -> str:
        epochs = [position.epoch + 1 for position, _ in self._unsafe if position != START]
        if not epochs:
            return "the models that were saved in this epoch are in memory only"
        first, last = epochs[0], epochs[-1]
        named = f"epoch {first} is" if first == last else f"epochs {first} to {last} are"
        return f"{named} in memory only"

    def flush(self) -> None:
        """Wait until the last bundle is on the disk; raise what went wrong."""
        failure = self._failure()
        if failure is not None:
            raise failure

    def finish(self) -> None:
        """At the training's end: wait for the last bundle, and try once more if it failed.

        Raises:
            FileError: it failed, with ``on_save_error="raise"``.
        """
        self.settle()
        if not self._unsafe:
            return
        self._submit()
        try:
            self._writer.flush()
        except FileError as error:
            self._recover()
            unsaved = f", and {self._unsaved()}" if self._unsafe else ""
            warn(f"{error} The training has ended{unsaved}.")

    def describe(self, settings: Mapping[str, Any], *, anew: bool = True) -> None:
        """Write ``run.json``: what was asked for, by which command, with which versions."""
        if not anew and of_settings(self.folder).verdict is Verdict.WHOLE:
            return
        content = {"settings": settings, "command": sys.argv, "versions": _versions()}
        text = _as_json(content)
        if json_text.is_too_large(text):
            text = _as_json({**content, "command": sys.argv[:1]})
        files.publish_bytes(os.path.join(self.folder, layout.RUN), text)

    def write_event(self, kind: str, content: Mapping[str, Any]) -> None:
        """Append to ``events.jsonl``."""
        event = {"event": kind, "time": time.time(), "pid": os.getpid(), **content}
        with self._error_or_warning():
            journal.append(os.path.join(self.folder, layout.EVENTS), event)

    def keep_results(self, results: Mapping[str, Any], epochs: int) -> None:
        """Write ``results.json``; the training has ended, so the folder is locked for that moment.

        Raises:
            RunLocked: another process goes on with the run.
        """
        ours = self._lock is not None or os.path.realpath(self.folder) in _open
        held = None if ours else _locked(self.folder)
        with self._error_or_warning():
            try:
                run_results.write(self.folder, epochs, results)
            finally:
                if held is not None:
                    held.release()

    def results(self, epochs: int) -> dict[str, Any]:
        """What ``results.json`` says of a run of so many epochs."""
        return run_results.read(self.folder, epochs)

    def close(self) -> None:
        """Finish writing, and let others have the folder. A second call does nothing."""
        key = os.path.realpath(self.folder)
        if _open.get(key) is self:  # not that of a newer run
            del _open[key]
        self.is_open = False
        held, self._lock = self._lock, None
        if held is None:
            return
        try:
            with self._error_or_warning():
                self._writer.close()
            self._buffers, self._state = Buffers(), None  # a finished run holds no copy of its state
        finally:
            with self._error_or_warning():
                held.release()

    @contextmanager
    def _error_or_warning(self) -> Iterator[None]:
        try:
            yield
        except FileError as error:
            if self._on_save_error == "raise":
                raise
            warn(str(error))


def _locked(folder: str) -> lock.Lock:
    """The lock; where another process has it, the error also says why that is likely."""
    try:
        return lock.acquire(folder, take_over=True)
    except RunLocked as error:
        raise RunLocked(f"{error}{_why_locked()}", path=folder) from error


def _why_locked() -> str:
    processes = sys.modules.get("multiprocessing.process")
    if processes and getattr(processes.current_process(), "_inheriting", False):  # as long as it imports that
        return (
            " This process is a worker that runs your script again: put the training under "
            "if __name__ == '__main__':"
        )
    rank = next((name for name in _RANKS if os.environ.get(name, "0") != "0"), None)
    if rank is None:
        return ""
    return f" This process is rank {os.environ[rank]} ({rank}): for now one process alone can train in a Run."


def _versions() -> dict[str, str]:
    """Of Python, of outlast, and of what is imported and matters."""
    names = ("outlast", "numpy", *PACKAGES)
    loaded = {name: sys.modules[name] for name in names if name in sys.modules}
    versions = {name: str(getattr(module, "__version__", "?")) for name, module in loaded.items()}
    return {"python": sys.version.split()[0], **versions}


def _as_json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(encoded(content), indent=2, default=str).encode() + b"\n"


def _has_resume_points(folder: str) -> bool:
    return os.path.isdir(folder) and bool(resume_points.numbers(folder))


def _set_aside(folder: str) -> None:
    """Rename the folder to the first of ``NAME.1``, ``NAME.2``, ... that is free."""
    path = folder.rstrip("/\\")
    if os.path.isdir(path) and os.listdir(path):
        lock.acquire(path, take_over=True).release()  # nobody may be writing in it
        files.move_aside(path, "")


def merged(first: Bundle, second: Bundle) -> Bundle:
    r"""One bundle that does what two do, one after the other.

    Example:
        >>> merged(Bundle(logs={"a": Lines(b"1\n")}), Bundle(logs={"a": Lines(b"2\n")})).logs["a"].data
        b'1\n2\n'
    """
    # Copies of models that the second bundle replaces or gives up are written by themselves.
    copies = {
        name: first.files[source]
        for name, source in first.files.items()
        if isinstance(source, str) and source in first.files and source in second.files
    }
    logs = dict(first.logs)
    for name, lines in second.logs.items():
        before = logs.get(name)
        if before is not None and not lines.replaces:
            lines = Lines(before.data + lines.data, before.replaces, lines.public)
        logs[name] = lines
    return Bundle({**first.files, **copies, **second.files}, logs)
