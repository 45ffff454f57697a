"""What a ``Trainer`` is refused before its first batch, with the way out."""

from __future__ import annotations

from typing import Any

from outlast.exceptions import CapabilityError, UsageError, warn
from outlast.frameworks import lightning_beside as beside
from outlast.frameworks import lightning_loops as loops
from outlast.frameworks.base import find_training
from outlast.frameworks.driven import Driven


def refuse(trainer: Any, driven: Driven) -> None:
    """Refuse what cannot act, or would not be saved.

    Raises:
        ArgumentError, CapabilityError, UsageError: the text says what, and what to do.
    """
    _refuse_ranks(trainer, driven)
    _refuse_undone_rates(trainer, driven)
    _refuse_without_data(trainer, driven)
    if driven.is_saved and not trainer.fast_dev_run:
        _refuse_beside_a_run(trainer, driven)


def _refuse_ranks(trainer: Any, driven: Driven) -> None:
    if trainer.world_size == 1:
        return
    writing = next(
        (one for one in driven.callbacks if type(one).__name__ in ("CSVLogger", "ModelCheckpoint")), None
    )
    who = "A Run" if driven.is_saved else writing and type(writing).__name__
    if who:
        raise CapabilityError(
            f"{who} cannot write from {trainer.world_size} processes yet: train in one, "
            "Trainer(devices=1, num_nodes=1). EarlyStopping, ReduceLROnPlateau, History and the like act in "
            "all of them."
        )


def _refuse_undone_rates(trainer: Any, driven: Driven) -> None:
    setting = next(
        (type(one).__name__ for one in driven.callbacks if getattr(one, "sets_rates", False)), None
    )
    if setting is None:
        return
    training = find_training(trainer.lightning_module)
    for scheduler in loops.schedulers(trainer):
        if not hasattr(scheduler, "get_lr") and not hasattr(scheduler, "_schedulers"):
            warn(
                f"{setting} sets the learning rate, and {type(scheduler).__name__} has no get_lr(), so that "
                "nobody can tell whether it sets the rate again in each of its steps: if it does, leave out "
                "one of the two."
            )
        if training.sets_rates_anew(scheduler):
            raise UsageError(
                f"{setting} sets the learning rate, but the scheduler {type(scheduler).__name__} of "
                "configure_optimizers sets it again in each of its steps, whatever it is then: leave out one "
                "of the two."
            )


def _refuse_without_data(trainer: Any, driven: Driven) -> None:
    """Who logs in a hook at an epoch's end may log anything."""
    if not trainer.enable_validation and not beside.logs_at_epochs_end(trainer):
        what = "trainer.fit(model, train_loader, valid_loader), and a validation_step in the module"
        driven.refuse_without_data(["train"], [], what)


def _refuse_beside_a_run(trainer: Any, driven: Driven) -> None:
    if len(beside.lists(trainer)) > 1:
        raise UsageError(
            "A Run and other callbacks of outlast are in the same Trainer in lists of their own, so the Run "
            "would not save them: pass one list, with all callbacks in the Run, "
            "callbacks=outlast.frameworks.lightning.callbacks(run)."
        )
    if trainer._checkpoint_connector._loaded_checkpoint:
        raise UsageError(
            "A Run goes on where it was left, and ckpt_path= says another place: leave out ckpt_path. To "
            "begin with the weights of a file, load them before: model.load_state_dict(...)."
        )
    has_trained = trainer.current_epoch or trainer.global_step
    if has_trained and trainer.current_epoch != driven.next_epoch:
        raise UsageError(
            f"This Trainer has trained {trainer.current_epoch} epochs already, which the Run has not seen: "
            "make a new Trainer for each training with a Run."
        )
    if beside.averages(trainer):
        raise UsageError(
            "StochasticWeightAveraging takes the place of the optimizer's scheduler once it has begun, and "
            "keeps its averages where nothing can be saved, so that no later start could go on: leave it "
            "out, or train without a Run."
        )
    if beside.requeues(trainer):
        raise UsageError(
            "Lightning would submit this SLURM job again from a checkpoint of its own, and a Run goes on "
            "from its folder: pass Trainer(plugins=[SLURMEnvironment(auto_requeue=False)]), and have SLURM "
            "start the same command again."
        )
    if (trainer.fit_loop.min_epochs or 0) > 1 or trainer.min_steps:
        raise UsageError(
            "min_epochs and min_steps go on with a training that a callback has ended, and a Run takes that "
            "for its end: leave them out, and give the callback a beginning, "
            "outlast.EarlyStopping(start_from_epoch=...)."
        )
