"""What the layers of a Keras model have beside their variables: attributes of the user's own."""

from __future__ import annotations

import dis
import inspect
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

from outlast.core.asking import asked
from outlast.frameworks import modules
from outlast.frameworks.attributes import Attribute
from outlast.frameworks.keras_held import is_the_users

_STORE = dis.opmap["STORE_ATTR"]


def layers(model: Any) -> list[Any]:
    """A model, and all layers that it is made of; none of an object that only looks like a model."""
    flat = asked(model, "_flatten_layers")
    return list(flat()) if flat is not None else []


def attributes(model: Any) -> Iterator[Attribute]:
    """The attributes of a model and of its layers that no code of Keras's sets."""
    names: Counter[str] = Counter()
    for layer in layers(model):
        kind: Any = type(layer)
        names[layer.name] += 1
        again = f" {names[layer.name]}" if names[layer.name] > 1 else ""  # a name may come twice
        place = "" if layer is model else f"{layer.name}{again}."
        theirs, is_own = _set_by_keras(kind), is_the_users(kind)
        for name, value in vars(layer).items():
            if name not in theirs and (is_own or not name.startswith("_")):
                yield f"{place}{name}", kind, value


@lru_cache(4096)
def _set_by_keras(cls: type) -> frozenset[str]:
    """Names of attributes that the code of the frameworks' classes sets, of which a class is made."""
    found = [_set_in_class(one) for one in cls.__mro__ if not is_the_users(one)]
    usual = modules.usual_attributes() if hasattr(cls, "named_modules") else ()  # on the torch backend
    return frozenset(usual).union(*found)


@lru_cache(4096)  # most have the same bases
def _set_in_class(cls: type) -> frozenset[str]:
    return frozenset(name for member in vars(cls).values() for name in _set_in(member))


def _set_in(member: Any) -> Iterator[str]:
    """Names of attributes that a function sets, or a property, or a function inside of it."""
    if isinstance(member, property):
        for function in (member.fget, member.fset):
            yield from _set_in(function)
        return
    function = inspect.unwrap(getattr(member, "__func__", member))
    waiting = [getattr(function, "__code__", None)]
    while waiting:
        code = waiting.pop()
        if not isinstance(code, CodeType):
            continue
        waiting += code.co_consts
        if _STORE in code.co_code[::2]:  # to read it takes long, and most set nothing
            yield from (one.argval for one in dis.get_instructions(code) if one.opcode == _STORE)
