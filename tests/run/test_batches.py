"""Batches: the order of an epoch depends on the seed and the epoch alone, and every place is had by index."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.killed import trained

import outlast
from outlast.exceptions import ArgumentError, RunChanged, UnknownArgument
from outlast.testing import FakeAdapter

X = np.arange(10)


def rows(batches: Any) -> list[Any]:
    return [np.asarray(batch).tolist() for batch in batches]


def in_run(run: outlast.Run, epochs: int, around: Any = lambda batches: batches, until: int = -1) -> Any:
    """The rows of each epoch, in a run of a new Batches; left after so many batches."""
    batches, seen = outlast.Batches(X, batch_size=4, seed=5), []
    for epoch in run.epochs(epochs):
        for batch in run.batches(around(batches)):
            rows_of = batch[1] if isinstance(batch, tuple) else batch
            seen.append((epoch, rows_of.tolist()))
            if len(seen) == until:
                run.flush()
                return seen
    return seen


def test_each_pass_is_the_next_epoch_and_each_epoch_has_all_rows_once() -> None:
    batches = outlast.Batches(X, batch_size=4, seed=5)
    passes = [rows(batches) for _ in range(3)]
    assert batches.epoch == 3
    assert [sorted(row for batch in one for row in batch) for one in passes] == [X.tolist()] * 3
    assert [[len(batch) for batch in one] for one in passes] == [[4, 4, 2]] * 3
    assert len({str(one) for one in passes}) == 3


def test_the_order_is_known_for_good() -> None:
    batches = outlast.Batches(X, batch_size=10, seed=5)
    assert [rows(batches.at(epoch)) for epoch in (0, 7)] == [
        [[7, 8, 4, 3, 5, 6, 2, 0, 1, 9]],
        [[6, 9, 4, 1, 5, 0, 8, 3, 7, 2]],
    ]


def test_a_place_can_be_set() -> None:
    batches = outlast.Batches(X, batch_size=4, seed=5)
    whole = rows(batches.at(3))
    batches.epoch = 3
    assert rows(batches) == whole
    assert rows(batches.at(epoch=3, batch=2)) == whole[2:]
    other = outlast.Batches(X, batch_size=4, seed=5)
    other.load_state_dict({"epoch": 3})
    assert rows(other) == whole
    assert other.state_dict() == {"epoch": 4}


def test_rows_in_their_own_order_and_without_a_short_last_batch() -> None:
    assert rows(outlast.Batches(X, batch_size=4, shuffle=False)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    short = outlast.Batches(X, batch_size=4, shuffle=False, drop_last=True)
    assert (rows(short), len(short)) == ([[0, 1, 2, 3], [4, 5, 6, 7]], 2)


def test_a_batch_is_a_copy() -> None:
    data = np.arange(4)
    for batch in outlast.Batches(data, shuffle=False):
        batch += 1
    assert data.tolist() == [0, 1, 2, 3]


def array(kind: str, folder: Path) -> Any:
    if kind == "memmap":
        made = np.memmap(folder, np.int32, "w+", shape=(10,))
        made[:] = X
        return made
    if kind == "numpy":
        return X.astype(np.int32)
    if kind == "torch":
        return pytest.importorskip("torch").tensor(X.astype(np.int32))
    return pytest.importorskip("jax.numpy").asarray(X.astype(np.int32))


@pytest.mark.parametrize("kind", ["numpy", "memmap", "jax", "torch"])
def test_arrays_of_any_kind_have_the_same_order(kind: str, folder: Path) -> None:
    made = array(kind, folder)
    given = [*outlast.Batches(made, batch_size=4, seed=5)]
    assert rows(given) == rows(outlast.Batches(X, batch_size=4, seed=5))
    assert all(type(one) is (np.ndarray if kind == "memmap" else type(made)) for one in given)


def test_batches_have_the_form_of_what_was_given() -> None:
    Pair = namedtuple("Pair", "left right")
    batch = next(iter(outlast.Batches({"a": X, "b": (X, X)}, Pair(X, X), shuffle=False)))
    assert isinstance(batch, tuple) and isinstance(batch[1], Pair)
    assert batch[0]["b"][1].tolist() == X.tolist()


@pytest.mark.parametrize(
    ("arrays", "options", "told"),
    [
        (([1, 2],), {}, "got a list: np.asarray"),
        ((), {}, "got none"),
        ((X, 32), {}, "got 32: a number has a name, such as batch_size=32"),
        ((iter([X]),), {}, "got an iterator: arrays are needed here"),
        ((X, X[:3]), {}, r"same number of rows, at least one, but got the shapes \(10,\), \(3,\)"),
        ((X[:0],), {}, "at least one"),
        (({},), {}, "none at all"),
        ((np.array(3),), {}, "with rows, but got a single number"),
        ((X,), {"batch_size": 0}, "batch_size of Batches must be a whole number, at least 1"),
        ((X,), {"batch_size": float("inf")}, "whole number"),
        ((X,), {"seed": -1}, "seed of Batches must be a whole number, at least 0"),
        ((X,), {"shuffle": "no"}, "shuffle of Batches must be True or False"),
        ((X,), {"batch_size": 11, "drop_last": True}, "Take a smaller batch_size, or drop_last=False"),
    ],
)
def test_what_cannot_work_is_refused_with_a_way_out(arrays: Any, options: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        outlast.Batches(*arrays, **options)


def test_a_misspelt_argument_is_told_what_was_meant() -> None:
    made: Any = outlast.Batches
    told = r"^Batches has no argument 'batchsize'. Did you mean 'batch_size'\? It takes arrays, then: batch_"
    with pytest.raises(UnknownArgument, match=told):
        made(X, batchsize=3)


class Rows:
    """A dataset of one's own."""

    def __getitem__(self, index: int) -> Any:
        return X[index]

    def __len__(self) -> int:
        return len(X)


