"""Progress: how far a training has come, beside what the framework knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.decision import Action, Decision, Reason
from outlast.core.run_state import START, Position, RunState
from outlast.inspect.saved_run import decisions_of, rows_of
from outlast.run.extra import Extra
from outlast.run.staged import StagedOutput
from outlast.storage import journal
from outlast.storage.format import layout, limits

RUN = "Run"  # who decided if no callback did; such a stop is final


@dataclass
class Progress:
    """Epochs, decisions, and why it stopped.

    Args:
        position: where the last commit is.
        rows: every epoch's metrics.
        decisions: every decision that acted.
        stops: those that ask for the end.
        epochs: how many were asked for, at the last commit; None if nobody said.
        finished: whether it stopped, or did all the epochs that were asked for.
        extra: the user's own values.
    """

    position: Position = START
    rows: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    stops: list[Decision] = field(default_factory=list)
    epochs: int | None = None
    finished: bool = False
    extra: Extra = field(default_factory=Extra)

    @property
    def next_epoch(self) -> int:
        """The epoch to train next, from 0."""
        return self.position.next_epoch

    def to_state(self, settings: Mapping[str, Any], contents: Mapping[str, Any]) -> RunState:
        """What goes into a resume point; rows and decisions are logs."""
        return RunState(
            self.position,
            self.epochs,
            self.finished,
            tuple(self.stops),
            {**self.extra},
            settings,
            contents=contents,
        )

    @classmethod
    def from_state(cls, state: RunState, rows: bytes, decisions: bytes) -> Progress:
        """The inverse of :meth:`to_state`."""
        return cls(
            state.position,
            rows_of(rows),
            decisions_of(decisions),
            list(state.stops),
            state.epochs,
            state.finished,
            Extra(state.extra),
        )

    def note(self, decision: Decision, output: StagedOutput) -> None:
        """Keep a decision, and its line for the journal.

        That weights are restored is not kept: it follows from the rest, at every end.
        """
        if decision.action is Action.RESTORE:
            return
        line = journal.line(decision.to_json())  # refused, if it is too long to be read again
        self.decisions.append(decision)
        if decision.stop:
            self.stops.append(decision)
        output.append(layout.JOURNAL, line)

    def close_epoch(self, row: Mapping[str, Any], epochs: int | None, output: StagedOutput) -> None:
        """Count an epoch of ``epochs``, and keep its line."""
        output.append(layout.ROWS, journal.line(row, limits.ROW_BYTES), public=False)
        self.position, self.epochs = Position(row["epoch"]), epochs
        self.finished = bool(self.stops) or (epochs is not None and self.next_epoch >= epochs)

    def stopped_from_outside(self) -> None:
        """Something else set the flag, such as a callback of Keras's: keep that as a stop like any other."""
        text = {"text": "something outside the run stopped the training"}
        self.stops = [Decision(RUN, Action.STOP, Reason.ASKED, self.next_epoch, values=text)]

    def why_finished(
        self, callbacks: Sequence[Callback], epochs: int | None, unit: str = "epochs"
    ) -> str | None:
        """Why there is nothing left to train with these settings; None if there is.

        Args:
            callbacks: those of the run.
            epochs: how many are asked for; None if nobody said.
            unit: what they are: a training without epochs counts rows.
        """
        if self.position.batch is not None:
            if epochs is None or self.next_epoch < epochs:
                return None
            return f"it is in {unit[:-1]} {self.next_epoch + 1} already, {_asked_for(epochs)}"
        for decision in self.stops:
            askers = [callback for callback in callbacks if _is_a(callback, decision.callback)]
            if decision.callback == RUN or any(callback.still_stops(decision) for callback in askers):
                return decision.sentence
        if epochs is not None and self.next_epoch >= epochs:
            done = self.next_epoch
            if done == epochs:
                return f"all {epochs} {unit} are done"
            return f"{done} {unit} are done, {_asked_for(epochs)}"
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


def put_into(kept: Any, values: Any) -> None:
    """Have a dict or a list hold ``values``; dicts and lists inside it stay the same objects.

    Example:
        >>> extra = {"losses": [1.0], "old": 0}
        >>> losses = extra["losses"]
        >>> put_into(extra, {"losses": [1.0, 0.5]})
        >>> extra, losses
        ({'losses': [1.0, 0.5]}, [1.0, 0.5])
    """
    known = dict(kept) if isinstance(kept, dict) else dict(enumerate(kept))
    new = values if isinstance(values, dict) else dict(enumerate(values))
    held = {}
    for name, value in new.items():
        before = known.get(name)
        if type(before) is type(value) and isinstance(value, (dict, list)):
            put_into(before, value)
            held[name] = before
        else:
            held[name] = value
    if isinstance(kept, dict):
        kept.clear()
        kept.update(held)
    else:
        kept[:] = held.values()


def _asked_for(epochs: int) -> str:
    return f"{epochs} {'was' if epochs == 1 else 'were'} asked for"
