"""PyTorch's loaders inside a run: begun at any batch by index, and as random with workers as without."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.killed import trained

import outlast
from outlast.exceptions import ArgumentError
from outlast.frameworks import positioned
from outlast.testing import FakeAdapter

torch = pytest.importorskip("torch")
from torch.utils.data import (  # noqa: E402
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    WeightedRandomSampler,
    get_worker_info,
)

torch.set_num_threads(1)  # before a process is forked


class Data(Dataset[Any]):
    """Draws from three generators for each item."""

    loaded = 0

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> Any:
        Data.loaded += 1
        if index >= 23:
            raise IndexError(index)
        return torch.full((2,), float(index)) + torch.randn(2) * random.random() * np.random.rand()


class Whole(Data):
    """Is asked for a whole batch."""

    def __getitems__(self, indices: Any) -> Any:
        random.random()
        return [self[index] for index in indices]


class Eager(Sampler[Any]):
    """A batch sampler that draws when it is asked for an iterator, not when that is asked for a batch."""

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Iterator[Any]:
        return iter(torch.randperm(23).split(4))


def randomly_collated(items: Any) -> Any:
    return torch.stack(items) + torch.rand(1)


def generator() -> Any:
    return torch.Generator().manual_seed(7)


def of_replicas() -> Any:
    return DistributedSampler(Data(), 2, 0, shuffle=True)


LOADERS: dict[str, Any] = {
    "shuffled": lambda **more: DataLoader(Data(), 4, shuffle=True, **more),
    "in order": lambda **more: DataLoader(Data(), 4, drop_last=True, **more),
    "generator": lambda **more: DataLoader(Data(), 4, shuffle=True, generator=generator(), **more),
    "sampler": lambda **more: DataLoader(Data(), 4, sampler=RandomSampler(Data(), True, 30), **more),
    "weighted": lambda **more: DataLoader(Data(), 4, sampler=WeightedRandomSampler([1.0] * 23, 23), **more),
    "distributed": lambda **more: DataLoader(Data(), 4, sampler=of_replicas(), **more),
    "collated": lambda **more: DataLoader(Data(), 4, shuffle=True, collate_fn=randomly_collated, **more),
    "whole": lambda **more: DataLoader(Whole(), 4, shuffle=True, **more),
    "single": lambda **more: DataLoader(Data(), batch_size=None, shuffle=True, **more),
    "batch sampler": lambda **more: DataLoader(Data(), batch_sampler=Eager(), **more),
}


def seeded_all() -> None:
    torch.manual_seed(0), random.seed(0), np.random.seed(0)


def states() -> str:
    known = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()
    return hashlib.sha256(repr(known).encode()).hexdigest()


def passes(begin: Any, count: int = 2) -> Any:
    """What comes of some passes, and the random state after them."""
    seeded_all()
    return [[batch.tolist() for batch in begin(number)] for number in range(count)], states()


def seed(batch: int) -> int:
    return 100 + batch


@pytest.mark.parametrize("kind", LOADERS)
def test_a_loader_built_anew_is_the_same(kind: str) -> None:
    bare, own = LOADERS[kind](), LOADERS[kind]()
    rebuilt = positioned.Rebuilt(own, seeded=False)
    assert passes(lambda number: rebuilt.begin(0, None)[0]) == passes(lambda number: bare)


@pytest.mark.parametrize(
    ("kind", "workers"), [*((kind, 0) for kind in LOADERS), ("shuffled", 1), ("single", 1)]
)
def test_a_pass_that_is_begun_later_has_the_rest(kind: str, workers: int) -> None:
    def begun_at(place: int) -> Any:
        loader = LOADERS[kind](num_workers=workers)
        seeded_all()
        batches, lacking = positioned.Rebuilt(loader, seeded=True).begin(place, seed)
        given = [batch.tolist() for batch in batches]
        return given, lacking, batches.checksum, states()

    whole, _, checksum, after = begun_at(0)
    for place in (1, len(whole) - 1, len(whole)):
        assert begun_at(place) == (whole[place:], 0, checksum, after)
    assert begun_at(len(whole) + 3)[:2] == ([], 3)


@pytest.mark.parametrize("kind", LOADERS)
def test_seeded_batches_have_pytorchs_order_and_leave_its_random_state(kind: str) -> None:
    def orders(made: Any) -> Any:
        """Without what is random in the data."""
        batches, after = made
        rounded = [[np.ravel(batch).tolist() for batch in one] for one in batches]
        return [[len(batch) for batch in one] for one in rounded], after

    loader = LOADERS[kind](num_workers=0)
    seeded = positioned.Rebuilt(LOADERS[kind](), seeded=True)
    quiet = passes(lambda number: seeded.begin(0, seed)[0])
    if kind not in ("single", "batch sampler"):
        assert orders(quiet)[0] == orders(passes(lambda number: loader))[0]
    with_workers = positioned.Rebuilt(LOADERS[kind](num_workers=2, persistent_workers=True), seeded=True)
    assert passes(lambda number: with_workers.begin(0, seed)[0]) == quiet


def test_workers_see_the_users_dataset_and_start_function() -> None:
    class Opened(Data):
        offset = 0.0

        def __getitem__(self, index: int) -> Any:
            return torch.tensor(self.offset + index)

    def start(worker: int) -> None:
        dataset = get_worker_info().dataset
        dataset.offset = 100.0 * len(dataset)

    loader = DataLoader(Opened(), 23, num_workers=1, worker_init_fn=start)
    (batch,) = positioned.Rebuilt(loader, seeded=True).begin(0, seed)[0]
    assert batch.tolist() == [2300.0 + index for index in range(23)]


def test_an_item_that_fails_leaves_the_random_state() -> None:
    class Failing(Data):
        def __getitem__(self, index: int) -> Any:
            raise ValueError("no item")

    seeded_all()
    batches, _ = positioned.Rebuilt(DataLoader(Failing(), 4), seeded=True).begin(0, seed)
    before = states()
    with pytest.raises(ValueError, match="no item"):
        next(batches)
    assert states() == before


def test_only_pytorchs_own_loaders_of_data_with_indices_are_built_anew() -> None:
    class Own(DataLoader[Any]):
        pass

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(range(3))

    assert positioned.fits(DataLoader(Data()))
    assert not any(map(positioned.fits, (Own(Data()), DataLoader(Stream()), [1, 2], "text")))


def in_run(folder: Path, loader: Any, until: int | None = None, epochs: int = 2, **options: Any) -> Any:
    """What a run is given of a loader, left after so many batches."""
    seeded_all()
    options = {"save_every": 2, "check_resume": "never", **options}
    run = outlast.Run(folder, adapter=FakeAdapter(), **options)
    seen = run.extra.setdefault("seen", [])
    done = 0
    for _ in run.epochs(epochs):
        for batch in run.batches(loader):
            seen.append(np.ravel(batch).tolist())
            done += 1
            if done == until:
                run.flush()
                return None
    return [list(one) for one in run.extra["seen"]]


def of_a_bare_loop(loader: Any) -> Any:
    """The same without a run."""
    return [np.ravel(batch).tolist() for one in passes(lambda number: loader)[0] for batch in one]


@pytest.mark.parametrize("kind", LOADERS)
def test_without_workers_nothing_is_seeded_and_skipped_batches_are_not_loaded(
    folder: Path, kind: str
) -> None:
    bare = of_a_bare_loop(LOADERS[kind]())
    assert in_run(folder / "whole", LOADERS[kind]()) == bare
    in_run(folder / "left", LOADERS[kind](), until=5)
    Data.loaded = 0
    assert in_run(folder / "left", LOADERS[kind]()) == bare
    assert Data.loaded == sum(len(batch) for batch in bare[3 if kind == "distributed" else 4 :]) / 2


@pytest.mark.parametrize(
    ("kind", "mode"), [("shuffled", "auto"), ("generator", "batch"), ("single", "auto"), ("whole", "batch")]
)
def test_with_workers_a_run_goes_on_with_another_number_of_them(folder: Path, kind: str, mode: str) -> None:
    def loader(workers: int) -> Any:
        return LOADERS[kind](num_workers=workers, persistent_workers=workers == 2)

    whole = in_run(folder / "whole", loader(2), augmentation=mode)
    for until, workers in ((5, 2), (3, 1)):
        in_run(folder / "left", loader(workers), until=until, augmentation=mode)
    assert in_run(folder / "left", loader(0), augmentation=mode) == whole
    if mode == "batch":
        assert in_run(folder / "none", loader(0), augmentation=mode, save_every="epoch") == whole


def test_seeds_depend_on_the_runs_seed(folder: Path) -> None:
    def batches(name: str, **options: Any) -> Any:
        return in_run(folder / name, LOADERS["in order"](), augmentation="batch", **options)

    assert batches("one", seed=1) == batches("again", seed=1)
    assert batches("one", seed=1) != batches("two", seed=2)


def test_it_is_said_once_that_batches_draw_from_seeds(folder: Path, capsys: Any) -> None:
    in_run(folder / "auto", LOADERS["shuffled"](num_workers=1))
    assert capsys.readouterr().out.count("draw from a seed for each batch") == 1
    in_run(folder / "batch", LOADERS["shuffled"](num_workers=1), augmentation="batch")
    in_run(folder / "ends", LOADERS["shuffled"](num_workers=1), save_every="epoch")
    in_run(folder / "none", LOADERS["shuffled"]())
    assert "seed for each batch" not in capsys.readouterr().out


def test_what_is_left_as_it_is_is_exact_by_loading_and_says_so(folder: Path, capsys: Any) -> None:
    def loader(**more: Any) -> Any:
        return LOADERS["shuffled"](num_workers=1, **more)

    whole = in_run(folder / "whole", loader(), augmentation="leave")
    assert whole == of_a_bare_loop(loader())
    in_run(folder / "left", loader(), until=5, augmentation="leave")
    capsys.readouterr()
    assert in_run(folder / "left", loader(), augmentation="leave") == whole
    told = capsys.readouterr().out
    assert "4 batches are loaded once more to be skipped: augmentation='leave'" in told
    assert "not be exact" not in told
    in_run(folder / "kept", loader(persistent_workers=True), augmentation="leave")
    assert "would not be exact: persistent workers" in capsys.readouterr().out
    in_run(folder / "seeded", loader(persistent_workers=True), augmentation="batch")
    assert "exact" not in capsys.readouterr().out


def test_a_stream_is_loaded_once_more_and_that_is_said(folder: Path, capsys: Any) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(torch.rand(9, 2))

    whole = in_run(folder / "whole", DataLoader(Stream(), 2))
    in_run(folder / "left", DataLoader(Stream(), 2), until=3)
    assert in_run(folder / "left", DataLoader(Stream(), 2)) == whole
    assert "2 batches are loaded once more to be skipped: the dataset is a stream" in capsys.readouterr().out


def test_a_sampler_that_gives_other_indices_is_named(folder: Path, capsys: Any) -> None:
    class Unsteady(Sampler[Any]):
        def __len__(self) -> int:
            return 23

        def __iter__(self) -> Iterator[Any]:
            for _ in range(23):  # between the items, which draw, too
                yield random.randrange(23)

    loader = DataLoader(Data(), 4, sampler=Unsteady())
    in_run(folder, loader, until=5)
    in_run(folder, DataLoader(Data(), 4, sampler=Unsteady()))
    assert "may not be exact: Unsteady gave other indices" in capsys.readouterr().out


def test_batches_that_come_as_workers_get_done_are_named(folder: Path, capsys: Any) -> None:
    in_run(folder, LOADERS["shuffled"](num_workers=1, in_order=False), augmentation="leave", epochs=1)
    assert "would not be exact: the batches of a DataLoader come as its workers" in capsys.readouterr().out


def test_another_word_is_refused(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="augmentation must be 'auto', 'batch' or 'leave'"):
        outlast.Run(folder, adapter=FakeAdapter(), augmentation="bach")


KILLED = """
kind, workers, augmentation, until = sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
more = {"generator": torch.Generator().manual_seed(3)} if "generator" in kind else {}
more |= {"persistent_workers": True} if "persistent" in kind and workers else {}
loader = torch.utils.data.DataLoader(Data(), 10, shuffle=True, num_workers=workers, **more)
options = {"model": model, "optimizer": optimizer, "save_every": 2, "augmentation": augmentation}
run = outlast.Run(folder, outlast.CSVLogger(), **options)


