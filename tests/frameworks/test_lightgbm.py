"""Callbacks in LightGBM's own loop: what they hear, and do; copies and pickles."""

from __future__ import annotations

import gc
import pickle
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from tests.frameworks.lightgbm_trainings import (
    BINARY,
    HELD_OUT,
    TRAINED,
    Stops,
    X,
    Y,
    data,
    follow,
    train,
    trees,
)

import outlast
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    MissingExtra,
    UsageError,
)
from outlast.frameworks.lightgbm import callbacks, resume_arguments

pytestmark = [
    pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated"),  # the oldest has no other
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),  # of the oldest
]

# What callbacks hear and do.


def test_metrics_have_kerass_names_and_what_loss_is_is_the_first_metric() -> None:
    history = outlast.History()
    train(history, rounds=2, metric=["auc", "binary_error"])
    assert [*history.history] == [
        *("learning_rate", "auc", "binary_error", "loss", "val_auc", "val_binary_error", "val_loss")
    ]
    assert history.history["val_loss"] == history.history["val_auc"]


def test_of_several_sets_that_are_held_out_the_first_counts() -> None:
    history = outlast.History()
    train(history, rounds=2, metric="auc", sets=lambda mine, other: {"a": other, "b": other, "train": mine})
    assert [*history.history] == ["learning_rate", "auc", "loss", "val_auc", "val_loss", "b-auc"]


def test_a_metric_may_be_watched_by_set_and_name() -> None:
    stopping = outlast.EarlyStopping("theirs-binary_logloss", patience=1, min_delta=10)
    train(stopping)
    assert stopping.stopped_epoch == 1


def test_the_metrics_of_an_estimator_have_the_same_names() -> None:
    history = outlast.History()
    classifier = lgb.LGBMClassifier(n_estimators=2, num_threads=1, verbosity=-1)
    sets = [(X[TRAINED], Y[TRAINED]), (X[HELD_OUT], Y[HELD_OUT])]
    x, y = sets[0]
    classifier.fit(x, y, eval_set=sets, eval_metric="auc", callbacks=callbacks(history))
    assert {"auc", "val_auc", "val_loss", "loss"} < {*history.history}
    assert history.history["val_auc"] == classifier.evals_result_["valid_1"]["auc"]


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("auc", True), ("average_precision", True), ("binary_error", False), ("binary_logloss", False)],
)
def test_lightgbm_tells_which_way_its_metrics_go(metric: str, higher: bool) -> None:
    stopping, history = outlast.EarlyStopping(patience=100), outlast.History()
    train(stopping, history, metric=metric)
    assert stopping.best == (max if higher else min)(history.history["val_loss"])


@pytest.mark.parametrize("higher", [True, False])
def test_a_metric_of_ones_own_with_a_dash_in_its_name_has_the_way_that_it_tells(higher: bool) -> None:
    stopping = outlast.EarlyStopping("val_valid_0-my-gain", patience=9)
    booster = follow("valid_0-my-gain", [0.1, 0.4, -0.5, 0.3], stopping, higher)
    assert stopping.best == (0.4 if higher else -0.5)
    assert booster.best_iteration == (2 if higher else 3)


