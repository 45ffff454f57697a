"""Two states are compared by names that people know, the likely cause first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.run.training import start
from torch.utils.data import DataLoader

from outlast import Callback, EarlyStopping
from outlast.core.run_state import RunState
from outlast.run.comparison import _kind, by_how_much, differences, leaves, unlike
from outlast.run.resume_check import compared
from outlast.storage import resume_points
from outlast.storage.format import layout
from outlast.storage.format.dtypes import Bits


def test_a_difference_in_an_array_names_the_array_and_says_what_became_of_it() -> None:
    def told(before: Any, now: Any) -> tuple[str, str, str]:
        trees = [{"training": before}, {"training": now}]
        first, *_ = differences(*map(leaves, trees))
        return first.kind.name, first.name, by_how_much(*trees, first.name)

    one, name = np.ones((1, 4), "float32"), "state/training/gradients/w"
    gone = "an array float32 (1, 4) was saved, and there is nothing now"
    assert told({"gradients": {"w": one}}, {"gradients": {}}) == ("carried gradients", name, gone)
    new = "nothing was saved, and it is an array float32 (1, 4) now"
    assert told({"gradients": {}}, {"gradients": {"w": one}}) == ("carried gradients", name, new)
    more = "3 of 4 numbers differ, by up to 2"
    other = np.array([[1, 2, 3, 2]], "float32")
    assert told({"model": {"w": one}}, {"model": {"w": other}})[1:] == ("state/training/model/w", more)
    text = "an array float32 (1, 4) was saved, and it is 'b' now"
    assert told({"model": {"w": one}}, {"model": {"w": "b"}})[1:] == ("state/training/model/w", text)
    assert told({"a": b"one"}, {"a": np.frombuffer(b"one", "uint8")})[0] == "the weights"


def test_weights_that_differ_are_named_before_the_gradients_that_come_of_it() -> None:
    before = {"training": {"gradients": {"w": np.ones(1)}, "model": {"w": np.ones(1)}}}
    now = {"training": {"gradients": {}, "model": {"w": np.zeros(1)}}}
    names = [one.kind.name for one in differences(leaves(before), leaves(now))]
    assert names == ["the weights", "carried gradients"]


def test_every_value_that_is_compared_is_of_a_kind(folder: Path) -> None:
    class Counting(Callback):
        def __init__(self) -> None:
            self.seen = [0]

    run = start(folder, [EarlyStopping(patience=9), Counting()], generator=torch.Generator())
    for epoch in run.epochs(3):
        for _ in run.batches(DataLoader(range(4), generator=torch.Generator())):  # type: ignore[arg-type]
            run.log(loss=1.0)
        run.extra["epoch"] = epoch
        run.log(val_loss=1.0 / (epoch + 1))
    point = resume_points.load(str(folder), 3)
    lines = {layout.ROWS: b'{"epoch":0,"loss":1.0}\n', layout.JOURNAL: b""}
    names = leaves(compared(RunState.from_state(point.state), lines))
    assert [name for name in names if _kind(name) is None] == []


def test_bits_are_the_array_of_the_type_that_has_them() -> None:
    import ml_dtypes

    array = np.arange(5).astype(ml_dtypes.bfloat16)
    bits = Bits("bfloat16", array.view(np.uint16))
    assert unlike({"a": bits}, {"a": array}) == []
    assert unlike({"a": bits}, {"a": array + 1}) != []
    assert unlike({"a": bits}, {"a": array.view(np.uint16)}) != []
    assert unlike({"a": np.arange(3.0)}, {"a": np.arange(3.0).astype(">f8")}) != []
    assert unlike({"a": np.array([np.nan, 1j])}, {"a": np.array([np.nan, 1j])}) == []
