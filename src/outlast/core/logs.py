"""Logs: the metrics of one epoch, completed once, so that all callbacks read the same ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from outlast.core.numbers import is_scalar, number
from outlast.exceptions import ArgumentError, MetricError

Logs = dict[str, Any]


def rate_columns(rates: Mapping[str, float]) -> dict[str, float]:
    """Learning rates, with the names that they have in logs.

    Source: Keras's ``ReduceLROnPlateau``: one rate is ``learning_rate``, several are
    ``learning_rate_<name>``.

    Example:
        >>> rate_columns({"adam": 0.1}), rate_columns({"a": 0.1, "b": 0.2})
        ({'learning_rate': 0.1}, {'learning_rate_a': 0.1, 'learning_rate_b': 0.2})
    """
    if len(rates) == 1:
        return {"learning_rate": next(iter(rates.values()))}
    return {f"learning_rate_{name}": rate for name, rate in rates.items()}


_VALIDATION = re.compile(r"(val|valid|validation)[_/.: -]")


def is_validation(name: str) -> bool:
    """Whether a metric's name says that it is one of a validation.

    Example:
        >>> is_validation("val_loss"), is_validation("valid/loss"), is_validation("value_loss")
        (True, True, False)
    """
    return _VALIDATION.match(name) is not None


def validation_name(name: str) -> str:
    """The name of a metric that was logged in a validation.

    Example:
        >>> validation_name("loss"), validation_name("val_loss")
        ('val_loss', 'val_loss')
    """
    return name if is_validation(name) else f"val_{name}"


def completed(logs: Mapping[str, Any] | None, rates: Mapping[str, float]) -> Logs:
    """The learning rates first, then the metrics: nested dicts flattened, numbers as floats.

    A value that is not a single number (an array with several elements, a text) stays as it is.

    Example:
        >>> completed({"loss": 1, "b": {"c": "x"}}, {"sgd": 0.1})
        {'learning_rate': 0.1, 'loss': 1.0, 'c': 'x'}
    """
    if logs is not None and not isinstance(logs, Mapping):
        raise ArgumentError(f"logs must be a dict of metrics, such as {{'loss': 0.5}}, but are {logs!r}.")
    return {**rate_columns(rates), **_flat(logs or {})}


def _flat(logs: Mapping[str, Any]) -> Logs:
    flat: Logs = {}
    for name, value in logs.items():
        if type(value) is float:  # most are
            flat[name] = value
        elif isinstance(value, Mapping):
            flat |= _flat(value)
        else:
            flat[name] = _as_float(value)
    return flat


def _as_float(value: Any) -> Any:
    if isinstance(value, str) or not is_scalar(value):
        return value
    try:
        return number(value)
    except MetricError:
        return value
