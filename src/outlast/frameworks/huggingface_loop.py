"""The loop of Hugging Face's Trainer: where rows end in it, and where it goes on.

Trainer has no hook behind an evaluation and all that it does with its metrics, and none that could leave out
epochs. So for the time of a training three of its methods are wrapped, in the one Trainer that trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from outlast.core.run_state import START, Moment, Position
from outlast.frameworks.base import Control, find_training
from outlast.frameworks.driven import Driven
from outlast.frameworks.huggingface_rows import Rows, renamed
from outlast.frameworks.huggingface_training import Place, TrainerTraining

_WRAPPED = ("_maybe_log_save_evaluate", "_run_epoch", "training_step")


class TrainerControl(Control):
    """Trainer's loop, as callbacks see it.

    Attributes:
        position: where a run goes on.
        is_interrupted: a signal wants the training to end.
    """

    dispatchers = ("transformers.trainer_callback",)
    random_moment = Moment.EPOCH_BEGIN
    position = START
    is_interrupted = False

    def begin(self) -> None:
        super().begin()
        self.is_interrupted = False

    def resume_at(self, position: Position = START) -> None:
        self.position = position

    def interrupt_epoch(self) -> None:
        self.is_interrupted = True


class TrainerLoop:
    """One call of ``Trainer.train``.

    Args:
        trainer: that trains.
        driven: the callbacks.
        hook: what Trainer calls.
    """

    def __init__(self, trainer: Any, driven: Driven, hook: Any) -> None:
        self._trainer, self._driven, self._hook = trainer, driven, hook
        self._rows = _rows(trainer)
        self._is_open = False  # a row
        self._is_behind_pass = False  # the batches of an epoch of Trainer's have ended
        self._metrics: dict[str, Any] = {}
        self._loss: Any = None  # the sum of the row's losses, on its device
        self._first = Place()

    @property
    def _training(self) -> TrainerTraining:
        found = find_training(self._trainer)
        assert isinstance(found, TrainerTraining)
        return found

    def begin(self) -> None:
        """The training begins, where a run was left if there is one."""
        trainer, training = self._trainer, self._training
        training.place, training.loaded = Place(), self._count
        self._driven.begin(trainer, self._rows.left(trainer.state.global_step), self._rows.size)
        self._first = Place(**vars(training.place))
        for name in _WRAPPED:
            vars(trainer)[name] = getattr(self, name)

    def _count(self) -> None:
        """Tell how many rows there are in all, now that it is known where the loop is."""
        left = self._rows.left(self._trainer.state.global_step)
        self._driven.set_epochs(None if left is None else self._training.place.rows + left)

    def leave(self) -> None:
        """Leave Trainer as it was."""
        for name in _WRAPPED:
            vars(self._trainer).pop(name, None)

    def end(self) -> None:
        """The training has ended."""
        self.leave()
        self._driven.end()

    def take(self, metrics: Mapping[str, Any]) -> None:
        """An evaluation has ended."""
        if self._is_open:
            self._metrics |= renamed(metrics, self._driven.monitored)

    def begin_step(self) -> None:
        """A step begins."""
        if not self._is_open:
            self._begin_row()

    def end_step(self) -> None:
        """A step has ended."""
        place = self._training.place
        place.steps += 1
        place.batches += self._trainer.current_gradient_accumulation_steps
        if self._control.is_interrupted:
            self._trainer.control.should_training_stop = True

    def end_pass(self) -> None:
        """The batches of an epoch of Trainer's have ended."""
        self._is_behind_pass = True
        if self._control.is_interrupted:
            control = self._trainer.control
            control.should_log = control.should_evaluate = control.should_save = False

    @property
    def _control(self) -> Any:
        return self._driven.controls[0]

    def _begin_row(self) -> None:
        self._driven.begin_epoch()
        place = self._training.place
        place.loss, place.steps, self._metrics, self._loss = 0.0, 0, {}, None
        self._is_open = True

    def _is_over(self) -> bool:
        if not (self._is_open and self._training.place.steps):
            return False
        ends_here = self._rows.end_at(self._trainer.state.global_step)
        stops = self._trainer.control.should_training_stop
        if self._is_behind_pass:
            return self._rows.by_epochs or ends_here or stops
        return ends_here and not (self._rows.by_epochs or stops or self._is_pass_over)

    @property
    def _is_pass_over(self) -> bool:
        return self._training.place.batches == self._steps_in_epoch

    def _end_row(self) -> None:
        trainer, place = self._trainer, self._training.place
        step = trainer.state.global_step
        if self._is_behind_pass:
            place.epoch, place.batches = place.epoch + 1, 0
        place.rows = self._driven.next_epoch + 1
        if step >= self._rows.last:
            self._driven.set_epochs(place.rows)
        loss = place.loss + (0.0 if self._loss is None else self._loss.item())
        logs = {"loss": loss / place.steps, **self._metrics}
        if not self._rows.by_epochs:
            logs["step"] = step
        self._is_open = False
        self._driven.end_epoch(logs)
        if self._driven.stopping:
            trainer.control.should_training_stop = True

    # What is wrapped.

    def _original(self, name: str) -> Callable[..., Any]:
        bound: Callable[..., Any] = getattr(type(self._trainer), name).__get__(self._trainer)
        return bound

    def training_step(self, *args: Any, **options: Any) -> Any:
        """Sum up the losses."""
        loss = self._original("training_step")(*args, **options)
        self._loss = loss.detach().float() if self._loss is None else self._loss + loss.detach()
        return loss

    def _maybe_log_save_evaluate(self, *args: Any, **options: Any) -> None:
        """End the row when Trainer has done all that belongs to it."""
        self._original("_maybe_log_save_evaluate")(*args, **options)
        if self._is_over():
            self._end_row()

    def _run_epoch(self, **given: Any) -> None:
        """Leave out what was trained before."""
        trainer, place = self._trainer, self._training.place
        if self._driven.has_ended:
            trainer.control.should_training_stop = True
            return
        epoch = given["epoch"]
        if epoch < self._first.epoch:
            return
        self._steps_in_epoch = given["steps_in_epoch"]
        self._is_behind_pass = False
        place.epoch = epoch
        if not self._is_open:
            self._begin_row()
        try:
            self._original("_run_epoch")(**given)
        except BaseException:
            self.leave()
            raise


def _rows(trainer: Any) -> Rows:
    by_epochs = str(getattr(trainer.args.eval_strategy, "value", trainer.args.eval_strategy)) != "steps"
    if not by_epochs:
        return Rows(trainer.state.max_steps, int(trainer.state.eval_steps), False)
    loader = trainer.callback_handler.train_dataloader
    try:
        batches = len(loader)
    except TypeError:
        return Rows(trainer.state.max_steps, None, True)
    accumulated = trainer.args.gradient_accumulation_steps
    return Rows(trainer.state.max_steps, max(-(-batches // accumulated), 1), True)
