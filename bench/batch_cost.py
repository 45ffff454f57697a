"""What callbacks and logging cost in a batch, beside Keras's list, Lightning, ignite and Hugging Face.

    KERAS_BACKEND=jax python bench/batch_cost.py [--batches 20000] [--rounds 7]

Bare loops: no step is trained, so all that is measured is the call of the callbacks. Each way checks that its
callbacks were called as often as there were batches.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from side_by_side import Way, compare, installed, seconds_of

import outlast
from outlast.testing import FakeAdapter

IDLE = 10  # callbacks that have no hook of batches
NAMES = ("loss", "accuracy", "grad_norm", "perplexity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    batches, how = range(options.batches), {"rounds": options.rounds, "unit": "us", "per": options.batches}
    floats = dict(zip(NAMES, (0.5, 0.25, 2.0, 8.0), strict=True))
    compare(
        f"a batch with {IDLE} callbacks that have no hook of batches",
        installed({name: lambda make=make: make(batches) for name, make in IDLE_WAYS.items()}),
        beside="a bare loop",
        **how,
    )
    for kind, logs in {"floats": floats, "JAX scalars": jax_scalars(floats)}.items():
        readers = {name: lambda make=make, logs=logs: make(batches, logs) for name, make in READERS.items()}
        compare(
            f"a batch with one callback that gets four {kind}, and reads one in a thousand batches",
            installed(readers),
            beside="a bare loop",
            **how,
        )
    for kind, logs in {
        "floats": floats,
        "PyTorch tensors": torch_scalars(floats),
        "JAX scalars": jax_scalars(floats),
    }.items():
        ways = {
            "a bare loop": lambda: lambda: seconds_of(lambda: through(batches, lambda batch: None)),
            "float(...) of each": lambda logs=logs: (
                lambda: seconds_of(
                    lambda: through(batches, lambda batch: [float(one) for one in logs.values()])
                )
            ),
            "run.batches and run.log": lambda logs=logs: lambda: seconds_of(lambda: logged(batches, logs)),
        }
        compare(f"four {kind} logged in a batch", installed(ways), beside="a bare loop", **how)


def through(batches: Iterable[int], act: Callable[[int], object]) -> None:
    for batch in batches:
        act(batch)


def bare(batches: range, logs: Any = None) -> Way:
    return lambda: seconds_of(lambda: through(batches, lambda batch: None))


# Callbacks that do nothing in a batch.


def ours_idle(batches: range) -> Way:
    callbacks = outlast.CallbackList([outlast.EarlyStopping("loss") for _ in range(IDLE)])
    return lambda: seconds_of(lambda: through_hooks(batches, callbacks, {}))


def through_hooks(batches: range, callbacks: Any, logs: Any) -> None:
    begin, end = callbacks.on_train_batch_begin, callbacks.on_train_batch_end
    for batch in batches:
        begin(batch)
        end(batch, logs)


def keras_idle(batches: range) -> Way:
    import keras

    callbacks = keras.callbacks.CallbackList([keras.callbacks.EarlyStopping("loss") for _ in range(IDLE)])
    callbacks.on_train_begin()

    def hooks() -> None:
        through_hooks(batches, callbacks, {})
        callbacks._flush_futures()  # as at the end of an epoch

    return lambda: seconds_of(hooks)


def keras_idle_alone(batches: range) -> Way:
    import keras

    callbacks = keras.callbacks.CallbackList([keras.callbacks.EarlyStopping("loss") for _ in range(IDLE)])
    callbacks._async_train = False
    return lambda: seconds_of(lambda: through_hooks(batches, callbacks, {}))


def fast_idle(batches: range) -> Way:
    import keras

    callbacks = outlast.frameworks.keras.callbacks(
        [keras.callbacks.EarlyStopping("loss") for _ in range(IDLE)]
    )
    return lambda: seconds_of(lambda: through_hooks(batches, callbacks, {}))


def lightning_idle(batches: range) -> Way:
    import lightning
    from lightning.pytorch.callbacks import LambdaCallback
    from lightning.pytorch.trainer.call import _call_callback_hooks

    trainer = lightning.Trainer(
        callbacks=[LambdaCallback(on_train_epoch_end=lambda *args: None) for _ in range(IDLE)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.strategy._lightning_module = lightning.LightningModule()

    def both(batch: int) -> None:
        _call_callback_hooks(trainer, "on_train_batch_start", None, batch)
        _call_callback_hooks(trainer, "on_train_batch_end", None, None, batch)

    return lambda: seconds_of(lambda: through(batches, both))


def ignite_idle(batches: range) -> Way:
    from ignite.engine import Engine, Events

    engine = Engine(lambda engine, batch: None)
    for _ in range(IDLE):
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: None)

    def both(batch: int) -> None:
        engine.fire_event(Events.ITERATION_STARTED)
        engine.fire_event(Events.ITERATION_COMPLETED)

    return lambda: seconds_of(lambda: through(batches, both))


def hugging_face_idle(batches: range) -> Way:
    from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, logging
    from transformers.trainer_callback import CallbackHandler

    logging.set_verbosity_error()  # it wonders about callbacks of one class
    callbacks = [EarlyStoppingCallback() for _ in range(IDLE)]
    handler = CallbackHandler(callbacks, None, None, None, None)
    arguments, state, control = SimpleNamespace(), TrainerState(), TrainerControl()

    def both(batch: int) -> None:
        handler.on_step_begin(arguments, state, control)
        handler.on_step_end(arguments, state, control)

    return lambda: seconds_of(lambda: through(batches, both))


# One callback that hears each batch.


class Reads:
    """Reads its logs in one batch of a thousand."""

    def __init__(self) -> None:
        self.heard = self.total = 0.0

    def hear(self, batch: int, logs: Any) -> None:
        self.heard += 1
        if batch % 1000 == 0:
            self.total += float(logs["loss"])


def ours_reads(batches: range, logs: Any) -> Way:
    reads = Reads()
    listener = outlast.LambdaCallback(on_train_batch_end=lambda batch, logs: reads.hear(batch, logs))
    return _reading(reads, outlast.CallbackList([listener]), batches, logs)


def fast_reads(batches: range, logs: Any) -> Way:
    reads = Reads()
    listener = outlast.LambdaCallback(on_train_batch_end=lambda batch, logs: reads.hear(batch, logs))
    return _reading(reads, outlast.frameworks.keras.callbacks(listener), batches, logs)


def keras_reads(batches: range, logs: Any) -> Way:
    import keras

    reads = Reads()
    listener = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: reads.hear(batch, logs))
    return _reading(reads, keras.callbacks.CallbackList([listener]), batches, logs)


def _reading(reads: Reads, callbacks: Any, batches: range, logs: Any) -> Way:
    def way() -> float:
        before = reads.heard
        took = seconds_of(lambda: through_hooks(batches, callbacks, logs))
        assert reads.heard - before == len(batches)
        return took

    return way


def logged(batches: range, logs: Any) -> None:
    run = outlast.Run(None, adapter=FakeAdapter())
    for _ in run.epochs(1):
        for _ in run.batches(batches):
            run.log(logs)
    assert run.history["loss"] == [0.5]


def jax_scalars(logs: dict[str, float]) -> Any:
    import jax.numpy as jnp

    return {name: jnp.float32(value) for name, value in logs.items()}


def torch_scalars(logs: dict[str, float]) -> Any:
    import torch

    one = torch.ones((), requires_grad=True)
    return {name: one * value for name, value in logs.items()}


IDLE_WAYS: dict[str, Callable[[range], Way]] = {
    "a bare loop": bare,
    "outlast": ours_idle,
    "Keras's list": keras_idle,
    "Keras's list without its pool of threads": keras_idle_alone,
    "the fast list for Keras's fit": fast_idle,
    "Lightning": lightning_idle,
    "ignite": ignite_idle,
    "Hugging Face": hugging_face_idle,
}
READERS: dict[str, Callable[[range, Any], Way]] = {
    "a bare loop": bare,
    "outlast": ours_reads,
    "Keras's list": keras_reads,
    "the fast list for Keras's fit": fast_reads,
}

if __name__ == "__main__":
    main()
