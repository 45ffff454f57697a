"""What a run holds costs in a straight line: twice as much, at most twice as many operations."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import outlast
from outlast.cli import main
from outlast.storage.commit import Bundle, Committed, commit
from outlast.storage.disk.calls import Calls
from outlast.storage.logs import Lines
from outlast.testing import FakeAdapter

_SYSTEM_CALLS = {one.__code__ for one in vars(Calls).values() if hasattr(one, "__code__")}
NOT_STRAIGHT = 2.2  # times as many for twice as much: more than what does not grow could hide


def operations(act: Callable[[], object], of: set[Any] | None = None) -> int:
    """How many functions are called, of Python and of C; or how many of those given."""
    counted = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal counted
        if event == "call" if of else event in ("call", "c_call"):
            counted += of is None or frame.f_code in of

    before = sys.getprofile()
    threading.setprofile(count)  # for the writer, too
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(before)
        threading.setprofile(before)
    return counted


class Part:
    """So many arrays."""

    def __init__(self, count: int) -> None:
        self.arrays = {f"layers.{number}.weight": np.full(2, 0.5, np.float32) for number in range(count)}

    def state_dict(self) -> dict[str, Any]:
        return dict(self.arrays)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.arrays = dict(state)


def train(folder: Path, epochs: int = 2, arrays: int = 1, metrics: int = 1, models: int = 1) -> outlast.Run:
    adapter = FakeAdapter({"w": [0.0]})
    callbacks = [
        outlast.CSVLogger(),
        outlast.ModelCheckpoint("models/{epoch}.txt", "loss", keep_last=models),
        outlast.EarlyStopping("loss", patience=100),
    ]
    run = outlast.Run(folder, callbacks, adapter=adapter, part=Part(arrays), check_resume="never")
    for epoch in run.epochs(epochs):
        adapter.weights["w"][0] += 1
        run.log(loss=1 / (epoch + 1), **{f"metric_{number}": 0.5 for number in range(metrics - 1)})
    return run


LOOKS: dict[str, Callable[[Path], object]] = {
    "ls": lambda folder: main(["ls", str(folder.parent)]),
    "show": lambda folder: main(["show", str(folder)]),
    "verify": lambda folder: main(["verify", str(folder)]),
    "open_run": lambda folder: str(outlast.open_run(folder).history),
}

# Few and twice as many of each; beside them are 2 epochs, an array, a metric and a model.
KINDS: dict[str, list[dict[str, int]]] = {
    "arrays": [{"arrays": 200}, {"arrays": 400}],
    "epochs": [{"epochs": 80}, {"epochs": 160}],
    "metrics": [{"metrics": 200}, {"metrics": 400}],
    "models": [{"epochs": 60, "models": 60}, {"epochs": 120, "models": 120}],
}


@pytest.mark.parametrize("kind", KINDS)
def test_twice_as_much_takes_twice_as_many_operations(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: list[dict[str, int]] = []
    for number, options in enumerate(KINDS[kind]):
        place = folder / str(number) / "run"
        train(place, **options)
        some = {name: operations(lambda look=look, at=place: look(at)) for name, look in LOOKS.items()}
        more = {**options, "epochs": options.get("epochs", 2) + 1}
        some["a start and a commit"] = operations(lambda at=place, asked=more: train(at, **asked))
        counts.append(some)
    fewer, more_of_them = counts
    assert {n: count for n, count in more_of_them.items() if count > NOT_STRAIGHT * fewer[n]} == {}


def test_twice_as_many_runs_take_twice_as_many_operations_to_list(folder: Path) -> None:
    counts = []
    for number in range(40):
        train(folder / f"run-{number}")
        if number in (19, 39):
            counts.append(operations(lambda: main(["ls", str(folder)])))
    assert counts[1] <= NOT_STRAIGHT * counts[0]


def commits(folder: Path, lines: int) -> Iterator[int]:
    """The system calls of single commits to a run that has so many lines in its log."""
    log = b'{"epoch": 12345, "loss": 0.5}\n'
    folder.mkdir(parents=True)
    committed = Committed()
    for rows in (lines, 1, 1, 1):
        bundle = Bundle(logs={"rows.jsonl": Lines(log * rows, public=False)})

        def act(bundle: Bundle = bundle) -> None:
            nonlocal committed
            committed = commit(str(folder), committed, bundle, {})

        yield operations(act, _SYSTEM_CALLS)


def test_a_commit_makes_as_many_system_calls_after_many_epochs_as_after_few(folder: Path) -> None:
    assert [*commits(folder / "few", 10)][2:] == [*commits(folder / "many", 50_000)][2:]


def test_operations_that_grow_with_the_square_are_seen() -> None:
    def square(count: int) -> None:
        for _ in range(count):
            list(map(len, ["x"] * count))
            for _ in range(count):
                len("x")

    assert operations(lambda: square(40)) > NOT_STRAIGHT * operations(lambda: square(20))


def test_a_message_does_not_name_thousands_of_metrics(folder: Path) -> None:
    run = outlast.Run(folder, outlast.EarlyStopping("los", mode="min"), adapter=FakeAdapter({"w": [0.0]}))
    with pytest.warns(UserWarning, match="and 971 more") as warned:
        for _ in run.epochs(1):
            run.log({f"metric_{number}": 0.5 for number in range(1000)})
    assert all(len(str(one.message)) < 1000 for one in warned)
