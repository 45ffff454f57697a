"""What a notebook shows of a run: its status, the best epoch, and the last epochs."""

from __future__ import annotations

from outlast.inspect.record import Readable
from outlast.views.html import run_table


def as_html(run: Readable, title: str) -> str:
    """A table of the run; names of metrics are escaped."""
    best = run.best
    facts = {
        "status": run.status,
        "epochs": str(len(run.history.epochs)),
        "best": "" if best is None else f"epoch {best.epoch + 1}, {best.monitor} {best.value:.6g}",
        "stopped": run.stopped or "",
    }
    return run_table(title, facts, run.history)
