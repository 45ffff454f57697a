"""scikit-learn's own ``fit``: an iteration of L-BFGS is an epoch.

What was measured, and is built upon (scikit-learn 1.9): ``LogisticRegression`` with ``solver="lbfgs"`` tells
of its iterations, and no other estimator does. It gives a copy of itself as it is after each iteration,
without a metric; so held-out data are scored here. It ignores what the hook returns, and ends where one
raises ``StopIteration``. After the last iteration comes an empty one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from outlast.callbacks.list import is_own
from outlast.core.asking import asked
from outlast.exceptions import ArgumentError, CapabilityError, UsageError, warn
from outlast.frameworks.base import find_training
from outlast.frameworks.driven import Driven, MadeAgain

_ITERATION, _FIT = "lbfgs-iter", "fit"
_NEGATIVE = "neg_"

Scorer = Callable[[Any, Any, Any], float]


class InFit(MadeAgain):
    """What scikit-learn calls: tells callbacks of the iterations.

    Args:
        items: callbacks of ours.
        validation_data: ``(x, y)``; None if nothing is scored.
        scoring: as :func:`outlast.frameworks.sklearn.callbacks` takes it.
    """

    def __init__(self, items: Sequence[Any], validation_data: Any = None, scoring: Any = None) -> None:
        if find_spec("sklearn.callback") is None:
            raise CapabilityError(
                "This scikit-learn has no callbacks in its fit: pip install 'scikit-learn>=1.9', or train "
                "with partial_fit, in for epoch in run.epochs(...)."
            )
        self._driven = Driven("sklearn", *items)
        if self._driven.is_saved:
            raise CapabilityError(
                "A Run cannot make scikit-learn's fit resumable: L-BFGS keeps what it has learned of the "
                "curve inside scipy, and begins anew in each fit. Pass the callbacks alone, or train with "
                "partial_fit, in for epoch in run.epochs(...), which a Run makes resumable."
            )
        if validation_data is not None and not (
            isinstance(validation_data, (tuple, list)) and len(validation_data) == 2
        ):
            raise ArgumentError("validation_data must be a pair, (x, y).")
        if scoring is not None and validation_data is None:
            raise ArgumentError("scoring needs data to score: pass validation_data=(x, y), too.")
        self._data, self._scoring = validation_data, scoring
        self._scorers = {} if validation_data is None else scorers(scoring)
        self._is_under_way = self._is_whole = False
        self._until_end = ExitStack()

    def __reduce__(self) -> Any:
        return InFit, (self._driven.items_elsewhere(), self._data, self._scoring)

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin.

        Raises:
            CapabilityError: the estimator tells of no iterations, or a callback cannot act here.
            ArgumentError: a callback watches what is not scored.
            UsageError: another fit is under way with the same callbacks.
        """
        refuse_without_iterations(estimator)
        if self._is_under_way:
            raise UsageError(
                "These callbacks are in a second fit before the first has ended: give each estimator its own."
            )
        self._driven.refuse_what_needs_batches("scikit-learn's fit")
        self._refuse_what_is_not_scored()
        self._tell_of_others(estimator)
        self._driven.begin(estimator, estimator.max_iter)
        self._is_under_way, self._is_whole = True, False

    def teardown(self, estimator: Any, context: Any) -> None:
        """End; callbacks put the best iteration back. After an error nobody hears of an end."""
        if not self._is_under_way:
            return
        self._is_under_way = False
        self._until_end.close()
        find_training(estimator).fitted = None  # type: ignore[attr-defined]
        if self._is_whole:
            self._driven.end()

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Nothing: whether an iteration begins is known when it has ended."""

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> None:
        """End an iteration.

        Raises:
            StopIteration: a callback asked for the end.
        """
        if context.task_name == _FIT:
            self._is_whole = True
        if context.task_name != _ITERATION or fitted_estimator is None:
            return
        find_training(estimator).fitted = fitted_estimator  # type: ignore[attr-defined]
        self._driven.begin_epoch()
        self._driven.end_epoch(self._scored(fitted_estimator))
        if self._driven.stopping:
            self._until_end.enter_context(_no_failure())
            raise StopIteration

    def _scored(self, fitted: Any) -> dict[str, float]:
        x, y = self._data or (None, None)
        scored = (named(name, float(one(fitted, x, y))) for name, one in self._scorers.items())
        return {name: value for one in scored for name, value in one.items()}

    def _refuse_what_is_not_scored(self) -> None:
        known = {name for one in self._scorers for name in named(one, 0.0)}
        watching = [one for one in self._driven.callbacks if getattr(one, "needs_metric", False)]
        if not all(is_own(one) for one in self._driven.callbacks):
            watching = [] if known else watching  # a callback of the user's may add a metric
        for one in watching:
            if one.monitor not in known:
                way = (
                    'pass scoring="neg_log_loss", or what you need'
                    if known
                    else "pass validation_data=(x, y)"
                )
                raise ArgumentError(
                    f"{type(one).__name__} watches {one.monitor}, which is not scored: {way}."
                    + (f" These are: {', '.join(sorted(known))}." if known else "")
                )

    def _tell_of_others(self, estimator: Any) -> None:
        given = asked(estimator, "_skl_callbacks", [])
        after = [type(one).__name__ for one in given[given.index(self) + 1 :]] if self in given else []
        if after:
            warn(
                f"{', '.join(after)} after outlast's callbacks will not hear of the iteration in which one "
                "of those stops: put outlast's last, set_callbacks(..., *callbacks(...))."
            )


@contextmanager
def _no_failure() -> Iterator[None]:
    """Inside this, scikit-learn does not warn that a callback has ended L-BFGS: it was meant to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"lbfgs failed to converge[\s\S]*StopIteration")
        yield


