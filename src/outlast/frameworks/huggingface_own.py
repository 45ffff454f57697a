"""What a subclass of Trainer keeps in attributes of its own, which nothing saves."""

from __future__ import annotations

import dis
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from types import FunctionType, MethodType
from typing import Any

from outlast.frameworks.attributes import Attribute
from outlast.frameworks.modules import is_module
from outlast.frameworks.optimizers import is_optimizer

_THEIRS = ("transformers.", "builtins.", "typing.", "abc.")


def optimizers(trainer: Any, parts: Collection[Any]) -> list[str]:
    """Those in attributes of a Trainer, but for its own and those among the parts, as phrases."""
    known = {id(one) for one in (*_within(trainer.optimizer), *parts)}
    return [
        f"{name} is an optimizer of the Trainer's own, and its state is not saved: pass it to the Run, "
        f"Run(..., {name}={name}), with what it trains"
        for name, one in own(trainer).items()
        if is_optimizer(one) and id(one) not in known
    ]


def drawing(trainer: Any, parts: Collection[Any]) -> dict[str, Any]:
    """What a Trainer of a user's class may draw from: its attributes, but for the parts, and its methods."""
    name, known = type(trainer).__name__, {id(one) for one in (trainer.model, *parts)}
    found = {f"{name}.{key}": one for key, one in own(trainer).items() if id(one) not in known}
    return found | {
        f"{kind.__name__}.{key}": one
        for kind in type(trainer).__mro__
        if not _is_theirs(kind)
        for key, one in vars(kind).items()
        if isinstance(one, FunctionType) and key != "__init__"
    }


def attributes(trainer: Any, parts: Collection[Any]) -> Iterator[Attribute]:
    """The attributes of a Trainer's subclass that training may change: numbers, tensors, and modules."""
    saved = [one for one in (trainer.model, *parts) if is_module(one)]
    known = {id(tensor) for one in saved for tensor in _tensors(one)}
    known |= {id(one) for one in parts}
    for name, value in own(trainer).items():
        if id(value) in known:
            continue
        if is_module(value):
            for tensor, one in _tensors_by_name(value).items():
                if id(one) not in known:
                    yield f"{name}.{tensor}", type(value), one
        else:
            yield name, type(trainer), value


def own(trainer: Any) -> Mapping[str, Any]:
    """The attributes that Trainer itself does not have, those of its user's class included."""
    users = [one for one in reversed(type(trainer).__mro__) if not _is_theirs(one)]
    of_class = {name: value for one in users for name, value in vars(one).items() if _is_number(value)}
    kind: Any = type(trainer)
    usual = _usual(kind)
    found = {**of_class, **vars(trainer)}
    return {
        name: value
        for name, value in found.items()
        if name not in usual and not name.startswith("__") and not isinstance(value, MethodType)
    }


@cache
def _usual(kind: Any) -> frozenset[str]:
    """The attributes that the methods of Trainer's own classes set."""
    methods = [one for cls in kind.__mro__ if _is_theirs(cls) for one in vars(cls).values()]
    codes = [one.__code__ for one in map(_unwrapped, methods) if isinstance(one, FunctionType)]
    return frozenset(
        one.argval for code in codes for one in dis.get_instructions(code) if one.opname == "STORE_ATTR"
    )


def _unwrapped(method: Any) -> Any:
    while hasattr(method, "__wrapped__"):
        method = method.__wrapped__
    return method


def _is_theirs(kind: type) -> bool:
    return f"{kind.__module__}.".startswith(_THEIRS)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, complex))


def _within(optimizer: Any) -> Iterator[Any]:
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "optimizer", None)


def _tensors(module: Any) -> Iterator[Any]:
    return iter(_tensors_by_name(module).values())


def _tensors_by_name(module: Any) -> dict[str, Any]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
