"""LambdaCallback: use your own functions as hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outlast.callbacks.base import Callback
from outlast.callbacks.hooks import HOOKS, HookFromTable
from outlast.exceptions import ArgumentError, UnknownArgument, nearest

Function = Callable[..., Any]


class LambdaCallback(Callback):
    """Call your own functions at the hooks you choose.

    Args:
        on_epoch_begin, on_epoch_end: called as ``f(epoch, logs)``.
        on_train_begin, on_train_end: called as ``f(logs)``.
        on_train_batch_begin, on_train_batch_end: called as ``f(batch, logs=logs)``. A function
            for the end of a batch makes Keras wait for every batch.
        **more: functions for other hooks, by name, such as ``on_test_end``. What does not begin with
            ``on_`` becomes an attribute, for your functions to use.

    Raises:
        UnknownArgument: there is no such hook, or the callback itself uses the name.
        ArgumentError: a hook is not a function.

    Source: ``keras.callbacks.LambdaCallback``.

    Example:
        >>> from outlast.testing import drive
        >>> _ = drive(LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs)), [{"loss": 1.0}])
        0 {'loss': 1.0}
    """

    calls_users_code = True

    def __init__(
        self,
        on_epoch_begin: Function | None = None,
        on_epoch_end: Function | None = None,
        on_train_begin: Function | None = None,
        on_train_end: Function | None = None,
        on_train_batch_begin: Function | None = None,
        on_train_batch_end: Function | None = None,
        **more: Any,
    ) -> None:
        hooks = {name: more.pop(name) for name in [*more] if name.startswith("on_")}
        hooks |= {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        self._functions: dict[str, Function] = {}
        for name, function in hooks.items():
            if name not in HOOKS:
                raise UnknownArgument(
                    f"LambdaCallback has no hook {name!r}.{nearest(name, HOOKS)} "
                    f"It takes: {', '.join(HOOKS)}."
                )
            if function is not None:
                if not callable(function):
                    raise ArgumentError(f"{name} must be a function, but is {function!r}.")
                self._functions[name] = function
        for name in more:
            if hasattr(type(self), name):
                raise UnknownArgument(f"LambdaCallback uses the name {name!r} itself: choose another one.")
        vars(self).update(more)

    def _hook(self, name: str) -> Function | None:
        """The function for a hook; that for a batch may have been given under the older name."""
        return self._functions.get(name) or self._functions.get(name.replace("train_batch", "batch"))


for _name in HOOKS:
    setattr(LambdaCallback, _name, HookFromTable(_name))
