"""What is wrapped around the run's batches, and counts by itself or takes them ahead, is named."""

from __future__ import annotations

import itertools
import queue
import sysconfig
import threading
import traceback
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import outlast
from outlast.run import around
from outlast.testing import FakeAdapter

Out = pytest.CaptureFixture[str]
LOADER = range(6)
AHEAD = "takes batches before they are trained, so a save cannot tell those"
AGAIN = "counts from the beginning again where an epoch goes on"
GENERAL = "do that with the loader, and give run.batches what comes of it, or collect in the body of the loop"
LIMIT = "put the limit around the loader, run.batches(islice(loader, n))"


def told_of(body: Callable[[outlast.Run], object], folder: Path, capsys: Out, every: Any = 2) -> list[str]:
    """What is said of a training of two epochs, each with this body."""
    run = outlast.Run(folder, adapter=FakeAdapter({"w": [0.3]}), save_every=every)
    for _ in run.epochs(2):
        body(run)
    start = f"outlast: resuming {folder} would not be exact: "
    return [one.removeprefix(start) for one in capsys.readouterr().out.splitlines() if one.startswith(start)]


def take(count: int, batches: Iterable[int]) -> Iterator[int]:
    for i, batch in enumerate(batches):
        if i == count:
            return
        yield batch


def prefetched(batches: Iterable[int]) -> Iterator[int]:
    iterator = iter(batches)
    held = next(iterator)
    for batch in iterator:
        yield held
        held = batch
    yield held


def window(batches: Iterable[int]) -> Iterator[int]:
    waiting: deque[int] = deque()
    for batch in batches:
        waiting.append(batch)
        if len(waiting) > 2:
            yield waiting.popleft()
    yield from waiting


def batched(batches: Iterable[int], count: int) -> Iterator[list[int]]:
    iterator = iter(batches)
    while group := list(islice(iterator, count)):
        yield group


def queued(batches: Iterable[int]) -> Iterator[int]:
    waiting: queue.Queue[int] = queue.Queue(2)

    def fill() -> None:
        for batch in batches:
            waiting.put(batch)
        waiting.put(-1)

    threading.Thread(target=fill).start()
    while (batch := waiting.get()) >= 0:
        yield batch


class Prefetcher:
    """As NVIDIA's, which is no iterator."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = iter(batches)
        self.fetch()

    def fetch(self) -> None:
        try:
            self.later = next(self.batches)
        except StopIteration:
            self.later = None

    def next(self) -> Any:
        now = self.later
        if now is not None:
            self.fetch()
        return now


class Several:
    """A few batches ahead, as an iterator."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches, self.later = iter(batches), deque[Any]()
        self.later.append(next(self.batches))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        now = self.later.popleft()
        if now is None:
            raise StopIteration
        self.later.append(next(self.batches, None))
        return now


class Each:
    """Goes through batches one by one, and keeps the one at hand."""

    def __init__(self, run: outlast.Run) -> None:
        self.run, self.batches = run, iter(run.batches(LOADER))

    def fetch(self) -> None:
        self.batch = next(self.batches, None)

    def train(self) -> None:
        self.fetch()
        while self.batch is not None:
            loss = float(self.batch)
            self.run.log(loss=loss)
            self.fetch()


