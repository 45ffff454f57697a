"""History: the metrics of every epoch, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.logs import Logs
from outlast.core.numbers import decoded, encoded


class History(Callback):
    """Keep the metrics of every epoch.

    Attributes:
        epoch: the epochs of the last training, counted from 0.
        history: the values of each metric, as lists by name; as in Keras, several trainings add to them.

    Source: ``keras.callbacks.History``.

    Example:
        >>> from outlast.testing import drive
        >>> drive(History(), [{"loss": 1.0}, {"loss": 0.5}]).history
        {'loss': [1.0, 0.5]}
    """

    keeps_history = True

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start a new list of epochs; the values are kept, as in Keras."""
        if self._begin():
            self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the epoch, and attach the history where users look for it, such as ``model.history``."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.control.attach_history(self)

    def forget(self) -> None:
        """Forget all epochs."""
        self.epoch, self.history, self._loaded = [], {}, False

    def state_dict(self) -> dict[str, Any]:
        """The epochs and the values, arrays as lists."""
        return {"epoch": list(self.epoch), "history": encoded(self.history)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another history."""
        state = self._checked(state, {"epoch": [int], "history": {str: [Any]}})
        self.epoch = list(state["epoch"])
        self.history = decoded(dict(state["history"]))
        self._loaded = True
