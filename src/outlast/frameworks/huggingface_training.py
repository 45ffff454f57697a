"""What Hugging Face's Trainer trains: a module and its optimizer, and what Trainer itself goes on with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from outlast.exceptions import RunChanged
from outlast.frameworks import huggingface_own as own
from outlast.frameworks.attributes import Attributes, told
from outlast.frameworks.base import weakly
from outlast.frameworks.huggingface_order import generators, inexact, perhaps_inexact
from outlast.frameworks.huggingface_rows import is_measured, named, steps_of_epoch
from outlast.frameworks.tensors import check_types, stored, to_tensors, types_of
from outlast.frameworks.torch import TorchTraining, next_rates

# Of Trainer's state; the rest is what this start asks for.
_STATE = (
    *("epoch", "global_step", "log_history", "best_metric", "best_global_step", "best_model_checkpoint"),
    *("num_input_tokens_seen", "total_flos"),
)
# Of Trainer: what its logs are made of. Older versions have no initial step.
_SUMS = ("_total_loss_scalar", "_globalstep_last_logged", "_initial_global_step", "current_flos")
_DESCRIBED = (
    *("adam_beta1", "adam_beta2", "adam_epsilon", "bf16", "data_seed", "fp16", "gradient_accumulation_steps"),
    *("label_smoothing_factor", "lr_scheduler_type", "max_grad_norm", "optim"),
    *("per_device_train_batch_size", "seed", "train_sampling_strategy", "warmup_steps", "weight_decay"),
)


@dataclass
class Place:
    """Where Trainer's loop is.

    Args:
        epoch: of Trainer's, from 0.
        batches: of it that were trained.
        rows: that have ended, or end now.
        loss: the sum of the losses of the row's steps; None if it has none.
        steps: of the row.
        metrics: of evaluations in the row.
        last_step: what Trainer logs of the last step: the norm of its gradients, and its rate.
        begun: the random state in which the epoch began, before others heard of it.
        start: that in which its batches were begun; None at its beginning.
        ahead: that in which the batch was fetched that comes next.
    """

    epoch: int = 0
    batches: int = 0
    rows: int = 0
    loss: Any = None
    steps: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    last_step: list[Any] = field(default_factory=list)
    begun: Any = None
    start: Any = None
    ahead: Any = None

    def begin_pass(self, epoch: int) -> None:
        """The next batch is the first of an epoch of Trainer's."""
        self.epoch, self.batches = epoch, 0
        self.begun = self.start = self.ahead = None


