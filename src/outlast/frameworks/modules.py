"""Modules: what a PyTorch module depends on beside its state dict.

These are flags (``requires_grad``, ``training``), buffers that are not persistent, gradients, and random
generators in attributes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from outlast.core.asking import has
from outlast.exceptions import CapabilityError
from outlast.frameworks import held_generators, random_state
from outlast.frameworks.attributes import Attribute


def is_module(thing: Any) -> bool:
    """Whether it is a module of PyTorch's, wrapped or not."""
    return all(has(thing, name) for name in ("named_parameters", "named_buffers", "named_modules"))


def beside(module: Any, state: Mapping[str, Any], consumed: Callable[[Any], bool]) -> dict[str, Any]:
    """What a module depends on beside its state dict.

    Args:
        module: of PyTorch's.
        state: its state dict.
        consumed: whether the gradient of a parameter was used by a step already, so that none is carried
            over.
    """
    if not is_module(module):
        return {"flags": {}, "buffers": {}, "gradients": {}, "generators": {}}
    return {
        "flags": _flags(module),
        "buffers": _left_out(module, state),
        "gradients": _gradients(module, consumed),
        "generators": {name: random_state.of_generator(one) for name, one in _generators(module).items()},
    }


def put_back(module: Any, saved: Mapping[str, Any]) -> None:
    """Have a module be as :func:`beside` saw it.

    Args:
        module: its state dict is loaded.
        saved: tensors again.
    """
    if not is_module(module):
        return
    _set_flags(module, saved["flags"])
    for name, tensor in saved["buffers"].items():
        set_tensor(module, name, tensor)
    for name, parameter in module.named_parameters():
        gradient = saved["gradients"].get(name)
        if gradient is not None or parameter.grad is not None:
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
    for name, generator in _generators(module).items():
        if name in saved["generators"]:
            random_state.set_generator(generator, saved["generators"][name])


def set_tensor(module: Any, name: str, tensor: Any) -> None:
    """Give a module a buffer, or the values of a parameter or buffer; its memory stays if it fits."""
    import torch

    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    live = getattr(owner, leaf, None)
    if live is None and not hasattr(owner, leaf):
        owner.register_buffer(leaf, tensor.to(_device(module)), persistent=False)
    elif live is None or _described(live) != _described(tensor) or not _is_strided(live):
        setattr(owner, leaf, tensor.to(_device(module) if live is None else live.device, copy=True))
    else:
        with torch.no_grad():
            live.copy_(tensor)


def set_sparse(module: Any, state: Mapping[str, Any]) -> None:
    """Give a module its sparse buffers, which PyTorch copies only onto those with as many values."""
    buffers = dict(module.named_buffers()) if is_module(module) else {}
    for name in buffers.keys() & state.keys():
        if not _is_strided(state[name]):
            set_tensor(module, name, state[name])


def attributes(module: Any) -> Iterator[Attribute]:
    """The plain attributes of a module and of what it holds, but for those of every module or metric."""
    usual = usual_attributes()
    for path, inner in module.named_modules():
        kind = type(inner)
        if kind.__module__.startswith("torch.nn.parallel."):  # how it goes about its work
            continue
        is_theirs = kind.__module__.startswith(("torch.", "torchmetrics.")) or _is_metric(inner)
        for name, value in vars(inner).items():
            if name not in usual and not (name.startswith("_") and is_theirs):
                yield f"{path}.{name}" if path else name, kind, value


def unsaved(module: Any, names: Sequence[str]) -> list[str]:
    """Those of a module's attributes that its state dict has not, as it may have those of a metric."""
    saved = module.state_dict() if names else {}
    return [name for name in names if name not in saved]


def way_to_save(module: Any, name: str) -> str:
    """What to do so that an attribute of a module is saved."""
    if _is_metric(module.get_submodule(name.rpartition(".")[0])):
        return "have a metric save its state, metric.persistent(True)"
    return "make it a buffer, self.register_buffer(name, torch.tensor(value)), or a part"


def metrics(module: Any) -> dict[str, Any]:
    """The metrics of torchmetrics in a module, by name."""
    return {name: one for name, one in module.named_modules() if _is_metric(one)}


def _is_metric(module: Any) -> bool:
    """Whether it is one of torchmetrics, whose state is in plain attributes until it is made persistent.

    A collection of metrics has no state of its own.
    """
    is_collection = has(module, "compute_groups")
    return has(module, "metric_state") and has(module, "persistent") and not is_collection


def loads_itself(module: Any, name: str) -> bool:
    """Whether the module that has a tensor loads it in a way of its own, as observers do."""
    import torch

    try:
        owner = module.get_submodule(name.rpartition(".")[0])
        return type(owner)._load_from_state_dict is not torch.nn.Module._load_from_state_dict
    except AttributeError:  # it is no module, or has no such tensor
        return False


