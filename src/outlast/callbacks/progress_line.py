"""ProgressLine: one line an epoch, for whoever looks on."""

from __future__ import annotations

from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.logs import Logs


class ProgressLine(Callback):
    """Print the metrics of every epoch in one line.

    It has no batch hook, so it costs nothing in between.

    Example:
        >>> from outlast.testing import drive
        >>> _ = drive(ProgressLine(), [{"loss": 0.51234567}], epochs=10)
        Epoch  1/10  loss 0.51235
    """

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Print the line."""
        total = str((self.params or {}).get("epochs") or "")
        number = str(epoch + 1).rjust(len(total))
        metrics = "  ".join(f"{name} {_short(value)}" for name, value in (logs or {}).items())
        self.context.report.message(f"Epoch {number}{'/' + total if total else ''}  {metrics}")


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