def step(x):
    train((model(x)[:, 0] - x.mean(1)).square().mean(), x.numpy())


if "steps" in kind:
    for x in run.steps(loader, 21, log_every=5):
        step(x)
else:
    for epoch in run.epochs(3):
        for x in run.batches(loader):
            step(x)
tell()
"""


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("epochs", "auto"), ("persistent", "batch"), ("steps", "batch"), ("generator persistent steps", "auto")],
)
def test_killed_under_two_workers_and_gone_on_with_none(folder: Path, kind: str, mode: str) -> None:
    whole = trained(KILLED, folder / "whole", kind, 2, mode, -1, killed=False)
    for place, workers in ((5, 2), (1, 2)):
        trained(KILLED, folder / "left", kind, workers, mode, place, killed=True)
    assert trained(KILLED, folder / "left", kind, 0, mode, -1, killed=False) == whole


def begin_worker(worker: int) -> None:
    info: Any = torch.utils.data.get_worker_info()
    info.dataset.rng = np.random.default_rng(info.seed)


def test_a_generator_that_a_worker_makes_for_itself_is_named(folder: Path, capsys: Any) -> None:
    run = outlast.Run(folder, adapter=FakeAdapter({"w": [0.0]}), save_every=2)
    data = torch.utils.data.TensorDataset(torch.zeros(8))
    loader = DataLoader(data, 2, num_workers=1, worker_init_fn=begin_worker)
    for _ in run.epochs(1):
        for (batch,) in run.batches(loader):
            run.log(loss=batch.sum())
    assert "worker_init_fn makes a random generator" in capsys.readouterr().out
