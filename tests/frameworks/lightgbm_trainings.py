"""Trainings of LightGBM's, for its tests: in a run and without, whole and left in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

import outlast
from outlast.frameworks.lightgbm import callbacks, resume_arguments

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
