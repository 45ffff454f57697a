"""LearningRateScheduler sets, logs and says what Keras's does (rule 2.7)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.parity.oracle import Fit, Seen, seen
from tests.parity.test_reduce_lr_on_plateau import several_optimizers

import outlast


class Halving:
    """A schedule that is an object, as Keras's own are."""

    def __call__(self, epoch: int) -> float:
        return 0.5**epoch


SCHEDULES: dict[str, Callable[..., Any]] = {
    "of the epoch": lambda epoch: 1.0 / (2.0 + epoch),
    "of the epoch and the rate": lambda epoch, rate: rate * 0.3 if epoch else rate,
    "with a default": lambda epoch, rate=0.25: rate / 2,
    "of anything": lambda *all_there_is: 0.1 * len(all_there_is),
    "a partial": functools.partial(lambda factor, epoch, rate: rate * factor, 0.9),
    "an object": Halving(),
    "float32": lambda epoch, rate: np.float32(0.1),
    "float64": lambda epoch, rate: np.float64(0.1),
    "rounded": lambda epoch: round(0.7**epoch, 2),
}
REFUSED: dict[str, Any] = {
    "an int": 1,
    "float16": np.float16(0.5),
    "nothing": None,
    "text": "0.5",
    "an array": np.array(0.5),
    "a bool": True,
}


def both(schedule: Callable[..., Any], fits: list[Fit], verbose: int = 1) -> tuple[Seen, Seen]:
    ours = seen(lambda: outlast.LearningRateScheduler(schedule, verbose), fits)
    theirs = seen(lambda: keras.callbacks.LearningRateScheduler(schedule, verbose), fits)
    return ours, theirs


FITS = st.lists(
    st.builds(
        Fit,
        epochs=st.lists(st.just({"loss": 0.5}), min_size=1, max_size=5),
        first=st.integers(0, 3),
        rate=st.sampled_from([1.0, 0.1, 1e-5]),
    ),
    min_size=1,
    max_size=3,
)


@given(st.sampled_from(sorted(SCHEDULES)), FITS, st.integers(0, 1))
def test_the_rates_are_kerass(name: str, fits: list[Fit], verbose: int) -> None:
    ours, theirs = both(SCHEDULES[name], fits, verbose)
    assert ours == theirs


@given(st.sampled_from(sorted(SCHEDULES)), FITS)
def test_several_optimizers_get_their_rates_as_from_kerass(name: str, fits: list[Fit]) -> None:
    with several_optimizers():
        ours, theirs = both(SCHEDULES[name], fits)
    assert ours == theirs


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_float_is_refused_in_the_same_words(name: str) -> None:
    ours, theirs = both(lambda epoch: REFUSED[name], [Fit([{"loss": 0.5}])])
    assert ours.error.startswith("The output of the `schedule` function should be a float. Got: ")
    assert theirs.error.startswith("The output of the `schedule` function should be a float. Got: ")
    assert (ours.epochs, ours.printed) == (theirs.epochs, theirs.printed)


def test_an_error_inside_the_schedule_is_shown_as_it_is() -> None:
    """Keras takes any TypeError for a schedule of one argument, and shows that it takes two."""

    def broken(epoch: int, rate: float) -> float:
        return rate + "1"  # type: ignore[operator]

    ours, theirs = both(broken, [Fit([{"loss": 0.5}])])
    assert "unsupported operand" in ours.error
    assert "missing 1 required positional argument" in theirs.error
