"""Callbacks in XGBoost's own loop: what they hear, and do; runs that go on exactly; copies and pickles."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

import outlast
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    DamagedFile,
    MissingExtra,
    RunChanged,
    UsageError,
)
from outlast.frameworks.xgboost import InXGBoost, callbacks, resume_arguments

rng = np.random.default_rng(0)
X = rng.random((300, 6), dtype="float32")
Y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.random(300) > 0.9).astype(int)
TRAINED, HELD_OUT = slice(200), slice(200, None)
BINARY = {"objective": "binary:logistic", "nthread": 1, "seed": 3}


def data(part: slice) -> Any:
    return xgboost.DMatrix(X[part], Y[part])


def train(*items: Any, rounds: int = 12, sets: Any = None, **settings: Any) -> Any:
    """A booster; with a set of its own data and one that was held out."""
    trained_on, held_out = data(TRAINED), data(HELD_OUT)
    evals = [(trained_on, "mine"), (held_out, "theirs")] if sets is None else sets(trained_on, held_out)
    return xgboost.train(
        BINARY | settings, trained_on, rounds, evals=evals, verbose_eval=False, callbacks=callbacks(*items)
    )


def follow(metric: str, values: list[float], callback: Any, **options: Any) -> None:
    """Train with a metric of one's own that has these values."""
    left = iter(values)
    xgboost.train(
        {**BINARY, "disable_default_eval_metric": True},
        data(TRAINED),
        len(values),
        evals=[(data(HELD_OUT), "theirs")],
        custom_metric=lambda predicted, given: (metric, next(left)),
        verbose_eval=False,
        callbacks=callbacks(callback),
        **options,
    )


def raw(booster: Any) -> bytes:
    return bytes(booster.save_raw("ubj"))


# What callbacks hear and do.


def test_metrics_have_kerass_names_and_what_loss_is_is_the_last_metric() -> None:
    history = outlast.History()
    train(history, rounds=2, eval_metric=["auc", "error"])
    assert [*history.history] == [
        *("learning_rate", "auc", "error", "loss", "val_auc", "val_error", "val_loss")
    ]
    assert history.history["val_loss"] == history.history["val_error"]


def test_of_several_sets_that_are_held_out_the_last_counts() -> None:
    history = outlast.History()
    train(history, rounds=2, sets=lambda mine, other: [(other, "a"), (other, "b"), (mine, "train")])
    assert [*history.history] == ["learning_rate", "a-logloss", "val_logloss", "val_loss", "logloss", "loss"]


def test_a_metric_may_be_watched_by_the_name_that_xgboost_prints() -> None:
    stopping = outlast.EarlyStopping("theirs-logloss", patience=1, min_delta=10)
    booster = train(stopping)
    assert (booster.num_boosted_rounds(), stopping.stopped_epoch) == (2, 1)


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("auc", True), ("aucpr", True), ("map", True), ("error@0.7", False), ("logloss", False)],
)
def test_xgboost_knows_which_way_its_metrics_go(metric: str, higher: bool) -> None:
    stopping = outlast.EarlyStopping(patience=100)
    train(stopping, eval_metric=metric)
    history = outlast.History()
    train(history, eval_metric=metric)
    best = (max if higher else min)(history.history["val_loss"])
    assert stopping.best == best


def test_the_best_round_is_known_as_after_xgboosts_own_early_stopping() -> None:
    own = xgboost.callback.EarlyStopping(rounds=3, data_name="theirs", metric_name="logloss")
    theirs = xgboost.train(
        {**BINARY, "eta": 1.5},
        data(TRAINED),
        30,
        evals=[(data(HELD_OUT), "theirs")],
        verbose_eval=False,
        callbacks=[own],
    )
    ours = train(outlast.EarlyStopping(patience=3), rounds=30, eta=1.5)
    assert (ours.best_iteration, ours.num_boosted_rounds()) == (
        theirs.best_iteration,
        theirs.num_boosted_rounds(),
    )
    assert ours.best_score == pytest.approx(theirs.best_score)


