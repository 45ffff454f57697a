"""EarlyStopping decides as Keras's does (rules 2.0 and 2.1)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.parity.oracle import (
    DELTAS,
    MODES,
    NUMBERS,
    VALUES,
    Fit,
    Logs,
    logs_of,
    seen,
    without_leading_nan,
)

import outlast

ATTRIBUTES = (
    "best",
    "best_epoch",
    "wait",
    "stopped_epoch",
    "best_weights",
    "patience",
    "baseline",
    "monitor_op",
)
SETTINGS = st.fixed_dictionaries(
    {
        "monitor": st.sampled_from(["val_loss", "val_accuracy", "auc"]),
        "min_delta": DELTAS,
        "patience": st.integers(0, 4),
        "verbose": st.integers(0, 1),
        "mode": MODES,
        "baseline": st.none() | st.none() | VALUES,
        "restore_best_weights": st.booleans(),
        "start_from_epoch": st.sampled_from([0, 0, 0, 1, 3]),
    }
)
SERIES = st.lists(NUMBERS | NUMBERS | NUMBERS | st.none(), min_size=1, max_size=9)


@st.composite
def trainings(draw: st.DrawFn) -> tuple[dict[str, Any], list[Fit]]:
    settings = draw(SETTINGS)
    fits = []
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.sampled_from([0, 0, 0, 2]))
        values = without_leading_nan(draw(SERIES), settings["start_from_epoch"] - first)
        epochs: list[Logs | None] = [logs_of(settings["monitor"], value) for value in values]
        fits.append(Fit(epochs, first))
    return settings, fits


@given(trainings())
def test_it_stops_waits_restores_and_says_as_kerass(case: tuple[dict[str, Any], list[Fit]]) -> None:
    settings, fits = case
    ours = seen(lambda: outlast.EarlyStopping(**settings), fits, *ATTRIBUTES, move=True)
    theirs = seen(lambda: keras.callbacks.EarlyStopping(**settings), fits, *ATTRIBUTES, move=True)
    assert ours == theirs


@given(st.lists(st.none() | st.just({"loss": 0.5}) | st.just({"val_loss": 0.5}), max_size=6))
def test_no_logs_at_all_are_a_missing_metric(epochs: list[Logs | None]) -> None:
    fits = [Fit(epochs)]
    ours = seen(lambda: outlast.EarlyStopping(patience=2), fits, *ATTRIBUTES)
    theirs = seen(lambda: keras.callbacks.EarlyStopping(patience=2), fits, *ATTRIBUTES)
    assert ours == theirs


def test_settings_by_position_mean_the_same() -> None:
    arguments = ("val_loss", 0.125, 2, 1, "max", 0.5, True, 1)
    fits = [Fit([logs_of("val_loss", value) for value in (0.5, 0.25, 0.75, 0.75, 0.5, 0.25)])]
    ours = seen(lambda: outlast.EarlyStopping(*arguments), fits, *ATTRIBUTES, move=True)
    theirs = seen(lambda: keras.callbacks.EarlyStopping(*arguments), fits, *ATTRIBUTES, move=True)
    assert ours == theirs
    assert ours.epochs[-1]["stop"]


@given(st.lists(NUMBERS, min_size=1, max_size=8), st.integers(0, 3))
def test_an_array_of_one_element_is_judged_as_the_number_in_it(values: list[float], patience: int) -> None:
    """Keras's F1Score logs such."""
    epochs: list[Logs | None] = [{"f1": np.array([value])} for value in without_leading_nan(values)]
    settings = {"monitor": "f1", "mode": "max", "patience": patience, "verbose": 1}
    watched = ("best_epoch", "wait", "stopped_epoch")
    ours = seen(lambda: outlast.EarlyStopping(**settings), [Fit(epochs)], *watched)
    theirs = seen(lambda: keras.callbacks.EarlyStopping(**settings), [Fit(epochs)], *watched)
    assert ours == theirs
