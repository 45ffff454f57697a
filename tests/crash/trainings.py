"""Trainings to be killed: each ends with a report of hashes that depend on every bit before.

Shuffling, dropout and batch normalisation draw and remember; the callbacks stop early, restore the
best weights, keep the best model, cut the rate and write a table. Data and sizes are small, so that
there are many saves and little else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

import outlast
from outlast.frameworks import random_state

EPOCHS = 40  # at most: each training stops itself earlier
SAMPLES, FEATURES, CLASSES, BATCH = 90, 8, 3, 16  # the last batch of an epoch is a short one
SEED = 7

Report = dict[str, str]
EpochBegins = Callable[[], object]


def keras_fit(folder: str, epoch_begins: EpochBegins, **options: Any) -> Report:
    """Keras's ``fit`` with a Run, on the backend of this process."""
    import keras

    model = _keras_model()
    run = outlast.Run(folder, _callbacks(), **options)
    _fit(model, [run, keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: epoch_begins())])
    return {
        "weights": _hash(model.get_weights()),
        "model's variables": _hash(variable.numpy() for variable in model.variables),
        "optimizer": _hash(variable.numpy() for variable in model.optimizer.variables),
        "best model": _hash(run.load_best().get_weights()),
        "model.history": json.dumps([model.history.history, model.history.epoch]),
        **_files_and_decisions(run),
    }


def keras_fit_inside(folder: str, epoch_begins: EpochBegins) -> Report:
    """The same, saved inside its epochs."""
    return keras_fit(folder, epoch_begins, save_every=3)


def keras_fit_with_its_own(folder: str, epoch_begins: EpochBegins) -> Report:
    """The same with Keras's own callbacks, as its guides combine them, BackupAndRestore among them."""
    import keras

    root = Path(folder)
    root.mkdir(exist_ok=True)
    model = _keras_model()
    callbacks = [
        keras.callbacks.BackupAndRestore(str(root / "backup")),
        keras.callbacks.EarlyStopping(patience=6, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(str(root / "best.keras"), save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=2),
        keras.callbacks.CSVLogger(str(root / "history.csv"), append=True),
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: epoch_begins()),
    ]
    _fit(model, callbacks)
    return {
        "weights": _hash(model.get_weights()),
        "best model": _hash(keras.saving.load_model(root / "best.keras").get_weights()),
        "history.csv": _hash_file(root / "history.csv"),
    }


def torch_loop(folder: str, epoch_begins: EpochBegins) -> Report:
    """A loop of one's own: a loader with a generator of its own, and a scheduler that is a part."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    x, y = (torch.from_numpy(array) for array in _data())
    model = nn.Sequential(
        nn.Linear(FEATURES, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, CLASSES)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 7, 11], gamma=0.7)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x[:SAMPLES], y[:SAMPLES]),
        batch_size=BATCH,
        shuffle=True,
        generator=torch.Generator().manual_seed(SEED),
    )
    run = outlast.Run(folder, _callbacks(), model=model, optimizer=optimizer, scheduler=scheduler)
    for _ in run.epochs(EPOCHS):
        epoch_begins()
        model.train()
        for inputs, targets in run.batches(loader):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(loss=loss, weight=len(inputs))
        scheduler.step()
        model.eval()
        with torch.no_grad():
            run.log(val_loss=nn.functional.cross_entropy(model(x[SAMPLES:]), y[SAMPLES:]))
    return {
        "weights": _hash(tensor.numpy() for tensor in model.state_dict().values()),
        "optimizer": _hash(_leaves(optimizer.state_dict())),
        "scheduler": json.dumps(scheduler.state_dict(), default=dict),
        "best model": _hash(tensor.numpy() for tensor in run.load_best().values()),
        **_files_and_decisions(run),
    }


def torch_loop_that_forgets(folder: str, epoch_begins: EpochBegins) -> Report:
    """What a resume without the random generators would come to."""
    random_state.restore = lambda state: None
    return torch_loop(folder, epoch_begins)


def _keras_model() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(SEED)  # without it TensorFlow's order of samples cannot be put back
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=loss, metrics=["accuracy"])
    return model


def _fit(model: Any, callbacks: list[Any]) -> None:
    x, y = _data()
    model.fit(
        x[:SAMPLES],
        y[:SAMPLES],
        validation_data=(x[SAMPLES:], y[SAMPLES:]),
        batch_size=BATCH,
        epochs=EPOCHS,
        verbose=0,
        callbacks=callbacks,
    )


def _callbacks() -> list[outlast.Callback]:
    return [
        outlast.EarlyStopping(patience=6, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.CSVLogger(),
        outlast.ReduceLROnPlateau(factor=0.5, patience=2),
    ]


def _data() -> tuple[Any, Any]:
    """Samples of shape (n, FEATURES) and noisy classes; those from SAMPLES on are for validation."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(2 * SAMPLES, FEATURES)).astype("float32")
    y = (x @ rng.normal(size=(FEATURES, CLASSES)) + rng.normal(size=(len(x), CLASSES))).argmax(1)
    return x, y


def _files_and_decisions(run: outlast.Run) -> Report:
    return {
        "history.csv": _hash_file(Path(run.folder, "history.csv")),
        "journal.jsonl": _hash_file(Path(run.folder, "journal.jsonl")),
        "run.history": json.dumps(run.history.rows),
        "run.best": f"{run.best.monitor} {run.best.value!r} in epoch {run.best.epoch}",
        "why it stopped": "; ".join(decision.sentence for decision in run.decisions if decision.stop),
    }


def _leaves(tree: Any) -> Iterable[Any]:
    """Everything in a state dict, in its order: keys, numbers, and tensors as arrays."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _leaves(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _leaves(value)
    else:
        yield tree.numpy() if hasattr(tree, "numpy") else tree


def _hash(values: Iterable[Any]) -> str:
    """Of dtypes, shapes and bits; what is no array counts by its ``repr``."""
    digest = hashlib.sha256()
    for value in values:
        is_array = hasattr(value, "__array__")
        array = np.ascontiguousarray(value) if is_array else np.frombuffer(repr(value).encode(), np.uint8)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
