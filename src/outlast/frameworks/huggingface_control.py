"""Who runs the loop of Hugging Face's Trainer, as callbacks and runs see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from outlast.core.run_state import START, Position
from outlast.frameworks.base import Control, Followed, Training
from outlast.frameworks.huggingface_refused import beside, refused


class Steps(Followed):
    """Trainer's steps, as a run follows them to make resume points inside a row.

    Args:
        hear: called after each step.
    """

    size, lacking, run_is_last = 1, 0, False
    drawn_ahead: Collection[str] = ()

    def __init__(self, hear: Callable[[int, int], object]) -> None:
        self.hear, self.done = hear, 0
        self.come_back: Callable[[], object] | None = None

    def begin(self) -> None:
        self.done = 0

    def skip(self, trained: int, come_back: Callable[[], object]) -> None:
        self.done, self.come_back = trained, come_back

    def mute(self, callbacks: Sequence[Any], until: int) -> None:
        """Trainer tells nobody of steps that it leaves out."""

    def saved(self) -> dict[str, Any]:
        return {"done": self.done, "metrics": [], "logs": {}}

    def put(self, saved: Mapping[str, Any]) -> None:
        self.done = saved["done"]

    def seeds(self) -> Any:
        return None

    def put_seeds(self, saved: Any) -> None:
        """There are none."""

    def close(self) -> None:
        self.hear = lambda done, size: None


class TrainerControl(Control):
    """Trainer's loop, as callbacks see it.

    Attributes:
        position: where a run goes on.
        is_interrupted: a signal wants the training to end.
        steps: that a run follows; None if it does not.
    """

    dispatchers = ("transformers.trainer_callback",)
    position = START
    is_interrupted = False
    steps: Steps | None = None

    def begin(self) -> None:
        super().begin()
        self.is_interrupted = False

    def resume_at(self, position: Position = START) -> None:
        self.position = position

    def interrupt_epoch(self) -> None:
        self.is_interrupted = True

    def follow(self, training: Training, run: Any, hear: Callable[[int, int], object]) -> Followed | None:
        self.steps = Steps(hear)
        return self.steps

    def beside(self) -> Sequence[Any]:
        return beside(self._loop_model)

    def refused(self, callback: Any) -> str | None:
        return refused(callback)
