"""The public doubles behave as what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import outlast
from outlast.frameworks.base import Adapter
from outlast.storage.output import LooseOutput
from outlast.testing import FakeAdapter, FakeClock, MemoryOutput, drive


class Text:
    """A model that is written as a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def write(self, path: str) -> None:
        self.capture()(path)

    def capture(self) -> Callable[[str], object]:
        text = self.text
        return lambda path: Path(path).write_text(text)


@pytest.mark.parametrize("output", [MemoryOutput(), LooseOutput()], ids=lambda output: type(output).__name__)
def test_files_in_a_dict_are_like_files_on_the_disk(output: Any) -> None:
    output.prepare("a.txt")
    assert not output.exists("a.txt")
    assert output.read("a.txt") is None
    output.append("a.txt", b"1\n")
    output.append("a.txt", b"2\n")
    assert output.read("a.txt") == b"1\n2\n"
    output.replace("a.txt", b"3\n")
    assert output.exists("a.txt")
    assert output.read("a.txt") == b"3\n"
    assert output.publish("m.txt", Text("old")) == "m.txt"
    assert output.publish("m.txt", Text("new")) == "m.txt"
    output.copy("m.txt", "best.txt")
    output.publish("m.txt", Text("newer"))
    assert (output.read("m.txt"), output.read("best.txt")) == (b"newer", b"new")
    output.remove("m.txt")
    output.remove("m.txt")
    assert not output.exists("m.txt")
    assert output.read("best.txt") == b"new"


def test_what_a_fake_keeps_is_not_changed_afterwards() -> None:
    adapter = FakeAdapter({"w": [1.0]})
    snapshot, write = adapter.copy_weights(), adapter.saving(False).capture()
    adapter.weights["w"][0] = 2.0
    assert snapshot.weights == {"w": [1.0]}
    write("w.txt")
    assert Path("w.txt").read_text() == "{'w': [1.0]}"
    adapter.restore_weights(snapshot)
    adapter.weights["w"][0] = 3.0
    assert snapshot.weights == {"w": [1.0]}
    assert adapter.weights_from_arrays(adapter.weights_to_arrays(snapshot)) == snapshot


def test_a_fake_clock_goes_on_by_its_step() -> None:
    clock = FakeClock()
    assert [clock(), clock(), clock()] == [0.0, 1.0, 2.0]


def test_drive_ends_with_the_logs_or_when_it_is_stopped() -> None:
    history = drive(outlast.History(), [{"loss": 0.5}, None, {"loss": 0.25}])
    assert (history.epoch, history.history) == ([0, 1, 2], {"loss": [0.5, 0.25]})
    adapter = Adapter()
    drive(outlast.EarlyStopping("loss"), [{"loss": 0.5}] * 9, adapter=adapter)
    assert adapter.stop_reason is not None and adapter.stop_reason.startswith("Epoch 2: ")


def test_drive_leaves_the_logs_that_it_is_given_alone() -> None:
    logs = {"loss": 0.5}
    drive(outlast.ReduceLROnPlateau("loss"), [logs], adapter=FakeAdapter())
    assert logs == {"loss": 0.5}


def test_drive_tells_the_parameters() -> None:
    assert drive(outlast.History(), [{}], epochs=7).params == {"epochs": 7}
