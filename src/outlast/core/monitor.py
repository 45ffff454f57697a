"""Monitor: which metric is watched, and when one value is better than another.

All callbacks compare metrics here, so that they agree on what an improvement is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from outlast.core.numbers import plain, real
from outlast.core.text import escaped
from outlast.exceptions import ArgumentError, UnknownDirection, nearest

Direction = Literal["min", "max"]
Mode = Literal["auto", "min", "max"]
ThresholdMode = Literal["abs", "rel"]

# Words in the names of metrics for which lower is better, and of those for which higher is.
_DOWN = frozenset(
    "loss losses error errors err mae mse rmse mape msle msd nll bce ce crossentropy entropy hinge kl kld "
    "divergence perplexity ppl logloss logcosh huber poisson wer cer fid distance regret".split()
)
_UP = frozenset(
    "accuracy acc auc auroc auprc aucpr roc precision recall sensitivity specificity f1 f2 fbeta fscore iou "
    "miou jaccard dice r2 correlation corr pearson spearman kendall mcc kappa similarity map ndcg mrr bleu "
    "rouge meteor psnr ssim tpr tnr".split()
)


def direction_of(name: str) -> Direction | None:
    """The direction in which a metric improves, judged by its name; None if the name does not tell.

    The last word that is known decides: ``val_decoder_accuracy`` should go up, ``accuracy_loss`` down.

    Example:
        >>> direction_of("val_loss"), direction_of("val_f1_score"), direction_of("temperature")
        ('min', 'max', None)
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    for word in reversed(re.split(r"[^a-z0-9]+", spaced.lower())):
        if word in _DOWN:
            return "min"
        if word in _UP:
            return "max"
    return None


@dataclass(frozen=True)
class Monitor:
    """Which metric is watched, and what counts as an improvement of it.

    Args:
        name: the metric's name in the logs.
        mode: ``"min"`` (lower is better), ``"max"``, or ``"auto"``: the framework decides, else the name.
        min_delta: smallest change that counts as an improvement, in the metric's unit; its sign is ignored.
        threshold_mode: with ``"abs"``, ``min_delta`` is a difference. With ``"rel"`` it is a share of
            ``abs(best)``; the absolute value makes it right below zero too.

    Raises:
        ArgumentError: a value cannot work.

    Source: the comparison of Keras's ``MonitorCallback`` (strict, with ``min_delta`` applied to the
    new value), but in float64, and NaN is never better.

    Example:
        >>> Monitor("loss", min_delta=0.1).better(0.85, than=1.0, direction="min")
        True
        >>> Monitor("loss", min_delta=0.1, threshold_mode="rel").better(-10.5, than=-10.0, direction="min")
        False
    """

    name: str = "val_loss"
    mode: Mode = "auto"
    min_delta: float = 0.0
    threshold_mode: ThresholdMode = "abs"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ArgumentError(
                f"monitor must be the name of a metric, such as 'val_loss', but is {self.name!r}."
            )
        if self.threshold_mode not in get_args(ThresholdMode):
            raise ArgumentError(
                f"threshold_mode must be 'abs' or 'rel', but is {self.threshold_mode!r}."
                + nearest(str(self.threshold_mode), get_args(ThresholdMode))
            )
        for name in ("name", "mode", "threshold_mode"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        object.__setattr__(self, "min_delta", abs(real(self.min_delta, "min_delta")))

    def better(self, value: float, than: float | None, direction: Direction) -> bool:
        """Whether ``value`` is better than ``than``. Any number is better than None; NaN never is."""
        if math.isnan(value):
            return False
        if than is None:
            return True
        delta = self.min_delta
        if self.threshold_mode == "rel" and math.isfinite(than):
            delta *= abs(than)
        return value + delta < than if direction == "min" else value - delta > than

    def direction(
        self, known: Direction | None = None, *, who: str = "", available: Iterable[str] = ()
    ) -> Direction:
        """The direction in which the metric improves.

        Args:
            known: what the framework says, if it knows the metric.
            who: the callback, for the error message.
            available: the metrics in the logs, for the error message.

        Raises:
            UnknownDirection: neither ``mode`` nor the framework nor the name tells.
        """
        found = self.mode if self.mode != "auto" else known or direction_of(self.name)
        if found:
            return found
        names = list(available)
        among = f" Available metrics: {', '.join(map(escaped, names))}.{nearest(self.name, names)}"
        raise UnknownDirection(
            f"{who or 'A callback'} monitors {self.name!r}, but neither the model nor the name tells whether "
            f"higher is better. Pass mode='max' if higher is better, or mode='min' if lower is."
            + (among if names else "")
        )


def with_hint(warning: str, monitor: str, available: Iterable[str]) -> str:
    """A warning that a metric is missing, with the metric that was probably meant.

    For a validation metric only another validation metric is suggested: if there is none, the name is
    right, and nothing was validated.

    Example:
        >>> with_hint("`val_acc` is not available", "val_acc", ["loss", "val_accuracy"])
        "`val_acc` is not available. Did you mean 'val_accuracy'?"
    """
    validation = monitor.startswith("val_")
    possible = [name for name in available if name.startswith("val_") or not validation]
    if validation and not possible:
        hint = f" Nothing was validated: pass validation_data to fit, or call run.log({monitor}=...)."
    else:
        hint = nearest(monitor, possible)
    return f"{warning.removesuffix('.')}.{hint}" if hint else warning


def mode_problem(mode: object, who: str) -> str | None:
    """The warning for a mode that does not exist, in Keras's words, with a hint; None if it exists."""
    if mode in get_args(Mode):
        return None
    return f"{who} mode '{mode}' is unknown, fallback to auto mode.{nearest(str(mode), get_args(Mode))}"
