"""Sources of data come to the place where another process was, whatever they are made of."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outlast import Run
from outlast.exceptions import ArgumentError, MissingExtra, UnknownArgument, UsageError
from outlast.frameworks.sources import Source, stream
from outlast.run.batches import checksum
from outlast.run.data import Data
from outlast.testing import FakeAdapter


def source(made_of: Any, steps: int | None = None) -> Any:
    found = stream(made_of, checksum, steps, 2, True)
    found.for_fit = found
    return found


def endless() -> Iterator[int]:
    while True:
        yield random.randrange(1000)


def pairs() -> Iterator[int]:
    yield from (random.randrange(1000) for _ in range(5))


def epochs(data: Data, fetch: Callable[[], Any], count: int, steps: int = 3) -> list[Any]:
    fetched = []
    for _ in range(count):
        data.begin_epoch()
        fetched.append([fetch() for _ in range(steps)])
        data.end_epoch(steps)
    return fetched


@pytest.mark.parametrize("made_of", [endless, pairs, lambda epoch: iter(range(epoch, epoch + 3)), [1, 2, 3]])
def test_another_process_fetches_what_this_one_would_have(made_of: Any) -> None:
    def begun(saved: Any = None) -> tuple[Data, Any]:
        random.seed(0)
        data, first = Data(), source(made_of)
        data.add(first).fetch()  # as a loop looks at the data before
        if saved is not None:
            data.put_back(saved)
        return data, first

    data, first = begun()
    data.begin(3)
    whole = epochs(data, first.fetch, 2)
    saved, state = data.collect(), random.getstate()
    whole += epochs(data, first.fetch, 2)
    data, first = begun(saved)
    random.setstate(state)
    data.begin(3)
    assert random.getstate() == state
    assert data.collect() == saved
    assert epochs(data, first.fetch, 2) == whole[2:]


def test_what_is_fetched_ahead_counts_in_its_own_epoch() -> None:
    data, first = Data(), source(lambda: iter(range(100)))
    data.add(first)
    data.begin(3)
    fetched = [first.fetch() for _ in range(5)]
    batches = [data.end_epoch(3), (first.fetch(), data.end_epoch(3))[1]]
    assert batches == [[checksum(one) for one in fetched[:3]], [checksum(one) for one in (3, 4, 5)]]
    assert data.collect()[0]["taken"] == 6


def test_a_cell_that_runs_again_makes_its_sources_again() -> None:
    data = Data()
    data.add(source([1, 2, 3]))
    data.begin(3)
    data.add(source([1, 2, 3]))
    data.begin(3)
    assert len(data.collect()) == 1


def test_data_without_a_length_or_without_a_batch_are_refused() -> None:
    class Endless(Source):
        num_batches = None

    data, endless = Data(), Endless(checksum)
    endless.for_fit = endless
    data.add(endless)
    with pytest.raises(UsageError, match=r"pass fit\(steps_per_epoch=\.\.\.\), or run.data\(\.\.\., steps="):
        data.begin(None)
    with pytest.raises(UsageError, match="have no batches"):
        source([]).fetch()
    with pytest.raises(ArgumentError, match="cannot be begun again"):
        source(iter([1]))


X, Y = np.zeros((8, 2)), np.zeros((8, 1))
OF_DATA = (
    "run.data() takes a tf.data.Dataset, a keras.utils.PyDataset, a DataLoader or another iterable of "
    "batches, arrays in a tuple, or a function that makes a generator, but got "
)
ROWS = "run.data() takes arrays with the same number of rows, at least one, but got arrays of the shapes "
A_TUPLE = "pass arrays in a tuple, run.data((x, y))"


@pytest.mark.parametrize(
    ("made_of", "told"),
    [
        (
            [X, Y],
            OF_DATA + "a list of arrays: pass a tuple of arrays, run.data((x, y)); in a list of batches",
        ),
        (X, OF_DATA + f"a value of type ndarray: {A_TUPLE} or run.data((x,))."),
        ({"x": X}, OF_DATA + f"a value of type dict: {A_TUPLE}, or a function that makes a generator"),
        ("data.csv", OF_DATA + f"a value of type str: {A_TUPLE}, or a function that makes a generator"),
        (None, OF_DATA + "None."),
        ((X, Y[:3]), ROWS + "(8, 2), (3, 1)."),
        ((X[:0], Y[:0]), ROWS + "(0, 2), (0, 1)."),
        ((X, np.float32(1)), ROWS + "(8, 2), ()."),
        (
            (X, [0.0] * 8),
            "run.data() was given a tuple of arrays with a value of type list in it: convert that",
        ),
        (
            lambda a, b: [],
            "run.data() takes a function of no argument, or of one, the number of generators before, but "
            "<lambda> takes (a, b).",
        ),
    ],
    ids=str,
)
def test_what_is_no_data_is_refused_with_what_to_pass(made_of: Any, told: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Run(None).data(made_of)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["steps", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, "8", 2.5, float("inf"), True])
def test_a_count_that_cannot_be_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        Run(None).data((X, Y), **{name: value})
    hint = " Did you mean 8, without quotes?" if value == "8" else ""
    told = f"{name} of run.data() must be a whole number, at least 1, but is {value!r}.{hint}"
    assert str(caught.value) == told


def test_a_misspelt_argument_and_arrays_without_a_tuple_are_told_what_was_meant() -> None:
    run: Any = Run(None)
    with pytest.raises(
        UnknownArgument, match=r"^run.data\(\) has no argument 'batchsize'. Did you mean 'batch_size'"
    ):
        run.data((X, Y), batchsize=4)
    with pytest.raises(
        ArgumentError, match=r"^run.data\(\) takes one source, but got 2: pass arrays in a tuple"
    ):
        run.data(X, Y)
    with pytest.raises(ArgumentError, match=r"^shuffle of run.data\(\) must be True or False, but is 'no'"):
        run.data((X, Y), shuffle="no")


def test_a_function_that_returns_no_generator_is_named_when_it_is_called() -> None:
    with pytest.raises(ArgumentError, match=r"must return a generator of batches, but returned None\.$"):
        source(lambda: None).fetch()


def test_without_keras_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)  # what Python itself takes for "not there"
    monkeypatch.delitem(sys.modules, "outlast.frameworks.keras_data", raising=False)
    monkeypatch.delattr("outlast.frameworks.keras_data", raising=False)
    with pytest.raises(MissingExtra) as caught:
        Run(None).data((X, Y))
    assert str(caught.value) == (
        'run.data() needs keras, which is not installed: pip install "outlast[keras]"'
    )


def test_without_a_backend_of_keras_the_ways_out_are_named() -> None:
    script = """
