"""The steps of Keras's ``fit``: heard one by one without a hook of a batch, and taken if they were trained.

``fit`` reads the model's public ``train_function`` before each step. A function in its place hears of every
step, so Keras goes on without waiting for callbacks. After a resume inside an epoch it takes the batches that
were trained from the iterator, and does nothing with them: ``fit`` counts them as ever, and its order of
batches is the one that it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any

from outlast.core.asking import has
from outlast.exceptions import RunChanged
from outlast.frameworks import random_state
from outlast.frameworks.keras_values import Live, Values

_HOOKS = ("on_train_batch_begin", "on_train_batch_end")


class Steps:
    """The steps of one call of ``fit``.

    Args:
        fit: the frame of the call. An error ends it without a word, and the function stays in the model.
        values: of the model's variables, which follow a step on JAX.
        callbacks: those of the call.
        run: the one among them that asks.
        hear: called after each step with the batches of the epoch so far, and those of the step, when the
            last callback has heard of it. Where none does, at once; where the run is the last, not at all.

    Attributes:
        done: batches of the epoch.
        drawn_ahead: the generators that data draw from in another thread, so that nobody knows how far it is.
    """

    def __init__(
        self,
        fit: Any,
        values: Values,
        callbacks: Sequence[Any],
        run: Any,
        hear: Callable[[int, int], object],
    ) -> None:
        self._model, self._fit, self._values, self._hear = fit.f_locals["self"], fit, values, hear
        self._last = next((one for one in reversed(callbacks) if _hears(one)), None)
        self.run_is_last = self._last is run
        self._fetches_ahead = _fetches_ahead(fit.f_locals.get("x"))
        self._drawn: dict[str, bytes] | None = None
        self.drawn_ahead: tuple[str, ...] = ()
        self._original: Any = None
        self._logs: Mapping[str, Any] = {}  # of the last step
        self._left = 0  # batches to be taken before training goes on
        self._come_back: Callable[[], object] = lambda: None
        self._muted: list[tuple[Any, str, Any]] = []
        self._replaced: list[tuple[Any, str, Any]] = []
        self.done = 0
        self.begin()
        if self._last is not None and not self.run_is_last:
            self._replaced.append(_replaced(self._last, "on_train_batch_end", self._and_hear))

    @property
    def size(self) -> int:
        """Batches of a step."""
        return int(getattr(self._model, "steps_per_execution", 1) or 1)

    def begin(self) -> None:
        """An epoch begins; somebody may have had Keras make its function again."""
        self.done = 0
        if self._is_ours(self._model.train_function):
            return
        self._original = _unwrapped(self._model.train_function)

        def step(*args: Any) -> Any:
            if sys._getframe(1) is not self._fit:  # another fit, after an error has ended this one
                return self._original(*args)
            return self._take(*args) if self._left else self._step(*args)

        step.outlast_steps = self  # type: ignore[attr-defined]
        self._model.train_function = step

    def _is_ours(self, function: Any) -> bool:
        return getattr(function, "outlast_steps", None) is self

    def close(self) -> None:
        """Training has ended."""
        self.unmute()
        _put_back(self._replaced)
        self._fit = None
        if self._is_ours(self._model.train_function):
            self._model.train_function = self._original

    def _step(self, *args: Any) -> Any:
        if self._muted:
            self.unmute()
        result = self._original(*args)
        is_jax = len(args) > 1  # of (state, iterator); elsewhere the variables have what was trained
        self._logs = result[0] if is_jax else result
        self.done += self.size
        if self._last is not None:  # callbacks are to hear of the step before
            return result
        if not is_jax:
            self._hear(self.done, self.size)
            return result
        live = self._with(result[1], lambda: self._hear(self.done, self.size))
        return (result[0], live.state()) if live.is_changed else result

    def _and_hear(self, heard: Callable[..., object]) -> Callable[..., object]:
        def hear(batch: int, logs: Any = None) -> object:
            returned = heard(batch, logs=logs)
            if self._is_under_way():
                self._hear(self.done, self.size)
            return returned

        return hear

    def _is_under_way(self) -> bool:
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame is not self._fit:
            frame = frame.f_back
        return frame is not None

    def _with(self, state: Any, act: Callable[[], object]) -> Live:
        self._values.live = live = Live(self._model, state)
        try:
            act()
        finally:
            self._values.live = None
        return live

    # Going on inside an epoch.

    def skip(self, trained: int, come_back: Callable[[], object]) -> None:
        """Take so many batches of this epoch before training goes on.

        Args:
            trained: the batches.
            come_back: called when they are taken, to put back what was saved.

        Raises:
            RunChanged: a step has another number of batches now.
        """
        if trained % self.size:
            raise RunChanged(
                f"The run was saved after {trained} batches of an epoch, and a step has {self.size} of them "
                f"now: compile the model with steps_per_execution={_divisor(trained, self.size)}, or begin "
                "again with resume='never'."
            )
        self._left, self._come_back = trained, come_back

    @property
    def lacking(self) -> int:
        """Batches that were trained, and have not come."""
        return self._left

    def _take(self, *args: Any) -> Any:
        batch = self._next(args[-1])
        self._note_draws()
        self.done += self.size
        self._left -= self.size
        self._build_metrics(batch)
        if self._left:
            return {} if len(args) == 1 else ({}, args[0])
        if len(args) == 1:
            self._come_back()
            return self._logs
        live = self._with(args[0], self._come_back)
        return self._logs, live.state()

    def _note_draws(self) -> None:
        """See which generators data draw from: not those that are the same after the first batch and last.

        Before the first batch, Keras draws the order.
        """
        if not self._fetches_ahead:
            return
        now = random_state.in_bytes()
        if self._drawn is None:
            self.drawn_ahead = tuple(now) if self._left == self.size else ()
            self._drawn = now
        elif self._left == self.size:
            self.drawn_ahead = tuple(name for name in now if now[name] != self._drawn[name])

    def _next(self, source: Any) -> Any:
        """The first batch of a step; those of all are taken."""
        if not hasattr(source, "__next__"):  # PyTorch's come in a list
            return source[0]
        first = next(source)  # fit hears of StopIteration
        for _ in range(self.size - 1):
            next(source)
        return first

    def _build_metrics(self, batch: Any) -> None:
        """TensorFlow makes the variables of metrics at the first batch; there is no public way to ask."""
        metrics = getattr(self._model, "_compile_metrics", None)
        if metrics is not None and not metrics.built:
            self._model._symbolic_build(data_batch=batch)

    def saved(self) -> dict[str, Any]:
        """What of the epoch is in nothing else: how far it is, the sums of its metrics, the last logs."""
        from keras import ops

        self._values.fill(self._model)
        return {
            "done": self.done,
            "metrics": [self._values.read(one) for one in self._model.metrics_variables],
            "logs": {str(name): ops.convert_to_numpy(one) for name, one in self._plain_logs().items()},
        }

    def _plain_logs(self) -> Mapping[str, Any]:
        return self._logs if isinstance(self._logs, Mapping) else {}

    def put(self, saved: Mapping[str, Any]) -> None:
        """Go on from :meth:`saved`.

        Raises:
            RunChanged: the model has other metrics now.
        """
        self._values.fill(self._model)
        variables = self._model.metrics_variables
        shapes = [tuple(one.shape) for one in variables]
        if shapes != [tuple(one.shape) for one in saved["metrics"]]:
            raise RunChanged(
                "the metrics of model.compile(...) are others than those that the epoch began with: compile "
                "the model with the same, or begin again with resume='never'"
            )
        for variable, value in zip(variables, saved["metrics"], strict=True):
            self._values.assign(variable, value)
        self._logs = saved["logs"]

    def seeds(self) -> list[Any]:
        """The states of the model's seed generators."""
        return [self._values.read(one) for one in _seeds(self._model)]

    def put_seeds(self, saved: Sequence[Any]) -> None:
        """Go on from :meth:`seeds`."""
        for variable, value in zip(_seeds(self._model), saved, strict=True):
            self._values.assign(variable, value)

    # Callbacks of others.

    def mute(self, callbacks: Sequence[Any], until: int) -> None:
        """Have callbacks hear nothing of the batches up to one, but for Keras's progress bar.

        They have heard of them in another process.
        """
        for callback in callbacks:
            for hook in _HOOKS:
                if _uses(callback, hook) and not _is_progress_bar(callback):
                    self._muted.append(_replaced(callback, hook, partial(self._unless_trained, until)))

    def _unless_trained(self, until: int, heard: Callable[..., object]) -> Callable[..., object]:
        def hear(batch: int, logs: Any = None) -> object:
            is_trained = batch <= until and self._is_under_way()
            return None if is_trained else heard(batch, logs=logs)

        return hear

    def unmute(self) -> None:
        """Have them hear everything."""
        _put_back(self._muted)


