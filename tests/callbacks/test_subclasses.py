"""Users subclass callbacks, set their attributes and override their hooks, as they do Keras's."""

from __future__ import annotations

from typing import Any

import pytest

import outlast
from outlast.callbacks.hooks import is_unused
from outlast.exceptions import ArgumentError, UnknownArgument
from outlast.frameworks.base import Snapshot
from outlast.testing import FakeAdapter, MemoryOutput, drive


def batches(callback: Any, count: int) -> dict[str, bytes]:
    """The files of a checkpoint that hears so many batches."""
    output = MemoryOutput()
    callbacks = outlast.CallbackList([callback], adapter=FakeAdapter(), output=output)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(count):
        callbacks.on_train_batch_end(batch, {"loss": 0.5})
    return output.files


class Counting(outlast.ModelCheckpoint):
    heard = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch, logs)
        self.heard += 1


def test_a_checkpoints_subclass_hears_batches_and_calls_the_hook_above_it() -> None:
    callback = Counting("b{batch}.txt", save_freq=2)
    assert sorted(batches(callback, 5)) == ["b2.txt", "b4.txt"]
    assert callback.heard == 5


def test_the_hook_above_it_does_nothing_where_no_batches_are_counted() -> None:
    callback = Counting("b.txt")
    assert batches(callback, 5) == {}
    assert callback.heard == 5


def test_the_frequency_can_be_set_later() -> None:
    callback = outlast.ModelCheckpoint("b{batch}.txt")
    callback.save_freq = 2
    assert sorted(batches(callback, 5)) == ["b2.txt", "b4.txt"]
    callback.save_freq = "epoch"
    assert is_unused(callback.on_train_batch_end)
    with pytest.raises(ArgumentError, match="Unrecognized save_freq"):
        callback.save_freq = 0


def test_the_path_can_be_set_later() -> None:
    output = MemoryOutput()
    callback = outlast.ModelCheckpoint("a.txt")
    callback.filepath = "e{epoch}.txt"
    drive(callback, [{"loss": 0.5}], adapter=FakeAdapter(), output=output)
    assert sorted(output.files) == ["e1.txt"]
    with pytest.raises(ArgumentError, match="not allowed"):
        callback.filepath = "{epoch.real}.txt"


def test_early_stopping_judges_what_get_monitor_value_gives() -> None:
    class Smoothed(outlast.EarlyStopping):
        last = 0.0

        def get_monitor_value(self, logs: Any) -> float | None:
            self.last = 0.5 * self.last + 0.5 * logs[self.monitor]
            return self.last

    callback = drive(Smoothed("loss", patience=9), [{"loss": 1.0}, {"loss": 0.0}])
    assert (callback.best, callback.best_epoch) == (0.25, 1)


def test_attributes_can_be_set_between_trainings() -> None:
    stopping = outlast.EarlyStopping("loss", patience=9)
    stopping.patience, stopping.min_delta, stopping.mode, stopping.monitor = 1, 0.5, "max", "score"
    stopping.baseline = stopping.stopping_threshold = 7.0
    assert (stopping.patience, stopping.min_delta, stopping.mode, stopping.monitor) == (
        1,
        0.5,
        "max",
        "score",
    )
    assert drive(stopping, [{"score": 1.0}, {"score": 1.5}]).stopped_epoch == 1
    plateau = outlast.ReduceLROnPlateau("loss")
    plateau.factor, plateau.patience, plateau.min_lr, plateau.cooldown = 0.25, 1, 0.1, 3
    adapter = FakeAdapter(learning_rate=1.0)
    drive(plateau, [{"loss": 1.0}] * 2, adapter=adapter)
    assert adapter.learning_rates() == {"fake": 0.25}


@pytest.mark.parametrize(
    ("name", "value"), [("patience", 2.5), ("min_delta", "small"), ("baseline", float("nan"))]
)
def test_an_attribute_is_checked_as_the_argument_is(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=name):
        setattr(outlast.EarlyStopping(), name, value)


def test_the_best_weights_can_be_set_and_are_restored() -> None:
    adapter = FakeAdapter({"w": [1.0]})
    stopping = outlast.EarlyStopping("loss", restore_best_weights=True)
    callbacks = outlast.CallbackList([stopping], adapter=adapter)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {"loss": 0.5})
    assert stopping.best_weights == {"w": [1.0]}
    stopping.best_weights = {"w": [7.0]}
    assert stopping.snapshots() == {"best_weights": Snapshot({"w": [7.0]})}
    callbacks.on_train_end()
    assert adapter.weights == {"w": [7.0]}
    stopping.best_weights = None
    assert stopping.best_weights is None
    assert stopping.snapshots() == {}


class Patient(outlast.EarlyStopping):
    def __init__(self, more: int, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.patience += more


def test_a_subclass_takes_arguments_of_its_own_and_passes_the_others_on() -> None:
    assert Patient(3, patience=2).patience == 5
    with pytest.raises(
        UnknownArgument, match=r"Patient has no argument 'patiance'\. Did you mean 'patience'"
    ):
        Patient(3, patiance=2)


def test_a_typo_in_an_argument_of_ones_own_is_told_too() -> None:
    class Mine(outlast.Callback):
        def __init__(self, folder: str, *, level: int = 0) -> None:
            self.folder = folder

    with pytest.raises(
        UnknownArgument, match=r"no argument 'fodler'\. Did you mean 'folder'\? It takes: folder"
    ):
        Mine(fodler="x")  # type: ignore[call-arg]
