"""No callback of epochs makes Keras wait in a batch; one of batches hears them in the training's thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import outlast
from outlast.exceptions import UsageError

BACKEND = keras.backend.backend()
ALWAYS_WAITS = BACKEND == "tensorflow"  # Keras: its backend is not safe for threads
only_async = pytest.mark.skipif(ALWAYS_WAITS, reason="only where Keras has an asynchronous path")

EPOCH_LEVEL: list[Any] = [
    outlast.EarlyStopping(restore_best_weights=True),
    outlast.ModelCheckpoint("m.keras"),
    outlast.ModelCheckpoint("m{epoch}.keras", save_best_only=True, keep_best=2),
    outlast.ReduceLROnPlateau(),
    outlast.CSVLogger("h.csv"),
    outlast.LearningRateScheduler(lambda epoch: 0.1),
    outlast.History(),
    outlast.TimeLimit(60),
    outlast.ProgressLine(),
    outlast.LambdaCallback(on_epoch_end=print, on_train_begin=print),
    outlast.CallbackList([outlast.EarlyStopping(), outlast.CSVLogger("h.csv")]),
]
BATCH_LEVEL: list[Any] = [
    outlast.TerminateOnNaN(),
    outlast.ModelCheckpoint("m.keras", save_freq=2),
    outlast.LambdaCallback(on_train_batch_end=print),
    outlast.CallbackList([outlast.EarlyStopping(), outlast.TerminateOnNaN()]),
]


def kind(callback: Any) -> str:
    return type(callback).__name__


@pytest.fixture
def model() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    return model


X, Y = np.ones((12, 2), "float32"), np.ones((12, 1), "float32")


def fit(model: Any, callbacks: Any, **options: Any) -> Any:
    return model.fit(X, Y, batch_size=2, verbose=0, callbacks=callbacks, **options)


@pytest.mark.parametrize("callback", EPOCH_LEVEL, ids=kind)
def test_a_callback_of_epochs_leaves_keras_its_asynchronous_path(callback: Any) -> None:
    lists = keras.callbacks.CallbackList([callback])
    assert (lists._async_train, lists._async_test, lists._async_predict) == (not ALWAYS_WAITS,) * 3


def test_so_do_all_of_them_together() -> None:
    assert keras.callbacks.CallbackList(EPOCH_LEVEL)._async_train is not ALWAYS_WAITS


@pytest.mark.parametrize("callback", BATCH_LEVEL, ids=kind)
def test_a_callback_of_batches_makes_keras_wait_for_each(callback: Any) -> None:
    lists = keras.callbacks.CallbackList([callback])
    assert lists._async_train is False
    assert lists._async_test is not ALWAYS_WAITS


def test_given_bare_a_callback_of_batches_hears_them_in_order(model: Any) -> None:
    heard: list[int] = []
    fit(model, outlast.LambdaCallback(on_train_batch_end=lambda batch, logs: heard.append(batch)), epochs=2)
    assert heard == [*range(6)] * 2


@only_async
def test_a_callback_of_batches_that_hears_them_in_another_thread_says_pass_a_list(model: Any) -> None:
    class Own(keras.callbacks.CallbackList):  # type: ignore[misc]
        """Somebody's, which stays as it is."""

    callbacks = Own(outlast.TerminateOnNaN(), model=model)
    callbacks.on_train_begin()
    callbacks.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(UsageError, match=r"Pass a list: callbacks=\[\.\.\.\]"):
        callbacks.on_train_end()


def test_given_bare_a_callback_of_epochs_works(model: Any) -> None:
    fit(model, outlast.ModelCheckpoint("m{epoch}.keras"), epochs=2)
    assert sorted(path.name for path in Path().glob("*.keras")) == ["m1.keras", "m2.keras"]


def test_a_checkpoint_of_batches_saves_the_weights_of_its_batch(model: Any) -> None:
    """On JAX a model's variables are empty between two steps, until somebody asks for them."""
    seen: dict[str, list[Any]] = {}

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen[f"b{batch + 1}.weights.h5"] = [weight.copy() for weight in self.model.get_weights()]

    checkpoint = outlast.ModelCheckpoint("b{batch}.weights.h5", save_freq=2, save_weights_only=True)
    fit(model, [checkpoint, Watch()])
    files = sorted(path.name for path in Path().glob("*.h5"))
    assert files == ["b2.weights.h5", "b4.weights.h5", "b6.weights.h5"]
    for name in files:
        model.load_weights(name)
        assert [w.tolist() for w in model.get_weights()] == [w.tolist() for w in seen[name]]
    assert not np.array_equal(seen["b2.weights.h5"][0], seen["b4.weights.h5"][0])


def test_what_a_checkpoint_of_batches_does_changes_no_number(model: Any) -> None:
    begin = [weight.copy() for weight in model.get_weights()]
    alone = fit(model, [], epochs=2, shuffle=False)
    after = model.get_weights()
    model.set_weights(begin)
    model.optimizer.iterations.assign(0)
    watched = fit(model, [outlast.ModelCheckpoint("m.keras", save_freq=1)], epochs=2, shuffle=False)
    assert watched.history == alone.history
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), after, strict=True))


def test_best_weights_outlive_the_steps_after_them(model: Any) -> None:
    """Keras on JAX gives a step's arrays away to the next; on torch it writes over them."""
    kept: list[Any] = []
    values = iter([1.0, 0.5, 0.75, 0.75, 0.75])

    def prepare(epoch: int, logs: Any) -> None:
        logs["val_loss"] = next(values)
        kept.append([weight.tolist() for weight in model.get_weights()])

    before = outlast.LambdaCallback(on_epoch_end=prepare)
    fit(model, [before, outlast.EarlyStopping(patience=9, restore_best_weights=True)], epochs=5)
    assert [weight.tolist() for weight in model.get_weights()] == kept[1]
    assert kept[1] != kept[4]
