"""LearningRateScheduler: set the learning rate with a function of the epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.logs import Logs
from outlast.exceptions import ArgumentError


class LearningRateScheduler(Callback):
    """Set the learning rate at the beginning of every epoch.

    Args:
        schedule: called as ``schedule(epoch, learning_rate)``, or ``schedule(epoch)`` if it takes one
            argument. ``epoch`` is counted from 0. It returns the rate, a float.
        verbose: 1 prints the rate that it sets.

    Raises:
        ArgumentError: ``schedule`` is not a function, or does not return a float.
        CapabilityError: before the first batch, if the rate cannot be set.

    Source: ``keras.callbacks.LearningRateScheduler``, except that it does not hide a TypeError that is
    raised inside ``schedule``.

    Example:
        >>> from outlast.testing import FakeAdapter, drive
        >>> adapter = FakeAdapter(learning_rate=0.1)
        >>> _ = drive(LearningRateScheduler(lambda epoch, lr: lr / 2), [{"loss": 1.0}], adapter=adapter)
        >>> adapter.learning_rates()
        {'fake': 0.05}
    """

    requires = ("learning_rate",)
    sets_rates = True
    calls_users_code = True

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise ArgumentError(
                f"schedule must be a function of (epoch, learning_rate), but is {schedule!r}."
            )
        self.schedule = schedule
        self.verbose = verbose

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Check that the learning rate can be set."""
        self._begin()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Call the schedule and set the learning rate."""
        for name, rate in self.training.learning_rates().items():
            self._set_rate(name, self._new_rate(epoch, rate), epoch, "LearningRateScheduler setting")

    def _new_rate(self, epoch: int, rate: float) -> float:
        new: Any = self.schedule(epoch, rate) if _takes_two(self.schedule) else self.schedule(epoch)
        if not isinstance(new, float) and type(new).__name__ != "float32":  # numpy.float64 is a float
            raise ArgumentError(
                f"The output of the `schedule` function should be a float. Got: {new!r}. Return float(...)."
            )
        return new  # type: ignore[no-any-return]  # a NumPy float32 is passed on as it is

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Put the learning rate into the logs."""
        self._warn_if_undone(epoch)
        self._with_rates(logs)


def _takes_two(schedule: Callable[..., Any]) -> bool:
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True
