"""What data hold that may count: datasets in a dataset, transforms, what has a collate function."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from outlast.core.asking import asked, has
from outlast.frameworks.closures import Closure, closure

_DEPTH = 6  # of a transform in the list of a Compose in a dataset in a Subset
_ITEMS = 64  # what is longer is data
_MOST = 256  # objects of one dataset
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)
_ATOMS = (bool, int, float, complex, str, bytes, type(None), *_CODE)
_FRAMEWORKS = ("torch", "numpy", "keras", "tensorflow", "jax", "outlast")
_DATASETS = "torch.utils.data.dataset"  # Subset, ConcatDataset, and the like
_FILES = ("close", "read", "write", "acquire")  # where one stands is no affair of a resume
_TRAINED = ("named_parameters", "param_groups")


def holders(place: str, thing: Any) -> list[tuple[str, Any]]:
    """The objects that a thing holds, in attributes and in lists and dicts there, by place.

    Nothing in arrays, files and objects of frameworks and of Python's own, and nothing that holds a model:
    that is a trainer, which looks after itself.

    Example:
        >>> Flip, Data = (type(name, (), {"__module__": "script"}) for name in ("Flip", "Data"))
        >>> data = Data()
        >>> data.steps = [Flip(), 3]
        >>> [place for place, _ in holders("dataset", data)]
        ['dataset.steps.0']
    """
    seen: dict[int, tuple[str, Any]] = {id(thing): (place, thing)}
    _look(place, thing, seen, _DEPTH)
    return [one for one in seen.values() if one[1] is not thing and not _is_container(one[1])]


def owner(thing: Any) -> Any:
    """The object whose method something is, what a function keeps, or what it is itself."""
    if isinstance(thing, FunctionType) and not vars(thing):
        return closure(thing) or thing
    return thing.__self__ if isinstance(thing, MethodType) else thing


def _look(place: str, thing: Any, seen: dict[int, tuple[str, Any]], depth: int) -> None:
    for name, member in _members(thing).items():
        inner = owner(member)
        if id(inner) in seen or len(seen) >= _MOST or not _may_count(inner):
            continue
        seen[id(inner)] = f"{place}.{name}", inner
        if depth > 1:
            _look(f"{place}.{name}", inner, seen, depth - 1)


def _members(thing: Any) -> Mapping[Any, Any]:
    if isinstance(thing, Mapping):
        return thing if len(thing) <= _ITEMS else {}
    if isinstance(thing, (list, tuple)):
        return dict(enumerate(thing)) if len(thing) <= _ITEMS else {}
    if isinstance(thing, partial):
        return {"func": thing.func, "args": thing.args, "keywords": thing.keywords}
    found = asked(thing, "__dict__", {})
    return {**found} if isinstance(found, dict) else {}


def _is_container(thing: Any) -> bool:
    return isinstance(thing, (Mapping, list, tuple, partial))


def _may_count(thing: Any) -> bool:
    if isinstance(thing, _ATOMS):
        return False
    if _is_container(thing) or isinstance(thing, Closure):
        return True
    module = type(thing).__module__
    package = module.partition(".")[0]
    is_known = package in _FRAMEWORKS or package in sys.stdlib_module_names
    if (is_known and not module.startswith(_DATASETS)) or has(type(thing), "__array__"):
        return False
    return not any(has(thing, name) for name in _FILES) and not is_trained(thing)


def is_trained(thing: Any) -> bool:
    """Whether it is a model or an optimizer, or holds one; a transform is a module without parameters."""
    return any(map(_has_weights, [thing, *_members(thing).values()]))


def _has_weights(thing: Any) -> bool:
    if isinstance(thing, _ATOMS) or not any(has(type(thing), name) for name in _TRAINED):
        return False
    parameters = asked(thing, "parameters")
    return not callable(parameters) or next(iter(parameters()), None) is not None
