"""MonitoredCallback: what callbacks that watch a metric have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from outlast.callbacks.base import JSON, Callback, forwarded
from outlast.core.decision import Decision
from outlast.core.logs import Logs
from outlast.core.monitor import Monitor, mode_problem, with_hint
from outlast.core.numbers import number
from outlast.core.text import escaped
from outlast.exceptions import warn


class MonitoredCallback(Callback):
    """Base of the callbacks that watch one metric: its name, its direction, its best value."""

    needs_metric = True  # it does nothing without
    # The warning that the metric was missing in the last epoch; None if it was not, "" once it is given.
    _missing: str | None = None
    _came = False  # the metric was there in an epoch of this fit
    _calls = 0  # of update(), when no epoch is given

    best = forwarded("_state", "best", "Best value so far; None before the first epoch.")
    _watched = forwarded("_rule", "monitor", "The rule's monitor, which has these three:")
    monitor = forwarded("_watched", "name", "Name of the watched metric.")
    mode = forwarded("_watched", "mode", '``"min"``, ``"max"`` or ``"auto"``.')
    min_delta = forwarded("_watched", "min_delta", "Smallest change that counts as an improvement.")

    def _monitor(
        self, monitor: str, mode: str, min_delta: float = 0.0, threshold_mode: str = "abs"
    ) -> Monitor:
        problem = mode_problem(mode, type(self).__name__)
        if problem:
            warn(problem)
            mode = "auto"
        return Monitor(monitor, mode, min_delta, threshold_mode)  # type: ignore[arg-type]  # it checks them

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

    def configuration(self) -> JSON:
        """What the callback was asked to do; the monitor's settings are beside the rule's, as in Keras."""
        settings = super().configuration()
        monitor = settings.pop("monitor")
        return {"monitor": monitor.pop("name"), **monitor, **settings}

    def state_dict(self) -> dict[str, Any]:
        """What the callback remembers, and how often ``update`` was called."""
        return {**super().state_dict(), "calls": self._calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another callback of the same class remembered."""
        super().load_state_dict({name: value for name, value in state.items() if name != "calls"})
        self._calls = self._checked(state, {"calls": int}).get("calls", 0)

    def _judge_value(self, value: Any, epoch: int | None, *rates: Mapping[str, float]) -> Decision:
        """Judge the value of a call of ``update``; without an epoch, calls are counted."""
        current = None if value is None else number(value, self.monitor)
        epoch = self._calls if epoch is None else epoch
        self._calls += 1
        self._state, decision = self._rule.update(self._state, current, *rates, epoch=epoch)
        return decision  # type: ignore[no-any-return]