import sys
sys.modules["tensorflow"] = None
import outlast
from outlast.frameworks.base import load_file
for use in (lambda: outlast.Run(None).data(lambda: iter([])), lambda: load_file("best.keras")):
    try:
        use()
    except outlast.MissingExtra as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        check=True,
    )
    ways_out = (
        'needs tensorflow, which is not installed: pip install "outlast[tensorflow]", or set KERAS_BACKEND '
        "to a backend that is installed, before Keras is imported"
    )
    assert done.stdout.splitlines() == [f"run.data() {ways_out}", f"Loading best.keras {ways_out}"]


def tensorflow_loop(folder: Path, until: int, *, through_run: bool) -> list[list[int]]:
    """The batches of each epoch in a loop of one's own; left in epoch ``until``."""
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.range(12).shuffle(12, seed=3).batch(4)
    run = Run(folder, adapter=FakeAdapter(), check_resume="never", save_every=2)
    data = run.data(data) if through_run else data
    seen = []
    for epoch in run.epochs(3):
        for index, batch in enumerate(run.batches(data)):
            seen.append(batch.numpy().tolist())
            if (epoch, index) == (until, 2):
                run.flush()
                return seen
    return seen


def test_a_loop_of_ones_own_brings_back_the_order_of_a_tensorflow_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tensorflow_loop(tmp_path / "whole", 3, through_run=True)
    begun = tensorflow_loop(tmp_path / "run", 1, through_run=True)
    assert [*begun[:5], *tensorflow_loop(tmp_path / "run", 3, through_run=True)] == whole
    assert len(whole) == 9
    assert "would not be exact" not in capsys.readouterr().out
    tensorflow_loop(tmp_path / "hidden", 3, through_run=False)
    assert capsys.readouterr().out.count("the order of a tf.data.Dataset, which it shows nobody: before") == 1


def test_tensorflows_batches_are_told_apart_by_what_is_in_them() -> None:
    tf = pytest.importorskip("tensorflow")
    first, second = (tf.constant([[one, 2.0]]) for one in (1.0, 3.0))
    assert checksum((first, second)) == checksum((tf.identity(first), None)) != checksum((second, first))
    assert checksum(tf.constant(["a"])) == checksum(tf.constant(["b"]))  # NumPy has no such type
