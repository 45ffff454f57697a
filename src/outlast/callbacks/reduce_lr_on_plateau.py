"""ReduceLROnPlateau: lower the learning rate when a metric has stopped improving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from outlast.callbacks.base import part
from outlast.callbacks.monitored import MonitoredCallback
from outlast.core.decision import Decision
from outlast.core.logs import Logs
from outlast.core.numbers import number
from outlast.core.plateau import PlateauRule, PlateauState


class ReduceLROnPlateau(MonitoredCallback):
    """Multiply the learning rate by ``factor`` when a metric has stopped improving.

    Args:
        monitor: name of the metric, as it stands in the logs.
        factor: what the rate is multiplied by, between 0 and 1.
        patience: epochs without improvement after which the rate is cut.
        verbose: 1 prints when it acts.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (told by the model, else by the metric's name).
        min_delta: least change that counts as an improvement, in the metric's unit.
        cooldown: epochs of rest after a cut; as in Keras the first of them is the next epoch's
            own, so 1 rests for none.
        min_lr: the rate is never set lower.
        threshold_mode: ``"abs"``: ``min_delta`` is a difference; ``"rel"``: a share of ``abs(best)``.

    Attributes:
        best, wait, cooldown_counter: as in Keras.

    Raises:
        UnknownArgument, ArgumentError: at once, for an argument that cannot work.
        CapabilityError: before the first batch, if the rate cannot be set (a schedule sets it).
        UnknownDirection: at the first epoch's end, if nobody knows whether up is better.

    Source: decisions, texts and defaults are those of ``keras.callbacks.ReduceLROnPlateau``, but
    that NaN is never best.

    Example:
        >>> plateau = ReduceLROnPlateau(factor=0.5, patience=1)
        >>> plateau.update(0.9, learning_rate=0.1).learning_rate
        >>> plateau.update(0.9, learning_rate=0.1).learning_rate
        0.05
    """

    requires = ("learning_rate",)

    factor = part("_rule", "factor", "What the rate is multiplied by.")
    patience = part("_rule", "patience", "Epochs without improvement that are allowed.")
    cooldown = part("_rule", "cooldown", "Epochs of rest after a cut.")
    min_lr = part("_rule", "min_lr", "The rate is never set lower.")
    wait = part("_state", "wait", "Epochs since the last improvement or cut.")
    cooldown_counter = part("_state", "cooldown_counter", "Epochs of rest that remain.")

    _rule: PlateauRule
    _state: PlateauState

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        *,
        threshold_mode: str = "abs",
    ) -> None:
        self.verbose = verbose
        self._rule = PlateauRule(
            self._monitor(monitor, mode, min_delta, threshold_mode),
            factor=factor,
            patience=patience,
            cooldown=cooldown,
            min_lr=min_lr,
        )
        self._state = self._rule.start()

    def in_cooldown(self) -> bool:
        """Whether it rests after a cut."""
        return bool(self.cooldown_counter > 0)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start from nothing, but for the direction that was found."""
        if self._begin():
            self._state = replace(self._rule.start(), direction=self._state.direction)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Judge the epoch; cut the rate when patience runs out."""
        logs = self._with_rates(logs)
        self._settle_direction(logs)
        current = self._current(
            logs,
            f"Learning rate reduction is conditioned on metric `{self.monitor}` which is not available. "
            f"Available metrics are: {','.join(logs)}.",
        )
        rates = self.training.learning_rates()
        self._state, decision = self._rule.update(self._state, current, rates, epoch=epoch)
        cuts: Mapping[str, float] = decision.values.get("learning_rate", {})
        for name, rate in cuts.items():
            self.training.set_learning_rate(name, rate)
            self._say(epoch, f" {name}" if len(rates) > 1 else "", rate)
        if cuts:
            self.context.report(decision)

    def _say(self, epoch: int, name: str, rate: float) -> None:
        if self.verbose > 0:
            self.context.report.message(
                f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing{name} learning rate to {rate}."
            )

    def update(self, value: Any, *, epoch: int | None = None, learning_rate: float | None = None) -> Decision:
        """Judge one value without any loop: the same decision, and nothing else happens.

        Args:
            value: the metric; None if it is missing.
            epoch: from 0; without it calls are counted.
            learning_rate: the rate in force; the decision's ``learning_rate`` is the new one. Without
                it the decision says only that it is time to cut.
        """
        self._settle_direction({})
        current = None if value is None else number(value, self.monitor)
        rates = {} if learning_rate is None else {"learning_rate": float(learning_rate)}
        self._state, decision = self._rule.update(
            self._state, current, rates, epoch=self._epoch_of_call(epoch)
        )
        return decision
