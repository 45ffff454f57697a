"""Shown: what a notebook and a terminal show of a run, one that trains or one that is looked at."""

from __future__ import annotations

from typing import Any, ClassVar

from outlast.inspect.saved_run import Readable
from outlast.views.html import run_table


class Shown(Readable):
    """Tables, pictures, and the names that a user needs."""

    _names: ClassVar[tuple[str, ...]] = (
        *("best", "checkpoints", "committed", "decisions", "extra", "findings", "finished"),
        *("folder", "history", "load_best", "plot", "results", "settings", "status", "stopped"),
    )

    def __dir__(self) -> list[str]:
        """What users need; the hooks that loops call are not shown."""
        return sorted(self._names)

    def plot(self, path: str | None = None) -> Any:
        """Draw the history, as :func:`outlast.plot_history` does."""
        from outlast.views.plots import plot_history

        return plot_history(self.history, path)

    def _repr_html_(self) -> str:
        best = self.best
        facts = {
            "status": self.status,
            "epochs": str(len(self.history.epochs)),
            "best": "" if best is None else f"epoch {best.epoch + 1}, {best.monitor} {best.value:.6g}",
            "stopped": self.stopped or "",
        }
        return run_table(repr(self), facts, self.history)
