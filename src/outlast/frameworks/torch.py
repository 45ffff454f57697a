"""PyTorch: how a module and its optimizers are stopped, slowed, copied and saved."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from outlast.core.asking import asked, has
from outlast.exceptions import ArgumentError, CapabilityError, RunChanged
from outlast.frameworks import archives, attached, modules, nested, optimizers
from outlast.frameworks.attributes import Attributes, told
from outlast.frameworks.base import Capability, Control, Snapshot, Training, optimizers_by_name
from outlast.frameworks.description import settings_of, text
from outlast.frameworks.steps import Activity, Idleness, Steps
from outlast.frameworks.strays import strays
from outlast.frameworks.tensors import (
    check_types,
    described,
    stored,
    to_array,
    to_arrays,
    to_tensor,
    to_tensors,
    types_of,
)

# What changes in training, or is no setting.
_OF_A_GROUP = ("params", "param_names", "lr", "initial_lr", "name")


def training(model: Any, optimizer: Any) -> Training:
    """The Training of a PyTorch module and its optimizer, optimizers, or none.

    Raises:
        ArgumentError: the model has no state dict, or an optimizer has no parameter groups.
    """
    if model is not None and not hasattr(model, "state_dict"):
        way = "ParameterDict({...})" if isinstance(model, Mapping) else "ParameterList([...])"
        raise ArgumentError(
            f"model must be a PyTorch module, but is a {type(model).__name__}: pass the model itself, not "
            "its parameters. Bare tensors can be a model, too, of torch.nn.Parameter: "
            f"model=torch.nn.{way}."
        )
    for name, one in optimizers_by_name(optimizer).items():
        if not hasattr(one, "param_groups"):
            raise ArgumentError(
                "optimizer must be a PyTorch optimizer, or several in a list or a dict by name, but "
                f"{name} is a {type(one).__name__}."
            )
    return TorchTraining(model, optimizer)


def control(model: Any) -> Control:
    """A loop of the user's own."""
    return Control(model)


_IDLE = 2  # batches without training between two saves that are told: one may be skipped by the script


