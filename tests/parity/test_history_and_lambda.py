"""History and LambdaCallback record and call what Keras's do (rule 2.9)."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.parity.oracle import NUMBERS, Fit, Logs, comparable, model, seen

import outlast
from outlast.exceptions import UnknownArgument

LOGS = st.none() | st.dictionaries(st.sampled_from(["loss", "val_loss", "acc"]), NUMBERS)
FITS = st.lists(
    st.builds(Fit, epochs=st.lists(LOGS, max_size=5), first=st.integers(0, 3)), min_size=1, max_size=3
)


@given(FITS)
def test_a_history_has_the_same_epochs_and_values(fits: list[Fit]) -> None:
    ours = seen(outlast.History, fits, "epoch", "history")
    theirs = seen(keras.callbacks.History, fits, "epoch", "history")
    assert ours == theirs


@given(FITS)
def test_the_model_shows_the_history(fits: list[Fit]) -> None:
    shown = []
    for kind in (outlast.History, keras.callbacks.History):
        model().history = None
        history = kind()
        seen(lambda history=history: history, fits)
        shown.append(model().history is history)
    assert shown[0] == shown[1] == any(fit.epochs for fit in fits)


HOOKS = (
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_begin",
    "on_train_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_predict_batch_end",
)


@given(st.lists(st.sampled_from(HOOKS), unique=True), FITS)
def test_the_functions_are_called_with_the_same_arguments(names: list[str], fits: list[Fit]) -> None:
    batches = [[(0, {"loss": 0.5}), (3, {})]]
    fits = [Fit(fit.epochs, fit.first, batches * len(fit.epochs)) for fit in fits]
    assert calls_of(outlast.LambdaCallback, names, fits) == calls_of(
        keras.callbacks.LambdaCallback, names, fits
    )


def calls_of(kind: Any, names: list[str], fits: list[Fit]) -> list[Any]:
    calls: list[Any] = []

    def noting(name: str) -> Any:
        def function(*arguments: Any, **keywords: Logs) -> None:
            calls.append((name, comparable(arguments), comparable(keywords)))

        return function

    seen(lambda: kind(**{name: noting(name) for name in names}), fits)
    return calls


def test_what_is_no_hook_is_an_attribute_for_the_functions() -> None:
    for kind in (keras.callbacks.LambdaCallback, outlast.LambdaCallback):
        callback = kind(on_epoch_end=print, helper=len, limit=3)
        assert (callback.helper([1, 2]), callback.limit) == (2, 3)


def test_a_name_that_the_callback_uses_itself_is_refused() -> None:
    with pytest.raises(UnknownArgument, match="LambdaCallback uses the name 'training' itself"):
        outlast.LambdaCallback(training=print)
