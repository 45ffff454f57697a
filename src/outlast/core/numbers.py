"""Numbers: what counts as one, and how one is written in JSON."""

from __future__ import annotations

import math
from typing import Any

from outlast.exceptions import ArgumentError, MetricError

_NAMES = {math.inf: "inf", -math.inf: "-inf"}
_VALUES = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def number(value: Any, name: str = "the metric") -> float:
    """A metric as a Python float.

    Args:
        value: a number, or an array or tensor with exactly one element, of any framework.
        name: what to call it in the error.

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
        came = type(value).__name__ + (
            f" of shape {tuple(shape)}" if shape is not None else f" {value!r}"[:80]
        )
        raise MetricError(
            f"{name} must be one number (or an array of one element), but is {came}. "
            "Log its mean, or monitor another metric."
        ) from error


def _one_element(value: Any) -> Any:
    """Take the number out of arrays with axes; ``float()`` itself takes 0-d ones."""
    if getattr(value, "requires_grad", False):
        value = value.detach()
    return value.item() if getattr(value, "shape", ()) else value


def is_scalar(value: Any) -> bool:
    """Whether the value has no axes (an array of shape (1,) has one)."""
    return not getattr(value, "shape", ())


def whole(value: Any, name: str, least: int = 0) -> int | float:
    """A count of epochs or batches: a whole number, or infinity for "never".

    Raises:
        ArgumentError: it is no whole number, or too small.
    """
    try:
        result = math.inf if value == math.inf else int(value)
        valid = result == value and result >= least and not isinstance(value, bool)
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ArgumentError(f"{name} must be a whole number, at least {least}, but is {value!r}.")
    return result


def real(value: Any, name: str) -> float:
    """A setting that is a real number; infinite is allowed, NaN is not.

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


def encoded(value: Any) -> Any:
    """The same value with infinities and NaN as strings, for JSON.

    Example:
        >>> encoded({"best": math.inf, "wait": 2})
        {'best': 'inf', 'wait': 2}
    """
    if isinstance(value, dict):
        return {key: encoded(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return _NAMES.get(value, "nan")
    return value


def decoded(value: Any) -> Any:
    """The inverse of :func:`encoded`."""
    if isinstance(value, dict):
        return {key: decoded(item) for key, item in value.items()}
    return _VALUES.get(value, value) if isinstance(value, str) else value
