"""ProgressLine: print one line for each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.logs import Logs
from outlast.views.text import clipped, escaped, shown

_LONGEST = 40  # terminal cells, for a value that is not a number


class ProgressLine(Callback):
    """Print the metrics of every epoch in one line, aligned from line to line.

    It has no batch hook, so it costs nothing during an epoch.

    Args:
        metrics: the names of the metrics to print, in this order; without it, all of them.

    Example:
        >>> from outlast.testing import drive
        >>> _ = drive(ProgressLine(), [{"loss": 0.51234567}, {"loss": 2e-5}], epochs=10)
        Epoch  1/10  loss 0.5123
        Epoch  2/10  loss   2e-5
    """

    def __init__(self, metrics: Sequence[str] | None = None) -> None:
        self.metrics = metrics

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Print the line."""
        logs = logs or {}
        total = str((self.params or {}).get("epochs") or "")
        number = str(epoch + 1).rjust(len(total))
        names = [name for name in self.metrics if name in logs] if self.metrics is not None else logs
        metrics = "  ".join(f"{escaped(name)} {_shown(logs[name])}" for name in names)
        self.context.say(f"Epoch {number}{'/' + total if total else ''}  {metrics}")


def _shown(value: Any) -> str:
    """A number with four decimals; a very small or large one with an exponent, at the same width."""
    if not isinstance(value, float):
        return clipped(escaped(str(value)), _LONGEST)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else shown(value, 2).rjust(6)
