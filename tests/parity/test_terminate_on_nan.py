"""TerminateOnNaN stops at the batch at which Keras's does (rule 2.6)."""

from __future__ import annotations

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.parity.oracle import INF, NAN, Fit, Logs, seen

import outlast

LOSSES = st.sampled_from(
    [0.5, 1e30, 0.0, -1.0, 0.5, 0.5, NAN, INF, -INF, np.float32("nan"), np.array(0.5), None]
)


def logs_of(loss: float | None) -> Logs:
    return {} if loss is None else {"loss": loss}


@st.composite
def trainings(draw: st.DrawFn) -> list[Fit]:
    fits = []
    for _ in range(draw(st.integers(1, 2))):
        epochs = draw(st.lists(st.lists(LOSSES, max_size=4), min_size=1, max_size=3))
        batches = [[(index, logs_of(loss)) for index, loss in enumerate(epoch)] for epoch in epochs]
        fits.append(Fit([{"loss": 0.5}] * len(epochs), draw(st.integers(0, 2)), batches))
    return fits


@given(trainings(), st.booleans())
def test_it_stops_or_raises_at_the_same_batch_in_the_same_words(fits: list[Fit], raise_error: bool) -> None:
    ours = seen(lambda: outlast.TerminateOnNaN(raise_error), fits, "raise_error")
    theirs = seen(lambda: keras.callbacks.TerminateOnNaN(raise_error), fits, "raise_error")
    assert ours == theirs
