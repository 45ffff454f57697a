"""The parts of a resume point: callbacks, objects of the user's, lines of logs."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.tree import map_leaves
from outlast.exceptions import RunChanged
from outlast.frameworks.base import Adapter
from outlast.run import settings

_TRAINED: weakref.WeakSet[Any] = weakref.WeakSet()  # models that a run in this process has trained


def mark_trained(model: Any) -> None:
    """Remember that the model's learning rate need not be the initial one any more."""
    if model is not None and hasattr(type(model), "__weakref__"):
        _TRAINED.add(model)


def was_trained(model: Any) -> bool:
    """Whether a run in this process has trained the model."""
    return model is not None and hasattr(type(model), "__weakref__") and model in _TRAINED


def callbacks_state(callbacks: Sequence[Callback], adapter: Adapter) -> dict[str, Any]:
    """Each callback's state and weights, by its key."""
    return {
        key: {
            "state": callback.state_dict(),
            "snapshots": {
                name: [[part, array] for part, array in adapter.arrays(snapshot)]
                for name, snapshot in callback.snapshots().items()
            },
        }
        for key, callback in zip(settings.keys(callbacks), callbacks, strict=True)
    }


def load_callbacks(callbacks: Sequence[Callback], saved: Mapping[str, Any], adapter: Adapter) -> None:
    """Put back what :func:`callbacks_state` gave; a callback that is new starts from nothing."""
    for key, callback in zip(settings.keys(callbacks), callbacks, strict=True):
        if key not in saved:
            continue
        callback.load_state_dict(saved[key]["state"])
        callback.load_snapshots(
            {
                name: adapter.from_arrays([(part, array) for part, array in pairs])
                for name, pairs in saved[key]["snapshots"].items()
            }
        )


def parts_state(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The state dicts of the user's objects; tensors as arrays."""
    from outlast.frameworks.torch import to_array

    return {name: map_leaves(part.state_dict(), to_array) for name, part in parts.items()}


def load_parts(parts: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Put back what :func:`parts_state` gave.

    Raises:
        RunChanged: the run has other parts.
    """
    from outlast.frameworks.torch import to_tensor

    if set(parts) != set(saved):
        raise RunChanged(
            f"the run was saved with {sorted(saved) or 'no parts'}, "
            f"and this code gives {sorted(parts) or 'none'}"
        )
    for name, part in parts.items():
        part.load_state_dict(map_leaves(saved[name], to_tensor))
