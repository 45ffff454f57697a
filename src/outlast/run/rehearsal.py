"""What a Run does otherwise in a rehearsal: its folder, its number of epochs, and where it is killed.

``outlast rehearse`` starts the user's script unchanged, and tells its Runs by an environment variable.
"""

from __future__ import annotations

import json
import os
import signal
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from outlast.storage.disk.calls import Calls, calls

VARIABLE = "OUTLAST_REHEARSAL"
COUNTS = "counts.json"  # what has happened in a process that was not killed
NOTES = "notes.json"  # what its runs said that they cannot resume exactly
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


class Rehearsal:
    """Counts what happens in this process, and kills it at its place.

    Args:
        plan: what to do.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._counts: Counter[str] = Counter()
        self._notes: dict[str, None] = {}
        for name in _CHANGING:
            setattr(calls, name, self._counted(getattr(calls, name)))

    def folder(self, folder: str) -> str:
        """The folder of a Run, in the rehearsal's own."""
        name = f"{os.path.basename(folder) or 'run'}-{zlib.crc32(folder.encode()):08x}"
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
        for name, content in ((COUNTS, self._counts), (NOTES, list(self._notes))):
            with open(os.path.join(self.plan.folder, name), "w", encoding="utf-8") as file:
                json.dump(content, file)

    def _counted(self, call: Any) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.count(CALL)
            return call(*arguments, **named)

        return counted


_CHANGING = [name for name in vars(Calls) if name[0] != "_" and name != "close"]


@cache
def current() -> Rehearsal | None:
    """The rehearsal that this process is part of; None if it is none."""
    text = os.environ.get(VARIABLE)
    return Rehearsal(Plan(**json.loads(text))) if text else None