def test_the_best_round_is_known_as_after_lightgbms_own_early_stopping() -> None:
    own = train(more=[lgb.early_stopping(3, verbose=False)], rounds=30, learning_rate=0.5)
    for restores in (True, False):
        ours = train(
            outlast.EarlyStopping(patience=3, restore_best_weights=restores), rounds=30, learning_rate=0.5
        )
        assert (ours.best_iteration, ours.num_trees()) == (own.best_iteration, own.num_trees())
        assert ours.best_score == own.best_score
        assert trees(ours) == trees(own)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"boosting": "dart", "drop_rate": 0.5},
        {"objective": "multiclass", "num_class": 2},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    ],
    ids=["gbdt", "dart", "multiclass", "rf"],
)
def test_the_best_rounds_are_restored_whatever_the_booster(settings: dict[str, Any]) -> None:
    seen: list[Any] = []

    class Keep(outlast.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(self.model.predict(X, num_iteration=-1))

    stopping = outlast.EarlyStopping(patience=3, restore_best_weights=True)
    found = train(Keep(), stopping, rounds=30, **{"learning_rate": 0.9, **settings})
    assert (found.current_iteration(), found.best_iteration) == (stopping.best_epoch + 1,) * 2
    assert len(seen) > stopping.best_epoch + 1
    np.testing.assert_array_equal(found.predict(X), seen[stopping.best_epoch])


def test_a_booster_that_is_kept_for_training_has_the_rounds_that_were_asked_for() -> None:
    kept = {"keep_training_booster": True}
    stopping = outlast.EarlyStopping(patience=3)
    booster = train(stopping, rounds=30, learning_rate=0.9, options=kept)
    assert booster.num_trees() == stopping.stopped_epoch + 1 > booster.best_iteration
    assert booster.eval_valid()
    restoring = outlast.EarlyStopping(patience=3, restore_best_weights=True)
    booster = train(restoring, rounds=30, learning_rate=0.9, options=kept)
    assert booster.num_trees() == restoring.best_epoch + 1 == booster.best_iteration
    [value] = [value for name, _, value, _ in booster.eval_valid() if name == "theirs"]
    assert value == pytest.approx(restoring.best)
    booster.update()


def test_nothing_names_a_best_round_where_nobody_knows_one() -> None:
    ours = train(outlast.TimeLimit(1e-9))
    assert (ours.num_trees(), ours.best_iteration) == (1, train(rounds=1).best_iteration)
    assert ours.best_score == train(rounds=1).best_score


def test_an_estimator_predicts_with_its_best_rounds() -> None:
    stopping = outlast.EarlyStopping(patience=2)
    classifier = lgb.LGBMClassifier(n_estimators=40, num_threads=1, learning_rate=0.9, verbosity=-1)
    classifier.fit(
        X[TRAINED], Y[TRAINED], eval_set=[(X[HELD_OUT], Y[HELD_OUT])], callbacks=callbacks(stopping)
    )
    assert classifier.best_iteration_ == stopping.best_epoch + 1 < stopping.stopped_epoch + 1
    assert classifier.best_score_["valid_0"]["binary_logloss"] == stopping.best


def test_rates_are_read_and_set() -> None:
    rates: list[dict[str, float]] = []
    scheduler = outlast.LearningRateScheduler(lambda epoch, rate: 0.4 / (epoch + 1))
    look = outlast.LambdaCallback(lambda *_: rates.append(scheduler.training.learning_rates()))
    ours = train(scheduler, look)
    theirs = train(more=[lgb.reset_parameter(learning_rate=lambda epoch: 0.4 / (epoch + 1))])
    assert [one["learning_rate"] for one in rates] == [0.4 / (epoch + 1) for epoch in range(12)]
    assert trees(ours) == trees(theirs)


@pytest.mark.parametrize("name", ["learning_rate", "eta", "shrinkage_rate", "default"])
@pytest.mark.parametrize("boosting", ["gbdt", "dart"])
def test_the_rate_of_each_booster_falls_on_a_plateau(name: str, boosting: str) -> None:
    history = outlast.History()
    plateau = outlast.ReduceLROnPlateau(patience=1, min_delta=10, factor=0.5)
    rate = 0.1 if name == "default" else 0.123456789
    train(history, plateau, boosting=boosting, **({} if name == "default" else {name: rate}))
    assert history.history["learning_rate"][:4] == pytest.approx([rate, rate, rate / 2, rate / 4], abs=1e-12)


def test_thresholds_are_drawn_anew_in_each_round_where_a_callback_sets_the_rate() -> None:
    """Not so with LightGBM's own: to set a rate makes the generator of extra_trees anew."""
    rate = outlast.LearningRateScheduler(lambda epoch, rate: 1e-6 / (epoch + 1))
    booster = train(rate, rounds=4, extra_trees=True)
    roots = [tree["tree_structure"]["threshold"] for tree in booster.dump_model()["tree_info"]]
    assert len({*roots}) == 4


@pytest.mark.parametrize("order", [-1, 26, 10**7])
def test_a_round_that_another_callback_hides_is_heard(order: int) -> None:
    history, stopping = outlast.History(), outlast.EarlyStopping(patience=9, restore_best_weights=True)
    ended: list[int] = []
    last = outlast.LambdaCallback(on_train_end=lambda _: ended.append(1))
    booster = train(history, last, more=[Stops(order)])
    assert (history.epoch, ended, booster.num_trees()) == ([0, 1, 2], [1], 2)
    assert train(stopping, more=[Stops(order)]).best_iteration == stopping.best_epoch + 1


def test_all_hear_the_last_round_though_the_first_stops() -> None:
    first, second = outlast.EarlyStopping(patience=1, min_delta=10), outlast.EarlyStopping(patience=9)
    other, history = outlast.EarlyStopping(patience=9), outlast.History()
    train(first, second, more=callbacks(other, history))
    assert (history.epoch, first.stopped_epoch) == ([0, 1], 1)
    assert second.best == other.best == min(history.history["val_loss"])


def test_nan_in_the_first_round_is_never_the_best() -> None:
    stopping = outlast.EarlyStopping("val_own", patience=9)
    booster = follow("own", [float("nan"), 0.5, 0.7, 0.6], stopping)
    assert (stopping.best, stopping.best_epoch, booster.best_iteration) == (0.5, 1, 2)


def test_a_round_whose_loss_is_nan_ends_the_training() -> None:
    history = outlast.History()
    booster = follow("own", [0.5, float("nan"), 0.7, 0.6], [history, outlast.TerminateOnNaN()])
    assert (history.epoch, booster.num_trees(), booster.best_iteration) == ([0, 1], 2, 0)


def test_models_are_saved_in_lightgbms_own_format(tmp_path: Path) -> None:
    checkpoint = outlast.ModelCheckpoint(tmp_path / "m-{epoch:02d}.txt")
    booster = train(checkpoint, rounds=3)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"m-0{one}.txt" for one in (1, 2, 3)]
    saved = lgb.Booster(model_file=tmp_path / "m-03.txt")
    assert (trees(saved), saved.num_trees()) == (trees(booster), 3)


