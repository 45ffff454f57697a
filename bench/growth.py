"""Whether what a run holds makes everything slower in a straight line, and no worse.

    python bench/growth.py [--folder F] [KIND ...]

Runs with ever more arrays, epochs, metrics, kept models; folders with ever more runs. For each, the table
shows the milliseconds of a commit, of a start, and of each way to look: the least of three, which the rest
of the machine disturbs least. Below stands what one thing more costs, in microseconds, from each size to the
next: where the line is straight, these agree.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import outlast
from outlast.cli import main as command
from outlast.storage.commit import Bundle, commit
from outlast.storage.format.layout import ROWS
from outlast.storage.logs import Lines
from outlast.storage.recovery import recover
from outlast.testing import FakeAdapter

ROUNDS = 3
TABLE = "history.csv"

SIZES = {
    "arrays": [10, 1000, 10_000, 50_000],
    "epochs": [10, 1000, 10_000, 100_000, 1_000_000],
    "metrics": [10, 1000, 5000],
    "models": [10, 100, 1000],
    "runs": [10, 100, 1000],
}


class Arrays:
    """A part of a run: so many small arrays, which change in each epoch."""

    def __init__(self, count: int) -> None:
        self.arrays = {f"layers.{number}.weight": np.full(4, number, np.float32) for number in range(count)}

    def change(self) -> None:
        for array in self.arrays.values():
            array += 1

    def state_dict(self) -> dict[str, Any]:
        return dict(self.arrays)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.arrays = dict(state)


class Training:
    """A training in a run, whose epochs end when they are told to."""

    def __init__(self, folder: Path, arrays: int = 1, metrics: int = 1, models: int = 1) -> None:
        self._part, self._metrics = Arrays(arrays), metrics
        callbacks = [
            outlast.CSVLogger(),
            outlast.ModelCheckpoint("models/{epoch}.txt", "loss", keep_last=models),
            outlast.EarlyStopping("loss", patience=10**9),
        ]
        adapter = FakeAdapter({"w": [0.0]})
        self._run = outlast.Run(folder, callbacks, adapter=adapter, part=self._part, check_resume="never")
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


def least(measured: Callable[[], object]) -> float:
    """The seconds that it takes, the least of some rounds."""

    def once() -> float:
        begun = time.perf_counter()
        measured()
        return time.perf_counter() - begun

    with redirect_stdout(io.StringIO()):
        return min(once() for _ in range(ROUNDS))


def of_a_run(folder: Path, kind: str, size: int) -> dict[str, float]:
    """The seconds of a commit and of a start, and those to look at the run."""
    options = {} if kind == "epochs" else {kind: size}
    training = Training(folder, **options)
    for _ in range(size if kind == "models" else 3):
        training.epoch()
    training.leave()
    if kind == "epochs" and size > 3:
        lengthen(folder, size)
    begun = time.perf_counter()
    training = Training(folder, **options)
    start = time.perf_counter() - begun
    epochs = min(training.epoch() for _ in range(ROUNDS))
    training.leave()
    return {"commit": epochs, "start": start, **looks(folder)}


def looks(folder: Path) -> dict[str, float]:
    return {
        "ls": least(lambda: command(["ls", str(folder.parent)])),
        "show": least(lambda: command(["show", str(folder)])),
        "verify": least(lambda: command(["verify", str(folder)])),
        "open_run": least(lambda: str(outlast.open_run(folder).history)),
    }


def of_many(folder: Path, kind: str, size: int) -> dict[str, float]:
    """The seconds to list so many runs, and to verify them."""
    Training(folder).epoch()
    others = [folder.with_name(f"run-{number}") for number in range(1, size)]
    for other in others:
        shutil.copytree(folder, other)
    every = [str(folder), *map(str, others)]
    listed = least(lambda: command(["ls", str(folder.parent)]))
    return {"ls": listed, "verify": least(lambda: command(["verify", *every]))}


def report(kind: str, parent: str | None) -> None:
    measure = of_many if kind == "runs" else of_a_run
    rows: dict[int, dict[str, float]] = {}
    for size in SIZES[kind]:
        with tempfile.TemporaryDirectory(dir=parent) as place:
            rows[size] = measure(Path(place) / "run", kind, size)
        if len(rows) == 1:
            print(f"\n{kind:>10}", *(f"{name:>10}" for name in rows[size]))
        print(f"{size:>10,}", *(f"{1e3 * took:>10.2f}" for took in rows[size].values()), "ms")
    sizes = [*rows]
    for fewer, more in pairwise(sizes):
        slopes = [1e6 * (rows[more][name] - rows[fewer][name]) / (more - fewer) for name in rows[more]]
        print(f"to {more:>7,}", *(f"{slope:>10.2f}" for slope in slopes), "us for one more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[*SIZES], metavar="KIND", help=", ".join(SIZES))
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    options = parser.parse_args()
    for kind in options.kinds:
        report(kind, options.folder)


if __name__ == "__main__":
    main()
