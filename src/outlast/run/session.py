"""Session: a run's folder in this process's hands: its lock, its writer, what it holds."""

from __future__ import annotations

import json
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial, reduce
from typing import Any

from outlast.core.numbers import encoded
from outlast.exceptions import FileError, warn
from outlast.run.buffers import Buffers
from outlast.storage import blobs, commit, journal, recovery, resume_points
from outlast.storage.commit import Step
from outlast.storage.disk import files, lock
from outlast.storage.disk.writer import Writer
from outlast.storage.format import layout
from outlast.storage.logs import Lines

Progress = tuple[int, int | None]  # (epoch, batch) from 0; batch None at an epoch's end

_open: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()


class Session:
    """Opens a run's folder, holds it, and commits steps to it, in the background.

    Args:
        folder: the run's; made if it is not there.
        resume: ``"auto"``, ``"never"`` or ``"must"``.
        say: is told what was mended in the folder while training.
        on_save_error: ``"raise"``, or ``"warn"`` and try again.

    Attributes:
        state: what the newest resume point holds; None in a new run.
        findings: what was wrong with the folder, as parts of a sentence.
        committed: what is known to be on the disk; None before the first commit.
        fresh: nobody has trained in this session yet.

    Raises:
        RunLocked: another process has the folder.
        FileError: it cannot be written, or ``resume="must"`` and there is nothing.
        DamagedFile, UnknownFormat: nothing in it can be used.
    """

    def __init__(
        self, folder: str, resume: str, *, say: Callable[[str], object], on_save_error: str = "raise"
    ) -> None:
        self.folder = folder
        self.fresh = True
        self._say, self._on_save_error = say, on_save_error
        self._unsafe: list[tuple[Progress, Step]] = []  # not known to be on the disk, in their order
        if resume == "must" and not _has_resume_points(folder):
            raise FileError(
                f"There is nothing to resume in {folder}. Use resume='auto' to begin anew.", path=folder
            )
        if resume == "never":
            _set_aside(folder)
        files.make_folder(folder)
        self._take_over()
        self._lock = lock.acquire(folder, take_over=True)
        try:
            recovered = recovery.recover(folder, begin=resume == "never")
        except BaseException:
            self._lock.release()
            raise
        _open[os.path.realpath(folder)] = self
        self._truth = recovered.truth
        self.state, self.findings = recovered.state, recovered.findings
        self.committed: Progress | None = None
        if self.state is not None:
            self.committed = _progress_of(self.state)
        self._state: Any = None  # of the last step
        self._buffers = Buffers()
        self._writer = Writer()

    def _take_over(self) -> None:
        """Let a session of this process that was left open finish what it was writing."""
        former = _open.pop(os.path.realpath(self.folder), None)
        if former is None:
            return
        try:
            former._writer.close()
        except FileError as error:  # told now, for nobody asked the former one any more
            self._say(f"outlast: the last save before this start failed: {error}")

    @property
    def number(self) -> int:
        """The newest resume point's."""
        return self._truth.number

    @property
    def files(self) -> Iterable[str]:
        """Names of the models that are kept."""
        return self._truth.files

    def model(self, path: str) -> str:
        """A file that holds the kept model which people find at ``path``, verified now.

        Raises:
            DamagedFile: its bytes are lost.
        """
        view = os.path.relpath(path, self.folder)
        return blobs.whole(self.folder, view, self._truth.files[view])

    def log(self, name: str) -> bytes:
        """A committed log."""
        return self.log_or_none(name) or b""

    def log_or_none(self, name: str) -> bytes | None:
        """A log as it is after the last step, None if there is none of that name."""
        self._settle()
        unsafe = self._unsafe_step().logs.get(name, Lines(b""))
        log = self._truth.logs.get(name)
        if log is None and not unsafe.data:
            return None
        before = b"" if log is None or unsafe.whole else log.content(self.folder)
        return before + unsafe.data

    def commit(self, step: Step, state: Mapping[str, Any], progress: Progress) -> None:
        """Copy the state, and make it safe in the background.

        One step is under way at a time: the next waits for it here, and its errors are raised here;
        or, with ``on_save_error="warn"``, are said, and what was lost is part of this step.
        """
        self._lock.check()
        self._settle()
        self._unsafe.append((progress, step))
        self._state = self._buffers.copy(state)
        self._submit()

    def _submit(self) -> None:
        step, progress = self._unsafe_step(), self._unsafe[-1][0]
        self._writer.submit(partial(self._carry_out, step, self._state, progress))

    def _carry_out(self, step: Step, state: Any, progress: Progress) -> None:
        self._truth = commit.commit(
            self.folder, self._truth, step, state, drain=self._writer.drain, say=self._say
        )
        self._is_safe(progress)

    def _is_safe(self, progress: Progress) -> None:
        """All up to there is on the disk."""
        steps = [one for one, _ in self._unsafe]
        if progress in steps:
            self.committed = progress
            self._unsafe = self._unsafe[steps.index(progress) + 1 :]

    def _unsafe_step(self) -> Step:
        return reduce(merged, (step for _, step in self._unsafe), Step())

    def _settle(self) -> None:
        """Wait for the step under way; if it failed, put the folder in order for the next."""
        failure = self._failure()
        if self._unsafe:
            self._recover()
        if failure:
            again = f" and tries again; {self._unsaved()}" if self._unsafe else ""
            warn(f"{failure} Training goes on{again}.")

    def _failure(self) -> FileError | None:
        """Wait for the step under way; why it failed, if that shall be no error."""
        try:
            self._writer.flush()
        except FileError as error:
            if self._on_save_error == "raise":
                raise
            return error
        return None

    def _recover(self) -> None:
        with suppress(FileError):  # the disk is no better: the next commit says so
            found = recovery.recover(self.folder, self._truth)
            self._truth = found.truth
            if found.state is not None:  # the step may be there after all
                self._is_safe(_progress_of(found.state))

    def _unsaved(self) -> str:
        first, last = (self._unsafe[place][0][0] + 1 for place in (0, -1))
        epochs = f"epoch {first} is" if first == last else f"epochs {first} to {last} are"
        return f"{epochs} in memory only"

    def flush(self) -> None:
        """Wait until the last step is on the disk; raise what went wrong."""
        self._writer.flush()

    def finish(self) -> None:
        """At the training's end: wait for the last step, and try once more if it failed.

        Raises:
            FileError: it failed, with ``on_save_error="raise"``.
        """
        self._settle()
        if not self._unsafe:
            return
        self._submit()
        try:
            self._writer.flush()
        except FileError as error:
            self._recover()
            unsaved = f", and {self._unsaved()}" if self._unsafe else ""
            warn(f"{error} The training has ended{unsaved}.")

    def describe(self, settings: Mapping[str, Any]) -> None:
        """Write ``run.json``: what was asked for, by which command, with which versions."""
        content = {"settings": settings, "command": sys.argv, "versions": _versions()}
        text = json.dumps(encoded(content), indent=2, default=str) + "\n"
        files.publish_bytes(os.path.join(self.folder, layout.RUN), text.encode())

    def record(self, kind: str, content: Mapping[str, Any]) -> None:
        """Append to ``events.jsonl``."""
        event = {"event": kind, "time": time.time(), "pid": os.getpid(), **content}
        with self._error_or_warning():
            journal.append(os.path.join(self.folder, layout.EVENTS), event)

    def close(self) -> None:
        """Finish writing, and let others have the folder."""
        _open.pop(os.path.realpath(self.folder), None)
        try:
            with self._error_or_warning():
                self._writer.close()
        finally:
            with self._error_or_warning():
                self._lock.release()

    @contextmanager
    def _error_or_warning(self) -> Iterator[None]:
        try:
            yield
        except FileError as error:
            if self._on_save_error == "raise":
                raise
            warn(str(error))


