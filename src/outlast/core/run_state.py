"""What a run knows of itself: the one schema of what stands in a resume point, beside arrays.

Storage keeps trees and does not know what they mean. Whoever does (``run``, which trains, and
``inspect``, which looks) reads them through :class:`RunState` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import total_ordering
from math import inf
from operator import index
from typing import Any

from outlast.core.decision import Decision
from outlast.core.form import CHECKSUMS, JSON, check


@total_ordering
@dataclass(frozen=True)
class Position:
    """Where a run is: after a batch, or at an epoch's end.

    Args:
        epoch: from 0; -1 before the first epoch.
        batch: from 0; None at the epoch's end, which comes after each of its batches.

    Example:
        >>> Position(0) < Position(1, 3) < Position(1)
        True
        >>> Position(1).next_epoch, Position(1, 3).next_epoch
        (2, 1)
    """

    epoch: int
    batch: int | None = None

    def __lt__(self, other: Position) -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple[int, float]:
        return self.epoch, inf if self.batch is None else self.batch

    @property
    def next_epoch(self) -> int:
        """The epoch in which training goes on."""
        return self.epoch + 1 if self.batch is None else self.epoch

    @property
    def done(self) -> str:
        """What is trained there, as users count.

        Example:
            >>> Position(1).done, Position(1, 3).done
            ('epoch 2', 'epoch 2 up to batch 4')
        """
        inside = "" if self.batch is None else f" up to batch {self.batch + 1}"
        return f"epoch {self.epoch + 1}{inside}"

    @property
    def next(self) -> str:
        """Where training goes on, as users count; behind an epoch's last batch its end is left to do.

        Example:
            >>> Position(1).next, Position(1, 3).next
            ('epoch 3', 'epoch 2 after batch 4')
        """
        inside = "" if self.batch is None else f" after batch {self.batch + 1}"
        return f"epoch {self.next_epoch + 1}{inside}"

    def since(self, before: Position) -> str:
        """What is trained from there to here, as users count.

        Example:
            >>> Position(1).since(Position(0)), Position(1).since(Position(1, 3))
            ('epoch 2', 'epoch 2 from batch 5 on')
            >>> Position(1, 7).since(Position(1, 3)), Position(1, 4).since(Position(1, 3))
            ('epoch 2 from batch 5 to 8', 'batch 5 of epoch 2')
        """
        if before.epoch != self.epoch or before.batch is None:
            return self.done
        if self.batch == before.batch + 1:
            return f"batch {self.batch + 1} of epoch {self.epoch + 1}"
        end = "on" if self.batch is None else f"to {self.batch + 1}"
        return f"epoch {self.epoch + 1} from batch {before.batch + 2} {end}"

    def as_tuple(self) -> tuple[int, int | None]:
        """(epoch, batch), as users see it."""
        return self.epoch, self.batch


START = Position(-1)


class Moment(Enum):
    """When a part of a saved run is put back.

    Frameworks differ: Keras draws random numbers between "the folder is open" and "training begins",
    so its random state goes back at the latter. Others draw later still.
    """

    OPEN = "the folder is open"
    TRAIN_BEGIN = "training begins"
    EPOCH_BEGIN = "the first epoch begins"
    FIRST_BATCH = "the first batch begins"


_LOADERS = [{"born": int, "kind": str, "states": {str: Any}}]
_FORM = {
    "position": [(int, None)],
    "epochs": (int, None),
    "finished": bool,
    "stops": [{}],
    "extra": {},
    "settings": {str: JSON},
    "description": {str: str},
    "changes": int,
}
_SUM = [[Any]]  # by place
_MEAN = {"number": float, "weight": float, "total": _SUM, "weights": _SUM}
_INSIDE = {
    "counts": [int],
    "count": int,
    "start": {str: Any},
    "random": {str: Any},
    "generators": [{str: Any}],
    "indices": (None, int),
    "means": {"means": {str: _MEAN}, "values": {str: Any}, "of_validations": [str]},
}
_IN_FIT = {"done": int, "ended": bool, "start": {str: Any}, "metrics": [Any], "logs": {str: Any}}
_PASSES = {
    "step": int,
    "number": int,
    "pass": {
        "counts": [int],
        "random": (None, {str: Any}),
        "generators": [{str: Any}],
        "indices": (None, int),
    },
    "row": (None, {"count": int, "means": _INSIDE["means"]}),
}
_FORM_OF_A_RUN = {
    "settings": {"callbacks": {str: {str: JSON}}, "learning_rate": {str: float}},
    "training": {str: Any},
    "callbacks": {str: {"state": Any}},
    "attributes": {str: {str: Any}},
    "parts": {str: Any},
    "data": [{str: Any}],
    "loop": {
        "loaders": _LOADERS,
        "validation_loaders": _LOADERS,
        "batches": {"count": int, "later": int, "first": CHECKSUMS},
        "sizes": {str: [int]},
        "inside": (None, _INSIDE),
        "passes": (None, _PASSES),
        "draws": (None, int),
    },
    "fit": (None, _IN_FIT),
}


def _filled_in(loop: Mapping[str, Any]) -> dict[str, Any]:
    """What was saved of the loop, also before there was a way inside an epoch."""
    inside = loop.get("inside")
    if isinstance(inside, Mapping):
        inside = {"indices": None, **inside}
    return {"passes": None, "draws": None, **loop, "inside": inside}


@dataclass(frozen=True)
class RunState:
    """Everything in a resume point.

    Args:
        position: where the run is.
        epochs: how many epochs were asked for; None if nobody said.
        finished: the training stopped, or did all its epochs.
        stops: the decisions that ask for the end.
        extra: the user's own values.
        settings: what the code asked for.
        description: what the training is made of, by name.
        changes: how often the user has changed something between two starts.
        contents: what each part of the run saved, by the part's name.

    Example:
        >>> state = RunState(Position(2), epochs=10)
        >>> RunState.from_state(state.to_state()) == state
        True
    """

    position: Position = START
    epochs: int | None = None
    finished: bool = False
    stops: tuple[Decision, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    description: Mapping[str, str] = field(default_factory=dict)
    changes: int = 0
    contents: Mapping[str, Any] = field(default_factory=dict)

    @property
    def callbacks(self) -> Mapping[str, Any]:
        """What each callback remembers, by its key."""
        return {key: saved["state"] for key, saved in self.contents.get("callbacks", {}).items()}

    def to_state(self) -> dict[str, Any]:
        """A tree for storage."""
        return {
            "position": list(self.position.as_tuple()),
            "epochs": self.epochs,
            "finished": self.finished,
            "stops": [decision.to_json() for decision in self.stops],
            "extra": dict(self.extra),
            "settings": dict(self.settings),
            "description": dict(self.description),
            "changes": self.changes,
            **self.contents,
        }

    @classmethod
    def of_a_run(cls, state: Mapping[str, Any]) -> RunState:
        """The same of a state that a :class:`outlast.Run` saved, which has all its parts.

        Raises:
            KeyError, TypeError, ValueError: it is not.
        """
        loop = state.get("loop")
        if isinstance(loop, Mapping):
            state = {"fit": None, **state, "loop": _filled_in(loop)}
        check(state, _FORM_OF_A_RUN, "the state")
        return cls.from_state(state)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RunState:
        """The inverse of :meth:`to_state`.

        Raises:
            KeyError, TypeError, ValueError: it is not what :meth:`to_state` gives.
        """
        check(state, _FORM, "the state")
        own = {field.name for field in fields(cls)}
        epoch, batch = state["position"]
        return cls(
            position=Position(index(epoch), None if batch is None else index(batch)),
            epochs=None if state["epochs"] is None else index(state["epochs"]),
            finished=bool(state["finished"]),
            stops=tuple(map(Decision.from_json, state["stops"])),
            extra=dict(state["extra"]),
            settings=dict(state["settings"]),
            description=dict(state["description"]),
            changes=index(state["changes"]),
            contents={name: part for name, part in state.items() if name not in own},
        )
