"""Asking: what an object of the user's has, whatever its own code does when it is asked.

``hasattr`` and ``getattr`` catch AttributeError alone, and other people's classes raise more than that. The
idiom ``__getattr__ = dict.__getitem__`` raises KeyError; a nested tensor that is asked for its shape raises
RuntimeError. No training may end because we looked at something.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any

_NOTHING = object()


def asked(thing: Any, name: str, default: Any = None) -> Any:
    """An attribute of an object; ``default`` if it has none, or raises anything when it is asked.

    Example:
        >>> class Config(dict):
        ...     __getattr__ = dict.__getitem__
        >>> asked(Config(rate=0.1), "rate"), asked(Config(), "shape")
        (0.1, None)
    """
    try:
        return getattr(thing, name, default)
    except Exception:  # of its own code
        return default


def has(thing: Any, name: str) -> bool:
    """Whether an object has an attribute.

    Example:
        >>> has([], "append"), has([], "shape")
        (True, False)
    """
    try:
        return getattr(thing, name, _NOTHING) is not _NOTHING
    except Exception:  # of its own code
        return False


def shows(thing: Any, name: str) -> bool:
    """Whether an object or its class has an attribute, as far as it shows without running any code of theirs.

    Example:
        >>> class Meter:
        ...     @property
        ...     def average(self):
        ...         raise ZeroDivisionError
        >>> shows(Meter(), "average"), shows(Meter(), "total")
        (True, False)
    """
    try:
        return inspect.getattr_static(thing, name, _NOTHING) is not _NOTHING
    except Exception:  # of a proxy of what is gone
        return False


def is_computed(thing: Any, name: str) -> bool:
    """Whether an attribute is a property of a class in Python, so that to ask for it runs code.

    Example:
        >>> from fractions import Fraction
        >>> is_computed(Fraction(1), "numerator"), is_computed(1, "numerator")
        (True, False)
    """
    try:
        return isinstance(inspect.getattr_static(type(thing), name, None), property | cached_property)
    except Exception:  # of a class of one's own
        return False
