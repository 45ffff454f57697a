"""Hooks: the methods that a loop calls, which do nothing until they are overridden, and their context.

Keras's ``fit`` asks for no base class, it calls hooks by name. Before it gives up its asynchronous path
for a callback it looks whether a hook carries the mark ``_is_default``. So a hook that does nothing must
be marked, and a hook that only sometimes does something must be marked while it does not: that is what
:class:`HookFromTable` is for. No instance attribute ever hides a method.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from outlast.callbacks.context import Context
from outlast.core.logs import Logs
from outlast.exceptions import UsageError
from outlast.frameworks.base import Control, Training, find_control, find_training, near_miss

Hook = TypeVar("Hook", bound=Callable[..., Any])


def unused(hook: Hook) -> Hook:
    """Mark a hook as doing nothing, so that nobody need call it."""
    hook._is_default = True  # type: ignore[attr-defined]
    return hook


def is_unused(hook: Callable[..., Any]) -> bool:
    """Whether a hook is marked as doing nothing, by us or by Keras."""
    return getattr(hook, "_is_default", False) is True  # a mock has every attribute


class HookFromTable:
    """A hook that an object has while its ``_hook(name)`` gives a function; else it is marked as unused."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        function = instance._hook(self._name)
        return _nothing if function is None else function


@unused
def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


class Hooks:
    """Keras's hooks, and the context in which they act.

    Attributes:
        params: the loop's ``epochs``, ``steps`` and ``verbose``; None before training.
        model: the model that is trained; None before.
    """

    params: Mapping[str, Any] | None = None
    calls_users_code: bool = False  # so that the weights may change in it
    keeps_history: bool = False  # so that it hears an epoch's end after those that may add a metric
    _context: Context | None = None
    _host: weakref.ref[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        """Say what to do to a library that asks for its own hooks."""
        if hint := near_miss(type(self).__name__, name):
            raise AttributeError(hint)
        return object.__getattribute__(self, name)  # which says that it is not there

    def set_params(self, params: Mapping[str, Any] | None) -> None:
        """Take the loop's parameters."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Take the model to be trained: what a loop calls that knows Keras's hooks.

        Raises:
            UsageError: the callback belongs to a ``Run`` or a ``CallbackList`` already.
        """
        if self.host is not None:
            raise UsageError(
                f"This {type(self).__name__} is already in {self.host!r}: give fit that one alone, "
                "or make another."
            )
        self._context = Context(find_training(model), find_control(model))
        self.control.attach()

    def bind(self, context: Context, host: Any) -> None:
        """Take a context from a host, which then alone decides over the callback."""
        self._context = context
        self._host = weakref.ref(host)

    @property
    def host(self) -> Any:
        """The ``Run`` or ``CallbackList`` that it belongs to; None if it is on its own."""
        return None if self._host is None else self._host()

    @property
    def context(self) -> Context:
        """The world as this callback sees it.

        Raises:
            UsageError: it is not attached to a training yet.
        """
        if self._context is None:
            raise UsageError(
                f"{type(self).__name__} is not attached to a training yet: give it to "
                "fit(callbacks=[...]), to outlast.CallbackList(model=...) or to outlast.Run."
            )
        return self._context

    @property
    def training(self) -> Training:
        """What is trained."""
        return self.context.training

    @property
    def control(self) -> Control:
        """Who runs the loop."""
        return self.context.control

    @property
    def model(self) -> Any:
        """The model that is trained, its weights readable; None before."""
        return None if self._context is None else self._context.training.model

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles belong to no training."""
        bound = {"_context", "_host", "_thread", "params"}
        return {key: value for key, value in self.__dict__.items() if key not in bound}

    # Hooks, in Keras's words. Each is marked as unused below.

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch; ``epoch`` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation; ``logs`` has the metrics."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a training batch (older name)."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a training batch (older name)."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a training batch; ``batch`` counts from 0 in each epoch."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a training batch."""
        self.on_batch_end(batch, logs=logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After an evaluation."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of an evaluation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of a prediction."""


HOOKS = tuple(name for name in vars(Hooks) if name.startswith("on_"))

for _name in HOOKS:
    unused(getattr(Hooks, _name))
