"""Whether what a run holds makes everything slower in a straight line, and no worse.

    python bench/growth.py [--most 1000000] [--rounds 3] [--folder F] [KIND ...]

Runs with ever more arrays, epochs, metrics, kept models, callbacks; folders with ever more runs, and
processes in which ever more are trained. Each round takes all sizes, in random order; ``x`` is the ratio of
the greatest to the smallest. In the last column stands what one thing more costs, in microseconds, from each
size to the next: where the line is straight, these agree.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Way, headed, measured, ratios, seconds_of

import outlast
from outlast.cli import main as command
from outlast.storage.commit import Bundle, commit
from outlast.storage.format.layout import ROWS
from outlast.storage.logs import Lines
from outlast.storage.recovery import recover
from outlast.testing import FakeAdapter

TABLE = "history.csv"

SIZES = {
    "arrays": [1, 1000, 10_000, 50_000],
    "epochs": [10, 1000, 10_000, 100_000, 1_000_000],
    "metrics": [10, 1000, 5000],
    "models": [10, 100, 1000],
    "callbacks": [1, 10, 100, 1000],
    "runs": [10, 100, 1000],
    "trainings": [1, 10, 100, 1000],
}
WORDS = {"models": "kept models", "runs": "runs in a folder", "trainings": "trainings in one process"}


class Arrays:
    """A part of a run: so many small arrays, which change in each epoch."""

    def __init__(self, number: int) -> None:
        self.arrays = {f"layers.{index}.weight": np.full(4, index, np.float32) for index in range(number)}

    def change(self) -> None:
        for array in self.arrays.values():
            array += 1

    def state_dict(self) -> dict[str, Any]:
        return dict(self.arrays)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.arrays = dict(state)


class Training:
    """A training in a run, whose epochs end when they are told to."""

    def __init__(
        self, folder: Path, arrays: int = 1, metrics: int = 1, models: int = 1, callbacks: int = 1
    ) -> None:
        self._part, self._metrics = Arrays(arrays), metrics
        made = [
            outlast.CSVLogger(),
            outlast.ModelCheckpoint("models/{epoch}.txt", "loss", keep_last=models),
            *(outlast.EarlyStopping("loss", patience=10**9) for _ in range(callbacks)),
        ]
        adapter = FakeAdapter({"w": [0.0]})
        with redirect_stdout(io.StringIO()):
            self._run = outlast.Run(folder, made, adapter=adapter, part=self._part, check_resume="never")
            self._run.on_train_begin()
        self._next = len(self._run.history.epochs)

    def epoch(self) -> float:
        """The seconds of a commit."""
        self._part.change()
        self._run.on_epoch_begin(self._next)
        logs = {"loss": 1 / (self._next + 1)} | {f"metric_{n}": 0.5 for n in range(self._metrics - 1)}
        begun = time.perf_counter()
        self._run.on_epoch_end(self._next, logs)
        self._run.flush()
        self._next += 1
        return time.perf_counter() - begun

    def leave(self) -> None:
        self._run.__exit__(None, None, None)


def lengthen(folder: Path, epochs: int) -> None:
    """Make as many epochs of a run's few as if it had trained them."""
    found = recover(str(folder))
    rows = list(map(json.loads, found.committed.logs[ROWS].tail.splitlines()))
    table = found.committed.logs[TABLE].tail.splitlines(keepends=True)
    numbers = range(len(rows), epochs)
    more = {
        ROWS: b"".join(json.dumps({**rows[-1], "epoch": n}).encode() + b"\n" for n in numbers),
        TABLE: b"".join(b"%d,%s" % (n, table[-1].partition(b",")[2]) for n in numbers),
    }
    logs = {name: Lines(data, public=name == TABLE) for name, data in more.items()}
    state = {**found.state, "position": [epochs - 1, None], "epochs": None}
    commit(str(folder), found.committed, Bundle(logs=logs), state)


# What is done with a run. Each gives the ways for the sizes, and leaves all as it was.

Folders = Mapping[int, Path]  # the run of each size


def options(kind: str, size: int) -> dict[str, int]:
    return {} if kind == "epochs" else {kind: size}


def make_run(folder: Path, kind: str, size: int) -> None:
    training = Training(folder, **options(kind, size))
    for _ in range(size if kind == "models" else 3):
        training.epoch()
    training.leave()
    if kind == "epochs":
        lengthen(folder, size)


def commits(kind: str, folders: Folders, rounds: int) -> dict[int, list[float]]:
    trainings = {size: Training(folder, **options(kind, size)) for size, folder in folders.items()}
    found = by_size({size: one.epoch for size, one in trainings.items()}, rounds)
    for one in trainings.values():
        one.leave()
    return found


def starts(kind: str, folders: Folders, rounds: int) -> dict[int, list[float]]:
    def start(size: int) -> float:
        begun = time.perf_counter()
        training = Training(folders[size], **options(kind, size))
        took = time.perf_counter() - begun
        training.leave()
        return took

    return by_size({size: partial(start, size) for size in folders}, rounds)


