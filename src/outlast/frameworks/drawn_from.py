"""What data draw from: generators in objects, and those that functions reach in closures and globals."""

from __future__ import annotations

import dis
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from outlast.core.asking import asked
from outlast.frameworks.held_generators import held

_INSTALLED = ("torch.", "transformers.", "accelerate.", "datasets.", "numpy.", "builtins")
_DEPTH = 4  # of functions in functions, or in attributes
_MOST = 64  # things in one


def drawn_from(things: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The generators that things hold, and that their functions reach, by their places.

    Args:
        things: datasets, collate functions and the like, by name.

    Example:
        >>> import random
        >>> def collating(rng):
        ...     return lambda rows: rng.random()
        >>> [place for place, _ in drawn_from({"collate_fn": collating(random.Random(1))})]
        ['rng of collate_fn']
    """
    seen: set[int] = set()
    for place, one in held(things):
        seen.add(id(one))
        yield place, one
    for name, thing in things.items():
        for function in _functions(thing, _DEPTH, set()):
            for place, one in held(_reached(function)):
                if id(one) not in seen:
                    seen.add(id(one))
                    yield f"{place} of {name}", one


def _functions(thing: Any, depth: int, seen: set[int]) -> Iterator[FunctionType]:
    """The user's functions in a thing: itself, its methods, those in its attributes, and what they call."""
    if not depth or id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, MethodType):
        yield from _functions(thing.__func__, depth, seen)
        inner = [thing.__self__]
    elif isinstance(thing, FunctionType):
        if thing.__module__ is None or f"{thing.__module__}.".startswith(_INSTALLED):
            return
        yield thing
        inner = [one for one in _reached(thing).values() if isinstance(one, FunctionType)]
    elif isinstance(thing, (type, ModuleType, str, bytes, int, float)) or thing is None:
        return
    else:
        kinds = [one for one in type(thing).__mro__ if not f"{one.__module__}.".startswith(_INSTALLED)]
        methods = [one for kind in kinds for name, one in vars(kind).items() if name != "__init__"]
        inner = [one for one in methods if isinstance(one, FunctionType)]
        inner += _inside(thing)
    for one in inner:
        yield from _functions(one, depth - 1, seen)


def _inside(thing: Any) -> list[Any]:
    if isinstance(thing, Mapping):
        found = [*thing.values()] if len(thing) <= _MOST else []
    elif isinstance(thing, (list, tuple)):
        found = [*thing] if len(thing) <= _MOST else []
    else:
        attributes = asked(thing, "__dict__", {})
        found = [*attributes.values()] if isinstance(attributes, dict) else []
        found.append(asked(thing, "func"))  # of a partial
    return found


def _reached(function: FunctionType) -> dict[str, Any]:
    """The values of a closure, and of the global names that a function loads."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it is empty yet
            continue
    names = function.__globals__.keys() & _loaded(function.__code__)
    return found | {name: function.__globals__[name] for name in sorted(names)}


def _loaded(code: CodeType) -> set[str]:
    names = {one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_loaded(one) for one in code.co_consts if isinstance(one, CodeType)))
