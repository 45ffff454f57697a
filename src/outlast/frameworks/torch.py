"""PyTorch: how a module and its optimizers are stopped, slowed, copied and saved."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from outlast.exceptions import CapabilityError
from outlast.frameworks.base import Adapter, Capability, Snapshot


def adapt(model: Any, optimizer: Any) -> Adapter:
    """The adapter for a PyTorch module and its optimizer, optimizers, or none."""
    return TorchAdapter(model, optimizer)


class TorchAdapter(Adapter):
    """Does to a PyTorch loop what the callbacks decide.

    Args:
        model: a module; None if nothing is to be saved or restored.
        optimizer: one optimizer, several in a list or a dict by name, or None.
    """

    framework = "this PyTorch loop"

    def __init__(self, model: Any, optimizer: Any = None) -> None:
        super().__init__()
        self._model = model
        self._optimizers = _by_name(optimizer)
        can: set[Capability] = set()
        if model is not None:
            can |= {"weights", "saving"}
        if self._optimizers:
            can |= {"learning_rate"}
        self.capabilities = frozenset(can)

    @property
    def model(self) -> Any:
        """The module."""
        return self._model

    def learning_rates(self) -> dict[str, float]:
        """The rates in force, by optimizer and parameter group."""
        return {name: float(group["lr"]) for name, group in self._groups().items()}

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set the rate of one parameter group; a rate held in a tensor stays there."""
        group = self._groups()[name]
        if hasattr(group["lr"], "fill_"):
            group["lr"].fill_(value)
        else:
            group["lr"] = value

    def _groups(self) -> dict[str, dict[str, Any]]:
        groups: dict[str, dict[str, Any]] = {}
        for name, optimizer in self._optimizers.items():
            several = len(optimizer.param_groups) > 1
            for index, group in enumerate(optimizer.param_groups):
                part = str(group.get("name", index))
                prefix = f"{name}_" if len(self._optimizers) > 1 else ""
                groups[prefix + part if several else name] = group
        return groups

    def take(self) -> Snapshot:
        """Copies of ``model.state_dict()``."""
        return Snapshot(_copied(self._model.state_dict()))

    def put(self, snapshot: Snapshot) -> None:
        """Put a state dict back."""
        self._model.load_state_dict(snapshot.weights)

    def arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        """The state dict's tensors, by their names."""
        others = [k for k, v in snapshot.weights.items() if not hasattr(v, "detach")]
        if others:
            raise CapabilityError(
                f"The state of {', '.join(others)} is no tensor and cannot be stored; leave it out of "
                "state_dict(), or give restore_best_weights=False."
            )
        return list(snapshot.weights.items())

    def from_arrays(self, pairs: Sequence[tuple[str, Any]]) -> Snapshot:
        """The inverse of :meth:`arrays`; NumPy arrays become tensors."""
        import torch

        return Snapshot({k: v if hasattr(v, "detach") else torch.from_numpy(v.copy()) for k, v in pairs})

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        """A state dict's usual endings."""
        return (".pt", ".pth")

    def saving(self, weights_only: bool) -> TorchSave:
        """``model.state_dict()``, whichever is asked for: it loads without running any code."""
        return TorchSave(self._model)


class TorchSave:
    """Writes ``model.state_dict()``; read it with ``torch.load(path, weights_only=True)``."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def write(self, path: str) -> None:
        """Write the state dict while training waits."""
        _save(self._model.state_dict(), path)

    def capture(self) -> Callable[[str], object]:
        """Copy the state dict now, write it later."""
        state = _copied(self._model.state_dict())
        return lambda path: _save(state, path)


def _save(state: Mapping[str, Any], path: str) -> None:
    import torch

    torch.save(state, path)


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().clone() if hasattr(value, "detach") else copy.deepcopy(value)
        for name, value in state.items()
    }


def _by_name(optimizer: Any) -> dict[str, Any]:
    if optimizer is None:
        return {}
    if isinstance(optimizer, Mapping):
        return dict(optimizer)
    if isinstance(optimizer, (list, tuple)):
        return {str(index): one for index, one in enumerate(optimizer)}
    return {type(optimizer).__name__.lower(): optimizer}
