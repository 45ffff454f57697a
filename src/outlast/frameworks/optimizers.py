"""Optimizers: PyTorch's, their state exactly as it was, and parameters that a script adds on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlast.core.asking import asked, has
from outlast.exceptions import CapabilityError
from outlast.frameworks import containers

# What a step of PyTorch's own optimizers needs of a parameter that has a state; of its shape, but _SINGLE.
_NEEDED = {
    "Adadelta": ("step", "square_avg", "acc_delta"),
    "Adagrad": ("step", "sum"),
    "Adam": ("step", "exp_avg", "exp_avg_sq"),
    "Adamax": ("step", "exp_avg", "exp_inf"),
    "AdamW": ("step", "exp_avg", "exp_avg_sq"),
    "NAdam": ("step", "exp_avg", "exp_avg_sq", "mu_product"),
    "RAdam": ("step", "exp_avg", "exp_avg_sq"),
    "RMSprop": ("step", "square_avg"),
    "SGD": (),
}
_SINGLE = ("step", "mu_product")
_NOT_ALWAYS = ("momentum_buffer", "max_exp_avg_sq", "grad_avg")  # by the options

Members = Sequence[Sequence[str]]  # names of the parameters of each group; "" if the model has it not


def is_optimizer(thing: Any) -> bool:
    """Whether it has parameter groups and a state, as PyTorch's have."""
    return all(has(thing, name) for name in ("param_groups", "state", "load_state_dict", "state_dict"))


def members(optimizer: Any, model: Any) -> list[list[str]]:
    """The names of each group's parameters."""
    named = model.named_parameters() if hasattr(model, "named_parameters") else ()
    names = {id(one): name for name, one in named}
    return [[names.get(id(one), "") for one in group["params"]] for group in optimizer.param_groups]


def misfit(saved: Members, live: Members, own: Sequence[int]) -> str:
    """Why an optimizer cannot be given the parameters that another had; "" if it can.

    Args:
        saved: of the one that was saved.
        live: of this one.
        own: how many parameters the groups have that the script made itself; the others can go again.

    Example:
        >>> misfit([["a"], ["b"]], [["a"]], [1]), misfit([["a"], [""]], [["a"]], [1])
        ('', 'group 1 was added in training, with parameters that the model does not have')
        >>> misfit([["a"]], [["a", "b"]], [2])
        'groups of [1] parameters in the run, [2] in this code'
    """
    there = [len(group) for group in saved]
    if len(there) < len(own) or any(size < mine for size, mine in zip(there, own, strict=False)):
        return f"groups of {there} parameters in the run, {list(own)} in this code"
    for index, group in enumerate(saved):
        here = live[index] if index < len(live) else ()
        for name, mine in zip(group, here, strict=False):
            if name != mine and name and mine:
                return f"group {index} has {name!r} in the run where it has {mine!r} in this code"
        added = group[len(here) :]
        if "" in added:
            return f"group {index} was added in training, with parameters that the model does not have"
    return ""


def fit(optimizer: Any, saved: Members, groups: Sequence[Mapping[str, Any]], model: Any) -> None:
    """Give an optimizer the parameters that the saved one had, where :func:`misfit` says that it can be.

    Args:
        optimizer: changed in place.
        saved: names of the parameters.
        groups: the saved groups, for their options.
        model: has the parameters.
    """
    live = optimizer.param_groups
    for index, names in enumerate(saved):
        if index < len(live):
            params = live[index]["params"]
            _forget(optimizer, params[len(names) :])
            del params[len(names) :]
            params.extend(model.get_parameter(name) for name in names[len(params) :])
        else:
            options = {name: value for name, value in groups[index].items() if name != "params"}
            parameters = [model.get_parameter(name) for name in names]
            named = options.pop("param_names", None)  # PyTorch takes them as pairs
            together = parameters if named is None else list(zip(named, parameters, strict=True))
            optimizer.add_param_group({**options, "params": together})
    for group in live[len(saved) :]:
        _forget(optimizer, group["params"])
    del live[len(saved) :]


def state_of(optimizer: Any, name: str) -> Any:
    """The state dict of an optimizer.

    Args:
        optimizer: of PyTorch's.
        name: what it is called in an error.

    Raises:
        CapabilityError: it has none, since parameters were taken out of it.
    """
    try:
        return optimizer.state_dict()
    except KeyError as error:  # torch's own way to say it
        held = {id(one) for group in optimizer.param_groups for one in group["params"]}
        lost = [tuple(one.shape) for one in optimizer.state if hasattr(one, "shape") and id(one) not in held]
        if not lost:
            raise
        raise CapabilityError(
            f"Cannot save the optimizer {name} ({type(optimizer).__name__}): it has a state for "
            f"{len(lost)} parameters that none of its groups has any more, of the shapes "
            f"{', '.join(map(str, lost[:3]))}{', ...' if len(lost) > 3 else ''}. Was a group removed from "
            "param_groups, or a parameter from a group? Leave it there, and freeze the parameters: "
            "requires_grad_(False) and grad = None, with which no step changes them."
        ) from error


