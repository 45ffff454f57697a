"""Callbacks in LightGBM's own loop: what they hear, and do; runs that go on exactly; copies and pickles."""

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

import outlast
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    DamagedFile,
    MissingExtra,
    RunChanged,
    UsageError,
)
from outlast.frameworks.lightgbm import callbacks, resume_arguments

pytestmark = [
    pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated"),  # the oldest has no other
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),  # of the oldest
]

rng = np.random.default_rng(0)
X = rng.random((300, 6))
Y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.random(300) > 0.9).astype(int)
TRAINED, HELD_OUT = slice(200), slice(200, None)
BINARY = {
    **{"objective": "binary", "num_threads": 1, "verbosity": -1, "seed": 3},
    **{"num_leaves": 7, "min_data_in_leaf": 5},
}


def data(part: slice, **more: Any) -> Any:
    return lgb.Dataset(X[part], Y[part], **more)


def train(*items: Any, rounds: int = 12, sets: Any = None, more: Any = (), **settings: Any) -> Any:
    """A booster; with a set of its own data and one that was held out."""
    trained_on = data(TRAINED)
    held_out = data(HELD_OUT, reference=trained_on)
    evals = {"mine": trained_on, "theirs": held_out} if sets is None else sets(trained_on, held_out)
    runs = [item for item in items if isinstance(item, outlast.Run)]
    options = settings.pop("options", {})
    return lgb.train(
        BINARY | settings,
        trained_on,
        rounds,
        valid_sets=[*evals.values()],
        valid_names=[*evals],
        callbacks=[*callbacks(*items), *more],
        **({**resume_arguments(runs[0])} if runs and "init_model" not in options else {}),
        **options,
    )


def follow(metric: str, values: list[float], callback: Any, higher: bool = False) -> Any:
    """Train with a metric of one's own that has these values."""
    left = iter(values)
    trained_on = data(TRAINED)
    return lgb.train(
        {**BINARY, "metric": "None"},
        trained_on,
        len(values),
        valid_sets=[data(HELD_OUT, reference=trained_on)],
        feval=lambda predicted, given: (metric, next(left), higher),
        callbacks=callbacks(callback),
    )


def text(booster: Any) -> str:
    return str(booster.model_to_string(num_iteration=-1))


def trees(booster: Any) -> str:
    return text(booster).partition("end of trees")[0].partition("tree_sizes")[2]


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


class Stops:
    """Ends the training as others' callbacks do.

    Args:
        order: when LightGBM calls it.
    """

    def __init__(self, order: int) -> None:
        self.order = order

    def __call__(self, env: Any) -> None:
        if env.iteration == 2:
            raise lgb.callback.EarlyStopException(1, env.evaluation_result_list)


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


# In a run.

