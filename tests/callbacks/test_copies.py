"""Fresh callbacks can be copied and pickled, as tuners do; a copy belongs to no training."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import outlast
from outlast.exceptions import UsageError
from outlast.testing import FakeAdapter, FakeClock, MemoryOutput, drive


def note(*arguments: Any, **keywords: Any) -> None:
    """A function that pickle finds by its name."""


def halved(epoch: int, rate: float) -> float:
    return rate / 2


MADE: dict[str, Callable[[], Any]] = {
    "EarlyStopping": lambda: outlast.EarlyStopping("loss", patience=1, restore_best_weights=True),
    "ModelCheckpoint": lambda: outlast.ModelCheckpoint("e{epoch}.txt", "loss", save_best_only=True),
    "ModelCheckpoint of batches": lambda: outlast.ModelCheckpoint("b{batch}.txt", save_freq=2),
    "CSVLogger": lambda: outlast.CSVLogger("h.csv", separator=";"),
    "ReduceLROnPlateau": lambda: outlast.ReduceLROnPlateau("loss", patience=1),
    "LearningRateScheduler": lambda: outlast.LearningRateScheduler(halved),
    "LambdaCallback": lambda: outlast.LambdaCallback(on_epoch_end=note, on_train_batch_end=note),
    "TerminateOnNaN": lambda: outlast.TerminateOnNaN(raise_error=True),
    "TimeLimit": lambda: outlast.TimeLimit(timedelta(seconds=2)),
    "History": outlast.History,
    "ProgressLine": outlast.ProgressLine,
}
LOSSES = [{"loss": value} for value in (1.0, 0.5, 0.75, 0.875, 0.25)]
WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda callback: pickle.loads(pickle.dumps(callback)),
    "deepcopy of a list": lambda callback: copy.deepcopy([callback])[0],
}


def story(callback: Any) -> Any:
    """All that comes of a callback in a training."""
    adapter, output = FakeAdapter({"w": [0.0]}, learning_rate=1.0), MemoryOutput()
    decisions: list[Any] = []
    drive(callback, LOSSES, adapter=adapter, output=output, clock=FakeClock(), listen=decisions.append)
    told = [decision.to_json() for decision in decisions]
    return told, output.files, adapter.weights, adapter.learning_rates(), adapter.stop_reason


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MADE)
def test_a_copy_does_what_the_original_does(name: str, way: str) -> None:
    original = MADE[name]()
    copied = WAYS[way](original)
    assert type(copied) is type(original)
    assert story(copied) == story(original)


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
@pytest.mark.parametrize("name", MADE)
def test_a_copy_of_one_in_training_belongs_to_no_training(name: str, way: str) -> None:
    original = MADE[name]()
    callbacks = outlast.CallbackList([original], adapter=FakeAdapter(), output=MemoryOutput(), epochs=3)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_epoch_end(0, {"loss": 0.5})
    copied = WAYS[way](original)
    assert (copied.model, copied.params) == (None, None)
    with pytest.raises(UsageError, match="is not attached to a training yet"):
        _ = copied.context
    assert original.model == {}


@pytest.mark.parametrize("name", [name for name in MADE if not name.startswith("ModelCheckpoint")])
def test_what_the_copy_does_leaves_the_original_alone(name: str) -> None:
    original = MADE[name]()
    before = original.state_dict()
    story(copy.deepcopy(original))
    assert original.state_dict() == before


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_counts_batches_of_its_own(way: str) -> None:
    original = outlast.ModelCheckpoint("b{batch}.txt", save_freq=2)
    copied = WAYS[way](original)
    assert batches(copied) == batches(original) == ["b2.txt"]


def batches(callback: outlast.ModelCheckpoint) -> list[str]:
    """The files of a checkpoint that hears three batches."""
    output = MemoryOutput()
    callbacks = outlast.CallbackList([callback], adapter=FakeAdapter(), output=output)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(3):
        callbacks.on_train_batch_end(batch, {"loss": 0.5})
    return sorted(output.files)


@pytest.mark.parametrize("name", [name for name in MADE if name not in ("CSVLogger", "LambdaCallback")])
def test_the_second_training_of_an_instance_is_like_the_first(name: str) -> None:
    """But for what Keras keeps: a checkpoint's best, a history's values."""
    callback = MADE[name]()
    first, second = story(callback), story(callback)
    if name == "ModelCheckpoint":
        assert [told["action"] for told in second[0]] == ["skip", "skip", "skip", "skip", "skip"]
    else:
        assert first == second
