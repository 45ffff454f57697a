"""CallbackList: one object that is all callbacks, for any loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from outlast.callbacks.base import Callback
from outlast.callbacks.context import Context
from outlast.callbacks.history import History
from outlast.callbacks.hooks import HOOKS, HookFromTable, Hooks, is_unused
from outlast.callbacks.progress_line import ProgressLine
from outlast.core.asking import asked
from outlast.core.decision import Decision
from outlast.core.logs import Logs, completed
from outlast.core.numbers import real
from outlast.core.saving import Template
from outlast.exceptions import ArgumentError, UsageError, nearest
from outlast.frameworks.base import (
    Adapter,
    belongs,
    find_control,
    find_training,
    refuse_class,
    training_of_state,
)
from outlast.storage.output import LooseOutput, Output

# Here any other name is a parameter for callbacks, as in Keras.
_OF_A_RUN = {"save_every", "resume", "augmentation", "accept_changes", "check_resume", "on_save_error"}
_BATCH_HOOKS = tuple(hook for hook in HOOKS if "batch" in hook)

Listener = Callable[..., Any]


class CallbackList(Hooks):
    """Call several callbacks as one, from a loop of your own or inside Keras's ``fit``.

    The logs are completed with the learning rate before any callback sees them, and who hears which
    hook is decided once: a hook that nobody hears costs nothing.

    Args:
        callbacks: callbacks of ours or of Keras's, in the order in which they are called.
        add_history: add a :class:`History` if there is none.
        add_progbar: add a line of progress an epoch.
        model: a Keras model, a PyTorch module or an estimator of scikit-learn's; None if the callbacks need
            only stop.
        optimizer: PyTorch's optimizer; several in a list or a dict by name.
        adapter: how the training is stopped and saved, for a framework of your own; it is asked instead
            of the one that outlast knows for the model.
        state: what a JAX loop trains, a pytree; see :attr:`state`.
        weights: a function that gives the piece of the state that is the model, such as ``lambda s:
            s.params``; without it ``params`` or ``model`` in the state, or else all of it.
        learning_rate: of a JAX loop, that its step is called with; without it, one that
            ``optax.inject_hyperparams`` keeps in the state.
        output: where files go; files where the callbacks say, if left out.
        listen: called with every :class:`Decision`, after its effect.
        clock: seconds, from any origin.
        **params: passed to each callback by ``set_params``: ``epochs``, ``steps``, ``verbose``.

    Attributes:
        callbacks: the list.
        stop_training: whether a callback asked for the end; the loop looks at it after each epoch.

    Source: ``keras.callbacks.CallbackList``.

    Example:
        >>> from outlast import CallbackList, EarlyStopping
        >>> callbacks = CallbackList([EarlyStopping(monitor="loss", patience=1)])
        >>> callbacks.on_train_begin()
        >>> for epoch, loss in enumerate([1.0, 2.0, 3.0]):
        ...     callbacks.on_epoch_end(epoch, {"loss": loss})
        ...     if callbacks.stop_training:
        ...         break
        >>> epoch
        1
    """

    def __init__(
        self,
        callbacks: Iterable[Any] | Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        *,
        optimizer: Any = None,
        adapter: Adapter | None = None,
        state: Any = None,
        weights: Callable[[Any], Any] | None = None,
        learning_rate: float | Mapping[str, float] | None = None,
        output: Output | None = None,
        listen: Callable[[Decision], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **params: Any,
    ) -> None:
        self.callbacks = flat(callbacks)
        if add_history and not any(isinstance(c, History) for c in self.callbacks):
            self.callbacks.append(History())
        if add_progbar:
            self.callbacks.append(ProgressLine())
        refuse_class("adapter", adapter)
        if adapter is not None and not hasattr(adapter, "capabilities"):
            raise ArgumentError(
                f"adapter must be an Adapter, such as outlast.testing.FakeAdapter(), but is {adapter!r}."
            )
        if theirs := sorted(_OF_A_RUN & params.keys()):
            raise ArgumentError(
                f"A CallbackList has no {theirs[0]}, since it saves nothing: outlast.Run(folder, callbacks, "
                f"{theirs[0]}=...) does."
            )
        self._given: Any = training_of_state(
            state, weights, learning_rate, model=model, optimizer=optimizer, adapter=adapter
        )
        self._optimizer, self._listen, self._clock = optimizer, listen, clock
        self._output: Output = output or LooseOutput()
        self.calls_users_code = listen is not None
        self._heard: dict[str, tuple[tuple[Any, Listener], ...]] = {}
        self._batch_hooks: dict[str, Listener] = {}
        self._bind_all(model)
        self.set_params(params)
        self._hear()

    def __repr__(self) -> str:
        return f"CallbackList({', '.join(type(c).__name__ for c in self.callbacks)})"

    def append(self, callback: Any) -> None:
        """Add a callback at the end."""
        self.callbacks.append(callback)
        self._bind(callback, self.model)
        self._hear()

    def set_params(self, params: Mapping[str, Any] | None) -> None:
        """Tell each callback the loop's parameters."""
        self.params = params
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Take the model, for all callbacks."""
        if self.host is not None:
            super().set_model(model)  # refuses it
        self._bind_all(model)

    def _bind_all(self, model: Any) -> None:
        training = self._given or find_training(model, self._optimizer)
        control = self._given or find_control(model, self._optimizer)
        self._context = Context(
            training, control, self._output, self._listen, self._clock, logs_are_complete=True
        )
        self.control.attach()
        for callback in self.callbacks:
            self._bind(callback, model)

    def _bind(self, callback: Any, model: Any) -> None:
        if isinstance(callback, Hooks):
            callback.bind(self.context, self)
        elif model is not None:
            callback.set_model(model)

    @property
    def state(self) -> Any:
        """What a JAX loop trains: pass it to the step, and set it to what the step returns.

        Raises:
            UsageError: there is no ``state=``; or what it is set to has another structure.
        """
        return self._holder.value

    @state.setter
    def state(self, state: Any) -> None:
        self._holder.value = state

    @property
    def _holder(self) -> Any:
        if not getattr(self._given, "is_value", False):
            raise UsageError(
                f"{type(self).__name__} was made without state=, the pytree that a JAX loop trains."
            )
        return self._given

    @property
    def learning_rate(self) -> float | dict[str, float]:
        """The rate in force, or one by name where there are several; it can be set.

        A JAX loop passes it to its step. What is set between two trainings counts in the next.
        """
        self.training.rates_were_read = True
        rates = self.training.learning_rates()
        return next(iter(rates.values())) if len(rates) == 1 else rates

    @learning_rate.setter
    def learning_rate(self, value: float | Mapping[str, float]) -> None:
        names = list(self.training.learning_rates())
        rates = value if isinstance(value, Mapping) else dict.fromkeys(names, value)
        for name, rate in rates.items():
            if name not in names:
                raise ArgumentError(
                    f"There is no learning rate {name!r}, but {', '.join(names) or 'none at all'}."
                    + nearest(name, names)
                )
            self.training.set_learning_rate(name, real(rate, "learning_rate"))
        if not names:
            raise UsageError(f"There is no learning rate to set: {self.training.without_rate}.")
        self._rates_were_set()

    def _rates_were_set(self) -> None:
        """The user has set the rates."""

    @property
    def stop_training(self) -> bool:
        """Whether a callback asked for the training's end."""
        return self.control.stopping

    def _hear(self) -> None:
        """Decide, once, which callbacks hear which hook."""
        self._heard = {
            hook: tuple((one, getattr(one, hook)) for one in self.callbacks if hears(one, hook))
            for hook in HOOKS
        }
        self._heard["on_epoch_end"] = tuple(
            sorted(self._heard["on_epoch_end"], key=lambda heard: getattr(heard[0], "keeps_history", False))
        )
        self._batch_hooks = {hook: _calling(heard) for hook in _BATCH_HOOKS if (heard := self._heard[hook])}

    def _hook(self, name: str) -> Listener | None:
        """The hook of a batch, if anybody hears it: one that nobody hears costs Keras nothing."""
        return self._batch_hooks.get(name)

    def _check_hosts(self) -> None:
        """Refuse to go on with callbacks that belong to a newer list: they remember another training."""
        for callback in self.callbacks:
            if isinstance(callback, Callback) and callback.host is not self:
                raise UsageError(
                    f"{type(callback).__name__} of {self!r} belongs to {callback.host!r} now: go on with "
                    "that one, or give each its own callbacks."
                )

    def _call(self, hook: str, *args: Any) -> None:
        for _, listener in self._heard[hook]:
            listener(*args)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""
        self._check_hosts()
        self.control.begin()
        self._call("on_train_begin", logs or {})
        self._refuse_one_file_for_two()

    def _refuse_one_file_for_two(self) -> None:
        """Refuse two callbacks that would write over each other's file."""
        writers: list[tuple[str, Callback]] = []
        for one in (one for one in self.callbacks if isinstance(one, Callback)):
            for name in one._files:
                other = next((other for known, other in writers if Template.could_meet(known, name)), None)
                if other is not None:
                    kind, usual = type(one).__name__, os.path.basename(one._files[0])
                    raise UsageError(
                        f"{type(other).__name__} and {kind} would both write {name!r}: give each a name of "
                        f"its own, such as {kind}({'other' + os.path.splitext(usual)[1]!r}), or a folder, "
                        f"such as {kind}({'other/' + usual!r})."
                    )
            writers += [(name, one) for name in one._files]

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch."""
        self._check_hosts()
        self._call("on_train_end", self._completed(logs))

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch."""
        self._check_hosts()
        self._call("on_epoch_begin", epoch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch: every callback sees the same completed logs, even if one stops.

        What a callback adds to them is a metric of the epoch. Those that keep a history hear last, so that
        it is in there, wherever in the list they are.
        """
        self._check_hosts()
        complete = self._completed(logs)
        self._see_epoch(epoch, complete)
        if isinstance(logs, dict):  # callbacks after this list in Keras's own see the rate too
            logs.update(completed(complete, {}))

    def _see_epoch(self, epoch: int, complete: Logs) -> None:
        with self.training.one_copy():  # of the weights, however many callbacks keep them
            for callback, listener in self._heard["on_epoch_end"]:
                listener(epoch, complete)
                if self.calls_users_code or not is_own(callback):
                    self.training.weights_may_have_changed()

    def _completed(self, logs: Logs | None) -> Logs:
        return completed(logs, self.training.rates_in_use())

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation."""
        self._call("on_test_begin", logs or {})

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After an evaluation."""
        self._call("on_test_end", logs or {})

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before a prediction."""
        self._call("on_predict_begin", logs or {})

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After a prediction."""
        self._call("on_predict_end", logs or {})


def flat(callbacks: Any) -> list[Any]:
    """Callbacks that may be in lists, one after the other.

    Raises:
        ArgumentError: one is no callback.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, (list, tuple)):
        return [one for item in callbacks for one in flat(item)]
    if not callable(asked(callbacks, "on_epoch_end")):
        raise ArgumentError(
            f"callbacks must be callbacks, such as outlast.EarlyStopping(), but one is {callbacks!r}"
            + (": call the class." if isinstance(callbacks, type) else ".")
            + belongs(callbacks)
        )
    if isinstance(callbacks, type):
        raise ArgumentError(f"{callbacks.__name__} is a class: write {callbacks.__name__}(...).")
    return [callbacks]


def is_own(callback: Any) -> bool:
    """Whether a callback runs no code but outlast's: not a subclass, and no function of the user's."""
    return type(callback).__module__.startswith("outlast.") and not callback.calls_users_code


def hears(callback: Any, hook: str) -> bool:
    """Whether a callback has the hook; a batch's hook of the older name is called through the newer one."""
    names = (hook, hook.replace("train_batch", "batch"))
    there = asked(callback, hook) is not None
    return there and not all(is_unused(asked(callback, name)) for name in names)


def _calling(heard: tuple[tuple[Any, Listener], ...]) -> Listener:
    def call(batch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        for _, listener in heard:
            listener(batch, logs=logs)

    return call


for _name in _BATCH_HOOKS:
    setattr(CallbackList, _name, HookFromTable(_name))
