"""What a ``Trainer`` trains, and who runs its loop: a PyTorch training with Lightning's own state beside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from outlast.core.asking import asked
from outlast.core.run_state import START, Moment, Position
from outlast.exceptions import RunChanged
from outlast.frameworks import lightning_held as held
from outlast.frameworks import lightning_loops as loops
from outlast.frameworks import lightning_metrics as metrics
from outlast.frameworks import modules, torch
from outlast.frameworks.attributes import Attributes
from outlast.frameworks.base import Control, Training, find_training
from outlast.frameworks.lightning_beside import inexact_beside, patience, stateful
from outlast.frameworks.tensors import stored, to_tensors
from outlast.frameworks.torch import TorchTraining, ignores_rates

_OURS = "lightning"  # in the state, beside what PyTorch has
_SETTINGS = (  # of a Trainer, on which each step depends
    *("accumulate_grad_batches", "precision", "gradient_clip_val", "gradient_clip_algorithm"),
    *("limit_train_batches", "limit_val_batches", "overfit_batches", "val_check_interval"),
    *("check_val_every_n_epoch", "reload_dataloaders_every_n_epochs"),
)
_SCALED = ("base_lrs", "max_lrs")  # what schedulers compute rates from; the latter is CyclicLR's


def is_fitted(model: Any) -> bool:
    """Whether a ``Trainer`` fits the module now."""
    state = asked(asked(model, "_trainer"), "state")
    return asked(state, "fn") == "fit" and asked(state, "status") in ("running", "interrupted")


class LightningTraining(TorchTraining):
    """A LightningModule in ``trainer.fit``, with the optimizers that it has configured.

    Args:
        model: the module.

    Attributes:
        place: where Lightning's loops are.
    """

    framework = "Lightning"
    needs_optimizer = False

    def __init__(self, model: Any) -> None:
        found = model.trainer.optimizers
        super().__init__(model, found[0] if len(found) == 1 else list(found))
        self.place = loops.Place()
        self._parts: set[int] = set()  # of the Run: who they are
        self._at_begin: set[str] | None = None  # the places of what the objects of the training held

    @property
    def _trainer(self) -> Any:
        return self.model.trainer

    # Learning rates.

    @property
    def scales_schedules(self) -> bool:  # type: ignore[override]
        return bool(loops.schedulers(self._trainer))

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set the rate, and what schedulers compute the next ones from."""
        group, before = self._groups()[name], self.learning_rates()[name]
        super().set_learning_rate(name, value)
        for scheduler in loops.schedulers(self._trainer):
            if before:
                _scale(scheduler, group, value / before)

    def sets_rates_anew(self, scheduler: Any) -> bool:
        """Whether a scheduler goes back to its own rates although what it computes them from is scaled."""
        return any(hasattr(one, "get_lr") and ignores_rates(one, _SCALED) for one in _inner(scheduler))

    # State.

    def state(self) -> Any:
        found = super().state()
        arrays, details = stored(self._beside(), f"state/training/{_OURS}")
        return {**found, _OURS: {**arrays, "details": details}}

    def _beside(self) -> dict[str, Any]:
        return {
            "loops": self.place.saved(self._trainer),
            "torchmetrics": {
                name: metrics.state_of(one)
                for name, one in self._metrics().items()
                if not self.place.resets(self._trainer, one)
            },
            "groups": {name: metrics.groups_of(one) for name, one in self._collections().items()},
            "parts": {name: one.state_dict() for name, one in self._stateful().items()},
        }

    def _stateful(self) -> dict[str, Any]:
        return {**stateful(self._trainer), **held.saved(self._trainer)}

    def _metrics(self) -> dict[str, Any]:
        """By name, those of the module and of what is held beside it."""
        others = {name: one for name, one in held.saved(self._trainer).items() if modules.is_module(one)}
        return modules.metrics(self.model) | {
            f"{place}.{name}".rstrip("."): metric
            for place, one in others.items()
            for name, metric in modules.metrics(one).items()
        }

    def _collections(self) -> dict[str, Any]:
        return {name: one for name, one in self.model.named_modules() if metrics.is_collection(one)}

    def check_state(self, state: Any) -> None:
        if _OURS not in state:
            raise RunChanged(
                "the training in this folder was not made by a Trainer: take another folder, or begin again "
                "with resume='never'."
            )
        there, here = state[_OURS]["loops"]["kinds"], loops.kinds(self._trainer)
        if there != here:
            raise RunChanged(
                f"the schedulers changed from {', '.join(there) or 'none'} to {', '.join(here) or 'none'}: "
                "configure the same, or begin again with resume='never'."
            )
        super().check_state(state)

    def load_state(self, state: Any) -> None:
        saved = self._load(state)
        self.place.put_back(self._trainer, saved["loops"])
        self._put_metrics(saved)

    def load_again(self, state: Any) -> None:
        """Load a state whose place the loops have left by nothing but the beginning of a fit."""
        self._put_metrics(self._load(state))

    def _load(self, state: Any) -> Any:
        super().load_state({name: value for name, value in state.items() if name != _OURS})
        kept = state[_OURS]["details"]
        saved = to_tensors(state[_OURS], kept, live=self._beside() if kept["types"] else None)
        for name, one in self._stateful().items():
            if name in saved["parts"]:
                one.load_state_dict(saved["parts"][name])
        return saved

    def _put_metrics(self, saved: Any) -> None:
        for name, one in self._collections().items():
            metrics.put_groups(one, saved["groups"].get(name))
        for name, one in self._metrics().items():
            if name in saved["torchmetrics"]:
                metrics.put_back(one, saved["torchmetrics"][name])
            elif not self.place.is_ending:
                one.reset()

    # What is said of a resume.

    def description(self) -> dict[str, str]:
        found = super().description()
        settings = {name: str(asked(self._trainer, name)) for name in _SETTINGS}
        return {
            **found,
            **settings,
            **patience(self._trainer),
            "what else has a state": ", ".join(self._stateful()),
        }

    def inexact(self, params: Mapping[str, Any]) -> list[str]:
        cut = self.place.cut_short(self._trainer)
        return [*super().inexact(params), *inexact_beside(self._trainer), *([cut] if cut else [])]

    def _changed_of_model(self, known: Attributes) -> dict[str, str]:
        attributes = held.watched(self._trainer, self._parts)
        changed = modules.unsaved(self.model, known.changed(attributes))
        found = {
            name: held.way_to_save(self._trainer, name) for name in changed if not self._is_of_metric(name)
        }
        now = held.saved(self._trainer).keys()
        if self._at_begin is None:
            self._at_begin = {*now}
        late, self._at_begin = now - self._at_begin, self._at_begin | now
        return found | dict.fromkeys(late, "make it before the training, as in setup() or on_fit_start()")

    def _is_of_metric(self, attribute: str) -> bool:
        owner, _, name = attribute.rpartition(".")
        metric = self._metrics().get(owner)
        return metric is not None and name in metrics.state_of(metric)

    def unsaved(self, parts: Collection[Any]) -> list[str]:
        wrapped = self._trainer.strategy._lightning_optimizers
        self._parts = {id(one) for one in parts}
        saved = [*parts, *held.saved(self._trainer).values()]
        found = super().unsaved([*saved, *loops.schedulers(self._trainer), *wrapped])
        again = tuple(f"{type(one).__name__} trains " for one in wrapped)  # the same, by another name
        return [text for text in found if not text.startswith(again)]


