"""The rows of a training with Hugging Face's Trainer: where they end, and what is in them.

A row is an epoch to all callbacks of ours. It is one of Trainer's epochs, or with evaluations after so many
steps what lies between two of them. No package is needed here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from outlast.core.monitor import Direction, direction_of

_EVALUATED, _HELD_OUT = "eval_", "val_"
# Speed, and what no two trainings share.
_MEASURED = (
    *("_runtime", "_samples_per_second", "_steps_per_second", "_tokens_per_second"),
    *("_model_preparation_time", "_jit_compilation_time"),
    *("_mem_cpu", "_mem_gpu", "_alloc_delta", "_peaked_delta"),
)
_OF_TRAINER = ("epoch", "total_flos", "num_input_tokens_seen")


def named(choice: Any) -> str:
    """A choice of Trainer's arguments, such as a strategy, as its users write it."""
    return str(getattr(choice, "value", choice))


def is_measured(name: str) -> bool:
    """Whether a number tells how fast or how large a training is, and nothing of what it learns."""
    return name.endswith(_MEASURED)


def renamed(metrics: Mapping[str, Any], monitored: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The metrics of an evaluation under Keras's names; by Trainer's own, too, where a callback wants them.

    Example:
        >>> found = {"eval_loss": 0.5, "eval_f1": 0.9, "eval_runtime": 3.0, "epoch": 1.0}
        >>> renamed(found, frozenset({"eval_f1"}))
        {'val_loss': 0.5, 'val_f1': 0.9, 'eval_f1': 0.9}
    """
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        if is_measured(name) or name in _OF_TRAINER:
            continue
        bare = name.removeprefix(_EVALUATED)
        found[_HELD_OUT + bare if bare != name else name] = value
        if name in monitored:
            found[name] = value
    return found


def steps_of_epoch(trainer: Any) -> int | None:
    """How many steps of the optimizer an epoch of Trainer's has; None if nobody knows."""
    try:
        batches: int = len(trainer.callback_handler.train_dataloader)
    except TypeError:  # a stream
        return None
    accumulated: int = trainer.args.gradient_accumulation_steps
    return max(-(-batches // accumulated), 1)


def directions(monitored: Collection[str], sets: Collection[str]) -> dict[str, Direction | None]:
    """Which way metrics go that have the name of a set of data in theirs.

    Example:
        >>> directions(["val_hard_loss", "eval_hard_f1"], ["hard"])
        {'val_hard_loss': 'min', 'eval_hard_f1': 'max'}
    """
    prefixes = [f"{prefix}{one}_" for one in sets for prefix in (_HELD_OUT, _EVALUATED)]
    return {
        metric: direction_of(metric.removeprefix(prefix))
        for metric in monitored
        for prefix in prefixes
        if metric.startswith(prefix)
    }


@dataclass(frozen=True)
class Rows:
    """Where rows end, in steps of the optimizer.

    Args:
        last: the step after which the training ends.
        size: steps of a row; None if nobody knows how many an epoch has.
        by_epochs: a row is an epoch of Trainer's.
    """

    last: int
    size: int | None
    by_epochs: bool

    def left(self, step: int, passes: int | None = None) -> int | None:
        """How many rows end after this step; None if nobody knows.

        Args:
            step: of the optimizer.
            passes: epochs of Trainer's that have ended; None if each had all its steps.

        Example:
            >>> [Rows(10, 4, True).left(step) for step in (0, 3, 4, 9, 10)]
            [3, 3, 2, 1, 0]
        """
        if step >= self.last:
            return 0
        if self.size is None:
            return None
        ended = passes if self.by_epochs and passes is not None else step // self.size
        return -(-self.last // self.size) - ended

    def done(self, step: int) -> int:
        """How many rows have ended up to this step."""
        return 0 if self.size is None else step // self.size

    def end_at(self, step: int) -> bool:
        """Whether a row of so many steps ends there."""
        return step >= self.last or (self.size is not None and step % self.size == 0)
