"""Lightning: its ``Trainer`` runs the loop, and a LightningModule is trained.

What was measured, and is built upon (Lightning 2.5.5 and 2.6): a callback that is no
``Checkpoint`` or ``EarlyStopping`` hears of
an epoch's end before the module itself, and misses what that logs. So one that is an ``EarlyStopping`` is put
behind all others when a fit begins. Lightning's own handlers for signals are in place only at
``on_train_start``: a training begins for us there.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from outlast.callbacks.terminate_on_nan import TerminateOnNaN
from outlast.exceptions import MissingExtra, warn
from outlast.frameworks import lightning_beside as beside
from outlast.frameworks.base import find_training
from outlast.frameworks.driven import Driven, MadeAgain
from outlast.frameworks.lightning_data import begin_again, handed_on, refuse_inside, validation_loaders
from outlast.frameworks.lightning_loops import Place, is_cut_short
from outlast.frameworks.lightning_refused import refuse
from outlast.frameworks.lightning_training import LightningTraining
from outlast.frameworks.lightning_training import control as control  # asked for by frameworks/base.py
from outlast.frameworks.lightning_training import training as training

try:
    from lightning.pytorch.callbacks import Callback
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "lightning":
        raise
    try:
        from pytorch_lightning.callbacks import Callback
    except ModuleNotFoundError:
        raise MissingExtra("lightning", extra="lightning", purpose="outlast.frameworks.lightning") from error

_OLDEST = (2, 5, 5)  # older ones make the iterator of a loader at another moment
_version = import_module(Callback.__module__.partition(".callbacks")[0]).__version__
if tuple(int(part) for part in _version.split(".")[:3] if part.isdecimal()) < _OLDEST:
    raise MissingExtra("lightning 2.5.5 or newer", extra="lightning", purpose="outlast.frameworks.lightning")


def callbacks(*items: Any) -> list[Any]:
    """What ``Trainer(callbacks=...)`` takes.

    They hear of an epoch when it has ended, behind all other callbacks and the module itself, and see
    everything that was logged in it, by the names of ``self.log``. ``loss`` is ``train_loss`` where nothing
    is logged as ``loss``. The sanity check, ``trainer.validate`` and ``trainer.test`` are not heard.

    In a ``Run`` the same ``trainer.fit`` goes on where a killed one was, with no ``ckpt_path``.

    Args:
        *items: a ``Run``, callbacks of ours, or lists of them.

    Raises:
        ArgumentError: one is no callback.
        MissingExtra: Lightning is not installed.

    Example:
        >>> import outlast
        >>> given = outlast.frameworks.lightning.callbacks(outlast.EarlyStopping(patience=2))
        >>> [type(one).__name__ for one in given]
        ['Outlast']

        .. code-block:: python

            trainer = lightning.Trainer(max_epochs=100, callbacks=given)
            trainer.fit(model, train_loader, valid_loader)

    Source: ``lightning.pytorch.callbacks.Callback``.
    """
    return [Outlast(Driven("lightning", *items))]


def resume_arguments(run: Any) -> dict[str, Any]:
    """Keywords for ``trainer.fit``: none, for the callbacks put everything back.

    Example:
        >>> resume_arguments(None)
        {}
    """
    return {}


class Outlast(MadeAgain, Callback):  # type: ignore[misc]
    """What a ``Trainer`` is given: puts what hears of the training behind all other callbacks.

    Args:
        driven: the callbacks.
    """

    def __init__(self, driven: Driven) -> None:
        self._driven = driven

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """A fit begins, or an evaluation, which is not ours."""
        heard = _in_lightning(_package(trainer))
        others = [one for one in trainer.callbacks if not (isinstance(one, heard) and one.outer is self)]
        trainer.callbacks = others
        if stage == "fit":
            trainer.callbacks = [*others, heard(self, self._driven)]


def _package(trainer: Any) -> str:
    """``lightning.pytorch``, or ``pytorch_lightning``, which has classes of its own."""
    return type(trainer.fit_loop).__module__.rpartition(".loops.")[0]


@cache
def _in_lightning(package: str) -> type[Any]:
    """The class of what hears of a training, for a ``Trainer`` of that package."""
    base = import_module(f"{package}.callbacks").EarlyStopping

    class InLightning(Heard, base):  # type: ignore[misc, valid-type]
        """The same as an ``EarlyStopping``, so that it is called last; as a ``Checkpoint`` is, too.

        But ``trainer.checkpoint_callback`` is to be Lightning's own.
        """

    return InLightning


class Heard:
    """What Lightning calls: tells callbacks of its epochs.

    Args:
        outer: what the ``Trainer`` was given.
        driven: the callbacks.
    """

    def __init__(self, outer: Outlast, driven: Driven) -> None:
        self.outer, self._driven = outer, driven
        self.stopped_epoch = self.wait_count = 0  # as Lightning's own class has them
        self._is_begun = self._has_told = False
        self._place = Place()

    def setup(self, *given: Any, **named: Any) -> None:
        """Nothing of what Lightning's own class does."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing, in Lightning's own checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is there."""

    @property
    def state_key(self) -> str:
        """Who it is in them."""
        return "outlast"

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Before data are asked for: a run takes the batches as in a loop of one's own."""
        self._is_begun = False
        refuse(trainer, self._driven)
        handed_on(trainer, self._run(trainer))

    def _run(self, trainer: Any) -> Any:
        """The run that saves this training; None if there is none."""
        return None if trainer.fast_dev_run else self._driven.run

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, with what was saved in the model, the optimizers and Lightning's loops."""
        if trainer.fast_dev_run and self._driven.is_saved:
            print(
                "outlast: fast_dev_run trains a few batches to try the code: the Run takes no part",
                flush=True,
            )
            return
        total = trainer.fit_loop.max_epochs
        run = self._run(trainer)
        if run is not None and run.saves_inside:
            refuse_inside(trainer)
        training = find_training(pl_module)
        assert isinstance(training, LightningTraining)
        self._place = training.place
        self._place.forget()
        self._driven.begin(pl_module, None if total in (-1, None) else total, marks_batches=True)
        self._is_begun = True
        self._place.begin_fit(trainer)
        if run is not None and self._driven.next_epoch:
            _let_begin(pl_module, training)
        self._driven.meet_validation(validation_loaders(trainer))
        if run is None:
            self._driven.next_epoch = trainer.current_epoch
        if run is not None and (who := beside.stopped_by(trainer)):
            print(f"outlast: {who} of Lightning's has ended this training: with more patience it goes on")
            trainer.should_stop = True
        if self._driven.has_ended:
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin an epoch."""
        if self._is_begun:
            self._place.begin_epoch(trainer)
            self._driven.begin_epoch()
            if self._run(trainer) is not None:
                begin_again(trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Begin a batch."""
        if self._is_begun:
            self._driven.begin_batch(batch_idx)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End a batch."""
        if self._is_begun and self._driven.end_batch(batch_idx, lambda: self._of_batch(trainer, outputs)):
            self._agree(trainer)

    def _of_batch(self, trainer: Any, outputs: Any) -> dict[str, Any]:
        """What there is of a batch; a loss is looked for by one callback in each."""
        found = _of_batch(trainer, outputs)
        looking = any(isinstance(one, TerminateOnNaN) for one in self._driven.callbacks)
        if looking and "loss" not in found and not self._has_told:
            self._has_told = True
            warn(
                "TerminateOnNaN looks at the loss of each batch, and has found none: return the loss in "
                "training_step, or log it there, self.log('train_loss', loss, on_step=True)."
            )
        return found

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """A validation begins."""
        if self._is_begun and not trainer.sanity_checking:
            self._driven.begin_validation(validation_loaders(trainer))

    def on_validation_batch_end(self, trainer: Any, *args: Any, **others: Any) -> None:
        """A batch of it ends: a signal may end the training here."""
        if self._is_begun and not trainer.sanity_checking:
            self._driven.end_validation_batch()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """A validation ends."""
        if self._is_begun and not trainer.sanity_checking:
            self._driven.end_validation()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """End an epoch."""
        if not self._is_begun:
            return
        if _is_at_max_steps(trainer):
            self._driven.ends_with_epoch()
        elif (run := self._run(trainer)) is not None and self._is_ended_inside(trainer, run):
            run.leave_epoch("Lightning has ended the training")
            return
        with self._place.ending(trainer):
            self._driven.end_epoch(named(self._place.logged(trainer)))
        self._agree(trainer)

    def _is_ended_inside(self, trainer: Any, run: Any) -> bool:
        """Whether something else than a callback of ours has ended the training inside the epoch."""
        return trainer.should_stop and run.control.stop_reason is None and is_cut_short(trainer)

    def _agree(self, trainer: Any) -> None:
        """Have all ranks stop if one wants to."""
        if trainer.world_size > 1:
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(trainer.should_stop, all=False)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the training; callbacks put the best weights back."""
        if self._is_begun:
            self._is_begun = False
            self._driven.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Something has ended the training: give the folder back."""
        if self._is_begun:
            self._is_begun = False
            self._driven.leave()


def named(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics under the names that the user gave them, and ``loss``.

    Example:
        >>> named({"train_loss": 0.5, "val_loss": 0.7})
        {'train_loss': 0.5, 'val_loss': 0.7, 'loss': 0.5}
    """
    loss = {} if "loss" in metrics or "train_loss" not in metrics else {"loss": metrics["train_loss"]}
    return {**metrics, **loss}


def _let_begin(module: Any, training: LightningTraining) -> None:
    """Have what ``on_train_start`` of the module changes put back: a training that goes on is past it."""
    if not beside.is_users(module, "on_train_start"):
        return
    begin, state = module.on_train_start, copy.deepcopy(training.state())

    def begin_and_put_back() -> None:
        del module.on_train_start
        begin()
        training.load_again(state)

    module.on_train_start = begin_and_put_back


def _of_batch(trainer: Any, outputs: Any) -> dict[str, Any]:
    """What there is of a batch: what was logged in it, and its loss."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    found = named(trainer._logger_connector.metrics["callback"])
    return found if loss is None else {**found, "loss": loss}


def _is_at_max_steps(trainer: Any) -> bool:
    steps = trainer.max_steps
    return steps not in (-1, None) and trainer.global_step >= steps
