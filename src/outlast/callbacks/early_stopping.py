"""EarlyStopping: end the training when a metric has stopped improving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from outlast.callbacks.base import part
from outlast.callbacks.monitored import MonitoredCallback
from outlast.core.decision import Action, Decision, Reason
from outlast.core.logs import Logs
from outlast.core.numbers import number
from outlast.core.stopping import EarlyStoppingRule, EarlyStoppingState
from outlast.exceptions import warn
from outlast.frameworks.base import Capability, Snapshot


class EarlyStopping(MonitoredCallback):
    """Stop training when a monitored metric has stopped improving.

    Args:
        monitor: name of the metric, as it stands in the logs.
        min_delta: least change that counts as an improvement, in the metric's unit.
        patience: epochs without improvement after which training stops.
        verbose: 1 prints when it acts.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (told by the model, else by the metric's name).
        baseline: value that must be beaten before the count of epochs starts anew.
        restore_best_weights: put the weights of the best epoch back when training ends.
        start_from_epoch: epochs before this one (from 0) are not judged.
        threshold_mode: ``"abs"``: ``min_delta`` is a difference; ``"rel"``: a share of ``abs(best)``.
        stopping_threshold: stop as soon as the metric is better than this.
        divergence_threshold: stop as soon as the metric is worse than this.

    Attributes:
        best, best_epoch, wait, stopped_epoch, best_weights: as in Keras; epochs count from 0.

    Raises:
        UnknownArgument, ArgumentError: at once, for an argument that cannot work.
        UnknownDirection: at the first epoch's end, if nobody knows whether up is better.

    Source: decisions, texts and defaults are those of ``keras.callbacks.EarlyStopping``, but
    that NaN is never best; the thresholds are Lightning's.

    Example:
        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.update(loss).stop for loss in (1.0, 0.8, 0.9, 0.85)]
        [False, False, False, True]
        >>> stopping.best, stopping.best_epoch
        (0.8, 1)
    """

    patience = part("_rule", "patience", "Epochs without improvement that are allowed.")
    baseline = part("_rule", "baseline", "Value that must be beaten.")
    start_from_epoch = part("_rule", "start_from_epoch", "First epoch that is judged, from 0.")
    stopping_threshold = part("_rule", "stopping_threshold", "Better than this: stop.")
    divergence_threshold = part("_rule", "divergence_threshold", "Worse than this: stop.")
    wait = part("_state", "wait", "Epochs since the last improvement.")
    best_epoch = part("_state", "best_epoch", "Epoch of the best value, from 0.")
    stopped_epoch = part("_state", "stopped_epoch", "Epoch that asked to stop, from 0; 0 if none.")

    _rule: EarlyStoppingRule
    _state: EarlyStoppingState

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
        *,
        threshold_mode: str = "abs",
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
    ) -> None:
        self.verbose = verbose
        self.restore_best_weights = restore_best_weights
        self._best: Snapshot | None = None
        self._epoch = 0  # the last one seen
        self._rule = EarlyStoppingRule(
            self._monitor(monitor, mode, min_delta, threshold_mode),
            patience=patience,
            baseline=baseline,
            start_from_epoch=start_from_epoch,
            stopping_threshold=stopping_threshold,
            divergence_threshold=divergence_threshold,
        )
        self._state = self._rule.start()

    @property
    def requires(self) -> tuple[Capability, ...]:  # type: ignore[override]
        """What the training must be able to do."""
        return ("weights",) if self.restore_best_weights else ()

    @property
    def best_weights(self) -> Any:
        """The best epoch's weights, in the framework's own shape; None if none were kept."""
        return None if self._best is None else self._best.weights

    @best_weights.setter
    def best_weights(self, weights: Any) -> None:
        self._best = None if weights is None else Snapshot(weights)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start from nothing, but for the direction that was found."""
        if self._begin():
            self._state = replace(self._rule.start(), direction=self._state.direction)
            self._best = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Judge the epoch; ask for the end when patience runs out."""
        logs = logs or {}
        self._settle_direction(logs)
        current = self.get_monitor_value(logs)
        before, self._epoch = self._state.best, epoch
        self._state, decision = self._rule.update(self._state, current, epoch=epoch)
        if self.restore_best_weights and self.best != before:
            self._best = self.training.copy_weights()
        if decision.stop:
            self.control.stop(decision.sentence)
            self.context.report(decision)

    def get_monitor_value(self, logs: Logs | None) -> float | None:
        """The metric that is judged, None if it is missing; override it to judge something else."""
        logs = logs or {}
        return self._current(
            logs,
            f"Early stopping conditioned on metric `{self.monitor}` which is not available. "
            f"Available metrics are: {','.join(logs)}",
        )

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Say why it ended, and restore the best weights, whatever ended it."""
        if self.stopped_epoch > 0 and self.verbose > 0:
            self.context.report.message(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self._best is not None:
            self._restore(self._best)
        elif self.restore_best_weights and self.best is None and self.wait:  # judged, and never a number
            warn(f"{self.monitor} was never a number, so no best weights are restored.")

    def _restore(self, best: Snapshot) -> None:
        if self.verbose > 0:
            self.context.report.message(
                f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}."
            )
        self.training.restore_weights(best)
        values = {"monitor": self.monitor, "best": self.best, "best_epoch": self.best_epoch}
        self.context.report(
            Decision("EarlyStopping", Action.RESTORE, Reason.BEST_EPOCH, self._epoch, values=values)
        )

    def update(self, value: Any, *, epoch: int | None = None, learning_rate: float | None = None) -> Decision:
        """Judge one value without any loop: the same decision, and nothing else happens.

        Args:
            value: the metric; None if it is missing.
            epoch: from 0; without it calls are counted.
            learning_rate: taken for the sake of one signature; not used.
        """
        self._settle_direction({})
        current = None if value is None else number(value, self.monitor)
        self._state, decision = self._rule.update(self._state, current, epoch=self._epoch_of_call(epoch))
        return decision

    def forget(self) -> None:
        """Remember nothing, weights included."""
        super().forget()
        self._best = None

    def configuration(self) -> dict[str, Any]:
        """What it was asked to do."""
        return {**super().configuration(), "restore_best_weights": self.restore_best_weights}

    def still_stops(self, decision: Decision) -> bool:
        """Whether it would stop there with the present patience and thresholds."""
        return self._rule.still_stops(self._state, decision)

    def snapshots(self) -> dict[str, Snapshot]:
        """The best epoch's weights."""
        return {} if self._best is None else {"best_weights": self._best}

    def load_snapshots(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Keep the best epoch's weights of another EarlyStopping."""
        self._best = snapshots.get("best_weights")
