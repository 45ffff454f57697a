"""What stands beside a module in a ``Trainer``: other callbacks, the data module, the precision's scaler."""

from __future__ import annotations

import dis
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from outlast.core.asking import asked
from outlast.frameworks.lightning_data import validation_loaders

_OURS = __name__.partition(".")[0]
# They act on the weights, and keep what they need where no state_dict has it.
_NOT_KEPT = ("BaseFinetuning", "ModelPruning")
# They remember paths and times, which are others in each start.
_OURS_TOO = {"ModelCheckpoint": "ModelCheckpoint", "Timer": "TimeLimit"}


def others(trainer: Any) -> list[Any]:
    """The callbacks that are not outlast's."""
    return [one for one in trainer.callbacks if not type(one).__module__.startswith(f"{_OURS}.")]


def lists(trainer: Any) -> list[Any]:
    """What hears of the training for outlast."""
    return [one for one in trainer.callbacks if hasattr(one, "outer")]


def stateful(trainer: Any) -> dict[str, Any]:
    """What has a state of its own, by name, as Lightning's own checkpoints have it."""
    found = {f"callback {one.state_key}": _savable(one) for one in others(trainer) if _is_kept(one)}
    if trainer.datamodule is not None and _has_own(trainer.datamodule, "state_dict"):
        found["the data module"] = trainer.datamodule
    if trainer.precision_plugin.state_dict():
        found["the precision's scaler"] = trainer.precision_plugin
    return found


class _Patient:
    """The state of a stopper of Lightning's, but for its patience, which is the script's affair."""

    def __init__(self, stopper: Any) -> None:
        self._stopper = stopper

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self._stopper.state_dict().items() if name != "patience"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._stopper.load_state_dict({**state, "patience": self._stopper.patience})


def unsaved(trainer: Any) -> dict[str, Any]:
    """By name, the user's own callbacks and data module whose attributes nobody saves."""
    found: dict[str, Any] = {}
    beside = [*others(trainer), *([] if trainer.datamodule is None else [trainer.datamodule])]
    for one in beside:
        is_watched = not _is_theirs(type(one)) or type(one).__name__ == "LambdaCallback"
        if is_watched and not is_users(one, "state_dict"):
            name, again = type(one).__name__, sum(type(other) is type(one) for other in found.values())
            found[f"{name} {again + 1}" if again else name] = one
    return found


def usual(thing: Any) -> frozenset[str]:
    """The attributes that Lightning's own code sets, but for the hyperparameters."""
    kind: Any = type(thing)
    return _set_by_lightning(kind)


@cache
def _set_by_lightning(kind: Any) -> frozenset[str]:
    functions = [one for base in kind.__mro__ if _is_theirs(base) for one in vars(base).values()]
    functions += [asked(one, "fset") for one in functions]
    codes = [code for one in functions if (code := asked(one, "__code__")) is not None]
    found = {one.argval for code in codes for one in dis.get_instructions(code) if one.opname == "STORE_ATTR"}
    return frozenset(found - {"_hparams"})


def _stoppers(trainer: Any) -> list[Any]:
    return [one for one in others(trainer) if _known(one, ["EarlyStopping"])]


def patience(trainer: Any) -> dict[str, str]:
    """That of Lightning's stoppers."""
    return {
        f"{type(one).__name__}({one.monitor!r}).patience": str(one.patience) for one in _stoppers(trainer)
    }


def stopped_by(trainer: Any) -> str:
    """Which of Lightning's stoppers has ended the training before, and would again; "" if none."""
    for one in _stoppers(trainer):
        if one.stopped_epoch and one.wait_count >= one.patience:
            return f"{type(one).__name__}(patience={one.patience})"
    return ""


def logs_at_epochs_end(trainer: Any) -> bool:
    """Whether the module or a callback of the user's may log anything when an epoch ends."""
    users = [one for one in others(trainer) if not _is_theirs(type(one))]
    return any(_has_own(one, "on_train_epoch_end") for one in (trainer.lightning_module, *users))


