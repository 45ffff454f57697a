"""Estimators of scikit-learn's as parts of a run, such as a scaler beside the model; no ``state_dict()``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

from outlast.core.asking import has
from outlast.exceptions import ArgumentError, OutlastWarning, RunChanged
from outlast.frameworks.base import find_training


def is_part(thing: Any) -> bool:
    """Whether it is an estimator that is saved as a model is; those of other packages may be none."""
    base = sys.modules.get("sklearn.base")
    if base is None or not isinstance(thing, base.BaseEstimator) or has(thing, "state_dict"):
        return False
    try:
        return type(find_training(thing)).__module__ == "outlast.frameworks.sklearn"
    except ArgumentError:  # it trains in a loop of its own
        return False


def state_of(part: Any) -> dict[str, Any]:
    """Its state, as that of a model."""
    state: dict[str, Any] = find_training(part).state()
    return state


def load(part: Any, state: Mapping[str, Any]) -> None:
    """Put back what :func:`state_of` gave.

    Raises:
        RunChanged: it is another estimator, or has another rate.
    """
    training: Any = find_training(part)
    training.check_state(state)
    parameters, rates = training.changed_since(state)
    if rates:
        raise RunChanged(
            f"{', '.join(rates)}, and the run goes on with the rate that it had: set it back, and set "
            "another one after run.epochs(...) has begun"
        )
    if parameters and not training.has_told_changes:
        training.has_told_changes = True
        told = f"Of a part, the {type(part).__name__}, {', '.join(parameters)}: the new value counts."
        warnings.warn(told, OutlastWarning, stacklevel=2)
    training.load_state(state)