@pytest.mark.parametrize(
    "booster", [{}, {"booster": "dart", "rate_drop": 0.5}, {"booster": "gblinear"}, {"num_parallel_tree": 3}]
)
def test_the_best_rounds_are_restored_whatever_the_booster(booster: dict[str, Any]) -> None:
    seen: list[Any] = []
    held_out = data(HELD_OUT)

    class Keep(outlast.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(self.model.predict(held_out))

    stopping = outlast.EarlyStopping(patience=3, restore_best_weights=True)
    settings = booster if booster.get("booster") == "gblinear" else {"eta": 1.5, **booster}
    found = train(Keep(), stopping, rounds=30, **settings)
    assert found.num_boosted_rounds() == stopping.best_epoch + 1
    np.testing.assert_array_equal(found.predict(held_out), seen[stopping.best_epoch])


def test_a_classifier_predicts_with_its_best_rounds() -> None:
    stopping = outlast.EarlyStopping(patience=2)
    classifier = xgboost.XGBClassifier(
        n_estimators=40, nthread=1, learning_rate=1.5, callbacks=callbacks(stopping)
    )
    classifier.fit(X[TRAINED], Y[TRAINED], eval_set=[(X[HELD_OUT], Y[HELD_OUT])], verbose=False)
    assert (
        classifier.best_iteration == stopping.best_epoch < classifier.get_booster().num_boosted_rounds() - 1
    )
    best = classifier.predict_proba(X[HELD_OUT], iteration_range=(0, stopping.best_epoch + 1))
    np.testing.assert_array_equal(classifier.predict_proba(X[HELD_OUT]), best)


def test_rates_are_read_and_set() -> None:
    rates: list[dict[str, float]] = []
    scheduler = outlast.LearningRateScheduler(lambda epoch, rate: 0.4 / (epoch + 1))
    look = outlast.LambdaCallback(lambda *_: rates.append(scheduler.training.learning_rates()))
    ours = train(scheduler, look)
    theirs = xgboost.train(
        BINARY | {"eta": 0.4},
        data(TRAINED),
        12,
        callbacks=[xgboost.callback.LearningRateScheduler(lambda epoch: 0.4 / (epoch + 2))],
    )
    found = [one["learning_rate"] for one in rates]
    assert found == pytest.approx([0.4 / (epoch + 1) for epoch in range(12)])
    assert ours.get_dump() == theirs.get_dump()


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_the_rate_of_each_booster_falls_on_a_plateau(booster: str) -> None:
    history = outlast.History()
    train(history, outlast.ReduceLROnPlateau(patience=1, min_delta=10, factor=0.5), booster=booster, eta=0.4)
    assert history.history["learning_rate"][:4] == pytest.approx([0.4, 0.4, 0.2, 0.1])


def test_a_round_that_another_callback_hides_is_heard() -> None:
    class Stops(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return epoch == 2

    history = outlast.History()
    booster = xgboost.train(BINARY, data(TRAINED), 9, callbacks=[Stops(), *callbacks(history)])
    assert (history.epoch, booster.num_boosted_rounds()) == ([0, 1, 2], 3)


def test_all_hear_the_last_round_though_the_first_stops() -> None:
    first, second = outlast.EarlyStopping(patience=1, min_delta=10), outlast.EarlyStopping(patience=9)
    history = outlast.History()
    train(first, second, history)
    assert (history.epoch, second.best_epoch >= 0, first.stopped_epoch) == ([0, 1], True, 1)


def test_nan_in_the_first_round_is_never_the_best() -> None:
    stopping = outlast.EarlyStopping("val_own", patience=9, mode="min")
    follow("own", [float("nan"), 0.5, 0.7, 0.6], stopping)
    assert (stopping.best, stopping.best_epoch) == (0.5, 1)


def test_a_round_whose_loss_is_nan_ends_the_training() -> None:
    history = outlast.History()
    follow("own", [0.5, float("nan"), 0.7, 0.6], [history, outlast.TerminateOnNaN()])
    assert history.epoch == [0, 1]


@pytest.mark.parametrize("ending", ["ubj", "json"])
def test_models_are_saved_in_xgboosts_own_formats(tmp_path: Path, ending: str) -> None:
    checkpoint = outlast.ModelCheckpoint(tmp_path / f"m-{{epoch:02d}}.{ending}")
    booster = train(checkpoint, rounds=3)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"m-0{one}.{ending}" for one in (1, 2, 3)]
    assert raw(xgboost.Booster(model_file=tmp_path / f"m-03.{ending}")) == raw(booster)
    if ending == "json":
        assert json.loads((tmp_path / "m-01.json").read_text())["learner"]


def test_a_cross_validation_can_be_stopped_and_followed() -> None:
    stopping, history = outlast.EarlyStopping(patience=2), outlast.History()
    found = xgboost.cv(
        BINARY | {"eta": 1.5},
        data(TRAINED),
        40,
        nfold=3,
        callbacks=callbacks(stopping, history),
        as_pandas=False,
    )
    assert len(found["test-logloss-mean"]) == stopping.best_epoch + 1 < 40
    assert history.history["val_logloss"][stopping.best_epoch] == found["test-logloss-mean"][-1]
    assert history.history["val_logloss_std"][0] == found["test-logloss-std"][0]


# What cannot be is said before the first round.

REFUSED: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "no data": (
        lambda folder: train(outlast.EarlyStopping(), sets=lambda *_: []),
        ArgumentError,
        "EarlyStopping watches val_loss, but no data is evaluated: pass evals=",
    ),
    "no held-out data": (
        lambda folder: train(outlast.ReduceLROnPlateau(), sets=lambda mine, _: [(mine, "any name")]),
        ArgumentError,
        "ReduceLROnPlateau watches val_loss, but no held-out data is evaluated",
    ),
    "no data for a loss": (
        lambda folder: train(outlast.TerminateOnNaN(), sets=lambda *_: []),
        ArgumentError,
        "TerminateOnNaN watches loss, but no data is evaluated: pass evals=",
    ),
    "save_freq": (
        lambda folder: train(outlast.ModelCheckpoint(folder / "m.ubj", save_freq=3)),
        CapabilityError,
        "counts batches, and XGBoost has none",
    ),
    "a hook of batches": (
        lambda folder: train(outlast.LambdaCallback(on_train_batch_end=lambda *_: None)),
        CapabilityError,
        "LambdaCallback has a hook of batches",
    ),
    "an ending": (
        lambda folder: train(outlast.ModelCheckpoint(folder / "m.pt")),
        ArgumentError,
        "must end in `.ubj` or `.json`",
    ),
    "a run in a cross validation": (
        lambda folder: xgboost.cv(BINARY, data(TRAINED), 3, callbacks=callbacks(outlast.Run(folder / "r"))),
        CapabilityError,
        "A Run acts on one model, but xgb.cv trains several",
    ),
    "a rate in a cross validation": (
        lambda folder: xgboost.cv(
            BINARY, data(TRAINED), 3, callbacks=callbacks(outlast.ReduceLROnPlateau("loss"))
        ),
        CapabilityError,
        "ReduceLROnPlateau acts on one model, but xgb.cv",
    ),
    "two who set the rate": (
        lambda folder: xgboost.train(
            BINARY,
            data(TRAINED),
            3,
            callbacks=[
                xgboost.callback.LearningRateScheduler(lambda epoch: 0.1),
                *callbacks(outlast.LearningRateScheduler(lambda epoch, rate: rate)),
            ],
        ),
        UsageError,
        "LearningRateScheduler cannot act here: xgboost.callback.LearningRateScheduler sets",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_act_is_refused_before_the_first_round(tmp_path: Path, what: str) -> None:
    act, error, text = REFUSED[what]
    with pytest.raises(error, match=text):
        act(tmp_path)


def test_without_xgboost_the_error_names_the_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    monkeypatch.delitem(sys.modules, "outlast.frameworks.xgboost")
    monkeypatch.delattr(outlast.frameworks, "xgboost")
    with pytest.raises(MissingExtra, match=r'pip install "outlast\[xgboost\]"'):
        outlast.frameworks.xgboost  # noqa: B018  # to name it imports it


# In a run.

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sampling": {"subsample": 0.6, "colsample_bytree": 0.7, "colsample_bynode": 0.5},
    "exact": {"tree_method": "exact", "subsample": 0.6},
    "approx": {"tree_method": "approx", "colsample_bylevel": 0.5},
    "dart": {"booster": "dart", "rate_drop": 0.3, "subsample": 0.8},
    "gblinear": {"booster": "gblinear", "updater": "coord_descent", "feature_selector": "random"},
    "several trees": {"num_parallel_tree": 2, "subsample": 0.7, "grow_policy": "lossguide"},
    "absolute error": {"objective": "reg:absoluteerror", "subsample": 0.9},
    "ranking": {"objective": "rank:pairwise", "eval_metric": "error"},
}


class Left(Exception):
    """The end of a process."""


def leaving(after: int | None) -> outlast.LambdaCallback:
    def leave(epoch: int, logs: Any) -> None:
        if epoch == after:
            raise Left

    return outlast.LambdaCallback(on_epoch_end=leave)


def in_a_run(folder: Path, after: int | None = None, rounds: int = 12, **settings: Any) -> Any:
    """(booster, run); None where it was left in the round after ``after``."""
    best = outlast.ModelCheckpoint(save_best_only=True)
    rate = outlast.ReduceLROnPlateau(patience=1, min_delta=0.01, factor=0.5)
    run = outlast.Run(folder, [best, rate, outlast.CSVLogger(), leaving(after)])
    try:
        return train(run, rounds=rounds, **settings), run
    except Left:
        return None, run


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_left_ends_with_the_same_bytes(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, run = in_a_run(tmp_path / "whole", **KINDS[kind])
    for after in (4, 7):
        in_a_run(tmp_path / "left", after, **KINDS[kind])
    found, other = in_a_run(tmp_path / "left", **KINDS[kind])
    assert raw(found) == raw(whole)
    assert other.history.rows == run.history.rows
    assert raw(other.load_best()) == raw(run.load_best())
    assert "epoch 7 trained again as a check: identical" in capsys.readouterr().out


def test_without_sampling_a_run_gives_xgboosts_own_model(tmp_path: Path) -> None:
    theirs = xgboost.train(BINARY, data(TRAINED), 12)
    ours = train(outlast.Run(tmp_path / "run"))
    assert raw(ours) == raw(theirs)


def test_a_finished_run_gives_its_booster_back_and_goes_on_with_more_rounds(tmp_path: Path) -> None:
    def once(rounds: int, folder: str = "run") -> Any:
        stopping = outlast.EarlyStopping(patience=50, restore_best_weights=True)
        return train(outlast.Run(tmp_path / folder, stopping), rounds=rounds, subsample=0.7)

    first = once(5)
    assert raw(once(5)) == raw(first)
    more = once(9)
    assert raw(more) == raw(once(9, "whole"))
    assert first.num_boosted_rounds() <= 5


def test_a_model_to_go_on_from_is_not_counted(tmp_path: Path) -> None:
    before = xgboost.train(BINARY, data(TRAINED), 3)

    def go_on(folder: str, after: int | None = None) -> Any:
        run = outlast.Run(tmp_path / folder, [outlast.EarlyStopping(patience=50), leaving(after)])
        with warnings.catch_warnings():
            found = xgboost.train(
                BINARY | {"subsample": 0.7},
                data(TRAINED),
                6,
                evals=[(data(HELD_OUT), "theirs")],
                verbose_eval=False,
                xgb_model=before,
                callbacks=callbacks(run),
            )
        return found, len(run.history.rows)

    whole, rows = go_on("whole")
    with pytest.raises(Left):
        go_on("left", 3)
    found, _ = go_on("left")
    assert (raw(found), whole.num_boosted_rounds(), rows) == (raw(whole), 9, 6)
    assert found.best_iteration >= 3


def test_save_every_counts_rounds(tmp_path: Path) -> None:
    committed: list[Any] = []
    run = outlast.Run(
        tmp_path / "run",
        outlast.LambdaCallback(on_epoch_end=lambda *_: (run.flush(), committed.append(run.committed))),
        save_every=4,
    )
    train(run, rounds=10)
    assert committed == [None] * 4 + [(3, None)] * 4 + [(7, None)] * 2
    assert run.committed == (9, None)
    assert len(run.history.rows) == 10


def test_a_signal_ends_after_the_round_with_a_save_there(tmp_path: Path) -> None:
    import signal

    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 5:
            signal.raise_signal(signal.SIGINT)

    run = outlast.Run(tmp_path / "run", outlast.LambdaCallback(on_epoch_end=interrupt), save_every=100)
    with pytest.raises(KeyboardInterrupt):
        train(run, rounds=10)
    assert (run.committed, run.status) == ((5, None), "interrupted")


def test_who_else_stops_the_training_finishes_the_run(tmp_path: Path) -> None:
    class Stops(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return epoch == 2

    run = outlast.Run(tmp_path / "run")
    xgboost.train(BINARY, data(TRAINED), 9, callbacks=[Stops(), *callbacks(run)])
    assert (run.finished, len(run.history.rows)) == (True, 3)
    assert "stopped" in str(run.stopped)


def test_xgboosts_own_early_stopping_beside_a_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    xgboost.train(
        BINARY,
        data(TRAINED),
        3,
        evals=[(data(HELD_OUT), "theirs")],
        early_stopping_rounds=2,
        callbacks=callbacks(outlast.Run(tmp_path / "run")),
    )
    said = capsys.readouterr().out
    assert "the state of EarlyStopping is not saved: use outlast.EarlyStopping" in said
    assert "EvaluationMonitor" not in said


def test_other_data_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    with pytest.raises(RunChanged, match="was trained on 6 features, but the data has 2"):
        xgboost.train(
            BINARY,
            xgboost.DMatrix(X[:, :2], Y),
            9,
            evals=[(data(HELD_OUT), "theirs")],
            callbacks=callbacks(outlast.Run(tmp_path / "run")),
        )


def test_a_best_model_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "best.ubj"
    path.write_bytes(b"{L\x00\x00")
    with pytest.raises(DamagedFile, match=r"best\.ubj is damaged"):
        outlast.frameworks.base.load_file(str(path))


# Copies.


def test_a_search_hears_every_round_of_its_clones() -> None:
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    heard: list[int] = []
    given = callbacks(outlast.LambdaCallback(on_epoch_end=lambda epoch, _: heard.append(epoch)))
    classifier = xgboost.XGBClassifier(n_estimators=4, nthread=1, callbacks=given)
    GridSearchCV(classifier, {"max_depth": [1, 2]}, cv=2).fit(X, Y)
    assert heard == [0, 1, 2, 3] * 5
    assert clone(classifier).callbacks[0] is given[0]


def test_a_run_in_a_search_is_refused(tmp_path: Path) -> None:
    from sklearn.model_selection import GridSearchCV

    given = callbacks(outlast.Run(tmp_path / "run"))
    classifier = xgboost.XGBClassifier(n_estimators=4, nthread=1, callbacks=given)
    with pytest.raises(UsageError, match=r"holds one training, but sklearn\.model_selection trains many"):
        GridSearchCV(classifier, {"max_depth": [1, 2]}, cv=2, error_score="raise").fit(X, Y)


def test_a_fitted_estimator_is_pickled_with_its_callbacks(tmp_path: Path) -> None:
    stopping = outlast.EarlyStopping("loss", patience=3)
    run = outlast.Run(tmp_path / "run", outlast.History())
    for item in (stopping, run):
        classifier = xgboost.XGBClassifier(n_estimators=4, nthread=1, callbacks=callbacks(item))
        classifier.fit(X, Y, eval_set=[(X, Y)], verbose=False)
        other = pickle.loads(pickle.dumps(classifier))
        assert isinstance(other.callbacks[0], InXGBoost)
        np.testing.assert_array_equal(other.predict(X), classifier.predict(X))
    with pytest.raises(UsageError, match="came out of a pickle"):
        other.fit(X, Y)


def test_a_resume_needs_no_more_arguments() -> None:
    assert resume_arguments(None) == {}


# What was found by trying: settings that XGBoost forgets, metrics, lists beside lists.

DETERMINISTIC: dict[str, dict[str, Any]] = {
    "plain": {},
    "linear": {"booster": "gblinear", "lambda": 0.3, "alpha": 0.01},
    "greedy": {"booster": "gblinear", "updater": "coord_descent", "feature_selector": "greedy", "top_k": 1},
    "updaters": {"updater": "grow_colmaker,prune", "gamma": 1, "verbosity": 0},
    "constrained": {"monotone_constraints": "(1,0,0,0,0,0)", "max_depth": 2, "reg_lambda": 3},
    "forest": {"num_parallel_tree": 3, "min_child_weight": 2},
    "ranking": {"objective": "rank:ndcg", "eval_metric": "ndcg"},
    "pairs": {"objective": "rank:ndcg", "lambdarank_pair_method": "mean", "eval_metric": "ndcg"},
    "base score": {"base_score": 0.2, "objective": "reg:squarederror"},
}


@pytest.mark.parametrize("kind", DETERMINISTIC)
@pytest.mark.parametrize("with_rate", [False, True])
def test_a_run_trains_what_xgboost_trains(tmp_path: Path, kind: str, with_rate: bool) -> None:
    settings = DETERMINISTIC[kind]
    callbacks = [outlast.LearningRateScheduler(lambda epoch, rate: rate)] if with_rate else []
    theirs = train(rounds=6, **settings)
    assert raw(train(*callbacks, rounds=6, **settings)) == raw(theirs)
    assert raw(train(outlast.Run(tmp_path / "run", callbacks), rounds=6, **settings)) == raw(theirs)


def test_a_linear_model_keeps_its_penalties_when_its_rate_is_set() -> None:
    settings = {"booster": "gblinear", "lambda": 5.0, "alpha": 0.1, "eta": 0.5}
    halved = train(outlast.LearningRateScheduler(lambda epoch, rate: 0.25), rounds=6, **settings)
    theirs = train(rounds=6, **{**settings, "eta": 0.25})
    assert halved.get_dump() == theirs.get_dump()


def test_trees_are_refreshed_without_a_run_alone(tmp_path: Path) -> None:
    before = xgboost.train(BINARY, data(TRAINED), 4)
    refresh = {"process_type": "update", "updater": "refresh", "refresh_leaf": True}
    how = {"num_boost_round": 4, "xgb_model": before, "verbose_eval": False}
    theirs = xgboost.train(BINARY | refresh, data(HELD_OUT), **how)
    ours = xgboost.train(BINARY | refresh, data(HELD_OUT), callbacks=callbacks(outlast.History()), **how)
    assert raw(ours) == raw(theirs)
    given = callbacks(outlast.Run(tmp_path / "run"))
    with pytest.raises(CapabilityError, match="A Run cannot go on with process_type='update'"):
        xgboost.train(BINARY | refresh, data(HELD_OUT), callbacks=given, **how)


def test_another_order_of_metrics_is_refused(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4, eval_metric=["auc", "logloss"])
    with pytest.raises(RunChanged, match="loss changed from logloss to auc"):
        in_a_run(tmp_path / "run", eval_metric=["logloss", "auc"])
    found, _ = in_a_run(tmp_path / "run", eval_metric=["auc", "logloss"])
    assert raw(found) == raw(in_a_run(tmp_path / "whole", eval_metric=["auc", "logloss"])[0])


def test_another_set_in_the_place_of_the_one_that_is_watched_is_refused(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    with pytest.raises(RunChanged, match="the data of val_ metrics changed from 100 labels with checksum"):
        in_a_run(tmp_path / "run", sets=lambda _, theirs: [(theirs, "theirs"), (data(slice(100)), "more")])
    found, _ = in_a_run(tmp_path / "run", sets=lambda mine, theirs: [(mine, "mine"), (theirs, "renamed")])
    assert found.num_boosted_rounds() == 12


def test_two_sets_of_one_name_are_refused() -> None:
    with pytest.raises(ArgumentError, match="two sets of data are called 'a'"):
        train(outlast.History(), sets=lambda mine, theirs: [(mine, "a"), (theirs, "a")])


class Objective:
    """Counts its calls."""

    calls = 0

    def __call__(self, predicted: Any, given: Any) -> Any:
        self.calls += 1
        return predicted - given.get_label(), np.ones_like(predicted)


def test_an_objective_that_remembers_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, objective in (("counting", Objective()), ("plain", lambda *given: Objective()(*given))):
        given = callbacks(outlast.Run(tmp_path / name))
        xgboost.train(BINARY, data(TRAINED), 2, obj=objective, callbacks=given)
        named = "what Objective remembers is not saved: compute from the arguments alone"
        assert (named in capsys.readouterr().out) == (name == "counting")


def test_a_mean_error_in_percent_is_minimized() -> None:
    stopping, history = outlast.EarlyStopping(patience=99), outlast.History()
    train(stopping, history, eval_metric="mape")
    assert stopping.best == min(history.history["val_mape"])


@pytest.mark.parametrize("metric", ["auc", "aucpr", "logloss"])
def test_a_cross_validation_knows_which_way_its_metrics_go(metric: str) -> None:
    stopping, history = outlast.EarlyStopping(patience=99), outlast.History()
    given = callbacks(stopping, history)
    xgboost.cv(BINARY, data(TRAINED), 9, nfold=3, metrics=metric, callbacks=given)
    assert stopping.best == (min if metric == "logloss" else max)(history.history["val_loss"])


def test_maximize_tells_the_way_of_a_metric_of_ones_own() -> None:
    stopping = outlast.EarlyStopping(patience=9)
    follow("gain", [0.1, 0.4, 0.3], stopping, maximize=True)
    assert (stopping.best, stopping.best_epoch) == (0.4, 1)


def test_callbacks_beside_a_run_are_refused(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run")
    with pytest.raises(ArgumentError, match="would not save the callbacks beside it"):
        callbacks(run, outlast.EarlyStopping())
    for other in (run, outlast.EarlyStopping("loss")):
        given = callbacks(run) + callbacks(other)
        trained_on = data(TRAINED)
        with pytest.raises(UsageError, match="in lists of their own"):
            xgboost.train(BINARY, trained_on, 3, evals=[(trained_on, "train")], callbacks=given)


class Own(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """Counts rounds."""


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"objective": "rank:ndcg", "lambdarank_pair_method": "mean"}, "lambdarank_pair_method='mean'"),
        ({"objective": "rank:ndcg", "lambdarank_unbiased": True}, "lambdarank_unbiased"),
        ({"seed_per_iteration": True, "subsample": 0.5}, "seed_per_iteration=True"),
        ({}, "Own is told of rounds from 0 on in each start"),
    ],
    ids=str,
)
def test_what_is_not_exact_is_said_before_the_first_round(
    tmp_path: Path, settings: dict[str, Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = [] if settings else [Own()]
    run = outlast.Run(tmp_path / "run", outlast.History())
    xgboost.train(BINARY | settings, data(TRAINED), 2, callbacks=[*callbacks(run), *beside])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "would not be exact" in line]
    assert named in line


def test_another_booster_is_refused(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    with pytest.raises(RunChanged, match="booster changed from gbtree to dart"):
        in_a_run(tmp_path / "run", booster="dart")


def test_changed_parameters_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_a_run(tmp_path / "run", 4)
    capsys.readouterr()
    in_a_run(tmp_path / "run", 6, reg_lambda=2, tree_method="approx", scale_pos_weight=3, seed=4)
    said = capsys.readouterr().out
    for change in ("lambda changed", "tree_method changed", "scale_pos_weight changed", "seed changed"):
        assert said.count(change) == 1


@pytest.mark.parametrize("subsample", [0.8, 1])
def test_what_a_callback_sets_stays(tmp_path: Path, subsample: float) -> None:
    class Shallow(outlast.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                self.model.set_param("max_depth", 1)

    rate = outlast.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    run = outlast.Run(tmp_path / "run", [Shallow(), rate])
    booster = train(run, rounds=6, subsample=subsample)
    leaves = [tree.count("leaf") for tree in booster.get_dump()]
    assert (min(leaves[:3]) > 2, leaves[3:]) == (True, [2, 2, 2])


def test_numpys_numbers_are_parameters_too(tmp_path: Path) -> None:
    settings = {"booster": "gblinear", "lambda": np.float32(0.5), "alpha": np.array(0.01)}
    assert raw(train(outlast.Run(tmp_path / "run"), rounds=4, **settings)) == raw(train(rounds=4, **settings))


def test_maximize_goes_before_the_beginning_of_a_name() -> None:
    stopping = outlast.EarlyStopping(patience=9)
    follow("auc_loss", [0.4, 0.1, 0.3], stopping, maximize=False)
    assert (stopping.best, stopping.best_epoch) == (0.1, 1)