def averages(trainer: Any) -> bool:
    """Whether a callback swaps the scheduler for one of its own in the middle of a training."""
    return any(_known(one, ["StochasticWeightAveraging"]) for one in others(trainer))


def requeues(trainer: Any) -> bool:
    """Whether Lightning would submit its job again when a signal comes."""
    return bool(asked(trainer._accelerator_connector.cluster_environment, "auto_requeue", False))


def inexact_beside(trainer: Any) -> Iterator[str]:
    """What of them a resume cannot make identical, in phrases."""
    for one in others(trainer):
        if _known(one, _NOT_KEPT):
            yield f"what {type(one).__name__} has done to the training is not saved: leave it out"
        elif (kind := _known(one, _OURS_TOO)) and getattr(one, "monitor", kind) is not None:
            yield f"the state of {kind} is not saved: use outlast.{_OURS_TOO[kind]}"
        elif _has_own(one, "on_save_checkpoint"):
            mend = "give it a state_dict() and a load_state_dict()"
            yield (
                f"what {type(one).__name__} puts into Lightning's checkpoints is not saved: "
                f"{'leave it out' if _is_theirs(type(one)) else mend}"
            )
    if _has_own(trainer.lightning_module, "on_save_checkpoint"):
        yield (
            f"what {type(trainer.lightning_module).__name__}.on_save_checkpoint adds is not saved: make it "
            "a buffer, self.register_buffer(name, torch.tensor(value)), or keep it in a callback with a "
            "state_dict()"
        )
    yield from _inexact_loaders(trainer)
    if trainer.reload_dataloaders_every_n_epochs > 1:
        yield (
            "the loaders of an epoch were made in an earlier one, by the epoch of then, and are made in the "
            "epoch of now after a resume: take reload_dataloaders_every_n_epochs=1, or make them alike"
        )


def _inexact_loaders(trainer: Any) -> Iterator[str]:
    trained, validated = trainer.fit_loop._combined_loader, validation_loaders(trainer)
    for one in (*([] if trained is None else trained.flattened), *validated):
        if callable(asked(one, "state_dict")):
            yield (
                f"what {type(one).__name__}.state_dict() gives is not saved: keep it in the data module or "
                "in a callback, with a state_dict() and a load_state_dict()"
            )
    if any(asked(one, "persistent_workers", False) for one in validated):
        yield (
            "persistent workers of the validation go on with random numbers of their own, if the dataset "
            "draws any: leave out persistent_workers=True"
        )


def _savable(callback: Any) -> Any:
    is_stopper = _known(callback, ["EarlyStopping"]) and not is_users(callback, "state_dict")
    return _Patient(callback) if is_stopper else callback


def is_users(thing: Any, method: str) -> bool:
    """Whether a method is of a class of the user's own."""
    owner = next((kind for kind in type(thing).__mro__ if method in vars(kind)), None)
    return owner is not None and not _is_theirs(owner)


def _is_kept(callback: Any) -> bool:
    return _has_own(callback, "state_dict") and not _known(callback, [*_NOT_KEPT, *_OURS_TOO])


def _known(callback: Any, names: Collection[str]) -> str:
    """Which of these of Lightning's it is, or derives from."""
    kinds = [kind for kind in type(callback).__mro__ if _is_theirs(kind)]
    return next((kind.__name__ for kind in kinds if kind.__name__ in names), "")


def _has_own(thing: Any, name: str) -> bool:
    """Whether a class other than the bases of all callbacks, modules and data modules has a method."""
    owner = next((kind for kind in type(thing).__mro__ if name in vars(kind)), None)
    return owner is not None and not (_is_theirs(owner) and owner.__name__ in _BASES)


_BASES = (
    *("Callback", "CheckpointHooks", "DataHooks", "LightningDataModule", "LightningModule", "ModelHooks"),
    "Module",  # PyTorch's
)


def _is_theirs(kind: type) -> bool:
    package = str(asked(kind, "__module__", "")).partition(".")[0]
    return package in ("lightning", "pytorch_lightning", "torch")
