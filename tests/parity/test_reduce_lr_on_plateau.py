"""ReduceLROnPlateau cuts the rate when, and to what, Keras's does (rules 2.0 and 2.4)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.parity.oracle import (
    DELTAS,
    MODES,
    NUMBERS,
    Fit,
    Logs,
    Seen,
    logs_of,
    model,
    seen,
    without_leading_nan,
)

import outlast

ATTRIBUTES = ("best", "wait", "cooldown_counter", "factor", "patience", "cooldown", "min_lr", "monitor_op")
SETTINGS = st.fixed_dictionaries(
    {
        "monitor": st.sampled_from(["val_loss", "val_accuracy", "auc"]),
        "factor": st.sampled_from([0.5, 0.1, 0.3, 0.9, 1e-30]),
        "patience": st.integers(0, 3),
        "verbose": st.integers(0, 1),
        "mode": MODES,
        "min_delta": DELTAS,
        "cooldown": st.integers(0, 4),
        "min_lr": st.sampled_from([0.0, 0, 0.05, 0.25, 1e-7, 2.0]),
    }
)
SERIES = st.lists(NUMBERS | NUMBERS | st.just(0.5) | st.none(), min_size=1, max_size=12)
RATES = st.sampled_from([1.0, 0.1, 0.05, 1e-3, 3e-7])


@st.composite
def trainings(draw: st.DrawFn) -> tuple[dict[str, Any], list[Fit]]:
    settings = draw(SETTINGS)
    fits = []
    for _ in range(draw(st.integers(1, 3))):
        values = without_leading_nan(draw(SERIES))
        epochs: list[Logs | None] = [logs_of(settings["monitor"], value) for value in values]
        fits.append(Fit(epochs, draw(st.integers(0, 1)), rate=draw(RATES)))
    return settings, fits


def both(settings: dict[str, Any], fits: list[Fit]) -> tuple[Seen, Seen]:
    ours = seen(lambda: outlast.ReduceLROnPlateau(**settings), fits, *ATTRIBUTES)
    theirs = seen(lambda: keras.callbacks.ReduceLROnPlateau(**settings), fits, *ATTRIBUTES)
    return ours, theirs


@given(trainings())
def test_it_cuts_rests_logs_and_says_as_kerass(case: tuple[dict[str, Any], list[Fit]]) -> None:
    ours, theirs = both(*case)
    assert ours == theirs


@contextmanager
def several_optimizers(body: str = "body", head: str = "head") -> Iterator[None]:
    """The model with two optimizers, each with a name and a rate of its own."""
    kept = model().optimizer
    mapping = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(1.0, name=body), {"head": keras.optimizers.Adam(1.0, name=head)}
    )
    model().optimizer = keras.optimizers.MultiOptimizer(mapping)
    try:
        yield
    finally:
        model().optimizer = kept


@given(trainings())
def test_several_optimizers_are_cut_on_the_one_condition_as_kerass(
    case: tuple[dict[str, Any], list[Fit]],
) -> None:
    with several_optimizers():
        ours, theirs = both(*case)
    assert ours == theirs
    assert "learning_rate_body" in ours.epochs[0]["logs"]


def test_optimizers_of_one_name_are_both_cut_as_by_kerass() -> None:
    with several_optimizers("same", "same"):
        ours, theirs = both({"monitor": "loss", "patience": 1}, [Fit([{"loss": 0.5}] * 3)])
    assert [epoch["rates"] for epoch in ours.epochs] == [epoch["rates"] for epoch in theirs.epochs]
    assert ours.epochs[-1]["rates"] == [ours.epochs[-1]["rates"][0]] * 2 != [1.0, 1.0]


def test_settings_by_position_mean_the_same() -> None:
    arguments = ("val_loss", 0.25, 1, 1, "max", 0.125, 2, 0.125)
    fits = [Fit([logs_of("val_loss", value) for value in (0.5, 0.625, 0.5, 0.75, 0.5, 0.5)])]
    ours = seen(lambda: outlast.ReduceLROnPlateau(*arguments), fits, *ATTRIBUTES)
    theirs = seen(lambda: keras.callbacks.ReduceLROnPlateau(*arguments), fits, *ATTRIBUTES)
    assert ours == theirs
    assert ours.epochs[-1]["rates"] == [0.125]


@pytest.mark.parametrize("factor", [1.0, 1, 2.5])
def test_a_factor_that_does_not_reduce_is_refused_in_the_same_words(factor: float) -> None:
    texts = []
    for kind in (outlast.ReduceLROnPlateau, keras.callbacks.ReduceLROnPlateau):
        with pytest.raises(ValueError, match="does not support a factor >=") as caught:
            kind(factor=factor)
        texts.append(str(caught.value))
    assert texts[0].startswith(texts[1])


def test_whether_it_rests_can_be_asked() -> None:
    fits = [Fit([{"loss": 1.0}] * 4)]
    for kind in (outlast.ReduceLROnPlateau, keras.callbacks.ReduceLROnPlateau):
        callback = kind(monitor="loss", patience=1, cooldown=3)
        assert not callback.in_cooldown()
        seen(lambda callback=callback: callback, fits)
        assert callback.in_cooldown()