def refuse_without_iterations(estimator: Any) -> None:
    """Refuse an estimator whose ``fit`` tells of no iterations.

    Raises:
        CapabilityError: it is one.
    """
    if not any(one.__name__ == "LogisticRegression" for one in type(estimator).__mro__):
        inner = " Set the callbacks on the LogisticRegression in it, if there is one."
        raise CapabilityError(
            f"{type(estimator).__name__} tells of no iterations in its fit: train with partial_fit, or with "
            "warm_start, in a loop of your own, for epoch in run.epochs(...)." + inner
        )
    if estimator.solver != "lbfgs":
        raise CapabilityError(
            f"LogisticRegression(solver={estimator.solver!r}) tells of no iterations: use solver='lbfgs', or "
            "SGDClassifier(loss='log_loss') with partial_fit in for epoch in run.epochs(...)."
        )


def scorers(scoring: Any) -> dict[str, Scorer]:
    """The functions that score, by name: of a name, several names, a function, or functions by name.

    Raises:
        ArgumentError: scikit-learn has no such scorer.
    """
    from sklearn.metrics import get_scorer

    if scoring is None:
        return {"score": _score}
    if callable(scoring):
        return {asked(scoring, "__name__", "score"): scoring}
    names: Mapping[str, Any] = scoring if isinstance(scoring, Mapping) else _by_name(scoring)
    try:
        return {name: one if callable(one) else get_scorer(one) for name, one in names.items()}
    except ValueError as error:
        raise ArgumentError(f"scoring: {error}") from error


def _by_name(scoring: Any) -> dict[str, Any]:
    return {one: one for one in ([scoring] if isinstance(scoring, str) else scoring)}


def _score(estimator: Any, x: Any, y: Any) -> float:
    return float(estimator.score(x, y))


def named(name: str, value: float) -> dict[str, float]:
    """A score under its names; one that is the negative of a loss is that loss, too.

    Example:
        >>> named("accuracy", 0.9), named("neg_log_loss", -0.5)
        ({'val_accuracy': 0.9}, {'val_neg_log_loss': -0.5, 'val_log_loss': 0.5, 'val_loss': 0.5})
    """
    found = {f"val_{name}": value}
    if name.startswith(_NEGATIVE):
        found |= {f"val_{name.removeprefix(_NEGATIVE)}": -value, "val_loss": -value}
    return found
