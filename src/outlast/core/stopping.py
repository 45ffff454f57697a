"""When to stop: no improvement, a threshold, a time limit, a loss that is NaN or infinite."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field, replace
from typing import Any

from outlast.core.decision import Action, Decision, Reason
from outlast.core.monitor import Direction, Monitor
from outlast.core.numbers import count, real, settle
from outlast.exceptions import ArgumentError

_STOPS = {Reason.REACHED, Reason.DIVERGED, Reason.PATIENCE, Reason.NEVER_A_NUMBER}


@dataclass(frozen=True)
class EarlyStoppingState:
    """What the rule remembers between epochs."""

    best: float | None = None  # best value so far, in the metric's unit
    best_epoch: int = 0  # its epoch, counted from 0
    wait: int = 0  # epochs since the last improvement
    stopped_epoch: int = 0  # epoch in which it asked to stop, counted from 0; also 0 if it never did
    direction: Direction | None = None  # found for mode="auto"


@dataclass(frozen=True)
class EarlyStoppingRule:
    """Stop when the metric has not improved for ``patience`` epochs.

    The arguments are those of :class:`outlast.EarlyStopping`.

    Source: Keras's ``EarlyStopping``, decision by decision. The first epoch never stops, an improvement
    never stops, and with a ``baseline`` the count of epochs is reset only by values that beat the
    baseline. The two thresholds are Lightning's.
    """

    monitor: Monitor = field(default_factory=Monitor)
    patience: int | float = 0
    baseline: float | None = None
    start_from_epoch: int | float = 0
    stopping_threshold: float | None = None
    divergence_threshold: float | None = None

    start = EarlyStoppingState  # the state before the first epoch

    def __post_init__(self) -> None:
        settle(self, count, "patience", "start_from_epoch")
        settle(self, real, "baseline", "stopping_threshold", "divergence_threshold", optional=True)

    def update(
        self, state: EarlyStoppingState, value: float | None, *, epoch: int
    ) -> tuple[EarlyStoppingState, Decision]:
        """Judge the metric at the end of an epoch; ``value`` is None if it is missing."""
        direction = state.direction or self.monitor.direction(who="EarlyStopping")
        state = replace(state, direction=direction)
        if value is None:
            return state, self._decision(state, Reason.MISSING, epoch)
        if epoch < self.start_from_epoch:
            return state, self._decision(state, Reason.WARMING_UP, epoch)
        better = self.monitor.better(value, state.best, direction)
        after = self._improved(state, value, epoch) if better else replace(state, wait=state.wait + 1)
        stop = self._stop_reason(after, value, epoch, better)
        if stop is not None:
            after = replace(after, stopped_epoch=epoch)
        reason = stop or _judged(state, value, better)
        return after, self._decision(after, reason, epoch, value, state.best)

    def still_stops(self, state: EarlyStoppingState, decision: Decision) -> bool:
        """Whether a stop that was decided under other settings still holds under these.

        A resumed run asks this: with a longer patience, training must continue.
        """
        value = decision.values.get("value")
        if value is None:
            return True
        if state.direction is None:  # nothing was judged yet
            return False
        better = state.best_epoch == decision.epoch
        return self._stop_reason(state, value, decision.epoch, better) is not None

    def _improved(self, state: EarlyStoppingState, value: float, epoch: int) -> EarlyStoppingState:
        assert state.direction
        beats_baseline = self.monitor.better(value, self.baseline, state.direction)
        wait = 0 if beats_baseline else state.wait + 1
        return replace(state, best=value, best_epoch=epoch, wait=wait)

    def _stop_reason(
        self, state: EarlyStoppingState, value: float, epoch: int, better: bool
    ) -> Reason | None:
        beyond = operator.lt if state.direction == "min" else operator.gt
        if self.stopping_threshold is not None and beyond(value, self.stopping_threshold):
            return Reason.REACHED
        if self.divergence_threshold is not None and beyond(self.divergence_threshold, value):
            return Reason.DIVERGED
        if not better and state.wait >= self.patience and epoch > 0:
            return Reason.NEVER_A_NUMBER if state.best is None else Reason.PATIENCE
        return None

    def _decision(
        self,
        state: EarlyStoppingState,
        reason: Reason,
        epoch: int,
        value: float | None = None,
        previous: float | None = None,
    ) -> Decision:
        more: dict[Reason, dict[str, Any]] = {
            Reason.IMPROVED: {"previous": previous},
            Reason.WARMING_UP: {"start_from_epoch": self.start_from_epoch},
            Reason.REACHED: {"threshold": self.stopping_threshold},
            Reason.DIVERGED: {"threshold": self.divergence_threshold},
        }
        values: dict[str, Any] = {
            "monitor": self.monitor.name,
            "value": value,
            "best": state.best,
            "best_epoch": state.best_epoch,
            "wait": state.wait,
            "patience": self.patience,
            **more.get(reason, {}),
        }
        action = Action.STOP if reason in _STOPS else Action.CONTINUE
        return Decision("EarlyStopping", action, reason, epoch, values=values)


def _judged(before: EarlyStoppingState, value: float, better: bool) -> Reason:
    if math.isnan(value):
        return Reason.NOT_A_NUMBER
    if not better:
        return Reason.NO_IMPROVEMENT
    return Reason.FIRST_VALUE if before.best is None else Reason.IMPROVED


@dataclass(frozen=True)
class TimeLimitState:
    """What the rule remembers."""

    elapsed: float = 0.0  # seconds of training, summed over all starts of the run


@dataclass(frozen=True)
class TimeLimitRule:
    """Stop at the end of the epoch in which training has taken ``seconds``."""

    seconds: float

    start = TimeLimitState  # the state before the first epoch

    def __post_init__(self) -> None:
        if real(self.seconds, "seconds") <= 0:
            raise ArgumentError(f"seconds must be more than 0, but is {self.seconds!r}.")
        settle(self, real, "seconds")

    def still_stops(self, state: TimeLimitState) -> bool:
        """Whether the time is used up under this limit, too."""
        return state.elapsed >= self.seconds

    def update(self, state: TimeLimitState, seconds: float, *, epoch: int) -> tuple[TimeLimitState, Decision]:
        """Add ``seconds`` of training, at the end of an epoch."""
        state = replace(state, elapsed=state.elapsed + seconds)
        action = Action.STOP if state.elapsed >= self.seconds else Action.CONTINUE
        values = {"elapsed": state.elapsed, "limit": self.seconds}
        return state, Decision("TimeLimit", action, Reason.TIME, epoch, values=values)


def invalid_loss(loss: float, *, epoch: int, batch: int) -> Decision:
    """Stop if the loss is NaN or infinite.

    Source: Keras's ``TerminateOnNaN``.

    Example:
        >>> invalid_loss(math.inf, epoch=0, batch=3).stop
        True
    """
    action = Action.CONTINUE if math.isfinite(loss) else Action.STOP
    return Decision("TerminateOnNaN", action, Reason.INVALID_LOSS, epoch, batch, {"value": loss})
