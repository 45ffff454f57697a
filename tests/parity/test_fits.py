"""Real fits with ours and with Keras's: the same epochs, rates, files, texts, and weights bit for bit."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from tests.parity.oracle import comparable, read_all

import outlast

Spec = tuple[str, dict[str, Any]]  # a class and its settings
few = profile(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Trial:
    """A model that is compiled once and begins each fit from the same state.

    Args:
        model: compiled.
        data: arguments of ``fit``.
    """

    def __init__(self, model: Any, data: dict[str, Any]) -> None:
        self.model = model
        self.data = data
        model.fit(**{**data, "epochs": 1}, verbose=0)  # builds the optimizer and compiles the step
        self._begin = [keras.ops.convert_to_numpy(variable).copy() for variable in self._variables()]

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def restart(self) -> None:
        keras.utils.set_random_seed(0)
        for variable, value in zip(self._variables(), self._begin, strict=True):
            variable.assign(value)

    def state(self) -> list[bytes]:
        return [keras.ops.convert_to_numpy(variable).tobytes() for variable in self._variables()]


@cache
def small(steps_per_execution: int = 1) -> Trial:
    """Learns fast, then overfits; Dropout makes its seed part of the state."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.Adam(0.05)
    model.compile(optimizer=optimizer, loss="mse", metrics=["mae"], steps_per_execution=steps_per_execution)
    random = np.random.default_rng(0)
    x = random.normal(size=(48, 4)).astype("float32")
    y = (x.sum(axis=1, keepdims=True) + random.normal(size=(48, 1))).astype("float32")
    data = {"x": x[:24], "y": y[:24], "validation_data": (x[24:], y[24:]), "batch_size": 4}
    return Trial(model, data)


@dataclass(frozen=True)
class Outcome:
    """All that a fit left behind."""

    epochs: list[int]
    history: dict[str, list[Any]]
    state: list[bytes]
    files: dict[str, Any]
    printed: str


def fitted(trial: Trial, callbacks: Sequence[Any], folder: Path, **options: Any) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    trial.restart()
    here = os.getcwd()
    os.chdir(folder)  # file names are part of what is printed
    try:
        with redirect_stdout(io.StringIO()) as out:
            history = trial.model.fit(**trial.data, callbacks=list(callbacks), verbose=0, **options)
    finally:
        os.chdir(here)
    files = {name: unpacked(content) for name, content in read_all(folder).items()}
    return Outcome(history.epoch, comparable(history.history), trial.state(), files, out.getvalue())


def unpacked(content: bytes) -> Any:
    """A .keras file is a zip whose metadata holds the time of day."""
    if not content.startswith(b"PK"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "metadata.json"}


def made(module: Any, specs: Sequence[Spec]) -> list[Any]:
    return [getattr(module, name)(**settings) for name, settings in specs]


def both(trial: Trial, specs: Sequence[Spec], folder: Path, **options: Any) -> tuple[Outcome, Outcome]:
    ours = fitted(trial, made(outlast, specs), folder / "ours", **options)
    theirs = fitted(trial, made(keras.callbacks, specs), folder / "theirs", **options)
    return ours, theirs


FOUR: list[Spec] = [
    ("EarlyStopping", {"patience": 3, "restore_best_weights": True, "verbose": 1}),
    ("ModelCheckpoint", {"filepath": "best.keras", "save_best_only": True, "verbose": 1}),
    ("ReduceLROnPlateau", {"factor": 0.5, "patience": 1, "verbose": 1}),
    ("CSVLogger", {"filename": "history.csv"}),
]


def test_the_four_together(tmp_path: Path) -> None:
    ours, theirs = both(small(), FOUR, tmp_path, epochs=40)
    assert ours == theirs
    assert "early stopping" in ours.printed
    assert "reducing learning rate" in ours.printed
    assert set(ours.files) == {"best.keras", "history.csv"}


def test_a_fit_can_be_compared_with_itself(tmp_path: Path) -> None:
    """Otherwise the other tests would show nothing."""
    first = fitted(small(), made(keras.callbacks, FOUR), tmp_path / "first", epochs=6)
    again = fitted(small(), made(keras.callbacks, FOUR), tmp_path / "again", epochs=6)
    slower: list[Spec] = [*FOUR, ("LearningRateScheduler", {"schedule": lambda epoch, rate: rate * 0.999})]
    other = fitted(small(), made(keras.callbacks, slower), tmp_path / "other", epochs=6)
    assert first == again
    assert first.state != other.state


