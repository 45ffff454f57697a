"""Public doubles: run callbacks without files, frameworks or time.

For tests of your own callbacks, and of ours.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from outlast.callbacks.base import Callback
from outlast.callbacks.list import CallbackList
from outlast.core.decision import Decision
from outlast.frameworks.base import Adapter, Capability, Snapshot
from outlast.storage.disk.files import Content
from outlast.storage.output import Save

AnyCallback = TypeVar("AnyCallback", bound=Callback)


class FakeAdapter(Adapter):
    """A training whose model is a dict of lists.

    Args:
        weights: the model; it may be changed between epochs.
        learning_rate: of its one optimizer, called "fake".

    Example:
        >>> adapter = FakeAdapter({"w": [1.0]})
        >>> snapshot = adapter.copy_weights()
        >>> adapter.weights["w"][0] = 2.0
        >>> adapter.restore_weights(snapshot)
        >>> adapter.weights
        {'w': [1.0]}
    """

    framework = "a fake training"
    capabilities: frozenset[Capability] = frozenset({"learning_rate", "weights", "saving", "state"})

    def __init__(self, weights: Mapping[str, list[float]] | None = None, learning_rate: float = 0.1) -> None:
        super().__init__()
        self.weights = {name: list(values) for name, values in (weights or {}).items()}
        self._rate = learning_rate

    @property
    def model(self) -> Any:
        """The weights."""
        return self.weights

    def learning_rates(self) -> dict[str, float]:
        """One rate."""
        return {"fake": self._rate}

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set it."""
        self._rate = value

    def _copied_weights(self) -> Snapshot:
        """A copy of the lists."""
        return Snapshot({name: list(values) for name, values in self.weights.items()})

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Put lists back."""
        self.weights = {name: list(values) for name, values in snapshot.weights.items()}

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        """The lists by name."""
        return list(snapshot.weights.items())

    def weights_from_arrays(self, pairs: Sequence[tuple[str, Any]]) -> Snapshot:
        """The inverse of :meth:`weights_to_arrays`."""
        return Snapshot({name: [float(x) for x in values] for name, values in pairs})

    def state(self) -> Any:
        """The lists and the rate."""
        return {"weights": {name: list(values) for name, values in self.weights.items()}, "rate": self._rate}

    def load_state(self, state: Any) -> None:
        """Put them back."""
        self.weights = {name: list(values) for name, values in state["weights"].items()}
        self._rate = float(state["rate"])

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        """A text file."""
        return (".txt", ".keras", ".pt")

    def saving(self, weights_only: bool) -> Save:
        """The weights' ``repr``."""
        return _FakeSave(self)


class _FakeSave:
    def __init__(self, adapter: FakeAdapter) -> None:
        self._adapter = adapter

    def capture(self) -> Callable[[str], object]:
        return Content(repr(self._adapter.weights).encode())

    def write(self, path: str) -> None:
        self.capture()(path)


class MemoryOutput:
    r"""Files in a dict.

    Attributes:
        files: content by name.

    Example:
        >>> output = MemoryOutput()
        >>> output.append("a", b"1\\n")
        >>> output.files
        {'a': b'1\\n'}
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def prepare(self, name: str) -> bool:
        """Nothing to prepare."""
        return True

    def named(self, default: str) -> str | None:
        """The default, as in a run."""
        return default

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self.files

    def read(self, name: str) -> bytes | None:
        """The content, None if there is no such file."""
        return self.files.get(name)

    def append(self, name: str, data: bytes) -> None:
        """Add at the end."""
        self.files[name] = self.files.get(name, b"") + data

    def replace(self, name: str, data: bytes) -> None:
        """Replace the content."""
        self.files[name] = data

    def publish(self, name: str, save: Save) -> str:
        """Keep what the save writes."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, os.path.basename(name))
            save.write(path)
            with open(path, "rb") as file:
                self.files[name] = file.read()
        return name

    def copy(self, name: str, target: str) -> None:
        """Copy."""
        self.files[target] = self.files[name]

    def remove(self, name: str) -> None:
        """Delete."""
        self.files.pop(name, None)


class FakeClock:
    """A clock that goes on by ``step`` seconds whenever it is looked at.

    Example:
        >>> clock = FakeClock(step=2.0)
        >>> clock(), clock()
        (0.0, 2.0)
    """

    def __init__(self, step: float = 1.0) -> None:
        self.now = -step
        self.step = step

    def __call__(self) -> float:
        """The time, a step later than the last."""
        self.now += self.step
        return self.now


def drive(
    callback: AnyCallback,
    epochs_logs: Iterable[Mapping[str, Any] | None],
    *,
    adapter: Adapter | None = None,
    output: MemoryOutput | None = None,
    clock: Callable[[], float] | None = None,
    listen: Callable[[Decision], None] | None = None,
    **params: Any,
) -> AnyCallback:
    """Run a callback through a training whose metrics are given; without files and frameworks.

    Args:
        callback: the callback.
        epochs_logs: the logs of each epoch; the training ends with them, or earlier if the callback stops it.
        adapter: what is trained; nothing, if left out.
        output: where files go.
        clock: seconds.
        listen: called with every decision.
        **params: the loop's parameters, such as ``epochs``.

    Returns:
        The callback.

    Example:
        >>> from outlast import EarlyStopping
        >>> losses = [{"loss": x} for x in (1.0, 2.0, 3.0)]
        >>> drive(EarlyStopping(monitor="loss", patience=1), losses).stopped_epoch
        1
    """
    callbacks = CallbackList(
        [callback],
        adapter=adapter or Adapter(),
        output=output or MemoryOutput(),
        clock=clock or FakeClock(),
        listen=listen,
        **params,
    )
    callbacks.on_train_begin()
    for epoch, logs in enumerate(epochs_logs):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_epoch_end(epoch, None if logs is None else dict(logs))
        if callbacks.stop_training:
            break
    callbacks.on_train_end()
    return callback
