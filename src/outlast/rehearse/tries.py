"""The tries of a rehearsal: each runs the script in a fresh copy of its folder, and keeps what came of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from outlast.exceptions import UsageError
from outlast.rehearse.mirror import Mirror, mirror
from outlast.rehearse.outcome import Outcome, outcome
from outlast.rehearse.places import Place
from outlast.rehearse.script import Script
from outlast.run.rehearsal import Plan

_NAMED = 5  # of what is not copied, the others are counted


@dataclass(frozen=True)
class Tries:
    """Runs a script again and again.

    Args:
        program: the script.
        epochs: how many a training has at most.
        folder: the rehearsal's own; each try has one in it.
        mirror: where the script finds its files.
    """

    program: Script
    epochs: int
    folder: str
    mirror: Mirror

    @classmethod
    def of(cls, program: Script, epochs: int) -> Tries:
        """With a new temporary folder, and a plan of what is copied. :meth:`tidy` deletes it."""
        folder = os.path.realpath(tempfile.mkdtemp(prefix="outlast-rehearsal-"))
        copied = os.path.realpath("."), os.path.dirname(program.place)
        return cls(program, epochs, folder, mirror(os.path.join(folder, "copy"), copied))

    @property
    def where(self) -> str:
        """Where the script runs, and what of the user's it can still change, as a sentence."""
        return (
            f"{self.program.path} runs in {self.folder}, in a copy of {' and '.join(self.mirror.folders)} "
            "that is made for each try. Its runs are kept there, and what it writes with relative paths "
            "replaces nothing of yours. Not protected: absolute paths, links that lead out of the copy"
            f"{self._not_copied()}."
        )

    def _not_copied(self) -> str:
        linked = sorted(os.path.relpath(path) for path in self.mirror.linked)
        more = [f"{len(linked) - _NAMED} more"] if len(linked) > _NAMED else []
        named = ", ".join([*linked[:_NAMED], *more])
        return f", and what is linked, not copied: {named}" if linked else ""

    def place(self, name: str) -> str:
        """The folder of a try."""
        return os.path.join(self.folder, name)

    def run(self, name: str, place: Place | None = None) -> Outcome:
        """Run the script, kill it at its place, or at several in turn, and run it to its end.

        Raises:
            ScriptFailed: it ended with an error.
            UsageError: it made no run.
        """
        with self._fresh(self.place(name)) as folder:
            reached = self._killed(folder, place)
        found = outcome(folder)
        if not found.runs:
            raise UsageError(
                f"{self.program.path} ended, but kept nothing: it must train in an outlast.Run that has a "
                "folder."
            )
        return found if reached else replace(found, resumed="it ended first")

    def _killed(self, folder: str, place: Place | None) -> bool:
        """Returns whether the script lived to be killed everywhere."""
        again = ""
        for what, number in place.kills if place else ():
            if not self.program.run(Plan(folder, self.epochs, what, number), self.mirror, again):
                return False
            again = f" when it was started again, after it was killed {place.words}" if place else ""
        self.program.run(Plan(folder, self.epochs), self.mirror, again)
        return True

    @contextmanager
    def _fresh(self, folder: str) -> Iterator[str]:
        """A new folder for a try, with a copy to run it in; in the end it has what the script wrote."""
        os.mkdir(folder)
        self.mirror.make()
        try:
            yield folder
        finally:
            self.mirror.take(folder)

    def drop(self, name: str) -> None:
        """Delete a try."""
        shutil.rmtree(self.place(name), ignore_errors=True)

    def tidy(self, kept: Collection[str]) -> None:
        """Delete all but the folders of these tries."""
        for name in os.listdir(self.folder):
            if self.place(name) not in kept:
                self.drop(name)
        if not os.listdir(self.folder):
            os.rmdir(self.folder)
