"""The loop of Hugging Face's Trainer: where rows end in it, and where it goes on.

Trainer has no hook behind an evaluation and all that it does with its metrics, and none that could leave out
epochs. So for the time of a training three of its methods are wrapped, in the one Trainer that trains.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from outlast.frameworks import random_state
from outlast.frameworks.base import find_training
from outlast.frameworks.driven import Driven
from outlast.frameworks.huggingface_control import TrainerControl
from outlast.frameworks.huggingface_held import Held, held_weights
from outlast.frameworks.huggingface_order import Order, observed
from outlast.frameworks.huggingface_refused import check
from outlast.frameworks.huggingface_rows import Rows, directions, named, renamed, steps_of_epoch
from outlast.frameworks.huggingface_training import Place, TrainerTraining

_WRAPPED = ("_maybe_log_save_evaluate", "_run_epoch", "training_step")


class TrainerLoop:
    """One call of ``Trainer.train``.

    Args:
        trainer: that trains.
        driven: the callbacks.
    """

    def __init__(self, trainer: Any, driven: Driven) -> None:
        self._trainer, self._driven = trainer, driven
        self._rows = _rows(trainer)
        self._is_open = False  # a row
        self._is_behind_pass = False  # the batches of an epoch of Trainer's have ended
        self._steps_in_pass: int | None = None
        self._loss: Any = None  # the sum of the row's losses, on its device
        self._step_loss: Any = None
        self._first, self._own_place = Place(), Place()
        self._random: Any = None  # how a resumed loop goes on
        self._history: list[Any] | None = None  # what a resumed loop has logged
        self._held: Held | None = None  # its weights, while others may change them
        self._is_muted = False  # nobody hears of epochs that are left out
        self._order: Order | None = None
        self._before: dict[str, Callable[..., Any]] = {}  # what was wrapped already
        self._has_left = self._has_stepped = False
        self._named: list[str] = []  # generators that are not saved

    @property
    def _training(self) -> TrainerTraining:
        found = find_training(self._trainer)
        assert isinstance(found, TrainerTraining)
        return found

    @property
    def _place(self) -> Place:
        """Where the loop is: a run's is saved; of several lists without one each has its own."""
        return self._training.place if self._driven.is_saved else self._own_place

    @property
    def _controls(self) -> list[TrainerControl]:
        return self._driven.controls

    @property
    def _is_interrupted(self) -> bool:
        return any(one.is_interrupted for one in self._controls)

    def begin(self) -> None:
        """The training begins, where a run was left if there is one."""
        trainer, training = self._trainer, self._training
        training.place, training.loaded = Place(), self._count
        training.is_saved_inside = not self._rows.by_epochs or self._driven.saves_inside
        check(trainer, self._driven, keeps_rates=training.keeps_rates)
        left = self._rows.left(trainer.state.global_step)
        with training.opened():
            self._driven.begin(trainer, left, self._rows.size)
        if isinstance(trainer.eval_dataset, dict):
            self._driven.tell_directions(directions(self._driven.monitored, [*trainer.eval_dataset]))
        self._named = self._generators() if self._driven.is_saved else []
        self._driven.say_inexact(training.perhaps_inexact(), perhaps=True)
        if not self._driven.is_saved:
            self._driven.skip(self._rows.done(trainer.state.global_step))
        self._wrap()
        self._first = Place(**vars(self._place))
        handler = trainer.callback_handler
        if self._driven.is_saved:
            self._order = observed(handler.train_dataloader)
        if self._driven.next_epoch or self._first.steps:
            self._random, self._history = random_state.collect(), [*trainer.state.log_history]
            self._held = held_weights(trainer, training)
        self._is_muted = bool(self._first.epoch or self._first.batches or self._driven.has_ended)
        if self._driven.is_saved or self._is_muted:
            vars(handler)["on_epoch_begin"] = self._on_epoch_begin

    def _count(self) -> None:
        """Tell how many rows there are in all, now that it is known where the loop is."""
        left = self._rows.left(self._trainer.state.global_step, self._place.epoch)
        self._driven.set_epochs(None if left is None else self._place.rows + left)

    def _wrap(self) -> None:
        methods = vars(self._trainer)
        self._before = {name: methods[name] for name in _WRAPPED if name in methods}
        methods |= {name: getattr(self, name) for name in _WRAPPED}

    def leave(self) -> None:
        """Leave Trainer as it was; another list of ours may have wrapped what was wrapped here, and go on."""
        self._has_left = True
        methods = vars(self._trainer)
        for name in _WRAPPED:
            found = methods.pop(name, None)
            while isinstance(loop := getattr(found, "__self__", None), TrainerLoop) and loop._has_left:
                found = loop._before.get(name)
            methods |= {} if found is None else {name: found}
        vars(self._trainer.callback_handler).pop("on_epoch_begin", None)
        if self._order is not None:
            self._order.leave()

    def _on_epoch_begin(self, args: Any, state: Any, control: Any) -> Any:
        """Have all hear of an epoch of Trainer's, unless it is left out; what they draw there is known."""
        if self._is_muted:
            return control
        handler = self._trainer.callback_handler
        if self._driven.is_saved:
            self._place.begun = random_state.collect()
        return type(handler).on_epoch_begin(handler, args, state, control)

    def _let_hear(self) -> None:
        """Have all hear of the first epoch that is trained, and draw in it as they did."""
        trainer, place = self._trainer, self._place
        self._is_muted = False
        if place.batches:
            random_state.restore(place.begun)
        else:
            self._come_to_now()
            self._begin_if_closed()
        trainer.control = self._on_epoch_begin(trainer.args, trainer.state, trainer.control)

    def end(self) -> None:
        """The training has ended."""
        self.leave()
        self._driven.end()

    def take(self, metrics: Mapping[str, Any]) -> None:
        """An evaluation has ended."""
        if self._is_open:  # else it is none of the training's epochs
            self._place.metrics |= renamed(metrics, self._driven.monitored)

    def begin_step(self) -> None:
        """A step begins."""
        self._begin_if_closed()
        if self._order is None:  # of a stream
            self._come_to_now()
        self._random = self._step_loss = None
        self._driven.begin_batch(self._place.steps)

    def _come_to_now(self) -> None:
        """Draw on as the loop did that has not ended."""
        if self._random is not None:
            random_state.restore(self._random)
        self._random = None

    def end_step(self) -> None:
        """A step has ended."""
        trainer, place = self._trainer, self._place
        place.steps += 1
        place.batches += trainer.current_gradient_accumulation_steps
        self._driven.end_batch(place.steps - 1, lambda: {"loss": self._step_loss.item()})
        if self._driven.stopping:
            trainer.control.should_training_stop = True
        if self._driven.is_saved and not self._has_stepped:  # some make their generator at the first batch
            self._has_stepped = True
            self._driven.say_inexact([one for one in self._generators() if one not in self._named])

    def _generators(self) -> list[str]:
        return self._training.generators([*self._driven.run._parts.values()])

    @property
    def _is_pass_over(self) -> bool:
        """Whether the next batch is the first of an epoch of Trainer's."""
        return self._place.batches == self._steps_in_pass or self._trainer.control.should_epoch_stop

    def _follow(self) -> None:
        """After a step and all that Trainer does behind it: a run may make a resume point."""
        place = self._place
        if not self._is_open or self._rows.end_at(self._trainer.state.global_step):
            return  # the row's end makes one
        if self._is_pass_over != self._is_behind_pass:
            return  # there is one behind the last step of an epoch of Trainer's, when that has ended
        if self._is_behind_pass:
            place.begin_pass(place.epoch + 1)
        self._keep()
        for one in self._controls:
            if one.steps is not None:
                one.steps.done = place.steps
                one.steps.hear(place.steps, 1)
        if self._is_interrupted and self._is_behind_pass:
            self._end_row()
        elif self._is_interrupted:
            self._trainer.control.should_training_stop = True

    def _keep(self) -> None:
        """Have the place be all that a resume needs."""
        place = self._place
        if place.last_step:
            place.last_step[0] = float(place.last_step[0])
        place.ahead = None if self._order is None or not place.batches else self._order.ahead
        if self._loss is not None:
            place.loss = self._loss

    def end_pass(self) -> None:
        """The batches of an epoch of Trainer's have ended."""
        self._is_behind_pass = True
        self._come_to_now()  # if none was left
        if self._is_interrupted and not self._is_pass_over:  # it was cut short
            control = self._trainer.control
            control.should_log = control.should_evaluate = control.should_save = False

    def _begin_if_closed(self) -> None:
        if not self._is_open:
            self._begin_row()

    def _begin_row(self) -> None:
        self._driven.begin_epoch()
        for one in self._controls:
            if one.steps is not None and one.steps.come_back is not None:
                come_back, one.steps.come_back = one.steps.come_back, None
                come_back()
        place = self._place
        if self._first.steps:  # a row goes on
            self._first.steps = 0
            self._loss = place.loss
        else:
            place.loss, place.steps, place.metrics, self._loss = None, 0, {}, None
        place.rows = self._driven.next_epoch
        self._is_open = True

    def _is_over(self) -> bool:
        if not (self._is_open and self._place.steps):
            return False
        ends_here = self._rows.end_at(self._trainer.state.global_step)
        stops = self._trainer.control.should_training_stop
        if self._is_behind_pass:
            return self._rows.by_epochs or ends_here or stops
        return ends_here and not (self._rows.by_epochs or stops or self._is_pass_over)

    def _end_row(self) -> None:
        trainer, place = self._trainer, self._place
        step = trainer.state.global_step
        self._keep()
        logs = {"loss": self._loss.item() / place.steps, **place.metrics}
        if not self._rows.by_epochs:
            logs["step"] = step
        if self._rows.end_at(step) or not self._is_interrupted:
            self._close(place)
        if step >= self._rows.last:
            self._driven.set_epochs(place.rows)
        self._is_open, self._loss = False, None
        self._driven.end_epoch(logs)
        if self._driven.stopping:
            trainer.control.should_training_stop = True
        elif not (trainer.control.should_training_stop or step >= self._rows.last):
            self._begin_row()  # with the random state that a resume begins it with

    def _close(self, place: Place) -> None:
        """The row is whole: the place is the next one's beginning, and no signal saves it as unfinished."""
        is_cut_short = self._trainer.control.should_training_stop and not self._is_pass_over
        if self._is_behind_pass and not is_cut_short:
            place.begin_pass(place.epoch + 1)
        place.rows, place.loss, place.steps, place.metrics = self._driven.next_epoch + 1, None, 0, {}
        for one in self._controls:
            if one.steps is not None:
                one.steps.done = 0

    # What is wrapped.

    def _original(self, name: str) -> Callable[..., Any]:
        bound: Callable[..., Any] = getattr(type(self._trainer), name).__get__(self._trainer)
        return self._before.get(name, bound)

    def training_step(self, *args: Any, **options: Any) -> Any:
        """Sum up the losses."""
        loss = self._original("training_step")(*args, **options)
        if self._has_left:
            return loss
        found = loss.detach().float()
        self._loss = found if self._loss is None else self._loss + found
        self._step_loss = found if self._step_loss is None else self._step_loss + found
        return loss

    def _maybe_log_save_evaluate(self, loss: Any, norm: Any, *args: Any, **options: Any) -> None:
        """End the row when Trainer has done all that belongs to it."""
        place = self._place
        if norm is not None:
            place.last_step = [norm, options.get("learning_rate")]
        elif self._is_behind_pass and place.last_step:  # it was in an earlier start
            norm, options["learning_rate"] = place.last_step
        self._original("_maybe_log_save_evaluate")(loss, norm, *args, **options)
        if self._has_left:
            return
        if self._is_over():
            self._end_row()
        else:
            self._follow()

    def _run_epoch(self, **given: Any) -> None:
        """Leave out what was trained before."""
        trainer, epoch = self._trainer, given["epoch"]
        if self._history is not None:  # without an evaluation before the first step of this start
            trainer.state.log_history, self._history = self._history, None
        held, self._held = self._held, None
        if held is not None:
            held.put_back()
        if self._driven.has_ended:
            trainer.control.should_training_stop = True
            return
        if epoch < self._first.epoch:
            return
        if self._is_muted:
            self._let_hear()
        self._steps_in_pass, self._is_behind_pass = given["steps_in_epoch"], False
        self._come_to_now()
        self._begin_if_closed()
        self._place.epoch = epoch
        batches = self._place.batches
        if batches:
            given |= {
                "resume_from_checkpoint": os.devnull,  # where no random state is found
                "epochs_trained": epoch,
                "steps_trained_in_current_epoch": batches,
            }
            self._go_on(batches)
        elif self._driven.is_saved:
            self._place.start = random_state.collect()
        try:
            self._original("_run_epoch")(**given)
        except BaseException:
            self.leave()
            raise
        if self._is_open:  # a row goes on in the next pass
            self._place.begin_pass(epoch + 1)

    def _go_on(self, batches: int) -> None:
        """Have the batches behind these be as if the loop had not ended."""
        place = self._place
        self._random = random_state.collect()
        if self._order is not None:
            self._order.go_on(batches, place.ahead, self._random)
        random_state.restore(place.start)


def _rows(trainer: Any) -> Rows:
    if named(trainer.args.eval_strategy) == "steps":
        return Rows(trainer.state.max_steps, int(trainer.state.eval_steps), False)
    return Rows(trainer.state.max_steps, steps_of_epoch(trainer), True)