class InOne:
    """A class around the loop, which takes one batch ahead in a generator."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        held = None
        for batch in self.batches:
            if held is not None:
                yield held
            held = batch
        yield held


def log(run: outlast.Run, batches: Iterable[Any]) -> None:
    for batch in batches:
        run.log(loss=float(batch if isinstance(batch, int) else 0))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("islice", f"islice(...) around run.batches(...) {AGAIN}: {LIMIT}"),
        ("islice of a variable", f"islice(...) around run.batches(...) {AGAIN}: {LIMIT}"),
        ("islice by its module", f"islice(...) around run.batches(...) {AGAIN}: {LIMIT}"),
        ("zip", f"zip(...) around run.batches(...) {AGAIN}: {LIMIT}"),
        (
            "other data",
            "what zip(...) has beside run.batches(...) begins again where an epoch goes on: go through both "
            "with run.batches(zip(a, b))",
        ),
        (
            "next",
            "the loop around next(...) of run.batches(...) counts its turns from the beginning where an "
            "epoch goes on: write for batch in run.batches(islice(loader, n))",
        ),
        ("list", f"list(...) around run.batches(...) {AHEAD}: put it around the loader, run.batches(list("),
        ("sorted", f"sorted(...) around run.batches(...) {AHEAD}"),
        ("deque", f"deque(...) around run.batches(...) {AHEAD}"),
        ("list in a function", f"list(...) around run.batches(...) {AHEAD}"),
        ("pairwise", f"pairwise(...) around run.batches(...) {AHEAD}"),
        ("a pool", f"map(...) around run.batches(...) {AHEAD}: {GENERAL}"),
        ("take", "take(...) around run.batches(...) carries i on, which starts over where an epoch goes on"),
        ("prefetched", "prefetched(...) around run.batches(...) carries held on"),
        ("window", "window(...) around run.batches(...) carries waiting on"),
        ("batched", f"batched(...) around run.batches(...) {AHEAD}"),
        ("a thread", f"fill(...) around run.batches(...) {AHEAD}: {GENERAL}"),
        ("a class", f"Prefetcher(...) around run.batches(...) {AHEAD}: {GENERAL}"),
        (
            "an iterator",
            f"Several(...) around run.batches(...) {AHEAD}: put it around the loader, "
            "run.batches(Several(loader)), or collect in the body of the loop",
        ),
        (
            "a generator in a class",
            "InOne(...) around run.batches(...) carries held on, which starts over where an epoch goes on: "
            "put it around the loader, run.batches(InOne(loader))",
        ),
        ("pairs", f"zip(...) around run.batches(...) {AHEAD}: {GENERAL}"),
        ("pairs of a list", f"zip(...) around run.batches(...) {AHEAD}: {GENERAL}"),
    ],
)
def test_what_no_resume_can_bring_back_is_named(folder: Path, capsys: Out, name: str, told: str) -> None:
    def collected(batches: Iterable[int]) -> list[int]:
        return list(batches)

    def with_variable(run: outlast.Run) -> None:
        batches = iter(run.batches(LOADER))
        for batch in islice(batches, 4):
            run.log(loss=batch)

    def with_next(run: outlast.Run) -> None:
        batches = iter(run.batches(LOADER))
        for _ in range(4):
            run.log(loss=next(batches))

    def with_other(run: outlast.Run) -> None:
        for batch, _ in zip(run.batches(LOADER), ["a", "b", "c"], strict=False):
            run.log(loss=batch)

    def with_pool(run: outlast.Run) -> None:
        with ThreadPoolExecutor(1) as pool:
            log(run, pool.map(float, run.batches(LOADER)))

    def with_class(run: outlast.Run) -> None:
        batches = Prefetcher(run.batches(LOADER))
        while (batch := batches.next()) is not None:
            run.log(loss=batch)

    def with_pairs(run: outlast.Run) -> None:
        batches = iter(run.batches(LOADER))
        log(run, zip(batches, batches, strict=True))

    def with_pairs_of_a_list(run: outlast.Run) -> None:
        log(run, zip(*[iter(run.batches(LOADER))] * 2, strict=True))

    bodies: dict[str, Callable[[outlast.Run], object]] = {
        "islice": lambda run: log(run, islice(run.batches(LOADER), 4)),
        "islice of a variable": with_variable,
        "islice by its module": lambda run: log(run, enumerate(itertools.islice(run.batches(LOADER), 4))),
        "zip": lambda run: log(run, zip(range(4), run.batches(LOADER), strict=False)),
        "other data": with_other,
        "next": with_next,
        "list": lambda run: log(run, list(run.batches(LOADER))),
        "sorted": lambda run: log(run, sorted(run.batches(LOADER))),
        "deque": lambda run: log(run, deque(run.batches(LOADER))),
        "list in a function": lambda run: log(run, collected(run.batches(LOADER))),
        "pairwise": lambda run: log(run, itertools.pairwise(run.batches(LOADER))),
        "a pool": with_pool,
        "take": lambda run: log(run, take(4, run.batches(LOADER))),
        "prefetched": lambda run: log(run, prefetched(run.batches(LOADER))),
        "window": lambda run: log(run, window(run.batches(LOADER))),
        "batched": lambda run: log(run, batched(run.batches(LOADER), 2)),
        "a thread": lambda run: log(run, queued(run.batches(LOADER))),
        "a class": with_class,
        "an iterator": lambda run: log(run, Several(run.batches(LOADER))),
        "a generator in a class": lambda run: log(run, InOne(run.batches(LOADER))),
        "pairs": with_pairs,
        "pairs of a list": with_pairs_of_a_list,
    }
    (said,) = told_of(bodies[name], folder, capsys)
    assert said.startswith(told)


BAR = """
class tqdm:
    def __init__(self, iterable):
        self.iterable, self.n, self.last = iterable, 0, 0
    def __iter__(self):
        for one in self.iterable:
            yield one
            self.n += 1
            if self.n - self.last > 2:
                self.last = self.show(self.n)
    def show(self, n):
        return n
"""
TOOLS = """
from functools import partial
from itertools import islice
def take(n, iterable):
    return list(islice(iterable, n))
def chunked(iterable, n):
    return iter(partial(take, n, iter(iterable)), [])
"""


def installed(name: str, source: str) -> Any:
    """A package, as those are that pip has installed."""
    module = types.ModuleType(name)
    exec(compile(source, f"{sysconfig.get_paths()['purelib']}/{name}.py", "exec"), vars(module))
    return module


def shown(batches: Iterable[int]) -> Iterator[int]:
    """A progress bar of the script's own."""
    for i, batch in enumerate(batches):
        print(f"{i} done")
        yield batch


