"""Keras's own list of callbacks, without what it costs in every batch.

Where no callback listens to a batch, Keras hands its metrics to a pool of threads; where one does, the
training waits for them. Both take longer than a small step. Here a hook is called if a callback has it, and
a metric becomes a number when somebody reads it.

``fit`` takes a ready list as it is, and tells it neither its model nor its epochs: the list finds them in the
call of ``fit`` that called it.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType, MappingProxyType
from typing import Any

import keras

from outlast.callbacks.hooks import HookFromTable
from outlast.callbacks.list import hears

_PACE = 0.1  # seconds between two looks of the progress line
_BATCH_HOOKS = tuple(
    f"on_{stage}_batch_{moment}" for stage in ("train", "test", "predict") for moment in ("begin", "end")
)
_LOOPS = ("fit", "evaluate", "predict")

# An older Keras shows means over the batches that its line has seen: it must see all.
_CAN_PACE = "stateless_metrics" in inspect.signature(keras.utils.Progbar.__init__).parameters

Listener = Callable[..., Any]


class FastCallbackList(keras.callbacks.CallbackList):  # type: ignore[misc]
    """A ``keras.callbacks.CallbackList`` whose batches cost nothing while nobody listens.

    Callbacks are called in their order, on the training's own thread, so an error comes from its own batch.
    Keras's ``History`` and its progress line are added as ``fit`` adds them to a plain list.

    Args:
        callbacks: ours, Keras's or your own.

    Source: ``keras.callbacks.CallbackList``; see :func:`outlast.frameworks.keras.callbacks`.
    """

    _executor: Any = None  # Keras's destructor asks for it, even if Keras's list was not made
    _batch_hooks: Mapping[str, Listener] = MappingProxyType({})
    _paced: Sequence[_Paced] = ()
    _is_keras_s = False  # made by Keras's loop, which has told it all

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self._added: list[Any] = []  # by this list, as Keras does
        self._make([*callbacks])

    def __getstate__(self) -> dict[str, Any]:
        """A copy finds out anew who listens."""
        left = ("_batch_hooks", "_paced", "_executor")  # an older Keras has made the last already
        return {name: one for name, one in self.__dict__.items() if name not in left}

    def _make(self, callbacks: list[Any], **how: Any) -> None:
        super().__init__(callbacks, **how)
        self._added = [one for one in self.callbacks if all(one is not given for given in callbacks)]
        self._async_train = self._async_test = self._async_predict = False  # no pool of threads
        self._listen()

    def _meet(self) -> None:
        """Learn from Keras's loop what it tells a list that it makes itself."""
        if self._is_keras_s:
            return
        loop = next(reversed([*self._loops()]), None)  # fit evaluates with the same list
        if loop is None:  # a loop of one's own, or a list inside a list
            return
        found, in_fit = loop.f_locals, loop.f_code.co_name == "fit"
        verbose = found.get("verbose", "auto")
        self._make(
            [one for one in self.callbacks if all(one is not added for added in self._added)],
            add_history=in_fit,
            add_progbar=verbose != 0,
            model=found["self"],
            verbose=verbose,
            epochs=found.get("epochs", 1),
            steps=getattr(found.get("epoch_iterator"), "num_batches", None),
        )

    def _loops(self) -> Iterator[FrameType]:
        """The loops of Keras's that call this list, the innermost first."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            is_keras_s = str(frame.f_globals.get("__name__", "")).startswith("keras.")
            if is_keras_s and frame.f_code.co_name in _LOOPS and frame.f_locals.get("callbacks") is self:
                yield frame
            frame = frame.f_back

    def _listen(self) -> None:
        """Find out who hears the batches."""
        self._catch_up()
        paced: list[_Paced] = []
        self._paced = paced
        heard = {
            hook: [_listener(one, hook, paced) for one in self.callbacks if hears(one, hook)]
            for hook in _BATCH_HOOKS
        }
        self._batch_hooks = {hook: _calling(listeners) for hook, listeners in heard.items() if listeners}

    def _hook(self, name: str) -> Listener | None:
        return self._batch_hooks.get(name)

    def _catch_up(self) -> None:
        for one in self._paced:
            one.catch_up()

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin a training, and look who listens."""
        self._meet()
        super().on_train_begin(logs)
        self._listen()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin an epoch; who listens may have changed."""
        super().on_epoch_begin(epoch, logs)
        self._listen()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """End an epoch, with all of its batches in the progress line."""
        self._catch_up()
        super().on_epoch_end(epoch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Begin an evaluation."""
        if not any(loop.f_code.co_name == "fit" for loop in self._loops()):
            self._meet()
        super().on_test_begin(logs)
        self._listen()

    def on_test_end(self, logs: Any = None) -> None:
        """End an evaluation."""
        self._catch_up()
        super().on_test_end(logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        """Begin a prediction."""
        self._meet()
        super().on_predict_begin(logs)
        self._listen()

    def on_predict_end(self, logs: Any = None) -> None:
        """End a prediction."""
        self._catch_up()
        super().on_predict_end(logs)


for _name in _BATCH_HOOKS:
    setattr(FastCallbackList, _name, HookFromTable(_name))


def quicken(plain: Any) -> None:
    """Have a list that Keras has made cost as little in a batch; it stays the same object.

    A subclass stays as it is, and so does a list with a callback that asks for another thread:
    ``async_safe``, as Keras calls it.
    """
    if type(plain) is not keras.callbacks.CallbackList:
        return
    if any(getattr(one, "async_safe", False) is True for one in plain.callbacks):
        return
    try:
        plain.__class__ = FastCallbackList
    except TypeError:  # of a Keras whose lists are laid out otherwise
        return
    plain._added, plain._is_keras_s = [], True
    plain._async_train = plain._async_test = plain._async_predict = False
    plain._listen()


def _listener(callback: Any, hook: str, paced: list[_Paced]) -> Listener:
    """A callback's hook; that of the progress line paced, and added to ``paced``."""
    listener: Listener = getattr(callback, hook)
    line = keras.callbacks.ProgbarLogger
    is_line = isinstance(callback, line) and getattr(type(callback), hook) is getattr(line, hook)
    if not (_CAN_PACE and is_line):
        return listener
    paced.append(_Paced(listener))
    return paced[-1]


def _calling(listeners: list[Listener]) -> Listener:
    def call(batch: int, logs: Mapping[str, Any] | None = None) -> None:
        numbers = Numbers(logs or {})
        for listener in listeners:
            listener(batch, logs=numbers)

    return call


class _Paced:
    """Calls the progress line as often as an eye can follow, and in the end with what came last."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._due = 0.0
        self._left: tuple[int, Any] | None = None

    def __call__(self, batch: int, logs: Any = None) -> None:
        now = time.monotonic()
        if now < self._due:
            self._left = batch, logs
            return
        self._due, self._left = now + _PACE, None
        self._listener(batch, logs=logs)

    def catch_up(self) -> None:
        """Before the line is finished."""
        if self._left is not None:
            batch, logs = self._left
            self._listener(batch, logs=logs)
        self._due, self._left = 0.0, None


class Numbers(dict[str, Any]):
    """Metrics as Keras's list gives them, by name and as plain numbers; converted when somebody reads one.

    Example:
        >>> import numpy as np
        >>> logs = Numbers({"loss": np.float32(0.5), "acc": np.float32(1)})
        >>> list(logs), logs["loss"], logs
        (['acc', 'loss'], 0.5, {'acc': 1.0, 'loss': 0.5})
    """

    _is_raw = True
    _numbers: dict[str, Any] | None = None  # while they take the place of what is raw

    def __init__(self, logs: Mapping[str, Any]) -> None:
        dict.__init__(self, {name: _kept(value) for name, value in logs.items()} if _CHANGES else logs)
        for value in dict.values(self):
            if isinstance(value, dict):  # its names count among the others
                self._convert()
                break

    def _convert(self) -> None:
        if self._is_raw:
            with _converting:  # somebody may read them in another thread
                if self._is_raw:
                    self._numbers = self._numbers or _plain(sorted(dict.items(self)))
                    dict.clear(self)
                    dict.update(self, self._numbers)
                    self._is_raw, self._numbers = False, None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A copy, also one in another process, is a plain dict."""
        self._convert()
        return dict, (dict(self),)


_converting = threading.RLock()
_CHANGES = (
    keras.backend.backend() == "torch"
)  # a metric's value may be the memory that the next batch changes


def _kept(value: Any) -> Any:
    """A value that no later batch changes: a number, if that waits for no device."""
    if not keras.ops.is_tensor(value):
        return value
    value = value.detach()
    return value.item() if value.is_cpu and not value.dim() else value.clone()


def _plain(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What is in a dict comes to the others; what is no single number is an array, or stays as it is."""
    found: dict[str, Any] = {}
    for name, value in items:
        if isinstance(value, dict):
            found |= _plain(sorted(value.items()))
            continue
        try:
            found[name] = float(value)
        except Exception:  # whatever a framework's value raises
            found[name] = keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value
    return found


def _reading(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def read(self: Numbers, *args: Any, **named: Any) -> Any:
        self._convert()
        return method(self, *args, **named)

    return read


for _name in """
    __getitem__ __setitem__ __delitem__ __iter__ __reversed__ __eq__ __ne__ __or__ __ror__ __ior__ __repr__
    clear copy get items keys pop popitem setdefault update values
""".split():
    setattr(Numbers, _name, _reading(_name))
