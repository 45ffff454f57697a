"""Callbacks in scikit-learn's own fit, which is that of LogisticRegression."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import outlast
from outlast.exceptions import ArgumentError, CapabilityError, OutlastWarning, UsageError
from outlast.frameworks.sklearn import callbacks

pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")

rng = np.random.default_rng(0)
X = rng.random((240, 6))
Y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.random(240) > 0.9).astype(int)
TRAINED, HELD_OUT = slice(160), slice(160, None)


def logistic(*items: Any, scoring: Any = "neg_log_loss", **settings: Any) -> Any:
    held_out = (X[HELD_OUT], Y[HELD_OUT])
    model = LogisticRegression(**{"C": 100.0, "tol": 1e-8} | settings)
    return model.set_callbacks(*callbacks(*items, validation_data=held_out, scoring=scoring))


def fitted(*items: Any, **settings: Any) -> Any:
    return logistic(*items, **settings).fit(X[TRAINED], Y[TRAINED])


def test_iterations_are_epochs_and_scores_have_names() -> None:
    history = outlast.History()
    model = fitted(history)
    assert [*history.history] == ["val_neg_log_loss", "val_log_loss", "val_loss"]
    assert len(history.history["val_loss"]) == model.n_iter_[0]
    assert history.history["val_loss"] == [-one for one in history.history["val_neg_log_loss"]]


@pytest.mark.parametrize(
    ("scoring", "names"),
    [
        (None, ["val_score"]),
        (["accuracy", "roc_auc"], ["val_accuracy", "val_roc_auc"]),
        ({"own": lambda model, x, y: 0.5}, ["val_own"]),
    ],
)
def test_scoring_is_as_in_scikit_learn(scoring: Any, names: list[str]) -> None:
    history = outlast.History()
    with warnings.catch_warnings(action="ignore"):
        fitted(history, scoring=scoring, max_iter=3)
    assert [*history.history] == names


def test_a_stop_ends_the_fit_as_fewer_iterations_would() -> None:
    stop = outlast.LambdaCallback()
    stop.on_epoch_end = lambda epoch, logs: epoch == 3 and stop.control.stop("enough")  # type: ignore
    model = fitted(stop)
    with warnings.catch_warnings(action="ignore"):
        plain = LogisticRegression(C=100.0, tol=1e-8, max_iter=4).fit(X[TRAINED], Y[TRAINED])
    assert model.n_iter_[0] == 4
    assert model.coef_.tobytes() == plain.coef_.tobytes()


def test_the_best_iteration_is_restored_and_saved(tmp_path: Path) -> None:
    path, kept = tmp_path / "best.skops", []
    follow = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(logs["val_loss"]))
    stopping = outlast.EarlyStopping(patience=2, restore_best_weights=True)
    checkpoint = outlast.ModelCheckpoint(str(path), save_best_only=True)
    model = fitted(stopping, checkpoint, follow)
    assert stopping.stopped_epoch and stopping.best_epoch < len(kept) - 1
    saved = skops.io.load(path)
    assert saved.coef_.tobytes() == model.coef_.tobytes()
    assert saved.intercept_.tobytes() == model.intercept_.tobytes()
    with warnings.catch_warnings(action="ignore"):
        plain = LogisticRegression(C=100.0, tol=1e-8, max_iter=stopping.best_epoch + 1)
        assert plain.fit(X[TRAINED], Y[TRAINED]).coef_.tobytes() == model.coef_.tobytes()


def test_all_callbacks_hear_of_the_iteration_that_stops_and_two_stoppers_of_a_class_are_two() -> None:
    first, second = (outlast.EarlyStopping(patience=n, min_delta=10) for n in (3, 1))
    history = outlast.History()
    fitted(first, second, history)
    assert (first.wait, second.stopped_epoch, len(history.history["val_loss"])) == (1, 1, 2)


def test_callbacks_of_others_behind_ours_are_named() -> None:
    class Theirs:
        def setup(self, estimator: Any, context: Any) -> None: ...
        def teardown(self, estimator: Any, context: Any) -> None: ...
        def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...
        def on_fit_task_end(self, estimator: Any, context: Any) -> None: ...

    ours = callbacks(outlast.History())
    with pytest.warns(OutlastWarning, match="Theirs after outlast's callbacks"):
        LogisticRegression().set_callbacks(*ours, Theirs()).fit(X, Y)
    LogisticRegression().set_callbacks(Theirs(), *ours).fit(X, Y)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_a_callback_ends_the_fit_and_the_next_one_begins_anew(kind: type) -> None:
    heard: list[Any] = []

    def fail(epoch: int, logs: Any) -> None:
        heard.append(epoch)
        if len(heard) == 2:
            raise kind

    ended: list[int] = []
    model = logistic(outlast.LambdaCallback(on_epoch_end=fail, on_train_end=lambda logs: ended.append(1)))
    with pytest.raises(kind):
        model.fit(X, Y)
    assert not ended
    model.fit(X, Y)
    assert heard[:4] == [0, 1, 0, 1] and ended == [1]


def test_a_run_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="inside scipy"):
        callbacks(outlast.Run(tmp_path / "run"))


@pytest.mark.filterwarnings("ignore:Callbacks are only supported")
@pytest.mark.parametrize(
    ("model", "text"),
    [
        (LogisticRegression(solver="saga"), "use solver='lbfgs'"),
        (StandardScaler(), "StandardScaler tells of no iterations.*partial_fit.*run.epochs"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "on the LogisticRegression in it"),
    ],
    ids=lambda one: "" if isinstance(one, str) else type(one).__name__,
)
def test_other_fits_are_refused_and_the_way_out_is_named(model: Any, text: str) -> None:
    model.set_callbacks(*callbacks(outlast.History()))
    with pytest.raises(CapabilityError, match=text):
        model.fit(X, Y)


def test_what_is_not_scored_is_refused_before_the_first_iteration() -> None:
    with pytest.raises(ArgumentError, match=r"val_loss.*pass validation_data=\(x, y\)"):
        LogisticRegression().set_callbacks(*callbacks(outlast.EarlyStopping())).fit(X, Y)
    with pytest.raises(ArgumentError, match=r"val_los, which is not scored.*val_loss"):
        fitted(outlast.EarlyStopping("val_los"))
    with pytest.raises(ArgumentError, match="nonsense"):
        logistic(scoring="nonsense")
    with pytest.raises(ArgumentError, match="validation_data"):
        callbacks(scoring="accuracy")
    with pytest.raises(ArgumentError, match="a pair"):
        callbacks(validation_data=X)


def test_rates_and_batches_are_refused() -> None:
    with pytest.raises(CapabilityError, match="LogisticRegression has no learning rate"):
        fitted(outlast.ReduceLROnPlateau())
    with pytest.raises(CapabilityError, match="counts batches"):
        fitted(outlast.ModelCheckpoint("m.skops", save_freq=3))


def test_clones_share_the_callbacks_and_each_fit_begins_anew() -> None:
    begun: list[int] = []
    stopping = outlast.EarlyStopping(patience=1)
    model = logistic(stopping, outlast.LambdaCallback(on_train_begin=lambda logs: begun.append(1)))
    assert clone(model)._skl_callbacks[0] is model._skl_callbacks[0]
    search = GridSearchCV(model, {"C": [1.0, 10.0]}, cv=2).fit(X, Y)
    assert len(begun) == 5 and search.best_estimator_.coef_.shape == (1, 6)


def test_a_fitted_estimator_can_be_pickled_with_its_callbacks() -> None:
    model = fitted(outlast.EarlyStopping(patience=1))
    again = pickle.loads(pickle.dumps(model))
    again.fit(X[TRAINED], Y[TRAINED])
    assert again.coef_.tobytes() == model.coef_.tobytes()


def test_two_fits_at_once_are_refused() -> None:
    ours = callbacks(outlast.History())
    inner = LogisticRegression().set_callbacks(*ours)
    outer = LogisticRegression().set_callbacks(
        *callbacks(outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: inner.fit(X, Y))),
    )
    outer.fit(X, Y)  # one inside the other, with callbacks of their own
    ours[0]._driven.callbacks.append(None)
    both = callbacks(outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: again.fit(X, Y)))
    again = LogisticRegression().set_callbacks(*both)
    with pytest.raises(UsageError, match="second fit before the first has ended"):
        again.fit(X, Y)
