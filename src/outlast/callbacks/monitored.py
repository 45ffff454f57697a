"""MonitoredCallback: what callbacks that watch a metric have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from outlast.callbacks.base import Callback, part
from outlast.core.logs import Logs
from outlast.core.monitor import Mode, Monitor, ThresholdMode, mode_problem, with_hint
from outlast.core.numbers import number
from outlast.core.text import escaped
from outlast.exceptions import warn


class MonitoredCallback(Callback):
    """Base of the callbacks that watch one metric: its name, its direction, its best value."""

    _missing_is_said = False
    _calls = 0  # of update(), when no epoch is given

    best = part("_state", "best", "Best value so far; None before the first epoch.")

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
        """The metric's value; None, with one warning for each fit, if it is missing."""
        value = logs.get(self.monitor)
        if value is not None:
            return number(value, self.monitor)
        if not self._missing_is_said:
            warn(escaped(with_hint(missing, self.monitor, logs)))
            self._missing_is_said = True
        return None

    def _begin(self) -> bool:
        self._missing_is_said = False
        return super()._begin()

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
