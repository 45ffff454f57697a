"""What a resume point costs, beside one copy of memory and a plain write, at several sizes.

    python bench/save_cost.py [--sizes 1 100 1000] [--rounds 7]

Each round measures every way once, in random order; the table shows medians, and ratios to the
copy (for the time that training is blocked) and to write + fsync (for the time until it is safe).
The rows with callbacks have EarlyStopping(restore_best_weights=True) in the run: in an epoch that is no
better nothing more is written; in one that is better the best weights are copied and written, once.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

import outlast
from outlast.storage.disk.calls import Calls, calls

PIECE = 1 << 22


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100, 1000], help="megabytes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'MB':>6} {'way':<28} {'blocked s':>10} {'x copy':>8} {'durable s':>10} {'x write':>8}")
    for size in options.sizes:
        report(size, measure(size, options.rounds, options.folder))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def measure(size: int, rounds: int, parent: str | None) -> dict[str, list[tuple[float, float]]]:
    """(blocked, durable) seconds of each way, one pair a round."""
    folder = tempfile.mkdtemp(dir=parent)
    model = torch.nn.ParameterList([torch.randn(1 << 18) for _ in range(max(1, size))])  # 1 MiB each
    arrays = [p.detach().numpy() for p in model]
    buffers = [np.zeros_like(array) for array in arrays]
    trainings = [Training(folder, model, callbacks) for callbacks in (0, 1, 2)]
    resumed = Training(folder, model, 0, resumed=True)

    def copy() -> tuple[float, float]:
        start = time.perf_counter()
        for buffer, array in zip(buffers, arrays, strict=True):
            np.copyto(buffer, array)
        took = time.perf_counter() - start
        return took, took

    def through_the_page_cache() -> tuple[float, float]:
        vars(calls)["open"] = lambda path, flags, mode=0o666: Calls.open(
            calls, path, flags & ~getattr(os, "O_DIRECT", 0), mode
        )
        try:
            return trainings[0].epoch()
        finally:
            del vars(calls)["open"]

    def plain_write() -> tuple[float, float]:
        start = time.perf_counter()
        with open(folder + "/plain", "wb", buffering=0) as file:
            for array in arrays:
                file.write(array.data.cast("B"))
            os.fsync(file.fileno())
        took = time.perf_counter() - start
        os.unlink(folder + "/plain")
        return took, took

    def torch_save() -> tuple[float, float]:
        start = time.perf_counter()
        with open(folder + "/saved.pt", "wb") as file:
            torch.save(model.state_dict(), file)
            file.flush()
            os.fsync(file.fileno())
        took = time.perf_counter() - start
        os.unlink(folder + "/saved.pt")
        return took, took

    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "copy of memory": copy,
        "write + fsync": plain_write,
        "resume point": trainings[0].epoch,
        "the same without O_DIRECT": through_the_page_cache,
        "resume point, resumed run": resumed.epoch,
        "1 callback, no better": trainings[1].epoch,
        "2 callbacks, no better": trainings[2].epoch,
        "1 callback, better": lambda: trainings[1].epoch(better=True),
        "2 callbacks, better": lambda: trainings[2].epoch(better=True),
        "torch.save + fsync": torch_save,
    }
    ways |= keras_ways(size, folder)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    try:
        for way in ways.values():  # memory warm, files made
            way()
        for _ in range(rounds):
            for name in random.sample(list(ways), len(ways)):
                found[name].append(ways[name]())
    finally:
        for training in (*trainings, resumed):
            training.run.__exit__(None, None, None)
        shutil.rmtree(folder)
    return found


class Training:
    """A run in the middle of its training, whose epochs end when they are told to.

    Args:
        folder: for the run.
        model: what is saved.
        callbacks: how many keep the best weights.
        resumed: it was left and started again.
    """

    def __init__(self, folder: str, model: torch.nn.Module, callbacks: int, resumed: bool = False) -> None:
        self._number, self._best = 0, 1e9
        where = f"{folder}/run-{callbacks}-{resumed}"
        for _ in range(1 + resumed):
            stopping = [
                outlast.EarlyStopping("loss", patience=10**9, restore_best_weights=True)
                for _ in range(callbacks)
            ]
            self.run = outlast.Run(where, stopping, model=model)
            self.run.on_train_begin()
            self.epoch(better=True)
            if resumed and not self._number > 1:
                self.run.__exit__(None, None, None)

    def epoch(self, better: bool = False) -> tuple[float, float]:
        """(blocked, durable) seconds of an epoch's end."""
        self._best -= better
        self.run.on_epoch_begin(self._number)
        start = time.perf_counter()
        self.run.on_epoch_end(self._number, {"loss": self._best + (not better)})
        blocked = time.perf_counter() - start
        self.run.flush()
        self._number += 1
        return blocked, time.perf_counter() - start


def keras_ways(size: int, folder: str) -> dict[str, Callable[[], tuple[float, float]]]:
    """Keras's own saves of a model of the same size."""
    try:
        import keras
    except ImportError:
        return {}
    if size > 500:  # they take minutes
        return {}
    width = 512
    layers = [keras.layers.Dense(width) for _ in range(max(1, size))]  # 1 MiB each
    model = keras.Sequential([keras.Input((width,)), *layers])

    def save(name: str) -> tuple[float, float]:
        start = time.perf_counter()
        if name.endswith(".weights.h5"):
            model.save_weights(folder + "/" + name)
        else:
            model.save(folder + "/" + name)
        fd = os.open(folder + "/" + name, os.O_RDWR)
        os.fsync(fd)
        os.close(fd)
        took = time.perf_counter() - start
        os.unlink(folder + "/" + name)
        return took, took

    return {
        "Keras weights + fsync": lambda: save("m.weights.h5"),
        "Keras .keras + fsync": lambda: save("m.keras"),
    }


def report(size: int, found: dict[str, list[tuple[float, float]]]) -> None:
    copies = [blocked for blocked, _ in found["copy of memory"]]
    writes = [durable for _, durable in found["write + fsync"]]
    for name, pairs in found.items():
        blocked = statistics.median(b for b, _ in pairs)
        durable = statistics.median(d for _, d in pairs)
        by_copy = statistics.median(b / c for (b, _), c in zip(pairs, copies, strict=True))
        by_write = statistics.median(d / w for (_, d), w in zip(pairs, writes, strict=True))
        print(f"{size:>6} {name:<28} {blocked:>10.4f} {by_copy:>8.2f} {durable:>10.4f} {by_write:>8.2f}")


if __name__ == "__main__":
    main()
