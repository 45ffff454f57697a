"""ModelCheckpoint: which models are there after which epoch, with no framework and no files."""

from __future__ import annotations

import ast
import json
import math
from typing import Any

import numpy as np
import pytest

import outlast
from outlast.exceptions import ArgumentError, OutlastWarning
from outlast.testing import FakeAdapter, MemoryOutput

NAN = math.nan
Values = list[Any]


class Trained:
    """A training whose one weight is the epoch's number, from 1.

    Attributes:
        files: the weight in each file, by name.
        told: the decisions: action, reason, epoch from 1, path.
    """

    def __init__(
        self, callback: outlast.ModelCheckpoint, values: Values, output: MemoryOutput | None = None
    ) -> None:
        adapter, self.output = FakeAdapter({"w": [0.0]}), output or MemoryOutput()
        decisions: list[outlast.Decision] = []
        callbacks = outlast.CallbackList(
            [callback], adapter=adapter, output=self.output, listen=decisions.append
        )
        callbacks.on_train_begin()
        for epoch, value in enumerate(values):
            adapter.weights["w"] = [float(epoch + 1)]
            callbacks.on_epoch_begin(epoch)
            callbacks.on_epoch_end(epoch, {"other": 1.0} if value is None else {"loss": value})
        callbacks.on_train_end()
        self.decisions = decisions
        self.told = [(d.action.value, d.reason.name, d.epoch + 1, d.values.get("path")) for d in decisions]

    @property
    def files(self) -> dict[str, int]:
        return {
            name: int(ast.literal_eval(data.decode())["w"][0])
            for name, data in sorted(self.output.files.items())
        }


def kept(values: Values, **settings: Any) -> dict[str, int]:
    return Trained(outlast.ModelCheckpoint("m{epoch}.txt", "loss", **settings), values).files


@pytest.mark.parametrize(
    ("settings", "values", "files"),
    [
        ({"keep_best": 1}, [0.5, 0.75, 0.25], {"m3.txt": 3, "best.txt": 3}),
        ({"keep_best": 1}, [0.5, 0.75, 1.0], {"m1.txt": 1, "best.txt": 1}),
        ({"keep_best": 2}, [0.5, 0.75, 0.25], {"m1.txt": 1, "m3.txt": 3, "best.txt": 3}),
        ({"keep_best": 2}, [0.5, 0.5, 0.5], {"m1.txt": 1, "m2.txt": 2, "best.txt": 1}),
        ({"keep_best": 2, "mode": "max"}, [0.5, 0.75, 0.25], {"m1.txt": 1, "m2.txt": 2, "best.txt": 2}),
        ({"keep_best": 5}, [0.5, 0.75], {"m1.txt": 1, "m2.txt": 2, "best.txt": 1}),
        ({"keep_best": 1}, [NAN, 0.5, NAN], {"m2.txt": 2, "best.txt": 2}),
        ({"keep_last": 1}, [0.5, 0.75, 1.0], {"m3.txt": 3, "best.txt": 1}),
        ({"keep_last": 2}, [0.5, 0.75, 1.0], {"m2.txt": 2, "m3.txt": 3, "best.txt": 1}),
        (
            {"keep_best": 1, "keep_last": 1},
            [0.75, 0.5, 1.0, 1.25],
            {"m2.txt": 2, "m4.txt": 4, "best.txt": 2},
        ),
        ({"save_last": True}, [0.5, 0.75], {"m1.txt": 1, "m2.txt": 2, "last.txt": 2}),
        ({"save_last": True, "save_best_only": True}, [0.5, 0.75], {"m1.txt": 1, "last.txt": 2}),
        (
            {"save_last": True, "keep_best": 1},
            [0.5, 0.75],
            {"m1.txt": 1, "best.txt": 1, "last.txt": 2},
        ),
    ],
)
def test_the_models_that_are_kept(settings: dict[str, Any], values: Values, files: dict[str, int]) -> None:
    assert kept(values, **settings) == files


def test_of_equal_models_the_earlier_stays_the_best_and_so_does_its_copy() -> None:
    assert kept([0.5, 0.25, 0.25], keep_best=3)["best.txt"] == 2


def test_a_model_without_the_metric_is_no_best_one() -> None:
    with pytest.warns(OutlastWarning, match="Can save best model only with loss available"):
        files = kept([0.5, None, None, 0.75, None], keep_last=1)
    assert files == {"m5.txt": 5, "best.txt": 1}