def takes_shape(module: Any, name: str, state: Mapping[str, Any], versions: Mapping[str, Any]) -> bool:
    """Whether the module that has a tensor loads it itself and takes another shape, as observers do.

    A copy of that module is asked.

    Args:
        module: of PyTorch's.
        name: of the tensor.
        state: the saved tensors of that module, with their full names.
        versions: those of all modules, by their names.
    """
    path = name.rpartition(".")[0]
    if not loads_itself(module, name):
        return False
    try:
        errors: list[str] = []
        asked = copy.deepcopy(module.get_submodule(path))
        prefix = f"{path}." if path else ""
        asked._load_from_state_dict(dict(state), prefix, dict(versions.get(path, {})), True, [], [], errors)
    except Exception:  # it cannot be copied, or does not take them
        return False
    return not errors


def refuse_unsavable(module: Any, tensors: Mapping[str, Any], owner: str) -> None:
    """Refuse tensors without values, and those that nothing can be written into.

    Args:
        module: has them; or another object with a state dict.
        tensors: those that are to be saved, by name.
        owner: what the module is called in an error.

    Raises:
        CapabilityError: there is one; the text says why, and what to do.
    """
    for name, tensor in tensors.items():
        reason = "" if is_lazy(tensor) else _why_unsavable(tensor)
        if reason:
            kind = _kind(module, name)
            raise CapabilityError(f"Cannot save the {kind} {name!r} of {owner}: {reason}")


def _why_unsavable(tensor: Any) -> str:
    if getattr(tensor, "is_meta", False):
        return (
            "it is on the device 'meta', so it has no values. Give it some before training, such as "
            "module.to_empty(device='cpu') and an initialisation or a load_state_dict, or take it out of "
            "the model."
        )
    if _is_overlapping(tensor):
        return (
            f"{tuple(tensor.shape)} numbers share the memory of fewer, as expand() makes them, so that a "
            "resume could not write them back. Give it memory of its own: tensor.expand(...).clone()"
        )
    return ""


def _is_overlapping(tensor: Any) -> bool:
    """Whether a dimension is repeated without memory of its own."""
    if not hasattr(tensor, "stride") or not _is_strided(tensor):
        return False
    return any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True))


def _kind(module: Any, name: str) -> str:
    if not is_module(module):
        return "tensor"
    return "parameter" if name in dict(module.named_parameters(remove_duplicate=False)) else "buffer"


def is_lazy(tensor: Any) -> bool:
    """Whether it has no shape yet, as the weights of ``LazyLinear`` before the first batch."""
    import torch

    return isinstance(tensor, torch.Tensor) and torch.nn.parameter.is_lazy(tensor)


def _flags(module: Any) -> dict[str, list[str]]:
    """What has a flag off, since most are on: names of parameters, and of modules."""
    return {
        "frozen": [name for name, one in module.named_parameters() if not one.requires_grad],
        "evaluating": [name for name, one in module.named_modules() if not one.training],
    }


def _set_flags(module: Any, saved: Mapping[str, Any]) -> None:
    frozen, evaluating = frozenset(saved["frozen"]), frozenset(saved["evaluating"])
    for name, parameter in module.named_parameters():
        if (name in frozen) == parameter.requires_grad:
            parameter.requires_grad_(name not in frozen)
    for name, one in module.named_modules():
        if (name in evaluating) == one.training:
            one.training = name not in evaluating


def _generators(module: Any) -> dict[str, Any]:
    """Those that it and what it holds have, by name; one that several modules share under the first."""
    found: dict[int, tuple[str, Any]] = {}
    usual = usual_attributes()
    for path, inner in module.named_modules():
        own = {name: value for name, value in vars(inner).items() if name not in usual}
        for name, one in held_generators.held(own):
            found.setdefault(id(one), (f"{path}.{name}" if path else name, one))
    return dict(found.values())


@cache
def usual_attributes() -> frozenset[str]:
    """Those of every module: its parameters, hooks and inner modules."""
    import torch

    return frozenset(vars(torch.nn.Module()))


def _left_out(module: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """Buffers and trained parameters that the state dict does not have."""
    tensors = dict(module.named_buffers())
    tensors |= {name: one for name, one in module.named_parameters() if one.requires_grad}
    names = [name for name, one in tensors.items() if name not in state and not is_lazy(one)]
    if not names:
        return {}
    known = {_memory(one) for one in state.values()} - {None}  # under another name, as a hook may give
    return {name: tensors[name] for name in names if _memory(tensors[name]) not in known}


def _memory(tensor: Any) -> Any:
    if not has(tensor, "data_ptr") or is_lazy(tensor) or not _is_strided(tensor) or not tensor.numel():
        return None
    return tensor.data_ptr(), tuple(tensor.shape)


def _gradients(module: Any, consumed: Callable[[Any], bool]) -> dict[str, Any]:
    carried = {
        name: one.grad
        for name, one in module.named_parameters()
        if one.grad is not None and not consumed(one)
    }
    some = {name: _is_something(gradient) for name, gradient in carried.items()}  # none is waited for
    return {name: gradient for name, gradient in carried.items() if bool(some[name])}


def _is_something(gradient: Any) -> Any:
    return gradient.any() if _is_strided(gradient) else True


def _is_strided(tensor: Any) -> bool:
    return str(tensor.layout) == "torch.strided"


def _described(tensor: Any) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.layout


def _device(module: Any) -> Any:
    """Where a new buffer belongs."""
    first = next(module.parameters(), None)
    return "cpu" if first is None else first.device
