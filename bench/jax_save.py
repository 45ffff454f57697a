"""What a save costs a JAX loop: how long training waits, and what the step after it takes.

    python bench/jax_save.py [MB ...]

A state of 324 arrays, with a step that donates its buffers and with one that does not. Medians of seven
saves in one process, while nothing else is written; beside them one copy of the same memory.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import outlast

ARRAYS, SAVES, STEPS = 324, 7, 6


def seconds(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def copying(size: int) -> float:
    source, target = np.ones(size, "uint8"), np.ones(size, "uint8")
    return statistics.median(seconds(lambda: np.copyto(target, source)) for _ in range(SAVES))


def measure(megabytes: int, donates: bool) -> None:
    length = megabytes * 1_000_000 // 4 // ARRAYS
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 0.999, s), donate_argnums=(0,) if donates else ())
    state = {"params": {f"w{index}": jnp.ones(length) for index in range(ARRAYS)}}
    copy = copying(megabytes * 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        run = outlast.Run(folder + "/run", state=state)
        del state
        blocked, first, others = [], [], []

        def train() -> None:
            run.state = jax.block_until_ready(step(run.state))

        epochs = run.epochs(SAVES + 1)
        next(epochs)
        for _ in range(SAVES):
            times = [seconds(train) for _ in range(STEPS)]
            first.append(times[0])
            others += times[2:]
            blocked.append(seconds(lambda: next(epochs)))
            run.flush()
        waited, after, usual = map(statistics.median, (blocked, first, others))
        kind = "donating" if donates else "not donating"
        print(
            f"{megabytes} MB, {kind}: training waits {waited * 1e3:.0f} ms, x{waited / copy:.1f} of a copy "
            f"({copy * 1e3:.0f} ms); the step after a save x{after / usual:.1f}"
        )


if __name__ == "__main__":
    for megabytes in map(int, sys.argv[1:] or ["10", "100", "1000"]):
        for donates in (False, True):
            measure(megabytes, donates)
