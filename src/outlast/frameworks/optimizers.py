"""Optimizers: PyTorch's, their state exactly as it was, and parameters that a script adds on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlast.core.asking import has
from outlast.exceptions import CapabilityError
from outlast.frameworks import containers

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
    """
    groups = list(optimizer.param_groups)
    optimizer.load_state_dict(_for(optimizer, state))
    loaded = optimizer.param_groups
    for index, group in enumerate(groups):
        if group is not loaded[index]:
            group.clear()
            group.update(loaded[index])
            loaded[index] = group
    if isinstance(state, Mapping):
        _undo_casts(state.get("state"), optimizer.state_dict().get("state"))


def _for(optimizer: Any, state: Any) -> Any:
    """The state as the optimizer's ``load_state_dict`` can take it."""
    if type(optimizer).load_state_dict.__module__ != "torch.optim.optimizer" or "state" not in state:
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
