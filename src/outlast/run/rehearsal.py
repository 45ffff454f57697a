"""What a Run does otherwise in a rehearsal: its folder, its number of epochs, and where it is killed.

``outlast rehearse`` starts the user's script unchanged, and tells its Runs by an environment variable.
"""

from __future__ import annotations

import json
import os
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from outlast.storage.disk.calls import Calls, calls
from outlast.storage.format import layout

VARIABLE = "OUTLAST_REHEARSAL"
REPORT = "report.json"  # a Report: what has happened in a process that was not killed
RUNS = "runs"

BATCH, VALIDATION, CALL = "batch", "validation", "call"


@dataclass(frozen=True)
class Plan:
    """What a process is to do.

    Args:
        folder: where its runs are kept instead.
        epochs: how many a training has at most.
        what: ``BATCH``, ``VALIDATION`` or ``CALL`` (a system call that changes the disk); "" for no kill.
        number: how many of these have begun when the process is killed.
    """

    folder: str
    epochs: int
    what: str = ""
    number: int = 0

    def to_environment(self) -> dict[str, str]:
        """What the process is to have in its environment."""
        return {VARIABLE: json.dumps(asdict(self))}


@dataclass(frozen=True)
class Report:
    """What happened in a process that ended.

    Args:
        counts: how many of each kind began: ``BATCH``, ``VALIDATION``, ``CALL``.
        saves: for each resume point, how many calls had begun when it got its name.
        notes: what the runs said that they cannot resume exactly.
        never: names of the runs with ``resume="never"``.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    saves: Sequence[int] = ()
    notes: Sequence[str] = ()
    never: Sequence[str] = ()


class Rehearsal:
    """Counts what happens in this process, and kills it at its place.

    Args:
        plan: what to do.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._counts: Counter[str] = Counter()
        self._saves: list[int] = []
        self._notes: dict[str, None] = {}
        self._never: dict[str, None] = {}
        for name in _CHANGING:
            setattr(calls, name, self._counted(getattr(calls, name)))

    def folder(self, folder: str, resume: str) -> str:
        """The folder of a Run with this ``resume``, in the rehearsal's own."""
        name = f"{os.path.basename(folder) or 'run'}-{zlib.crc32(folder.encode()):08x}"
        if resume == "never":
            self._never[name] = None
        return os.path.join(self.plan.folder, RUNS, name)

    def epochs(self, asked: int | None) -> int:
        """How many epochs to train."""
        return self.plan.epochs if asked is None else min(asked, self.plan.epochs)

    def count(self, what: str, flush: Callable[[], object] = lambda: None) -> None:
        """Something begins: die, if that is the place, but ``flush`` first: a resume needs something."""
        self._counts[what] += 1
        if what == self.plan.what and self._counts[what] == self.plan.number:
            flush()
            os.kill(os.getpid(), signal.SIGKILL)

    def note(self, text: str) -> None:
        """A run says that resuming it would not be exact: a few epochs may not show that."""
        self._notes[text] = None

    def end(self) -> None:
        """A training has ended: keep what has happened so far."""
        report = Report(dict(self._counts), self._saves, list(self._notes), list(self._never))
        with open(os.path.join(self.plan.folder, REPORT), "w", encoding="utf-8") as file:
            json.dump(asdict(report), file)

    def _counted(self, call: Any) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.count(CALL)
            if call.__name__ == Calls.link.__name__ and _names_resume_point(*arguments):
                self._saves.append(self._counts[CALL])
            return call(*arguments, **named)

        return counted


_CHANGING = [name for name in vars(Calls) if name[0] != "_" and name != "close"]


def _names_resume_point(source: str, target: str) -> bool:
    return layout.resume_number(os.path.basename(target)) is not None


@cache
def current() -> Rehearsal | None:
    """The rehearsal that this process is part of; None if it is none."""
    text = os.environ.get(VARIABLE)
    return Rehearsal(Plan(**json.loads(text))) if text else None
