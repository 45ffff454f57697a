"""Keras's metrics and layers as parts of a run: they have variables, and no ``state_dict()``.

In a loop of one's own nothing else holds them: ``fit`` would, and so would an attribute of the model.
"""

from __future__ import annotations

import sys
from typing import Any

from outlast.core.asking import asked
from outlast.exceptions import RunChanged
from outlast.frameworks import keras_held


def is_part(thing: Any) -> bool:
    """Whether it is a metric or a layer, such as a second model."""
    keras = sys.modules.get("keras")
    kinds = () if keras is None else (keras.metrics.Metric, keras.layers.Layer)
    return isinstance(thing, kinds)


def is_unbuilt(thing: Any) -> bool:
    """Whether it is a layer that gets its variables from the first batch."""
    return is_part(thing) and not asked(thing, "built", True)


def state_of(part: Any) -> dict[str, Any]:
    """The values of its variables; the arrays may be the live ones."""
    from outlast.frameworks.keras_values import Values  # with NumPy, which importing outlast does not import

    return {"variables": [Values().look(one) for one in part.variables]}


def load(part: Any, state: dict[str, Any]) -> None:
    """Put back what :func:`state_of` gave.

    Raises:
        RunChanged: it has other variables.
    """
    before, now = ([tuple(one.shape) for one in many] for many in (state["variables"], part.variables))
    if before != now:
        raise RunChanged(f"its variables had the shapes {before} and have {now}")
    for variable, value in zip(part.variables, state["variables"], strict=True):
        keras_held.assign(variable, value)