class TrainerTraining(TorchTraining):
    """The module and the optimizer of a Trainer, with its scheduler, its scaler, its state and its place.

    Args:
        trainer: whose training has begun.

    Attributes:
        place: where the loop is.
        loaded: called when another place was put back.
        is_saved_inside: resume points are made inside Trainer's epochs, too.
    """

    framework = "Trainer"

    def __init__(self, trainer: Any) -> None:
        super().__init__(trainer.model, _inner(trainer.optimizer))
        self._trainer = weakly(trainer)
        self.place = Place()
        self.loaded: Callable[[], object] = lambda: None
        self.is_saved_inside = False
        self._is_opened = False
        self._own_attributes = Attributes()

    @property
    def model(self) -> Any:
        """The module."""
        return None if self.trainer is None else self.trainer.model

    @property
    def trainer(self) -> Any:
        """The Trainer."""
        return self._trainer()

    def state(self) -> Any:
        """PyTorch's, and what Trainer goes on with."""
        objects, details = stored(self._objects(), "state/training/trainer/objects")
        trainer = self.trainer
        state = {name: getattr(trainer.state, name) for name in _STATE}
        history = [_unmeasured(one) for one in state["log_history"]]
        return {
            **super().state(),
            "trainer": {
                "objects": {**objects, "details": details},
                "state": {**state, "log_history": history},
                "sums": {name: getattr(trainer, name) for name in _SUMS if hasattr(trainer, name)},
                "steps_of_epoch": steps_of_epoch(trainer),
                "place": {**vars(self.place), "loss": None},
            },
        }

    def _objects(self) -> dict[str, Any]:
        """What has tensors, or a state dict."""
        trainer = self.trainer
        scaler = trainer.accelerator.scaler
        return {
            "scheduler": trainer.lr_scheduler.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
            "loss": trainer._tr_loss,
            "row": self.place.loss,
        }

    def check_state(self, state: Any) -> None:
        if "trainer" not in state:
            raise RunChanged("what was trained here was no Trainer's: take another folder")
        super().check_state(state)
        before, now = state["trainer"]["steps_of_epoch"], steps_of_epoch(self.trainer)
        if before != now:
            raise RunChanged(
                f"an epoch of Trainer's had {before} steps, and has {now}: Trainer counts epochs, and its "
                "schedule and max_steps count steps, so it would train too much or too little. Keep the "
                "batch size, gradient_accumulation_steps and the number of samples"
            )

    def load_state(self, state: Any) -> None:
        trainer, saved = self.trainer, state["trainer"]
        kept = saved["objects"]["details"]
        live = self._objects() if kept["types"] else None
        types, objects = types_of(live), to_tensors(saved["objects"], kept, live=live)
        trainer.lr_scheduler.load_state_dict(objects["scheduler"])  # which may set rates
        super().load_state({name: one for name, one in state.items() if name != "trainer"})
        if trainer.accelerator.scaler is not None:
            trainer.accelerator.scaler.load_state_dict(objects["scaler"])
        trainer._tr_loss.copy_(objects["loss"])
        for name, value in saved["state"].items():
            setattr(trainer.state, name, copy.deepcopy(value))
        for name, value in saved["sums"].items():
            setattr(trainer, name, value)
        self.place = Place(**{**saved["place"], "loss": objects["row"]})
        if types:
            check_types(kept, types, self._objects(), "state/training/trainer/objects")
        self.loaded()

    def description(self) -> dict[str, str]:
        trainer = self.trainer
        found = {name: named(getattr(trainer.args, name, None)) for name in _DESCRIBED}
        found["max_steps"] = str(trainer.state.max_steps)  # which the schedule goes by
        with suppress(TypeError):  # of a stream
            found["train_dataset"] = f"{len(trainer.train_dataset)} samples"
        return {**super().description(), **found}

    def inexact(self, params: Mapping[str, Any]) -> list[str]:
        loader = self.trainer.callback_handler.train_dataloader
        found = [*super().inexact(params), *inexact(loader)]
        if named(self.trainer.args.save_strategy) == "best":
            found.append(
                "save_strategy='best' writes checkpoints of Trainer's own behind the Run's, and a kill in "
                "between leaves one out: use outlast.ModelCheckpoint(save_best_only=True)"
            )
        return found

    def unsaved(self, parts: Collection[Any]) -> list[str]:
        beside = [_inner(self.trainer.optimizer), self.trainer.optimizer, self.trainer.lr_scheduler]
        found = super().unsaved([*parts, *beside[1:]])
        optimizers = own.optimizers(self.trainer, [*parts, *beside])
        return [*found, *optimizers, *self.generators(parts)]

    def generators(self, parts: Collection[Any]) -> list[str]:
        """Those that are not saved, as far as they are made."""
        loader = self.trainer.callback_handler.train_dataloader
        return generators(loader, own.drawing(self.trainer, parts), parts)

    def perhaps_inexact(self) -> list[str]:
        """What may not be identical, as the data alone know."""
        loader = self.trainer.callback_handler.train_dataloader
        return perhaps_inexact(loader) if self.is_saved_inside else []

    def changed(self, parts: Mapping[str, Any], *, inside: bool = False) -> str:
        """Of the model's attributes, and of those of a subclass of Trainer."""
        found = self._own_attributes.changed(own.attributes(self.trainer, [*parts.values()]))
        names = [*dict.fromkeys(name.partition(".")[0] for name in found)]
        way = (
            "keep it in the model, as a module or a buffer, or pass a module to the Run, Run(..., head=head)"
        )
        ours = told([f"{type(self.trainer).__name__}.{name}" for name in names], way)
        return " ".join(filter(None, (super().changed(parts, inside=inside), ours)))

    # Rates.

    def _groups(self) -> dict[str, Any]:
        """The groups that Trainer makes, with weight decay and without, have one rate, as its logs have."""
        groups = super()._groups()
        first = {one.get("initial_lr", one["lr"]) for one in groups.values()}
        if not self.trainer._created_lr_scheduler or len(first) > 1:
            return groups
        return {next(iter(self.optimizers)): next(iter(groups.values()))}

    def _indices(self, name: str) -> Sequence[int]:
        """Which of the optimizer's groups have the rate of that name."""
        groups = [*self._groups()]
        return range(len(self._every_group)) if len(groups) == 1 else [groups.index(name)]

    @property
    def _every_group(self) -> Sequence[dict[str, Any]]:
        [optimizer] = self.optimizers.values()
        groups: Sequence[dict[str, Any]] = optimizer.param_groups
        return groups

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Inside this, rates are those that the schedule begins with: what the script asks for."""
        self._is_opened = True
        try:
            yield
        finally:
            self._is_opened = False

    def learning_rates(self) -> dict[str, float]:
        rates = super().learning_rates()
        base = getattr(schedules(self.trainer.lr_scheduler)[0], "base_lrs", None)
        if not self._is_opened or base is None:
            return rates
        return {name: float(base[self._indices(name)[0]]) for name in rates}

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set the rate in force, and scale the schedule that sets the next ones."""
        before = self.learning_rates()[name]
        for index in self._indices(name):
            for schedule in schedules(self.trainer.lr_scheduler):
                rates = getattr(schedule, "base_lrs", None)
                if rates and before:
                    rates[index] = value if rates[index] == before else rates[index] * (value / before)
            group = self._every_group[index]
            _set(group, float(group["lr"]) * (value / before) if self._is_opened and before else value)

    @property
    def keeps_rates(self) -> bool:
        """Whether the schedule goes on from a rate that somebody has set."""
        return all(map(_follows, schedules(self.trainer.lr_scheduler)))


def _set(group: dict[str, Any], rate: float) -> None:
    """Set a rate; one that is held in a tensor stays there."""
    if hasattr(group["lr"], "fill_"):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def schedules(scheduler: Any) -> Sequence[Any]:
    """The schedules in one."""
    return getattr(scheduler, "_schedulers", None) or [scheduler]


def _follows(schedule: Any) -> bool:
    """Whether its next rates are lower when those now, and those at its base, are halved."""
    if not hasattr(schedule, "get_lr"):  # it sets rates by a metric, from those in force
        return True
    found = next_rates(schedule, ["base_lrs"])
    return found is None or all(after < before for before, after in zip(*found, strict=True) if before)


def _inner(optimizer: Any) -> Any:
    """The optimizer in Accelerate's."""
    while hasattr(optimizer, "accelerator_state") and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _unmeasured(logs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in logs.items() if not is_measured(name)}
