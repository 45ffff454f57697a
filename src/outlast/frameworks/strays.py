"""Strays: parameters that an optimizer trains and that nothing saves, such as those of a loss."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from outlast.frameworks.modules import is_lazy, is_module
from outlast.frameworks.optimizers import is_optimizer
from outlast.frameworks.tensors import values_in

_NAMED = 3  # at most

Stray = tuple[str, Any]  # what it is called, the parameter


def strays(optimizer: Any, saved: Collection[Any]) -> list[str]:
    """Descriptions of the parameters of an optimizer that nothing in ``saved`` has.

    Args:
        optimizer: of PyTorch's.
        saved: modules and other objects whose state is saved.
    """
    known = {id(one) for thing in saved for one in _tensors_of(thing)}
    found = [(name, one) for name, one in _trained(optimizer) if id(one) not in known]
    if found:  # else nobody's state_dict() is called
        states = [(thing, one) for thing in saved for one in _state_of(thing)]
        found = [(name, one) for name, one in found if not any(_is(one, *state) for state in states)]
    shown = [f"{name} of shape {tuple(one.shape)}" for name, one in found[:_NAMED]]
    return shown + [f"{len(found) - _NAMED} more"] * (len(found) > _NAMED)


def _trained(optimizer: Any) -> Iterator[Stray]:
    """Its parameters by their names, or by their numbers in its state dict."""
    index = 0
    for group in optimizer.param_groups:
        names = group.get("param_names")
        for place, one in enumerate(group["params"]):
            if getattr(one, "requires_grad", False) and not is_lazy(one):
                yield repr(names[place]) if names else f"number {index}", one
            index += 1


def _tensors_of(thing: Any) -> Iterator[Any]:
    for method in ("parameters", "buffers"):
        if callable(getattr(type(thing), method, None)):
            try:
                yield from getattr(thing, method)()
            except TypeError:  # another method of that name
                continue


def _state_of(thing: Any) -> list[Any]:
    """Tensors and arrays in its state."""
    return [] if is_optimizer(thing) or not hasattr(thing, "state_dict") else [*_leaves(thing.state_dict())]


def _leaves(tree: Any) -> Iterator[Any]:
    import numpy as np

    for one in values_in(tree):
        if hasattr(one, "detach") or (isinstance(one, np.ndarray) and one.dtype.kind in "fiubc"):
            yield one


def _is(parameter: Any, thing: Any, value: Any) -> bool:
    """Whether a value in the state of a thing is the parameter, or a copy of it."""
    import torch

    value = value if isinstance(value, torch.Tensor) else torch.tensor(value)
    if {str(value.layout), str(parameter.layout)} != {"torch.strided"} or value.shape != parameter.shape:
        return False
    if value.data_ptr() == parameter.data_ptr():
        return True
    if is_module(thing):  # its state dict has no copies, and another tensor may be equal
        return False
    return bool((value.to(parameter.device) == parameter).all())
