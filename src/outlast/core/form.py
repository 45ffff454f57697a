"""Forms: what a value that was read from a file must be, before anything is done with it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_PLAIN = (type(None), bool, int, float, str)
_LARGEST = 1 << 1023  # that a float can be
_DEPTH = 64  # of JSON values in each other


def check(value: Any, form: Any, name: str = "it") -> None:
    """Check a value, and all in it that the form speaks of.

    Args:
        value: from a file.
        form: a set of values; a type (an ``int`` is a ``float``, too, and a ``bool`` is neither); None; a
            tuple of forms, of which one must fit; ``[form]`` for a list, ``{0: form, 1: form}`` for one of so
            many; ``{str: form}`` for a dict of any keys, or ``{"key": form}`` for one that has these;
            ``JSON``; ``CHECKSUMS``; or ``Any``.
        name: of the value, for the error.

    Raises:
        ValueError: it is something else.
        KeyError: a key of a dict is missing.

    Example:
        >>> check({"epoch": 3, "loss": [0.5, None]}, {"epoch": int, "loss": [(float, None)]})
        >>> check({"epoch": True}, {"epoch": int}, "the row")
        Traceback (most recent call last):
            ...
        ValueError: epoch of the row is True
    """
    if not _fits(value, form, name):
        shown = repr(value) if isinstance(value, _PLAIN) else f"a value of type {type(value).__name__}"
        raise ValueError(f"{name} is {shown[:80]}")


def _fits(value: Any, form: Any, name: str) -> bool:
    if form is Any:
        return True
    if form is JSON:
        return _is_json(value, _DEPTH)
    if form is CHECKSUMS:
        return str(getattr(value, "dtype", None)) == "uint32" and len(value.shape) == 1
    if isinstance(form, tuple):
        return any(_fits_quietly(value, one, name) for one in form)
    if isinstance(form, list):
        if not isinstance(value, (list, tuple)):
            return False
        for one in value:
            check(one, form[0], f"a member of {name}")
        return True
    if isinstance(form, dict):
        if 0 in form:  # a list of so many
            return (
                isinstance(value, (list, tuple))
                and len(value) == len(form)
                and _has_keys(dict(enumerate(value)), form, name)
            )
        return isinstance(value, Mapping) and _has_keys(value, form, name)
    if isinstance(form, frozenset):
        return isinstance(value, Hashable) and value in form
    if form is None:
        return value is None
    if isinstance(value, bool):
        return form is bool
    if form is float and isinstance(value, int):
        return abs(value) < _LARGEST
    return isinstance(value, form)


def _fits_quietly(value: Any, form: Any, name: str) -> bool:
    try:
        return _fits(value, form, name)
    except (KeyError, ValueError):
        return False


def _has_keys(value: Mapping[Any, Any], form: Mapping[Any, Any], name: str) -> bool:
    if str in form:
        for key, one in value.items():
            check(key, str, f"a key of {name}")
            check(one, form[str], f"{key[:40]!r} of {name}")
        return True
    for key, one in form.items():
        if key not in value:
            raise KeyError(f"{name} has no {key}")
        check(value[key], one, f"{key} of {name}")
    return True


def _is_json(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(k, str) and _is_json(one, depth - 1) for k, one in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_json(one, depth - 1) for one in value)
    return isinstance(value, _PLAIN)


class JSON:
    """The form of a value that JSON can hold."""


class CHECKSUMS:
    """The form of a row of checksums: an array of uint32, or what describes one."""


def of_fields(cls: type) -> dict[str, Any]:
    """The forms of a dataclass's fields, as far as their annotations are plain.

    Example:
        >>> from outlast.core.stopping import EarlyStoppingState
        >>> of_fields(EarlyStoppingState)["wait"]
        <class 'int'>
    """
    return {name: _of_annotation(one) for name, one in get_type_hints(cls).items()}


def _of_annotation(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return tuple(map(_of_annotation, get_args(hint)))
    if hint is type(None):
        return None
    if isinstance(hint, type) and issubclass(hint, Enum):
        return frozenset(hint)
    if get_origin(hint) is Literal:
        return frozenset(get_args(hint))
    return hint if hint in _PLAIN else Any
