"""Rates: the learning rates that Optax keeps in a state, with ``optax.inject_hyperparams``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from outlast.core.numbers import real
from outlast.exceptions import ArgumentError

_HELD = re.compile(r"(.*\.hyperparams)\['learning_rate'\](\.value)?")
_KEYS = re.compile(r"\['([^']*)'\]|\[([^\]]*)\]|\.(\w+)")
ONLY = "learning_rate"


def held(names: Sequence[str]) -> dict[str, int]:
    """The places of leaves that are rates, by what tells them apart; those of a schedule are left out.

    A schedule computes the rate again in each step, whatever is set.

    Args:
        names: of the leaves of a state.

    Example:
        >>> held([".opt['a'].hyperparams['learning_rate']", ".opt['b'].hyperparams['learning_rate']", ".x"])
        {'a': 0, 'b': 1}
        >>> held([".opt.hyperparams['learning_rate']", ".opt.hyperparams_states['learning_rate'].count"])
        {}
    """
    found = {index: match.group(1) for index, name in enumerate(names) if (match := _HELD.fullmatch(name))}
    free = [
        index
        for index, prefix in found.items()
        if not any(name.startswith(f"{prefix}_states['learning_rate']") for name in names)
    ]
    return dict(zip(_told_apart([names[index] for index in free]), free, strict=True))


def _told_apart(names: Sequence[str]) -> list[str]:
    """Short names: the keys of each path that are not in all of them; places in a chain only if needed."""
    if len(names) == 1:
        return [ONLY]
    paths = [[next(filter(None, keys), "") for keys in _KEYS.findall(name)] for name in names]
    common = set.intersection(*map(set, paths)) if paths else set()
    own = [[key for key in path if key not in common] for path in paths]
    words = [".".join(key for key in path if not key.isdecimal()) for path in own]
    for short in (words, [*map(".".join, own)]):
        if len({*short}) == len(short) and all(short):
            return short
    return list(names)


def given(learning_rate: Any) -> dict[str, float] | None:
    """The rates that the user gave, by name; None if there are none.

    Raises:
        ArgumentError: they are no numbers.

    Example:
        >>> given(0.1), given({"body": 0.1, "head": 1})
        ({'learning_rate': 0.1}, {'body': 0.1, 'head': 1.0})
    """
    if learning_rate is None:
        return None
    if callable(learning_rate):
        raise ArgumentError(
            "learning_rate must be a number, or several in a dict by name, but is a function: a schedule "
            "belongs into the optimizer, and is no rate that a callback could set."
        )
    if isinstance(learning_rate, Mapping):
        return {str(name): _rate(rate, f"learning_rate[{name!r}]") for name, rate in learning_rate.items()}
    return {ONLY: _rate(learning_rate, "learning_rate")}


def _rate(value: Any, name: str) -> float:
    rate = real(value, name)
    if rate < 0:
        raise ArgumentError(f"{name} must be at least 0, but is {rate}.")
    return rate