def _progress_of(state: Mapping[str, Any]) -> Progress:
    return state["progress"]["epoch"] - 1, None


def _versions() -> dict[str, str]:
    """Of Python, of outlast, and of what is imported and matters."""
    names = ("outlast", "numpy", "keras", "jax", "torch", "tensorflow")
    loaded = {name: sys.modules[name] for name in names if name in sys.modules}
    versions = {name: str(getattr(module, "__version__", "?")) for name, module in loaded.items()}
    return {"python": sys.version.split()[0], **versions}


def _has_resume_points(folder: str) -> bool:
    return os.path.isdir(folder) and bool(resume_points.numbers(folder))


def _set_aside(folder: str) -> None:
    """Rename the folder to the first of ``NAME.1``, ``NAME.2``, ... that is free."""
    path = folder.rstrip("/\\")
    if os.path.isdir(path) and os.listdir(path):
        lock.acquire(path, take_over=True).release()  # nobody may be writing in it
        files.move_aside(path, "")


def merged(first: Step, second: Step) -> Step:
    r"""One step that does what two do, one after the other.

    Example:
        >>> merged(Step(logs={"a": Lines(b"1\n")}), Step(logs={"a": Lines(b"2\n")})).logs["a"].data
        b'1\n2\n'
    """
    # Copies of models that the second step replaces or gives up are written by themselves.
    copies = {
        view: first.files[source]
        for view, source in first.files.items()
        if isinstance(source, str) and source in first.files and source in second.files
    }
    logs = dict(first.logs)
    for name, lines in second.logs.items():
        before = logs.get(name)
        if before is not None and not lines.whole:
            lines = Lines(before.data + lines.data, before.whole, lines.view)
        logs[name] = lines
    return Step({**first.files, **copies, **second.files}, logs)