def test_what_gives_way_is_deleted_when_the_next_is_safe_and_that_is_told() -> None:
    trained = Trained(outlast.ModelCheckpoint("m{epoch}.txt", "loss", keep_best=1), [0.5, 0.75, 0.25])
    assert trained.told == [
        ("save", "FIRST_VALUE", 1, "m1.txt"),
        ("skip", "NOT_KEPT", 2, None),
        ("save", "IMPROVED", 3, "m3.txt"),
        ("delete", "GAVE_WAY", 3, "m1.txt"),
    ]
    sentences = [decision.sentence for decision in trained.decisions]
    assert sentences[-1].startswith("Epoch 3: ModelCheckpoint deletes m1.txt: loss was 0.5")


def test_nothing_is_said_of_a_model_that_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    Trained(outlast.ModelCheckpoint("m{epoch}.txt", "loss", verbose=1, keep_best=1), [0.5, 0.75])
    assert capsys.readouterr().out == (
        "\nEpoch 1: saving model to m1.txt\n\nEpoch 1: finished saving model to m1.txt\n"
    )


def test_which_models_are_kept_is_part_of_the_state() -> None:
    first = Trained(outlast.ModelCheckpoint("m{epoch}.txt", "loss", keep_best=1), [0.5, 0.75])
    callback = outlast.ModelCheckpoint("n{epoch}.txt", "loss", keep_best=1)
    source = outlast.ModelCheckpoint("m{epoch}.txt", "loss", keep_best=1)
    Trained(source, [0.5, 0.75])
    callback.load_state_dict(json.loads(json.dumps(source.state_dict(), allow_nan=False)))
    assert Trained(callback, [0.25], first.output).files == {"n1.txt": 1, "best.txt": 1}


def test_forgetting_forgets_what_is_kept_too() -> None:
    callback = outlast.ModelCheckpoint("m{epoch}.txt", "loss", keep_best=1)
    Trained(callback, [0.5])
    callback.forget()
    assert callback.state_dict() == outlast.ModelCheckpoint("m.txt", "loss").state_dict()


@pytest.mark.parametrize("setting", [{"keep_best": 0}, {"keep_last": 2.5}, {"keep_best": math.inf}])
def test_a_number_of_models_is_at_least_one(setting: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(setting))):
        outlast.ModelCheckpoint("m{epoch}.txt", **setting)


def test_several_models_need_several_names() -> None:
    with pytest.raises(ArgumentError, match=r"has no field: use one, such as 'model-\{epoch:04d\}.keras'"):
        outlast.ModelCheckpoint("m.txt", keep_best=2)


def test_a_missing_metric_fills_an_empty_place_and_overwrites_nothing() -> None:
    callback = outlast.ModelCheckpoint("m.txt", "loss", save_best_only=True)
    with pytest.warns(OutlastWarning) as said:
        trained = Trained(callback, [None, None, 0.5, None])
    assert trained.files == {"m.txt": 3}
    assert [told[:2] for told in trained.told] == [
        ("save", "NOTHING_SAVED"),
        ("skip", "MISSING"),
        ("save", "FIRST_VALUE"),
        ("skip", "MISSING"),
    ]
    (text,) = [str(warning.message) for warning in said]
    assert text.startswith("Can save best model only with loss available.")
    assert "Available metrics are: " in text and "other" in text


def test_a_metric_with_axes_is_saved_every_epoch() -> None:
    callback = outlast.ModelCheckpoint("m{epoch}.txt", "loss", save_best_only=True)
    with pytest.warns(OutlastWarning, match="only when `monitor` is a scalar value"):
        trained = Trained(callback, [np.zeros(2), np.zeros(2)])
    assert trained.files == {"m1.txt": 1, "m2.txt": 2}
    assert {told[1] for told in trained.told} == {"NOT_SCALAR"}


def test_a_save_that_fails_is_no_decision_that_was_carried_out() -> None:
    class Full(MemoryOutput):
        def publish(self, name: str, save: Any) -> str:
            raise OSError(28, "No space left on device")

    decisions: list[Any] = []
    callbacks = outlast.CallbackList(
        [outlast.ModelCheckpoint("m.txt")], adapter=FakeAdapter(), output=Full(), listen=decisions.append
    )
    callbacks.on_train_begin()
    with pytest.raises(OSError):
        callbacks.on_epoch_end(0, {"val_loss": 0.5})
    assert decisions == []
