"""What callbacks cost in Keras's fit, beside Keras's own: the whole training of a small model.

    KERAS_BACKEND=jax python bench/fit_cost.py [--batches 3000] [--epochs 2] [--rounds 5]

Four callbacks: early stopping, the best model, a CSV, a lower rate on a plateau. Ours are given to fit in a
plain list, and in the list that ``outlast.frameworks.keras.callbacks`` makes; alone, and in a Run. Each
training takes the same steps, and ends with the same weights.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from side_by_side import compare, seconds_of

import outlast

SIZE = 4  # of a batch
PLACE = tempfile.TemporaryDirectory(prefix="outlast-bench-")
fast = outlast.frameworks.keras.callbacks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    training = Training(options.batches, options.epochs)
    lists: dict[str, Callable[[], Any]] = {
        "fit without callbacks": list,
        "Keras's four": lambda: four(keras.callbacks, folder()),
        "our four": lambda: four(outlast, folder()),
        "our four in a Run": in_a_run,
        "the fast list, without callbacks": fast,
        "the fast list, Keras's four": lambda: fast(four(keras.callbacks, folder())),
        "the fast list, our four": lambda: fast(four(outlast, folder())),
        "the fast list, our four in a Run": lambda: fast(in_a_run()),
    }
    ways = {name: partial(training.seconds, make) for name, make in lists.items()}
    backend = keras.backend.backend()
    on = f"{backend} {import_module(backend).__version__}"
    title = f"Keras's fit on {on}: {options.epochs} epochs of {options.batches} batches"
    steps = options.batches * options.epochs
    compare(title, ways, beside="fit without callbacks", rounds=options.rounds, unit="us", per=steps)
    training.check()


class Training:
    """The same training again and again, with other callbacks."""

    def __init__(self, batches: int, epochs: int) -> None:
        self._epochs = epochs
        self._x = np.random.default_rng(0).random((SIZE * batches, 4), dtype="float32")
        self._y = self._x[:, :1].copy()
        self._ended: set[bytes] = set()

    def seconds(self, callbacks: Callable[[], Any]) -> float:
        """Train once."""
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"])
        few = 8 * SIZE
        held_out = (self._x[:few], self._y[:few])
        fit = partial(model.fit, validation_data=held_out, batch_size=SIZE, shuffle=False, verbose=0)
        fit(*held_out, epochs=1)  # compiles
        given = callbacks()
        took = seconds_of(lambda: fit(self._x, self._y, epochs=self._epochs, callbacks=given))
        self._ended.add(b"".join(one.tobytes() for one in model.get_weights()))
        return took

    def check(self) -> None:
        """All have trained the same."""
        assert len(self._ended) == 1, "the callbacks have changed the training"


def folder() -> Path:
    return Path(tempfile.mkdtemp(dir=PLACE.name))


def four(library: Any, at: Path) -> list[Any]:
    """The four callbacks of Keras or of outlast."""
    return [
        library.EarlyStopping(monitor="val_loss", patience=5),
        library.ModelCheckpoint(str(at / "best.keras"), save_best_only=True),
        library.ReduceLROnPlateau(),
        library.CSVLogger(str(at / "history.csv")),
    ]


def in_a_run() -> Any:
    callbacks = [
        outlast.EarlyStopping(monitor="val_loss", patience=5),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.ReduceLROnPlateau(),
        outlast.CSVLogger(),
    ]
    return [outlast.Run(folder() / "run", callbacks)]


if __name__ == "__main__":
    main()
