"""Every decision reaches the listener, after its effect, with its reason; ``update`` gives the same."""

from __future__ import annotations

import math
import threading
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

import outlast
from outlast.exceptions import CapabilityError, MetricError, OutlastWarning, UnknownDirection, UsageError
from outlast.frameworks.base import Adapter
from outlast.testing import FakeAdapter, FakeClock, MemoryOutput, drive

NAN = math.nan


def heard(callback: Any, values: list[Any], **options: Any) -> list[str]:
    """The sentences of a callback's decisions on the values of "loss"."""
    decisions: list[outlast.Decision] = []
    adapter = options.pop("adapter", None) or FakeAdapter({"w": [0.0]}, learning_rate=1.0)
    drive(callback, [{"loss": v} for v in values], adapter=adapter, listen=decisions.append, **options)
    return [decision.sentence for decision in decisions]


@pytest.mark.parametrize(
    ("callback", "values", "sentences"),
    [
        (
            outlast.EarlyStopping("loss", patience=1),
            [0.5, 0.75],
            ["Epoch 2: EarlyStopping stops: loss has not improved on 0.5 for 1 epoch"],
        ),
        (
            outlast.EarlyStopping("loss", patience=1, restore_best_weights=True),
            [0.5, 0.75],
            [
                "Epoch 2: EarlyStopping stops: loss has not improved on 0.5 for 1 epoch",
                "Epoch 2: EarlyStopping restores the weights of epoch 1: loss was best there, at 0.5",
            ],
        ),
        (
            outlast.EarlyStopping("loss", patience=9, stopping_threshold=0.25),
            [0.125],
            ["Epoch 1: EarlyStopping stops: loss is 0.125, better than stopping_threshold=0.25"],
        ),
        (
            outlast.ReduceLROnPlateau("loss", patience=1, factor=0.5),
            [0.5, 0.5],
            [
                "Epoch 2: ReduceLROnPlateau cuts the learning rate to 0.5: "
                "loss has been no better than 0.5 for 1 epoch"
            ],
        ),
        (
            outlast.ModelCheckpoint("m.txt", "loss", save_best_only=True),
            [0.5, 0.75],
            [
                "Epoch 1: ModelCheckpoint saves m.txt: loss is 0.5, the first value seen",
                "Epoch 2: ModelCheckpoint keeps the saved model: loss is 0.75, no better than 0.5",
            ],
        ),
        (
            outlast.TimeLimit(timedelta(seconds=2)),
            [0.5, 0.5, 0.5],
            ["Epoch 2: TimeLimit stops: training has taken 2 s of the 2 s allowed"],
        ),
        (outlast.CSVLogger("h.csv"), [0.5], []),
        (outlast.History(), [0.5], []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, outlast.Callback) else "",
)
def test_what_was_decided_is_told(callback: Any, values: list[float], sentences: list[str]) -> None:
    assert heard(callback, values) == sentences


def test_a_stop_is_asked_for_with_its_sentence_before_it_is_told() -> None:
    adapter = FakeAdapter()
    reasons: list[Any] = []
    drive(
        outlast.EarlyStopping("loss"),
        [{"loss": 0.5}] * 2,
        adapter=adapter,
        listen=lambda decision: reasons.append((decision.sentence, adapter.stop_reason)),
    )
    assert reasons == [(adapter.stop_reason, adapter.stop_reason)]
    assert adapter.stop_reason


def test_a_cut_is_told_when_the_rate_is_set() -> None:
    adapter = FakeAdapter(learning_rate=1.0)
    rates: list[Any] = []
    drive(
        outlast.ReduceLROnPlateau("loss", patience=1, factor=0.5),
        [{"loss": 0.5}] * 2,
        adapter=adapter,
        listen=lambda decision: rates.append((decision.learning_rate, adapter.learning_rates()["fake"])),
    )
    assert rates == [(0.5, 0.5)]


def test_update_does_nothing_but_decide() -> None:
    """No file, no model, no loop: only the state goes on."""
    decisions = [
        outlast.EarlyStopping(restore_best_weights=True).update(0.5),
        outlast.ModelCheckpoint("no/such/folder/m.keras").update(0.5),
        outlast.ModelCheckpoint("m.keras", save_best_only=True).update(0.5),
        outlast.ReduceLROnPlateau().update(0.5),
    ]
    assert [decision.action.value for decision in decisions] == ["continue", "save", "save", "continue"]


def test_update_counts_its_calls_as_epochs_unless_told_the_epoch() -> None:
    stopping = outlast.EarlyStopping(patience=9)
    epochs = [stopping.update(0.5).epoch, stopping.update(0.5).epoch, stopping.update(0.5, epoch=7).epoch]
    assert epochs == [0, 1, 7]
    stopping.forget()
    assert stopping.update(0.5).epoch == 0
    assert stopping.best_epoch == 0


@pytest.mark.parametrize("value", [None, np.array([0.5]), np.float32(0.5), 0.5, NAN])
def test_update_takes_what_logs_hold(value: Any) -> None:
    checkpoint = outlast.ModelCheckpoint("m.pt", save_best_only=True)
    for callback in (outlast.EarlyStopping(), outlast.ReduceLROnPlateau(), checkpoint):
        decision = callback.update(value)
        assert not decision.stop
        assert decision.values["value"] is None or decision.values["value"] == 0.5 or value is NAN


def test_update_refuses_what_is_no_number_and_a_direction_that_nobody_knows() -> None:
    with pytest.raises(MetricError, match="val_loss must be one number"):
        outlast.EarlyStopping().update("low")
    with pytest.raises(UnknownDirection, match="monitors 'warmth'"):
        outlast.ReduceLROnPlateau("warmth").update(0.5)
    assert outlast.ModelCheckpoint("m.pt", "warmth").update(0.5).save


def test_update_gives_the_new_rate_where_it_is_told_the_old_one() -> None:
    plateau = outlast.ReduceLROnPlateau(patience=1, factor=0.5)
    plateau.update(0.5, learning_rate=1)
    assert plateau.update(0.5, learning_rate=1).learning_rate == 0.5
    decision = plateau.update(0.5)
    assert (decision.action.value, decision.learning_rate) == ("reduce", None)


def test_a_missing_metric_is_told_once_a_training_and_again_in_the_next() -> None:
    stopping = outlast.EarlyStopping("val_loss")
    for _ in range(2):
        with pytest.warns(OutlastWarning, match=r"not available\. Available metrics are: ") as said:
            drive(stopping, [{"loss": 0.5}] * 3, adapter=FakeAdapter())
        assert len(said) == 1


def test_weights_of_a_best_epoch_that_never_came_are_not_restored_and_that_is_said() -> None:
    adapter = FakeAdapter({"w": [1.0]})
    stopping = outlast.EarlyStopping("loss", patience=9, restore_best_weights=True)
    with pytest.warns(OutlastWarning, match="loss was always NaN, so there are no best weights to restore"):
        drive(stopping, [{"loss": NAN}] * 3, adapter=adapter)
    assert adapter.weights == {"w": [1.0]}
    assert stopping.best_weights is None


def test_no_such_thing_is_said_where_the_weights_alone_are_gone() -> None:
    stopping = outlast.EarlyStopping("loss", patience=9, restore_best_weights=True)
    stopping.load_state_dict({**stopping.state_dict(), "best": 0.25, "wait": 1})
    drive(stopping, [{"loss": 0.5}], adapter=FakeAdapter({"w": [1.0]}))
    assert stopping.wait == 2


def test_no_such_thing_is_said_where_no_epoch_was_judged() -> None:
    stopping = outlast.EarlyStopping("loss", start_from_epoch=9, restore_best_weights=True)
    drive(stopping, [{"loss": 0.5}] * 3, adapter=FakeAdapter({"w": [1.0]}))


@pytest.mark.parametrize(
    ("callback", "needs"),
    [
        (outlast.EarlyStopping("loss", restore_best_weights=True), "weights that can be read and put back"),
        (outlast.ReduceLROnPlateau("loss"), "a learning rate that can be set"),
        (outlast.LearningRateScheduler(lambda epoch: 0.1), "a learning rate that can be set"),
        (outlast.ModelCheckpoint("m.pt"), "a model that can be saved"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, outlast.Callback) else "",
)
def test_what_a_loop_without_a_model_cannot_do_is_told_before_the_first_batch(
    callback: Any, needs: str
) -> None:
    callbacks = outlast.CallbackList([callback], adapter=Adapter(), output=MemoryOutput())
    with pytest.raises(CapabilityError, match=f"{type(callback).__name__} needs {needs}"):
        callbacks.on_train_begin()


def test_early_stopping_needs_a_model_only_if_it_is_to_restore_one() -> None:
    assert drive(outlast.EarlyStopping("loss"), [{"loss": 0.5}] * 2, adapter=Adapter()).stopped_epoch == 1


def test_the_time_limit_counts_from_the_trainings_begin() -> None:
    clock = FakeClock(step=10.0)
    clock()
    limit = outlast.TimeLimit(25)
    assert heard(limit, [0.5] * 5, clock=clock) == [
        "Epoch 3: TimeLimit stops: training has taken 30 s of the 25 s allowed"
    ]
    assert heard(limit, [0.5] * 5, clock=clock) == [
        "Epoch 3: TimeLimit stops: training has taken 30 s of the 25 s allowed"
    ]


def test_a_hook_of_batches_on_another_thread_is_refused_with_the_way_out() -> None:
    callback = outlast.TerminateOnNaN()
    callbacks = outlast.CallbackList([callback], adapter=FakeAdapter())
    callbacks.on_train_begin()
    errors: list[str] = []

    def call() -> None:
        try:
            callbacks.on_train_batch_end(0, {"loss": 0.5})
        except UsageError as error:
            errors.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert len(errors) == 1 and errors[0].endswith("Pass a list: callbacks=[...].")
    callbacks.on_train_batch_end(0, {"loss": 0.5})


def test_an_invalid_loss_is_told_with_its_batch() -> None:
    decisions: list[outlast.Decision] = []
    callbacks = outlast.CallbackList(
        [outlast.TerminateOnNaN()], adapter=FakeAdapter(), listen=decisions.append
    )
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(2)
    callbacks.on_train_batch_end(4, {"loss": math.inf})
    assert [decision.sentence for decision in decisions] == [
        "Epoch 3, batch 5: TerminateOnNaN stops: loss is inf"
    ]
    assert callbacks.stop_training
