"""What a row of a CSV costs, a column that comes late, and reading it all back.

    python bench/csv_cost.py [--rows 20000] [--rounds 5]

A row has eight metrics. Keras's logger and Python's own module flush each row, as ours does.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from side_by_side import Way, compare, installed, seconds_of

import outlast
from outlast.testing import FakeAdapter

NAMES = [f"metric_{number}" for number in range(8)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="outlast-bench-"))
    rows = [dict.fromkeys(NAMES, 1 / (number + 1)) for number in range(options.rows)]
    try:
        writers = {"csv and flush": plain, "outlast": ours, "Keras": keras_logger}
        if options.rows > 1:
            ways = {name: partial(make, folder, rows) for name, make in writers.items()}
            compare(
                "a row",
                installed(ways),
                beside="csv and flush",
                rounds=options.rounds,
                unit="us",
                per=len(rows),
            )
        late = {
            "the file, copied": lambda: copied(folder, rows),
            "outlast": lambda: late_column(folder, rows),
            "Lightning": lambda: lightning_late(folder, rows),
        }
        title = f"a new column after {options.rows} rows"
        compare(title, installed(late), beside="the file, copied", rounds=options.rounds)
        back = {
            "csv": lambda: read_by_csv(folder, rows),
            "outlast": lambda: read_by_us(folder, rows),
            "pandas": lambda: read_by_pandas(folder, rows),
        }
        compare(f"{options.rows} rows read back", installed(back), beside="csv", rounds=options.rounds)
    finally:
        shutil.rmtree(folder)


def plain(folder: Path, rows: list[dict[str, float]]) -> Way:
    def write() -> None:
        with open(folder / "plain.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *NAMES])
            writer.writeheader()
            for epoch, row in enumerate(rows):
                writer.writerow({"epoch": epoch, **row})
                file.flush()

    return lambda: seconds_of(write)


def _logged(logger: Any, rows: list[dict[str, float]]) -> None:
    logger.on_train_begin()
    for epoch, row in enumerate(rows):
        logger.on_epoch_end(epoch, dict(row))  # they add to it
    logger.on_train_end()


def ours(folder: Path, rows: list[dict[str, float]]) -> Way:
    def way() -> float:
        logger = outlast.CSVLogger(str(folder / "ours.csv"))
        callbacks = outlast.CallbackList([logger], adapter=FakeAdapter())
        took = seconds_of(lambda: _logged(callbacks, rows))
        assert len((folder / "ours.csv").read_text().splitlines()) == len(rows) + 1
        return took

    return way


def keras_logger(folder: Path, rows: list[dict[str, float]]) -> Way:
    import keras

    return lambda: seconds_of(lambda: _logged(keras.callbacks.CSVLogger(str(folder / "keras.csv")), rows))


# A new column.


def copied(folder: Path, rows: list[dict[str, float]]) -> Way:
    plain(folder, rows)()
    return lambda: seconds_of(lambda: shutil.copy(folder / "plain.csv", folder / "copy.csv"))


def late_column(folder: Path, rows: list[dict[str, float]]) -> Way:
    def way() -> float:
        logger = outlast.CSVLogger(str(folder / "late.csv"))
        callbacks = outlast.CallbackList([logger], adapter=FakeAdapter())
        callbacks.on_train_begin()
        for epoch, row in enumerate(rows):
            callbacks.on_epoch_end(epoch, dict(row))
        took = seconds_of(lambda: callbacks.on_epoch_end(len(rows), {**rows[0], "late": 1.0}))
        callbacks.on_train_end()
        assert (folder / "late.csv").read_text().splitlines()[0].endswith("late")
        return took

    return way


def lightning_late(folder: Path, rows: list[dict[str, float]]) -> Way:
    from lightning.fabric.loggers.csv_logs import _ExperimentWriter

    def way() -> float:
        place = tempfile.mkdtemp(dir=folder)
        writer = _ExperimentWriter(place)
        for epoch, row in enumerate(rows):
            writer.log_metrics(row, epoch)
        writer.save()
        writer.log_metrics({**rows[0], "late": 1.0}, len(rows))
        return seconds_of(writer.save)

    return way


# Reading.


def _reading(folder: Path, rows: list[dict[str, float]], read: Callable[[str], int]) -> Way:
    plain(folder, rows)()

    def way() -> float:
        found: list[int] = []
        took = seconds_of(lambda: found.append(read(str(folder / "plain.csv"))))
        assert found == [len(rows)]
        return took

    return way


def read_by_csv(folder: Path, rows: list[dict[str, float]]) -> Way:
    def read(path: str) -> int:
        with open(path, newline="") as file:
            return len([[float(one) for one in row] for row in list(csv.reader(file))[1:]])

    return _reading(folder, rows, read)


def read_by_us(folder: Path, rows: list[dict[str, float]]) -> Way:
    return _reading(
        folder, rows, lambda path: len(outlast.Metrics.from_csv(Path(path).read_text())["metric_0"])
    )


def read_by_pandas(folder: Path, rows: list[dict[str, float]]) -> Way:
    import pandas

    return _reading(folder, rows, lambda path: len(pandas.read_csv(path)))


if __name__ == "__main__":
    main()
