"""Progress: how far a training has come, beside what the framework knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.decision import Action, Decision, Reason
from outlast.inspect.record import ROWS, decisions_of, rows_of
from outlast.run.staged import StagedOutput
from outlast.storage import journal
from outlast.storage.format import layout, limits

_RUN = "Run"  # who decided, if no callback did: that holds for good


@dataclass
class Progress:
    """Epochs, decisions, and why it stopped.

    Args:
        next_epoch: the epoch to train next, from 0.
        rows: every epoch's metrics.
        decisions: every decision that acted.
        stops: those that ask for the end.
        epochs: how many were asked for, at the last commit; None if nobody said.
        finished: whether it stopped, or did all the epochs that were asked for.
        extra: the user's own values.
    """

    next_epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    stops: list[Decision] = field(default_factory=list)
    epochs: int | None = None
    finished: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def to_state(self) -> dict[str, Any]:
        """What goes into a resume point itself; rows and decisions are logs."""
        return {
            "epoch": self.next_epoch,
            "stops": [decision.to_json() for decision in self.stops],
            "epochs": self.epochs,
            "finished": self.finished,
            "extra": self.extra,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], rows: bytes, decisions: bytes) -> Progress:
        """The inverse of :meth:`to_state`."""
        return cls(
            next_epoch=state["epoch"],
            rows=rows_of(rows),
            decisions=decisions_of(decisions),
            stops=[Decision.from_json(one) for one in state["stops"]],
            epochs=state["epochs"],
            extra=dict(state["extra"]),
        )

    def note(self, decision: Decision, output: StagedOutput) -> None:
        """Keep a decision, and its line for the journal.

        That weights are restored is not kept: it follows from the rest, at every end anew.
        """
        if decision.action is Action.RESTORE:
            return
        line = journal.line(decision.to_json())  # refused, if it is too long to be read again
        self.decisions.append(decision)
        if decision.stop:
            self.stops.append(decision)
        output.add_lines(layout.JOURNAL, line)

    def close_epoch(self, row: Mapping[str, Any], epochs: int | None, output: StagedOutput) -> None:
        """Count an epoch of ``epochs``, and keep its line."""
        plain = {name: v.tolist() if hasattr(v, "tolist") else v for name, v in row.items()}
        output.add_lines(ROWS, journal.line(plain, limits.ROW_BYTES), view=False)
        self.next_epoch, self.epochs = row["epoch"] + 1, epochs
        self.finished = bool(self.stops) or (epochs is not None and self.next_epoch >= epochs)

    def stopped_from_outside(self) -> None:
        """Somebody whom we do not know set the flag: that is kept as a stop like any other."""
        text = {"text": "the loop was told to stop, by none of the run's callbacks"}
        self.stops = [Decision(_RUN, Action.STOP, Reason.ASKED, self.next_epoch, values=text)]

    def why_finished(self, callbacks: Sequence[Callback], epochs: int | None) -> str | None:
        """Why there is nothing left to train with these settings; None if there is."""
        for decision in self.stops:
            askers = [callback for callback in callbacks if _is_a(callback, decision.callback)]
            if decision.callback == _RUN or any(callback.still_stops(decision) for callback in askers):
                return decision.sentence
        if epochs is not None and self.next_epoch >= epochs:
            return f"all {epochs} epochs are done"
        return None

    def columns(self) -> dict[str, list[Any]]:
        """The values of each metric, as Keras's History holds them."""
        columns: dict[str, list[Any]] = {}
        for row in self.rows:
            for name, value in row.items():
                if name != "epoch":
                    columns.setdefault(name, []).append(value)
        return columns


def _is_a(callback: Callback, name: str) -> bool:
    return any(cls.__name__ == name for cls in type(callback).__mro__)
