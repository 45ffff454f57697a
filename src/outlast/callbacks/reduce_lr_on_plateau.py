"""ReduceLROnPlateau: lower the learning rate when a metric no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from outlast.callbacks.base import forwarded
from outlast.callbacks.monitored import MonitoredCallback
from outlast.core.decision import Decision
from outlast.core.logs import Logs
from outlast.core.plateau import PlateauRule, PlateauState
from outlast.core.text import few


class ReduceLROnPlateau(MonitoredCallback):
    """Multiply the learning rate by ``factor`` when a metric has stopped improving.

    Args:
        monitor: name of the metric in the logs, such as ``"val_loss"``.
        factor: the learning rate is multiplied by it; between 0 and 1.
        patience: number of epochs without improvement after which the rate is cut.
        verbose: 1 prints a line when it acts.
        mode: ``"min"`` (lower is better), ``"max"``, or ``"auto"`` (the model or the metric's name decides).
        min_delta: smallest change that counts as an improvement, in the metric's unit.
        cooldown: after a cut, the next ``cooldown - 1`` epochs are not judged (as in Keras, 1 skips none).
        min_lr: the learning rate is never set lower than this.
        threshold_mode: ``"abs"``: ``min_delta`` is a difference; ``"rel"``: it is a share of ``abs(best)``.

    Attributes:
        best, wait, cooldown_counter: as in Keras.

    Raises:
        UnknownArgument, ArgumentError: at once, if an argument cannot work.
        CapabilityError: before the first batch, if the rate cannot be set, because a schedule sets it.
        UnknownDirection: at the end of the first epoch, if it is unknown whether higher is better.

    Source: the decisions, texts and defaults of ``keras.callbacks.ReduceLROnPlateau``, except that NaN
    is never the best value.

    Example:
        >>> plateau = ReduceLROnPlateau(factor=0.5, patience=1)
        >>> plateau.update(0.9, learning_rate=0.1).learning_rate
        >>> plateau.update(0.9, learning_rate=0.1).learning_rate
        0.05
    """

    requires = ("learning_rate",)
    sets_rates = True

    factor = forwarded("_rule", "factor", "The learning rate is multiplied by it.")
    patience = forwarded("_rule", "patience", "Epochs without improvement after which the rate is cut.")
    cooldown = forwarded("_rule", "cooldown", "Epochs of cooldown after a cut.")
    min_lr = forwarded("_rule", "min_lr", "The learning rate is never set lower than this.")
    wait = forwarded("_state", "wait", "Epochs since the last improvement or cut.")
    cooldown_counter = forwarded("_state", "cooldown_counter", "Epochs left of the cooldown.")

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
        """Whether a cooldown is under way."""
        return bool(self.cooldown_counter > 0)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start from the beginning, but keep the direction that was found, as Keras does."""
        if self._begin():
            self._state = replace(self._rule.start(), direction=self._state.direction)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Judge the epoch, and cut the learning rate when patience runs out."""
        self._warn_if_undone(epoch, lower_is_right=True)
        logs = self._with_rates(logs)
        self._settle_direction(logs)
        current = self._current(
            logs,
            f"Learning rate reduction is conditioned on metric `{self.monitor}` which is not available. "
            f"Available metrics are: {few(logs, between=',')}.",
        )
        rates = self.training.learning_rates()
        self._state, decision = self._rule.update(self._state, current, rates, epoch=epoch)
        cuts: Mapping[str, float] = decision.values.get("learning_rate", {})
        for name, rate in cuts.items():
            self._set_rate(name, rate, epoch, "ReduceLROnPlateau reducing")
        if cuts:
            self.context.report(decision)

    def update(self, value: Any, *, epoch: int | None = None, learning_rate: float | None = None) -> Decision:
        """Judge one value in a loop of your own: returns the decision, and does nothing else.

        Args:
            value: the metric; None if it is missing.
            epoch: counted from 0; without it, calls are counted.
            learning_rate: the current rate; ``decision.learning_rate`` is then the new one. Without it,
                the decision only says that it is time to cut.
        """
        self._settle_direction({})
        rates = {} if learning_rate is None else {"learning_rate": float(learning_rate)}
        return self._judge_value(value, epoch, rates)
