"""Keras's callbacks and ours on one model, through the same hooks, and all that came of each.

Keras is the oracle: it is asked for what is right, with settings and values that hypothesis makes.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

Logs = dict[str, Any]
INF, NAN = math.inf, math.nan


class Quick(keras.Sequential):
    """A real model whose files are quickly written and easily compared."""

    def save(self, filepath: str, overwrite: bool = True, **options: Any) -> None:
        Path(filepath).write_text(f"model {self.content()}")

    def save_weights(self, filepath: str, overwrite: bool = True, **options: Any) -> None:
        Path(filepath).write_text(f"weights {self.content()}")

    def content(self) -> list[Any]:
        return [weight.tolist() for weight in self.get_weights()]


@cache
def model() -> Quick:
    """Built once and used by all; its metrics are built, so ``mode="auto"`` finds them."""
    tiny = Quick([keras.Input((1,)), keras.layers.Dense(1)])
    tiny.compile(
        optimizer=keras.optimizers.SGD(1.0), loss="mse", metrics=["accuracy", keras.metrics.AUC(name="auc")]
    )
    ones = np.ones((2, 1), "float32")
    tiny.fit(ones, ones, epochs=1, verbose=0)
    return tiny


@dataclass(frozen=True)
class Fit:
    """One training: the logs of its epochs, and of the batches in them.

    Args:
        epochs: each epoch's logs.
        first: index of the first epoch.
        batches: for each epoch its (batch, logs), in the order of the hooks.
        rate: learning rate at the begin.
    """

    epochs: Sequence[Logs | None]
    first: int = 0
    batches: Sequence[Sequence[tuple[int, Logs]]] = ()
    rate: float = 1.0


@dataclass
class Seen:
    """What came of a callback in several fits."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    printed: str = ""
    warnings: list[list[str]] = field(default_factory=list)
    error: str = ""
    weights: list[Any] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


def seen(
    make: Callable[[], Any],
    fits: Sequence[Fit],
    *attributes: str,
    folder: Path | None = None,
    move: bool = False,
) -> Seen:
    """Drive one instance through the fits, as Keras's ``fit`` would.

    Args:
        make: makes the callback.
        fits: the trainings.
        attributes: names of the callback's attributes that are looked at after each epoch.
        folder: where it writes; emptied first, its files are part of what is seen.
        move: give the model other weights in each epoch.
    """
    if folder is not None:
        empty(folder)
    found, tiny = Seen(), model()
    set_weight(tiny, -1)
    with redirect_stdout(io.StringIO()) as out:
        callback = make()
        try:
            for fit in fits:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    epochs: list[int] = []  # how many warnings there were after each
                    drive(
                        callback,
                        tiny,
                        fit,
                        lambda logs, caught=caught, epochs=epochs: (
                            note(found, callback, tiny, logs, attributes, folder),
                            epochs.append(len(texts(caught))),
                        ),
                        move,
                    )
                told = texts(caught)
                theirs = type(callback).__module__.startswith("keras")
                found.warnings.append(as_ours(told, epochs) if theirs else told[:1])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            found.error = str(error.args[0])
    found.printed = out.getvalue()
    found.weights = tiny.content()
    found.files = read_all(folder)
    return found


def drive(callback: Any, tiny: Any, fit: Fit, look: Callable[[Any], None], move: bool) -> None:
    tiny.stop_training = False
    for optimizer in getattr(tiny.optimizer, "optimizers", [tiny.optimizer]):
        optimizer.learning_rate = fit.rate
    callback.set_params({"epochs": len(fit.epochs), "steps": 1, "verbose": 0})
    callback.set_model(tiny)
    callback.on_train_begin({})
    for index, logs in enumerate(fit.epochs):
        epoch = fit.first + index
        callback.on_epoch_begin(epoch, {})
        for batch, batch_logs in fit.batches[index] if fit.batches else ():
            if move:
                set_weight(tiny, epoch + batch / 64)
            callback.on_train_batch_end(batch, logs=dict(batch_logs))
            if tiny.stop_training:
                break
        if move:
            set_weight(tiny, epoch + 0.5)
        given = None if logs is None else dict(logs)
        callback.on_epoch_end(epoch, given)
        look(given)
        if tiny.stop_training:
            break
    callback.on_train_end({})


def note(
    found: Seen, callback: Any, tiny: Any, logs: Logs | None, attributes: Sequence[str], folder: Path | None
) -> None:
    found.epochs.append(
        {
            **{name: comparable(getattr(callback, name)) for name in attributes},
            "logs": comparable(logs),
            "stop": bool(tiny.stop_training),
            "rates": [rate_of(one) for one in getattr(tiny.optimizer, "optimizers", [tiny.optimizer])],
            "files": read_all(folder),
        }
    )


def set_weight(tiny: Any, value: float) -> None:
    kernel, bias = tiny.get_weights()
    tiny.set_weights([np.full_like(kernel, value), np.full_like(bias, -value)])


def rate_of(optimizer: Any) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def comparable(value: Any) -> Any:
    """Numbers as their repr, so that NaN equals NaN; arrays as lists."""
    if isinstance(value, Mapping):
        return {name: comparable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    if isinstance(value, np.ndarray):
        return comparable(value.tolist())
    return repr(float(value)) if isinstance(value, int | float | np.floating) else value


MISSING = "which is not available"
NOT_VALIDATED = re.compile(
    r"\.? Nothing was validated: pass validation_data to fit, or call run\.log\(\w+=\.\.\.\)\."
)


def texts(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """The warnings, without the hint that ours add to Keras's text."""
    told = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    return [NOT_VALIDATED.sub("", text).removesuffix(".") for text in told]


def as_ours(told: Sequence[str], epochs: Sequence[int]) -> list[str]:
    """Keras's warnings as they come from ours (difference 13).

    Keras warns in every epoch without the metric; ours once a fit, when it is missing in two epochs in a
    row or never came.

    Args:
        told: all of Keras's.
        epochs: how many there were after each epoch.
    """
    missing = [now > before for before, now in itertools.pairwise([0, *epochs])]
    in_a_row = any(map(all, itertools.pairwise(missing)))
    if told and MISSING in told[0] and not in_a_row and not all(missing):
        return []
    first = missing.index(True) if True in missing else 0
    if told and MISSING in told[0] and in_a_row and not all(missing):
        first = next(i for i, pair in enumerate(itertools.pairwise(missing)) if all(pair))
    return list(told[epochs[first] - 1 : epochs[first]]) if told else []


def read_all(folder: Path | None) -> dict[str, bytes]:
    if folder is None:
        return {}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            os.unlink(path)
        else:
            path.rmdir()


# Values that float32 holds exactly, with few distinct ones, so that ties are common.

VALUES = st.integers(-8, 8).map(lambda n: n / 8) | st.sampled_from([INF, -INF])
DELTAS = st.sampled_from([0, 0.0, 0.125, -0.125, 0.25, 1.0])
MODES = st.sampled_from(["min", "max", "auto"])
NUMBERS = VALUES | VALUES | VALUES | st.just(NAN)


def without_leading_nan(values: Sequence[float | None], judged_from: int = 0) -> list[float | None]:
    """NaN before the first number that is judged is where we differ on purpose."""
    result: list[float | None] = []
    known = False
    for index, value in enumerate(values):
        leads = value is not None and math.isnan(value) and not known
        result.append(0.5 if leads else value)
        known = known or (value is not None and index >= judged_from)
    return result


def logs_of(monitor: str, value: float | None) -> Logs:
    """An epoch's logs, in which the metric may be missing."""
    return {"loss": 0.5} if value is None else {"loss": 0.5, monitor: value}
