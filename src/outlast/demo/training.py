"""The demo's training: the digits that come with scikit-learn, and four callbacks.

The recipe was found by trying many, so that each callback has something to do: some epochs improve
and are saved, some do not and cost half of the learning rate, and it is time to stop long before
the last one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from outlast.callbacks.csv_logger import CSVLogger
from outlast.callbacks.early_stopping import EarlyStopping
from outlast.callbacks.model_checkpoint import ModelCheckpoint
from outlast.callbacks.progress_line import ProgressLine
from outlast.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from outlast.core.decision import Decision
from outlast.core.metrics import Metrics
from outlast.demo.ctrl_c import CtrlC
from outlast.run.run import Run
from outlast.views.curves import Best, best_epoch

BEST, HISTORY, PICTURE = FILES = ("best.keras", "history.csv", "history.png")

TRAINING, VALIDATION, BATCH = 900, 897, 32  # images
MONITOR = "val_loss"
ROUNDING = 1e-6  # relative; a backend may sum in another order when the model is loaded anew

Listener = Callable[[Decision], None]


@dataclass(frozen=True)
class Result:
    """What a training came to.

    Args:
        folder: where its files are.
        metrics: its history, as the CSV has it.
        decisions: all that the callbacks decided, in their order.
        interrupted: whether Ctrl-C ended it.
    """

    folder: str
    metrics: Metrics
    decisions: tuple[Decision, ...]
    interrupted: bool

    @property
    def best(self) -> Best | None:
        """The best epoch; None before the first."""
        return best_epoch(self.metrics, monitor=MONITOR) if self.metrics.epochs else None

    @property
    def stop(self) -> Decision | None:
        """The decision that ended it; None if it ran to its last epoch, or was interrupted."""
        return next((decision for decision in self.decisions if decision.stop), None)

    @property
    def files(self) -> dict[str, int]:
        """The files that are there, and their sizes in bytes."""
        paths = {name: os.path.join(self.folder, name) for name in FILES}
        return {name: os.path.getsize(path) for name, path in paths.items() if os.path.exists(path)}


@dataclass(frozen=True)
class Check:
    """What the best model's file gives when Keras alone loads it and evaluates it.

    Args:
        loss: on the validation data.
        accuracy: the same.
        best: the epoch that it was saved for.
    """

    loss: float
    accuracy: float
    best: Best

    @property
    def exact(self) -> bool:
        """Whether the loss is that epoch's, to the last bit."""
        return self.loss == self.best.value

    @property
    def holds(self) -> bool:
        """Whether the file is that epoch's model."""
        return math.isclose(self.loss, self.best.value, rel_tol=ROUNDING)


def train(folder: str, seed: int, epochs: int, listen: Listener | None, ctrl_c: CtrlC) -> Result:
    """Train the network with the four callbacks in Keras's ``fit``.

    Args:
        folder: where files go.
        seed: given to ``keras.utils.set_random_seed``.
        epochs: how many there are at most.
        listen: hears each decision when it is made; with it, a line is printed for each epoch.
        ctrl_c: is told if it came.

    Raises:
        KeyboardInterrupt: Ctrl-C came before the training.
    """
    import keras  # noqa: F401  (takes seconds, as the next lines do: Ctrl-C in them is looked at)

    ctrl_c.look()
    model, data = prepared(seed)
    ctrl_c.look()
    decisions: list[Decision] = []

    def hear(decision: Decision) -> None:
        decisions.append(decision)
        if listen is not None:
            listen(decision)

    progress = [ProgressLine(["loss", MONITOR, "val_accuracy"])] if listen else []
    run = Run(folder, [*progress, *callbacks()], seed=seed, listen=hear)
    try:
        model.fit(**data, epochs=epochs, callbacks=[run])
    except KeyboardInterrupt:  # the run has ended at a good moment: what it committed is whole
        ctrl_c.noted = True
    return Result(folder, history(folder), tuple(decisions), ctrl_c.noted)


def fit(callback: Any, seed: int, epochs: int) -> Any:
    """Train the network in Keras's ``fit`` with one callback. Returns the model."""
    model, data = prepared(seed)
    model.fit(**data, epochs=epochs, callbacks=[callback])
    return model


def prepared(seed: int) -> tuple[Any, dict[str, Any]]:
    """The network, and what its ``fit`` takes."""
    import keras

    x, y, validation = digits()
    keras.utils.set_random_seed(seed)
    return network(), {"x": x, "y": y, "batch_size": BATCH, "verbose": 0, "validation_data": validation}


def callbacks() -> list[Any]:
    """The four, in the order in which they are called; their files are in the run's folder."""
    return [
        EarlyStopping(patience=8, restore_best_weights=True),
        ModelCheckpoint(save_best_only=True),
        ReduceLROnPlateau(factor=0.5, patience=3),
        CSVLogger(),
    ]


def digits() -> tuple[Any, Any, tuple[Any, Any]]:
    """The images to train with, their digits, and those of both to validate with.

    Images are float32 arrays of shape (n, 64), black to white from 0 to 1; digits are integers.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    data, target = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(TRAINING + VALIDATION)
    x, y = (data / 16).astype("float32")[order], target[order]
    return x[:TRAINING], y[:TRAINING], (x[TRAINING:], y[TRAINING:])


def network() -> Any:
    """The compiled model: two hidden layers, ten logits."""
    from keras import Input, Sequential, layers, losses, optimizers

    model = Sequential(
        [
            Input((64,)),
            layers.Dense(512, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=optimizers.Adam(1e-2),
        loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def history(folder: str) -> Metrics:
    """What the CSV has, after however much of a training."""
    path = os.path.join(folder, HISTORY)
    if not os.path.exists(path):
        return Metrics.from_rows([])
    with open(path, encoding="utf-8", newline="") as file:
        return Metrics.from_csv(file.read())


def evaluate(result: Result) -> Check | None:
    """Load the best model with Keras alone and evaluate it; None if no epoch was ever the best."""
    import keras

    if result.best is None:
        return None
    _, _, (x, y) = digits()
    model = keras.saving.load_model(os.path.join(result.folder, BEST))
    found = model.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    return Check(found["loss"], found["accuracy"], result.best)
