"""What a start in LightGBM's loop must have in common with the one before, and what it must be given."""

from __future__ import annotations

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
    Left,
    X,
    Y,
    data,
    leaving,
    text,
    train,
)

import outlast
from outlast.exceptions import ArgumentError, RunChanged, UsageError
from outlast.frameworks.lightgbm import callbacks, resume_arguments


def start(folder: Path, after: int | None = None, **settings: Any) -> Any:
    return train(outlast.Run(folder, leaving(after), save_every=1), rounds=8, **settings)


def leave(folder: Path, **settings: Any) -> None:
    with pytest.raises(Left):
        start(folder, 3, **settings)


def test_another_order_of_metrics_is_refused(tmp_path: Path) -> None:
    leave(tmp_path / "run", metric=["binary_logloss", "auc"])
    with pytest.raises(RunChanged, match="loss changed from binary_logloss to auc"):
        start(tmp_path / "run", metric=["auc", "binary_logloss"])
    whole = start(tmp_path / "whole", metric=["binary_logloss", "auc"])
    assert text(start(tmp_path / "run", metric=["binary_logloss", "auc"])) == text(whole)


def test_another_set_in_the_place_of_the_one_that_is_watched_is_refused(tmp_path: Path) -> None:
    def other_first(mine: Any, theirs: Any) -> dict[str, Any]:
        return {"a": data(slice(100), reference=mine), "b": theirs}

    leave(tmp_path / "run", sets=lambda _, theirs: {"a": theirs})
    with pytest.raises(RunChanged, match="the data of val_ metrics changed from 100 labels with checksum"):
        start(tmp_path / "run", sets=other_first)
    assert start(tmp_path / "run", sets=lambda _, theirs: {"another name": theirs}).num_trees() == 8


def test_metrics_may_be_added_behind_the_first(tmp_path: Path) -> None:
    leave(tmp_path / "run", metric=["auc"], sets=lambda mine, _: {"mine": mine})
    assert start(tmp_path / "run", metric=["auc", "binary_error"]).num_trees() == 8


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    leave(tmp_path / "run", objective="multiclass", num_class=3)
    with pytest.raises(RunChanged, match="num_class changed from 3 to 2"):
        start(tmp_path / "run", objective="multiclass", num_class=2)


def test_two_sets_of_one_name_are_refused() -> None:
    with pytest.raises(ArgumentError, match="two sets of data are called 'a'"):
        lgb.train(
            BINARY,
            trained_on := data(TRAINED),
            3,
            valid_sets=[data(HELD_OUT, reference=trained_on), data(slice(50), reference=trained_on)],
            valid_names=["a", "a"],
            callbacks=callbacks(outlast.History()),
        )


def test_a_copy_of_the_data_that_is_called_train_is_not_held_out() -> None:
    history = outlast.History()
    train(history, rounds=2, sets=lambda mine, theirs: {"train": data(TRAINED, reference=mine), "b": theirs})
    assert history.history.keys() >= {"binary_logloss", "val_binary_logloss"}
    assert history.history["loss"] != history.history["val_loss"]


# Data that LightGBM could not predict for in a later start.


def constructed(folder: Path) -> Any:
    return data(TRAINED, params=BINARY).construct()


def used_in_a_cross_validation(folder: Path) -> Any:
    given = data(TRAINED)
    lgb.cv(BINARY, given, 2, nfold=2)
    return given


def trained_on_before(folder: Path) -> Any:
    given = data(TRAINED)
    lgb.train(BINARY, given, 2)
    return given


def list_of_arrays(folder: Path) -> Any:
    return lgb.Dataset([X[:100], X[100:200]], Y[:200])


def binary_file(folder: Path) -> Any:
    data(TRAINED).save_binary(folder / "data.bin")
    return lgb.Dataset(folder / "data.bin")


def rows_of_others(folder: Path) -> Any:
    return lgb.Dataset(X, Y, params=BINARY).subset([*range(200)])


def kept(folder: Path) -> Any:
    given = data(TRAINED, free_raw_data=False)
    lgb.train(BINARY, given, 2)
    return given


def rows_of_what_is_kept(folder: Path) -> Any:
    return lgb.Dataset(X, Y, params=BINARY, free_raw_data=False).subset([*range(200)])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (constructed, "LightGBM has let the data go"),
        (used_in_a_cross_validation, "LightGBM has let the data go"),
        (trained_on_before, r"LightGBM has let the data go.*free_raw_data=False"),
        (rows_of_others, "LightGBM has let the data go"),
        (list_of_arrays, r"it is a list of arrays.*np\.vstack"),
        (binary_file, "it is a binary file"),
    ],
)
def test_data_with_which_no_run_can_go_on_are_refused_before_the_first_round(
    tmp_path: Path, given: Callable[[Path], Any], told: str
) -> None:
    trained_on = given(tmp_path)
    with pytest.raises(UsageError, match=f"could not go on with this Dataset.*{told}"):
        lgb.train(BINARY, trained_on, 3, callbacks=callbacks(outlast.Run(tmp_path / "run")))
    assert lgb.train(BINARY, given(tmp_path), 3, callbacks=callbacks(outlast.History())).num_trees() == 3


def test_held_out_data_are_needed_too(tmp_path: Path) -> None:
    trained_on = kept(tmp_path)
    held_out = data(HELD_OUT, reference=trained_on)
    lgb.train(BINARY, trained_on, 2, valid_sets=[held_out])
    given = callbacks(outlast.Run(tmp_path / "run"))
    with pytest.raises(UsageError, match="could not go on with this Dataset"):
        lgb.train(BINARY, trained_on, 3, valid_sets=[held_out], callbacks=given)


@pytest.mark.parametrize("given", [kept, rows_of_what_is_kept])
def test_a_run_goes_on_with_data_that_are_kept(tmp_path: Path, given: Callable[[Path], Any]) -> None:
    def once(folder: str, after: int | None = None) -> Any:
        run = outlast.Run(tmp_path / folder, leaving(after), save_every=1)
        return lgb.train(BINARY, given(tmp_path), 6, callbacks=callbacks(run), **resume_arguments(run))

    with pytest.raises(Left):
        once("left", 3)
    assert text(once("left")) == text(once("whole"))


# A finished run.


def test_others_do_not_hear_of_the_round_that_a_finished_run_trains(tmp_path: Path) -> None:
    heard: list[tuple[int, str]] = []

    def before(env: Any) -> None:
        heard.append((env.iteration, "begins"))

    def after(env: Any) -> None:
        heard.append((env.iteration, "ends"))

    before.before_iteration = True  # type: ignore[attr-defined]
    for expected in (2, 2, 3):
        train(outlast.Run(tmp_path / "run"), rounds=expected, more=[before, after])
        assert [one for one, _ in heard] == [number // 2 for number in range(2 * expected)]


def test_what_lightgbm_records_of_a_finished_run_is_its_last_round(tmp_path: Path) -> None:
    def once() -> Any:
        recorded: dict[str, Any] = {}
        train(outlast.Run(tmp_path / "run"), rounds=3, more=[lgb.record_evaluation(recorded)])
        return recorded["theirs"]["binary_logloss"]

    first = once()
    assert len(first) == 3
    assert np.array_equal(once(), first[-1:])