def _inner(scheduler: Any) -> list[Any]:
    """The schedulers in one of several, or itself."""
    return getattr(scheduler, "_schedulers", None) or [scheduler]


def _scale(scheduler: Any, group: Any, factor: float) -> None:
    """Scale the rates of a group that a scheduler computes the next ones from."""
    for one in _inner(scheduler):
        for name in _SCALED:
            rates = asked(one, name)
            for index, known in enumerate(one.optimizer.param_groups):
                if known is group and rates is not None:
                    rates[index] *= factor


class LightningControl(Control):
    """The loop of a ``Trainer``, which reads ``should_stop`` after each batch and each epoch."""

    dispatchers = ("lightning", "pytorch_lightning")
    stops_from_outside_hold = False
    position = START

    @property
    def _trainer(self) -> Any:
        return self._loop_model.trainer

    @property
    def random_moment(self) -> Moment:  # type: ignore[override]
        training = find_training(self._loop_model)
        waits = isinstance(training, LightningTraining) and training.place.random_waits
        return Moment.EPOCH_BEGIN if waits else Moment.TRAIN_BEGIN

    def begin(self) -> None:
        super().begin()
        self._trainer.should_stop = False

    def stop(self, reason: str) -> None:
        super().stop(reason)
        self._trainer.should_stop = True

    @property
    def stopping(self) -> bool:
        return bool(self._trainer.should_stop)

    def resume_at(self, position: Position = START) -> None:
        self.position = position


def training(model: Any, optimizer: Any = None) -> Training:
    """What a ``Trainer`` trains; in a loop of one's own a LightningModule is a module as any other."""
    if optimizer is None and is_fitted(model):
        return LightningTraining(model)
    return torch.training(model, optimizer)


def control(model: Any) -> Control:
    """Who runs the loop."""
    return LightningControl(model) if is_fitted(model) else torch.control(model)
