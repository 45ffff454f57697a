"""EarlyStopping: stop training when a metric no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from outlast.callbacks.base import forwarded
from outlast.callbacks.monitored import MonitoredCallback
from outlast.core.decision import Action, Decision, Reason
from outlast.core.logs import Logs
from outlast.core.stopping import EarlyStoppingRule, EarlyStoppingState
from outlast.core.text import few
from outlast.exceptions import warn
from outlast.frameworks.base import Capability, Snapshot


class EarlyStopping(MonitoredCallback):
    """Stop training when a monitored metric has stopped improving.

    Args:
        monitor: name of the metric in the logs, such as ``"val_loss"``.
        min_delta: smallest change that counts as an improvement, in the metric's unit.
        patience: number of epochs without improvement after which training stops.
        verbose: 1 prints a line when it acts.
        mode: ``"min"`` (lower is better), ``"max"``, or ``"auto"`` (the model or the metric's name decides).
        baseline: value that the metric must beat; improvements that do not beat it do not reset the count.
        restore_best_weights: restore the weights of the best epoch when training ends, whatever ended it.
        start_from_epoch: epochs before this one (counted from 0) are not judged.
        threshold_mode: ``"abs"``: ``min_delta`` is a difference; ``"rel"``: it is a share of ``abs(best)``.
        stopping_threshold: stop as soon as the metric is better than this.
        divergence_threshold: stop as soon as the metric is worse than this.

    Attributes:
        best, best_epoch, wait, stopped_epoch, best_weights: as in Keras; epochs are counted from 0.

    Raises:
        UnknownArgument, ArgumentError: at once, if an argument cannot work.
        UnknownDirection: at the end of the first epoch, if it is unknown whether higher is better.

    Source: the decisions, texts and defaults of ``keras.callbacks.EarlyStopping``, except that NaN is
    never the best value. The thresholds are Lightning's.

    Example:
        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.update(loss).stop for loss in (1.0, 0.8, 0.9, 0.85)]
        [False, False, False, True]
        >>> stopping.best, stopping.best_epoch
        (0.8, 1)
    """

    patience = forwarded("_rule", "patience", "Epochs without improvement after which training stops.")
    baseline = forwarded("_rule", "baseline", "Value that the metric must beat.")
    start_from_epoch = forwarded("_rule", "start_from_epoch", "First epoch that is judged, counted from 0.")
    stopping_threshold = forwarded("_rule", "stopping_threshold", "Stop when the metric is better than it.")
    divergence_threshold = forwarded(
        "_rule", "divergence_threshold", "Stop when the metric is worse than it."
    )
    wait = forwarded("_state", "wait", "Epochs since the last improvement.")
    best_epoch = forwarded("_state", "best_epoch", "Epoch of the best value, counted from 0.")
    stopped_epoch = forwarded("_state", "stopped_epoch", "Epoch in which it stopped; 0 also if it did not.")

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
        self._epoch = 0  # the last one judged
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
        """What the training must be able to do; checked before the first batch."""
        return ("weights",) if self.restore_best_weights else ()

    @property
    def best_weights(self) -> Any:
        """The weights of the best epoch, in the framework's own form; None if none were kept."""
        return None if self._best is None else self._best.weights

    @best_weights.setter
    def best_weights(self, weights: Any) -> None:
        self._best = None if weights is None else Snapshot(weights)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start from the beginning, but keep the direction that was found, as Keras does."""
        if self._begin():
            self._state = replace(self._rule.start(), direction=self._state.direction)
            self._best = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Judge the epoch, and ask the training to stop when patience runs out."""
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
        """The value to judge; None if it is missing. Override this method to judge something else."""
        logs = logs or {}
        return self._current(
            logs,
            f"Early stopping conditioned on metric `{self.monitor}` which is not available. "
            f"Available metrics are: {few(logs, between=',')}",
        )

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Print that it stopped, and restore the best weights, whatever ended the training."""
        super().on_train_end(logs)
        if self.stopped_epoch > 0:
            self._say_if_verbose(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if not self.restore_best_weights:
            return
        if self._best is not None:
            self._restore(self._best)
        elif self.best is None and self.wait:  # it judged, but every value was NaN
            warn(f"{self.monitor} was always NaN, so there are no best weights to restore.")

    def _restore(self, best: Snapshot) -> None:
        epoch = self.best_epoch + 1
        self._say_if_verbose(f"Restoring model weights from the end of the best epoch: {epoch}.")
        self.training.restore_weights(best)
        values = {"monitor": self.monitor, "best": self.best, "best_epoch": self.best_epoch}
        why = Reason.BEST_EPOCH
        self.context.report(Decision("EarlyStopping", Action.RESTORE, why, self._epoch, values=values))

    def update(self, value: Any, *, epoch: int | None = None, learning_rate: float | None = None) -> Decision:
        """Judge one value in a loop of your own: returns the decision, and does nothing else.

        Args:
            value: the metric; None if it is missing.
            epoch: counted from 0; without it, calls are counted.
            learning_rate: ignored; it is here so that all callbacks have the same ``update``.
        """
        self._settle_direction({})
        return self._judge_value(value, epoch)

    def forget(self) -> None:
        """Forget everything, the best weights included."""
        super().forget()
        self._best = None

    def configuration(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {**super().configuration(), "restore_best_weights": self.restore_best_weights}

    def still_stops(self, decision: Decision) -> bool:
        """Whether it would also stop there with the current patience and thresholds."""
        return self._rule.still_stops(self._state, decision)

    def snapshots(self) -> dict[str, Snapshot]:
        """The weights of the best epoch."""
        return {} if self._best is None else {"best_weights": self._best}

    def load_snapshots(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Take over the best weights of another EarlyStopping."""
        self._best = snapshots.get("best_weights")
