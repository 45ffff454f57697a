"""Memories: what functions and objects of the user's may keep from one call to the next."""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from outlast.frameworks.bystanders import is_bystander
from outlast.frameworks.closures import set_by

_ATOMS = (bool, int, float, complex, str, bytes, range, type(None), type, ModuleType, BuiltinFunctionType)
_LIBRARIES = ("lightgbm", "pandas", "scipy", "xgboost")  # data and models, and callbacks that change nothing
_OF_MAKING = ("__init__", "__post_init__", "__new__")


def may_remember(thing: Any) -> bool:
    """Whether a later call of something may depend on an earlier one.

    Numbers, texts, arrays, and functions and objects that hold only such remember nothing. Lists and dicts
    may, and what its own code sets: an attribute, a global variable, or one of a function around it.

    Example:
        >>> def above(limit):
        ...     return lambda values: values > limit
        >>> may_remember(above(0.5)), may_remember(above([]))
        (False, True)
    """
    return _may_remember(thing, [])


def unsaved_memories(things: Iterable[Any], way: str = "compute from the arguments alone") -> list[str]:
    """What of these may remember something that no run saves, in phrases, each with the way out."""
    names = {_name(one) for one in things if may_remember(one)}
    return [f"what {name} remembers is not saved: {way}" for name in sorted(names)]


def _name(thing: Any) -> str:
    """The name of a function, or of an object's class."""
    thing = getattr(thing, "func", thing)
    return str(getattr(thing, "__name__", type(thing).__name__))


def _may_remember(thing: Any, seen: list[Any]) -> bool:
    if isinstance(thing, _ATOMS) or _is_array(thing) or any(thing is one for one in seen):
        return False
    seen.append(thing)
    if isinstance(thing, FunctionType):
        held = [*_held(thing)]
        return _sets(thing.__code__, any(map(_is_array, held))) or _any_of(held, seen)
    if isinstance(thing, MethodType):
        return _any_of(
            [thing.__self__, *([thing.__func__] if isinstance(thing.__self__, type) else [])], seen
        )
    if isinstance(thing, partial):
        return _any_of([thing.func, *thing.args, *thing.keywords.values()], seen)
    if isinstance(thing, (tuple, frozenset)):
        return _any_of(thing, seen)
    if is_bystander(thing) or type(thing).__module__.partition(".")[0] in _LIBRARIES:
        return _may_remember(getattr(thing, "func", None), seen)  # of the user's, which a library has wrapped
    if not hasattr(thing, "__dict__"):
        return True
    classes = [vars(one) for one in type(thing).__mro__[:-1]]
    own = [(name, one) for each in classes for name, one in each.items() if name not in _OF_MAKING]
    acting = [one for _, one in own if isinstance(one, (FunctionType, list, dict, set))]
    return _any_of([*vars(thing).values(), *acting], seen)


def _is_array(thing: Any) -> bool:
    return hasattr(type(thing), "__array__")


def _any_of(things: Iterable[Any], seen: list[Any]) -> bool:
    return any(_may_remember(one, seen) for one in things)


def _held(function: FunctionType) -> Iterator[Any]:
    """Its defaults, its attributes, and the variables around it."""
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty yet
            continue


def _sets(code: CodeType, holds_arrays: bool) -> bool:
    """Whether it sets what lives on after the call."""
    names = {"STORE_ATTR", "STORE_GLOBAL", *(["STORE_SUBSCR"] if holds_arrays else [])}
    return bool(set_by(code)) or _has(code, names)


def _has(code: CodeType, names: set[str]) -> bool:
    """Whether it has such instructions, or a function in it has."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return any(one.opname in names for one in dis.get_instructions(code)) or any(
        _has(one, names) for one in inner
    )
