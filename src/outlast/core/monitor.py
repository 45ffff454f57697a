"""Monitor: which metric is watched, and when one value is better than another.

All callbacks compare metrics here, so that they agree on what an improvement is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from outlast.core.numbers import real, to_python
from outlast.core.text import escaped, few
from outlast.exceptions import ArgumentError, UnknownDirection, nearest

Direction = Literal["min", "max"]
Mode = Literal["auto", "min", "max"]
ThresholdMode = Literal["abs", "rel"]

# Words in the names of metrics for which lower is better, and of those for which higher is.
_DOWN = frozenset(
    """loss losses error errors err mae mse rmse rmsle mape msle msd nll bce ce crossentropy entropy hinge kl
    kld divergence perplexity ppl logloss mlogloss merror logcosh huber poisson wer cer fid distance
    regret""".split()
)
_UP = frozenset(
    """accuracy acc auc auroc auprc aucpr roc precision recall sensitivity specificity f1 f2 fbeta fscore iou
    miou jaccard dice r2 correlation corr pearson pearsonr spearman spearmanr kendall mcc kappa similarity map
    ndcg mrr bleu rouge rouge1 rouge2 rougel rougelsum meteor psnr ssim tpr tnr""".split()
)
# Where a metric was measured. It is before or after all known words: between two it tells of a difference.
_WHERE = frozenset(
    "val valid validation train training test eval dev epoch step batch metric metrics".split()
)
# Which kind of a metric it is: before a known word these never turn its direction.
_KIND = frozenset(
    """mean average avg macro micro weighted samples balanced binary categorical sparse multi multiclass
    multilabel class absolute abs squared square root log logarithmic percentage relative cross cosine top k
    at total running ema smooth smoothed word character char token sentence pixel encoder decoder student
    teacher reconstruction classification regression distillation contrastive triplet focal box mask dice lm
    mlm ctc cohen matthews calibration hamming my own custom""".split()
)
# What may follow a known word. Only what goes up is called a score, so "loss_score" does not tell.
_AFTER = frozenset("rate mean average avg macro micro weighted samples binary ovr ovo at k".split())
_AFTER_UP = frozenset("score index coef coeff coefficient".split())
_COUNTERS = frozenset("top class fold".split())  # the number after one says which; else it may be "1 - auc"
_TURNING = frozenset("loss losses error errors err distance".split())  # "dice_loss": what dice lacks
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # between the words of "BLEUScore"


def direction_of(name: str) -> Direction | None:
    """The direction in which a metric improves, judged by its name; None if the name does not tell.

    It tells only if every word of it is known: any other may turn the direction, as in ``accuracy_gap``,
    ``neg_log_loss`` or ``1-auc``, and a wrong guess would keep the worst model.

    Example:
        >>> direction_of("val_loss"), direction_of("val_f1_score"), direction_of("accuracy_drop")
        ('min', 'max', None)
    """
    words = _words(name)
    known = [index for index, word in enumerate(words) if word in _DOWN or word in _UP]
    if not known:
        return None
    first, last = known[0], known[-1]
    parts = words[:first], words[first : last + 1], words[last + 1 :]
    return _direction(parts[1], parts[2]) if _all_neutral(*parts) else None


def _words(name: str) -> list[str]:
    """The words of a name in small letters; none if a sign in it may be arithmetic."""
    if not re.match(r"[A-Za-z0-9]", name) or re.search(r"[^A-Za-z0-9]-|\s/|-\s", name):
        return []
    words: list[str] = []
    for word in re.split(r"[\s_/.:@,|()-]+", name.rstrip("_)-")):
        if word.lower() in _DOWN or word.lower() in _UP:  # "mAP", "IoU"
            words.append(word.lower())
        else:
            words += _HUMPS.sub(" ", word).lower().split()
    return words


def _all_neutral(before: list[str], within: list[str], after: list[str]) -> bool:
    """Whether the words beside the known ones say where and of which kind, and nothing else."""
    numbers = {word for counter, word in pairwise(before) if counter in _COUNTERS and word.isdecimal()}
    return (
        (_KIND | _WHERE | numbers).issuperset(before)
        and (_KIND | _DOWN | _UP).issuperset(within)
        and (_AFTER | _AFTER_UP | _WHERE).issuperset(word for word in after if not word.isdecimal())
    )


def _direction(known: list[str], after: list[str]) -> Direction | None:
    down, up = not _DOWN.isdisjoint(known), not _UP.isdisjoint(known)
    if down and up:
        return "min" if known[-1] in _TURNING and _DOWN.isdisjoint(known[:-1]) else None
    if down and not _AFTER_UP.isdisjoint(after):
        return None
    return "min" if down else "max"


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
            object.__setattr__(self, name, to_python(getattr(self, name)))
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
        hint = "" if self.name in names else nearest(self.name, names)
        among = f" Available metrics: {few(map(escaped, names))}.{hint}"
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
    possible = [name for name in available if name.startswith(("val_", "val/")) or not validation]
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
