"""What a run accepts, its reader reads again: what it cannot read is refused by name where it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outlast
from outlast.exceptions import ArgumentError
from outlast.testing import FakeAdapter


def run_in(folder: Path, *callbacks: outlast.Callback, **options: Any) -> outlast.Run:
    return outlast.Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0]}), **options)


@pytest.mark.parametrize("key", [1, None, (1, 2), 0.5, b"x"])
def test_extra_takes_any_key(folder: Path, key: Any) -> None:
    run = run_in(folder)
    for _ in run.epochs(2):
        run.extra[key] = 2
    assert outlast.open_run(folder).extra == {key: 2}
    assert run_in(folder).extra == {key: 2}


def test_arrays_and_bytes_in_extra_are_read_back(folder: Path) -> None:
    run = run_in(folder)
    for _ in run.epochs(1):
        run.extra.update(table=np.eye(2), raw=b"xyz", inner=[np.float32(0.5)])
    found = outlast.open_run(folder).extra
    assert found["table"].tolist() == [[1, 0], [0, 1]]
    assert (found["raw"], found["inner"]) == (b"xyz", [np.float32(0.5)])


class Own(outlast.Callback):
    """One with a state of any kind."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state: Any = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


@pytest.mark.parametrize("state", [{1: 2}, [1, 2], None, 3, "text", b"bytes"])
def test_a_callback_may_have_a_state_of_any_kind(folder: Path, state: Any) -> None:
    run = run_in(folder, Own(state))
    for _ in run.epochs(1):
        pass
    again = Own(None)
    for _ in run_in(folder, again).epochs(2):
        pass
    assert again.state == state
    assert outlast.open_run(folder).finished


def test_a_seed_is_a_whole_number(folder: Path) -> None:
    run = run_in(folder, seed=np.int64(3))  # type: ignore[arg-type]
    for _ in run.epochs(1):
        pass
    assert outlast.open_run(folder).settings["seed"] == 3
    with pytest.raises(ArgumentError, match=r"seed must be a whole number, but is \(1, 2\)"):
        run_in(folder.with_name("other"), seed=(1, 2))  # type: ignore[arg-type]


def test_a_metric_of_too_many_values_is_refused_in_its_epoch(folder: Path) -> None:
    run = run_in(folder)
    with pytest.raises(ArgumentError, match=r"2,000,000 values are the limit; it holds .*losses"):
        for epoch in run.epochs(2):
            run.log(losses=np.zeros(2_500_000, np.int8) if epoch else np.zeros(3))
    assert len(outlast.open_run(folder).history.epochs) == 1


def test_results_of_too_many_values_are_refused_and_those_before_stay(folder: Path) -> None:
    run = run_in(folder)
    for _ in run.epochs(1):
        pass
    run.log(small=1.0)
    with pytest.raises(ArgumentError, match="2,000,000 values"):
        run.log(confusion=np.zeros((1500, 1500)))
    assert outlast.open_run(folder).results == {"small": 1.0}
    assert run.results == {"small": 1.0}


def test_a_very_long_command_is_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "," * 2_100_000])
    for _ in run_in(folder).epochs(1):
        pass
    assert (folder / "run.json").stat().st_size < 10_000
