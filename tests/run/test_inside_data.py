"""Runs that are saved inside an epoch: data that draw random numbers, and what comes after the batches."""

from __future__ import annotations

import collections
import copy
import enum
import functools
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.killed import trained

import outlast
from outlast.testing import FakeAdapter

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, Dataset, IterableDataset  # noqa: E402

BATCHES = 6


def train(
    folder: Path,
    data: Callable[[], Any],
    until: int | None = None,
    *,
    every: Any = 2,
    behind: Callable[[outlast.Run, int], object] = lambda run, epoch: None,
    **options: Any,
) -> Any:
    """The losses, and every batch that came; None if the training was left after so many batches."""
    torch.manual_seed(3)
    adapter = FakeAdapter({"w": [0.0]})
    run = outlast.Run(folder, adapter=adapter, save_every=every, **options)
    loader, done = data(), 0
    for epoch in run.epochs(2):
        for batch in run.batches(loader() if callable(loader) else loader):
            drawn = float(torch.rand(()))
            adapter.weights["w"][0] += total(batch) * drawn
            run.log(loss=adapter.weights["w"][0])
            done += 1
            if done == until:
                run.flush()
                return None
        behind(run, epoch)
        run.extra["epochs"] = run.extra.get("epochs", 0) + 1
    return [*run.history["loss"], adapter.weights["w"][0], run.extra["epochs"]]


def total(batch: Any) -> float:
    return sum(map(total, batch)) if isinstance(batch, (list, tuple)) else float(batch.sum())


class Own(Dataset[Any]):
    """Draws from a generator in an attribute."""

    def __init__(self, kind: str) -> None:
        self.rng: Any = np.random.default_rng(1)
        if kind == "torch":
            self.rng = torch.Generator().manual_seed(1)
        elif kind == "python":
            self.rng = random.Random(1)

    def __len__(self) -> int:
        return 4 * BATCHES

    def __getitem__(self, index: int) -> Any:
        drawn = (
            torch.rand((), generator=self.rng) if isinstance(self.rng, torch.Generator) else self.rng.random()
        )
        return torch.tensor([float(index) + float(drawn)])


class Buffered(IterableDataset[Any]):
    """Draws from the generator that the training draws from."""

    def __iter__(self) -> Iterator[Any]:
        for index in range(4 * BATCHES):
            yield torch.tensor([index + float(torch.rand(()))])