def doubled(batches: Iterable[int]) -> Iterator[int]:
    for batch in batches:
        yield 2 * batch


def test_what_only_shows_or_changes_batches_is_not_named(folder: Path, capsys: Out) -> None:
    bar = installed("tqdm", BAR).tqdm

    def body(run: outlast.Run) -> None:
        log(run, run.batches(islice(LOADER, 4)))
        log(run, run.batches(list(LOADER)))
        log(run, bar(run.batches(LOADER)))
        log(run, bar(enumerate(run.batches(LOADER))))
        log(run, shown(doubled(run.batches(LOADER))))
        log(run, zip(itertools.count(), run.batches(LOADER), strict=False))
        log(run, zip(range(len(LOADER)), run.batches(LOADER), strict=True))
        log(run, map(float, run.batches(LOADER)))
        log(run, itertools.chain(run.batches(LOADER), run.batches(LOADER)))
        log(run, (2 * batch for batch in run.batches(LOADER)))
        inner = bar(run.batches(LOADER))
        log(run, inner)
        batches = iter(run.batches(LOADER))
        while (batch := next(batches, None)) is not None:
            run.log(loss=batch)
        Each(run).train()
        log(run, zip(run.batches(LOADER), strict=True))
        for loader in (LOADER, LOADER):
            batches = iter(run.batches(loader))
            run.log(loss=next(batches))
            log(run, batches)

    assert told_of(body, folder, capsys) == []


def test_lists_of_something_else_in_the_line_are_not_named(folder: Path, capsys: Out) -> None:
    class Data:
        def batches(self, size: int) -> list[int]:
            return [*range(size)]

    def body(run: outlast.Run) -> None:
        for batch in run.batches(list(Data().batches(4))):
            run.log(loss=float(batch))

    assert told_of(body, folder, capsys) == []


def test_no_property_is_asked_and_no_proxy(folder: Path, capsys: Out) -> None:
    class Owner:
        def __init__(self, run: outlast.Run) -> None:
            self.run, self.asked_here = run, False

        @property
        def loader(self) -> range:
            self.asked_here |= any(one.filename == around.__file__ for one in traceback.extract_stack())
            return LOADER

    def body(run: outlast.Run) -> None:
        gone = weakref.proxy(Owner(run))
        owner = Owner(run)
        for _ in enumerate(owner.run.batches(owner.loader), 0 if gone is owner else 1):
            run.log(loss=1.0)
        assert not owner.asked_here

    assert told_of(body, folder, capsys) == []


def test_without_saves_inside_an_epoch_it_is_no_matter(folder: Path, capsys: Out) -> None:
    assert told_of(lambda run: log(run, list(run.batches(LOADER))), folder, capsys, every="epoch") == []


def test_around_steps_it_matters_in_any_case(folder: Path, capsys: Out) -> None:
    run = outlast.Run(folder, adapter=FakeAdapter({"w": [0.3]}))
    log(run, islice(run.steps(LOADER, 10, log_every=3), 4))
    assert f"islice(...) around run.steps(...) {AGAIN}: ask run.steps for as many" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "told"), [("chunked", AHEAD), ("take", AGAIN)])
def test_a_package_that_collects_is_named(folder: Path, capsys: Out, name: str, told: str) -> None:
    package = installed("more_itertools", TOOLS)

    def body(run: outlast.Run) -> None:
        if name == "chunked":
            for _ in package.chunked(run.batches(LOADER), 2):
                run.log(loss=1.0)
        else:
            log(run, package.take(2, run.batches(LOADER)))

    (said,) = told_of(body, folder, capsys)
    assert said.startswith(f"{name}(...) around run.batches(...) {told}")


class Ahead:
    """A prefetcher of the script's own, of which no source is read that says so."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.waiting: list[Any] = []
        for batch in batches:
            self.waiting += [batch]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.waiting)


def trained(folder: Path, wrap: Callable[[Iterable[Any]], Iterable[Any]], *, accumulate: int = 1) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = outlast.Run(folder, model=model, optimizer=optimizer, save_every=2)
    for _ in run.epochs(2):
        for number, batch in enumerate(wrap(run.batches(torch.ones(8, 1, 1)))):
            model(batch).sum().backward()
            if number % accumulate == accumulate - 1:
                optimizer.step()
                optimizer.zero_grad()


def test_batches_that_were_saved_and_not_trained_are_told_whoever_took_them(folder: Path) -> None:
    with pytest.warns(outlast.OutlastWarning, match="In the last 2 batches before this save .* took a step"):
        trained(folder, Ahead)


def test_gradients_that_are_summed_up_are_training(folder: Path) -> None:
    trained(folder / "each", iter)
    trained(folder / "all", iter, accumulate=8)