def load(optimizer: Any, state: Any) -> None:
    """Load an optimizer's state; the dicts of its groups stay the same.

    The user may hold one of them, and an optimizer inside this one may share them: so they are changed in
    place, in whatever list the optimizer has after loading.

    Raises:
        ValueError: no optimizer of this kind can have the state.
    """
    if _loads_as_usual(optimizer):
        _check(optimizer, state)
    groups = list(optimizer.param_groups)
    optimizer.load_state_dict(_for(optimizer, state))
    loaded = optimizer.param_groups
    for index, group in enumerate(groups):
        if group is not loaded[index]:
            group.clear()
            group.update(loaded[index])
            loaded[index] = group
        for name, value in asked(optimizer, "defaults", {}).items():
            group.setdefault(name, value)  # an option that is new in this version of the optimizer
    if isinstance(state, Mapping):
        _undo_casts(state.get("state"), optimizer.state_dict().get("state"))


def _loads_as_usual(optimizer: Any) -> bool:
    return bool(type(optimizer).load_state_dict.__module__ == "torch.optim.optimizer")


def _check(optimizer: Any, state: Any) -> None:
    """Check what PyTorch loads unseen, and would end the training at a later line; unusual is not wrong."""
    states, groups = state["state"], state["param_groups"]
    if not isinstance(states, Mapping) or not all(isinstance(one, Mapping) for one in groups):
        raise ValueError("its state or its groups are no dicts")
    defaults = asked(optimizer, "defaults", {})
    for saved, live in zip(groups, optimizer.param_groups, strict=False):
        if "lr" in live and not _is_number(saved.get("lr")):
            raise ValueError("the learning rate of a group is no number")
        wrong = [name for name in defaults if name in saved and not _alike(saved[name], live.get(name))]
        if wrong:
            raise ValueError(f"the option {wrong[0]!r} of a group is of another kind")
        for key, parameter in zip(saved["params"], live["params"], strict=False):
            if key in states and type(optimizer).__module__.startswith("torch.optim."):
                _check_own(type(optimizer).__name__, states[key], parameter)


def _check_own(kind: str, state: Any, parameter: Any) -> None:
    """Check the state that an optimizer of PyTorch's own has of a parameter."""
    if not isinstance(state, Mapping):
        raise ValueError("the state of a parameter is no dict")
    needed = _NEEDED.get(kind, ()) if state else ()  # without any it has made no step
    may_be = [name for name in _NOT_ALWAYS if kind in _NEEDED and state.get(name) is not None]
    for name in (*needed, *may_be):
        if name not in state:
            raise ValueError(f"the state of a parameter has no {name!r}")
        value = state[name]
        is_right = _is_number(value) if name in _SINGLE else asked(value, "shape") == parameter.shape
        if not is_right:
            raise ValueError(
                f"{name!r} in the state of a parameter of shape {tuple(parameter.shape)} is wrong"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (has(value, "detach") and value.numel() == 1)


def _alike(saved: Any, live: Any) -> bool:
    """Whether two values of an option are of one kind, as far as it can be told."""
    if saved is None or live is None:
        return True
    if isinstance(live, (list, tuple)):
        is_fitting = isinstance(saved, (list, tuple)) and len(saved) == len(live)
        return is_fitting and all(map(_alike, saved, live))
    return _is_number(saved) if _is_number(live) else isinstance(saved, str) or not isinstance(live, str)


def _for(optimizer: Any, state: Any) -> Any:
    """The state as the optimizer's ``load_state_dict`` can take it."""
    if not _loads_as_usual(optimizer) or "state" not in state:
        return state
    return {**state, "state": _castable(state["state"])}


def _castable(state: Any) -> Any:
    """Without text and arrays, which PyTorch takes for containers; they are put back by themselves."""
    if isinstance(state, dict):
        return {key: _castable(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return (list if isinstance(state, list) else tuple)(_castable(one) for one in state)
    return None if isinstance(state, (str, bytes)) or hasattr(state, "__array_interface__") else state


def _undo_casts(saved: Any, live: Any) -> None:
    """Have each value be of its own type: PyTorch casts it to that of the weights, and remakes containers."""
    if isinstance(saved, Mapping) and isinstance(live, dict):
        for key in live.keys() & saved.keys():
            if isinstance(live[key], dict) and type(live[key]) is type(saved[key]):
                _undo_casts(saved[key], live[key])
            else:
                live[key] = _as_saved(saved[key], live[key])


def _as_saved(saved: Any, live: Any) -> Any:
    if hasattr(saved, "detach") and hasattr(live, "detach"):
        return live if saved.dtype == live.dtype else saved.to(live.device)
    if isinstance(saved, Mapping) and isinstance(live, Mapping):
        items = {key: _as_saved(one, live.get(key)) for key, one in saved.items()}
        return containers.of_type(saved, items)
    if isinstance(saved, (list, tuple)) and isinstance(live, (list, tuple)) and len(saved) == len(live):
        return containers.of_type(saved, [*map(_as_saved, saved, live)])
    return saved


def _forget(optimizer: Any, parameters: Sequence[Any]) -> None:
    for parameter in parameters:
        optimizer.state.pop(parameter, None)