def looks(act: Callable[[Path], object], kind: str, folders: Folders, rounds: int) -> dict[int, list[float]]:
    def look(folder: Path) -> float:
        with redirect_stdout(io.StringIO()):
            return seconds_of(lambda: act(folder))

    return by_size({size: partial(look, folder) for size, folder in folders.items()}, rounds)


def by_size(ways: Mapping[int, Way], rounds: int) -> dict[int, list[float]]:
    found = measured({str(size): way for size, way in ways.items()}, rounds)
    return {size: found[str(size)] for size in ways}


def many(folder: Path) -> list[str]:
    return [str(path) for path in folder.parent.iterdir()]


Act = Callable[[str, Folders, int], dict[int, list[float]]]
OF_A_RUN: dict[str, Act] = {
    "commit": commits,
    "start": starts,
    "`ls`": partial(looks, lambda folder: command(["ls", str(folder.parent)])),
    "`show`": partial(looks, lambda folder: command(["show", str(folder)])),
    "`verify`": partial(looks, lambda folder: command(["verify", str(folder)])),
    "open_run": partial(looks, lambda folder: str(outlast.open_run(folder).history)),
}
OF_MANY: dict[str, Act] = {
    "`ls`": OF_A_RUN["`ls`"],
    "`verify`": partial(looks, lambda folder: command(["verify", *many(folder)])),
}


def make_runs(folder: Path, size: int) -> None:
    """So many runs beside each other."""
    training = Training(folder)
    training.epoch()
    training.leave()
    for number in range(1, size):
        shutil.copytree(folder, folder.with_name(f"run-{number}"))


# Many trainings in this process.


def trained(kind: str, folders: Folders, rounds: int) -> dict[int, list[float]]:
    """The seconds of so many runs of one epoch, one after the other."""
    numbers = count()

    def train(size: int) -> float:
        begun = time.perf_counter()
        for _ in range(size):
            training = Training(folders[size].with_name(f"run-{next(numbers)}"))
            training.epoch()
            training.leave()
        return time.perf_counter() - begun

    return by_size({size: partial(train, size) for size in folders}, rounds)


def beside_others(kind: str, folders: Folders, rounds: int) -> dict[int, list[float]]:
    """The seconds of a commit, as the last of so many runs that are open at once."""
    numbers = count()

    def last(size: int) -> float:
        place = folders[size].parent
        trainings = [Training(place / f"open-{next(numbers)}") for _ in range(size)]
        took = trainings[-1].epoch()
        for training in trainings:
            training.leave()
        return took

    return by_size({size: partial(last, size) for size in folders}, rounds)


IN_A_PROCESS: dict[str, Act] = {"all, one after the other": trained, "a commit, all open": beside_others}

# Tables.


def report(kind: str, most: int, rounds: int, parent: str | None) -> None:
    sizes = [size for size in SIZES[kind] if size <= most]
    acts = {"runs": OF_MANY, "trainings": IN_A_PROCESS}.get(kind, OF_A_RUN)
    with tempfile.TemporaryDirectory(prefix="outlast-bench-", dir=parent) as place:
        folders = {size: Path(place) / str(size) / "run" for size in sizes}
        for size, folder in folders.items():
            folder.parent.mkdir()
            if kind == "runs":
                make_runs(folder, size)
            elif kind != "trainings":
                make_run(folder, kind, size)
        found = {name: act(kind, folders, rounds) for name, act in acts.items()}
    show_growth(WORDS.get(kind, kind), found, rounds)


def show_growth(things: str, found: Mapping[str, Mapping[int, list[float]]], rounds: int) -> None:
    """Print a table: of each act the medians for all sizes, the ratio of the greatest to the smallest."""
    sizes = [*next(iter(found.values()))]
    print(headed(f"more {things}, in ms", rounds))
    print(f"| way | {' | '.join(f'{size:,}' for size in sizes)} | x | least | most | one more, us |")
    print("|---" * (len(sizes) + 5) + "|")
    for name, times in found.items():
        took = [statistics.median(times[size]) for size in sizes]
        least, middle, most = ratios(times[sizes[-1]], times[sizes[0]])
        cells = " | ".join(f"{one * 1e3:.3g}" for one in took)
        print(f"| {name} | {cells} | {middle:.2f} | {least:.2f} | {most:.2f} | {slopes(sizes, took)} |")


def slopes(sizes: list[int], took: list[float]) -> str:
    """What one thing more costs, from each size to the next."""
    steps = pairwise(zip(sizes, took, strict=True))
    return ", ".join(
        f"{(after - before) / (more - fewer) * 1e6:.3g}" for (fewer, before), (more, after) in steps
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[*SIZES], metavar="KIND", help=", ".join(SIZES))
    parser.add_argument("--most", type=int, default=10**6, help="leave out greater sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    given = parser.parse_args()
    for kind in given.kinds:
        report(kind, given.most, given.rounds, given.folder)


if __name__ == "__main__":
    main()
