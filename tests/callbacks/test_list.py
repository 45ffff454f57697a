"""CallbackList: several callbacks as one, from any loop."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

import outlast
from outlast.callbacks.hooks import HOOKS, is_unused
from outlast.exceptions import ArgumentError
from outlast.testing import FakeAdapter, MemoryOutput

EPOCH_LEVEL = [
    outlast.EarlyStopping(),
    outlast.ModelCheckpoint("m.keras"),
    outlast.ReduceLROnPlateau(),
    outlast.CSVLogger("h.csv"),
    outlast.History(),
    outlast.TimeLimit(9),
    outlast.LearningRateScheduler(lambda epoch: 0.1),
    outlast.ProgressLine(),
    outlast.LambdaCallback(on_epoch_end=print),
]
BATCH_LEVEL = [
    outlast.TerminateOnNaN(),
    outlast.ModelCheckpoint("m.keras", save_freq=2),
    outlast.LambdaCallback(on_train_batch_end=print),
]


def listed(*callbacks: Any, **options: Any) -> outlast.CallbackList:
    return outlast.CallbackList(callbacks, adapter=FakeAdapter(), output=MemoryOutput(), **options)


class Noting(outlast.Callback):
    """Notes every hook that it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        for name in HOOKS:
            setattr(self, name, self._hook(name))

    def _hook(self, name: str) -> Any:
        def hook(*arguments: Any, **keywords: Any) -> None:
            self.heard.append((name, *arguments, *keywords.values()))

        return hook


def test_every_hook_reaches_every_callback_in_order() -> None:
    first, second = Noting(), Noting()
    callbacks = listed(first, second)
    told = [
        ("on_train_begin", {}),
        ("on_epoch_begin", 3, {}),
        ("on_train_batch_begin", 0, {}),
        ("on_train_batch_end", 0, {"loss": 0.5}),
        ("on_epoch_end", 3, {"learning_rate": 0.1, "loss": 0.5}),
        ("on_test_begin", {}),
        ("on_test_batch_begin", 0, {}),
        ("on_test_batch_end", 0, {}),
        ("on_test_end", {}),
        ("on_predict_begin", {}),
        ("on_predict_batch_begin", 0, {}),
        ("on_predict_batch_end", 0, {}),
        ("on_predict_end", {}),
        ("on_train_end", {"learning_rate": 0.1}),
    ]
    for name, *arguments in told:
        getattr(callbacks, name)(*(argument if argument != {} else None for argument in arguments))
    assert first.heard == second.heard == told


def test_the_older_names_of_a_batchs_hooks_are_heard_once() -> None:
    heard: list[Any] = []

    class Old(outlast.Callback):
        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            heard.append(("begin", batch, logs))

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            heard.append(("end", batch, logs))

    callbacks = listed(Old())
    callbacks.on_train_batch_begin(1)
    callbacks.on_train_batch_end(1, {"loss": 0.5})
    assert heard == [("begin", 1, {}), ("end", 1, {"loss": 0.5})]


@pytest.mark.parametrize("callback", EPOCH_LEVEL, ids=lambda callback: type(callback).__name__)
def test_a_callback_of_epochs_makes_nobody_wait_for_batches(callback: Any) -> None:
    for one in (callback, listed(callback)):
        assert all(is_unused(getattr(one, name)) for name in HOOKS if "batch" in name)


@pytest.mark.parametrize("callback", BATCH_LEVEL, ids=lambda callback: type(callback).__name__)
def test_a_callback_of_batches_is_heard(callback: Any) -> None:
    assert not is_unused(listed(callback).on_train_batch_end)
    assert is_unused(listed(callback).on_test_batch_end)


def test_all_see_the_same_logs_with_the_rate_before_any_sees_them() -> None:
    seen: list[Any] = []
    see = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    given = {"loss": np.float32(0.5), "heads": {"a": 1}}
    listed(see, outlast.ReduceLROnPlateau("loss"), see).on_epoch_end(0, given)
    assert seen[0] is seen[1]
    assert list(seen[0].items()) == [("learning_rate", 0.1), ("loss", 0.5), ("a", 1.0)]


def test_the_order_changes_nothing() -> None:
    files = []
    for turn in (1, -1):
        output = MemoryOutput()
        pair = [outlast.CSVLogger("h.csv"), outlast.ReduceLROnPlateau("loss", patience=1)][::turn]
        callbacks = outlast.CallbackList(pair, adapter=FakeAdapter(learning_rate=1.0), output=output)
        callbacks.on_train_begin()
        for epoch in range(4):
            callbacks.on_epoch_end(epoch, {"loss": 0.5})
        files.append(output.files)
    assert files[0] == files[1]
    assert b"learning_rate" in files[0]["h.csv"]


