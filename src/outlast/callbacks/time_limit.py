"""TimeLimit: stop training after a given time."""

from __future__ import annotations

from datetime import timedelta

from outlast.callbacks.base import Callback
from outlast.core.decision import Decision
from outlast.core.logs import Logs
from outlast.core.stopping import TimeLimitRule, TimeLimitState


class TimeLimit(Callback):
    """Stop at the end of the epoch in which the time is used up.

    Args:
        seconds: seconds of training, or a ``timedelta``. A resumed run continues to count where it was;
            the time between two starts does not count.

    Raises:
        ArgumentError: the time is not more than 0.

    Example:
        >>> from outlast.testing import FakeAdapter, FakeClock, drive
        >>> adapter, clock = FakeAdapter(), FakeClock(step=20.0)
        >>> _ = drive(TimeLimit(30), [{"loss": 1.0}] * 5, adapter=adapter, clock=clock)
        >>> adapter.stop_reason
        'Epoch 2: TimeLimit stops: training has taken 40 s of the 30 s allowed'
    """

    measured = frozenset({"elapsed"})

    _rule: TimeLimitRule
    _state: TimeLimitState

    def __init__(self, seconds: float | timedelta) -> None:
        limit = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        self._rule = TimeLimitRule(limit)
        self._state = self._rule.start()
        self._since = 0.0

    def still_stops(self, decision: Decision) -> bool:
        """Whether the time is used up under the current limit, too."""
        return self._rule.still_stops(self._state)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start the clock."""
        if self._begin():
            self._state = self._rule.start()
        self._since = self.context.clock()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add the time since the end of the last epoch, and stop if it is used up."""
        now = self.context.clock()
        self._state, decision = self._rule.update(self._state, now - self._since, epoch=epoch)
        self._since = now
        if decision.stop:
            self.control.stop(decision.sentence)
            self.context.report(decision)