class TorchTraining(Training):
    """A module and its optimizers.

    Args:
        model: a module; None if nothing is to be saved or restored.
        optimizer: one optimizer, several in a list or a dict by name, or None.
    """

    framework = "this PyTorch loop"

    def __init__(self, model: Any, optimizer: Any = None) -> None:
        super().__init__(model)
        self._optimizers = optimizers_by_name(optimizer)
        self._attributes: dict[str, Attributes] = {}  # of the model, and of each part
        self._steps: dict[str, Steps] = {}  # by optimizer, once there is something to save
        self._steps_of_parts: list[tuple[Any, Steps]] = []
        self._activity, self._idleness, self._has_told_idle = Activity(), Idleness(), False
        self._own: dict[str, list[int]] = {}  # sizes of groups that the script made, if others were added
        can: set[Capability] = set()
        if model is not None:
            can |= {"weights", "saving", "state"}
        if self._optimizers:
            can |= {"learning_rate"}
        self.capabilities = frozenset(can)

    @property
    def optimizers(self) -> dict[str, Any]:
        """The optimizers by name."""
        return self._optimizers

    def description(self) -> dict[str, str]:
        """The innermost modules as they print themselves, and the optimizers' settings."""
        found = {}
        for name, module in self.model.named_modules():
            if not any(True for _ in module.children()):
                found[f"model.{name}" if name else "model"] = text(module)
        for name, optimizer in self._optimizers.items():
            found[name] = type(optimizer).__name__
            for index, group in enumerate(optimizer.param_groups):
                found |= settings_of(f"{name}.{index}" if index else name, group, _OF_A_GROUP)
        return found

    @property
    def is_on_accelerator(self) -> bool:
        """Whether a parameter is on another device than the CPU."""
        return any(one.device.type != "cpu" for one in self.model.parameters())

    def learning_rates(self) -> dict[str, float]:
        """The rates in force, by optimizer and parameter group."""
        return {name: float(group["lr"]) for name, group in self._groups().items()}

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set the rate of one parameter group; a rate held in a tensor stays there."""
        group = self._groups()[name]
        if hasattr(group["lr"], "fill_"):
            group["lr"].fill_(value)
        else:
            group["lr"] = value

    def sets_rates_anew(self, scheduler: Any) -> bool:
        """Whether a scheduler's next rates are the same when those now are halved: ``StepLR`` multiplies."""
        inner = getattr(scheduler, "_schedulers", None) or [scheduler]  # of SequentialLR and ChainedScheduler
        return any(hasattr(one, "get_lr") and ignores_rates(one) for one in inner)

    def _groups(self) -> dict[str, dict[str, Any]]:
        groups: dict[str, dict[str, Any]] = {}
        for name, optimizer in self._optimizers.items():
            several = len(optimizer.param_groups) > 1
            for index, group in enumerate(optimizer.param_groups):
                part = str(group.get("name", index))
                prefix = f"{name}_" if len(self._optimizers) > 1 else ""
                groups[prefix + part if several else name] = group
        return groups

    def _copied_weights(self) -> Snapshot:
        """Copies of ``model.state_dict()``."""
        return Snapshot(_copied(self.model.state_dict()))

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Put a state dict back."""
        self._activity.forget()
        modules.set_sparse(self.model, snapshot.weights)
        self.model.load_state_dict(snapshot.weights)

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        """The state dict's tensors, by their names."""
        others = [k for k, v in snapshot.weights.items() if not has(v, "detach")]
        if others:
            raise CapabilityError(
                f"The state of {', '.join(others)} is not a tensor and cannot be stored; leave it out of "
                "state_dict(), or give restore_best_weights=False."
            )
        return [(name, to_array(value)) for name, value in snapshot.weights.items()]

    def weights_from_arrays(self, pairs: Sequence[tuple[str, Any]]) -> Snapshot:
        """The inverse of :meth:`weights_to_arrays`; NumPy arrays become tensors."""
        weights = {name: to_tensor(array) for name, array in pairs}
        return Snapshot(_versioned(weights, _versions(self.model.state_dict())))

    def state(self) -> Any:
        """The state dicts of the module and of each optimizer, and what the module has beside."""
        weights = self.model.state_dict()
        tree = {
            **self._state_dicts(weights),
            "versions": dict(_versions(weights)),
            "members": {name: optimizers.members(one, self.model) for name, one in self._optimizers.items()},
            **modules.beside(self.model, weights, self.gradient_is_used()),
        }
        modules.refuse_unsavable(self.model, {**tree["model"], **tree["buffers"]}, "the model")
        arrays, details = stored(tree, "state/training")
        return {**arrays, "details": details}

    def _state_dicts(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        states = {name: optimizers.state_of(one, name) for name, one in self._optimizers.items()}
        return {
            "model": {name: value for name, value in weights.items() if not modules.is_lazy(value)},
            "optimizers": states,
            "inner": {
                name: nested.inner_states(one, states[name], name) for name, one in self._optimizers.items()
            },
        }

    def load_state(self, state: Any) -> None:
        """Load the state dicts.

        Raises:
            CapabilityError: something live would be of another type after it.
        """
        self._activity.forget()
        kept = state["details"]
        before = self._state_dicts(self.model.state_dict()) if kept["types"] else None
        types, state = types_of(before), to_tensors(state, kept, live=before)
        weights = {**_lazy(self.model.state_dict()), **state["model"]}
        modules.set_sparse(self.model, weights)
        self.model.load_state_dict(_versioned(weights, state["versions"]))
        for name, optimizer in self._optimizers.items():
            saved, live = state["members"][name], optimizers.members(optimizer, self.model)
            if saved != live:
                self._own.setdefault(name, [len(group) for group in live])
                optimizers.fit(optimizer, saved, state["optimizers"][name]["param_groups"], self.model)
            optimizers.load(optimizer, state["optimizers"][name])
            nested.load_inner(optimizer, state.get("inner", {}).get(name, {}))
        modules.put_back(self.model, state)
        if types:
            check_types(kept, types, self._state_dicts(self.model.state_dict()), "state/training")

    def take_back(self) -> None:
        """The script may add the groups itself once its next training begins, and can do that only once."""
        for name, sizes in self._own.items():
            optimizer = self._optimizers[name]
            live = optimizers.members(optimizer, self.model)
            own = [group[:size] for group, size in zip(live, sizes, strict=False)]
            optimizers.fit(optimizer, own, optimizer.param_groups, self.model)
        self._own = {}

    def unsaved(self, parts: Collection[Any]) -> list[str]:
        """Schedulers that the run was not given, and parameters that it does not have."""
        schedulers = [
            f"{type(one).__name__} acts on {name}, and its state is not saved; pass it to the Run: "
            "Run(..., scheduler=scheduler)"
            for name, optimizer in self._optimizers.items()
            for one in attached.holders(optimizer, [*parts, *self._optimizers.values()])
        ]
        own = [*self._optimizers.values()]
        given = [
            (type(one).__name__, one)
            for one in parts
            if optimizers.is_optimizer(one) and all(asked(one, "optimizer") is not mine for mine in own)
        ]
        saved = [self.model, *parts]
        trained = {name: strays(one, saved) for name, one in (*self.optimizers.items(), *given)}
        return schedulers + [
            f"{name} trains parameters that neither the model nor a part has, so they are not saved: "
            f"{', '.join(found)}. Put them in the model, or pass the module that has them as a part: "
            "Run(..., head=head)"
            for name, found in trained.items()
            if found
        ]

    @property
    def is_built(self) -> bool:
        """Not if a weight gets its shape from the first batch."""
        return not any(map(modules.is_lazy, self.model.state_dict().values()))

    def takes_any_shape(self, name: str) -> bool:
        """Of a module that loads it in a way of its own."""
        return modules.loads_itself(self.model, name)

    def changed(self, parts: Mapping[str, Any], *, inside: bool = False) -> str:
        """Of numbers and tensors in attributes of the module, and of modules among the parts."""
        watched = {"": self.model, **{f"{name}.": part for name, part in parts.items()}}
        names, ways = [], set()
        for prefix, module in watched.items():
            if modules.is_module(module):
                known = self._attributes.setdefault(prefix, Attributes())
                found = self._changed_of(module, known) if prefix else self._changed_of_model(known)
                names += [f"{prefix}{name}" for name in found]
                ways |= {*found.values()}
        return told(names, "; ".join(sorted(ways)))

    def _changed_of(self, module: Any, known: Attributes) -> dict[str, str]:
        """The attributes that changed and are not saved, each with what to do."""
        names = modules.unsaved(module, known.changed(modules.attributes(module)))
        return {name: modules.way_to_save(module, name) for name in names}

    def _changed_of_model(self, known: Attributes) -> dict[str, str]:
        return self._changed_of(self.model, known)

    def taken_over(self, parts: Collection[Any]) -> str:
        """Tells once that the optimizers stopped stepping, but the weights go on changing."""
        if not modules.is_module(self.model):
            return ""
        given = [one for one in parts if optimizers.is_optimizer(one)]
        watched = [*self._watched(), *self._watched_parts(given)]
        if not self._activity.is_taken_over(watched, self.model):
            return ""
        names = ", ".join([*self._optimizers, *(type(one).__name__ for one in given)])
        return (
            f"None of the optimizers that the Run has ({names}) took a step in this epoch, but the weights "
            "changed. If another optimizer trains them now, its state is not saved, and a resume is not "
            "exact: change the groups of the one that the Run has (group['lr'] = ...), or end this Run and "
            "give the new one to another Run."
        )

    def is_amid_step(self, parts: Collection[Any]) -> bool:
        """Of optimizers that Accelerate has prepared: it counts the batches of a step itself."""
        states = (asked(one, "gradient_state") for one in (*self._optimizers.values(), *parts))
        return any(asked(one, "sync_gradients") is False for one in states)

    def stale(self) -> str:
        """Tells once of batches that were taken, and nothing was trained with them."""
        if not (self._optimizers and modules.is_module(self.model)) or self.batches_done is None:
            return ""
        watched = [*self._watched(), *(steps for _, steps in self._steps_of_parts)]
        idle = self._idleness.batches(watched, self.model, self.batches_done())
        if self._has_told_idle or idle < _IDLE:
            return ""
        self._has_told_idle = True
        return (
            f"In the last {idle} batches before this save inside an epoch no optimizer of the Run took a "
            "step, and no gradient was added: a resume skips them as trained. If they are taken ahead of the "
            "training, as a prefetcher around run.batches(...) does, put that around the loader, "
            "run.batches(prefetch(loader))."
        )

    def _watched(self) -> list[Steps]:
        for name, optimizer in self._optimizers.items():
            if name not in self._steps:
                self._steps[name] = Steps(optimizer)
        return [self._steps[name] for name in self._optimizers]

    def _watched_parts(self, given: Collection[Any]) -> list[Steps]:
        known = {id(one): steps for one, steps in self._steps_of_parts}
        self._steps_of_parts = [(one, known.get(id(one)) or Steps(one)) for one in given]
        return [steps for _, steps in self._steps_of_parts]

    def gradient_is_used(self) -> Callable[[Any], bool]:
        """Tells it of the parameters of the run's optimizers, and of those that are parts."""
        watched = [*zip(self._optimizers.values(), self._watched(), strict=True), *self._steps_of_parts]
        used = {
            id(one)
            for optimizer, steps in watched
            if steps.used()
            for group in optimizer.param_groups
            for one in group["params"]
        }
        return lambda parameter: id(parameter) in used

    def check_state(self, state: Any) -> None:
        """Compare names, shapes and types."""
        there, live = state["model"], self.model.state_dict()
        lazy = _lazy(live)  # takes any shape
        here = to_arrays({n: v for n, v in live.items() if n not in lazy}, "state/training/model")
        prefix = _prefix(there, live)
        if prefix:
            raise RunChanged(
                f"the names of the weights differ only by the prefix {prefix!r}, which torch.compile or "
                "DataParallel puts before them: wrap the model in every start, or in none"
            )
        differences = [f"{name}: only in the run" for name in there if name not in live]
        differences += [f"{name}: only in this code" for name in here if name not in there]
        differences += [
            f"{name}: {described(there[name])} in the run, {described(here[name])} in this code"
            for name in there
            if name in here and described(there[name]) != described(here[name])
            if not self._takes_shape(name, state)
        ]
        if state["members"].keys() != self._optimizers.keys():
            names = sorted(state["members"]), sorted(self._optimizers)
            differences.append(f"optimizers {names[0]} in the run, {names[1]} in this code")
        else:
            told = {name: self._misfit(name, saved) for name, saved in state["members"].items()}
            differences += [f"{name}: {text}" for name, text in told.items() if text]
        if differences:
            raise RunChanged("the model or optimizer is another one: " + "; ".join(differences[:5]))

    def _takes_shape(self, name: str, state: Mapping[str, Any]) -> bool:
        path = name.rpartition(".")[0]
        names = [one for one in state["model"] if one.rpartition(".")[0] == path]
        tensors = {one: to_tensor(state["model"][one]) for one in names}
        return modules.takes_shape(self.model, name, tensors, state["versions"])

    def _misfit(self, name: str, saved: Sequence[Sequence[str]]) -> str:
        live = optimizers.members(self._optimizers[name], self.model)
        return optimizers.misfit(saved, live, self._own.get(name, [len(group) for group in live]))

    def load_file(self, path: str) -> Any:
        """The state dict."""
        return load(path)

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        """A state dict's usual endings."""
        return (".pt", ".pth")

    def saving(self, weights_only: bool) -> TorchSave:
        """``model.state_dict()``, whichever is asked for: it loads without running any code."""
        return TorchSave(self)


def load(path: str) -> Any:
    """A state dict; no code in the file is run.

    Raises:
        DamagedFile: it would swell.
    """
    import torch

    archives.check(path)
    return torch.load(path, weights_only=True, map_location="cpu")


class TorchSave:
    """Writes ``model.state_dict()``; read it with ``torch.load(path, weights_only=True)``."""

    def __init__(self, training: TorchTraining) -> None:
        self._training = training

    def write(self, path: str) -> None:
        """Write the state dict while training waits."""
        _StateWriter(self._training.model.state_dict())(path)

    def capture(self) -> Callable[[str], object]:
        """Copy the state dict now, write it later."""
        return _StateWriter(self._training.copy_weights().weights)


@dataclass(frozen=True)
class _StateWriter:
    """Writes a state dict to the path that it is called with."""

    state: Mapping[str, Any]

    @property
    def needed(self) -> int:
        """Bytes that the file will take, or a little more."""
        return sum(asked(value, "nbytes", 0) for value in self.state.values())

    def __call__(self, path: str) -> None:
        import torch

        with open(path, "wb") as file:
            try:
                torch.save(self.state, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # what the disk said, which torch does not
                    raise error.__context__ from None
                raise


def ignores_rates(scheduler: Any, scaled: Collection[str] = ()) -> bool:
    """Whether a scheduler's next rates are the same when those in force are halved.

    Args:
        scheduler: of PyTorch's.
        scaled: names of lists of rates in it that are halved, too.
    """
    found = next_rates(scheduler, scaled)
    return found is not None and found[0] == found[1] and any(found[0])


def next_rates(scheduler: Any, scaled: Collection[str]) -> tuple[list[float], list[float]] | None:
    """A scheduler's next rates, and those if what is in force were halved; None if nobody can tell.

    A copy of the scheduler is asked, with groups in place of the optimizer's.

    Args:
        scheduler: of PyTorch's.
        scaled: names of lists of rates in it that are halved, too.
    """
    probe = copy.copy(scheduler)
    groups = [{k: v for k, v in group.items() if k != "params"} for group in scheduler.optimizer.param_groups]
    probe.optimizer = SimpleNamespace(param_groups=groups, defaults=scheduler.optimizer.defaults)
    probe.last_epoch += 1
    try:
        with warnings.catch_warnings(action="ignore"):  # it is asked outside of step()
            rates = [float(rate) for rate in probe.get_lr()]
            for group in groups:
                group["lr"] = group["lr"] / 2
            for name in scaled:
                if rates_there := asked(probe, name):
                    setattr(probe, name, [one / 2 for one in rates_there])
            return rates, [float(rate) for rate in probe.get_lr()]
    except Exception:  # of a schedule that is over, or of a class of the user's: the first cut will tell
        return None


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    copied = {
        name: value.detach().clone() if has(value, "detach") else copy.deepcopy(value)
        for name, value in state.items()
    }
    return _versioned(copied, _versions(state))


def _versions(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The versions of a model's modules, which PyTorch keeps beside the weights."""
    return getattr(state, "_metadata", {})


def _versioned(weights: Mapping[str, Any], versions: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict with the versions of its modules, by which a module knows how to load it."""
    state: Any = OrderedDict(weights)
    state._metadata = OrderedDict(versions)
    return cast("dict[str, Any]", state)


def _lazy(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weights without a shape yet, which PyTorch takes for themselves."""
    return {name: value for name, value in state.items() if modules.is_lazy(value)}


def _prefix(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The prefix by which alone the names of two state dicts differ; "" if they differ otherwise."""
    for prefix in ("_orig_mod.", "module."):
        bare = [{name.removeprefix(prefix) for name in names} for names in (there, here)]
        if set(there) != set(here) and bare[0] == bare[1]:
            return prefix
    return ""
