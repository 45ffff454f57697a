"""The training of the demo: the digits of scikit-learn, and four callbacks.

The settings are chosen so that each callback has something to do: some epochs improve and are saved,
others do not and the learning rate is halved, and training stops long before the last epoch.
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
from outlast.exceptions import ArgumentError
from outlast.run.run import Run
from outlast.storage.disk import files
from outlast.views.curves import BestEpoch, best_epoch
from outlast.views.text import escaped

BEST, HISTORY, PICTURE = FILES = ("best.keras", "history.csv", "history.png")

TRAINING, VALIDATION, BATCH = 900, 897, 32  # images
MONITOR = "val_loss"
ROUNDING = 1e-6  # relative; a backend can sum in another order in a model that was loaded

Listener = Callable[[Decision], None]


@dataclass(frozen=True)
class Result:
    """The result of a training.

    Args:
        folder: where its files are.
        metrics: its history, read from the CSV.
        decisions: all decisions of the callbacks, in order.
        interrupted: whether Ctrl-C ended it.
    """

    folder: str
    metrics: Metrics
    decisions: tuple[Decision, ...]
    interrupted: bool

    @property
    def best(self) -> BestEpoch | None:
        """The best epoch; None if there is no epoch yet."""
        return best_epoch(self.metrics, monitor=MONITOR) if self.metrics.epochs else None

    @property
    def stop(self) -> Decision | None:
        """The decision that stopped it; None if it reached its last epoch or was interrupted."""
        return next((decision for decision in self.decisions if decision.stop), None)

    @property
    def files(self) -> dict[str, int]:
        """The files that exist, with their sizes in bytes."""
        paths = {name: os.path.join(self.folder, name) for name in FILES}
        return {name: os.path.getsize(path) for name, path in paths.items() if os.path.exists(path)}


@dataclass(frozen=True)
class Check:
    """The file of the best model, loaded and evaluated by Keras alone.

    Args:
        loss: on the validation data.
        accuracy: on the validation data.
        best: the epoch in which it was saved.
    """

    loss: float
    accuracy: float
    best: BestEpoch

    @property
    def exact(self) -> bool:
        """Whether the loss equals that of the epoch, to the last bit."""
        return self.loss == self.best.value

    @property
    def holds(self) -> bool:
        """Whether the file holds the model of that epoch."""
        return math.isclose(self.loss, self.best.value, rel_tol=ROUNDING)


def train(folder: str, seed: int, epochs: int, listen: Listener | None, ctrl_c: CtrlC) -> Result:
    """Train the network with the four callbacks in Keras's ``fit``.

    Args:
        folder: where the files go.
        seed: passed to ``keras.utils.set_random_seed``.
        epochs: how many epochs at most.
        listen: called with each decision; if given, a line is printed for each epoch.
        ctrl_c: says whether Ctrl-C was pressed.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed before the training began.
    """
    import keras  # noqa: F401  (takes seconds, like the next lines, so Ctrl-C is checked after each)

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
    except KeyboardInterrupt:  # the run ended at a safe moment, after a commit
        ctrl_c.noted = True
    return Result(folder, history(folder), tuple(decisions), ctrl_c.noted)


def prepared(seed: int) -> tuple[Any, dict[str, Any]]:
    """The network, and the arguments for its ``fit``."""
    import keras

    x, y, validation = digits()
    keras.utils.set_random_seed(seed)
    return network(), {"x": x, "y": y, "batch_size": BATCH, "verbose": 0, "validation_data": validation}


def callbacks() -> list[Any]:
    """The four callbacks, in the order in which they are called; they write into the run's folder."""
    return [
        EarlyStopping(patience=8, restore_best_weights=True),
        ModelCheckpoint(save_best_only=True),
        ReduceLROnPlateau(factor=0.5, patience=3),
        CSVLogger(),
    ]


def digits() -> tuple[Any, Any, tuple[Any, Any]]:
    """Images and labels for training, and a pair of them for validation.

    Images are float32 arrays of shape (n, 64), from 0 (black) to 1 (white); labels are integers.
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


def take_folder(folder: str, is_ours: Callable[[str], bool], whose: str) -> list[str]:
    """Make the folder, or list the files of an earlier demo; refuse a folder with other files."""
    files.make_folder(folder)
    files.probe_writable(folder)
    names = sorted(os.listdir(folder))
    others = [name for name in names if not is_ours(name)]
    if others:
        raise ArgumentError(
            f"The folder {folder} has other files than {whose}'s, such as {escaped(others[0])!r}: "
            "name a new folder with --folder."
        )
    return names


def history(folder: str) -> Metrics:
    """The history in the CSV; without rows if there is no file yet."""
    path = os.path.join(folder, HISTORY)
    if not os.path.exists(path):
        return Metrics.from_rows([])
    with open(path, encoding="utf-8", newline="") as file:
        return Metrics.from_csv(file.read())


def evaluate(result: Result) -> Check | None:
    """Load the best model with Keras alone and evaluate it; None if no epoch was saved."""
    import keras

    if result.best is None:
        return None
    _, _, (x, y) = digits()
    model = keras.saving.load_model(os.path.join(result.folder, BEST))
    found = model.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    return Check(found["loss"], found["accuracy"], result.best)