def loader_of(kind: str) -> Any:
    if kind == "tensorflow":
        return pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices(X)
    if kind == "keras":
        return pytest.importorskip("keras").utils.PyDataset()
    if kind == "rows":
        return Rows()
    data = pytest.importorskip("torch").utils.data
    tensors = data.TensorDataset(pytest.importorskip("torch").ones(4))
    return {"tensors": tensors, "subset": data.Subset(tensors, [0]), "loader": data.DataLoader(tensors)}[kind]


GIVES = r"which gives {}.*run.batches\(loader\) in a loop of your own, or to Keras's fit"
BATCHES, ONE = (
    GIVES.format(what) for what in ("batches itself: pass it as it is", "one row at a time: put it")
)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("loader", f"a DataLoader, {BATCHES}"),
        ("tensorflow", BATCHES),
        ("keras", f"a PyDataset, {BATCHES}"),
        ("tensors", r"outlast\.Batches\(\*dataset\.tensors\)"),
        ("subset", f"a Subset, {ONE}"),
        ("rows", f"a Rows, {ONE}"),
    ],
)
def test_a_loader_and_a_dataset_are_told_where_they_belong(kind: str, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        outlast.Batches(loader_of(kind))


def test_a_batch_that_is_not_there_is_refused() -> None:
    batches = outlast.Batches(X, batch_size=4)
    assert rows(batches.at(epoch=0, batch=3)) == []
    told = "batch of Batches must be at most 3, since an epoch has 3 batches, counted from 0, but is 99"
    with pytest.raises(ArgumentError, match=told):
        batches.at(epoch=0, batch=99)


class Odd:
    """Something with a shape that gives one row, whatever is asked for."""

    shape = (3, 2)

    def __getitem__(self, index: Any) -> Any:
        return np.zeros(2)


class Failing(Odd):
    def __getitem__(self, index: Any) -> Any:
        raise KeyError(0)


@pytest.mark.parametrize("kind", [Odd, Failing])
def test_what_gives_no_rows_by_their_indices_is_refused(kind: Any) -> None:
    with pytest.raises(ArgumentError, match=r"convert it first, np.asarray\(x\)"):
        outlast.Batches(kind())


@pytest.mark.parametrize("around", [lambda batches: batches, enumerate], ids=["plain", "enumerate"])
@pytest.mark.parametrize("every", [1, "epoch"], ids=str)
def test_a_resumed_run_has_the_batches_that_were_left(folder: Path, around: Any, every: Any) -> None:
    def run(name: str) -> outlast.Run:
        return outlast.Run(folder / name, adapter=FakeAdapter(), save_every=every, check_resume="never")

    whole = in_run(run("whole"), 3, around)
    left = in_run(run("left"), 3, around, until=5)
    again = in_run(run("left"), 3, around)
    assert whole == [*left[: len(whole) - len(again)], *again]
    assert len(again) == (5 if every == 1 else 6)  # the one at hand was not saved


def test_skipped_batches_are_not_made(folder: Path) -> None:
    taken = 0

    class Counted(Odd):
        shape = (10,)

        def __getitem__(self, index: Any) -> Any:
            nonlocal taken
            taken += 1
            return X[index]

    def train(until: int | None) -> int:
        run = outlast.Run(folder, adapter=FakeAdapter(), save_every=1, check_resume="never")
        batches = outlast.Batches(Counted(), batch_size=1)
        before = taken
        for _ in run.epochs(1):
            for batch, _ in enumerate(run.batches(batches)):
                if batch == until:
                    run.flush()
                    return 0
        return taken - before

    train(7)
    assert train(None) == 3


def test_every_pass_in_an_epoch_of_a_run_is_that_epochs() -> None:
    run = outlast.Run(None, adapter=FakeAdapter())
    batches = outlast.Batches(X, batch_size=4, seed=5)
    for epoch in run.epochs(2):
        for seen in (rows(run.validation(batches)), rows(batches), rows(x for _, x in enumerate(batches))):
            assert seen == rows(batches.at(epoch))
    assert rows(batches) == rows(batches.at(2))


def test_a_run_inside_an_epoch_of_another_says_its_own_epoch() -> None:
    outer, inner = (outlast.Run(None, adapter=FakeAdapter()) for _ in range(2))
    batches = outlast.Batches(X, batch_size=4, seed=5)
    for epoch in outer.epochs(2):
        for of_inner in inner.epochs(2):
            assert rows(batches) == rows(batches.at(of_inner))
        assert rows(batches) == rows(batches.at(epoch))


@pytest.mark.parametrize("changed", [{"seed": 6}, {"batch_size": 5}], ids=str)
def test_another_seed_or_batch_size_is_refused(folder: Path, changed: dict[str, Any]) -> None:
    def train(epochs: int, **options: Any) -> None:
        run = outlast.Run(folder, adapter=FakeAdapter())
        for _ in run.epochs(epochs):
            for _ in run.batches(outlast.Batches(X, **{"batch_size": 4, "seed": 5, **options})):
                pass

    train(1)
    train(2)
    with pytest.raises(RunChanged, match="changed from"):
        train(3, **changed)


KILLED = """
until = int(sys.argv[2])
x = np.linspace(-1, 1, 280, dtype=np.float32).reshape(70, 4)
batches = outlast.Batches(torch.from_numpy(x), x.sum(1), batch_size=10, seed=3)
run = outlast.Run(folder, outlast.CSVLogger(), model=model, optimizer=optimizer, save_every=1)
for epoch in run.epochs(3):
    for x, y in run.batches(batches):
        x = x + torch.randn(4) * random.random() * np.random.rand()
        train(((model(x)[:, 0] - torch.from_numpy(y)) ** 2).mean(), x.numpy(), y)
    assert epoch == batches.epoch - 1
tell()
"""


@pytest.mark.parametrize("places", [[0], [6], [3, 2, 1], [9, 0, 0]], ids=str)
def test_a_run_killed_at_any_batch_is_as_one_that_was_not(folder: Path, places: list[int]) -> None:
    pytest.importorskip("torch")
    whole = trained(KILLED, folder / "whole", -1, killed=False)
    for place in places:
        trained(KILLED, folder / "left", place, killed=True)
    assert trained(KILLED, folder / "left", -1, killed=False) == whole
