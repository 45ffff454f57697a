"""What a save costs a JAX loop: how long training waits, and what the step after it takes.

    python bench/jax_save.py [--sizes 10 100] [--rounds 7]

A state of 324 arrays, with a step that donates its buffers and with one that does not; beside it one copy of
the same memory, and a usual step.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from side_by_side import Way, compare, seconds_of

import outlast

ARRAYS, STEPS = 324, 6
COPY = "one copy of the memory"
KINDS = {"a step that keeps its buffers": False, "a step that donates them": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100], help="megabytes")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for size in options.sizes:
        report(size, options.rounds)


def report(size: int, rounds: int) -> None:
    source, target = (np.ones(size << 20, "uint8") for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="outlast-bench-") as folder:
        trainings = {name: Training(f"{folder}/{donates}", size, donates) for name, donates in KINDS.items()}
        waits: dict[str, Way] = {COPY: lambda: seconds_of(lambda: np.copyto(target, source))}
        waits |= {name: one.save for name, one in trainings.items()}
        compare(f"{size} MB in JAX saved: how long training waits", waits, beside=COPY, rounds=rounds)
        for name, one in trainings.items():
            steps = {"a usual step": one.usual, "the step after a save": one.after_a_save}
            compare(f"{size} MB in JAX, {name}", steps, beside="a usual step", rounds=rounds)
            one.leave()


class Training:
    """A loop on a state of some megabytes, which is saved when it is told to."""

    def __init__(self, folder: str, megabytes: int, donates: bool) -> None:
        donated = (0,) if donates else ()
        self._step = jax.jit(lambda s: jax.tree.map(lambda x: x * 0.999, s), donate_argnums=donated)
        length = (megabytes << 20) // 4 // ARRAYS
        state = {"params": {f"w{index}": jnp.ones(length) for index in range(ARRAYS)}}
        self._run = outlast.Run(folder, state=state)
        self._epochs: Any = self._run.epochs(10**6)
        next(self._epochs)

    def _train(self) -> None:
        self._run.state = jax.block_until_ready(self._step(self._run.state))

    def save(self) -> float:
        """The seconds that the end of an epoch takes."""
        self._train()
        took = seconds_of(lambda: next(self._epochs))
        self._run.flush()
        return took

    def after_a_save(self) -> float:
        self.save()
        return seconds_of(self._train)

    def usual(self) -> float:
        for _ in range(STEPS):
            self._train()
        return seconds_of(self._train)

    def leave(self) -> None:
        self._epochs.close()


if __name__ == "__main__":
    main()
