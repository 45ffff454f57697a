"""When to cut the learning rate, and to which value."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from outlast.core.decision import Action, Decision, Reason
from outlast.core.monitor import Direction, Monitor
from outlast.core.numbers import count, real, settle
from outlast.exceptions import ArgumentError


@dataclass(frozen=True)
class PlateauState:
    """What the rule remembers between epochs."""

    best: float | None = None  # best value so far, in the metric's unit
    wait: int = 0  # epochs since the last improvement or cut
    cooldown_counter: int | float = 0  # epochs left of the cooldown after a cut
    direction: Direction | None = None  # found for mode="auto"


@dataclass(frozen=True)
class PlateauRule:
    """Cut the learning rate when the metric has not improved for ``patience`` epochs.

    The arguments are those of :class:`outlast.ReduceLROnPlateau`.

    Source: Keras's ``ReduceLROnPlateau``. As there, the cooldown is counted down before it is checked,
    so ``cooldown=n`` skips n - 1 epochs.
    """

    monitor: Monitor = field(default_factory=lambda: Monitor(min_delta=1e-4))
    factor: float = 0.1
    patience: int | float = 10
    cooldown: int | float = 0
    min_lr: float = 0.0

    start = PlateauState  # the state before the first epoch

    def __post_init__(self) -> None:
        factor = real(self.factor, "factor")
        if factor >= 1.0:
            raise ArgumentError(
                f"ReduceLROnPlateau does not support a factor >= 1.0. Received factor={self.factor}. "
                "The learning rate is multiplied by it: use a number between 0 and 1, such as 0.5."
            )
        if factor <= 0.0:
            raise ArgumentError(f"factor must be between 0 and 1, such as 0.5, but is {self.factor!r}.")
        settle(self, real, "factor", "min_lr")
        settle(self, count, "patience", "cooldown")

    def update(
        self, state: PlateauState, value: float | None, rates: Mapping[str, float], *, epoch: int
    ) -> tuple[PlateauState, Decision]:
        """Judge the metric at the end of an epoch.

        Args:
            state: what the rule remembers.
            value: the metric; None if it is missing.
            rates: the current learning rates, by name; empty if they are unknown.
            epoch: counted from 0.

        Returns:
            The next state and the decision. If the decision is to cut, ``values["learning_rate"]``
            has the new rates, but only those that change.
        """
        direction = state.direction or self.monitor.direction(who="ReduceLROnPlateau")
        state = replace(state, direction=direction)
        if value is None:
            return state, self._decision(state, Reason.MISSING, epoch)
        before = state.best
        if state.cooldown_counter > 0:
            state = replace(state, cooldown_counter=state.cooldown_counter - 1, wait=0)
        if self.monitor.better(value, state.best, direction):
            state = replace(state, best=value, wait=0)
            if before is None:
                return state, self._decision(state, Reason.FIRST_VALUE, epoch, value)
            return state, self._decision(state, Reason.IMPROVED, epoch, value, previous=before)
        if state.cooldown_counter > 0:
            return state, self._decision(state, Reason.COOLING_DOWN, epoch, value)
        state = replace(state, wait=state.wait + 1)
        if state.wait < self.patience:
            reason = Reason.NOT_A_NUMBER if math.isnan(value) else Reason.NO_IMPROVEMENT
            return state, self._decision(state, reason, epoch, value)
        return self._plateau(state, value, rates, epoch)

    def _plateau(
        self, state: PlateauState, value: float, rates: Mapping[str, float], epoch: int
    ) -> tuple[PlateauState, Decision]:
        cut = {
            name: max(rate * self.factor, self.min_lr)
            for name, rate in rates.items()
            if rate > _as_held(self.min_lr, rate)
        }
        if rates and not cut:
            return state, self._decision(state, Reason.AT_MINIMUM, epoch, value, min_lr=self.min_lr)
        reason = Reason.NEVER_A_NUMBER if state.best is None else Reason.PLATEAU
        decision = self._decision(state, reason, epoch, value, learning_rate=cut)
        return replace(state, cooldown_counter=self.cooldown, wait=0), decision

    def _decision(
        self, state: PlateauState, reason: Reason, epoch: int, value: float | None = None, **more: Any
    ) -> Decision:
        values = {
            "monitor": self.monitor.name,
            "value": value,
            "best": state.best,
            "wait": state.wait,
            "patience": self.patience,
            "cooldown": state.cooldown_counter,
            **more,
        }
        action = Action.REDUCE if "learning_rate" in more else Action.CONTINUE
        return Decision("ReduceLROnPlateau", action, reason, epoch, values=values)


def _as_held(min_lr: float, rate: float) -> float:
    """``min_lr`` in the precision in which the framework holds the rate.

    A float32 cannot hold 0.05 exactly. Compared with the float64 0.05, a float32 rate at its minimum
    could look larger than ``min_lr`` and would be cut in every epoch.
    """
    return _float32(min_lr) if rate == _float32(rate) else min_lr


def _float32(value: float) -> float:
    return array("f", [value])[0]  # too large a value becomes infinity