def test_a_saved_model_has_the_rounds_after_the_best_too(tmp_path: Path) -> None:
    checkpoint = outlast.ModelCheckpoint(tmp_path / "m-{epoch}.txt")
    train(outlast.EarlyStopping(patience=2), checkpoint, rounds=30, learning_rate=0.9)
    rounds = [lgb.Booster(model_file=path).num_trees() for path in tmp_path.iterdir()]
    assert sorted(rounds) == [*range(1, len(rounds) + 1)]


def test_a_cross_validation_can_be_stopped_and_followed() -> None:
    def cv(*items: Any, more: Any = ()) -> Any:
        settings = BINARY | {"learning_rate": 0.9, "metric": "auc"}
        given = [*callbacks(*items), *more]
        return lgb.cv(settings, data(TRAINED), 40, nfold=3, callbacks=given, eval_train_metric=True)

    stopping, history = outlast.EarlyStopping(patience=2), outlast.History()
    found = cv(stopping, history)
    theirs = cv(more=[lgb.early_stopping(2, verbose=False)])
    assert len(found["valid auc-mean"]) == stopping.best_epoch + 1 < 40
    assert found == theirs
    assert history.history["val_auc"][: stopping.best_epoch + 1] == found["valid auc-mean"]
    assert history.history["val_auc_std"][0] == found["valid auc-stdv"][0]
    assert stopping.best == max(history.history["val_loss"])
    assert len(cv(outlast.TimeLimit(1e-9))["valid auc-mean"]) == 1


# What cannot be is said before the first round.

