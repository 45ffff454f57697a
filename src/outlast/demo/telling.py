"""What the demo says: before, while and after it trains; for people and as JSON."""

from __future__ import annotations

import os
from typing import Any

from outlast.core.decision import Action, Decision
from outlast.demo.training import BEST, MONITOR, TRAINING, VALIDATION, Check, Result
from outlast.views.curves import cuts
from outlast.views.printing import say
from outlast.views.table import summary
from outlast.views.table import table as lines_of
from outlast.views.text import escaped, shown, terminal_width


def nothing(text: str) -> None:
    """Print nothing."""


def beginning(folder: str, backend: str, seed: int, epochs: int) -> str:
    """What the demo is about to do."""
    return (
        f"A small network learns {TRAINING} handwritten digits, and is judged by {VALIDATION} others.\n"
        f"Keras on {backend}, seed {seed}, {epochs} epochs at most; files go to {_place(folder)}\n"
    )


def tell(decision: Decision) -> None:
    """Print a decision with its reason, unless it only says that the saved model is kept."""
    if decision.action is not Action.SKIP:
        say(f"  {decision.sentence}")


def why(result: Result) -> str:
    """Why the training ended."""
    count = len(result.metrics.epochs)
    if result.stop is not None:
        return f"after epoch {count}: {result.stop.because}"
    if result.interrupted:
        return f"after epoch {count}, by Ctrl-C"
    return f"after epoch {count}, the last that was asked for"


def table(result: Result) -> str:
    """A summary of the training, with an empty line before it."""
    monitor = MONITOR if result.metrics.epochs else None
    width, ended = terminal_width(), why(result)
    lines = summary(result.metrics, monitor=monitor, stopped=ended, files=result.files, width=width)
    return f"\n{lines}\nin             {_place(result.folder)}"


def proof(check: Check) -> str:
    """The check of the best model's file, with an empty line before it."""
    verdict = "the same, but for rounding" if check.holds else "NOT the same"
    rows = [
        (f"{BEST}, loaded and evaluated by Keras alone", f"{MONITOR} {shown(check.loss, 6)}", ""),
        (
            f"epoch {check.best.epoch + 1}, the best, while it trained",
            f"{MONITOR} {shown(check.best.value, 6)}",
            "the same, to the last bit" if check.exact else verdict,
        ),
    ]
    return "\n" + lines_of(rows)


def as_json(result: Result, check: Check | None, backend: str, seed: int) -> dict[str, Any]:
    """The result as JSON values; epochs are counted from 0, as in the files."""
    best = result.best
    status = "stopped" if result.stop else "interrupted" if result.interrupted else "finished"
    return {
        "folder": result.folder,
        "backend": backend,
        "seed": seed,
        "status": status,
        "why": why(result),
        "epochs": len(result.metrics.epochs),
        "best": best and {"epoch": best.epoch, "monitor": best.monitor, "value": best.value},
        "cuts": [
            {"epoch": cut.epoch, "before": cut.before, "after": cut.after} for cut in cuts(result.metrics)
        ],
        "files": result.files,
        "check": check and {"val_loss": check.loss, "val_accuracy": check.accuracy, "holds": check.holds},
        "decisions": [decision.to_json() for decision in result.decisions],
    }


def _place(folder: str) -> str:
    return escaped(os.path.join(folder, ""))
