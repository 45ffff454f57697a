"""A binding to a framework whose loop belongs to somebody else, on the two protocols."""

from __future__ import annotations

from typing import Any

import numpy as np

from outlast import Run
from outlast.core.run_state import START, Moment, Position
from outlast.frameworks.base import Adapter, Snapshot
from outlast.storage.disk.files import Content


class Toy(Adapter):
    """A trainer with one weight; it draws a random number after training has begun."""

    framework = "this toy"
    capabilities = frozenset({"weights", "saving", "state"})
    dispatchers = (__name__,)
    random_moment = Moment.EPOCH_BEGIN

    def state(self) -> Any:
        return {"weight": np.array(self.model.weight)}

    def load_state(self, state: Any) -> None:
        self.model.weight = float(state["weight"])

    def _copied_weights(self) -> Snapshot:
        return Snapshot(self.model.weight)

    def restore_weights(self, snapshot: Snapshot) -> None:
        self.model.weight = snapshot.weights

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        return [("weight", np.array(snapshot.weights))]

    def weights_from_arrays(self, pairs: Any) -> Snapshot:
        return Snapshot(float(dict(pairs)["weight"]))

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        return (".txt",)

    def saving(self, weights_only: bool) -> Any:
        return self

    def capture(self) -> Content:
        return Content(repr(self.model.weight).encode())

    def resume_at(self, position: Position = START) -> None:
        self.model.first = position.next_epoch


class InToy:
    """What the toy's ``fit`` takes: it hears of rounds, and catches up with one that was hidden from it."""

    def __init__(self, run: Run) -> None:
        self.run, self.seen = run, 0

    def before_training(self, trainer: Any) -> None:
        self.run.on_train_begin()
        self.seen = trainer.first

    def before_round(self, trainer: Any, number: int) -> None:
        self.run.on_epoch_begin(number)

    def after_round(self, trainer: Any, number: int, logs: dict[str, float]) -> bool:
        self.seen = number + 1
        self.run.on_epoch_end(number, logs)
        return self.run.stop_training

    def after_training(self, trainer: Any) -> None:
        if self.seen < trainer.done:
            self.after_round(trainer, self.seen, trainer.logs)
        self.run.on_train_end()


def call(callbacks: list[Any], hook: str, *args: Any) -> bool:
    """As the toy does: who comes after one that stops does not hear of the round."""
    return any(getattr(callback, hook)(*args) for callback in callbacks)
