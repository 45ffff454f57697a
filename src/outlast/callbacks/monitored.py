"""MonitoredCallback: what callbacks that watch a metric have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from outlast.callbacks.base import Callback, forwarded
from outlast.core.logs import Logs
from outlast.core.monitor import Mode, Monitor, ThresholdMode, mode_problem, with_hint
from outlast.core.numbers import number
from outlast.core.text import escaped
from outlast.exceptions import warn


class MonitoredCallback(Callback):
    """Base of the callbacks that watch one metric: its name, its direction, its best value."""

    # The warning that the metric was missing in the last epoch; None if it was not, "" once it is given.
    _missing: str | None = None
    _came = False  # the metric was there in an epoch of this fit
    _calls = 0  # of update(), when no epoch is given

    best = forwarded("_state", "best", "Best value so far; None before the first epoch.")

    def _monitor(
        self, monitor: str, mode: str, min_delta: float = 0.0, threshold_mode: str = "abs"
    ) -> Monitor:
        problem = mode_problem(mode, type(self).__name__)
        if problem:
            warn(problem)
        known: Mode = "auto" if problem else mode  # type: ignore[assignment]
        threshold: ThresholdMode = threshold_mode  # type: ignore[assignment]
        return Monitor(monitor, known, min_delta, threshold)

    @property
    def monitor(self) -> str:
        """Name of the watched metric."""
        return str(self._rule.monitor.name)

    @monitor.setter
    def monitor(self, name: str) -> None:
        self._change_monitor(name=name)

    @property
    def mode(self) -> str:
        """``"min"``, ``"max"`` or ``"auto"``."""
        return str(self._rule.monitor.mode)

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._change_monitor(mode=mode)

    @property
    def min_delta(self) -> float:
        """Smallest change that counts as an improvement."""
        return float(self._rule.monitor.min_delta)

    @min_delta.setter
    def min_delta(self, min_delta: float) -> None:
        self._change_monitor(min_delta=min_delta)

    def _change_monitor(self, **changes: Any) -> None:
        self._rule = replace(self._rule, monitor=replace(self._rule.monitor, **changes))

    @property
    def monitor_op(self) -> Callable[[Any, Any], Any] | None:
        """The comparison, as in Keras: ``keras.ops.less`` or ``greater``; None before the first epoch."""
        direction = self._state.direction
        if direction is None or self._context is None:
            return None
        return self._context.training.comparison(direction)

    def _settle_direction(self, logs: Logs) -> None:
        """Find out, once, whether higher is better: ask the framework, then look at the name."""
        if self._state.direction is not None:
            return
        known = None if self._context is None else self._context.training.direction(self.monitor)
        direction = self._rule.monitor.direction(known, who=type(self).__name__, available=logs)
        self._state = replace(self._state, direction=direction)

    def _current(self, logs: Logs, missing: str) -> float | None:
        """The metric's value; None if it is missing.

        There is one warning for each fit, when the metric is missing in two epochs in a row, or was never
        there: with ``validation_freq=2`` it is there in every second epoch.
        """
        value = logs.get(self.monitor)
        if value is not None:
            self._missing, self._came = "" if self._missing == "" else None, True
            return number(value, self.monitor)
        if self._missing is None:
            self._missing = escaped(with_hint(missing, self.monitor, logs))
        else:
            self._warn_of_missing()
        return None

    def _warn_of_missing(self) -> None:
        if self._missing:
            warn(self._missing)
            self._missing = ""

    def _begin(self) -> bool:
        self._missing, self._came = None, False
        return super()._begin()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Warn of a metric that never came."""
        if not self._came:
            self._warn_of_missing()

    def forget(self) -> None:
        """Forget everything, the number of calls of ``update`` included."""
        super().forget()
        self._calls = 0

    def state_dict(self) -> dict[str, Any]:
        """What the callback remembers, and how often ``update`` was called."""
        return {**super().state_dict(), "calls": self._calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another callback of the same class remembered."""
        super().load_state_dict({name: value for name, value in state.items() if name != "calls"})
        self._calls = state.get("calls", 0)

    def _epoch_of_call(self, epoch: int | None) -> int:
        """The epoch of a call of ``update``: as given, else the number of calls before."""
        self._calls += 1
        return self._calls - 1 if epoch is None else epoch
