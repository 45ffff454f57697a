"""What resume points inside an epoch cost a step, beside what others save as often.

    KERAS_BACKEND=jax python bench/inside_cost.py [fit] [jax] [torch] [batch] [--rounds 5] [--steps 1000]

Each training is run once a round, all of them in random order; the table shows the median time of a step
between the first and the last batch, and its ratio to that of the same training without any saving.
``batch`` is the time that a Run adds to a batch in which nothing is saved. Orbax is measured if it is
installed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import outlast
from outlast.testing import FakeAdapter

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WIDTH, OFTEN, RARELY = 270, 1, 100
Way = Callable[[str], float]  # trains in a folder, and gives the seconds of a step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["batch", "fit", "jax", "torch"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for part in options.parts:
        if part == "batch":
            print(f"a batch without a save: a Run adds {added() * 1e6:.1f} us")
        else:
            ways = {"fit": keras_fit, "jax": jax_loop, "torch": torch_loop}[part](options.steps)
            report(part, ways, options.rounds)


def report(part: str, ways: dict[str, Way], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in random.Random(turn).sample(sorted(ways), len(ways)):
            folder = tempfile.mkdtemp()
            took = ways[name](folder)
            shutil.rmtree(folder)
            if turn:  # the first compiles
                times[name].append(took)
    plain = statistics.median(times["nothing"])
    print(f"\n{part}: steps of {plain * 1e3:.2f} ms")
    for name, found in times.items():
        print(
            f"  {name:<42} {statistics.median(found) * 1e3:8.2f} ms  x{statistics.median(found) / plain:.2f}"
        )


class Clock:
    """Batches, and how long a training takes from the first to the last."""

    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches
        self._times = [0.0] * len(batches)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        self._times[index] = time.perf_counter()
        return self._batches[index]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    @property
    def seconds(self) -> float:
        """Of a step."""
        return (self._times[-1] - self._times[0]) / (len(self) - 1)


def added(batches: int = 100_000) -> float:
    """Seconds that a Run with resume points inside epochs adds to a batch."""
    data = [np.zeros((32, 8), "float32")] * batches

    def through(found: Iterator[Any]) -> float:
        began = time.perf_counter()
        for _ in found:
            pass
        return (time.perf_counter() - began) / batches

    def in_a_run() -> float:
        run = outlast.Run(tempfile.mkdtemp() + "/run", adapter=FakeAdapter(), save_every=10**9)
        (took,) = [through(run.batches(data)) for _ in run.epochs(1)]
        return took

    return min(in_a_run() for _ in range(5)) - min(through(iter(data)) for _ in range(5))


def keras_fit(steps: int) -> dict[str, Way]:
    """A model whose weights and Adam are about 3 MB, in Keras's fit."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(WIDTH, "relu") for _ in range(4)]
    model = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    clock = Clock([(np.zeros((16, 64), "float32"), np.zeros((16, 1), "float32"))] * steps)

    class Data(keras.utils.PyDataset):
        """The batches of the clock."""

        def __len__(self) -> int:
            return len(clock)

        def __getitem__(self, index: int) -> Any:
            return clock[index]

    def fit(callbacks: Callable[[str], list[Any]], folder: str) -> float:
        model.fit(Data(), epochs=1, shuffle=False, verbose=0, callbacks=callbacks(folder))
        return clock.seconds

    def run(save_every: Any) -> Way:
        return partial(fit, lambda folder: [outlast.Run(folder + "/run", save_every=save_every)])

    def keras_own(save_freq: int) -> Way:
        own = keras.callbacks.BackupAndRestore
        return partial(fit, lambda folder: [own(folder + "/backup", save_freq=save_freq)])

    return {
        "nothing": partial(fit, lambda folder: []),
        "outlast.Run": run("epoch"),
        f"outlast.Run(save_every={RARELY})": run(RARELY),
        f"BackupAndRestore(save_freq={RARELY})": keras_own(RARELY),
        f"outlast.Run(save_every={OFTEN})": run(OFTEN),
        f"BackupAndRestore(save_freq={OFTEN})": keras_own(OFTEN),
    }


def jax_loop(steps: int) -> dict[str, Way]:
    """A state of 3 MB whose step donates it."""
    import jax
    import jax.numpy as jnp

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any) -> Any:
        for name in state["weights"]:
            x = jnp.tanh(x @ state["weights"][name])
        weights = {name: one - 1e-3 * x.mean() for name, one in state["weights"].items()}
        return {"weights": weights, "mean": {name: 0.9 * one for name, one in state["mean"].items()}}

    def made() -> Any:
        weights = {f"w{index}": jnp.full((WIDTH, WIDTH), 1e-2) for index in range(5)}
        return {"weights": weights, "mean": {name: jnp.zeros_like(one) for name, one in weights.items()}}

    clock = Clock([np.ones((256, WIDTH), "float32")] * steps)

    def plain(folder: str, save: Callable[[int, Any], object] = lambda done, state: None) -> float:
        state = made()
        for done, x in enumerate(clock):
            state = jax.block_until_ready(step(state, x))
            save(done + 1, state)
        return clock.seconds

    def run(save_every: Any, folder: str) -> float:
        run = outlast.Run(
            folder + "/run", state=made(), weights=lambda state: state["weights"], save_every=save_every
        )
        for _ in run.epochs(1):
            for x in run.batches(clock):
                run.state = jax.block_until_ready(step(run.state, x))
        return clock.seconds

    ways: dict[str, Way] = {"nothing": plain}
    for every in (RARELY, OFTEN):
        ways[f"outlast.Run(save_every={every})"] = partial(run, every)
        orbax = _orbax(every)
        if orbax is not None:
            ways[f"Orbax, asynchronous, every {every}"] = partial(orbax, plain)
    return ways


def _orbax(every: int) -> Callable[[Callable[..., float], str], float] | None:
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        return None

    def train(plain: Callable[..., float], folder: str) -> float:
        options = ocp.CheckpointManagerOptions(max_to_keep=2, save_interval_steps=every)
        with ocp.CheckpointManager(folder + "/orbax", options=options) as manager:
            return plain(folder, lambda done, state: manager.save(done, args=ocp.args.StandardSave(state)))

    return train


def torch_loop(steps: int) -> dict[str, Way]:
    """A model whose weights and Adam are about 3 MB, in a loop of one's own."""
    import torch

    torch.set_num_threads(1)
    layers = [torch.nn.Linear(WIDTH, WIDTH) for _ in range(4)]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters())
    clock = Clock([torch.ones(64, WIDTH)] * steps)

    def step(x: Any) -> None:
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def plain(every: int | None, folder: str) -> float:
        for done, x in enumerate(clock):
            step(x)
            if every and (done + 1) % every == 0:
                with open(folder + "/new", "wb") as file:
                    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(folder + "/new", folder + "/state.pt")
        return clock.seconds

    def run(save_every: Any, folder: str) -> float:
        run = outlast.Run(folder + "/run", model=model, optimizer=optimizer, save_every=save_every)
        for _ in run.epochs(1):
            for x in run.batches(clock):
                step(x)
        return clock.seconds

    ways: dict[str, Way] = {"nothing": partial(plain, None)}
    for every in (RARELY, OFTEN):
        ways[f"outlast.Run(save_every={every})"] = partial(run, every)
        ways[f"torch.save and fsync, every {every}"] = partial(plain, every)
    return ways


if __name__ == "__main__":
    main()
