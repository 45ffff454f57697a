"""What the end of an epoch costs in Keras's fit with four callbacks, beside Keras's own four.

    KERAS_BACKEND=jax python bench/epoch_cost.py [--sizes 1 100] [--epochs 40 5] [--rounds 5]

Each epoch trains one batch and is better than the one before, so that each saves the best model, with its
optimizer; the first file, which Keras writes for ours, too, counts. In the first table epochs follow each
other at once, so that the writer is the limit; in the second each epoch is long enough for it, and what
counts is what it takes longer. Ours wait for the disk, or have a writer that does; Keras's do not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from side_by_side import Way, compare, seconds_of

import outlast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 100], help="megabytes of a model's weights"
    )
    parser.add_argument("--epochs", type=int, nargs="+", default=[40, 5], help="of a training, by size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    options = parser.parse_args()
    for size, epochs in zip(options.sizes, cycle(options.epochs)):
        training = Training(size, epochs, options.folder)
        ways = {name: partial(training.seconds, make) for name, make in LISTS.items()}
        report = partial(compare, beside="Keras's four", rounds=options.rounds, per=epochs)
        report(f"the end of an epoch, {size} MB, one after the other", ways)
        training.pause = 0.05 + size * 0.04
        waits: dict[str, Way] = {name: partial(training.waited, make) for name, make in LISTS.items()}
        report(f"the same, in epochs of {training.pause:.2f} s", waits)


class Training:
    """A model of some size, trained for some epochs again and again.

    Attributes:
        pause: seconds that an epoch takes.
    """

    def __init__(self, megabytes: int, epochs: int, parent: str | None) -> None:
        self._epochs, self._parent = epochs, parent
        self.pause = 0.0
        width = 512 if megabytes > 1 else 256
        layers = [keras.layers.Dense(width) for _ in range(max(1, megabytes * 2**18 // width**2))]
        self._model = keras.Sequential([keras.Input((width,)), *layers])
        self._model.compile("adam", "mse")
        self._data = (np.ones((8, width), "float32"), np.ones((8, width), "float32"))
        self._fit([], 1)  # compiles

    def _fit(self, callbacks: list[Any], epochs: int) -> None:
        first = [Better(self.pause), *callbacks]
        self._model.fit(*self._data, epochs=epochs, verbose=0, callbacks=first)

    def seconds(self, make: Callable[[Path], list[Any]]) -> float:
        """All epochs, until the last is saved."""
        return self._measured(make, 0.0)

    def waited(self, make: Callable[[Path], list[Any]]) -> float:
        """The same, without the epochs themselves."""
        return self._measured(make, self.pause * self._epochs)

    def _measured(self, make: Callable[[Path], list[Any]], idle: float) -> float:
        folder = Path(tempfile.mkdtemp(prefix="outlast-bench-", dir=self._parent))
        try:
            callbacks = make(folder)
            took = seconds_of(lambda: self._fit(callbacks, self._epochs))
            if callbacks:
                found = [*folder.rglob("best.keras")]
                assert len(found) == 1, "the best model is not there"
                keras.saving.load_model(found[0])
        finally:
            shutil.rmtree(folder)
        return took - idle


class Better(keras.callbacks.Callback):  # type: ignore[misc]
    """Each epoch takes a while, and is better than the one before."""

    def __init__(self, pause: float) -> None:
        super().__init__()
        self._pause = pause

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        time.sleep(self._pause)
        logs["val_loss"] = -epoch


def four(library: Any, folder: Path | None, *, best_weights: bool = False) -> list[Any]:
    """The four callbacks of Keras or of outlast; without a folder as a Run takes them."""
    return [
        library.EarlyStopping(monitor="val_loss", patience=5, restore_best_weights=best_weights),
        library.ModelCheckpoint(*([str(folder / "best.keras")] if folder else []), save_best_only=True),
        library.ReduceLROnPlateau(),
        library.CSVLogger(*([str(folder / "history.csv")] if folder else [])),
    ]


LISTS: dict[str, Callable[[Path], list[Any]]] = {
    "without callbacks": lambda folder: [],
    "Keras's four": lambda folder: four(keras.callbacks, folder),
    "our four": lambda folder: four(outlast, folder),
    "our four in a Run": lambda folder: [outlast.Run(folder / "run", four(outlast, None))],
    "Keras's four, best weights too": lambda folder: four(keras.callbacks, folder, best_weights=True),
    "our four in a Run, best weights too": lambda folder: [
        outlast.Run(folder / "run", four(outlast, None, best_weights=True))
    ],
}

if __name__ == "__main__":
    main()