REFUSED: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "no data": (
        lambda folder: train(outlast.EarlyStopping(), sets=lambda *_: {}),
        ArgumentError,
        "EarlyStopping watches val_loss, but no data is evaluated: pass valid_sets=",
    ),
    "no held-out data": (
        lambda folder: train(outlast.ReduceLROnPlateau(), sets=lambda mine, _: {"any name": mine}),
        ArgumentError,
        "ReduceLROnPlateau watches val_loss, but no held-out data is evaluated",
    ),
    "no data for a loss": (
        lambda folder: train(outlast.TerminateOnNaN(), sets=lambda *_: {}),
        ArgumentError,
        "TerminateOnNaN watches loss, but no data is evaluated: pass valid_sets=",
    ),
    "save_freq": (
        lambda folder: train(outlast.ModelCheckpoint(folder / "m.txt", save_freq=3)),
        CapabilityError,
        "counts batches, and LightGBM has none",
    ),
    "a hook of batches": (
        lambda folder: train(outlast.LambdaCallback(on_train_batch_end=lambda *_: None)),
        CapabilityError,
        "LambdaCallback has a hook of batches",
    ),
    "an ending": (
        lambda folder: train(outlast.ModelCheckpoint(folder / "m.pt")),
        ArgumentError,
        r"must end in `\.txt`",
    ),
    "a run in a cross validation": (
        lambda folder: lgb.cv(BINARY, data(TRAINED), 3, callbacks=callbacks(outlast.Run(folder / "r"))),
        CapabilityError,
        r"A Run acts on one model, but lgb\.cv trains several",
    ),
    "a rate in a cross validation": (
        lambda folder: lgb.cv(
            BINARY, data(TRAINED), 3, callbacks=callbacks(outlast.ReduceLROnPlateau("loss"))
        ),
        CapabilityError,
        r"ReduceLROnPlateau acts on one model, but lgb\.cv",
    ),
    "two who set the rate": (
        lambda folder: train(
            outlast.LearningRateScheduler(lambda epoch, rate: rate),
            more=[lgb.reset_parameter(learning_rate=lambda epoch: 0.1)],
        ),
        UsageError,
        r"LearningRateScheduler cannot act here: lightgbm\.reset_parameter sets",
    ),
    "a schedule beside a run": (
        lambda folder: train(
            outlast.Run(folder / "r"), more=[lgb.reset_parameter(bagging_fraction=lambda epoch: 0.5)]
        ),
        UsageError,
        r"lightgbm\.reset_parameter counts rounds from each start",
    ),
    "LightGBM's early stopping beside a run": (
        lambda folder: train(outlast.Run(folder / "r"), early_stopping_round=3),
        UsageError,
        r"LightGBM's own early stopping is not saved",
    ),
    "LightGBM's early stopping beside a run, as a callback": (
        lambda folder: train(outlast.Run(folder / "r"), more=[lgb.early_stopping(3)]),
        UsageError,
        r"LightGBM's own early stopping is not saved",
    ),
    "a random forest in a run": (
        lambda folder: train(outlast.Run(folder / "r"), boosting="rf", bagging_freq=1, bagging_fraction=0.6),
        CapabilityError,
        "A Run cannot go on with boosting='rf'",
    ),
    "dart restored and kept": (
        lambda folder: train(
            outlast.EarlyStopping(restore_best_weights=True),
            boosting="dart",
            options={"keep_training_booster": True},
        ),
        CapabilityError,
        "keep_training_booster=True keeps this one",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_act_is_refused_before_the_first_round(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update(*_: Any, **__: Any) -> None:
        raise AssertionError("a round was trained")

    act, error, told = REFUSED[what]
    monkeypatch.setattr(lgb.Booster, "update", update)
    with pytest.raises(error, match=told):
        act(tmp_path)


@pytest.mark.parametrize("wrong", ["runs/a", None, [1], outlast.EarlyStopping()], ids=str)
def test_arguments_of_a_resume_are_those_of_a_run(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="resume_arguments takes the run that is in the callbacks"):
        resume_arguments(wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("nowhere.txt", "init_model='nowhere.txt' is not a file"),
        (lgb.LGBMRegressor(), "init_model is a LGBMRegressor that is not fitted"),
        (3, "init_model is a int: expected a lightgbm.Booster"),
    ],
    ids=str,
)
def test_a_model_to_go_on_from_is_one(tmp_path: Path, wrong: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        resume_arguments(outlast.Run(tmp_path / "run"), wrong)


def test_callbacks_beside_a_run_are_refused(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run")
    with pytest.raises(ArgumentError, match="would not save the callbacks beside it"):
        callbacks(run, outlast.EarlyStopping())
    for other in (run, outlast.EarlyStopping()):
        with pytest.raises(UsageError, match="in lists of their own"):
            train(run, more=callbacks(other))


def test_without_lightgbm_the_error_names_the_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.delitem(sys.modules, "outlast.frameworks.lightgbm")
    monkeypatch.delattr(outlast.frameworks, "lightgbm")
    with pytest.raises(MissingExtra, match=r'pip install "outlast\[lightgbm\]"'):
        outlast.frameworks.lightgbm  # noqa: B018  # to name it imports it


def test_an_older_lightgbm_is_refused_with_the_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lgb, "__version__", "4.5.0")
    monkeypatch.delitem(sys.modules, "outlast.frameworks.lightgbm")
    monkeypatch.delattr(outlast.frameworks, "lightgbm")
    with pytest.raises(MissingExtra, match=r"needs lightgbm>=4\.6.*pip install"):
        outlast.frameworks.lightgbm  # noqa: B018  # to name it imports it


# Copies.


def test_a_search_hears_every_round_of_its_clones() -> None:
    from sklearn.model_selection import GridSearchCV

    heard: list[int] = []
    given = callbacks(outlast.LambdaCallback(on_epoch_end=lambda epoch, _: heard.append(epoch)))
    classifier = lgb.LGBMClassifier(n_estimators=4, num_threads=1, verbosity=-1)
    GridSearchCV(classifier, {"max_depth": [1, 2]}, cv=2).fit(X, Y, callbacks=given)
    assert heard == [0, 1, 2, 3] * 5


def test_a_run_in_a_search_is_refused(tmp_path: Path) -> None:
    from sklearn.model_selection import GridSearchCV

    given = callbacks(outlast.Run(tmp_path / "run"))
    classifier = lgb.LGBMClassifier(n_estimators=4, num_threads=1, verbosity=-1)
    search = GridSearchCV(classifier, {"max_depth": [1, 2]}, cv=2, error_score="raise")
    with pytest.raises(UsageError, match=r"holds one training, but sklearn\.model_selection trains many"):
        search.fit(X, Y, callbacks=given)


def test_callbacks_are_pickled_together(tmp_path: Path) -> None:
    stopping = outlast.EarlyStopping(patience=1, min_delta=10)
    given = pickle.loads(pickle.dumps(callbacks(stopping)))
    assert given[1].core is given[0]
    trained_on = data(TRAINED)
    found = lgb.train(BINARY, trained_on, 9, valid_sets=[data(HELD_OUT)], callbacks=given)
    assert found.num_trees() == 1
    given = pickle.loads(pickle.dumps(callbacks(outlast.Run(tmp_path / "run"))))
    with pytest.raises(UsageError, match="came out of a pickle"):
        lgb.train(BINARY, data(TRAINED), 9, callbacks=given)


def test_one_list_serves_two_trainings_one_after_the_other() -> None:
    history = outlast.History()
    given = callbacks(history, outlast.EarlyStopping("loss", patience=50))
    for rounds in (3, 2):
        trained_on = data(TRAINED)
        booster = lgb.train(BINARY, trained_on, rounds, valid_sets=[trained_on], callbacks=given)
        assert (booster.num_trees(), history.epoch) == (rounds, [*range(rounds)])


def test_a_booster_that_nobody_has_is_let_go(tmp_path: Path) -> None:
    booster = train(outlast.Run(tmp_path / "run", outlast.EarlyStopping(patience=50)), rounds=2)
    left = weakref.ref(booster)
    del booster
    gc.collect()
    assert left() is None


def test_where_the_call_is_not_found_callbacks_act_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    from outlast.frameworks import lightgbm_call

    monkeypatch.setattr(lightgbm_call, "frame_of", lambda *_: None)
    stopping = outlast.EarlyStopping("val_binary_logloss", patience=3, restore_best_weights=True)
    found = train(stopping, sets=lambda _, held_out: {"theirs": held_out}, rounds=30, learning_rate=0.9)
    assert found.num_trees() == stopping.best_epoch + 1 < stopping.stopped_epoch + 1