LISTS: dict[str, tuple[list[Spec], dict[str, Any]]] = {
    "the rate is logged before the row": (
        [("ReduceLROnPlateau", {"patience": 1}), ("CSVLogger", {"filename": "h.csv"})],
        {"epochs": 4},
    ),
    "the rate is logged after the row": (
        [("CSVLogger", {"filename": "h.csv"}), ("ReduceLROnPlateau", {"patience": 1})],
        {"epochs": 4},
    ),
    "two of a kind": (
        [
            ("EarlyStopping", {"monitor": "loss", "patience": 50}),
            ("EarlyStopping", {"monitor": "val_mae", "patience": 2, "restore_best_weights": True}),
            ("ModelCheckpoint", {"filepath": "e{epoch}.weights.h5", "save_weights_only": True}),
            (
                "ModelCheckpoint",
                {"filepath": "b.weights.h5", "save_weights_only": True, "save_best_only": True},
            ),
            ("ReduceLROnPlateau", {"patience": 1, "factor": 0.5}),
            ("ReduceLROnPlateau", {"patience": 2, "factor": 0.1, "monitor": "val_mae"}),
            ("CSVLogger", {"filename": "a.csv"}),
            ("CSVLogger", {"filename": "b.csv", "separator": ";"}),
        ],
        {"epochs": 12},
    ),
    "validation every second epoch": (
        [
            ("ReduceLROnPlateau", {"patience": 1, "monitor": "loss"}),
            ("CSVLogger", {"filename": "h.csv"}),
            ("ModelCheckpoint", {"filepath": "b.keras", "monitor": "loss", "save_best_only": True}),
        ],
        {"epochs": 6, "validation_freq": 2},
    ),
    "later epochs": (
        [("EarlyStopping", {"patience": 2, "verbose": 1}), ("CSVLogger", {"filename": "h.csv"})],
        {"epochs": 30, "initial_epoch": 5},
    ),
    "every few batches": (
        [("ModelCheckpoint", {"filepath": "e{epoch}b{batch}.keras", "save_freq": 4, "verbose": 1})],
        {"epochs": 3},
    ),
    "a schedule and a plateau": (
        [
            ("LearningRateScheduler", {"schedule": lambda epoch, rate: rate * 0.9, "verbose": 1}),
            ("ReduceLROnPlateau", {"patience": 1, "verbose": 1}),
            ("CSVLogger", {"filename": "h.csv"}),
        ],
        {"epochs": 6},
    ),
    "a warm-up": (
        [
            (
                "EarlyStopping",
                {"patience": 1, "start_from_epoch": 4, "restore_best_weights": True, "verbose": 1},
            )
        ],
        {"epochs": 30},
    ),
    "a rate that makes the loss infinite": (
        [
            ("LearningRateScheduler", {"schedule": lambda epoch: 1e30 if epoch else 0.1}),
            ("TerminateOnNaN", {}),
            ("CSVLogger", {"filename": "h.csv"}),
            ("EarlyStopping", {"patience": 9, "restore_best_weights": True, "verbose": 1}),
        ],
        {"epochs": 9},
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_callbacks(tmp_path: Path, name: str) -> None:
    specs, options = LISTS[name]
    ours, theirs = both(small(), specs, tmp_path, **options)
    assert ours == theirs


@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
@pytest.mark.filterwarnings("ignore:Learning rate reduction is conditioned on metric")
def test_a_metric_that_comes_every_second_epoch(tmp_path: Path) -> None:
    specs: list[Spec] = [
        ("EarlyStopping", {"patience": 2, "restore_best_weights": True, "verbose": 1}),
        ("ReduceLROnPlateau", {"patience": 1, "verbose": 1}),
        ("CSVLogger", {"filename": "h.csv"}),
    ]
    ours, theirs = both(small(), specs, tmp_path, epochs=40, validation_freq=2)
    assert ours == theirs
    assert len(ours.epochs) < 40


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="only where several steps run in one call")
def test_several_steps_in_one_call(tmp_path: Path) -> None:
    specs: list[Spec] = [
        (
            "ModelCheckpoint",
            {"filepath": "e{epoch}b{batch}.weights.h5", "save_weights_only": True, "save_freq": 5},
        ),
        ("TerminateOnNaN", {}),
        ("CSVLogger", {"filename": "h.csv"}),
    ]
    ours, theirs = both(small(2), specs, tmp_path, epochs=3)
    assert ours == theirs
    assert len(ours.files) > 2


def test_one_instance_in_several_fits(tmp_path: Path) -> None:
    specs: list[Spec] = [
        ("EarlyStopping", {"patience": 1, "verbose": 1}),
        ("ModelCheckpoint", {"filepath": "b.weights.h5", "save_weights_only": True, "save_best_only": True}),
        ("ReduceLROnPlateau", {"patience": 1, "cooldown": 2}),
        ("CSVLogger", {"filename": "h.csv", "append": True}),
        ("ModelCheckpoint", {"filepath": "l{epoch}.weights.h5", "save_weights_only": True, "save_freq": 5}),
    ]
    outcomes = []
    for module in (outlast, keras.callbacks):
        callbacks = made(module, specs)
        folder = tmp_path / module.__name__
        outcomes.append([fitted(small(), callbacks, folder, epochs=epochs) for epochs in (3, 9, 2)])
    assert outcomes[0] == outcomes[1]


@st.composite
def lists(draw: st.DrawFn) -> tuple[list[Spec], dict[str, Any]]:
    """Up to five callbacks in any order, with settings of their own."""
    verbose = draw(st.integers(0, 1))
    patience = st.integers(0, 3)
    monitor = st.sampled_from(["val_loss", "loss", "val_mae"])
    kinds: dict[str, Callable[[int], dict[str, Any]]] = {
        "EarlyStopping": lambda index: {
            "monitor": draw(monitor),
            "patience": draw(patience),
            "verbose": verbose,
            "restore_best_weights": draw(st.booleans()),
            "baseline": draw(st.sampled_from([None, 1.0])),
            "start_from_epoch": draw(st.integers(0, 2)),
        },
        "ModelCheckpoint": lambda index: {
            "filepath": draw(st.sampled_from(["b", "e{epoch}"])) + f"_{index}.weights.h5",
            "monitor": draw(monitor),
            "verbose": verbose,
            "save_best_only": draw(st.booleans()),
            "save_weights_only": True,
        },
        "ReduceLROnPlateau": lambda index: {
            "monitor": draw(monitor),
            "factor": draw(st.sampled_from([0.5, 0.1])),
            "patience": draw(patience),
            "cooldown": draw(patience),
            "min_lr": draw(st.sampled_from([0.0, 0.01])),
            "verbose": verbose,
        },
        "CSVLogger": lambda index: {"filename": f"h_{index}.csv"},
        "TerminateOnNaN": lambda index: {},
    }
    names = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=5))
    specs = [(name, kinds[name](index)) for index, name in enumerate(names)]
    return specs, {"epochs": draw(st.integers(1, 8)), "initial_epoch": draw(st.integers(0, 1))}


