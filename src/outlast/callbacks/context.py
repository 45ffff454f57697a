"""Context: the world as a callback sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from outlast.core.decision import Decision
from outlast.core.text import printable
from outlast.frameworks.base import Control, Training
from outlast.storage.output import LooseOutput, Output


@dataclass(frozen=True)
class Context:
    """Everything that a callback may touch.

    Args:
        training: what is trained.
        control: who runs the loop.
        output: does things to files; without a host, where the user said.
        listen: called with every decision, if there is somebody who listens.
        clock: seconds, from any origin.
        logs_are_complete: the host has put the learning rate into the logs already.
    """

    training: Training
    control: Control
    output: Output = field(default_factory=LooseOutput)
    listen: Callable[[Decision], None] | None = None
    clock: Callable[[], float] = time.monotonic
    logs_are_complete: bool = False

    def report(self, decision: Decision) -> None:
        """Hand on a decision, after its effect has succeeded."""
        if self.listen is not None:
            self.listen(decision)

    def say(self, text: str) -> None:
        """Print what ``verbose=1`` prints, through the framework; a name in it moves no cursor.

        What nobody can read, at a closed terminal or on a full disk, ends no training.
        """
        with suppress(Exception):
            self.control.print(printable(text))