RANKED = {"objective": "lambdarank", "bagging_by_query": True, "bagging_freq": 2, "bagging_fraction": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rows": {"bagging_freq": 1, "bagging_fraction": 0.6},
    "rows that stay": {"bagging_freq": 3, "bagging_fraction": 0.6, "bagging_seed": 11},
    "rows by class": {"bagging_freq": 2, "pos_bagging_fraction": 0.6, "neg_bagging_fraction": 0.8},
    "columns": {"feature_fraction": 0.5, "feature_fraction_bynode": 0.7},
    "thresholds": {"extra_trees": True},
    "all": {
        **{"objective": "multiclass", "num_class": 2, "extra_trees": True},
        **{"bagging_freq": 1, "bagging_fraction": 0.6, "feature_fraction": 0.5},
    },
    "a class without splits": {"objective": "multiclass", "num_class": 3},
    "absolute error": {"objective": "l1", "feature_fraction": 0.5},
    "quantized": {"use_quantized_grad": True, "stochastic_rounding": "false"},
    "a penalty for splits": {"cegb_penalty_split": 0.01},
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
    assert text(found) == text(whole)
    assert (found.best_iteration, found.best_score) == (whole.best_iteration, whole.best_score)
    assert other.history.rows == run.history.rows
    assert text(other.load_best()) == text(run.load_best())
    said = capsys.readouterr().out
    assert "resumed" in said and "would not be exact" not in said
    assert "not checked: LightGBM takes the rounds of one resume point alone" in said


def test_rows_are_sampled_by_query_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rank(folder: str, after: int | None = None) -> Any:
        run = outlast.Run(tmp_path / folder, leaving(after))
        trained_on = data(TRAINED, group=[10] * 20)
        return lgb.train(BINARY | RANKED, trained_on, 12, callbacks=callbacks(run), **resume_arguments(run))

    whole = rank("whole")
    with pytest.raises(Left):
        rank("left", 6)
    assert text(rank("left")) == text(whole)
    assert "would not be exact" not in capsys.readouterr().out


def test_rounds_that_find_no_split_count(tmp_path: Path) -> None:
    settings = {"bagging_freq": 1, "bagging_fraction": 0.05, "rounds": 20}
    whole, run = in_a_run(tmp_path / "whole", **settings)
    for after in (5, 12):
        in_a_run(tmp_path / "left", after, **settings)
    found, other = in_a_run(tmp_path / "left", **settings)
    assert 1 < whole.num_trees() < 16
    assert (text(found), other.history.rows) == (text(whole), run.history.rows)
    assert len(run.history.rows) == 20


def test_the_best_round_is_the_right_one_behind_rounds_that_found_no_split(tmp_path: Path) -> None:
    settings = {"bagging_freq": 1, "bagging_fraction": 0.05, "rounds": 40}
    seen: list[Any] = []

    class Keep(outlast.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(self.model.predict(X, num_iteration=-1))

    stopping = outlast.EarlyStopping(patience=99)
    booster = train(outlast.Run(tmp_path / "run", [Keep(), stopping]), **settings)
    assert booster.best_iteration < stopping.best_epoch + 1
    np.testing.assert_array_equal(booster.predict(X), seen[stopping.best_epoch])


def test_without_sampling_a_run_gives_lightgbms_own_model(tmp_path: Path) -> None:
    assert text(train(outlast.Run(tmp_path / "run"))) == text(train())
    rate = outlast.LearningRateScheduler(lambda epoch, rate: rate)
    assert text(train(rate)) == text(train())


def test_a_seed_is_given_in_no_round_that_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lgb.Booster, "reset_parameter", None)
    train(outlast.Run(tmp_path / "run"), bagging_fraction=0.5)  # bagging_freq is 0


@pytest.mark.parametrize("seed", ["seed", "bagging_seed", "feature_fraction_seed", "extra_seed"])
def test_another_seed_of_the_user_gives_another_model(tmp_path: Path, seed: str) -> None:
    settings = {
        **{"bagging_seed": {"bagging_freq": 1, "bagging_fraction": 0.6}},
        **{"feature_fraction_seed": {"feature_fraction": 0.5}, "extra_seed": {"extra_trees": True}},
    }.get(seed, KINDS["all"])
    found = [
        trees(train(outlast.Run(tmp_path / f"run{value}"), rounds=3, **{**settings, seed: value}))
        for value in (1, 2)
    ]
    assert found[0] != found[1]


def test_rounds_draw_otherwise_from_each_other(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run")
    booster = train(run, rounds=6, feature_fraction=0.2, learning_rate=1e-6)
    assert len({tree["tree_structure"]["split_feature"] for tree in booster.dump_model()["tree_info"]}) > 2


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_seed_of_the_user_that_is_that_of_a_round_makes_no_difference(tmp_path: Path, number: int) -> None:
    """LightGBM keeps its generator where the seed is the same as before."""
    from outlast.frameworks import lightgbm_rounds as rounds

    class Given:
        def __init__(self) -> None:
            self.params: dict[str, Any] = {}
            self.given: list[dict[str, Any]] = []

        def reset_parameter(self, values: dict[str, Any]) -> None:
            self.given.append(values)

    plain = {one: "1" for one in ("bagging_fraction", "pos_bagging_fraction", "neg_bagging_fraction")}
    model = Given()
    seeds = {one: "7" for one in ("bagging_seed", "feature_fraction_seed", "extra_seed")}
    rounds.Seeds({}, {**plain, **seeds, "bagging_freq": "0"}).give(model, number)
    for name in seeds:
        assert model.given[0][name] != model.given[1][name] != 7


@pytest.mark.parametrize("name", ["bagging_fraction", "subsample"])
def test_a_share_keeps_all_its_digits(tmp_path: Path, name: str) -> None:
    shares: list[float] = []
    look = outlast.LambdaCallback(lambda *_: shares.append(run.model.params["bagging_fraction"]))
    run = outlast.Run(tmp_path / "run", look)
    train(run, rounds=2, bagging_freq=1, **{name: 0.6123456789})
    assert shares == [0.6123456789] * 2


def test_the_rows_of_a_bag_stay_for_as_many_rounds_as_were_asked_for(tmp_path: Path) -> None:
    booster = train(outlast.Run(tmp_path / "run"), rounds=9, bagging_freq=3, bagging_fraction=0.5)
    rows = [tree["tree_structure"]["internal_count"] for tree in booster.dump_model()["tree_info"]]
    assert [len({*rows[at : at + 3]}) for at in (0, 3, 6)] == [1, 1, 1]
    assert len({*rows}) > 1


def test_a_finished_run_gives_its_booster_back_and_goes_on_with_more_rounds(tmp_path: Path) -> None:
    def once(rounds: int, folder: str = "run") -> Any:
        stopping = outlast.EarlyStopping(patience=50, restore_best_weights=True)
        return train(outlast.Run(tmp_path / folder, stopping), rounds=rounds, **KINDS["columns"])

    first = once(5)
    again = once(5)
    assert text(again) == text(first)
    assert (again.best_iteration, again.best_score) == (first.best_iteration, first.best_score)
    more, whole = once(9), once(9, "whole")
    assert text(more) == text(whole)
    assert (more.best_iteration, more.best_score) == (whole.best_iteration, whole.best_score)


@pytest.mark.parametrize("boosting", ["gbdt", "dart"])
@pytest.mark.parametrize("restores", [False, True])
def test_a_run_that_stopped_early_has_its_best_round_in_each_start(
    tmp_path: Path, boosting: str, restores: bool
) -> None:
    def once() -> Any:
        stopping = outlast.EarlyStopping(patience=3, restore_best_weights=restores)
        run = outlast.Run(tmp_path / "run", stopping)
        return train(run, rounds=40, learning_rate=0.9, boosting=boosting), stopping

    (first, _), (again, stopping) = once(), once()
    assert text(again) == text(first)
    assert again.best_iteration == again.num_trees() == stopping.best_epoch + 1
    assert again.best_score == first.best_score
    assert again.best_score["theirs"]["binary_logloss"] == stopping.best


def test_a_finished_run_without_a_best_round_has_all_and_names_none(tmp_path: Path) -> None:
    first, again = (train(outlast.Run(tmp_path / "run"), rounds=4) for _ in range(2))
    assert (again.num_trees(), again.best_iteration) == (4, first.best_iteration)
    assert again.best_score == first.best_score
    kept = train(outlast.Run(tmp_path / "run"), rounds=4, options={"keep_training_booster": True})
    assert (trees(kept), kept.current_iteration()) == (trees(first), 4)
    kept.update()


def test_a_best_round_of_an_earlier_start_is_cut_to(tmp_path: Path) -> None:
    def once(folder: str, after: int | None = None) -> Any:
        stopping = outlast.EarlyStopping(patience=4, restore_best_weights=True)
        run = outlast.Run(tmp_path / folder, [stopping, leaving(after)])
        return train(run, rounds=40, learning_rate=0.9), stopping

    whole, stopping = once("whole")
    with pytest.raises(Left):
        once("left", stopping.best_epoch + 3)
    found, _ = once("left")
    assert text(found) == text(whole)
    assert found.best_score == whole.best_score


@pytest.mark.parametrize("form", ["booster", "kept booster", "path", "str", "estimator"])
def test_a_model_to_go_on_from_is_not_counted(tmp_path: Path, form: str) -> None:
    before = train(rounds=3, options={"keep_training_booster": form == "kept booster"})
    before.save_model(tmp_path / "before.txt")
    classifier = lgb.LGBMClassifier(**BINARY, n_estimators=3, min_child_samples=5)
    forms = {
        **{"path": tmp_path / "before.txt", "str": str(tmp_path / "before.txt")},
        "estimator": classifier.fit(X[TRAINED], Y[TRAINED]),
    }

    def go_on(folder: str, after: int | None = None) -> Any:
        run = outlast.Run(tmp_path / folder, [outlast.EarlyStopping(patience=50), leaving(after)])
        given = resume_arguments(run, init_model=forms.get(form, before))
        return train(run, rounds=6, options=given, **KINDS["rows that stay"]), run

    whole, run = go_on("whole")
    with pytest.raises(Left):
        go_on("left", 3)
    found, other = go_on("left")
    assert (text(found), len(run.history.rows), len(other.history.rows)) == (text(whole), 6, 6)
    assert whole.best_iteration == found.best_iteration == other.best.epoch + 4
    again, _ = go_on("left")
    assert text(again) == text(whole)


def test_another_model_to_go_on_from_is_refused(tmp_path: Path) -> None:
    first, second = train(rounds=3), train(rounds=3, learning_rate=0.3)

    def go_on(*base: Any, folder: str = "run") -> Any:
        run = outlast.Run(tmp_path / folder, leaving(2))
        given = resume_arguments(run, *base)
        return train(run, rounds=6, options=given)

    for folder, base in {"run": [first], "plain": []}.items():
        with pytest.raises(Left):
            go_on(*base, folder=folder)
    with pytest.raises(RunChanged, match=r"was begun on another init_model, of 3 rounds"):
        go_on(second)
    with pytest.raises(
        RunChanged, match=r"on a model of 3 rounds, and now init_model is missing.*run, init_mo"
    ):
        go_on()
    with pytest.raises(RunChanged, match=r"was begun without init_model, and now there is one"):
        go_on(first, folder="plain")


def test_an_init_model_of_ones_own_in_place_of_that_of_the_run_is_refused(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    other = train(rounds=4, learning_rate=0.3)
    with pytest.raises(RunChanged, match=r"init_model is another model\. Pass lgb\.train"):
        in_a_run(tmp_path / "run", options={"init_model": other})


def test_to_forget_the_arguments_of_a_resume_is_an_error_with_the_line_to_write(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    line = r"lgb\.train\(\.\.\., callbacks=.*, \*\*outlast\.frameworks\.lightgbm\.resume_arguments\(run\)\)"
    with pytest.raises(RunChanged, match=line):
        in_a_run(tmp_path / "run", options={"init_model": None})
    found, _ = in_a_run(tmp_path / "run")
    assert text(found) == text(in_a_run(tmp_path / "whole")[0])


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


def test_a_run_that_goes_back_before_a_loss_that_was_nan_takes_a_second_call(tmp_path: Path) -> None:
    def once(rate: float, nan_at: int | None = None) -> Any:
        left = iter(range(20))
        run = outlast.Run(tmp_path / "run", outlast.TerminateOnNaN(), accept_changes=["learning_rate"])
        return lgb.train(
            {**BINARY, "metric": "None", "learning_rate": rate},
            trained_on := data(TRAINED),
            12,
            valid_sets=[trained_on],
            feval=lambda predicted, given: ("own", float("nan") if next(left) == nan_at else 0.5, False),
            callbacks=callbacks(run),
            **resume_arguments(run),
        )

    assert once(0.1, nan_at=4).num_trees() == 5
    with pytest.raises(
        RunChanged, match=r"has gone back to the resume point before, and the same call again"
    ):
        once(0.05)
    assert once(0.05).num_trees() == 12


def test_one_run_for_a_training_and_for_a_longer_one(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run", outlast.EarlyStopping(patience=50))
    train(run, rounds=4)
    more = train(run, rounds=9)
    assert (text(more), len(run.history.rows)) == (text(train(rounds=9)), 9)


def test_an_error_in_the_middle_and_the_same_call_again_in_one_process(tmp_path: Path) -> None:
    lives = [True]

    def fail(epoch: int, logs: Any) -> None:
        if epoch == 3 and lives:
            lives.pop()
            raise Left

    run = outlast.Run(tmp_path / "left", outlast.LambdaCallback(on_epoch_end=fail))
    with pytest.raises(Left):
        train(run, **KINDS["all"])
    left = train(run, **KINDS["all"])
    assert text(left) == text(train(outlast.Run(tmp_path / "whole"), **KINDS["all"]))
    assert len(run.history.rows) == 12


CELL = """
run = outlast.Run(folder, outlast.EarlyStopping(patience=50))
found.append(train(run, rounds=rounds))
"""


def test_a_cell_that_is_run_again_gets_its_booster_back(tmp_path: Path) -> None:
    found: list[Any] = []
    names = {"outlast": outlast, "train": train, "found": found, "folder": tmp_path / "run", "rounds": 4}
    for names["rounds"] in (4, 4, 6):
        exec(compile(CELL, "<cell>", "exec"), names)
    assert text(found[0]) == text(found[1])
    assert [one.num_trees() for one in found] == [one.best_iteration for one in found]
    assert text(found[2]) == text(train(outlast.EarlyStopping(patience=50), rounds=6))


def test_an_estimator_goes_on(tmp_path: Path) -> None:
    def once(folder: str, after: int | None = None) -> Any:
        run = outlast.Run(tmp_path / folder, [outlast.EarlyStopping(patience=50), leaving(after)])
        classifier = lgb.LGBMClassifier(n_estimators=8, subsample=0.6, subsample_freq=1, **BINARY)
        sets = [(X[HELD_OUT], Y[HELD_OUT])]
        given = resume_arguments(run)
        return classifier.fit(X[TRAINED], Y[TRAINED], eval_set=sets, callbacks=callbacks(run), **given)

    whole = once("whole")
    with pytest.raises(Left):
        once("left", 3)
    found = once("left")
    assert text(found.booster_) == text(whole.booster_)
    assert (found.best_iteration_, found.best_score_) == (whole.best_iteration_, whole.best_score_)
    assert found.n_estimators_ == whole.n_estimators_


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
    run = outlast.Run(tmp_path / "run", outlast.EarlyStopping(patience=50, restore_best_weights=True))
    train(run, more=[Stops(7)])
    assert (run.finished, len(run.history.rows)) == (True, 3)
    assert "stopped" in str(run.stopped)


@pytest.mark.parametrize("rounds", [3, 9])
def test_the_best_round_that_somebody_else_has_named_is_that_of_each_start(
    tmp_path: Path, rounds: int
) -> None:
    first, again = (train(outlast.Run(tmp_path / "run"), rounds=rounds, more=[Stops(7)]) for _ in range(2))
    assert (first.num_trees(), first.best_iteration) == (2, 2)
    assert (text(again), again.best_iteration, again.best_score) == (text(first), 2, first.best_score)


def test_what_others_say_of_a_round_that_is_none_does_not_count(tmp_path: Path) -> None:
    for _ in range(2):
        booster = train(outlast.Run(tmp_path / "run"), rounds=2, more=[Stops(7)])
        assert (booster.num_trees(), booster.best_iteration) == (2, 0)


def test_other_data_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    run = outlast.Run(tmp_path / "run")
    with pytest.raises(lgb.basic.LightGBMError, match="number of features"):
        lgb.train(BINARY, lgb.Dataset(X[:, :2], Y), 9, callbacks=callbacks(run), **resume_arguments(run))


def test_a_best_model_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "best.txt"
    path.write_text("tree\nversion=v4\n")
    with pytest.raises(DamagedFile, match=r"best\.txt is damaged"):
        outlast.frameworks.base.load_file(str(path))


def test_changed_parameters_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_a_run(tmp_path / "run", 4)
    capsys.readouterr()
    in_a_run(tmp_path / "run", 6, lambda_l2=2, num_leaves=5, scale_pos_weight=3, seed=4, extra_seed=9)
    said = capsys.readouterr().out
    for name in ("lambda_l2", "num_leaves", "scale_pos_weight", "seed", "extra_seed"):
        assert said.count(f"; {name} ") == 1, said
    assert "bagging_seed" not in said


def test_callbacks_beside_a_run_are_refused(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run")
    with pytest.raises(ArgumentError, match="would not save the callbacks beside it"):
        callbacks(run, outlast.EarlyStopping())
    for other in (run, outlast.EarlyStopping()):
        with pytest.raises(UsageError, match="in lists of their own"):
            train(run, more=callbacks(other))


def test_what_a_callback_sets_stays(tmp_path: Path) -> None:
    class Shallow(outlast.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                self.model.reset_parameter({"num_leaves": 2, "bagging_fraction": 0.6})

    rate = outlast.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    run = outlast.Run(tmp_path / "run", [Shallow(), rate])
    booster = train(run, rounds=6, bagging_freq=1, subsample=0.8)
    grown = booster.dump_model()["tree_info"]
    leaves = [tree["num_leaves"] for tree in grown]
    rows = [tree["tree_structure"]["internal_count"] for tree in grown]
    assert (min(leaves[:3]) > 2, leaves[3:]) == (True, [2, 2, 2])
    assert min(rows[:3]) > 140 > max(rows[3:])


def own(env: Any) -> None:
    """Remembers nothing."""


class Own:
    """Counts rounds."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, env: Any) -> None:
        self.count += 1


INEXACT: dict[str, tuple[dict[str, Any], str]] = {
    "dart": ({"boosting": "dart"}, "boosting='dart' drops no trees"),
    "goss": ({"data_sample_strategy": "goss", "learning_rate": 0.5}, "goss uses all rows"),
    "goss by its older name": ({"boosting": "goss"}, "goss uses all rows"),
    "quantized": ({"use_quantized_grad": True}, "pass stochastic_rounding=False"),
    "linear": ({"linear_tree": True, "objective": "l2"}, "linear_tree=True"),
    "coupled": ({"cegb_penalty_feature_coupled": [5.0] * 6}, "cegb_penalty_feature_coupled"),
    "lazy": ({"cegb_penalty_feature_lazy": [0.01] * 6}, "cegb_penalty_feature_lazy"),
    "xendcg": ({"objective": "rank_xendcg", "group": [10] * 20}, "rank_xendcg"),
    "positions": (
        {"objective": "lambdarank", "group": [10] * 20, "position": [*range(10)] * 20},
        "the biases of positions",
    ),
    "init_score": ({"init_score": np.linspace(-1, 1, 200)}, "a Dataset has an init_score"),
    "forced": ({"forcedsplits_filename": "forced.json"}, "forcedsplits_filename"),
}


@pytest.mark.parametrize("kind", INEXACT)
def test_what_is_not_exact_is_said_before_the_first_round_and_is_not(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("forced.json").write_text('{"feature": 3, "threshold": 0.5}')
    settings, named = INEXACT[kind]
    of_data = {name: settings[name] for name in ("group", "position", "init_score") if name in settings}
    settings = {name: value for name, value in settings.items() if name not in of_data}

    def once(folder: str, after: int | None = None) -> str:
        run = outlast.Run(folder, leaving(after))
        trained_on = data(TRAINED, **of_data)
        given = resume_arguments(run)
        return trees(lgb.train(BINARY | settings, trained_on, 12, callbacks=callbacks(run), **given))

    whole = once("whole")
    [line] = [line for line in capsys.readouterr().out.splitlines() if "would not be exact" in line]
    assert named in line
    with pytest.raises(Left):
        once("left", 6)
    found = once("left")
    [first, again] = [line for line in capsys.readouterr().out.splitlines() if "would not be exact" in line]
    assert (named in first, named in again) == (True, True)
    if kind != "goss by its older name":  # its first ten rounds are whole
        assert found != whole


def test_a_callback_that_remembers_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent = [own, lgb.log_evaluation(0), lgb.record_evaluation({})]
    train(outlast.Run(tmp_path / "silent"), rounds=2, more=silent)
    assert "would not be exact" not in capsys.readouterr().out
    train(outlast.Run(tmp_path / "run"), rounds=2, more=[Own()])
    assert "would not be exact: what Own remembers is not saved" in capsys.readouterr().out


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
