"""Rates: where an estimator's learning rate is, and why some have none that could be set.

What was measured, and is built upon (scikit-learn 1.9): ``SGDClassifier`` reads ``eta0`` in each call, but
not with ``learning_rate="optimal"``. The multi-layer perceptrons copy ``learning_rate_init`` into an
optimizer in the first ``partial_fit``, and in each ``fit``; so it is set in both places.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from outlast.core.asking import asked
from outlast.frameworks.sklearn_parameters import cloned, estimators

NAMES = ("eta0", "learning_rate_init", "learning_rate")
_OPTIMIZER = "_optimizer"
_SCALES_ALL = ("GradientBoostingClassifier", "GradientBoostingRegressor")


class Rate:
    """The learning rate of one estimator.

    Args:
        estimator: which has one.
        name: of the parameter.
    """

    def __init__(self, estimator: Any, name: str) -> None:
        self.estimator, self.name = estimator, name

    def read(self) -> float:
        """The rate in force; of a rate that falls by itself, the one from which it falls."""
        optimizer = asked(self.estimator, _OPTIMIZER)
        if optimizer is None:
            return float(getattr(self.estimator, self.name))
        is_plain = self._is_plain(optimizer) and not self._falls(optimizer)
        return float(optimizer.learning_rate if is_plain else optimizer.learning_rate_init)

    def set(self, value: float) -> None:
        """Have the next call train with another one."""
        before = self.read()
        setattr(self.estimator, self.name, float(value))
        optimizer = asked(self.estimator, _OPTIMIZER)
        if optimizer is None:
            return
        if self._falls(optimizer):
            optimizer.learning_rate *= float(value) / before
            optimizer.learning_rate_init = float(value)
        elif self._is_plain(optimizer):
            optimizer.learning_rate = float(value)
        else:
            optimizer.learning_rate_init = float(value)

    @staticmethod
    def _is_plain(optimizer: Any) -> bool:
        """Whether it is gradient descent: Adam's ``learning_rate`` is another one in each step."""
        return hasattr(optimizer, "lr_schedule")

    @staticmethod
    def _falls(optimizer: Any) -> bool:
        return bool(asked(optimizer, "lr_schedule") == "invscaling")


def rates(model: Any) -> dict[str, Rate]:
    """The rates that can be set, by the names of their estimators.

    Example:
        >>> from sklearn.linear_model import SGDClassifier
        >>> {name: one.read() for name, one in rates(SGDClassifier(learning_rate="constant")).items()}
        {'sgdclassifier': 0.01}
        >>> rates(SGDClassifier())
        {}
    """
    clones = cloned(model)
    return {
        place or type(one).__name__.lower(): Rate(one, name)
        for place, one in estimators(model).items()
        if (name := rate_name(one)) is not None and place not in clones and why_not(one) is None
    }


def reasons(model: Any) -> list[str]:
    """Why there is none, for each of the estimators; those that have one at all come first."""
    clones = cloned(model)
    found = [
        f"{clones[place]} trains clones of the {type(one).__name__} that it was made with, which have rates "
        "of their own: a rate that is set in that one acts on none of them."
        if place in clones
        else why_not(one) or ""
        for place, one in estimators(model).items()
    ]
    return sorted(filter(None, found), key=lambda one: "has no learning rate." in one)


def rate_name(estimator: Any) -> str | None:
    """The parameter that is the rate; None if there is none."""
    parameters: Mapping[str, Any] = estimator.get_params(deep=False)
    found = (name for name in NAMES if isinstance(parameters.get(name), Real))
    return next(found, None)


def holders(model: Any) -> set[tuple[int, str]]:
    """The parameters that are rates which can be set: the ``id`` of the estimator, and the name there."""
    return {(id(one.estimator), one.name) for one in rates(model).values()}


def why_not(estimator: Any) -> str | None:
    """Why the rate of an estimator cannot be set, in a sentence; None if it can."""
    kind = type(estimator).__name__
    how = asked(estimator, "learning_rate")
    if rate_name(estimator) is None:
        return f"{kind} has no learning rate."
    if rate_name(estimator) == "eta0" and how not in ("constant", "invscaling", "adaptive"):
        return (
            f"{kind}(learning_rate={how!r}) computes its rate itself, and ignores eta0: use "
            'learning_rate="constant", "invscaling" or "adaptive", with eta0=0.01.'
        )
    if asked(estimator, "solver") == "lbfgs":
        return f"{kind}(solver='lbfgs') has no learning rate: use solver='adam' or 'sgd'."
    if kind in _SCALES_ALL:
        return (
            f"{kind} has one rate for all its trees, so that another one would change those that it has: "
            "HistGradientBoosting can change it from tree to tree."
        )
    return None