def test_the_last_epoch_is_seen_by_those_after_the_one_that_stops() -> None:
    history = outlast.History()
    callbacks = listed(outlast.EarlyStopping("loss", patience=1), history)
    callbacks.on_train_begin()
    epoch = 0
    while not callbacks.stop_training:
        callbacks.on_epoch_end(epoch, {"loss": 0.5})
        epoch += 1
    assert history.epoch == [0, 1]


def a_model() -> Any:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")
    return model


@pytest.mark.parametrize("kind", [outlast.EarlyStopping, keras.callbacks.EarlyStopping])
def test_a_loop_of_ones_own_around_a_keras_model_can_be_run_twice(kind: Any) -> None:
    callbacks = outlast.CallbackList([kind("loss", patience=2)], model=a_model())
    for _ in range(2):
        callbacks.on_train_begin()
        assert not callbacks.stop_training
        for epoch in range(9):
            callbacks.on_epoch_end(epoch, {"loss": 0.5})
            if callbacks.stop_training:
                break
        callbacks.on_train_end()
        assert epoch == 2


def test_kerass_own_callbacks_stand_beside_ours() -> None:
    theirs = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1)
    model = a_model()
    callbacks = outlast.CallbackList([theirs, outlast.History()], model=model, epochs=3)
    assert theirs.model is model and theirs.params == {"epochs": 3}
    callbacks.on_train_begin()
    for epoch in range(3):
        callbacks.on_epoch_end(epoch, {"loss": 0.5})
    assert model.history.history == {"learning_rate": [0.5, 0.5, 0.25], "loss": [0.5] * 3}


def test_inside_kerass_fit_who_comes_later_sees_the_rate() -> None:
    seen: list[Any] = []
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(list(logs)))
    x = np.ones((4, 1), "float32")
    history = a_model().fit(
        x, x, verbose=0, epochs=2, callbacks=[outlast.CallbackList([outlast.EarlyStopping("loss")]), after]
    )
    assert seen == [["loss", "learning_rate"]] * 2
    assert history.history["learning_rate"] == [0.5, 0.5]


def test_a_list_in_a_list_is_flattened_and_no_list_is_one() -> None:
    one, two, three = outlast.History(), outlast.TerminateOnNaN(), outlast.EarlyStopping()
    assert listed(one, [two, (three,)], None).callbacks == [one, two, three]
    assert outlast.CallbackList(one).callbacks == [one]
    assert outlast.CallbackList().callbacks == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (3, "one is 3"),
        ("early", "one is 'early'"),
        (outlast.EarlyStopping, "EarlyStopping is a class: write EarlyStopping"),
        (dict, "call the class"),
    ],
)
def test_what_is_no_callback_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        outlast.CallbackList([wrong])


def test_a_callback_can_be_added_and_hears_from_then_on() -> None:
    callbacks = listed(outlast.History())
    assert is_unused(callbacks.on_train_batch_end)
    added = outlast.TerminateOnNaN()
    callbacks.append(added)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_end(0, {"loss": math.inf})
    assert callbacks.stop_training


def test_a_history_and_a_line_of_progress_are_added_on_request() -> None:
    kinds = [type(callback).__name__ for callback in listed(add_history=True, add_progbar=True).callbacks]
    assert kinds == ["History", "ProgressLine"]
    own = outlast.History()
    assert listed(own, add_history=True).callbacks == [own]


def test_everybody_is_told_the_parameters() -> None:
    callback = outlast.History()
    callbacks = listed(callback, epochs=3, steps=2)
    assert callback.params == callbacks.params == {"epochs": 3, "steps": 2}
    callbacks.set_params({"epochs": 5})
    assert callback.params == {"epochs": 5}


def test_device_scalars_become_numbers_only_where_somebody_wants_them() -> None:
    class Scalar:
        shape = ()
        asked = 0

        def __float__(self) -> float:
            Scalar.asked += 1
            return 0.5

    callbacks = listed(outlast.History(), outlast.EarlyStopping("loss"))
    callbacks.on_train_begin()
    for batch in range(9):
        callbacks.on_train_batch_end(batch, {"loss": Scalar()})
    assert Scalar.asked == 0
    callbacks.on_epoch_end(0, {"loss": Scalar()})
    assert Scalar.asked == 1
