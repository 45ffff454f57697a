"""Attached: objects that hold an optimizer and have a state of their own, such as schedulers.

An optimizer does not say who steps its rate. Python's collector knows who holds it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

_DEPTH = 3  # schedulers within schedulers


def holders(thing: Any, but: Iterable[Any]) -> list[Any]:
    """Objects that hold ``thing`` in an attribute and can be stepped, saved and loaded.

    Args:
        thing: an optimizer.
        but: what is saved already; nor do those count that these hold.
    """
    owners = [one for one in _owners(thing) if _can_be_saved(one)]
    saved = {id(one) for one in but} | {id(inner) for one in but for inner in _within(one, _DEPTH)}
    inside = {id(inner) for owner in owners for inner in _within(owner, _DEPTH)}
    return [one for one in owners if id(one) not in saved | inside]


def _owners(thing: Any) -> list[Any]:
    """Objects that have it as an attribute, whether Python made a dict of their attributes or not."""
    direct = gc.get_referrers(thing)
    dicts = [one for one in direct if isinstance(one, dict)]
    known = {id(one) for one in dicts}
    owners = [one for one in gc.get_referrers(*dicts) if id(_attributes(one)) in known] if dicts else []
    return [*owners, *(one for one in direct if any(value is thing for value in _values(one)))]


def _can_be_saved(thing: Any) -> bool:
    names = ("step", "state_dict", "load_state_dict")
    return all(callable(getattr(type(thing), name, None)) for name in names)


def _within(thing: Any, depth: int) -> Iterable[Any]:
    for value in _values(thing) if depth else ():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if _can_be_saved(one):
                yield one
                yield from _within(one, depth - 1)


def _values(thing: Any) -> list[Any]:
    attributes = _attributes(thing)
    return [*attributes.values()] if attributes is not None and not isinstance(thing, type) else []


def _attributes(thing: Any) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(thing, "__dict__")
    except (AttributeError, TypeError):
        return None
    return found if isinstance(found, dict) else None
