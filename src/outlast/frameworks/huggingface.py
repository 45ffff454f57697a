"""Hugging Face's Trainer: callbacks in its loop, and runs that go on exactly.

What was measured, and is built upon (transformers 5.3 and 5.24, accelerate 1.15): ``train`` fixes its first
epoch and its first step before any callback hears of it. Inside an epoch its own resume puts back a random
state that is one batch too late, since Accelerate fetches one batch ahead, and the mean of the loss begins
again. A checkpoint of its own may be half written. So a ``Run`` reads none of them: the run's folder is what
counts, and Trainer's loop is told where to go on.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from outlast.exceptions import MissingExtra, UsageError
from outlast.frameworks.base import Control, Training
from outlast.frameworks.driven import Driven, MadeAgain

_PURPOSE = "outlast.frameworks.huggingface"
_OLDEST = (1, 10)  # of Accelerate; with 1.6 a resume inside an epoch was not exact


def _missing(package: str) -> MissingExtra:
    return MissingExtra(package, extra="huggingface", purpose=_PURPOSE)


try:
    import accelerate
    from transformers import Trainer, TrainerCallback
except ImportError as error:
    name = (error.name or "").partition(".")[0]
    if name not in ("accelerate", "torch", "transformers"):
        raise
    raise _missing(name) from error
if not hasattr(Trainer, "_run_epoch"):
    raise _missing("transformers 5.3 or newer")
if tuple(map(int, accelerate.__version__.split(".")[:2])) < _OLDEST:
    raise _missing("accelerate 1.10 or newer")

from outlast.frameworks.huggingface_control import TrainerControl  # noqa: E402  # they import it, too
from outlast.frameworks.huggingface_loop import TrainerLoop  # noqa: E402
from outlast.frameworks.huggingface_training import TrainerTraining  # noqa: E402


def callbacks(*items: Any) -> list[Any]:
    """What ``transformers.Trainer(callbacks=...)`` takes.

    An epoch of ours is one of Trainer's, or with ``eval_strategy="steps"`` what lies between two evaluations:
    a ``patience`` counts these then. Metrics have Keras's names: ``eval_loss`` is ``val_loss``,
    ``eval_accuracy`` is ``val_accuracy``, and ``loss`` is the mean of the losses of all steps.

    With a ``Run``, start the same script again after a crash: ``trainer.train()`` goes on where it was.

    Args:
        *items: a ``Run``, callbacks of ours, or lists of them.

    Raises:
        ArgumentError: one is no callback.
        MissingExtra: transformers or accelerate is not installed, or too old.

    Example:
        >>> import outlast
        >>> [one] = callbacks(outlast.EarlyStopping(patience=3), outlast.CSVLogger("history.csv"))
        >>> type(one).__name__
        'InTrainer'

    Source: ``transformers.TrainerCallback``.
    """
    return _Callbacks([InTrainer(Driven("huggingface", *items))])


def resume_arguments(run: Any) -> dict[str, Any]:
    """Keywords for ``trainer.train``: none, for the callbacks put everything back.

    Example:
        >>> resume_arguments(None)
        {}
    """
    return {}


class _Callbacks(list[Any]):
    """The list that a Trainer takes as it is."""

    def on_init_end(self, *args: Any, **options: Any) -> None:
        """Refuse to be one callback among others.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "callbacks(...) gives a list already: pass Trainer(callbacks=callbacks(...)), or beside others "
            "Trainer(callbacks=[theirs, *callbacks(...)])."
        )


class InTrainer(MadeAgain, TrainerCallback):  # type: ignore[misc]
    """What Trainer calls: tells callbacks of its epochs, or of its evaluations.

    Args:
        driven: the callbacks.
    """

    def __init__(self, driven: Driven) -> None:
        super().__init__()
        self._driven = driven
        self._loop: TrainerLoop | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Begin, with what was saved in the model, its optimizer and the loop."""
        if self._loop is not None:  # of a training that an error has ended
            self._loop.leave()
        self._loop = TrainerLoop(_trainer(), self._driven)
        self._loop.begin()

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Begin a step, perhaps the first of an epoch of ours."""
        if self._loop is not None:
            self._loop.begin_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """End a step."""
        if self._loop is not None:
            self._loop.end_step()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **others: Any) -> None:
        """Take the metrics of an evaluation."""
        if self._loop is not None:
            self._loop.take(metrics or {})

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """End an epoch of Trainer's."""
        if self._loop is not None:
            self._loop.end_pass()

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """End the training; callbacks put the best weights back."""
        if self._loop is not None:
            loop, self._loop = self._loop, None
            loop.end()


def _trainer() -> Any:
    """The Trainer that calls, which tells callbacks nothing of itself."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Trainer):
            return found
        frame = frame.f_back
    raise UsageError(
        "These callbacks act in a Trainer alone: pass them to transformers.Trainer(callbacks=...)."
    )


def training(model: Any, optimizer: Any = None) -> Training:
    """What a Trainer trains."""
    return TrainerTraining(model)


def control(model: Any) -> Control:
    """Trainer's loop."""
    return TrainerControl(model)