@few
@given(case=lists())
def test_any_list_of_callbacks(tmp_path: Path, case: tuple[list[Spec], dict[str, Any]]) -> None:
    specs, options = case
    ours, theirs = both(small(), specs, Path(tempfile.mkdtemp(dir=tmp_path)), **options)
    assert ours == theirs


@cache
def digits() -> Trial:
    """scikit-learn's digits, with a network that gives each of the four something to do."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x / 16).astype("float32")[order], y[order]
    keras.utils.set_random_seed(0)
    wide = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((64,)), *wide, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(3e-2), loss=loss, metrics=["accuracy"])
    data = {"x": x[:600], "y": y[:600], "validation_data": (x[900:], y[900:]), "batch_size": 64}
    return Trial(model, data)


def test_the_digits(tmp_path: Path) -> None:
    specs: list[Spec] = [
        ("EarlyStopping", {"patience": 4, "restore_best_weights": True, "verbose": 1}),
        ("ModelCheckpoint", {"filepath": "best.keras", "save_best_only": True, "verbose": 1}),
        ("ReduceLROnPlateau", {"factor": 0.5, "patience": 2, "verbose": 1}),
        ("CSVLogger", {"filename": "history.csv"}),
    ]
    ours, theirs = both(digits(), specs, tmp_path, epochs=100)
    assert ours == theirs
    assert len(ours.epochs) < 100
    assert len(set(ours.history["learning_rate"])) > 1
