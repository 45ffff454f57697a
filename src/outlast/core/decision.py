"""Decision: what a rule decided, and the reason in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Any

from outlast.core.numbers import decoded, encoded
from outlast.core.text import escaped


class Action(Enum):
    """What is to be done."""

    CONTINUE = "continue"
    STOP = "stop"
    SAVE = "save"
    SKIP = "skip"
    REDUCE = "reduce"
    RESTORE = "restore"
    DELETE = "delete"


@unique  # equal texts would make one reason of two
class Reason(Enum):
    """Why; each text is the sentence that the user reads, filled from ``Decision.values``."""

    IMPROVED = "{monitor} improved from {previous} to {value}"
    FIRST_VALUE = "{monitor} is {value}, the first value seen"
    NO_IMPROVEMENT = "{monitor} is {value}, no better than {best} ({wait} of {patience} epochs)"
    NOT_BETTER = "{monitor} is {value}, no better than {best}"
    NOT_A_NUMBER = "{monitor} is {value}, which never counts as better"
    MISSING = "{monitor} is not among the metrics"
    WARMING_UP = "epochs before {start_from_epoch} are not judged"
    COOLING_DOWN = "the learning rate was cut lately and rests for {cooldown} epochs, this one included"

    PATIENCE = "{monitor} has not improved on {best} for {wait} epochs"
    NEVER_A_NUMBER = "{monitor} has not been a number for {wait} epochs"
    REACHED = "{monitor} is {value}, better than stopping_threshold={threshold}"
    DIVERGED = "{monitor} is {value}, worse than divergence_threshold={threshold}"
    TIME = "training has taken {elapsed} s of the {limit} s allowed"
    INVALID_LOSS = "loss is {value}"

    EVERY_EPOCH = "every epoch is saved"
    EVERY_BATCHES = "{batches} batches after the last save"
    NOTHING_SAVED = "{monitor} is not among the metrics, and nothing is saved yet"
    NOT_SCALAR = "{monitor} is not a single number, so every epoch is saved"

    KEPT = "{monitor} is {value}, one of those to keep"
    NOT_KEPT = "{monitor} is {value}, none of those to keep"
    GAVE_WAY = "{monitor} was {value}, and better or later ones are kept"

    PLATEAU = "{monitor} has been no better than {best} for {wait} epochs"
    AT_MINIMUM = "{monitor} has not improved for {wait} epochs, and the rate is at min_lr={min_lr}"

    ASKED = "{text}"

    BEST_EPOCH = "{monitor} was best there, at {best}"


@dataclass(frozen=True)
class Decision:
    """What a callback decided at one moment.

    Args:
        callback: the class that decided, such as ``"EarlyStopping"``.
        action: what is to be done.
        reason: why.
        epoch: index of the epoch, counted from 0.
        batch: index of the batch in its epoch, counted from 0; None at an epoch's end.
        values: what the decision rests on and results in: JSON values such as
            ``value``, ``best``, ``wait`` (epochs), ``learning_rate``, ``path``.

    Example:
        >>> from outlast.core.stopping import EarlyStoppingRule
        >>> rule = EarlyStoppingRule(patience=1)
        >>> state, decision = rule.update(rule.start(), 0.5, epoch=0)
        >>> state, decision = rule.update(state, 0.6, epoch=1)
        >>> decision.stop, decision.sentence
        (True, 'Epoch 2: EarlyStopping stops: val_loss has not improved on 0.5 for 1 epoch')
    """

    callback: str
    action: Action
    reason: Reason
    epoch: int
    batch: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stop(self) -> bool:
        """Whether training should end."""
        return self.action is Action.STOP

    @property
    def save(self) -> bool:
        """Whether the model should be saved."""
        return self.action is Action.SAVE

    @property
    def learning_rate(self) -> float | dict[str, float] | None:
        """The new learning rate if it is cut: a float, or one by name where there are several."""
        rates: dict[str, float] = self.values.get("learning_rate", {})
        return next(iter(rates.values())) if len(rates) == 1 else dict(rates) or None

    @property
    def because(self) -> str:
        """The reason, in words."""
        text = self.reason.value.format_map({k: _shown(v) for k, v in self.values.items()})
        return re.sub(r"\b1 (epoch|batche)s\b", lambda one: f"1 {one[1].removesuffix('e')}", text)

    @property
    def sentence(self) -> str:
        """One line that says when, who, what and why; epochs counted from 1."""
        moment = f"Epoch {self.epoch + 1}" + ("" if self.batch is None else f", batch {self.batch + 1}")
        return f"{moment}: {self.callback} {self._what()}: {self.because}"

    def _what(self) -> str:
        match self.action:
            case Action.STOP:
                return "stops"
            case Action.SAVE:
                return f"saves {escaped(self.values.get('path', 'the model'))}"
            case Action.SKIP:
                return "keeps the saved model"
            case Action.REDUCE:
                rates = self.values.get("learning_rate", {})
                cuts = [f"{n + ' ' if len(rates) > 1 else ''}{r:.4g}" for n, r in rates.items()]
                return "cuts the learning rate" + (f" to {', '.join(cuts)}" if cuts else "")
            case Action.DELETE:
                return f"deletes {escaped(self.values.get('path', 'a model'))}"
            case Action.RESTORE:
                return f"restores the weights of epoch {self.values.get('best_epoch', 0) + 1}"
            case _:
                return "goes on"

    def to_json(self) -> dict[str, Any]:
        """JSON values from which :meth:`from_json` makes an equal decision."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "callback": self.callback,
            "action": self.action.value,
            "reason": self.reason.name.lower(),
            "values": encoded(dict(self.values)),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Decision:
        """The decision that :meth:`to_json` wrote."""
        return cls(
            callback=data["callback"],
            action=Action(data["action"]),
            reason=Reason[data["reason"].upper()],
            epoch=data["epoch"],
            batch=data["batch"],
            values=decoded(data["values"]),
        )


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else escaped(str(value))
