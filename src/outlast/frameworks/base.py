"""Adapter: what callbacks may do to a training, whatever the framework."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from outlast.core.monitor import Direction
from outlast.exceptions import ArgumentError, CapabilityError
from outlast.storage.output import Save

Capability = Literal["learning_rate", "weights", "saving", "state"]

_NEEDS: dict[Capability, tuple[str, str]] = {
    "learning_rate": (
        "a learning rate that can be set",
        "a compiled Keras model has one, and so has CallbackList(model=..., optimizer=...) with PyTorch",
    ),
    "weights": (
        "weights that can be read and put back",
        "pass model=, a Keras model or a PyTorch module",
    ),
    "saving": ("a model that can be saved", "pass model=, a Keras model or a PyTorch module"),
    "state": ("a training whose state can be read and put back", "give it to Keras's fit, or pass model="),
}

# Package of a model's class -> module with its `adapt`. Keras comes first: on its torch backend a
# Keras model is a torch module too.
_FRAMEWORKS = (
    ("keras", "outlast.frameworks.keras"),
    ("tf_keras", "outlast.frameworks.keras"),
    ("torch", "outlast.frameworks.torch"),
)


@dataclass(frozen=True)
class Snapshot:
    """Weights as they were at one moment; never changed afterwards.

    Args:
        weights: in the framework's own shape: Keras's list of arrays, torch's state dict.
    """

    weights: Any


class Adapter:
    """What callbacks may do to a training. This one is for a loop without a model: it can stop.

    Each framework has a subclass that can more; ``capabilities`` names what.
    """

    framework = "a loop without a model"
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self) -> None:
        self.stop_reason: str | None = None

    @property
    def model(self) -> Any:
        """The model that is trained, its state readable; None if there is none."""
        return None

    def require(self, capability: Capability, who: str) -> None:
        """Check before the first batch that a callback can do its work.

        Raises:
            CapabilityError: it cannot; the text says what could.
        """
        if capability not in self.capabilities:
            need, way_out = _NEEDS[capability]
            raise CapabilityError(f"{who} needs {need}, which {self.framework} does not have: {way_out}.")

    def begin(self) -> None:
        """Forget a stop that was asked for in an earlier training."""
        self.stop_reason = None

    def stop(self, reason: str) -> None:
        """Ask for the training's end, honoured when every callback has seen the epoch."""
        self.stop_reason = reason

    @property
    def stopping(self) -> bool:
        """Whether somebody asked for the end."""
        return self.stop_reason is not None

    def hurry(self) -> None:
        """Bring the loop to its next hook soon: a signal wants the training to end."""

    def learning_rates(self) -> dict[str, float]:
        """The rates in force, by the name of their optimizer or group; empty if there are none."""
        return {}

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set one of :meth:`learning_rates`."""
        raise NotImplementedError

    def take(self) -> Snapshot:
        """A copy of the weights."""
        raise NotImplementedError

    def put(self, snapshot: Snapshot) -> None:
        """Put weights back."""
        raise NotImplementedError

    def arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        """A snapshot as named arrays, for storage."""
        raise NotImplementedError

    def from_arrays(self, pairs: Sequence[tuple[str, Any]]) -> Snapshot:
        """The inverse of :meth:`arrays`."""
        raise NotImplementedError

    def state(self) -> Any:
        """All that later steps depend on: weights, optimizer, what the framework counts.

        Returns:
            A tree of dicts, lists, numbers and arrays (NumPy's, or ``Bits``). The arrays may be
            the live ones: whoever keeps them copies them before the next step.
        """
        raise NotImplementedError

    def load_state(self, state: Any) -> None:
        """Put back what :meth:`state` gave.

        Raises:
            RunChanged: the model or the optimizer is another than the one that was saved.
        """
        raise NotImplementedError

    def inexact(self, params: Mapping[str, Any]) -> list[str]:
        """What of this training a resume cannot make identical, and what would make it so."""
        return []

    def load_file(self, path: str) -> Any:
        """What :meth:`saving` wrote, in the framework's own kind."""
        raise NotImplementedError

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        """The endings of file names that :meth:`saving` can write; the first is the usual one."""
        raise NotImplementedError

    def saving(self, weights_only: bool) -> Save:
        """How the model is written to a file."""
        raise NotImplementedError

    def direction(self, metric: str) -> Direction | None:
        """Whether the framework knows that the metric goes up or down."""
        return None

    def comparison(self, direction: Direction) -> Callable[[Any, Any], Any]:
        """The function that compares two values, as the framework's users know it."""
        return operator.lt if direction == "min" else operator.gt

    def resume_at(self, epoch: int) -> None:
        """Tell the framework's loop at which epoch to begin; 0 leaves that to its caller."""

    def fill_history(self, columns: Mapping[str, Sequence[Any]], epochs: Sequence[int]) -> None:
        """Show the epochs of earlier starts where the framework's users look for them."""

    def attach_history(self, history: Any) -> None:
        """Show a History where the framework's users look for one."""

    def print(self, text: str) -> None:
        """Print a line as the framework does."""
        print(text, flush=True)


def find(model: Any, optimizer: Any = None) -> Adapter:
    """The adapter for a model.

    Args:
        model: a Keras model, a PyTorch module, an object with ``get_weights``,
            ``set_weights`` and ``stop_training``, or None.
        optimizer: PyTorch's; one, or several in a list or a dict.

    Raises:
        ArgumentError: nothing fits the model.
    """
    if model is None and optimizer is None:
        return Adapter()
    packages = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    packages |= {cls.__module__.partition(".")[0] for cls in type(optimizer).__mro__}
    for package, module in _FRAMEWORKS:
        if package in packages:
            return _adapt(module, model, optimizer)
    if all(hasattr(model, name) for name in ("get_weights", "set_weights", "stop_training")):
        return _adapt("outlast.frameworks.keras", model, optimizer)
    raise ArgumentError(
        f"No framework is known for a model of {type(model).__module__}.{type(model).__name__}: expected a "
        "Keras model or a PyTorch module. Pass adapter= to say how it is saved and stopped, or model=None if "
        "the callbacks need only stop."
    )


def _adapt(module: str, model: Any, optimizer: Any) -> Adapter:
    adapter: Adapter = import_module(module).adapt(model, optimizer)
    return adapter