@pytest.mark.parametrize("check", ["never", "always"])
@pytest.mark.parametrize("kind", ["numpy", "python", "torch"])
def test_a_generator_of_the_dataset_is_where_it_was(
    folder: Path, kind: str, check: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def data() -> Any:
        return DataLoader(Own(kind), 4, shuffle=True)

    whole = train(folder / "whole", data, every="epoch")
    for until in (5, 4, 6):
        train(folder / "left", data, until, check_resume=check)
    assert train(folder / "left", data, check_resume=check) == whole
    assert "not identical" not in capsys.readouterr().out


class Counted:
    """A transform, a collate function or a part of either whose result depends on how often it was called."""

    def __init__(self) -> None:
        self.calls, self.noisy = 0, True

    def __call__(self, item: Any) -> Any:
        self.calls += 1
        return item * (1 + self.calls / 100 + (torch.rand(1) if self.noisy and self.calls > 9 else 0))


class Transformed(Dataset[Any]):
    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 4 * BATCHES

    def __getitem__(self, index: int) -> Any:
        return self.transform(torch.tensor([float(index)]))


class Batcher:
    """Collates by a method."""

    def __init__(self) -> None:
        self.counted, self.batches = Counted(), 0

    def __call__(self, items: Any) -> Any:
        self.batches += 1
        return self.counted(torch.stack([*items]) * self.batches)


def collating(items: Any, counted: Any) -> Any:
    return counted(torch.stack([*items]))


def counting_by(start: int) -> Any:
    """A function that counts its calls in a variable of this one."""
    calls = start

    def counted(item: Any) -> Any:
        nonlocal calls
        calls += 1
        return (torch.stack(item) if isinstance(item, list) else item) * (1 + calls / 100)

    return counted


def counting_inside(start: int) -> Any:
    """The same by a function in that function."""
    calls = start

    def counted(item: Any) -> Any:
        def count() -> int:
            nonlocal calls
            calls += 1
            return calls

        return (torch.stack(item) if isinstance(item, list) else item) * (1 + count() / 100)

    return counted


def listing() -> Any:
    """The same in a list."""
    calls = [0]

    def counted(item: Any) -> Any:
        calls[0] += 1
        return item * (1 + calls[0] / 100)

    return counted


def drawing() -> Any:
    """A function that draws from a generator in a variable of this one."""
    rng = np.random.default_rng(3)
    return lambda item: item * (1 + rng.random())


def counting(kind: str) -> Any:
    """A loader with a counter in such a place."""
    counted, plain = Counted(), [torch.tensor([float(one)]) for one in range(4 * BATCHES)]
    data: Any = Transformed(counted)
    if kind == "split":
        data = torch.utils.data.random_split(data, [4 * BATCHES - 4, 4])[0]
    elif kind == "concatenated":
        data = torch.utils.data.ConcatDataset([torch.utils.data.Subset(data, range(8)), plain[:12]])
    elif kind == "composed":
        data.transform = type("Compose", (), {"__call__": lambda self, item: self.steps[0](item)})()
        data.transform.steps = [counted]
    elif kind in ("function", "inner function", "list", "drawing"):
        made = {"function": lambda: counting_by(0), "list": listing, "drawing": drawing}
        data.transform = made.get(kind, lambda: counting_inside(0))()
    collate = {
        "collating function": counting_by(0),
        "collate": Batcher(),
        "method": Batcher().__call__,
        "partial": functools.partial(collating, counted=counted),
    }.get(kind)
    return DataLoader(data if collate is None else plain, 4, shuffle=True, collate_fn=collate)


class Kept(Dataset[Any]):
    """Counts its items in an attribute of some kind, on which each depends."""

    def __init__(self, kept: Any) -> None:
        self.kept, self.kind = kept, type(kept)
        self.seed, self.phase = 3**90, Phase.FULL  # which no JSON and no resume point has as they are

    def __len__(self) -> int:
        return 4 * BATCHES

    def __getitem__(self, index: int) -> Any:
        assert type(self.kept) is self.kind
        key = index % 3
        if isinstance(self.kept, collections.OrderedDict):
            self.kept[key] = self.kept.pop(key, 0) + 1
            self.kept.move_to_end(key, last=False)
        elif isinstance(self.kept, dict):
            self.kept[key] += 1
        elif getattr(self.kept, "ndim", 0):
            with torch.no_grad():
                self.kept = self.kept + 1
        else:
            self.kept += 1
        kept = [*self.kept.values()] if isinstance(self.kept, dict) else self.kept
        return torch.tensor([float(np.sum(np.asarray(kept)) + index)])


class Phase(enum.IntEnum):
    FULL = 1


def written_nowhere(kind: str) -> Any:
    """An array that nobody may write into."""
    if kind == "read only":
        return np.frombuffer(bytes(16))
    return torch.zeros(1).expand(3)


KEPT: dict[str, Callable[[], Any]] = {
    "Counter": lambda: collections.Counter(),
    "defaultdict": lambda: collections.defaultdict(int),
    "OrderedDict": lambda: collections.OrderedDict(),
    "int64": lambda: np.int64(0),
    "float32": lambda: np.float32(0),
    "uint32": lambda: np.zeros(2, "uint32"),
    "read only": lambda: written_nowhere("read only"),
    "expanded": lambda: written_nowhere("expanded"),
}


@pytest.mark.parametrize("kind", KEPT)
def test_whatever_a_dataset_counts_in_is_where_it_was_and_of_its_type(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def loader() -> Any:
        return DataLoader(Kept(KEPT[kind]()), 4, shuffle=True)

    whole = train(folder / "whole", loader, every="epoch")
    for until in (5, 4):
        train(folder / "left", loader, until)
    assert train(folder / "left", loader) == whole
    assert "exact" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", KEPT)
def test_a_validation_through_the_same_loader_leaves_its_counts_as_they_were(folder: Path, kind: str) -> None:
    data = Kept(KEPT[kind]())
    loader = DataLoader(data, 4)
    run = outlast.Run(folder, adapter=FakeAdapter({"w": [0.0]}))
    for _ in run.epochs(1):
        for number, _ in enumerate(run.batches(loader)):
            before = copy.deepcopy(data.kept)
            if number == 0:
                for held_out in run.validation(loader):
                    run.log(loss=held_out.sum())
                assert type(data.kept) is type(before)
                assert str(data.kept) == str(before)


@pytest.mark.parametrize("check", ["never", "always"])
@pytest.mark.parametrize(
    "kind",
    [
        *("transform", "split", "concatenated", "composed", "collate", "method", "partial"),
        *("function", "inner function", "list", "drawing", "collating function"),
    ],
)
def test_a_counter_in_what_data_hold_is_where_it_was(
    folder: Path, kind: str, check: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(folder / "whole", lambda: counting(kind), every="epoch")
    for until in (5, 4):
        train(folder / "left", lambda: counting(kind), until, check_resume=check)
    assert train(folder / "left", lambda: counting(kind), check_resume=check) == whole
    assert "exact" not in capsys.readouterr().out


def test_what_the_script_sets_in_a_transform_for_a_validation_it_sets_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(place: Path, until: int | None = None) -> Any:
        torch.manual_seed(3)
        adapter, counted = FakeAdapter({"w": [0.0]}), Counted()
        loader, done = DataLoader(Transformed(counted), 4, shuffle=True), 0
        run = outlast.Run(place, adapter=adapter, save_every=2, check_resume="never")
        for _ in run.epochs(3):
            counted.noisy = True
            for batch in run.batches(loader):
                adapter.weights["w"][0] += total(batch)
                done += 1
                if done == until:
                    return run.flush()
            counted.noisy = False
            for batch in run.validation(loader):
                run.log(loss=total(batch))
        return [*run.history["val_loss"], adapter.weights["w"][0]]

    whole = trained(folder / "whole")
    for until in (BATCHES + 1, BATCHES - 1):
        trained(folder / "left", until)
    assert trained(folder / "left") == whole
    assert "exact" not in capsys.readouterr().out


@pytest.mark.parametrize("until", [2 * BATCHES + 1, 3 * BATCHES + 5])
def test_a_loader_that_each_epoch_makes_with_a_seed_of_its_own_is_as_it_makes_it(
    folder: Path, until: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its dataset, which it makes once, is where it was."""

    def trained(place: Path, until: int | None = None) -> Any:
        adapter, data, done = FakeAdapter({"w": [0.0]}), Transformed(Counted()), 0
        torch.manual_seed(3)
        run = outlast.Run(place, adapter=adapter, check_resume="always")
        for epoch in run.epochs(4):
            generator = torch.Generator().manual_seed(100 + epoch)
            loader = DataLoader(data, 4, shuffle=True, generator=generator)
            for batch in run.batches(loader):
                adapter.weights["w"][0] += total(batch) * (run.step % 3)
                done += 1
                if done == until:
                    return run.flush()
        return adapter.weights["w"][0]

    whole = trained(folder / "whole")
    trained(folder / "left", until)
    assert trained(folder / "left") == whole
    assert "identical" not in capsys.readouterr().out.replace("check: identical", "")


def test_batches_that_are_others_when_they_are_loaded_again_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stream() -> Any:
        return DataLoader(Buffered(), 4)

    train(folder / "left", stream, 5, check_resume="never")
    capsys.readouterr()
    train(folder / "left", stream, check_resume="never")
    assert "may not be exact: 3 of the batches that were trained are others" in capsys.readouterr().out


class Noisy(Dataset[Any]):
    """Draws from the generator that the training draws from."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def __len__(self) -> int:
        return 4 * BATCHES

    def __getitem__(self, index: int) -> Any:
        return index + self.shift + torch.rand(1)


class Pass:
    """A pass through a :class:`Keeping`."""

    def __init__(self, loader: Any) -> None:
        self.rng, self._rest = loader.sampler.generator, DataLoader.__iter__(loader)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return next(self._rest)


class Keeping(DataLoader[Any]):
    """Keeps the iterator of its pass, which holds the sampler's generator, as torchdata's StatefulDataLoader.

    PyTorch forbids to set its ``batch_size``, as that of any subclass.
    """

    def __iter__(self) -> Any:
        self._iterator: Any = Pass(self)
        return self._iterator


def keeping(shift: float = 0.0) -> Any:
    data = Noisy(shift)
    return Keeping(data, 4, sampler=torch.utils.data.RandomSampler(data, generator=torch.Generator()))


@pytest.mark.parametrize("check", ["never", "always"])
def test_a_loader_that_forbids_to_be_set_and_keeps_its_iterator_goes_on(
    folder: Path, check: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(folder / "whole", keeping)
    for until in (3, 7, 4):
        train(folder / "left", keeping, until, check_resume=check)
    assert train(folder / "left", keeping, check_resume=check) == whole
    out = capsys.readouterr().out
    assert "are others" not in out and "not identical" not in out


def test_an_order_of_a_loader_that_keeps_its_iterator_goes_on_between_epochs(folder: Path) -> None:
    def trained(epochs: int) -> Any:
        torch.manual_seed(3)
        adapter, loader = FakeAdapter({"w": [0.0]}), keeping()
        run = outlast.Run(folder / f"{epochs}", adapter=adapter)
        for _ in run.epochs(epochs):
            for number, batch in enumerate(run.batches(loader)):
                run.log(total=number * total(batch))
        return run

    whole = [*trained(4).history["total"]]
    trained(3)
    (folder / "3").rename(folder / "left")
    (folder / "4").rename(folder / "whole")
    (folder / "left").rename(folder / "4")
    assert [*trained(4).history["total"]] == whole


def test_other_data_of_a_loader_of_ones_own_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(folder / "left", keeping, 3, check_resume="never")
    train(folder / "left", lambda: keeping(1.0), 5, check_resume="never")
    assert "2 of the batches that were trained are others" in capsys.readouterr().out


def test_the_second_of_two_loaders_side_by_side_is_looked_at_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def again(loader: Any) -> Iterator[Any]:
        while True:
            yield from loader

    def side_by_side() -> Any:
        short = DataLoader([[torch.tensor(float(one))] for one in range(8)], 4, shuffle=True)
        other = DataLoader([[torch.tensor(float(one))] for one in range(4 * BATCHES)], 4)
        return lambda: zip(other, again(short), strict=False)

    train(folder / "left", side_by_side, 5, check_resume="never")
    capsys.readouterr()
    train(folder / "left", side_by_side, check_resume="never")
    assert "of the batches that were trained are others" in capsys.readouterr().out


@pytest.mark.parametrize("in_validation", [False, True])
def test_a_signal_behind_the_batches_lets_the_epoch_end_and_saves_it(
    folder: Path, in_validation: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def data() -> Any:
        return DataLoader(Own("numpy"), 4, shuffle=True)

    def behind(run: outlast.Run, epoch: int) -> None:
        for _ in run.validation(range(3)) if in_validation else [0]:
            if sends:
                sends.clear()
                os.kill(os.getpid(), signal.SIGTERM)

    sends: list[bool] = []
    whole = train(folder / "whole", data, behind=behind)
    sends.append(True)
    with pytest.raises(SystemExit):
        train(folder / "left", data, every=4, behind=behind)
    assert (
        "ended after epoch 1, which is saved. The same command goes on with epoch 2"
        in capsys.readouterr().out
    )
    assert train(folder / "left", data, every=4, behind=behind) == whole


def test_the_last_batch_of_an_epoch_has_no_resume_point_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So a check has batches to train again."""

    def data() -> Any:
        return DataLoader(Own("numpy"), 4, shuffle=True)

    train(folder / "left", data, BATCHES + 1, every=3)
    run = outlast.open_run(folder / "left")
    assert run.committed == (0, None)
    train(folder / "left", data, every=3)
    assert "(epoch 1 from batch 4 on trained again as a check: identical)" in capsys.readouterr().out


def test_a_check_without_a_batch_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def data() -> Any:
        return lambda: iter(torch.arange(6.0).split(1))  # nobody knows how many there are

    train(folder / "left", data, BATCHES + 1, every=3)
    train(folder / "left", data, every=3)
    assert "not checked: no batch is between the last two resume points" in capsys.readouterr().out


PLACES = """
import itertools
until = int(sys.argv[2])


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        for index in range(70):
            if until and next(taken) == until:
                run.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            yield torch.full((4,), float(index)) + torch.randn(4)


taken = itertools.count(1)
loader = torch.utils.data.DataLoader(Stream(), batch_size=10)
run = outlast.Run(folder, outlast.CSVLogger(), model=model, optimizer=optimizer, save_every=2)
for _ in run.epochs(2):
    for x in run.batches(loader):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward(), optimizer.step()
        run.log(loss=loss)
print(run.history["loss"], [p.tolist() for p in model.parameters()])
"""


@pytest.mark.parametrize(
    "samples",
    [[45], [45, 5, 45], [105, 31, 1]],
    ids=["in the loader", "in the skip after it", "in a later epoch, in the skip, at its first sample"],
)
def test_killed_in_the_loader_and_in_the_skip(folder: Path, samples: list[int]) -> None:
    whole = trained(PLACES, folder / "whole", 0, killed=False)
    for until in samples:
        trained(PLACES, folder / "left", until, killed=True)
    assert trained(PLACES, folder / "left", 0, killed=False) == whole
