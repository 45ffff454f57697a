"""Numbers: what counts as a metric or as a setting, and how infinities and NaN are written in JSON.

Metrics and settings arrive as NumPy scalars, tensors, or Python numbers. From here on they are Python's
own types, so that rules compare, store and print them alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from outlast.exceptions import ArgumentError, MetricError

_VALUES = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def number(value: Any, name: str = "the metric") -> float:
    """A metric as a Python float.

    Args:
        value: a number, or an array or tensor of any framework with exactly one element.
        name: its name, for the error message.

    Raises:
        MetricError: it is something else.

    Example:
        >>> number(3), number("inf")
        (3.0, inf)
    """
    try:
        return float(_one_element(value))
    except (TypeError, ValueError, RuntimeError) as error:
        shape = getattr(value, "shape", None)
        details = f" of shape {tuple(shape)}" if shape is not None else f" {value!r}"[:80]
        raise MetricError(
            f"{name} must be one number (or an array of one element), but is {type(value).__name__}"
            f"{details}. Log its mean, or monitor another metric."
        ) from error


def _one_element(value: Any) -> Any:
    """Take the number out of an array with axes; ``float()`` itself accepts one without."""
    if getattr(value, "requires_grad", False):
        value = value.detach()
    return value.item() if getattr(value, "shape", ()) else value


def is_scalar(value: Any) -> bool:
    """Whether the value has no axes; an array of shape (1,) has one."""
    return not getattr(value, "shape", ())


def whole(value: Any, name: str, least: int = 0) -> int | float:
    """A setting that counts epochs or batches: a whole number, or infinity for "never".

    Raises:
        ArgumentError: it is not a whole number, or it is too small.

    Example:
        >>> whole(3.0, "patience"), whole(math.inf, "patience")
        (3, inf)
    """
    try:
        result = math.inf if value == math.inf else int(value)
        valid = result == value and result >= least and not _is_flag(value)
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ArgumentError(f"{name} must be a whole number, at least {least}, but is {value!r}.")
    return result


def real(value: Any, name: str) -> float:
    """A setting that is a real number; infinity is allowed, NaN is not.

    Raises:
        ArgumentError: it is something else.
    """
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    if math.isnan(result) or isinstance(value, str):
        raise ArgumentError(f"{name} must be a number, but is {value!r}.")
    return result


def flag(value: Any, name: str) -> bool:
    """A setting that is True or False; 1 and 0 are allowed, as in Keras, a text such as "no" is not.

    Raises:
        ArgumentError: it is something else.

    Example:
        >>> flag(True, "save_best_only"), flag(0, "save_best_only")
        (True, False)
    """
    result = plain(value)
    if not isinstance(result, int) or result not in (0, 1):
        raise ArgumentError(f"{name} must be True or False, but is {value!r}.")
    return bool(result)


def settle(rule: Any, kind: Callable[[Any, str], Any], *names: str, optional: bool = False) -> None:
    """Put settings of a frozen rule into their right form.

    Args:
        rule: the rule, in its ``__post_init__``.
        kind: one of the functions above, called with a setting and its name.
        names: the settings.
        optional: a setting may be None.
    """
    for name in names:
        value = getattr(rule, name)
        if not (optional and value is None):
            object.__setattr__(rule, name, kind(value, name))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"


def plain(value: Any) -> Any:
    """The same value in Python's own types, so that JSON can hold it and compare it.

    Settings often come from NumPy: ``np.int64(3)`` becomes 3, ``np.True_`` becomes True, an
    array becomes a list; so do tuples. What is none of these stays as it is.

    Example:
        >>> plain({"patience": (1, 2.5, True), "monitor": None})
        {'patience': [1, 2.5, True], 'monitor': None}
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enum's member would be its name
    for kind in (bool, int, float):  # NumPy's float64 is a subclass of Python's float
        if isinstance(value, kind):
            return kind(value)
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def map_leaves(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same tree of dicts, lists and tuples, with ``function(leaf)`` in place of each leaf.

    Example:
        >>> map_leaves({"a": [1, (2,)]}, str)
        {'a': ['1', ('2',)]}
    """
    if isinstance(tree, Mapping):
        return {key: map_leaves(value, function) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [map_leaves(value, function) for value in tree]
        return items if isinstance(tree, list) else tuple(items)
    return function(tree)


def encoded(value: Any) -> Any:
    """The value in Python's own types, with infinities and NaN as texts, for JSON.

    Example:
        >>> encoded({"best": math.inf, "wait": 2})
        {'best': 'inf', 'wait': 2}
    """

    def named(leaf: Any) -> Any:
        return str(leaf) if isinstance(leaf, float) and not math.isfinite(leaf) else leaf

    return map_leaves(plain(value), named)


def decoded(value: Any) -> Any:
    """The inverse of :func:`encoded`: the texts "inf", "-inf" and "nan" become numbers."""
    return map_leaves(value, lambda leaf: _VALUES.get(leaf, leaf) if isinstance(leaf, str) else leaf)