def _replaced(
    callback: Any, hook: str, around: Callable[[Callable[..., object]], Callable[..., object]]
) -> tuple[Any, str, Any]:
    """Put a function around a callback's hook. Keras's list calls what it finds in a callback.

    Returns:
        What :func:`_put_back` takes.
    """
    own = vars(callback).get(hook)
    setattr(callback, hook, around(getattr(callback, hook)))
    return callback, hook, own


def _put_back(replaced: list[tuple[Any, str, Any]]) -> None:
    while replaced:
        callback, hook, own = replaced.pop()
        if own is None:
            delattr(callback, hook)
        else:
            setattr(callback, hook, own)


def _hears(callback: Any) -> bool:
    """Whether Keras waits for the callback to hear of a batch's end; its progress bar may hear later."""
    waits = not getattr(callback, "async_safe", False)
    return waits and _uses(callback, "on_train_batch_end") and not _is_progress_bar(callback)


def _uses(callback: Any, hook: str) -> bool:
    """Whether a hook of a batch, or the one of the older name that it calls, does something."""
    hooks = (getattr(callback, name, None) for name in (hook, hook.replace("train_batch", "batch")))
    return not all(getattr(one, "_is_default", one is None) for one in hooks)


def _is_progress_bar(callback: Any) -> bool:
    return any(kind.__name__ == "ProgbarLogger" for kind in type(callback).__mro__)


def _unwrapped(function: Any) -> Any:
    """Keras's function, without that of a training which an error has ended."""
    while (steps := getattr(function, "outlast_steps", None)) is not None:
        function = steps._original
    return function


def _divisor(trained: int, size: int) -> int:
    """The largest number of batches of a step, up to the size, that divides what was trained.

    Example:
        >>> _divisor(9, 4)
        3
    """
    return next(number for number in range(size, 0, -1) if trained % number == 0)


def _seeds(model: Any) -> list[Any]:
    return [one for one in model.variables if "int" in str(one.dtype)]


def _fetches_ahead(data: Any) -> bool:
    import keras

    is_array = has(data, "shape") or isinstance(data, (list, tuple, Mapping))
    return keras.backend.backend() == "tensorflow" and not is_array
