"""History: every epoch's metrics, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.logs import Logs
from outlast.core.numbers import decoded, encoded
from outlast.core.tree import map_leaves


class History(Callback):
    """Record the metrics of every epoch.

    Attributes:
        epoch: the epochs of the last training, from 0.
        history: a list of values by metric's name; it goes on over several trainings.

    Source: ``keras.callbacks.History``.

    Example:
        >>> from outlast.testing import drive
        >>> drive(History(), [{"loss": 1.0}, {"loss": 0.5}]).history
        {'loss': [1.0, 0.5]}
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Count the epochs anew; the values stay."""
        if self._begin():
            self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the epoch, and show the history where the framework's users look for it."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.control.attach_history(self)

    def forget(self) -> None:
        """Forget the epochs."""
        self.epoch, self.history, self._loaded = [], {}, False

    def state_dict(self) -> dict[str, Any]:
        """The epochs and the values, arrays as lists."""
        return {
            "epoch": list(self.epoch),
            "history": {name: [_plain(v) for v in values] for name, values in self.history.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from another history."""
        self.epoch = list(state["epoch"])
        self.history = {name: map_leaves(values, decoded) for name, values in state["history"].items()}
        self._loaded = True


def _plain(value: Any) -> Any:
    return map_leaves(value.tolist() if hasattr(value, "tolist") else value, encoded)
