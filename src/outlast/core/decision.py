"""Decision: what a callback decided, and why, in words.

A decision is a value: it can be printed, stored as JSON, put into a table, and compared. Each reason
is a sentence with fields. What the user reads is that sentence, filled from the decision's values, so
the text and the numbers can never disagree.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Any

from outlast.core.form import check
from outlast.core.logs import rate_columns
from outlast.core.numbers import decoded, encoded, to_python
from outlast.core.text import escaped, shown


class Action(Enum):
    """What the callback does."""

    CONTINUE = "continue"
    STOP = "stop"
    SAVE = "save"
    SKIP = "skip"
    REDUCE = "reduce"
    RESTORE = "restore"
    DELETE = "delete"


@unique  # equal texts would make one reason of two
class Reason(Enum):
    """Why it does so: the sentence that the user reads, its fields filled from ``Decision.values``."""

    IMPROVED = "{monitor} improved from {previous} to {value}"
    FIRST_VALUE = "{monitor} is {value}, the first value seen"
    NO_IMPROVEMENT = "{monitor} is {value}, no better than {best} ({wait} of {patience} epochs)"
    NOT_BETTER = "{monitor} is {value}, no better than {best}"
    NOT_A_NUMBER = "{monitor} is {value}, which never counts as better"
    MISSING = "{monitor} is not among the metrics"
    WARMING_UP = "epochs before {start_from_epoch} are not judged"
    COOLING_DOWN = "cooldown after the last cut: {cooldown} epochs left, including this one"

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

    KEPT = "{monitor} is {value}, among the models to keep"
    NOT_KEPT = "{monitor} is {value}, not among the models to keep"
    GAVE_WAY = "{monitor} was {value}, and better or later models are kept"

    PLATEAU = "{monitor} has been no better than {best} for {wait} epochs"
    AT_MINIMUM = "{monitor} has not improved for {wait} epochs, and the rate is at min_lr={min_lr}"

    ASKED = "{text}"

    BEST_EPOCH = "{monitor} was best there, at {best}"


_FORM = {
    **{"callback": str, "action": str, "reason": str, "epoch": int, "batch": (int, None)},
    "values": {str: Any},
}
_VALUES = {
    **{"monitor": (str, None), "path": (str, None), "copies": ([str], None)},
    **{"best_epoch": (int, None), "learning_rate": ({str: float}, None)},
}


@dataclass(frozen=True)
class Decision:
    """What a callback decided at one moment. ``str(decision)`` is a sentence that says it.

    Args:
        callback: the class that decided, such as ``"EarlyStopping"``.
        action: what it does.
        reason: why.
        epoch: index of the epoch, counted from 0.
        batch: index of the batch in its epoch, counted from 0; None at the end of an epoch.
        values: the numbers behind the decision, and its result: ``monitor``, ``value``, ``best``,
            ``wait`` (in epochs), ``learning_rate`` (the new rates, by name), ``path`` and so on.

    Example:
        >>> from outlast.core.stopping import EarlyStoppingRule
        >>> rule = EarlyStoppingRule(patience=1)
        >>> state, decision = rule.update(rule.start(), 0.5, epoch=0)
        >>> state, decision = rule.update(state, 0.6, epoch=1)
        >>> decision.stop
        True
        >>> print(decision)
        Epoch 2: EarlyStopping stops: val_loss has not improved on 0.5 for 1 epoch
    """

    callback: str
    action: Action
    reason: Reason
    epoch: int
    batch: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        who = f"{self._moment}, {escaped(self.callback)}"
        return f"<Decision: {who}: {self.action.value} ({self.reason.name.lower()})>"

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
        """The new learning rate, or None if it is not cut; a dict by name if several rates are cut."""
        rates: dict[str, float] = self.values.get("learning_rate") or {}
        return next(iter(rates.values())) if len(rates) == 1 else dict(rates) or None

    @property
    def because(self) -> str:
        """The reason as a sentence without its start, such as ``"val_loss is 0.5, the first value seen"``."""
        told = defaultdict(lambda: "?", {name: shown(value) for name, value in self.values.items()})
        text = self.reason.value.format_map(told)
        return re.sub(r"\b1 (epoch|batche)s\b", lambda one: f"1 {one[1].removesuffix('e')}", text)

    @property
    def sentence(self) -> str:
        """One line: when, which callback, what and why. Epochs and batches are counted from 1."""
        return f"{self._moment}: {self.callback} {self._what()}: {self.because}"

    @property
    def _moment(self) -> str:
        return f"Epoch {self.epoch + 1}" + ("" if self.batch is None else f", batch {self.batch + 1}")

    def _what(self) -> str:
        match self.action:
            case Action.STOP:
                return "stops"
            case Action.SAVE:
                return f"saves {escaped(self.values.get('path') or 'the model')}"
            case Action.SKIP:
                return "keeps the saved model"
            case Action.REDUCE:
                rates = self.values.get("learning_rate") or {}
                cuts = [f"{n + ' ' if len(rates) > 1 else ''}{r:.4g}" for n, r in rates.items()]
                return "cuts the learning rate" + (f" to {', '.join(cuts)}" if cuts else "")
            case Action.DELETE:
                return f"deletes {escaped(self.values.get('path') or 'a model')}"
            case Action.RESTORE:
                return f"restores the weights of epoch {(self.values.get('best_epoch') or 0) + 1}"
            case _:
                return "continues"

    def to_dict(self) -> dict[str, Any]:
        """One flat row, for ``pandas.DataFrame(d.to_dict() for d in run.decisions)``.

        Returns:
            ``epoch`` and ``batch`` (counted from 0), ``callback``, ``action``, ``reason`` and
            ``sentence`` as texts, then ``values``, each in its own column. New learning rates have
            the names that they have in logs: ``learning_rate``, or ``learning_rate_<name>`` if there
            are several. Infinities and NaN are floats; :meth:`to_json` writes them as texts.

        Example:
            >>> rates = {"monitor": "loss", "best": 0.5, "wait": 3, "learning_rate": {"adam": 0.01}}
            >>> row = Decision("ReduceLROnPlateau", Action.REDUCE, Reason.PLATEAU, 7, None, rates).to_dict()
            >>> row["epoch"], row["action"], row["reason"], row["best"], row["learning_rate"]
            (7, 'reduce', 'plateau', 0.5, 0.01)
        """
        values = dict(self.values)
        rates = rate_columns(values.pop("learning_rate", {}))
        return {**self._who_and_what(), "sentence": self.sentence, **to_python(values), **to_python(rates)}

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold; :meth:`from_json` makes an equal decision from them."""
        return {**self._who_and_what(), "values": encoded(dict(self.values))}

    def _who_and_what(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "callback": self.callback,
            "action": self.action.value,
            "reason": self.reason.name.lower(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Decision:
        """Make the decision again that :meth:`to_json` wrote.

        Raises:
            ValueError, KeyError: it did not write this.
        """
        check(data, _FORM, "a decision")
        reason, values = Reason[data["reason"].upper()], decoded(data["values"])
        check(values, {name: form for name, form in _VALUES.items() if name in values}, "a decision")
        return cls(
            callback=data["callback"],
            action=Action(data["action"]),
            reason=reason,
            epoch=data["epoch"],
            batch=data["batch"],
            values=values,
        )
