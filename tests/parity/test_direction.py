"""``mode="auto"`` hears the model's compiled metrics as Keras does (rule 2.0.5)."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from tests.parity.oracle import Fit, seen

import outlast

metrics = keras.metrics
CLASSIFIERS: dict[str, Any] = {
    "accuracy": "accuracy",
    "acc": "acc",
    "binary_accuracy": metrics.BinaryAccuracy(),
    "auc": metrics.AUC(name="auc"),
    "precision": metrics.Precision(),
    "recall": metrics.Recall(),
    "false_positives": metrics.FalsePositives(),
    "true_negatives": metrics.TrueNegatives(),
    "f1_score": metrics.F1Score(threshold=0.5),
    "binary_io_u": metrics.BinaryIoU(),
    "binary_crossentropy": metrics.BinaryCrossentropy(),
    "hinge": metrics.Hinge(),
    "mean_squared_error": metrics.MeanSquaredError(),
    "root_mean_squared_error": metrics.RootMeanSquaredError(),
    "cosine_similarity": metrics.CosineSimilarity(),
    "logcosh": metrics.LogCoshError(),
    "r2_score": metrics.R2Score(),
    "mse": "mse",
    "mae": "mae",
    "quality": metrics.MeanAbsoluteError(name="quality"),
    "accuracy_like_error": metrics.BinaryAccuracy(name="accuracy_like_error"),
    "own": metrics.Mean(name="own"),
}


UNKNOWN = {"false_positives", "true_negatives", "own"}  # to Keras, and by their names


@pytest.fixture(scope="module")
def judged() -> Any:
    """A model with one metric of each kind, all of them built."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="sigmoid")])
    given = [metric for name, metric in CLASSIFIERS.items() if name != "own"]
    model.compile(optimizer="sgd", loss="mse", metrics=given)
    ones = np.ones((2, 1), "float32")
    with warnings.catch_warnings(action="ignore"):  # of JAX, about dtypes in Keras's metrics
        model.fit(ones, ones, epochs=1, verbose=0)
    return model


def operation(kind: Any, model: Any, monitor: str) -> Any:
    """The comparison that ``mode="auto"`` comes to; None if it is an error."""
    callback = kind(monitor=monitor, patience=99)
    callback.set_model(model)
    callback.on_train_begin()
    try:
        callback.on_epoch_end(0, {monitor: 0.5})
    except ValueError:
        return None
    return callback.monitor_op


@pytest.mark.parametrize("prefix", ["", "val_"])
@pytest.mark.parametrize("name", ["loss", *CLASSIFIERS])
def test_where_keras_can_tell_we_tell_the_same(judged: Any, name: str, prefix: str) -> None:
    theirs = operation(keras.callbacks.EarlyStopping, judged, prefix + name)
    ours = operation(outlast.EarlyStopping, judged, prefix + name)
    assert ours is theirs
    assert (theirs is None) == (name in UNKNOWN)


def test_an_unknown_mode_is_the_same_warning() -> None:
    for name in ("EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint"):
        arguments = ("m.keras",) if name == "ModelCheckpoint" else ()
        texts = []
        for module in (outlast, keras.callbacks):
            with pytest.warns(UserWarning) as caught:
                callback = getattr(module, name)(*arguments, mode="up")
            assert callback.mode == "auto"
            texts.append(str(caught[0].message))
        assert texts[0] == texts[1] == f"{name} mode 'up' is unknown, fallback to auto mode."


def test_the_direction_is_kept_for_all_fits_of_an_instance() -> None:
    fits = [Fit([{"val_accuracy": 0.5}]), Fit([{"val_accuracy": 0.75}, {"val_accuracy": 0.5}])]
    settings = {"monitor": "val_accuracy", "patience": 1}
    ours = seen(lambda: outlast.EarlyStopping(**settings), fits, "monitor_op", "stopped_epoch")
    theirs = seen(lambda: keras.callbacks.EarlyStopping(**settings), fits, "monitor_op", "stopped_epoch")
    assert ours == theirs
