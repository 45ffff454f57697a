"""What is refused in Hugging Face's Trainer before its first step, and what stands there beside a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from transformers import DefaultFlowCallback, EarlyStoppingCallback, PrinterCallback, ProgressCallback

from outlast.callbacks.hooks import HOOKS
from outlast.callbacks.learning_rate_scheduler import LearningRateScheduler
from outlast.callbacks.list import hears
from outlast.exceptions import CapabilityError, UsageError, warn
from outlast.frameworks.driven import Driven, MadeAgain, refuse_two_lists
from outlast.frameworks.huggingface_rows import named

_OF_EVALUATIONS = tuple(hook for hook in HOOKS if "test" in hook or "predict" in hook)
_SHOWING = (DefaultFlowCallback, PrinterCallback, ProgressCallback)
_REPORTING = ("transformers.integrations", "transformers.utils.notebook")
_EVALUATE = "TrainingArguments(eval_strategy='epoch') and Trainer(eval_dataset=...)"


def check(trainer: Any, driven: Driven, *, keeps_rates: bool) -> None:
    """Refuse what cannot act, or would not be exact.

    Args:
        trainer: whose training begins.
        driven: the callbacks.
        keeps_rates: the schedule goes on from a rate that somebody has set.

    Raises:
        CapabilityError, UsageError, ArgumentError: there is something; the text says what could.
    """
    refuse_two_lists(_lists(trainer))
    if trainer.args.world_size > 1:
        raise CapabilityError(
            "The callbacks act in one process, and this Trainer trains in "
            f"{trainer.args.world_size}: start the script without torchrun or accelerate launch."
        )
    held_out = [] if named(trainer.args.eval_strategy) == "no" else ["eval"]
    driven.refuse_without_data(["train"], held_out, _EVALUATE)
    _refuse_hooks_of_evaluations(driven)
    _refuse_two_best(trainer, driven)
    _refuse_rates(trainer, driven, keeps_rates)
    reasons = [*_against_a_run(trainer)] if driven.is_saved else []
    if reasons:
        raise UsageError(". ".join(reasons) + ".")
    if trainer.state.global_step and not driven.is_saved:
        warn(
            f"Trainer goes on from a checkpoint, at step {trainer.state.global_step}, and the callbacks "
            "begin there: they have seen nothing of what was before. In a Run they go on, too."
        )


def _against_a_run(trainer: Any) -> Iterator[str]:
    """Reasons why it cannot be trained in a run."""
    args = trainer.args
    if trainer.state.is_hyper_param_search:
        yield (
            "A Run holds one training, but hyperparameter_search trains many: pass the callbacks alone, such "
            "as outlast.frameworks.huggingface.callbacks(outlast.EarlyStopping()), and train the best one in "
            "a Run"
        )
    if trainer.state.global_step:
        yield (
            "resume_from_checkpoint has Trainer go on from a checkpoint of its own, but the Run knows where "
            "to go on: leave it out, trainer.train()"
        )
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        yield "A Run holds a model that is whole in one process: leave out DeepSpeed and FSDP"
    if args.auto_find_batch_size:
        yield (
            "auto_find_batch_size=True begins a training again with other batches, and a Run holds one: "
            "leave it out, and give per_device_train_batch_size"
        )
    if args.ignore_data_skip:
        yield (
            "ignore_data_skip=True begins with the first batch again after a resume, which would not be "
            "exact: leave it out"
        )


def _refuse_hooks_of_evaluations(driven: Driven) -> None:
    for one in driven.callbacks:
        if hook := next((hook for hook in _OF_EVALUATIONS if hears(one, hook)), None):
            raise CapabilityError(
                f"{type(one).__name__} has {hook}, and Trainer tells no callback when an evaluation begins: "
                "use on_epoch_end, whose logs have its metrics. In Keras's fit and in your own loops it acts."
            )


def _refuse_two_best(trainer: Any, driven: Driven) -> None:
    if not trainer.args.load_best_model_at_end:
        return
    restoring = next((one for one in driven.callbacks if getattr(one, "restore_best_weights", False)), None)
    if restoring is not None:
        raise UsageError(
            f"load_best_model_at_end=True and {type(restoring).__name__}(restore_best_weights=True) both put "
            "the best weights back, each by its own count: leave out one of the two."
        )
    if driven.is_saved:
        raise UsageError(
            "load_best_model_at_end=True takes the best weights from a checkpoint of Trainer's, which a "
            "killed training may not have written: leave it out, and put "
            "outlast.EarlyStopping(restore_best_weights=True) into the Run."
        )


def _refuse_rates(trainer: Any, driven: Driven, keeps_rates: bool) -> None:
    setting = next((one for one in driven.callbacks if getattr(one, "sets_rates", False)), None)
    if setting is None:
        return
    name, kind = type(setting).__name__, type(trainer.lr_scheduler).__name__
    if not keeps_rates:
        raise UsageError(
            f"{name} cannot act here: {kind} sets the learning rate in each step, whatever it is then. Leave "
            "out one of the two. The schedules of TrainingArguments(lr_scheduler_type=...) go on from a rate "
            "that was set."
        )
    schedule = named(trainer.args.lr_scheduler_type)
    if (
        trainer._created_lr_scheduler
        and schedule != "constant"
        and isinstance(setting, LearningRateScheduler)
    ):
        raise UsageError(
            f"{name} cannot act here: lr_scheduler_type={schedule!r} changes the learning rate after it. "
            "Pass TrainingArguments(lr_scheduler_type='constant')."
        )


def beside(trainer: Any) -> Sequence[Any]:
    """The callbacks of Trainer's that may count, but for ours."""
    return [
        one
        for one in trainer.callback_handler.callbacks
        if type(one) not in _SHOWING
        and not type(one).__module__.startswith(_REPORTING)
        and not isinstance(one, MadeAgain)
    ]


def refused(callback: Any) -> str | None:
    """Why a callback of Trainer's must not be beside a run."""
    if isinstance(callback, EarlyStoppingCallback):
        return (
            "the counter of EarlyStoppingCallback is not saved, and Trainer's own resume mixes those of "
            "two: use outlast.EarlyStopping in the Run"
        )
    if type(callback).__name__ == "JITCheckpointCallback":
        return "it saves at SIGTERM, as the Run does: leave out enable_jit_checkpoint"
    return None


def _lists(trainer: Any) -> list[Driven]:
    return [one._driven for one in trainer.callback_handler.callbacks if isinstance(one, MadeAgain)]
