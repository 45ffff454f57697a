"""Context: the world as a callback sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from outlast.core.decision import Decision
from outlast.core.text import printable
from outlast.frameworks.base import Control, Training, find_control, find_training
from outlast.storage.output import LooseOutput, Output


@dataclass(frozen=True)
class PlainReport:
    """Prints messages as the framework does; hands decisions to a listener, if there is one."""

    control: Control
    listen: Callable[[Decision], None] | None = None

    def __call__(self, decision: Decision) -> None:
        """Hand on a decision, after its effect has succeeded."""
        if self.listen is not None:
            self.listen(decision)

    def message(self, text: str) -> None:
        """Print what ``verbose=1`` prints, through the framework; a name in it moves no cursor."""
        self.control.print(printable(text))


@dataclass(frozen=True)
class Context:
    """Everything that a callback may touch.

    Args:
        training: what is trained.
        control: who runs the loop.
        output: does things to files.
        report: hears every decision.
        clock: seconds, from any origin.
        logs_are_complete: the host has put the learning rate into the logs already.
    """

    training: Training
    control: Control
    output: Output
    report: PlainReport
    clock: Callable[[], float] = time.monotonic
    logs_are_complete: bool = False

    @classmethod
    def plain(cls, model: Any) -> Context:
        """The context of a callback without a host: files where the user said, and no listener."""
        control = find_control(model)
        return cls(find_training(model), control, LooseOutput(), PlainReport(control))
